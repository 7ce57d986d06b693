//! `rosetta check` on harnesses that are shell scripts: what is said of their numbers, what is
//! kept, and what stays when something goes wrong.

mod common;

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Done, Numbers, Project, RIGHT, computes, list, npy_f32, with, with_reference};
use serde_json::Value;

const CHECK: [&str; 6] = ["check", "--provider", "system", "--python", "./python", "--device"];

fn check(project: &Project, args: &[&str]) -> Done {
    project.rosetta(&[&CHECK[..], &["cpu"], args].concat())
}

/// Checks and returns the exit code, and the verdicts by target.
fn verdicts(project: &Project, args: &[&str]) -> (Option<i32>, Value) {
    let done = check(project, &[&["--json"], args].concat());
    let list = serde_json::from_str::<Vec<Value>>(&done.stdout);
    let list = list.unwrap_or_else(|_| panic!("{done:?}")).into_iter();
    let by_target = list.map(|verdict| (verdict["target"].as_str().unwrap().to_owned(), verdict));
    (done.code, by_target.collect::<serde_json::Map<_, _>>().into())
}

fn grade(verdicts: &Value, target: &str) -> String {
    verdicts[target]["equivalence"]["grade"].as_str().unwrap_or_default().to_owned()
}

fn reason(verdicts: &Value, target: &str) -> String {
    verdicts[target]["equivalence"]["reason"].as_str().unwrap_or_default().to_owned()
}

/// Returns how often a harness was started.
fn starts(project: &Project, name: &str) -> usize {
    let text = fs::read_to_string(project.path(&format!("numbers/{name}/started")));
    text.unwrap_or_default().lines().count()
}

fn declare(project: &Project, name: &str, line: &str) {
    let path = format!("harnesses/{name}/framework.yaml");
    let text = fs::read_to_string(project.path(&path)).unwrap();
    project.write(&path, &text.replace("starter: true}", &format!("starter: true, {line}}}")));
}

#[test]
fn the_same_numbers_are_close() {
    let project = computes(with_reference(), "ours", RIGHT);
    let (code, found) = verdicts(&project, &[]);
    assert_eq!((code, grade(&found, "ours")), (Some(0), "close".to_owned()), "{found}");
    assert_eq!(found["ours"]["reference"], "theirs");
    let table = check(&project, &[]).stdout;
    assert!(table.contains("tiny (2 arrays, 9 numbers)") && table.contains("close"), "{table}");
}

#[test]
fn another_number_is_a_difference_that_is_named_and_exits_with_1() {
    let cases = [
        (Numbers { output: 0.26, ..RIGHT }, "outputs before training in float32 differ by 2.0e-2"),
        (Numbers { loss: "0.6", ..RIGHT }, "the loss of step 1 in float32 differs by 2.0e-1"),
        (Numbers { weight: 0.9, ..RIGHT }, "the update of dense.weight in float32 differs"),
    ];
    for (numbers, why) in cases {
        let project = computes(with_reference(), "ours", numbers);
        let (code, found) = verdicts(&project, &["-f", "ours"]);
        assert_eq!((code, grade(&found, "ours")), (Some(1), "different".to_owned()), "{found}");
        assert!(reason(&found, "ours").starts_with(why), "{why}: {found}");
        let text = check(&project, &["-f", "ours"]).stdout;
        assert!(text.contains(why) && text.contains("next: compare section `"), "{text}");
    }
}

#[test]
fn what_fails_is_unchecked_with_its_reason_and_the_others_go_on() {
    let project = computes(with_reference(), "z-good", RIGHT);
    let project = project.harness("a-bad", "echo no such layer >&2; exit 3");
    let (code, found) = verdicts(&project, &[]);
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(grade(&found, "a-bad"), "unchecked", "{found}");
    assert!(reason(&found, "a-bad").contains("exit code 3: no such layer"), "{found}");
    assert_eq!(grade(&found, "z-good"), "close", "{found}");
    assert!(!project.path("results/checks").join("tiny.a-bad.cpu").exists());
}

#[test]
fn a_reference_that_fails_leaves_its_experiment_unchecked_and_others_go_on() {
    let project = computes(with_reference(), "ours", RIGHT);
    let broken = with("reference: broken").replace("name: tiny", "name: broken");
    project.write("specs/broken.yaml", &broken);
    let project = project.harness("broken", "exit 0");
    project.write("harnesses/broken/broken.py", "echo no memory >&2; exit 4");
    let harness = fs::read_to_string(project.path("harnesses/ours/tiny.py")).unwrap();
    project.write("harnesses/ours/broken.py", &harness);
    let done = check(&project, &["-f", "ours", "--json"]);
    let found = serde_json::from_str::<Vec<Value>>(&done.stdout);
    let found = found.unwrap_or_else(|_| panic!("{done:?}"));
    let told = found.iter().map(|verdict| {
        let equivalence = &verdict["equivalence"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&verdict["experiment"]), text(&equivalence["grade"]), text(&equivalence["reason"]))
    });
    let told = told.collect::<Vec<_>>();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("broken", "unchecked"), "{told:?}");
    assert!(told[0].2.contains("the reference `broken` failed in `float32-0`"), "{told:?}");
    assert!(told[0].2.contains("exit code 4: no memory"), "{told:?}");
    assert_eq!((told[1].0.as_str(), told[1].1.as_str()), ("tiny", "close"), "{told:?}");
}

#[test]
fn a_verdict_is_kept_until_something_it_follows_from_changes() {
    let project = computes(with_reference(), "ours", RIGHT);
    verdicts(&project, &["-f", "ours"]);
    assert_eq!((starts(&project, "ours"), starts(&project, "theirs")), (1, 1));
    let (_, again) = verdicts(&project, &["-f", "ours"]);
    assert_eq!(grade(&again, "ours"), "close");
    assert_eq!((starts(&project, "ours"), starts(&project, "theirs")), (1, 1), "nothing to do");

    verdicts(&project, &["-f", "ours", "--again"]);
    assert_eq!((starts(&project, "ours"), starts(&project, "theirs")), (2, 1), "asked for");

    let harness = project.path("harnesses/ours/tiny.py");
    let text = fs::read_to_string(&harness).unwrap();
    fs::write(&harness, text + "# changed\n").unwrap();
    verdicts(&project, &["-f", "ours"]);
    assert_eq!((starts(&project, "ours"), starts(&project, "theirs")), (3, 1), "another harness");

    let harness = project.path("harnesses/theirs/tiny.py");
    let text = fs::read_to_string(&harness).unwrap();
    fs::write(&harness, text + "# changed\n").unwrap();
    verdicts(&project, &["-f", "ours"]);
    assert_eq!((starts(&project, "ours"), starts(&project, "theirs")), (4, 2), "another reference");

    project.write("specs/tiny.yaml", &with("reference: theirs\ntolerance: {outputs: 1e-4}"));
    verdicts(&project, &["-f", "ours"]);
    assert_eq!(starts(&project, "ours"), 5, "another spec");
}

#[test]
fn a_damaged_cache_of_the_reference_condemns_nobody() {
    let project = computes(with_reference(), "ours", RIGHT);
    verdicts(&project, &[]);
    let mut damaged = 0;
    for part in list(&project.path("home/checks/reference")) {
        let outputs = part.join("outputs.npy");
        if let Ok(mut bytes) = fs::read(&outputs) {
            let last = bytes.len() - 1;
            bytes[last] ^= 0x40;
            fs::write(&outputs, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    let before = starts(&project, "theirs");
    let (code, found) = verdicts(&project, &["--again"]);
    assert_eq!((code, grade(&found, "ours").as_str()), (Some(0), "close"), "{found}");
    assert_eq!(starts(&project, "theirs"), before + 2, "the reference, as target and anew");
}

#[test]
fn a_run_checks_first_and_its_record_has_the_grade() {
    let project = computes(with_reference(), "ours", RIGHT);
    let done = project.run(&["-f", "ours", "--markdown"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(project.records()[0]["equivalence"]["grade"], "close");
    assert!(done.stdout.contains("close"), "{done:?}");
    assert_eq!(starts(&project, "ours"), 2, "one check, one run");

    // A verdict is there: it costs nothing, and is used without a check too.
    project.run(&["-f", "ours"]);
    assert_eq!(starts(&project, "ours"), 3);
}

#[test]
fn a_run_without_a_check_leaves_its_record_unchecked() {
    let project = computes(with_reference(), "ours", RIGHT);
    let done = project.run(&["-f", "ours", "--no-check"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(project.records()[0]["equivalence"]["grade"], "unchecked");
    assert_eq!(starts(&project, "theirs"), 0);
}

#[test]
fn a_run_of_what_is_different_goes_on_and_says_so() {
    let project = computes(with_reference(), "ours", Numbers { output: 0.26, ..RIGHT });
    let done = project.run(&["-f", "ours"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(project.records()[0]["equivalence"]["grade"], "different");
    assert!(done.stdout.contains("not the same experiment"), "{done:?}");
}

#[test]
fn a_reference_that_is_not_there_names_those_that_are() {
    let project = computes(with_reference(), "ours", RIGHT);
    let done = check(&project, &["--reference", "thiers"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("`thiers`; known: `ours`, `theirs`"), "{done:?}");
    assert!(done.stderr.contains("did you mean `theirs`?"), "{done:?}");

    project.write("specs/tiny.yaml", &with("reference: thiers"));
    let done = check(&project, &[]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(
        done.stderr.contains("specs/tiny.yaml:18:12: this `reference` is not available"),
        "{done:?}"
    );
    assert!(done.stderr.contains("did you mean `theirs`?"), "{done:?}");
}

#[test]
fn an_experiment_without_a_reference_tells_how_to_name_one() {
    let project = computes(computes(Project::new(), "ours", RIGHT), "theirs", RIGHT);
    let (code, found) = verdicts(&project, &[]);
    assert_eq!((code, grade(&found, "ours")), (Some(1), "unchecked".to_owned()), "{found}");
    let why = reason(&found, "ours");
    let says = "tiny has no reference; name one of `ours`, `theirs` with `--reference`, or as";
    assert!(why.starts_with(says) && why.ends_with("/specs/tiny.yaml`"), "{why}");
    let (code, found) = verdicts(&project, &["--reference", "theirs"]);
    assert_eq!((code, grade(&found, "ours")), (Some(0), "close".to_owned()), "{found}");
    // A run has no use for a reference that nobody named.
    assert_eq!(project.run(&[]).code, Some(0));
}

#[test]
fn a_declared_difference_exits_with_0() {
    let project = computes(with_reference(), "ours", Numbers { output: 0.26, ..RIGHT });
    declare(&project, "ours", "differences: {tiny: its logits are its own}");
    let (code, found) = verdicts(&project, &["-f", "ours"]);
    assert_eq!((code, grade(&found, "ours")), (Some(0), "different".to_owned()), "{found}");
    assert_eq!(reason(&found, "ours"), "its logits are its own");
    assert_eq!(found["ours"]["equivalence"]["is_declared"], true);
}

/// A change of the reference that gives the loss of [`Numbers`] another digit.
const VARIANTS: &str = "\
version: 1
variants:
  - name: longer_loss
    is: variant
    stage: loss
    says: the loss has a term more
    changes: [{in: [tiny], from: \"0.5'\", to: \"0.6'\"}]
";

#[test]
fn a_variant_is_named_and_once_declared_proved() {
    let project = computes(with_reference(), "ours", Numbers { loss: "0.6", ..RIGHT });
    project.write("harnesses/theirs/variants.yaml", VARIANTS);
    let (code, found) = verdicts(&project, &["-f", "ours"]);
    assert_eq!((code, grade(&found, "ours")), (Some(1), "different".to_owned()), "{found}");
    assert_eq!(found["ours"]["cause"]["name"], "longer_loss", "{found}");
    assert!(reason(&found, "ours").starts_with("the loss has a term more (a variant that can"));

    declare(&project, "ours", "variants: {tiny: [longer_loss]}");
    let (code, found) = verdicts(&project, &["-f", "ours"]);
    assert_eq!((code, grade(&found, "ours")), (Some(0), "variant".to_owned()), "{found}");
    assert_eq!(found["ours"]["equivalence"]["variants"][0], "longer_loss");
}

#[test]
fn in_what_frameworks_differ_in_silence_is_tried_without_any_variants() {
    // The reference's second loss follows from its decay, as a shell can say it.
    let decay = "weight_decay=0.01\nlast=$([ $weight_decay = 0 ] && echo 6 || echo 5)\n";
    let ours = "0.'$([ $step = 2 ] && echo 6 || echo 5)'";
    let project = computes(with_reference(), "ours", Numbers { loss: ours, ..RIGHT });
    let harness = fs::read_to_string(project.path("harnesses/theirs/tiny.py")).unwrap();
    let (first, rest) = harness.split_once("echo started").unwrap();
    let theirs = "0.'$([ $step = 2 ] && echo $last || echo 5)";
    let script = format!("{first}{decay}echo started{}", rest.replace("0.5'", theirs));
    project.write("harnesses/theirs/tiny.py", &script);
    let (code, found) = verdicts(&project, &["-f", "ours"]);
    assert_eq!((code, grade(&found, "ours")), (Some(1), "different".to_owned()), "{found}");
    assert_eq!(found["ours"]["cause"]["name"], "weight_decay_0", "{found}");
    assert!(
        reason(&found, "ours").starts_with("`weight_decay` is 0; the loss of step 2"),
        "{found}"
    );
    let lines = &found["ours"]["cause"]["lines"][0];
    assert_eq!(lines[1], "weight_decay=0", "{found}");
}

#[test]
fn the_first_layer_that_differs_is_named() {
    let project = computes(with_reference(), "ours", Numbers { output: 0.35, ..RIGHT });
    let says = |name: &str, path: &str| {
        format!(r#"{{"v":1,"seq":1,"ev":"activation","t":0,"name":"{name}","path":"{path}"}}"#)
    };
    for (name, second) in [("ours", 2.0), ("theirs", 3.0)] {
        let path = format!("harnesses/{name}/tiny.py");
        let script = fs::read_to_string(project.path(&path)).unwrap();
        let folder = project.path(&format!("numbers/{name}")).display().to_string();
        let says = format!(
            "cp {folder}/activation-*.npy .\necho '{}'\necho '{}'\nstep=0",
            says("embedding", "activation-0.npy"),
            says("block1.attention", "activation-1.npy")
        );
        project.write(&path, &script.replace("step=0", &says));
        for (number, value) in [(0, 1.0), (1, second)] {
            let file = format!("numbers/{name}/activation-{number}.npy");
            project.write_bytes(&file, &npy_f32(&[1, 1], &[value]));
        }
    }
    let (_, found) = verdicts(&project, &["-f", "ours"]);
    let words = "the activation of block1.attention in float32 differs by 3.3e-1";
    assert!(reason(&found, "ours").starts_with(words), "{found}");
}

#[test]
fn a_declared_variant_that_is_not_there_is_a_clear_error() {
    let project = computes(with_reference(), "ours", RIGHT);
    project.write("harnesses/theirs/variants.yaml", VARIANTS);
    declare(&project, "ours", "variants: {tiny: [longer_los]}");
    let done = check(&project, &["-f", "ours"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    let words = [
        "harnesses/ours/framework.yaml",
        "unknown variant of tiny `longer_los`; known: `longer_loss`",
        "did you mean `longer_loss`?",
    ];
    for words in words {
        assert!(done.stderr.contains(words), "no `{words}` in {done:?}");
    }
    assert_eq!(starts(&project, "ours"), 0, "nothing may start");
}

#[test]
fn a_reference_in_float32_is_compared_in_float32() {
    // Held to 1e-9 with numbers that have 7 digits, every target was said to be different.
    let project = computes(with_reference(), "ours", Numbers { output: 0.250_000_1, ..RIGHT });
    declare(&project, "ours", "float64: true");
    let (code, found) = verdicts(&project, &["-f", "ours"]);
    assert_eq!((code, grade(&found, "ours")), (Some(0), "close".to_owned()), "{found}");
    assert_eq!(found["ours"]["compared"].as_array().unwrap().len(), 1, "{found}");

    declare(&project, "theirs", "float64: true");
    let (code, found) = verdicts(&project, &["-f", "ours"]);
    assert_eq!((code, grade(&found, "ours")), (Some(1), "different".to_owned()), "{found}");
}

#[test]
fn what_float64_sees_too_is_not_rounding() {
    // Where nothing explained the difference in float64, float32 said that float64 agreed.
    let project = computes(with_reference(), "ours", Numbers { output: 0.2502, ..RIGHT });
    for name in ["ours", "theirs"] {
        declare(&project, name, "float64: true");
    }
    let (code, found) = verdicts(&project, &["-f", "ours"]);
    assert_eq!((code, grade(&found, "ours")), (Some(1), "different".to_owned()), "{found}");
    assert!(reason(&found, "ours").starts_with("outputs before training in float64"), "{found}");
    assert!(found["ours"]["cause"].is_null(), "{found}");
}

/// Fields of an experiment with dropout.
const DROPOUT: &str = "reference: theirs\ncheck: {dropout: 0}";

fn claims(verdicts: &Value) -> Vec<String> {
    let semantics = verdicts["ours"]["semantics"].as_array().unwrap();
    semantics.iter().map(|semantic| semantic["claim"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn dropout_is_probed_only_where_numbers_pass_through_the_reference() {
    // A network that lets nothing through, such as one with an embedding, was said to drop it.
    let rates = [("0.5", "0"), ("[0.5]", "[0.0]")];
    for (rate, none) in rates {
        let project = computes(with_reference(), "ours", RIGHT);
        let spec = with(&DROPOUT.replace("dropout: 0", &format!("dropout: {none}")));
        let settings = format!("settings: {{dropout: {rate}, ");
        project.write("specs/tiny.yaml", &spec.replace("settings: {", &settings));
        let (code, found) = verdicts(&project, &["-f", "ours"]);
        assert_eq!((code, grade(&found, "ours")), (Some(0), "close".to_owned()), "{found}");
        let expected = ["prediction drops nothing", "two seeds differ", "one seed repeats"];
        assert_eq!(claims(&found), expected);
    }
}

#[test]
fn ctrl_c_ends_with_130_and_leaves_nothing_behind() {
    let slow = "touch {running}; sleep 60";
    for slow_one in ["ours", "theirs"] {
        let project = computes(computes(Project::new(), "ours", RIGHT), "theirs", RIGHT);
        project.write("specs/tiny.yaml", &with("reference: theirs"));
        let running = project.path("running");
        let script = slow.replace("{running}", &running.to_string_lossy());
        project.write(&format!("harnesses/{slow_one}/tiny.py"), &script);
        let mut command = project.command(&[&CHECK[..], &["cpu", "-f", "ours"]].concat());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child: Child = command.spawn().unwrap();
        wait_until(|| running.exists());
        let pid = i32::try_from(child.id()).unwrap();
        // SAFETY: the child has not been waited for, so the number is still its own.
        unsafe { libc::kill(pid, libc::SIGINT) };
        let started = Instant::now();
        let done = Done::of(child.wait_with_output().unwrap());
        assert_eq!(done.code, Some(130), "{slow_one}: {done:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{done:?}");
        assert!(!done.stderr.contains("error:"), "{slow_one}: {done:?}");
        assert_eq!(list(&project.path("home/checks/work")), Vec::<std::path::PathBuf>::new());
        assert!(list(&project.path("results/checks")).is_empty());
    }
}

/// Two threads on CPUs with other work spun most of the time that a check took.
#[test]
fn threads_of_a_check_wait_without_spinning_and_those_of_a_run_as_they_like() {
    let project = computes(with_reference(), "ours", RIGHT);
    let harness = fs::read_to_string(project.path("harnesses/ours/tiny.py")).unwrap();
    let seen = project.path("seen").display().to_string();
    let says = format!("echo \"${{OMP_WAIT_POLICY:-none}}\" >>{seen}\n{harness}");
    project.write("harnesses/ours/tiny.py", &says);
    verdicts(&project, &["-f", "ours"]);
    assert_eq!(project.run(&["-f", "ours"]).code, Some(0));
    assert_eq!(project.read("seen"), "PASSIVE\nnone\n");
}

/// Weights of all parts were read, and those that are compared copied: 1.05 GB for two checks at once.
#[test]
fn a_check_holds_the_weights_that_it_compares_and_no_others() {
    let project = computes(computes(Project::new(), "ours", RIGHT), "theirs", RIGHT);
    let spec = with(DROPOUT).replace("shape: [3, 2]", "shape: [1500, 1000]");
    project.write("specs/tiny.yaml", &spec.replace("settings: {", "settings: {dropout: 0.5, "));
    let weights = npy_f32(&[1500, 1000], &[0.75; 1_500_000]);
    for name in ["ours", "theirs"] {
        project.write_bytes(&format!("numbers/{name}/dense.weight.npy"), &weights);
    }
    let (_, found) = verdicts(&project, &["-f", "ours"]);
    assert_eq!(grade(&found, "ours"), "close", "{found}");
    // SAFETY: the kernel fills in a plain structure of this process' own.
    let largest = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage.ru_maxrss / 1024
    };
    // As float64: the start, and what both computed before and after training.
    let held = (1 + 2 + 2) * 12;
    assert!(largest < held + 60, "{largest} MiB, for {held} MiB of weights");
}

fn wait_until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A named framework that was skipped for a missing program left `check` green, though `run` is not.
#[test]
fn a_framework_that_was_named_and_is_skipped_is_not_ok() {
    let project = computes(with_reference(), "mine", RIGHT);
    project.write(
        "envs/mini/env.yaml",
        "version: 1\nname: mini\nprovider: cargo\nmanifest: harnesses/mini/Cargo.toml\n",
    );
    project.write("harnesses/mini/Cargo.toml", "[package]\nname = \"mini\"\n");
    project.write("harnesses/mini/Cargo.lock", "version = 4\n");
    let yaml = "version: 1\nname: mini\ntitle: Mini\nlanguage: rust\nera: current\n\
        targets:\n  - {name: mini, title: Mini, env: {cpu: mini}, starter: true}\n";
    project.write("harnesses/mini/framework.yaml", yaml);
    project.write("harnesses/mini/tiny.rs", "");
    let code = |more: &[&str]| {
        let args = [&CHECK[..], &["cpu"], more].concat();
        let mut command = project.command(&args);
        // No compiler is found.
        command.env_remove("CARGO_HOME").env("PATH", "/usr/bin:/bin").env("HOME", "/nowhere");
        let done = Done::of(command.output().unwrap());
        assert!(done.stdout.contains("tiny · Mini · cpu: skipped:"), "{done:?}");
        done.code
    };
    assert_eq!((code(&[]), code(&["-f", "mine,mini"])), (Some(0), Some(1)));
}

/// The data of a check and of the run after it are the same: that they are missing was said three times.
#[test]
fn what_stops_check_and_run_is_said_once() {
    let project = with_reference();
    fs::remove_file(project.path("specs/x_test.npy")).unwrap();
    let done = project.run(&[]);
    assert_eq!(done.code, Some(2), "{done:?}");
    let times = |words: &str| done.stderr.matches(words).count();
    assert_eq!((times("x_test.npy"), times("not checked")), (1, 0), "{done:?}");
    assert!(times("data of tiny not available") <= 1, "{done:?}");
}

#[test]
fn a_run_goes_on_without_the_check_that_is_in_its_way() {
    let project = with_reference();
    // Checks are kept in a folder of the home, which is a file here.
    project.write("home/checks", "");
    let mut run = project.command(&["run", "--provider", "system", "--python", "./python"]);
    let done = Done::of(run.env("TMPDIR", "/proc").output().unwrap());
    assert_eq!(done.stderr.matches("not checked: ").count(), 1, "{done:?}");
    assert_eq!(project.records().len(), 1, "{done:?}");
}

/// A build compiled the bytecode of every package: of PyTorch's 5,989 modules a fifth is ever imported.
#[test]
fn what_no_check_has_imported_is_compiled_before_it_is_timed() {
    let project = computes(with_reference().fake_uv(), "ours", RIGHT);
    let python = project.read("path/python3.12");
    let compiled = project.path("compiled").display().to_string();
    let compiles =
        format!("#!/bin/sh\ncase \"$*\" in *compileall*) echo \"$4\" >>{compiled}; exit;; esac\n");
    project.write("path/python3.12", &python.replace("#!/bin/sh\n", &compiles));
    let rosetta = |args: &[&str]| {
        let mut command = project.command(args);
        command.env("PATH", format!("{}:/usr/bin:/bin", project.path("path").display()));
        let done = Done::of(command.output().unwrap());
        assert_eq!(done.code, Some(0), "{done:?}");
        (done.stderr, project.read("compiled").lines().count())
    };
    let run = ["run", "-f", "ours", "--device", "cpu"];
    assert_eq!(rosetta(&run).1, 0, "its check has imported it");
    assert_eq!(rosetta(&run).1, 0, "that was noted");
    let (said, count) = rosetta(&["run", "-f", "theirs", "--device", "cpu", "--no-check"]);
    assert_eq!(count, 1, "{said}");
    assert!(said.contains("bytecode of the environment fake is compiled"), "{said}");
    assert!(project.read("compiled").trim_end().ends_with("/lib"), "{}", project.read("compiled"));
    assert_eq!(rosetta(&["run", "--device", "cpu", "--no-check"]).1, 1, "all is compiled by now");

    // The verdict is known, the environment new.
    fs::remove_dir_all(project.path("home/envs")).unwrap();
    assert_eq!(rosetta(&run).1, 2);
    fs::remove_dir_all(project.path("home/envs")).unwrap();
    assert_eq!(rosetta(&["env", "build", "fake"]).1, 3);
    assert_eq!(rosetta(&["env", "build", "fake"]).1, 3);
}

/// The note of what was checked is a file in an environment's folder; that of the user's own interpreter is any folder.
#[test]
fn a_file_beside_an_interpreter_of_the_users_is_left_alone() {
    let project = computes(with_reference(), "ours", RIGHT);
    project.write("checked.txt", "mine");
    let said = project.run(&["--no-check"]);
    assert!(said.code == Some(0) && !said.stderr.contains("bytecode"), "{said:?}");
    assert_eq!(project.run(&[]).code, Some(0));
    assert_eq!(project.read("checked.txt"), "mine");
}
