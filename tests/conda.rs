//! Environments of conda's: the real rosetta, with a client, a solver and a Python that are scripts, and a
//! channel that is a folder. What a real client does, `.ci/check_conda.py` sees.

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::{Done, Project, good};

/// Notes how it was called and what it saw, then installs what the explicit file lists.
const CONDA: &str = r#"
[ "$1" = --version ] && echo 'conda 24.7.1' && exit
echo "$*" >>{at}/called
env >{at}/seen
while [ $# -gt 0 ]; do
    case $1 in --prefix) root=$2 ;; --file) file=$2 ;; esac
    shift
done
cp "$file" {at}/explicit
mkdir -p "$root/bin" "$root/conda-meta"
{more}
for line in $(grep ^file: "$file"); do
    name=${line%%#*}; name=${name##*/}
    echo '{"files": ["bin/python"]}' >"$root/conda-meta/${name%.conda}.json"
done
cp {at}/conda-python "$root/bin/python"
"#;

const SHA: &str = "sha256sum";

/// Returns a project whose environment `fake` can be made by conda, with `more` in the client.
fn project(more: &str) -> Project {
    let project = Project::new().harness("fake", &good());
    client(&project, more);
    let answer = r#"{"version": [3, 12, 1], "implementation": "cpython", "bits": 64, "has_venv": true, "is_glibc": true, "is_free_threaded": false, "executable": "/x", "base": "/x"}"#;
    let python =
        format!("case \"$1\" in */rosetta/__main__.py) exec sh \"$2\";; esac\necho '{answer}'\n");
    project.program("conda-python", &python);
    project.program("path/uv", "[ \"$1\" = --version ] && echo 'uv 0.13.9'\nexit 0\n");
    project.write("envs/fake/requirements.lock", "");
    project.write("channel/linux-64/python-3.12.1-0.conda", "an archive");
    project.write("channel/noarch/tzdata-2026a-0.conda", "another");
    lock(&project, &[]);
    project
}

fn client(project: &Project, more: &str) {
    let at = project.path("").display().to_string();
    project.program(
        "path/conda",
        &CONDA.replace("{at}", at.trim_end_matches('/')).replace("{more}", more),
    );
}

/// Writes the lock, with some of its texts replaced.
fn lock(project: &Project, changes: &[(&str, &str)]) {
    let line = |file: &str| {
        let path = project.path(&format!("channel/{file}"));
        let digest = Command::new(SHA).arg(&path).output().unwrap().stdout;
        let digest = String::from_utf8(digest).unwrap();
        format!("file://{}#sha256:{}\n", path.display(), digest.split(' ').next().unwrap())
    };
    let files = ["linux-64/python-3.12.1-0.conda", "noarch/tzdata-2026a-0.conda"];
    let mut text = format!("# platform: linux-64\n@EXPLICIT\n{}", files.map(line).concat());
    for (from, to) in changes {
        text = text.replace(from, to);
    }
    project.write("envs/fake/conda-linux-64.lock", &text);
}

/// Returns rosetta with only what the test has on PATH, besides what scripts need.
fn alone(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env_clear();
    command.env("ROSETTA_HOME", project.path("home")).env("NO_COLOR", "1");
    fs::create_dir_all(project.path("user")).unwrap();
    fs::create_dir_all(project.path("tools")).unwrap();
    for tool in ["sh", "cp", "mkdir", "grep", "env", "cat", "sleep", "rm", "kill"] {
        let _ = std::os::unix::fs::symlink(
            format!("/bin/{tool}"),
            project.path(&format!("tools/{tool}")),
        );
    }
    let path = format!("{}:{}", project.path("path").display(), project.path("tools").display());
    command.env("HOME", project.path("user")).env("PATH", path);
    command
}

fn rosetta(project: &Project, args: &[&str]) -> Done {
    Done::of(alone(project, args).output().unwrap())
}

fn build(project: &Project) -> Done {
    rosetta(project, &BUILD)
}

/// Returns what `env list` says of `fake`: state and hint.
fn state(project: &Project, provider: &str) -> (String, String) {
    let done = rosetta(project, &["env", "list", "--json", "--provider", provider]);
    let list: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let fake = list.as_array().unwrap().iter().find(|env| env["name"] == "fake").unwrap();
    (fake["state"].as_str().unwrap().to_owned(), fake["hint"].as_str().unwrap().to_owned())
}

const BUILD: [&str; 5] = ["env", "build", "fake", "--provider", "conda"];
const LOCK: [&str; 5] = ["env", "lock", "fake", "--provider", "conda"];
const RUN: [&str; 6] = ["run", "--no-check", "--device", "cpu", "--provider", "conda"];

#[test]
fn an_environment_is_built_from_its_lock_and_runs() {
    let project = project("");
    assert_eq!(state(&project, "conda").0, "can be built");
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    let record = &project.records()[0];
    assert_eq!(record["env"]["provider"], "conda");
    assert_eq!(record["env"]["packages"].to_string(), r#"["python==3.12.1","tzdata==2026a"]"#);
    // conda 24.7 reads MD5 only, and sees archives that rosetta has hashed, on this machine.
    let explicit = project.read("explicit");
    assert!(
        explicit.contains(
            "/archives/linux-64/python-3.12.1-0.conda#a0901c46356600fdbaffe0fc8c8ac8ba\n"
        ),
        "{explicit}"
    );
    assert!(!explicit.contains("/channel/"), "{explicit}");
    assert!(project.read("called").contains("--offline"));
    // It is there: nobody is asked again, not even without a client.
    fs::remove_file(project.path("path/conda")).unwrap();
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    assert_eq!(state(&project, "conda").0, "built");
    assert_eq!(project.read("called").lines().count(), 1);
    let left = common::list(&project.path("home/envs"));
    assert!(!left.iter().any(|path| path.to_string_lossy().ends_with(".scratch")), "{left:?}");
}

#[test]
fn each_provider_has_environments_of_its_own() {
    let project = project("").fake_uv();
    let folders = || {
        let all = common::list(&project.path("home/envs"));
        let name =
            |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        all.iter()
            .map(name)
            .filter(|name| name.starts_with("fake-") && !name.ends_with(".log"))
            .count()
    };
    build(&project).says(0, &[]);
    rosetta(&project, &["env", "build", "fake"]).says(0, &[]);
    rosetta(&project, &["env", "gc"]).says(0, &["0 folders removed"]);
    assert_eq!(folders(), 2);
    rosetta(&project, &["env", "remove", "fake", "--provider", "conda"]).says(0, &[]);
    assert_eq!((folders(), state(&project, "pinned").0.as_str()), (1, "built"));
    build(&project).says(0, &[]);
    rosetta(&project, &["env", "remove", "fake", "--provider", "pinned"]).says(0, &[]);
    assert_eq!((folders(), state(&project, "conda").0.as_str()), (1, "built"));
    // What another lock stands for now is not needed any more.
    lock(&project, &[("tzdata-2026a-0", "tzdata-2026b-0")]);
    rosetta(&project, &["env", "gc", "--yes"]).says(0, &["1 folders removed"]);
    assert_eq!(folders(), 0);
    build(&project).says(1, &["cannot read `", "tzdata-2026b-0.conda"]);
    rosetta(&project, &["env", "remove", "fake"]).says(0, &[]);
}

#[test]
fn another_archive_than_the_pinned_one_is_refused_before_a_client_sees_it() {
    let project = project("");
    project.write("channel/noarch/tzdata-2026a-0.conda", "changed");
    let done = build(&project);
    done.says(
        1,
        &[
            "cannot bring `tzdata-2026a-0.conda`, line 4 of conda's lock",
            "hint: see that its address has the pinned archive, or run `rosetta env lock",
            "is not the pinned archive: found SHA-256",
        ],
    );
    assert_eq!(project.read("called"), "");
    assert_eq!(state(&project, "conda").0, "can be built");
    // The right one is taken when it is there again.
    project.write("channel/noarch/tzdata-2026a-0.conda", "another");
    build(&project).says(0, &[]);
}

#[test]
fn a_lock_that_pins_too_little_is_refused_with_its_line() {
    let project = project("");
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("#sha256:", "#")], "conda-linux-64.lock` line 3: found the hash `#"),
        (&[("#sha256:", "?")], "conda-linux-64.lock` line 3: `file://"),
        (&[("/linux-64/", "/osx-64/")], "line 3: `file:"),
        (&[("python-3.12.1", "python-3.11.9")], "line 3: found python 3.11.9; env.yaml wants 3.12"),
        (&[("/python-", "/pypy-")], "pins no `python`; env.yaml wants 3.12"),
    ];
    for (changes, expected) in cases {
        lock(&project, changes);
        let (state, hint) = state(&project, "conda");
        assert!(state.contains(expected), "{state}");
        assert_eq!(hint, "run `rosetta env lock fake --provider conda`");
        build(&project).says(
            1,
            &[
                "cannot build the environment `fake`: `",
                expected,
                "hint: run `rosetta env lock fake",
            ],
        );
    }
    lock(&project, &[]);
    project.write(
        "envs/fake/environment.yml",
        "channels: [c]\ndependencies: [python=3.12, libgomp]\n",
    );
    assert_eq!(
        state(&project, "conda").0,
        "its conda-linux-64.lock does not hold `libgomp` of environment.yml"
    );
    fs::remove_file(project.path("envs/fake/conda-linux-64.lock")).unwrap();
    assert_eq!(state(&project, "conda").0, "it has no conda-linux-64.lock");
    assert_eq!(project.read("called"), "");
}

#[test]
fn a_missing_interpreter_is_offered_from_conda_where_there_is_a_lock() {
    let project = project("");
    project.write(
        "envs/fake/env.yaml",
        "version: 1\nname: fake\nprovider: venv\npython: \"3.12.77\"\n",
    );
    let (reason, hint) = state(&project, "pinned");
    assert!(reason.starts_with("there is no CPython 3.12.77"), "{reason}");
    assert!(hint.ends_with(", or take conda's CPython with `--provider conda`"), "{hint}");
    let done = rosetta(&project, &["run", "--no-check", "--device", "cpu"]);
    done.says(2, &["there is no CPython 3.12.77 here", "--provider conda"]);
    fs::remove_file(project.path("envs/fake/conda-linux-64.lock")).unwrap();
    assert!(!state(&project, "pinned").1.contains("conda's"));
}

#[test]
fn a_client_that_will_not_do_is_named_with_what_will() {
    let project = project("");
    project.program("path/conda", "echo 'conda 4.8.3'\n");
    build(&project).says(
        1,
        &[
            "path/conda` is too old: found conda 4.8.3, needed is 22.9 or newer",
            "hint: install micromamba",
        ],
    );
    let done = rosetta(&project, &RUN);
    done.says(2, &["is too old: found conda 4.8.3"]);
    fs::remove_file(project.path("path/conda")).unwrap();
    build(&project)
        .says(1, &["there is no micromamba, mamba or conda on PATH", "ROSETTA_CONDA=PATH"]);
    client(&project, "");
    fs::rename(project.path("path/conda"), project.path("conda")).unwrap();
    let mut command = alone(&project, &BUILD);
    command.env("ROSETTA_CONDA", project.path("conda"));
    Done::of(command.output().unwrap()).says(0, &[]);
}

#[test]
fn what_is_half_built_is_never_used() {
    let project = project("echo 'LinkError: no' >&2; exit 1");
    build(&project).says(1, &["`conda` failed (exit status: 1); its log is `", "LinkError: no"]);
    assert_eq!(state(&project, "conda").0, "can be built");

    // Killed while the client works: its prefix has an interpreter by then.
    let wait = format!(
        "cp {0}/conda-python $root/bin/python; : >{0}/half; exec sleep 60",
        project.path("").display()
    );
    client(&project, &wait);
    let mut child =
        alone(&project, &BUILD).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !project.path("half").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state(&project, "conda").0, "can be built");
    client(&project, "");
    build(&project).says(0, &[]);
    assert_eq!(state(&project, "conda").0, "built");

    // An interpreter that is gone is noticed, and made anew.
    let root = common::list(&project.path("home/envs"))
        .into_iter()
        .find(|path| path.join("bin/python").exists());
    fs::remove_file(root.unwrap().join("bin/python")).unwrap();
    assert_eq!(state(&project, "conda").0, "can be built");
    build(&project).says(0, &[]);
}

#[test]
fn a_client_that_ends_well_is_not_believed() {
    let project = project(": >$root/conda-meta/history; : >$root/conda-meta/more-1-0.json");
    build(&project).says(1, &["the client has installed `more-1-0`, which the lock does not pin"]);
    // A library of conda's may have the name of a Python package; two of the same do not go.
    project.write("envs/fake/requirements.lock", "tzdata==2026.1 \\\n    --hash=sha256:aa\n");
    client(&project, "");
    build(&project).says(0, &[]);
    rosetta(&project, &["env", "remove", "fake"]).says(0, &[]);
    client(&project, "mkdir -p $root/lib/python3.12/site-packages/TZdata-1.dist-info");
    let twice = "conda's lock brings the Python package `tzdata`, which requirements.lock pins too";
    build(&project).says(1, &[twice, "hint: leave to conda"]);
    client(&project, "exit 0");
    build(&project).says(1, &["the client ended well and has not installed `python-3.12.1-0`"]);
    assert_eq!(state(&project, "conda").0, "can be built");
}

#[test]
fn a_full_disk_is_said_in_these_words() {
    let project = project(&format!(
        "echo '{} [Errno 28] No space left on device' >&2; exit 1",
        "a long path ".repeat(30)
    ));
    build(&project).says(1, &["the disk of `", "is full", "hint: make room"]);
}

#[test]
fn nothing_of_the_users_shell_reaches_a_build_or_a_job() {
    let project = project("").harness("fake", &format!("env >told\n{}", good()));
    let users =
        ["CONDA_PREFIX", "CONDARC", "CONDA_CHANNELS", "MAMBARC", "PYTHONPATH", "PYTHONHOME"];
    project.write("user/.condarc", "channels: [mine]\n");
    let mut command = alone(&project, &RUN);
    command.envs(users.map(|name| (name, "/mine")));
    Done::of(command.output().unwrap()).says(0, &["1 ok"]);
    let (seen, told) = (project.read("seen"), project.read("harnesses/fake/told"));
    assert!(!seen.contains("mine") && !told.contains("mine"), "{seen}\n{told}");
    let home = seen.lines().find_map(|line| line.strip_prefix("HOME=")).unwrap();
    assert!(home.ends_with(".fake.scratch/home"), "{home}");
    let prefix = told.lines().find_map(|line| line.strip_prefix("CONDA_PREFIX=")).unwrap();
    assert!(prefix.contains("/home/envs/fake-"), "{prefix}");
}

/// A client that answers what `answer` says when it is asked to solve.
fn solver(project: &Project, answer: &str, code: u8) {
    project.write("answer", answer);
    let at = project.path("").display().to_string();
    let script = format!(
        "[ \"$1\" = --version ] && echo 2.3.0 && exit\necho \"$*\" >>{at}called\necho 'a warning' >&2\ncat {at}answer\nexit {code}\n"
    );
    project.program("path/micromamba", &script);
    project.write(
        "envs/fake/environment.yml",
        "channels: [conda-forge]\ndependencies: [python=3.12]\n",
    );
}

#[test]
fn a_lock_is_made_where_a_solver_is_and_invented_nowhere() {
    let project = project("");
    let path = "envs/fake/conda-linux-64.lock";
    fs::remove_file(project.path(path)).unwrap();
    rosetta(&project, &LOCK).says(
        2,
        &[
            "there is no `",
            "environment.yml`, which says what conda shall install",
            "dependencies: [python=3.12]",
        ],
    );

    let sha = "0123456789abcdef".repeat(4);
    let url = "https://c/linux-64/python-3.12.1-0.conda";
    let package = format!("{{\"name\": \"python\", \"url\": \"{url}\", \"sha256\": \"{sha}\"}}");
    solver(&project, &format!("{{\n\"actions\": {{\"LINK\": [{package}]}}\n}}\n"), 0);
    rosetta(&project, &LOCK).says(0, &[]);
    let expected = format!(
        "# made by `rosetta env lock fake --provider conda`; do not edit\n# platform: linux-64\n@EXPLICIT\n{url}#sha256:{sha}\n"
    );
    assert_eq!(project.read(path), expected);
    let called = project.read("called");
    assert!(called.contains("--override-channels --channel conda-forge python=3.12"), "{called}");

    solver(
        &project,
        r#"{"success": false, "solver_problems": ["nothing provides python 3.12"]}"#,
        1,
    );
    rosetta(&project, &LOCK).says(
        2,
        &[
            "micromamba 2.3.0 found no solution:",
            "nothing provides python 3.12",
            "hint: change `dependencies`",
        ],
    );
    solver(&project, r#"{"actions": {"LINK": [{"name": "python", "url": "https://c/a"}]}}"#, 0);
    rosetta(&project, &LOCK).says(2, &["says no SHA-256 of `python`"]);
    project.write(
        "envs/fake/environment.yml",
        "channels: [c]\ndependencies: [python, {pip: [numpy]}]\n",
    );
    rosetta(&project, &LOCK)
        .says(2, &["environment.yml:2:", "packages of pip belong to `requirements` of env.yaml"]);
    solver(&project, "", 0);
    for client in ["path/micromamba", "path/conda"] {
        fs::remove_file(project.path(client)).unwrap();
    }
    rosetta(&project, &LOCK).says(2, &["there is no solver here: there is no micromamba"]);
    // What there was stays.
    assert_eq!(project.read(path), expected);
}

/// A check of one framework would want a lock of conda's for the reference too.
#[test]
fn a_reference_without_a_lock_of_condas_has_its_own_environment() {
    let project = project("").fake_uv().harness("theirs", &good());
    project.write("specs/tiny.yaml", &format!("{}reference: theirs\n", common::TINY));
    let yaml = project.read("harnesses/theirs/framework.yaml").replace("cpu: fake", "cpu: own");
    project.write("harnesses/theirs/framework.yaml", &yaml);
    let own = "version: 1\nname: own\nprovider: venv\npython: \"3.12\"\n";
    project.write("envs/own/env.yaml", own);
    project.write("envs/own/requirements.lock", "");
    let check = ["check", "--device", "cpu", "--provider", "conda", "-f"];
    // These harnesses cannot be checked; that they were started is what counts.
    let done = rosetta(&project, &[&check[..], &["fake"]].concat());
    let ready = ["environment own is built", "environment fake is built"];
    done.says(1, &ready);
    let done = rosetta(&project, &[&check[..], &["theirs"]].concat());
    done.says(2, &["it has no conda-linux-64.lock"]);
}

#[test]
fn one_provider_at_a_time_and_only_for_what_it_makes() {
    let project = project("");
    let both = [&RUN[..], &["--python", "./python"]].concat();
    rosetta(&project, &both)
        .says(2, &["`--python` goes with `--provider system`, not with `conda`"]);
    let twice = [&RUN[..], &["--provider", "pinned"]].concat();
    rosetta(&project, &twice).says(2, &["--provider"]);
    project.write(
        "envs/mini/env.yaml",
        "version: 1\nname: mini\nprovider: cargo\nmanifest: a/Cargo.toml\n",
    );
    let done = rosetta(&project, &["env", "build", "mini", "--provider", "conda"]);
    done.says(2, &["the environment `mini` is made by cargo; conda makes those of `venv`"]);
    project
        .write("envs/own/env.yaml", "version: 1\nname: own\nprovider: conda\npython: \"3.12\"\n");
    let done = rosetta(&project, &["env", "list"]);
    done.says(2, &["unknown variant `conda`; allowed: `venv`, `cargo`"]);
}
