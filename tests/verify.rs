//! `rosetta verify` on a pinned environment and an interpreter of the user's that are shell scripts.

mod common;

use common::{Done, END, EPOCH, HELLO, OUTPUTS, PREDICT, Project, START, TRAIN, list, says};
use serde_json::Value;

/// A harness and a `speed.py`; both are slower where the interpreter says so, as the user's does.
fn project() -> Project {
    let (slow, fast) = (PREDICT.replace("0.22", "0.42"), PREDICT);
    let late =
        |text: &str| text.replace("0.24", "0.44").replace("0.23", "0.43").replace("0.25", "0.45");
    let script = format!(
        "if [ \"$SLOW\" ]; then\n{}else\n{}fi\n",
        says(&[
            START,
            HELLO,
            TRAIN,
            &EPOCH.replace("0.21", "0.41"),
            &slow,
            &late(OUTPUTS),
            &late(END)
        ]),
        says(&[START, HELLO, TRAIN, EPOCH, fast, OUTPUTS, END]),
    );
    // The order in which the two sides run stands in a file.
    let script = format!("echo \"${{SLOW:-0}}\" >>../../order\n{script}");
    let project = Project::new().harness("fake", &script).fake_uv();
    let facts = |rate: &str, onednn: &str| {
        let fact = |name: &str, value: &str| {
            format!(r#""ev":"fact","t":0.2,"name":"{name}","value":{value}"#)
        };
        says(&[START, HELLO, &fact("product_gflops", rate), &fact("onednn", onednn), END])
    };
    let speed = format!(
        "if [ \"$SLOW\" ]; then\n{}else\n{}fi\n",
        facts("20.5", r#""off""#),
        facts("41", r#""on""#)
    );
    project.write("harnesses/fake/speed.py", &speed);
    let python = std::fs::read_to_string(project.path("python")).unwrap();
    let python = python.replace("#!/bin/sh\n", "");
    project.program("slow", &format!("export SLOW=1\n{}", python.replace("/python\"", "/slow\"")));
    project
}

fn verify(project: &Project, python: &str, more: &[&str]) -> Done {
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    let args = [&["verify", "-f", "fake", "--python", python, "--pairs", "2", "--no-check"], more]
        .concat();
    Done::of(project.command(&args).env("PATH", path).output().unwrap())
}

#[test]
fn a_slow_installation_is_told_with_what_may_be_why() {
    let project = project();
    let done = verify(&project, "./slow", &[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for words in [
        "tiny · fake · cpu: yours is slower than the pinned one",
        "times as long, in 2 pairs",
        "suspect: its matrix product (BLAS) reaches 20.5 GFLOP/s, the pinned one's 41",
        "suspect: onednn: `off` in yours, `on` in the pinned one",
        "peak: 41 GFLOP/s, the fastest of these",
    ] {
        assert!(done.stdout.contains(words), "no `{words}` in {done:?}");
    }
    assert!(list(&project.path("results/runs")).is_empty(), "no table shows its runs");
    let apart = list(&project.path("results/apart"));
    assert_eq!(list(&apart[0].join("runs")).len(), 4, "two pairs");
    assert_eq!(project.read("order"), "0\n1\n1\n0\n", "who is first changes with each pair");
    assert_eq!(project.rosetta(&["list", "runs", "--json"]).stdout, "[]\n");
}

#[test]
fn an_installation_is_verified_on_the_gpu_too() {
    let project = project();
    let verify = ["verify", "-f", "fake", "--python", "./slow", "--pairs", "1", "--no-check"];
    let on_gpu = [&verify[..], &["--device", "cuda"]].concat();
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    let none = project.command(&on_gpu).env("PATH", &path).output().unwrap();
    let none = Done::of(none);
    assert!(none.code == Some(2) && none.stderr.contains("cuda"), "{none:?}");

    let yaml = project.read("harnesses/fake/framework.yaml");
    let yaml = yaml.replace("{cpu: fake}", "{cpu: fake, cuda: fake}");
    project.write("harnesses/fake/framework.yaml", &yaml);
    // What is said of a device is of the one that was asked for.
    for name in ["tiny", "speed"] {
        let file = format!("harnesses/fake/{name}.py");
        let script = project.read(&file).replace("\"cpu\"", "\"cuda\"");
        project
            .write(&file, &format!("grep '\"device\"' \"$ROSETTA_JOB\" >>../../asked\n{script}"));
    }
    project.write("gpu", "slow");
    let mut command = project.command(&on_gpu);
    command.env("PATH", &path).env("ROSETTA_NVML", project.fake_driver());
    let done = Done::of(command.env("FAKE_NVML", project.path("gpu")).output().unwrap());
    assert_eq!(done.code, Some(1), "{done:?}");
    for words in [
        "tiny · fake · cuda: yours is slower than the pinned one",
        "suspect: its matrix product (BLAS) reaches 20.5 GFLOP/s, the pinned one's 41",
        "this machine: Fake GPU is limited to 250 W, of 350 W by default",
    ] {
        assert!(done.stdout.contains(words), "no `{words}` in {done:?}");
    }
    assert_eq!(project.read("asked").matches("\"cuda\"").count(), 4, "both jobs, both builds");
}

#[test]
fn one_that_is_as_fast_passes() {
    let project = project();
    let done = verify(&project, "./python", &["--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let found = serde_json::from_str::<Value>(&done.stdout).unwrap();
    assert_eq!(found[0]["verdict"], "as_fast", "{found}");
    assert_eq!(found[0]["suspects"].as_array().map(Vec::len), Some(0));
    assert_eq!(found[0]["pairs"], 2);
}

#[test]
fn what_cannot_be_verified_is_said() {
    let project = project();
    let done = verify(&project, "./nowhere", &[]);
    assert!(done.code == Some(2) && done.stderr.contains("there is no program"), "{done:?}");
    let done = project.rosetta(&["verify", "-f", "fake"]);
    assert!(done.code == Some(2) && done.stderr.contains("--python"), "{done:?}");
    project.write("harnesses/fake/speed.py", "exit 3");
    let done = verify(&project, "./python", &[]);
    assert_eq!(done.code, Some(0), "its times are there all the same: {done:?}");
    assert!(done.stderr.contains("✗ speed of fake") && !done.stdout.contains("peak"), "{done:?}");
}

/// A machine whose files in /sys and /proc are these.
const SLOW_MACHINE: [(&str, &str); 14] = [
    ("proc/self/status", "Cpus_allowed_list:\t0-3\nMems_allowed_list:\t1"),
    ("proc/self/cgroup", "0::/job"),
    ("sys/fs/cgroup/job/cpu.max", "150000 100000"),
    ("sys/devices/system/node/node0/cpulist", "0-3"),
    ("sys/devices/system/node/node1/cpulist", "4-7"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "acpi-cpufreq"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_max_freq", "2000000"),
    ("sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq", "3500000"),
    ("sys/devices/system/cpu/cpufreq/boost", "0"),
    ("sys/class/powercap/intel-rapl:0/name", "package-0"),
    ("sys/class/powercap/intel-rapl:0/constraint_0_name", "long_term"),
    ("sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw", "45000000"),
    ("sys/class/powercap/intel-rapl:0/constraint_0_max_power_uw", "95000000"),
];

#[test]
fn what_holds_the_machine_back_is_told_with_what_changes_it() {
    let project = project();
    for (path, text) in SLOW_MACHINE {
        project.write(&format!("machine/{path}"), &format!("{text}\n"));
    }
    project.write("empty/x", "");
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    let ask = |root: &str, words: &[&str]| {
        let mut command = project.command(words);
        command.env("PATH", &path).env("ROSETTA_SYSTEM_ROOT", project.path(root));
        Done::of(command.output().unwrap())
    };
    let verify = ["verify", "-f", "fake", "--python", "./slow", "--pairs", "2", "--no-check"];
    let done = ask("machine", &verify);
    let expected = [
        ("the governor of the CPUs is `powersave`, which keeps them", "cpupower frequency-set"),
        ("1 of 4 CPUs may not reach their clock: CPU 3 is kept to 2000 MHz of 3500", "3500MHz"),
        ("the CPU's turbo is off", "echo 1 | sudo tee /sys/devices/system/cpu/cpufreq/boost"),
        ("the power of package-0 long_term is limited to 45 W, of 95 W", "echo 95000000"),
        ("the control group allows the time of 1.5 CPUs, of 4", "/sys/fs/cgroup/job/cpu.max"),
        ("memory is taken from NUMA node 1, the CPUs are of node 0", "--membind=0"),
    ];
    for (what, change) in expected {
        let says = |line: &str| line.contains(what) && line.contains(change);
        let line = |line: &str| line.starts_with("  this machine: ") && says(line);
        assert!(done.stdout.lines().any(line), "no `{what}` with `{change}` in {}", done.stdout);
    }
    let doctor = ask("machine", &["doctor", "--json"]);
    let doctor = serde_json::from_str::<Value>(&doctor.stdout).unwrap();
    let held = doctor["held_back"].as_array().unwrap();
    assert_eq!(held.len(), expected.len(), "{held:?}");
    for (held, (what, change)) in held.iter().zip(expected) {
        assert!(held["what"].as_str().unwrap().contains(what), "{held}");
        assert!(format!("{held}").contains(change), "{held}");
    }
    // Where the kernel tells nothing, nothing is claimed.
    let done = ask("empty", &verify);
    assert!(done.stdout.contains("slower than the pinned one"), "{done:?}");
    for (what, _) in expected {
        assert!(!done.stdout.contains(&what[..12]), "{done:?}");
    }
}

/// Each of its two sides has a session of its own, which reads the catalog.
#[test]
fn a_file_that_cannot_be_read_is_told_once() {
    let project = project();
    project.write("harnesses/other/framework.yaml", "version: 1\nnmae: other\n");
    let done = verify(&project, "./python", &[]);
    assert_eq!(
        done.stderr.matches("nmae").count(),
        2,
        "the error, and the line that it quotes: {done:?}"
    );
}
