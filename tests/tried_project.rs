//! What broke around a project when it was tried: files of other programs, broken files, variables
//! and programs of the machine; each through the real rosetta.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Done, Project, good};

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

/// A program on PATH that hangs held rosetta for ever, silently.
#[test]
fn a_git_that_hangs_costs_the_revision_and_not_the_run() {
    let project = Project::new().harness("fake", &good());
    project.program("path/git", "sleep 300");
    let mut command = project.command(&RUN);
    let path = format!("{}:/usr/bin:/bin", project.path("path").display());
    command.env("PATH", path);
    let begun = Instant::now();
    let done = Done::of(command.output().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("`git` does not answer"), "{done:?}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(project.records()[0]["rosetta"]["revision"], serde_json::Value::Null);
}
