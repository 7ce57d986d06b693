//! What broke in builds and environments when it was tried: each through the real rosetta, with
//! programs that are scripts.

mod common;

use std::fs;
use std::io::BufRead;
use std::path::Path;

use common::{Done, Project, RIGHT, computes, good, list, with_reference};

/// Returns a script that keeps a line for the test and then does everything right.
fn tells(line: &str) -> String {
    format!("{line} >told\n{}", good())
}

fn told(project: &Project) -> String {
    fs::read_to_string(project.path("harnesses/fake/told")).unwrap()
}

/// Sees to it that only what a test names is in a command's surroundings.
fn alone(project: &Project, args: &[&str]) -> std::process::Command {
    let mut command = project.command(args);
    command.env_clear();
    command.env("ROSETTA_HOME", project.path("home")).env("NO_COLOR", "1");
    command.env("HOME", project.path("user")).env("PATH", "/usr/bin:/bin");
    command
}

const RUN: [&str; 8] =
    ["run", "--no-check", "--provider", "system", "--python", "./python", "--device", "cpu"];

/// `~/.keras/keras.json`, `~/.theanorc` and the like changed what was computed.
#[test]
fn a_job_has_an_empty_home_of_its_own() {
    let project = Project::new().harness(
        "fake",
        &tells("touch $HOME/left; echo $HOME $(ls -A $HOME) $XDG_CACHE_HOME $XDG_CONFIG_HOME"),
    );
    project.write("user/.keras/keras.json", "{}");
    for _ in 0..2 {
        let mut command = alone(&project, &RUN);
        command.env("XDG_CACHE_HOME", project.path("user/.cache"));
        let done = Done::of(command.output().unwrap());
        assert_eq!(done.code, Some(0), "{done:?}");
        let told = told(&project);
        let (home, content) = told.trim().split_once(' ').unwrap();
        assert!(home.starts_with(&*project.path("results").to_string_lossy()), "{told}");
        assert_eq!(content, "left", "{told}");
        assert!(!Path::new(home).exists(), "it ended with the job");
    }
    // Whoever needs it passes it on.
    let mut command = alone(&project, &[&RUN[..], &["--env", "HOME"]].concat());
    assert!(command.status().unwrap().success());
    assert!(told(&project).starts_with(&*project.path("user").to_string_lossy()));
}

#[test]
fn the_order_of_gpus_is_passed_on_with_their_numbers() {
    let variables = ["CUDA_DEVICE_ORDER", "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS", "KERAS_BACKEND"];
    let shown = variables.map(|name| format!("${name}.")).join("");
    let project = Project::new().harness("fake", &tells(&format!("echo {shown}")));
    let mut command = alone(&project, &RUN);
    command.envs(variables.map(|name| (name, "x")));
    assert!(command.status().unwrap().success());
    assert_eq!(told(&project).trim(), "x....");
}

/// A shim of pyenv's chooses by the folder that it is run in; it was run in `/`.
#[test]
fn an_interpreter_is_asked_in_the_users_folder() {
    let project = Project::new().harness("fake", &tells("true"));
    let python = fs::read_to_string(project.path("python")).unwrap();
    let python = python.replace("echo '", "pwd >>\"$(dirname \"$0\")/asked\"\necho '");
    project.write("python", &python);
    let folder = project.path("mine");
    fs::create_dir(&folder).unwrap();
    let args = RUN.map(|arg| if arg == "./python" { "../python" } else { arg });
    let done = Done::of(alone(&project, &args).current_dir(&folder).output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    let asked = fs::read_to_string(project.path("asked")).unwrap();
    assert_eq!(Path::new(asked.lines().next().unwrap()), folder.canonicalize().unwrap());
}

/// `--python` alone was read and ignored: the pinned environment was measured.
#[test]
fn an_interpreter_that_is_named_is_used() {
    let project = Project::new().harness("fake", &good());
    let run = ["run", "--no-check", "--python", "./python", "--device", "cpu"];
    let done = project.rosetta(&run);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(project.records()[0]["env"]["provider"], "system");

    let done = project.rosetta(&[&run[..], &["--provider", "pinned"]].concat());
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("`--python` goes with `--provider system`"), "{done:?}");
    let done = project.rosetta(&["run", "--provider", "system"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("--python"), "{done:?}");
}

/// A crate whose compiler is a script: what it sees and says is what a test asks.
fn with_crate() -> Project {
    let project = Project::new();
    project.write(
        "envs/mini/env.yaml",
        "version: 1\nname: mini\nprovider: cargo\nmanifest: harnesses/mini/Cargo.toml\n",
    );
    project.write("harnesses/mini/Cargo.toml", "[package]\nname = \"mini\"\n");
    project.write("harnesses/mini/Cargo.lock", "version = 4\n");
    project.program("user/.cargo/bin/rustc", "echo 'rustc 1.95.0'");
    let said = r#"{"reason":"compiler-artifact","target":{"kind":["bin"]},"executable":"MADE"}"#;
    let said = said.replace("MADE", &project.path("made").to_string_lossy());
    let seen = project.path("seen");
    project.program("user/.cargo/bin/cargo", &format!("env >{}\necho '{said}'", seen.display()));
    project.program("made", "exit 0");
    project
}

fn digest(command: &mut std::process::Command) -> String {
    let done = Done::of(command.args(["env", "list", "--json"]).output().unwrap());
    let list: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let mini = list.as_array().unwrap().iter().find(|env| env["name"] == "mini").unwrap();
    mini["digest"].as_str().unwrap().to_owned()
}

/// One digest stood for five different programs.
#[test]
fn what_steers_cargo_is_left_out_or_in_the_digest() {
    let project = with_crate();
    let dropped = ["CARGO_PROFILE_RELEASE_OPT_LEVEL", "CARGO_BUILD_RUSTFLAGS", "RUSTC_WRAPPER"];
    let plain = digest(&mut alone(&project, &[]));
    let steered = || {
        let mut command = alone(&project, &[]);
        command.envs(dropped.map(|name| (name, "0")));
        command
    };
    assert_eq!(digest(&mut steered()), plain);
    let mut command = steered();
    command.args(["env", "build", "mini"]).env("CC", "/opt/cc").env("RUSTFLAGS", "-g");
    let done = Done::of(command.output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    let seen = fs::read_to_string(project.path("seen")).unwrap();
    assert!(seen.contains("CC=/opt/cc\n") && seen.contains("RUSTFLAGS=-g\n"), "{seen}");
    assert!(!dropped.iter().any(|name| seen.contains(name)), "{seen}");

    let mut digests = vec![plain.clone()];
    for flag in ["CC", "CFLAGS", "RUSTFLAGS", "CUDA_COMPUTE_CAP"] {
        digests.push(digest(alone(&project, &[]).env(flag, "x")));
    }
    for file in [".cargo/config.toml", "user/.cargo/config.toml"] {
        project.write(file, "[source.crates-io]\nreplace-with = \"x\"\n");
        assert_eq!(digest(&mut alone(&project, &[])), plain, "{file}");
        project.write(file, "[build]\nrustflags = [\"-C\", \"target-cpu=native\"]\n");
        digests.push(digest(&mut alone(&project, &[])));
        fs::remove_file(project.path(file)).unwrap();
    }
    // Of the two files, the content counts and not the place: what is compiled is the same.
    assert_eq!(digests.pop(), digests.last().cloned());
    let different = digests.iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(different.len(), digests.len());
}

/// cron's PATH has no ~/.cargo/bin: what was built was skipped for want of cargo, and all was green.
#[test]
fn a_built_crate_needs_no_compiler_and_one_is_found_where_rustup_puts_it() {
    let project = with_crate();
    let done = Done::of(alone(&project, &["env", "build", "mini"]).output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    fs::remove_dir_all(project.path("user/.cargo/bin")).unwrap();
    let done = Done::of(alone(&project, &["env", "list"]).output().unwrap());
    let row = done.stdout.lines().find(|line| line.contains("mini")).unwrap();
    assert!(row.contains("built") && !row.contains("no `"), "{row}");
}

/// Burn and candle vanished from a nightly run for want of cargo, and nothing turned red.
#[test]
fn a_framework_that_was_named_and_is_skipped_is_not_ok() {
    let project = with_crate().harness("fake", &good());
    fs::remove_dir_all(project.path("user/.cargo/bin")).unwrap();
    let yaml = "version: 1\nname: mini\ntitle: Mini\nlanguage: rust\nera: current\n\
        targets:\n  - {name: mini, title: Mini, env: {cpu: mini}, starter: true}\n";
    project.write("harnesses/mini/framework.yaml", yaml);
    project.write("harnesses/mini/tiny.rs", "");
    let code = |more: &[&str]| {
        let done = Done::of(alone(&project, &[&RUN[..], more].concat()).output().unwrap());
        assert!(done.stderr.contains("1 ok, 1 skipped"), "{done:?}");
        done.code
    };
    assert_eq!(code(&[]), Some(0));
    assert_eq!(code(&["-f", "fake,mini"]), Some(1));
}

/// `user = true` in pip.conf, and constraints that other tools need, stopped every build.
#[test]
fn what_steers_pip_and_uv_stays_behind_and_where_packages_come_from_does_not() {
    let project = Project::new().fake_uv();
    let seen = project.path("seen");
    let uv = fs::read_to_string(project.path("path/uv")).unwrap();
    let uv = uv.replace("#!/bin/sh\n", &format!("#!/bin/sh\nenv >{}\n", seen.display()));
    project.write("path/uv", &uv);
    project.write(
        "user/.config/uv/uv.toml",
        "exclude-newer = \"2024-01-01\"\nindex-url = \"https://company/simple\"\n",
    );
    let mut command = alone(&project, &["env", "build", "fake"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", project.path("path").display()));
    let dropped = ["UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE_NEWER", "PIP_CONSTRAINT", "GIT_DIR"];
    command.envs(dropped.map(|name| (name, "x"))).env("UV_INDEX_URL", "https://mine");
    command.env("https_proxy", "http://proxy:1");
    let done = Done::of(command.output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    let seen = fs::read_to_string(seen).unwrap();
    assert!(!dropped.iter().any(|name| seen.contains(&format!("{name}="))), "{seen}");
    let line =
        |name: &str| seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(line("UV_INDEX_URL"), Some("https://mine"));
    assert_eq!(line("https_proxy"), Some("http://proxy:1"));
    let passed = fs::read_to_string(line("UV_CONFIG_FILE").unwrap()).unwrap();
    assert_eq!(passed, "index-url = \"https://company/simple\"\n");
}

/// `signal.py` beside a harness stood in for Python's own, and broke every experiment there.
#[test]
fn a_harness_may_be_named_as_a_module_of_pythons() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("harnesses/sdk/python");
    let folder = tempfile::tempdir().unwrap();
    let names = "signal random queue numbers token select code runpy types warnings subprocess";
    for name in names.split(' ') {
        fs::write(folder.path().join(format!("{name}.py")), "raise SystemExit(__file__)\n")
            .unwrap();
    }
    let harness = folder.path().join("tiny.py");
    let text = "import code, queue, random, subprocess\nimport helper\nhelper.done(random)\n";
    fs::write(&harness, text).unwrap();
    let helper =
        "import sys\ndef done(random):\n    sys.stderr.write('found ' + random.__file__)\n";
    fs::write(folder.path().join("helper.py"), helper).unwrap();
    let mut command = std::process::Command::new("python3");
    command.arg(sdk.join("rosetta/__main__.py")).arg(&harness).current_dir(folder.path());
    command.env("PYTHONPATH", &sdk).env_remove("ROSETTA_JOB");
    let Ok(output) = command.output() else { return }; // A machine without Python has none to break.
    let done = Done::of(output);
    assert_eq!(done.code, Some(0), "{done:?}");
    let found = done.stderr.split("found ").nth(1).unwrap_or_default();
    assert!(!found.is_empty() && !found.starts_with(folder.path().to_str().unwrap()), "{done:?}");
}

/// Puts another uv in place of the fake one: `more` comes before what that does.
fn with_uv(project: Project, more: &str) -> Project {
    let project = project.fake_uv();
    let uv = fs::read_to_string(project.path("path/uv")).unwrap();
    // What `--version` asks for comes first.
    let (first, rest) = uv.split_once("exit\n").unwrap();
    project.write("path/uv", &format!("{first}exit\n{more}\n{rest}"));
    project
}

fn with_path(project: &Project, args: &[&str]) -> std::process::Command {
    let mut command = alone(project, args);
    command.env("PATH", format!("{}:/usr/bin:/bin", project.path("path").display()));
    command
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 20, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Without a terminal, a build that waited for another one said nothing for as long as that took.
#[test]
fn a_build_that_waits_says_for_what_where_there_is_no_terminal() {
    let project = with_crate();
    fs::create_dir_all(project.path("home/envs")).unwrap();
    let lock = fs::File::create(project.path("home/envs/.mini.lock")).unwrap();
    lock.lock().unwrap();
    let mut command = alone(&project, &["env", "build", "mini"]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let said = lines.find(|line| line.as_ref().unwrap().contains("waiting")).unwrap().unwrap();
    assert!(said.contains("mini: waiting for another build of `mini`"), "{said}");
    lock.unlock().unwrap();
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
}

/// Signals were swallowed while an environment was built in a run; builders of a killed rosetta
/// went on alone for half a minute.
#[test]
fn a_signal_ends_a_build_and_all_that_builds() {
    std::thread::scope(|scope| {
        for (args, signal, code) in [
            (&["env", "build", "fake"][..], "TERM", Some(130)),
            (&["env", "build", "fake"], "KILL", None),
            (&["run", "--device", "cpu"], "INT", Some(130)),
            (&["run", "--device", "cpu"], "HUP", Some(130)),
        ] {
            scope.spawn(move || is_ended_by(args, signal, code));
        }
    });
}

fn is_ended_by(args: &[&str], signal: &str, code: Option<i32>) {
    let project = with_uv(
        Project::new().harness("numpy", &good()),
        "echo $$ >\"$HOME/pid\"\nsetsid sleep 300 &\necho $! >\"$HOME/other\"\nwait",
    );
    fs::create_dir(project.path("user")).unwrap();
    let mut command = with_path(&project, args);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let pid = |name: &str| {
        let text = fs::read_to_string(project.path(name)).unwrap_or_default();
        text.trim().parse::<u32>().ok()
    };
    until("a build", || pid("user/pid").is_some() && pid("user/other").is_some());
    let begun = std::time::Instant::now();
    let kill =
        std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), code, "{args:?} {signal}");
    for name in ["user/pid", "user/other"] {
        let process = format!("/proc/{}", pid(name).unwrap());
        until("the end of what builds", || !Path::new(&process).exists());
    }
    assert!(begun.elapsed().as_secs() < 10, "{args:?} {signal}");
}

/// Once for the check and once for the run: every index that cannot be reached cost twice.
#[test]
fn what_cannot_be_built_is_tried_once_in_a_run() {
    let fails =
        "echo tried >>\"$HOME/tried\"; echo 'No space left on device (os error 28)'; exit 3";
    let project = with_uv(Project::new().harness("numpy", &good()), fails);
    fs::create_dir(project.path("user")).unwrap();
    let done = Done::of(with_path(&project, &["run", "--device", "cpu"]).output().unwrap());
    assert_eq!(done.code, Some(1), "{done:?}");
    let tried = fs::read_to_string(project.path("user/tried")).unwrap();
    assert_eq!(tried.lines().count(), 1, "{done:?}");
    let reason = project.records()[0]["outcome"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("`uv` failed") && reason.contains("is full"), "{reason}");
}

/// A package deleted from a sealed environment: ModuleNotFoundError in every run, and no way out.
#[test]
fn an_environment_that_has_lost_a_file_is_named_and_built_anew() {
    let installs = "if [ \"$1\" = pip ]; then\n\
        site=$PWD/lib/python3.12/site-packages; mkdir -p $site/one-1.dist-info\n\
        touch $site/one.py; echo 'one.py,sha256=x,0' >$site/one-1.dist-info/RECORD; exit; fi";
    let project = with_uv(Project::new().harness("fake", &good()), installs);
    let run = || {
        let args = ["run", "--no-check", "--device", "cpu"];
        Done::of(with_path(&project, &args).output().unwrap())
    };
    let done = run();
    assert_eq!(done.code, Some(0), "{done:?}");
    let env = common::list(&project.path("home/envs")).into_iter().find(|path| path.is_dir());
    let file = env.unwrap().join("lib/python3.12/site-packages/one.py");
    fs::remove_file(&file).unwrap();
    let done = run();
    assert_eq!(done.code, Some(1), "{done:?}");
    let reason = project.records().pop().unwrap()["outcome"]["reason"].to_string();
    assert!(reason.contains("one.py") && reason.contains("rosetta env build fake"), "{reason}");
    let done = Done::of(with_path(&project, &["env", "build", "fake"]).output().unwrap());
    assert!(done.code == Some(0) && file.is_file(), "{done:?}");
    assert_eq!(run().code, Some(0));
}

#[test]
fn a_command_runs_in_an_environment() {
    let project = Project::new().harness("fake", &good()).fake_uv();
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    let mut command = project.command(&[
        "env",
        "run",
        "fake",
        "--",
        "sh",
        "-c",
        "echo $ROSETTA_ENV $1; exit 7",
        "sh",
        "a b",
    ]);
    let done = Done::of(command.env("PATH", path).output().unwrap());
    assert_eq!((done.code, done.stdout.as_str()), (Some(7), "fake a b\n"), "{done:?}");
    let done = project.rosetta(&["env", "run", "fake"]);
    assert!(done.code == Some(2) && done.stderr.contains("COMMAND"), "{done:?}");
}

/// It said "did you mean", and 70 names.
#[test]
fn an_experiment_is_not_an_environment() {
    let project = Project::new().harness("fake", &good());
    let done = project.rosetta(&["env", "build", "tiny"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("`tiny` is an experiment, not an environment"), "{done:?}");
    let done = project.rosetta(&["env", "build", "fakes"]);
    assert_eq!(done.stderr.matches("`fake`").count(), 2, "known, and meant, each once: {done:?}");
}

/// What was compiled elsewhere is run as it is, known by its digest, and needs neither cargo nor an environment.
#[test]
fn compiled_harnesses_may_be_named_by_their_folder() {
    let project = Project::new().harness("fake", &good());
    let yaml = std::fs::read_to_string(project.path("harnesses/fake/framework.yaml")).unwrap();
    project.write("harnesses/fake/framework.yaml", &yaml.replace("python", "rust"));
    std::fs::rename(project.path("harnesses/fake/tiny.py"), project.path("harnesses/fake/tiny.rs"))
        .unwrap();
    let script = good().replace("{good}", &project.path("good.npy").to_string_lossy());
    project.program("made/tiny", &script);
    let run = ["run", "--no-check", "--device", "cpu", "--programs"];
    let done = project.rosetta(&[&run[..], &["fake=made"]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    let env = &project.records()[0]["env"];
    assert_eq!((env["provider"].as_str(), env["digest"].as_str()), (Some("system"), None), "{env}");
    assert!(env["packages"][0].as_str().unwrap().starts_with("tiny==sha256:"), "{env}");
    for (named, words) in [
        ("fake", "write a framework, `=`"),
        ("fakes=made", "unknown framework `fakes`"),
        ("fake=nowhere", "cannot read the folder of programs"),
        ("fake=specs", "has a program for each experiment"),
    ] {
        let done = project.rosetta(&[&run[..], &[named]].concat());
        assert!(done.code == Some(2) && done.stderr.contains(words), "{named}: {done:?}");
    }
    project.program("other/thing", "exit 1");
    let done = project.rosetta(&[&run[..], &["fake=other"]].concat());
    assert!(done.code == Some(1) && done.stderr.contains("there is no program `"), "{done:?}");
    assert_eq!(project.records().last().unwrap()["outcome"]["status"], "failed");

    project.write("harnesses/fake/framework.yaml", &yaml);
    std::fs::rename(project.path("harnesses/fake/tiny.rs"), project.path("harnesses/fake/tiny.py"))
        .unwrap();
    let done = project.rosetta(&[&run[..], &["fake=made"]].concat());
    assert!(done.code == Some(2) && done.stderr.contains("are scripts"), "{done:?}");
}

/// Every check waited for the largest download.
#[test]
fn a_check_does_not_wait_for_the_environments_of_others() {
    let project = computes(computes(with_reference(), "ours", RIGHT), "late", RIGHT);
    let go = project.path("go").display().to_string();
    // No longer than this test: a red one must not leave it behind.
    let wait = format!(
        "case \"$*\" in *slow*) n=0; until [ -e {go} ] || [ $n = 600 ]; do sleep 0.05; n=$((n + 1)); done;; esac"
    );
    let project = with_uv(project, &wait);
    let env = project.read("envs/fake/env.yaml").replace("fake", "slow");
    project.write("envs/slow/env.yaml", &env);
    project.write("envs/slow/requirements.lock", "");
    let late = project.read("harnesses/late/framework.yaml").replace("cpu: fake", "cpu: slow");
    project.write("harnesses/late/framework.yaml", &late);
    let mut check = with_path(&project, &["check", "--device", "cpu"]);
    let check = check.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let verdicts = || list(&project.path("results/checks")).len();
    until("those that can be checked are", || verdicts() == 2);
    project.write("go", "");
    let done = Done::of(check.wait_with_output().unwrap());
    assert_eq!((done.code, verdicts()), (Some(0), 3), "{done:?}");
}
