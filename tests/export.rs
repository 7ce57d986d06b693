//! `rosetta export repro`: a folder that repeats one job without rosetta.

mod common;

use std::fs;
use std::process::Command;

use common::{Done, Project, good, list};
use serde_json::Value;

/// What stands in for Python's SDK where a real Python runs: the harnesses of these projects are shell scripts.
const MAIN: &str = "import os, sys\nos.execvp('sh', ['sh', sys.argv[1]])\n";

/// Returns a project with one good run of a target.
fn with_run() -> Project {
    let project = Project::new().harness("fake", &good());
    project.write("harnesses/sdk/python/rosetta/__main__.py", MAIN);
    let done = project.run(&["--no-check"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    project
}

fn repeat(project: &Project, folder: &str, variables: &[(&str, &str)]) -> Done {
    let mut command = Command::new("sh");
    command.arg(project.path(folder).join("run.sh")).current_dir("/");
    command.env_remove("PYTHON").envs(variables.iter().copied());
    Done::of(command.output().unwrap())
}

#[test]
fn a_folder_repeats_a_job_without_rosetta() {
    let project = with_run();
    let done = project.rosetta(&["export", "repro", "latest/tiny.fake.cpu.1"]);
    done.says(0, &["wrote `", "repro-tiny-fake-cpu", "provider system"]);
    let folder = project.path("repro-tiny-fake-cpu");
    let read = |name: &str| project.read(&format!("repro-tiny-fake-cpu/{name}"));
    // All of it is in the folder: it may be moved, and the project may go.
    let moved = project.path("moved/away");
    fs::create_dir(project.path("moved")).unwrap();
    let job: Value = serde_json::from_str(&read("job.json")).unwrap();
    let text = job.to_string();
    assert!(!text.contains(&project.path("").display().to_string()), "{text}");
    assert_eq!(job["arrays"]["x_train"]["path"], "data/x_train.npy");
    assert_eq!(
        (&job["weights"]["folder"], &job["order"]),
        (&"data/weights".into(), &"data/order.npy".into())
    );
    assert_eq!(job["threads"], project.records()[0]["cost"]["threads_allowed"]);
    for name in ["x_train", "y_test", "weights/dense.weight", "order"] {
        assert!(folder.join(format!("data/{name}.npy")).is_file(), "{name}");
    }
    assert_eq!(read("harness/tiny.py"), project.read("harnesses/fake/tiny.py"));
    let about = read("README.md");
    for words in [
        "# fake on cpu: A tiny experiment",
        "## Not as it was",
        "| Training (s) | 0.0100 |",
        "`data/x_train.npy` | 8 × 2 |",
    ] {
        assert!(about.contains(words), "{words} is not in\n{about}");
    }
    fs::rename(&folder, &moved).unwrap();
    fs::remove_dir_all(project.path("harnesses")).unwrap();
    let done = repeat(&project, "moved/away", &[("PYTHON", "python3")]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let line = |name: &str| {
        let line = done.stdout.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().rev().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Training (s)"), ["0.01", "0.01"], "{done:?}");
    assert_eq!(line("Version"), ["1.2.3", "1.2.3"]);
    assert_eq!(line("Loss of epoch 1"), ["0.5", "0.5"]);
    assert_eq!(line("Outcome"), ["ok", "ok"]);
    // Without a Python that is named, nothing makes this environment.
    repeat(&project, "moved/away", &[]).says(2, &["PYTHON=/path/to/python sh run.sh"]);
    // A harness that fails now does not go by as if it had not.
    fs::write(
        moved.join("harness/tiny.py"),
        "echo '{\"v\":1,\"ev\":\"phase\",\"t\":1,\"name\":\"train\"}'; exit 3\n",
    )
    .unwrap();
    let done = repeat(&project, "moved/away", &[("PYTHON", "python3")]);
    assert!(done.code == Some(1) && done.stdout.contains("exit code 3"), "{done:?}");
}

#[test]
fn what_was_changed_since_is_said_on_the_screen_and_in_the_folder() {
    let project = with_run();
    let run = list(&project.path("results/runs")).remove(0);
    let job = run.join("tiny.fake.cpu.1");
    project.write("harnesses/fake/tiny.py", &(good() + "# another\n"));
    let spec = project.read("specs/tiny.yaml").replace("learning_rate: 0.1", "learning_rate: 0.2");
    project.write("specs/tiny.yaml", &spec);
    let done = project.rosetta(&["export", "repro", job.to_str().unwrap(), "--out", "here"]);
    let said = ["the harness is another than in the record", "the experiment's spec is another"];
    done.says(0, &said);
    let about = project.read("here/README.md");
    assert!(said.iter().all(|words| about.contains(words)), "{about}");
    // Nothing is written over.
    let done = project.rosetta(&["export", "repro", "latest/tiny.fake.cpu.1", "--out", "here"]);
    done.says(2, &["here` is there already", "name another place with `--out`"]);
    assert_eq!(project.read("here/README.md"), about);
    let done =
        project.rosetta(&["export", "repro", "latest/tiny.fake.cpu.1", "--out", "none/here"]);
    done.says(2, &["cannot make the folder"]);
}

#[test]
fn a_record_that_is_not_there_or_not_the_only_one_is_named() {
    let project = Project::new().harness("fake", &good()).harness("other", "exit 3");
    let done = project.run(&["--no-check", "--repeats", "2"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let export = |name: &str| project.rosetta(&["export", "repro", name]);
    export("latest/tiny.fake.cpu.3")
        .says(2, &["unknown job of run `latest`", "did you mean `tiny.fake.cpu."]);
    export("latest/tiny.fake")
        .says(2, &["is 2 jobs: `latest/tiny.fake.cpu.1`, `latest/tiny.fake.cpu.2`"]);
    export("latest").says(2, &["`latest` is 4 jobs"]);
    export("nobody/tiny").says(2, &["a record is named RUN/JOB", "unknown run `nobody`"]);
    assert!(!project.path("repro-tiny-fake-cpu").exists());
    // One that failed is repeated too: that is what an issue is about.
    export("latest/tiny.other.cpu.2").says(0, &["wrote `"]);
    let about = project.read("repro-tiny-other-cpu/README.md");
    assert!(
        about.contains("| Outcome | crashed |") || about.contains("| Outcome | failed |"),
        "{about}"
    );
    // A program of another language has another way.
    let yaml = project.read("harnesses/fake/framework.yaml");
    project.write(
        "harnesses/fake/framework.yaml",
        &yaml.replace("language: python", "language: rust"),
    );
    fs::rename(project.path("harnesses/fake/tiny.py"), project.path("harnesses/fake/tiny.rs"))
        .unwrap();
    export("latest/tiny.fake.cpu.1")
        .says(2, &["`fake` is not written in Python", "rosetta job tiny --profile quick"]);
}

#[test]
fn the_environment_of_a_lock_is_made_by_the_one_command() {
    let project = Project::new().harness("fake", &good()).fake_uv();
    project.write("envs/fake/requirements.lock", "# made by hand\n");
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    let rosetta =
        |args: &[&str]| Done::of(project.command(args).env("PATH", &path).output().unwrap());
    let done = rosetta(&["run", "--device", "cpu", "--no-check"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let done = rosetta(&["export", "repro", "latest/tiny.fake.cpu.1"]);
    assert!(done.code == Some(0) && !done.stderr.contains("another than"), "{done:?}");
    let folder = "repro-tiny-fake-cpu";
    assert!(!project.read(&format!("{folder}/README.md")).contains("## Not as it was"));
    assert_eq!(
        project.read(&format!("{folder}/environment/requirements.lock")),
        "# made by hand\n"
    );
    let done = repeat(&project, folder, &[("PATH", &path)]);
    // What plays Python says this of everything but a harness.
    assert!(
        done.code == Some(0) && done.stdout.contains("\"implementation\": \"cpython\""),
        "{done:?}"
    );
    assert!(project.path(folder).join(".venv/ready").is_file());
    // It is made once; without uv by venv and pip, and without a Python that starts it is said what is missing.
    fs::remove_file(project.path("path/uv")).unwrap();
    assert_eq!(repeat(&project, folder, &[("PATH", &path)]).code, Some(0));
    fs::remove_dir_all(project.path(folder).join(".venv")).unwrap();
    let venv = "[ \"$2\" != venv ] || { mkdir -p \"$3/bin\" && cp \"$0\" \"$3/bin/python\"; }\n";
    project.program("path/python3.12", venv);
    assert_eq!(repeat(&project, folder, &[("PATH", &path)]).code, Some(0));
    assert!(project.path(folder).join(".venv/ready").is_file());
    fs::remove_dir_all(project.path(folder).join(".venv")).unwrap();
    project.program("path/python3.12", "exit 127\n");
    repeat(&project, folder, &[("PATH", &path)])
        .says(2, &["needs uv or python3.12 on PATH, or PYTHON=/path/to/python"]);
}

/// The folder had the lock that is pinned, and said that the record's was another.
#[test]
fn a_version_that_is_kept_has_its_own_lock() {
    let project = Project::new().harness("fake", &good()).fake_uv();
    project.write(
        "envs/fake/env.yaml",
        "version: 1\nname: fake\nprovider: venv\npython: \"3.12\"\nrequirements: [fakelib==2.0.0]\n",
    );
    let lock = |version: &str| format!("fakelib=={version} \\\n    --hash=sha256:aa\n");
    project.write("envs/fake/requirements.lock", &lock("2.0.0"));
    project.write("envs/fake/locks/1.0.0.lock", &lock("1.0.0"));
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    let rosetta =
        |args: &[&str]| Done::of(project.command(args).env("PATH", &path).output().unwrap());
    let done = rosetta(&["run", "-f", "fake@1.0.0", "--device", "cpu", "--no-check"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let done = rosetta(&["export", "repro", "latest/tiny.fake@1.0.0.cpu.1", "--out", "here"]);
    assert!(done.code == Some(0) && !done.stderr.contains("another than"), "{done:?}");
    assert_eq!(project.read("here/environment/requirements.lock"), lock("1.0.0"));
}
