//! Environments in images: the real rosetta, with an engine and a Python that are scripts. What a real engine does,
//! `.ci/check_docker.py` sees.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Done, Project, good};

/// Plays docker: notes how it was called, keeps images as files, and runs a container's words on this machine.
const ENGINE: &str = r#"
at={at}
echo "$*" >>$at/called
{first}
case "$1 $2" in
    "--version "*) echo 'Docker version 20.10.24, build 1'; exit ;;
    "info "*) echo '20.10.24|["name=seccomp"]'; exit ;;
    "image inspect")
        for last; do :; done
        if [ "$last" = base:1 ] || [ "$last" = {base} ]; then
            [ "$3" = --format ] && echo {base} || echo '[{"Id": "{base}", "RepoDigests": [], "Size": 1, "Config": {"Env": ["PATH=/bin"]}}]'
        elif [ -e "$at/images/${last#sha256:}" ]; then
            [ "$3" = --format ] && echo "$last" || echo '[{"Id": "'$last'", "Size": 7340032, "Config": {"Env": ["PATH=/image/bin:/bin"]}}]'
        else
            echo "Error: No such image: $last" >&2; exit 1
        fi
        exit ;;
    "image rm") for last; do :; done; rm -f "$at/images/${last#sha256:}"; exit ;;
    "image prune") exit ;;
    "images "*) cat $at/orphans 2>/dev/null; exit ;;
    "ps "*) cat $at/containers 2>/dev/null; exit ;;
    "rm "*) : >$at/containers; exit ;;
    "build "*)
        while [ $# -gt 0 ]; do
            case $1 in --iidfile) id=$2 ;; --file) cp "$2" $at/Dockerfile ;; esac
            shift
        done
        {build}
        count=$(ls $at/images | wc -l)
        digits=$(printf '%064d' $((count + 1)))
        : >$at/images/$digits
        printf 'sha256:%s' $digits >$id
        exit ;;
    "run "*)
        case "$*" in
            *--version) echo 'Python 3.12.1'; exit ;;
            *__job*)
                {run}
                for last; do :; done
                sed -i "s,/opt/rosetta/env/bin/python,$at/image-python," "$last"
                # Between rosetta and the shim, as an engine is: nothing but standard input tells of an end.
                exec 3<&0
                {rosetta} __job "$last" <&3 &
                job=$!
                trap 'kill -TERM $job' TERM
                trap 'kill -USR1 $job' USR1
                while kill -0 $job 2>/dev/null; do wait $job; done
                exit ;;
            *) exec $at/image-python ;;
        esac ;;
esac
echo "unknown: $*" >&2
exit 64
"#;

const BASE: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const LOCK: [&str; 7] = ["env", "lock", "fake", "--provider", "docker", "--base", "base:1"];
const BUILD: [&str; 5] = ["env", "build", "fake", "--provider", "docker"];
const RUN: [&str; 6] = ["run", "--no-check", "--device", "cpu", "--provider", "docker"];

/// What the engine does first, at a build, and before it runs a job.
#[derive(Default)]
struct Script<'a> {
    first: &'a str,
    build: &'a str,
    run: &'a str,
}

/// Returns a project whose environment `fake` has a base image, with one harness.
fn project_with(script: &str) -> Project {
    let project = Project::new().fake_uv().harness("fake", script);
    engine(&project, "docker", &Script::default());
    fs::create_dir_all(project.path("images")).unwrap();
    let answer = r#"{"version": [3, 12, 1], "implementation": "cpython", "bits": 64, "has_venv": true, "is_glibc": true, "is_free_threaded": false, "executable": "/x", "base": "/x"}"#;
    let python =
        format!("case \"$1\" in */rosetta/__main__.py) exec sh \"$2\";; esac\necho '{answer}'\n");
    project.program("image-python", &python);
    rosetta(&project, &LOCK).says(0, &[]);
    project
}

fn project() -> Project {
    project_with(&good())
}

fn engine(project: &Project, name: &str, script: &Script) {
    let at = project.path("").display().to_string();
    let text = ENGINE.replace("{first}", script.first).replace("{build}", script.build);
    let text = text.replace("{run}", script.run).replace("{base}", BASE);
    let text = text.replace("{rosetta}", env!("CARGO_BIN_EXE_rosetta"));
    project.program(&format!("path/{name}"), &text.replace("{at}", at.trim_end_matches('/')));
}

/// Returns rosetta with only what the test has on PATH, besides what scripts need.
fn alone(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env_clear();
    command.env("ROSETTA_HOME", project.path("home")).env("NO_COLOR", "1");
    fs::create_dir_all(project.path("user")).unwrap();
    let tools = [
        "sh", "cp", "mkdir", "env", "cat", "sleep", "rm", "kill", "ls", "wc", "printf", "sed",
        "grep",
    ];
    fs::create_dir_all(project.path("tools")).unwrap();
    for tool in tools {
        let link = project.path(&format!("tools/{tool}"));
        let _ = std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), link);
    }
    let path = format!("{}:{}", project.path("path").display(), project.path("tools").display());
    command.env("HOME", project.path("user")).env("PATH", path);
    command
}

fn rosetta(project: &Project, args: &[&str]) -> Done {
    Done::of(alone(project, args).output().unwrap())
}

/// Returns what `env list` says of `fake`: state and hint.
fn state(project: &Project) -> (String, String) {
    let done = rosetta(project, &["env", "list", "--json", "--provider", "docker"]);
    let list: serde_json::Value = serde_json::from_str(&done.stdout).expect(&done.stderr);
    let fake = list.as_array().unwrap().iter().find(|env| env["name"] == "fake").unwrap();
    (fake["state"].as_str().unwrap().to_owned(), fake["hint"].as_str().unwrap().to_owned())
}

fn images(project: &Project) -> usize {
    common::list(&project.path("images")).len()
}

fn outcome(project: &Project) -> (String, String) {
    let records = project.records();
    let outcome = &records.last().unwrap()["outcome"];
    let text = |name: &str| outcome[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

#[test]
fn an_image_is_built_once_and_its_jobs_are_kept_to_themselves() {
    let project = project();
    assert_eq!(
        project.read("envs/fake/docker.lock"),
        format!(
            "# made by `rosetta env lock fake --provider docker`; do not edit\nimage: base:1\ndigest: {BASE}\n"
        )
    );
    assert_eq!(state(&project).0, "can be built");
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    let record = &project.records()[0];
    assert_eq!(record["env"]["provider"], "docker");
    assert_eq!(record["env"]["interpreter"], "3.12.1");
    let called = project.read("called");
    let build = called.lines().find(|line| line.starts_with("build ")).unwrap();
    for part in
        ["--network host --pull=false --force-rm --build-arg BASE=base:1", "--tag rosetta/fake:"]
    {
        assert!(build.contains(part), "{part}\nis not in\n{build}");
    }
    let job = called.lines().find(|line| line.contains("__job")).unwrap();
    let root = project.path("").display().to_string();
    let root = root.trim_end_matches('/');
    for part in [
        "run --rm --interactive --pull never --network none --read-only --tmpfs /tmp:exec",
        "--cap-drop ALL --security-opt no-new-privileges",
        &format!("type=bind,source={root},destination={root},readonly"),
        &format!("destination={root}/home,readonly"),
        "--library-path /.rosetta/lib /.rosetta/rosetta __job",
    ] {
        assert!(job.contains(part), "{part}\nis not in\n{job}");
    }
    // Only the job's own folder can be written to.
    let writable = job.split(" --mount ").filter(|mount| !mount.contains(",readonly"));
    let writable = writable.filter(|mount| mount.starts_with("type=")).collect::<Vec<_>>();
    assert_eq!(writable.len(), 1, "{writable:?}");
    assert!(writable[0].contains("/results/runs/"), "{writable:?}");
    // It is there: nothing is built again, until the engine has it no more.
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    assert_eq!((images(&project), state(&project).0.as_str()), (1, "built"));
    fs::remove_file(&common::list(&project.path("images"))[0]).unwrap();
    assert_eq!(state(&project).0, "can be built");
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    assert_eq!(images(&project), 1);
    let left = common::list(&project.path("home/envs"));
    assert!(!left.iter().any(|path| path.to_string_lossy().ends_with(".scratch")), "{left:?}");
}

#[test]
fn a_job_sees_what_its_environment_says_and_nothing_of_the_shell() {
    let project = project_with(&format!("env >{{at}}/seen\n{}", good()));
    let script = project.read("harnesses/fake/tiny.py");
    let at = project.path("").display().to_string();
    project.write("harnesses/fake/tiny.py", &script.replace("{at}", at.trim_end_matches('/')));
    let yaml = project.read("envs/fake/env.yaml");
    project.write(
        "envs/fake/env.yaml",
        &format!("{yaml}environment: {{LD_LIBRARY_PATH: \"{{env}}/more\"}}\n"),
    );
    let mut command =
        alone(&project, &[&RUN[..], &["--env", "PASSED", "--env", "GIVEN=2"]].concat());
    command.env("PASSED", "1").env("LD_LIBRARY_PATH", "/of/the/shell");
    Done::of(command.output().unwrap()).says(0, &["1 ok"]);
    let seen = project.read("seen");
    for line in [
        "PATH=/opt/rosetta/env/bin:/image/bin:/bin",
        "LD_LIBRARY_PATH=/opt/rosetta/env/more",
        "VIRTUAL_ENV=/opt/rosetta/env",
        "PASSED=1",
        "GIVEN=2",
    ] {
        assert!(seen.lines().any(|one| one == line), "{line}\nis not in\n{seen}");
    }
}

#[test]
fn a_lock_is_needed_and_must_be_whole() {
    let project = project();
    fs::remove_file(project.path("envs/fake/docker.lock")).unwrap();
    let (reason, hint) = state(&project);
    assert!(reason.starts_with("it has no docker.lock"), "{reason}");
    assert_eq!(hint, "run `rosetta env lock fake --provider docker`");
    for (text, why) in [
        (
            "image: base:1\ndigest: sha256:12\n",
            "docker.lock:2:9: `digest: sha256:12` is not `sha256:` and 64 digits",
        ),
        ("image: base:1\n", "missing field `digest`"),
        ("image: base:1\ndigset: x\n", "unknown field `digset`"),
    ] {
        project.write("envs/fake/docker.lock", text);
        let (reason, _) = state(&project);
        assert!(reason.contains(why), "{why}\nis not in\n{reason}");
        rosetta(&project, &BUILD).says(1, &["cannot build the environment `fake`"]);
    }
    assert_eq!(images(&project), 0);
}

#[test]
fn another_base_image_than_the_pinned_one_is_not_built_upon() {
    let project = project();
    let lock = project.read("envs/fake/docker.lock").replace("sha256:aa", "sha256:bb");
    project.write("envs/fake/docker.lock", &lock);
    engine(
        &project,
        "docker",
        &Script {
            first: "case $1 in pull) echo 'Error: pull access denied' >&2; exit 1;; esac",
            ..Script::default()
        },
    );
    rosetta(&project, &BUILD).says(1,
        &[
            "cannot bring the base image `base@sha256:bb",
            "hint: see that a registry has it or that it is here, or name another: `rosetta env lock fake --provider docker --base IMAGE`",
        ],
    );
    assert_eq!(images(&project), 0);
}

#[test]
fn an_engine_that_cannot_be_used_is_told_with_what_helps() {
    let project = project();
    let cases = [
        (
            "[ $1 = info ] && echo 'Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?' >&2 && exit 1",
            "docker is not running",
            "start it",
        ),
        (
            "[ $1 = info ] && echo '|null' && echo 'permission denied while trying to connect to the Docker daemon socket' >&2 && exit 1",
            "docker does not let this user in: no permission on its socket",
            "join its group",
        ),
        (
            "[ $1 = --version ] && echo 'Docker version 18.09.1, build 1' && exit",
            "is too old: found docker 18.09.1, needed is 20.10 or newer",
            "install docker",
        ),
        (
            "[ $1 = --version ] && echo 'nerdctl version 1.7' && exit",
            "so it is neither docker nor podman",
            "ROSETTA_CONTAINER=PATH",
        ),
        ("[ $1 = --version ] && exit 3", "for its version: it ended with", "install docker"),
    ];
    for (first, reason, hint) in cases {
        engine(&project, "docker", &Script { first, ..Script::default() });
        let found = state(&project);
        assert!(found.0.contains(reason), "{reason}\nis not in\n{}", found.0);
        assert!(found.1.contains(hint), "{hint}\nis not in\n{}", found.1);
        // Nothing runs, and the reason is what a person reads.
        rosetta(&project, &RUN).says(2, &["nothing can run here", reason]);
    }
    fs::remove_file(project.path("path/docker")).unwrap();
    assert_eq!(state(&project).0, "there is no docker or podman on PATH");
    let mut named = alone(&project, &RUN);
    named.env("ROSETTA_CONTAINER", "/nowhere/podman");
    Done::of(named.output().unwrap())
        .says(2, &["there is no program `/nowhere/podman`, which ROSETTA_CONTAINER names"]);
    engine(&project, "docker", &Script::default());
    let mut remote = alone(&project, &RUN);
    remote.env("DOCKER_HOST", "tcp://10.0.0.1:2375");
    Done::of(remote.output().unwrap()).says(2, &["does not see this machine's files"]);
    // podman reads another variable.
    podman(&project, PODMAN);
    for (variable, code, said) in [
        ("DOCKER_HOST", 0, "1 ok"),
        (
            "CONTAINER_HOST",
            2,
            "CONTAINER_HOST is `ssh://x`, an engine that does not see this machine's files",
        ),
    ] {
        let mut command = with_podman(&project, &RUN);
        Done::of(command.env(variable, "ssh://x").output().unwrap()).says(code, &[said]);
    }
}

/// What podman answers that docker does not; without root, on a machine where a user has not all controllers.
const PODMAN: &str = r#"case $1 in
    --version) echo 'podman version 4.3.1'; exit ;;
    info) echo '4.3.1|rootless=true|["memory","cpu"]'; exit ;;
esac"#;

fn podman(project: &Project, first: &str) {
    engine(project, "podman", &Script { first, ..Script::default() });
}

fn with_podman(project: &Project, args: &[&str]) -> Command {
    let mut command = alone(project, args);
    command.env("ROSETTA_CONTAINER", "podman");
    command
}

/// podman gives a digest to what it has made itself too, and names no registry.
#[test]
fn an_image_that_only_this_engine_has_is_pinned_by_its_id() {
    let project = project();
    let inspected = |digest: &str| {
        format!(
            r#"case "$1 $2" in
    "image inspect") echo '[{{"Id": "{}", "RepoDigests": ["{digest}@sha256:{}"], "Config": {{}}}}]'; exit ;;
    "pull "*) echo 'Error: no registry is here' >&2; exit 125 ;;
esac
"#,
            BASE.trim_start_matches("sha256:"),
            "b".repeat(64)
        )
    };
    let pinned = || {
        let lock = project.read("envs/fake/docker.lock");
        fs::remove_file(project.path("envs/fake/docker.lock")).unwrap();
        lock.lines().last().unwrap().to_owned()
    };
    podman(&project, &(inspected("localhost/base") + PODMAN));
    Done::of(with_podman(&project, &LOCK).output().unwrap()).says(0, &[]);
    assert_eq!(pinned(), format!("digest: {BASE}"));
    let called = project.read("called");
    assert!(!called.lines().any(|line| line.starts_with("pull")), "{called}");
    // Of a name like a registry's nobody knows that none has it, until it is asked.
    engine(&project, "docker", &Script { first: &inspected("base"), ..Script::default() });
    rosetta(&project, &LOCK)
        .says(0, &["docker 20.10.24 cannot pull `base:1`: the one that is here is taken"]);
    assert_eq!(pinned(), format!("digest: sha256:{}", "b".repeat(64)));
}

/// The stage in which packages are installed has what the installer was told: addresses of indexes, with passwords.
#[test]
fn a_build_that_ends_badly_leaves_nothing_of_its_stage() {
    let project = project();
    let build = "echo 'no such package' >&2; exit 1";
    engine(&project, "docker", &Script { build, ..Script::default() });
    rosetta(&project, &BUILD).says(1, &["no such package"]);
    let after_build = |called: &str| called.rsplit_once("\nbuild ").unwrap().1.to_owned();
    let called = after_build(&project.read("called"));
    assert!(called.contains("\nimage prune --force --filter label=rosetta.stage="), "{called}");
    // One that was killed is cleared by the next build, and by a clean-up.
    for command in [&BUILD[..], &["env", "gc", "--yes"]] {
        fs::create_dir_all(project.path("home/envs/.fake.scratch")).unwrap();
        project.write("called", "");
        rosetta(&project, command);
        let called = project.read("called");
        let first = called.split("\nbuild ").next().unwrap();
        assert!(first.contains("\nimage prune --force --filter label=rosetta.stage="), "{called}");
    }
    // podman prunes nothing of which a build that is no more has a container.
    let left = r#"case "$1 $2" in "images --all") echo sha256:5; echo sha256:4; exit ;; esac
"#;
    podman(&project, &(left.to_owned() + PODMAN));
    Done::of(with_podman(&project, &BUILD).output().unwrap()).says(0, &[]);
    let called = after_build(&project.read("called"));
    assert!(called.contains("\nimage rm --force sha256:5 sha256:4\n"), "{called}");
}

#[test]
fn only_limits_that_the_engine_can_keep_are_asked_of_it() {
    let project = project();
    podman(&project, PODMAN);
    let run = [&RUN[..], &["--memory-limit", "9G"]].concat();
    Done::of(with_podman(&project, &run).output().unwrap()).says(0, &["1 ok"]);
    let called = project.read("called");
    let job = called.lines().find(|line| line.contains("__job")).unwrap();
    assert!(job.contains(" --memory 9663676416 ") && job.contains(" --log-driver none "), "{job}");
    assert!(!job.contains("--cpuset-cpus") && !job.contains("--pids-limit"), "{job}");
}

/// The seal of an environment is older than the engine may be.
#[test]
fn an_engine_is_asked_in_each_run_what_it_is() {
    let project = project();
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    let first = "[ $1 = info ] && echo '29.0.1|[\"name=rootless\"]|{\"memory\": true, \"cpus\": false, \"processes\": true}' && exit";
    engine(&project, "docker", &Script { first, ..Script::default() });
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    let called = project.read("called");
    let jobs = called.lines().filter(|line| line.contains("__job")).collect::<Vec<_>>();
    assert!(jobs[0].contains("--cpuset-cpus"), "{}", jobs[0]);
    assert!(!jobs[1].contains("--cpuset-cpus") && jobs[1].contains("--user 0:0"), "{}", jobs[1]);
    assert_eq!(images(&project), 1);
}

#[test]
fn doctor_tells_which_engine_would_be_used_and_whether_it_answers() {
    let project = project();
    let program = |done: Done| {
        let report: serde_json::Value = serde_json::from_str(&done.stdout).expect(&done.stderr);
        let all = report["programs"].as_array().unwrap().iter();
        let mut all =
            all.filter(|one| ["docker", "podman"].contains(&one["name"].as_str().unwrap()));
        all.next().unwrap().clone()
    };
    let doctor = ["doctor", "--json"];
    assert_eq!(program(rosetta(&project, &doctor))["version"], "docker 20.10.24");
    podman(&project, PODMAN);
    let found = program(Done::of(with_podman(&project, &doctor).output().unwrap()));
    assert_eq!((&found["name"], &found["version"]), (&"podman".into(), &"podman 4.3.1".into()));
    let first =
        "[ $1 = info ] && echo 'Cannot connect to the Docker daemon at unix:///x' >&2 && exit 1";
    engine(&project, "docker", &Script { first, ..Script::default() });
    let found = program(rosetta(&project, &doctor));
    assert_eq!(found["version"], serde_json::Value::Null);
    assert!(found["how_to_get"].as_str().unwrap().starts_with("start it"), "{found}");
    let shown = rosetta(&project, &["doctor"]).stdout;
    assert!(shown.contains("docker is not running"), "{shown}");
}

/// podman's monitor of a container has no parent but rosetta, and each once stayed a zombie until the end of the run.
#[test]
fn monitors_of_containers_are_waited_for() {
    let project = project();
    // A process that leaves for a session of its own, and ends; then how many zombies of rosetta's there are.
    let run = "sh -c 'setsid true & exit'; sleep 0.2; cat /proc/[0-9]*/stat | grep -c \") Z $PPID \" >>$at/zombies";
    let script = Script { run, ..Script::default() };
    engine(&project, "docker", &script);
    let mut command = alone(&project, &[&RUN[..], &["--repeats", "3"]].concat());
    let _ = std::os::unix::fs::symlink("/usr/bin/setsid", project.path("tools/setsid"));
    Done::of(command.output().unwrap()).says(0, &["3 ok"]);
    assert_eq!(project.read("zombies"), "1\n1\n1\n");
}

#[test]
fn a_build_that_fails_is_never_used() {
    let project = project();
    let cases = [
        (
            "echo 'Step 3/9: RUN x'; echo 'no such package' >&2; exit 1",
            "the image cannot be built",
            "no such package",
        ),
        (
            "echo 'write /layer: no space left on device' >&2; exit 1",
            "the disk of docker is full",
            "docker image prune",
        ),
        // Killed, and nothing told.
        ("kill -9 $$", "the image cannot be built", "signal: 9"),
    ];
    for (build, reason, more) in cases {
        engine(&project, "docker", &Script { build, ..Script::default() });
        rosetta(&project, &BUILD).says(1, &["cannot build the environment `fake`", reason, more]);
        assert_eq!((state(&project).0.as_str(), images(&project)), ("can be built", 0));
    }
    // An image of another CPython than the lock's is no environment.
    engine(&project, "docker", &Script::default());
    let python = project.read("image-python");
    project.program(
        "image-python",
        &python.replace("#!/bin/sh\n", "").replace("[3, 12, 1]", "[3, 11, 1]"),
    );
    rosetta(&project, &BUILD).says(1, &["the image has CPython 3.11.1; env.yaml wants 3.12"]);
    assert_eq!(state(&project).0, "can be built");
}

#[test]
fn a_container_that_does_not_start_is_an_outcome_with_its_reason() {
    let project = project();
    let cases = [
        (
            "could not select device driver \"\" with capabilities: [[gpu]]",
            125,
            "docker has no runtime for NVIDIA GPUs",
        ),
        (
            "Error response from daemon: No such image: sha256:1",
            125,
            "docker does not have the image any more",
        ),
        ("Error: mkdir /x: no space left on device", 126, "the disk of docker is full"),
        ("Error: something new", 125, "Error: something new"),
        (
            "time=\"2026-11-28T11:42:58Z\" level=warning msg=\"it is not shared\"\nError: something new",
            126,
            "Error: something new",
        ),
    ];
    for (said, code, reason) in cases {
        let run = format!("printf '%s\\n' '{said}' >&2; exit {code}");
        engine(&project, "docker", &Script { run: &run, ..Script::default() });
        rosetta(&project, &RUN).says(1, &["1 not ok"]);
        let (status, found) = outcome(&project);
        assert_eq!(status, "failed");
        assert!(found.starts_with(&format!("it cannot be started: {reason}")), "{found}");
    }
}

#[test]
fn each_engine_has_environments_of_its_own() {
    let project = project();
    engine(
        &project,
        "podman",
        &Script {
            first: "case $1 in --version) echo 'podman version 4.3.1'; exit;; info) echo '4.3.1|rootless=true'; exit;; esac",
            ..Script::default()
        },
    );
    rosetta(&project, &BUILD).says(0, &[]);
    let podman = |args: &[&str]| {
        let mut command = alone(&project, args);
        command.env("ROSETTA_CONTAINER", "podman");
        Done::of(command.output().unwrap())
    };
    let list = podman(&["env", "list", "--provider", "docker"]).stdout;
    assert!(list.contains("can be built"), "{list}");
    podman(&BUILD).says(0, &[]);
    assert_eq!(images(&project), 2);
    podman(&RUN).says(0, &["1 ok"]);
    let called = project.read("called");
    assert!(called.contains("--userns=keep-id --security-opt label=disable"), "{called}");
    rosetta(&project, &["env", "remove", "fake", "--provider", "docker"]).says(0, &["freed"]);
    assert_eq!(images(&project), 0);
}

/// What env.yaml says of sizes, GPUs and images is no part of what is built: nobody builds anew for it.
#[test]
fn what_is_said_of_gpus_sizes_and_images_changes_no_digest() {
    let project = Project::new().fake_uv().harness("fake", &good());
    let yaml = project.read("envs/fake/env.yaml");
    let digest = || {
        let done = rosetta(&project, &["env", "list", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&done.stdout).expect(&done.stderr);
        list[0]["digest"].as_str().unwrap().to_owned()
    };
    // With a fix-up the files beside env.yaml are part of it.
    for fixups in ["", "fixups: [{why: w, run: [\"true\"]}]\n"] {
        let _ = fs::remove_file(project.path("envs/fake/docker.lock"));
        let _ = fs::remove_file(project.path("envs/fake/Dockerfile"));
        project.write("envs/fake/env.yaml", &format!("{yaml}{fixups}"));
        let before = digest();
        project.write(
            "envs/fake/env.yaml",
            &format!("{yaml}{fixups}size: 5.3G\ngpu: {{from: \"7.5\"}}\n"),
        );
        project.write("envs/fake/docker.lock", "image: x\n");
        project.write("envs/fake/Dockerfile", "ARG BASE\nFROM ${BASE} AS system\n");
        assert_eq!(digest(), before);
        project.write("envs/fake/other", "x");
        assert_eq!(digest() == before, fixups.is_empty());
        fs::remove_file(project.path("envs/fake/other")).unwrap();
    }
}

#[test]
fn a_run_says_first_what_it_will_build_and_the_room_for_it() {
    let project = Project::new().fake_uv().harness("fake", &good());
    let yaml = project.read("envs/fake/env.yaml");
    // Nothing is summed up where nothing is known.
    let dry = rosetta(&project, &["run", "--no-check", "--device", "cpu", "--dry-run"]);
    dry.says(
        0,
        &["environment fake (venv), size not known\nwhat they need is downloaded; free in "],
    );
    project.write("envs/fake/env.yaml", &format!("{yaml}size: 5.3G\n"));
    let run = ["run", "--no-check", "--device", "cpu"];
    let dry = rosetta(&project, &[&run[..], &["--dry-run"]].concat());
    dry.says(
        0,
        &[
            "to build: environment fake (venv), about 5.3 GiB on disk\n",
            "together about 5.3 GiB, free in ",
        ],
    );
    assert_eq!(dry.stdout, "tiny.fake.cpu.1\n");
    assert!(common::list(&project.path("home/envs")).is_empty());
    project.write("envs/fake/env.yaml", &format!("{yaml}size: 1000000G\n"));
    rosetta(&project, &[&run[..], &["--dry-run"]].concat())
        .says(0, &["that is too little: make room"]);
    // It is what the first lines of a run say too, and nothing once all is there.
    let first = rosetta(&project, &run);
    first.says(0, &["1 ok"]);
    assert!(first.stderr.starts_with("to build: environment fake"), "{first:?}");
    let second = rosetta(&project, &run);
    assert!(!second.stderr.contains("to build"), "{second:?}");
    project.write("envs/fake/env.yaml", &format!("{yaml}size: much\n"));
    rosetta(&project, &run).says(1, &["env.yaml:5:7: invalid size `much`"]);
}

#[test]
fn one_provider_at_a_time() {
    let project = project();
    let python = project.path("python").display().to_string();
    rosetta(&project, &[&RUN[..], &["--python", &python]].concat())
        .says(2, &["`--python` goes with `--provider system`, not with `docker`"]);
    rosetta(&project, &[&RUN[..], &["--provider", "conda"]].concat())
        .says(2, &["cannot be used multiple times"]);
    rosetta(&project, &["env", "lock", "fake", "--base", "x"])
        .says(2, &["`--base x` goes with `--provider docker`"]);
    rosetta(&project, &["defaults", "fake", "--provider", "docker", "--python", &python])
        .says(2, &["leave one of the two out"]);
}

#[test]
fn what_nobody_needs_goes_with_its_image() {
    let project = project();
    rosetta(&project, &BUILD).says(0, &[]);
    rosetta(&project, &["env", "gc"]).says(0, &["0 folders removed"]);
    assert_eq!(images(&project), 1);
    project.write("envs/fake/requirements.lock", "# another lock\n");
    rosetta(&project, &["env", "gc", "--dry-run"])
        .says(0, &["not needed any more: fake-", "1 folders would be removed, 7.0 MiB"]);
    // Nobody can be asked here.
    rosetta(&project, &["env", "gc"]).says(2, &["nothing was removed", "hint: say `--yes`"]);
    assert_eq!(images(&project), 1);
    // The engine is gone: the folder stays, or its image would be lost.
    engine(
        &project,
        "docker",
        &Script {
            first: "case \"$1 $2\" in 'image rm') echo 'Cannot connect to the Docker daemon' >&2; exit 1;; esac",
            ..Script::default()
        },
    );
    rosetta(&project, &["env", "gc", "--yes"])
        .says(2, &["cannot remove the image `rosetta/fake:", "docker is not running"]);
    engine(&project, "docker", &Script::default());
    project.write("orphans", &format!("sha256:{} rosetta/fake:0123\n", "5".repeat(64)));
    rosetta(&project, &["env", "gc", "--yes"]).says(0, &["2 folders removed, 7.0 MiB freed"]);
    assert_eq!(images(&project), 0);
    assert!(
        project.read("called").contains(&format!("image rm --force sha256:{}", "5".repeat(64)))
    );
}

#[test]
fn containers_of_a_rosetta_that_is_gone_are_removed_at_the_next_start() {
    let project = project();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let own = std::process::id();
    // Of a process that nobody has, of one that lives, and of an earlier start of the machine.
    let list = format!(
        "c1 {0} 4194305-12.5\nc2 {0} {own}-999999999.5\nc3 0-0-0 {own}-999999999.5\n",
        boot.trim()
    );
    project.write("containers", &list);
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    let called = project.read("called");
    assert!(called.lines().any(|line| line == "rm --force --volumes c1 c3"), "{called}");
    // A clean-up takes them too, once somebody has agreed.
    project.write("containers", &list);
    project.write("called", "");
    let clean = ["clean", "--dry-run"];
    rosetta(&project, &clean).says(0, &["left behind: 2 containers of killed runs"]);
    assert!(!project.read("called").contains("rm --force"), "{}", project.read("called"));
    rosetta(&project, &["clean", "--yes"]).says(0, &["2 things removed"]);
    let called = project.read("called");
    assert!(called.lines().any(|line| line == "rm --force --volumes c1 c3"), "{called}");
}

/// podman 4.3 has another word for a label in a format, and waits for containers to end by themselves.
#[test]
fn podman_is_asked_for_containers_in_its_own_words() {
    let project = project();
    let first = r#"case "$*" in
    "ps "*'{{.Label '*) echo "can't evaluate field Label in type containers.psReporter" >&2; exit 125 ;;
    "ps "*) echo "c1  4194305-12.5"; exit ;;
esac
"#;
    podman(&project, &(first.to_owned() + PODMAN));
    Done::of(with_podman(&project, &RUN).output().unwrap()).says(0, &["1 ok"]);
    let called = project.read("called");
    assert!(called.lines().any(|line| line == "rm --force --volumes --time 0 c1"), "{called}");
}

/// Waits until something is so.
fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} has not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_job_ends_with_a_rosetta_that_is_killed() {
    let project = project_with("echo $$ >{at}/pid; sleep 120");
    let at = project.path("").display().to_string();
    let script = project.read("harnesses/fake/tiny.py");
    project.write("harnesses/fake/tiny.py", &script.replace("{at}", at.trim_end_matches('/')));
    rosetta(&project, &BUILD).says(0, &[]);
    let alive = |pid: &str| {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
    };
    for who in ["rosetta", "shim"] {
        let _ = fs::remove_file(project.path("pid"));
        let mut command = alone(&project, &[&RUN[..], &["--retries", "0"]].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait("the job", || !project.read("pid").trim().is_empty());
        let pid = project.read("pid").trim().to_owned();
        assert!(alive(&pid));
        if who == "rosetta" {
            child.kill().unwrap();
        } else {
            // The shim, which then has no word to leave.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
            assert!(Command::new("kill").args(["-9", &parent]).status().unwrap().success());
        }
        child.wait().unwrap();
        wait("the end of the job", || !alive(&pid));
    }
    assert_eq!(outcome(&project).0, "failed");
}

/// Without root podman is two processes, of which the other one goes on: the shim then has time to leave a word.
#[test]
fn a_job_whose_client_is_killed_was_not_interrupted() {
    let project = project_with("sleep 120");
    // It is told as soon as it begins.
    let run =
        "for last; do :; done; sed -i \"s,/opt/rosetta/env/bin/python,$at/image-python,\" \"$last\"
        {rosetta} __job \"$last\" </dev/null; kill -9 $$";
    let run = run.replace("{rosetta}", env!("CARGO_BIN_EXE_rosetta"));
    engine(&project, "docker", &Script { run: &run, ..Script::default() });
    rosetta(&project, &[&RUN[..], &["--retries", "0"]].concat()).says(1, &["1 not ok"]);
    let (status, reason) = outcome(&project);
    assert_eq!(status, "failed");
    assert!(reason.contains("the client of its container's engine ended: signal: 9"), "{reason}");
}

#[test]
fn a_job_that_takes_too_long_is_stopped_and_says_so() {
    let project = project_with("sleep 120");
    rosetta(&project, &[&RUN[..], &["--timeout", "1s"]].concat()).says(1, &["1 not ok"]);
    assert_eq!(outcome(&project).0, "timed_out");
}

#[test]
fn rows_of_two_providers_stand_side_by_side() {
    let project = project();
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    rosetta(&project, &["run", "--no-check", "--device", "cpu"]).says(0, &["1 ok"]);
    let table = rosetta(&project, &["table", "--columns", "library,provider", "--csv"]);
    let lines = table.stdout.lines().filter(|line| line.contains(",fake")).collect::<Vec<_>>();
    assert_eq!(lines.len(), 2, "{table:?}");
    assert!(lines.iter().any(|line| line.starts_with("tiny,fake (docker),docker,")), "{table:?}");
    assert!(lines.iter().any(|line| line.starts_with("tiny,fake,venv,")), "{table:?}");
}

#[test]
fn an_interpreter_of_the_users_may_stand_behind_another_command() {
    let project = Project::new().harness("fake", &good());
    project.program("wrapper", "echo \"$*\" >>{at}/wrapped; shift; exec \"$@\"\n");
    let script = project.read("wrapper");
    let at = project.path("").display().to_string();
    let at = at.trim_end_matches('/');
    project.program("wrapper", &script.replace("#!/bin/sh\n", "").replace("{at}", at));
    let run = ["run", "--no-check", "--device", "cpu", "--python", "./python", "--wrap"];
    project.rosetta(&[&run[..], &["./wrapper 'an image'"]].concat()).says(0, &["1 ok"]);
    let wrapped = project.read("wrapped");
    // It is asked what it has, and runs the job.
    assert_eq!(wrapped.matches("an image ").count(), 2, "{wrapped}");
    assert!(wrapped.contains("/harnesses/fake/tiny.py"), "{wrapped}");
    let env = &project.records()[0]["env"];
    let wrap = env["wrap"][0].as_str().unwrap();
    assert!(wrap.starts_with(at) && wrap.ends_with("/wrapper"), "{wrap}");
    assert_eq!(env["wrap"][1], "an image");
    assert_eq!(env["provider"], "system");
    project
        .rosetta(&[&run[..], &["./nothing here"]].concat())
        .says(2, &["there is no program `./nothing`, with which `--wrap` begins"]);
    project.rosetta(&[&run[..], &["'open"]].concat()).says(2, &["with its quotes closed"]);
    project.rosetta(&["run", "--wrap", "x"]).says(2, &["--python"]);
}
