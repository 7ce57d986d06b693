//! What broke around a project when it was tried: files of other programs, broken files, variables
//! and programs of the machine; each through the real rosetta.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Done, HELLO, Project, START, good, says};

fn git(folder: &Path, args: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=x", "-c", "user.email=x@y"]).args(args);
    let done = Done::of(git.output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    done.stdout.trim().to_owned()
}

const RUN: [&str; 6] = ["run", "--no-check", "--python", "./python", "--device", "cpu"];

/// In a hook git sets GIT_DIR: a record had the revision of another repository.
#[test]
fn the_revision_is_that_of_the_project() {
    let project = Project::new().harness("fake", &good());
    for folder in [project.path(""), project.path("other")] {
        std::fs::create_dir_all(&folder).unwrap();
        git(&folder, &["init", "--quiet"]);
        git(&folder, &["commit", "--quiet", "--allow-empty", "-m", folder.to_str().unwrap()]);
    }
    let own = git(&project.path(""), &["rev-parse", "--short=12", "HEAD"]);
    let mut command = project.command(&RUN);
    command.env("GIT_DIR", project.path("other/.git")).env("GIT_WORK_TREE", project.path("other"));
    assert!(command.status().unwrap().success());
    assert_eq!(project.records()[0]["rosetta"]["revision"], own.as_str());
}

/// Emacs locks a file that is edited, macOS writes `._NAME`, Jupyter .ipynb_checkpoints: every
/// command ended with 2.
#[test]
fn files_of_other_programs_are_passed_over() {
    let project = Project::new().harness("fake", &good());
    project.write_bytes("specs/._tiny.yaml", &[0, 5, 22, 7, 0xff]);
    project.write_bytes("harnesses/fake/._tiny.py", &[0, 5, 22, 7, 0xff]);
    project.write_bytes("harnesses/.ipynb_checkpoints/framework.yaml", &[0xff]);
    project.write_bytes("envs/.ipynb_checkpoints/env.yaml", &[0xff]);
    let lock = project.path("specs/.#tiny.yaml");
    std::os::unix::fs::symlink("user@host.1:2", lock).unwrap();
    for args in [&RUN[..], &["list", "experiments"], &["list"], &["table"], &["env", "list"]] {
        let done = project.rosetta(args);
        assert_eq!((done.code, done.stderr.contains("error")), (Some(0), false), "{done:?}");
    }
    assert!(project.rosetta(&["list"]).stdout.contains("tiny"));
}

/// Both were run under one name; the second overwrote the first, and the table mixed them.
#[test]
fn two_files_of_one_name_are_refused() {
    let project = Project::new().harness("fake", &good());
    project.write("specs/digits.yaml", &common::TINY.replace("name: tiny", "name: digits"));
    project.write("specs/digits.yml", &common::TINY.replace("name: tiny", "name: digits"));
    let done = project.rosetta(&["list", "experiments"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stdout.contains("tiny") && !done.stdout.contains("digits"), "{done:?}");
    let said = "specs/digits.yaml` and `";
    assert!(done.stderr.contains(said) && done.stderr.contains("digits.yml` are both"), "{done:?}");
}

/// One broken file stopped every command, `table` too.
#[test]
fn what_cannot_be_read_is_named_once_and_stops_nothing_else() {
    let project = Project::new().harness("fake", &good()).harness("other", &good());
    assert_eq!(project.rosetta(&RUN).code, Some(0));
    project.write("specs/broken.yaml", "version: 1\nname: broken\n");
    project.write("harnesses/bad/framework.yaml", "version: 1\nname: worse\n");
    project.write("envs/bad/env.yaml", "version: 1\nname: bad\nprovider: conda\n");
    let names = ["specs/broken.yaml", "harnesses/bad/framework.yaml", "envs/bad/env.yaml"];
    let all = [&["list"][..], &["env", "list"], &["table"], &RUN];
    for args in all {
        let done = project.rosetta(args);
        assert_eq!(done.code, Some(2), "{args:?}: {done:?}");
        let count = |name| done.stderr.matches(name).count();
        let counts = names.map(count);
        assert!(counts.iter().all(|count| *count <= 1), "{args:?}: {done:?}");
        assert!(counts.contains(&1), "{args:?}: {done:?}");
        assert!(!done.stdout.is_empty(), "{args:?}: {done:?}");
    }
    assert_eq!(
        project.records().iter().filter(|record| record["outcome"]["status"] == "ok").count(),
        4
    );
    // What names a broken one says what is wrong with it.
    let done = project.rosetta(&["run", "broken", "--python", "./python"]);
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("unknown experiment `broken`"), "{done:?}");
    let done = project.rosetta(&["env", "build", "bad"]);
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("allowed: `venv`, `cargo`"), "{done:?}");
    // A target whose environment is broken fails alone.
    project.write("envs/fake/env.yaml", "version: 1\nname: fake\nprovider: conda\n");
    let done = project.rosetta(&["run", "--no-check", "--device", "cpu", "-f", "fake"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let last = project.records().pop().unwrap();
    assert!(last["outcome"]["reason"].as_str().unwrap().contains("envs/fake/env.yaml:3"), "{last}");
}

/// `~` and `$HOME` in a crontab or a compose file made folders of that name, with gigabytes in them.
#[test]
fn a_tilde_is_the_home_and_a_dollar_is_refused() {
    let project = Project::new().harness("fake", &good());
    let run = |name: &str, value: &str| {
        let mut command = project.command(&RUN);
        Done::of(command.env("HOME", project.path("user")).env(name, value).output().unwrap())
    };
    for (name, file) in [("ROSETTA_HOME", "user/here/data"), ("ROSETTA_RESULTS", "user/here/runs")]
    {
        let done = run(name, "~/here");
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(project.path(file).is_dir() && !project.path("~").exists(), "{name}");
        for wrong in ["$HOME/here", "~somebody/here"] {
            let done = run(name, wrong);
            assert_eq!(done.code, Some(2), "{done:?}");
            assert!(done.stderr.contains(&format!("is `{wrong}`")), "{done:?}");
            assert!(done.stderr.contains(name) && done.stderr.contains("hint:"), "{done:?}");
        }
    }
}

/// A container has another host name every night, which hid all nights before.
#[test]
fn a_machine_keeps_the_name_that_it_was_given() {
    let project = Project::new().harness("fake", &good());
    let done = project.rosetta(&[&["--machine", "nightly"], &RUN[..]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(project.records()[0]["machine"]["host"], "nightly");
    assert_eq!(project.rosetta(&["table"]).code, Some(2));
    let mut command = project.command(&["table"]);
    let done = Done::of(command.env("ROSETTA_MACHINE", "nightly").output().unwrap());
    assert!(done.code == Some(0) && done.stdout.contains("fake"), "{done:?}");
    assert_eq!(project.rosetta(&["--machine", "a b", "table"]).code, Some(2));
}

/// A secret stood in run.json, launch.json and done.json, for everybody to read.
#[test]
fn a_secret_that_is_passed_on_is_in_no_file() {
    let project = Project::new().harness("fake", &format!("echo $HF_TOKEN >told\n{}", good()));
    let secret = "hf-0123456789";
    let passed = [format!("--env=WANDB_API_KEY={secret}"), format!("HF_TOKEN={secret}")];
    let done = project.rosetta(&[&RUN[..], &[&passed[0], "--env", &passed[1]]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    let told = std::fs::read_to_string(project.path("harnesses/fake/told")).unwrap();
    assert_eq!(told.trim(), secret);
    let grep = Command::new("grep").args(["-rl", secret]).arg(project.path("results")).output();
    let found = Done::of(grep.unwrap()).stdout;
    let files = found.lines().collect::<Vec<_>>();
    assert!(files.len() == 1 && files[0].ends_with("launch.json"), "{files:?}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(files[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Whatever a harness printed stood in its logs, in its record and in the terminal as it was.
#[test]
fn what_a_harness_prints_is_stored_without_credentials() {
    let word = "Zq7Rm2Xw9Kt4Vb8Nc3Pd6Hf5Js1Qa0Ue2Yo4Li6Gk8";
    let event =
        |field: &str| format!("\"ev\":\"fact\",\"t\":0.2,\"name\":\"place\",\"value\":\"{field}\"");
    let secrets = [
        format!("ghp_{word}"),
        format!("https://someone:{word}1@host/"),
        format!("Bearer {word}2"),
        format!("hf_{word}3"),
        format!("AKIA{}", "Q7RM2XW9KT4VB8NC"),
        format!("sk-proj-{word}4"),
        "a long password".to_owned(),
    ];
    let [chatter, fact, half, rejected, flood, reason, own] = &secrets;
    let script = [
        says(&[START, HELLO, &event(&format!("from {fact} at 0.125"))]),
        format!("echo 'chatter {chatter}'\necho '{{\"v\":2,\"ev\":\"{rejected}\"}}'\n"),
        format!("printf '%s' '{}'; sleep 0.2; echo '{}'\n", &half[..20], &half[20..]),
        format!("printf '%s' '{}' >&2; sleep 0.2; echo '{}' >&2\n", &half[..20], &half[20..]),
        format!("head -c 100000 /dev/zero | tr '\\0' x >&2; echo ' {flood}' >&2\n"),
        "echo \"own $MY_PASSWORD\" >&2; echo \"own $MY_PASSWORD\"\n".to_owned(),
        format!("echo 'RuntimeError: refused, key {reason}' >&2; exit 3\n"),
    ];
    let project = Project::new().harness("fake", &script.concat());
    let passed = format!("--env=MY_PASSWORD={own}");
    let url = format!("--env=PIP_INDEX_URL={fact}");
    let done = project.rosetta(&[&RUN[..], &[&passed, &url]].concat());
    assert_eq!(done.code, Some(1), "{done:?}");
    let record = &project.records()[0];
    let words = "RuntimeError: refused, key sk-***";
    assert!(record["outcome"]["reason"].as_str().unwrap().contains(words), "{record}");
    assert!(done.stderr.contains(words) || done.stdout.contains(words), "{done:?}");
    for secret in &secrets {
        // What is secret of it, without what says which kind it is.
        let begins = ["ghp_", "https://someone:", "Bearer ", "hf_"];
        let value = begins.iter().find_map(|begin| secret.strip_prefix(begin)).unwrap_or(secret);
        let value = value.trim_end_matches("@host/");
        assert!(!format!("{done:?}").contains(value), "{value} is shown: {done:?}");
        let grep = Command::new("grep").args(["-rlF", value]).arg(project.path("results")).output();
        let found = Done::of(grep.unwrap()).stdout;
        let files = found.lines().filter(|file| !file.ends_with("launch.json"));
        assert_eq!(files.collect::<Vec<_>>(), Vec::<&str>::new(), "{value}");
    }
    let grep = |words: &str| {
        let folder = project.path("results");
        let grep = Command::new("grep").args(["-rhoF", words]).arg(folder).output();
        Done::of(grep.unwrap()).stdout.lines().count()
    };
    assert_eq!(grep("\"value\":\"from https://someone:***@host/ at 0.125\"}"), 3);
    assert_eq!(grep("chatter ghp_***"), 1);
    assert_eq!(grep("Bearer ***"), 2);
    assert_eq!(grep("x AKIA***"), 1);
    assert_eq!(grep("own ***"), 2);
}
