//! `rosetta env update`: another version of a framework beside the pinned one, with scripts that play uv,
//! CPython and harnesses.

mod common;

use std::fs;
use std::process::Command;

use common::{Done, Numbers, Project, RIGHT, computes, list, with_reference};
use serde_json::Value;

/// Solves as an index would that has fakelib 1.0.0, 1.5.0, 2.0.0 and 3.0.0; the newest is what `newest` says.
const UV: &str = r#"
[ "$1" = --version ] && echo 'uv 0.13.9' && exit
echo "$*" >>{root}/asked
for last; do :; done
case "$1 $2" in
"venv "*) mkdir -p "$last/bin" && cp {root}/path/python3.12 "$last/bin/python" ;;
"pip sync")
    if grep -q 'fakelib==1.5.0' "$last"; then echo 'cannot unpack fakelib'; exit 1; fi ;;
"pip compile")
    cat {root}/said 2>/dev/null && exit 2
    cat "$last" >{root}/wanted
    while [ "$1" != --output-file ]; do shift; done
    case $(head -1 "$last") in
    "fakelib>=1.0.0") version=$(cat {root}/newest) ;;
    fakelib==1.5.0 | fakelib==2.0.0 | fakelib==3.0.0 | fakelib==0.9.0)
        version=$(head -1 "$last" | sed 's/.*==//') ;;
    *) echo "  x No solution found when resolving dependencies:"; exit 1 ;;
    esac
    { echo "fakelib==$version \\"; echo "    --hash=sha256:aa"; echo "other==3.1"; [ $version = 1.0.0 ] || echo "extra==7"; } >"$2" ;;
esac
"#;

const ENV: &str = "version: 1\nname: fake\nprovider: venv\npython: \"3.12\"\n\
    requirements: [fakelib==1.0.0, other==3.0]\n";

const LOCK: &str = "fakelib==1.0.0 \\\n    --hash=sha256:aa\nother==3.0\nold==1\n";

/// Returns a project with a framework `ours` in the environment `fake`, whose version 3.0.0 computes something
/// else, and a reference in one of its own.
fn project() -> Project {
    let project = computes(with_reference().fake_uv(), "ours", RIGHT);
    let other = Numbers { output: 0.375, ..RIGHT };
    let project = computes(project, "wrong", other);
    fs::remove_dir_all(project.path("harnesses/wrong")).unwrap();
    let root = project.path("").display().to_string();
    let root = root.trim_end_matches('/');
    project.program("path/uv", &UV.replace("{root}", root));
    project.write("envs/fake/env.yaml", ENV);
    project.write("envs/fake/requirements.lock", LOCK);
    project.write("envs/plain/env.yaml", &ENV.replace("fake\n", "plain\n"));
    project.write("envs/plain/requirements.lock", LOCK);
    let path = "harnesses/theirs/framework.yaml";
    project.write(path, &project.read(path).replace("{cpu: fake}", "{cpu: plain}"));
    let harness = project.read("harnesses/ours/tiny.py");
    let numbers = format!("{root}/numbers");
    let chosen = format!(
        "numbers={numbers}/ours\ncase $VIRTUAL_ENV in *fake@3.0.0*) numbers={numbers}/wrong;; esac\n"
    );
    project.write(
        "harnesses/ours/tiny.py",
        &(chosen + &harness.replace(&format!("{numbers}/ours"), "$numbers")),
    );
    project.write("newest", "2.0.0");
    project
}

fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env("PATH", format!("{}:/usr/bin:/bin", project.path("path").display()));
    command
}

fn rosetta(project: &Project, args: &[&str]) -> Done {
    Done::of(command(project, args).output().unwrap())
}

fn update(project: &Project, args: &[&str]) -> Done {
    rosetta(project, &[&["env", "update"], args].concat())
}

fn locks(project: &Project) -> Vec<String> {
    let names = list(&project.path("envs/fake/locks")).into_iter();
    names.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// Returns the digests of the environments by name, and whether each is built.
fn environments(project: &Project) -> Value {
    let done = rosetta(project, &["env", "list", "--json"]);
    let all: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
    let by_name = all.into_iter().map(|env| (env["name"].as_str().unwrap().to_owned(), env));
    by_name.collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn the_newest_is_locked_built_checked_and_stands_in_one_table_with_the_pinned() {
    let project = project();
    let before = environments(&project)["fake"]["digest"].clone();

    let dry = update(&project, &["fake", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    let rows = dry.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let rows = rows.collect::<Vec<_>>();
    for row in ["extra – 7", "fakelib 1.0.0 2.0.0", "old 1 –", "other 3.0 3.1"] {
        assert!(rows.iter().any(|line| line.replace('│', "").contains(row)), "{row}: {dry:?}");
    }
    assert!(dry.stderr.contains("fake@2.0.0 would be built"), "{dry:?}");
    assert!(!project.read("asked").contains("venv"), "{dry:?}");
    assert!(locks(&project).is_empty());
    // The framework from what is pinned on, the others as it may be.
    assert_eq!(project.read("wanted"), "fakelib>=1.0.0\nother\n");

    let done = update(&project, &["fake"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("ours 2.0.0") && done.stdout.contains("close"), "{done:?}");
    assert!(done.stderr.contains("`rosetta run -f ours,ours@2.0.0` runs both"), "{done:?}");
    assert_eq!(locks(&project), ["2.0.0.lock"]);
    let lock = project.read("envs/fake/locks/2.0.0.lock");
    let heading = "# made by `rosetta env update fake@2.0.0`; do not edit\nfakelib==2.0.0 \\\n";
    assert!(lock.starts_with(heading), "{lock}");
    assert_eq!(project.read("envs/fake/requirements.lock"), LOCK, "what is pinned is as it was");
    let after = environments(&project);
    assert_eq!(after["fake"]["digest"], before);
    assert_eq!(after["fake@2.0.0"]["state"], "built");
    assert_ne!(after["fake@2.0.0"]["digest"], before);
    let left = list(&project.path("home/envs"));
    assert!(!left.iter().any(|path| path.to_string_lossy().contains(".scratch")), "{left:?}");

    let both = ["run", "--device", "cpu", "-f", "ours,ours@2.0.0"];
    let done = rosetta(&project, &both);
    assert_eq!(done.code, Some(0), "{done:?}");
    let records = project.records();
    let of = |target: &str| records.iter().find(|record| record["target"] == target).unwrap();
    let new = of("ours@2.0.0");
    assert_eq!(new["title"], "ours 2.0.0");
    assert_eq!(new["env"]["name"], "fake@2.0.0");
    assert_eq!(new["env"]["packages"][1], "fakelib==2.0.0");
    assert_eq!(new["equivalence"]["grade"], "close");
    assert_ne!(new["env"]["lock_digest"], of("ours")["env"]["lock_digest"]);
    let table = rosetta(&project, &["table", "-f", "ours", "--json"]);
    let tables: Value = serde_json::from_str(&table.stdout).unwrap();
    let rows = tables[0]["rows"].as_array().unwrap().iter();
    let mut names = rows.map(|row| row["library"].as_str().unwrap()).collect::<Vec<_>>();
    names.sort();
    assert!(tables.as_array().unwrap().len() == 1 && names == ["ours", "ours 2.0.0"], "{table:?}");
    let table = rosetta(&project, &["table", "-f", "ours@2.0.0", "--csv"]);
    assert_eq!(table.stdout.lines().count(), 2, "{table:?}");
    assert!(table.stdout.contains("rosetta run tiny -f ours@2.0.0 "), "{table:?}");

    // Again: the same lock, nothing to build, and its verdict is known.
    fs::remove_file(project.path("asked")).unwrap();
    let done = update(&project, &["fake"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!project.read("asked").contains("sync"), "{done:?}");
    // With conda's and docker's locks it has nothing to do; its own is not for `lock` to make.
    rosetta(&project, &["env", "lock", "fake@2.0.0"])
        .says(2, &["stands beside what env.yaml pins", "`rosetta env update fake@2.0.0`"]);
}

#[test]
fn a_version_is_chosen_by_name_or_as_the_newest_and_never_by_itself() {
    let project = project();
    for version in ["fake@2.0.0", "fake@0.9.0"] {
        let done = update(&project, &[version]);
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    let plan = |more: &[&str]| {
        let args = [&["run", "--dry-run", "--device", "cpu", "-p", "smoke"], more].concat();
        let done = rosetta(&project, &args);
        let jobs = done.stdout.lines().filter(|line| line.contains("ours")).map(str::to_owned);
        jobs.collect::<Vec<_>>()
    };
    let [pinned, old, new] = ["tiny.ours.cpu.1", "tiny.ours@0.9.0.cpu.1", "tiny.ours@2.0.0.cpu.1"];
    assert_eq!(plan(&[]), [pinned]);
    assert_eq!(plan(&["--all"]), [pinned]);
    assert_eq!(plan(&["-f", "ours"]), [pinned]);
    assert_eq!(plan(&["-f", "ours@0.9.0"]), [old]);
    let mut newest = plan(&["--all", "--newest"]);
    newest.sort();
    assert_eq!(newest, [pinned, new]);
    // An older one is not newer than what is pinned.
    let done = update(&project, &["--remove", "fake@2.0.0"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(plan(&["--newest"]), [pinned]);
    let said = rosetta(&project, &["run", "--dry-run", "--device", "cpu", "--newest"]);
    assert!(said.stderr.contains("no version is kept that is newer"), "{said:?}");
    rosetta(&project, &["run", "-f", "ours@2.0.0"])
        .says(2, &["version 2.0.0 of `ours` is not kept; kept: `0.9.0`", "env update ours@2.0.0"]);

    // An interpreter of the user's is not that version, whatever it is called.
    let own = ["run", "--python", "./python", "--device", "cpu", "-f", "ours@0.9.0"];
    rosetta(&project, &own).says(2, &["it is 0.9.0 as its lock has it", "name `ours`"]);

    let targets = rosetta(&project, &["list", "targets", "--json"]);
    let targets: Vec<Value> = serde_json::from_str(&targets.stdout).unwrap();
    let old = targets.iter().find(|target| target["target"] == "ours@0.9.0").unwrap();
    assert_eq!((&old["version"], &old["is_built"]), (&"0.9.0".into(), &true.into()));
    let mut shell = command(&project, &["--", "rosetta", "run", "-f", "ours@"]);
    let names = Done::of(shell.env("ROSETTA_COMPLETE", "fish").output().unwrap());
    assert_eq!(names.stdout.trim(), "ours@0.9.0", "{names:?}");
}

#[test]
fn a_night_with_the_newest_has_both_rows() {
    let project = project();
    assert_eq!(update(&project, &["ours"]).code, Some(0));
    let night = ["nightly", "--newest", "--device", "cpu", "-r", "1", "-f", "ours"];
    for _ in 0..2 {
        let done = rosetta(&project, &night);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stdout.contains("2 ok, 0 not ok"), "{done:?}");
    }
    let runs = list(&project.path("results/runs"));
    let summary = fs::read_to_string(runs.iter().max().unwrap().join("summary.md")).unwrap();
    assert!(summary.contains("| ours ") && summary.contains("| ours 2.0.0 "), "{summary}");
    let compared = rosetta(&project, &["compare", "--all"]);
    assert!(compared.stdout.contains("ours 2.0.0"), "{compared:?}");
    let history = rosetta(&project, &["history", "tiny", "ours@2.0.0"]);
    assert!(history.stdout.contains("2 nights"), "{history:?}");
}

#[test]
fn what_fails_is_not_kept_and_what_was_stays() {
    let project = project();
    assert_eq!(update(&project, &["fake"]).code, Some(0));
    let kept = project.read("envs/fake/locks/2.0.0.lock");

    // The solver finds none.
    let done = update(&project, &["fake@9.9.9"]);
    done.says(
        1,
        &[
            "cannot lock version 9.9.9 of the environment `fake`",
            "No solution found",
            "what is pinned and what is kept are as they were",
            "not updated: fake",
        ],
    );
    // It does not install.
    let done = update(&project, &["fake@1.5.0"]);
    done.says(1, &["`fake@1.5.0` is not kept", "cannot unpack fakelib", "its log is"]);
    // It computes something else.
    project.write("newest", "3.0.0");
    let done = update(&project, &["fake"]);
    done.says(
        1,
        &[
            "`fake@3.0.0` is not kept: 1 of 1 checks did not pass, as tiny · ours@3.0.0: different",
            "`rosetta env update fake@3.0.0 --no-check` keeps it all the same",
        ],
    );
    assert!(done.stdout.contains("fakelib") && done.stdout.contains("different"), "{done:?}");
    assert_eq!(locks(&project), ["2.0.0.lock"]);
    assert_eq!(project.read("envs/fake/locks/2.0.0.lock"), kept);
    assert_eq!(project.read("envs/fake/requirements.lock"), LOCK);
    assert!(environments(&project).get("fake@3.0.0").is_none());

    // What was built for it nobody needs.
    let gone = rosetta(&project, &["env", "gc", "--yes"]);
    assert!(gone.code == Some(0) && gone.stderr.contains("folders removed"), "{gone:?}");
    let built = list(&project.path("home/envs"));
    let is_built = |name: &str| built.iter().any(|one| one.to_string_lossy().contains(name));
    assert!(is_built("/fake@2.0.0-") && !is_built("/fake@3.0.0-"), "{built:?}");

    let done = update(&project, &["fake", "--no-check"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("fake@3.0.0 was not checked"), "{done:?}");
    let check = rosetta(&project, &["check", "-f", "ours@3.0.0", "--device", "cpu"]);
    assert!(check.code == Some(1) && check.stdout.contains("different"), "{check:?}");
}

#[test]
fn without_a_network_it_says_so_and_does_nothing() {
    let project = project();
    project.write(
        "said",
        "error: Failed to fetch: `https://pypi.org/simple/fakelib/`\n  Caused by: Request failed after 3 retries\n  \
         Caused by: error sending request for url (https://pypi.org/simple/fakelib/)\n",
    );
    let done = update(&project, &["fake"]);
    done.says(1, &["the package index cannot be reached", "hint:", "https_proxy"]);
    assert!(locks(&project).is_empty() && !project.read("asked").contains("venv"));
}

#[test]
fn what_is_pinned_may_be_the_newest() {
    let project = project();
    project.write("newest", "1.0.0");
    let done = update(&project, &["fake"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    // Others are newer; that makes no other version of the framework.
    assert!(done.stderr.contains("fakelib 1.0.0 is the newest, and is pinned"), "{done:?}");
    assert!(done.stdout.contains("other"), "{done:?}");
    project.write("envs/fake/requirements.lock", "fakelib==1.0.0\nother==3.1\n");
    project.write("envs/fake/env.yaml", &ENV.replace("other==3.0", "other==3.1"));
    let done = update(&project, &["fake"]);
    assert!(done.code == Some(0) && done.stdout.is_empty(), "{done:?}");
    assert!(done.stderr.contains("what is pinned is the newest"), "{done:?}");
    assert!(locks(&project).is_empty());
}

#[test]
fn what_has_no_other_versions_is_told_what_to_do_instead() {
    let project = project();
    let env = |name: &str, fields: &str| {
        project.write(
            &format!("envs/{name}/env.yaml"),
            &format!("version: 1\nname: {name}\nprovider: {fields}\n"),
        );
    };
    env("crate", "cargo\nmanifest: harnesses/crate/Cargo.toml");
    env("flux", "julia\njulia: \"1.10\"");
    env("bare", "venv\npython: \"3.12\"");
    env("loose", "venv\npython: \"3.12\"\nrequirements: [fakelib]");
    let cases = [
        (&["crate"][..], "of a crate", "change them in `harnesses/crate/Cargo.toml`"),
        (&["flux"], "of a Project.toml", "rosetta env lock flux"),
        (&["bare"], "is not pinned", "envs/bare/env.yaml"),
        (&["loose"], "is not pinned", "envs/loose/env.yaml"),
        (&["fake@"], "not a version", "write `fake@1.0.0`"),
        (&["fake@new"], "`new` must start with a digit", "write `fake@1.0.0`"),
        (&["fake@../x"], "not a version", "write `fake@1.0.0`"),
        (&["fake@1@2"], "not a version", "write `fake@1.0.0`"),
        (&["fakes"], "unknown environment `fakes`", "did you mean `fake`"),
        (&["tiny"], "is an experiment, not an environment", "hint:"),
        (&["--remove", "fake"], "`fake` is not a version that is kept", "never removed"),
        (&["--remove", "fake@9"], "`fake@9` is not a version that is kept", "never removed"),
        (&["--remove"], "required arguments", "<NAMES>"),
        (&["fake", "--no-check", "--dry-run"], "cannot be used with", "--dry-run"),
    ];
    for (args, why, next) in cases {
        update(&project, args).says(2, &[why, next]);
    }
    assert!(project.read("asked").is_empty(), "nothing is solved before all names are known");
    // A lock that does not hold its version is not used.
    project.write("envs/fake/locks/2.0.0.lock", "fakelib==2.0.1\nother==3.0\n");
    project.write("envs/fake/locks/latest.lock", "");
    let done = rosetta(&project, &["env", "list"]);
    done.says(2, &["envs/fake/locks/latest.lock`: not a version: `latest` must start"]);
    let row = done.stdout.lines().find(|line| line.contains("fake@2.0.0")).unwrap();
    assert!(row.contains("does not hold `fakelib==2.0.0`"), "{row}");
}

#[test]
fn a_version_is_removed_with_what_was_built_from_it() {
    let project = project();
    assert_eq!(update(&project, &["fake"]).code, Some(0));
    let built = |project: &Project| {
        let all = list(&project.path("home/envs"));
        all.iter().filter(|one| one.to_string_lossy().contains("/fake@2.0.0-")).count()
    };
    assert!(built(&project) > 0);
    let done = update(&project, &["--remove", "ours@2.0.0"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("fake@2.0.0: not kept any more"), "{done:?}");
    assert!(!project.path("envs/fake/locks").exists() && built(&project) == 0);
    assert_eq!(project.read("envs/fake/requirements.lock"), LOCK);
}

/// A fix-up may use every file beside env.yaml, so each is part of the digest; a lock that is none of its own is not.
#[test]
fn a_kept_version_changes_no_digest_of_a_pinned_environment() {
    let project = project();
    let fixup = format!("{ENV}fixups: [{{why: a test, run: [\"true\"]}}]\n");
    project.write("envs/fake/env.yaml", &fixup);
    let before = environments(&project)["fake"]["digest"].clone();
    project.write("envs/fake/locks/2.0.0.lock", "fakelib==2.0.0\nother==3.0\n");
    let after = environments(&project);
    assert!(before.is_string() && after["fake"]["digest"] == before);
    assert_ne!(after["fake@2.0.0"]["digest"], before);
    project.write("envs/fake/other.py", "");
    assert_ne!(environments(&project)["fake"]["digest"], before, "as every other file is");
}
