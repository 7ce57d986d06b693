//! Builds with fake programs on a PATH of the tests' own: no network, no uv, no framework.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::python::parse_version;
use super::python::tests::{fake, script};
use super::tool::Host;
use super::*;
use crate::catalog::{Catalog, Crate, EnvSpec, FixUp, Own, Pins, Provider, ProviderName};
use crate::home::Home;
use crate::progress::Progress;

/// Returns a `venv` environment of CPython 3.99 whose files are written under `project`, if that
/// is there.
pub(super) fn spec(project: &Path, name: &str) -> EnvSpec {
    let folder = project.join("envs").join(name);
    if project.is_dir() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("requirements.lock"), "one==1.0 \\\n    --hash=sha256:aa\n").unwrap();
    }
    EnvSpec {
        lock: folder.join("requirements.lock"),
        folder,
        project: project.to_owned(),
        name: name.to_owned(),
        provider: Provider::Venv(pins()),
        programs: Vec::new(),
        fixups: Vec::new(),
        environment: Default::default(),
        size_bytes: None,
        gpu: None,
    }
}

/// Returns the settings of such an environment.
pub(super) fn pins() -> Pins {
    Pins {
        python: "3.99".to_owned(),
        requirements: vec!["one==1.0".to_owned()],
        glibc: None,
        source: Vec::new(),
    }
}

fn own(python: &str) -> Own {
    Own { python: python.into(), wrap: Vec::new() }
}

/// Returns the same environment with other settings.
fn with(spec: &EnvSpec, pins: Pins) -> EnvSpec {
    EnvSpec { provider: Provider::Venv(pins), ..spec.clone() }
}

fn burn() -> Provider {
    Provider::Cargo(Crate { manifest: "harnesses/burn/Cargo.toml".into(), features: Vec::new() })
}

/// A machine with a fake CPython 3.99 and a fake uv that counts its installs.
struct FakeMachine {
    root: tempfile::TempDir,
}

const UV: &str = r#"
if [ "$1" = --version ]; then
    echo "uv 0.13.9 (x86_64-unknown-linux-gnu)"
elif [ "$1" = venv ]; then
    for last; do :; done
    /bin/mkdir -p "$last/bin" && : >"$last/bin/python"
else
    echo "installing $*"
    echo installed >>"$HOME/../count"
fi"#;

impl FakeMachine {
    fn new() -> FakeMachine {
        let machine = FakeMachine { root: tempfile::tempdir().unwrap() };
        fake(&machine.at("path/python3.99"), "3.99.1", ("", ""), "exit 1");
        script(&machine.at("path/uv"), UV);
        fs::create_dir_all(machine.at("project")).unwrap();
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn envs(&self) -> Envs {
        self.envs_at(&Home::at(self.at("home")))
    }

    fn envs_at(&self, home_of_rosetta: &Home) -> Envs {
        let text = |path: &str| self.at(path).display().to_string();
        let (path, home) = (text("path"), text("user"));
        fs::create_dir_all(&home).unwrap();
        let host = Host::with(&[("PATH", &path), ("HOME", &home)]);
        Envs::on(host, home_of_rosetta.clone(), self.at("project"))
    }

    fn spec(&self, name: &str) -> EnvSpec {
        spec(&self.at("project"), name)
    }

    fn installs(&self) -> usize {
        fs::read_to_string(self.at("count")).unwrap_or_default().lines().count()
    }

    fn folders(&self) -> Vec<String> {
        let listing = fs::read_dir(self.at("home/envs")).unwrap();
        let names = listing.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names =
            names.filter(|n| !n.starts_with('.') && !n.ends_with(".log")).collect::<Vec<_>>();
        names.sort();
        names
    }
}

fn silence(_: Progress) {}

fn reason(envs: &Envs, spec: &EnvSpec) -> (String, String) {
    match envs.availability(spec) {
        Availability::Unavailable(missing) => (missing.reason, missing.hint.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn builds_once_and_says_what_is_inside() {
    let machine = FakeMachine::new();
    let (envs, spec) = (machine.envs(), machine.spec("x"));
    assert_eq!(envs.availability(&spec), Availability::Buildable);
    assert!(envs.built(&spec).is_none());

    let built = envs.build(&spec, &silence).unwrap();
    assert_eq!(envs.build(&spec, &silence).unwrap(), built);
    assert_eq!(machine.installs(), 1);
    assert_eq!(envs.availability(&spec), Availability::Ready);
    assert_eq!(envs.built(&spec).unwrap(), built);
    let edited = with(&spec, Pins { requirements: vec!["two==2.0".to_owned()], ..pins() });
    assert!(envs.built(&edited).is_none(), "the lock does not hold what env.yaml pins now");

    let digest = built.digest.clone().unwrap();
    assert!(built.root.ends_with(format!("x-{}", &digest[..12])), "{:?}", built.root);
    assert_eq!(built.interpreter_version(), Some("3.99.1"));
    assert_eq!(built.packages["one"], "1.0");
    assert_eq!(built.lock_sha256.as_ref().map(String::len), Some(64));

    let command = built.command(Path::new("/h/cnn.py"), "cnn").unwrap();
    assert_eq!(command.program, built.root.join("bin/python"));
    let starter = machine.at("project/harnesses/sdk/python/rosetta/__main__.py");
    assert_eq!(command.args, [starter.to_str().unwrap(), "/h/cnn.py"]);
    let sdk = machine.at("project/harnesses/sdk/python").display().to_string();
    assert_eq!(command.environment["PYTHONPATH"], sdk);
}

#[test]
fn parallel_builds_install_once() {
    let machine = FakeMachine::new();
    let spec = machine.spec("x");
    std::thread::scope(|scope| {
        let build = || machine.envs().build(&spec, &silence).unwrap().digest;
        let threads = [0; 4].map(|_| scope.spawn(build));
        let digests = threads.map(|thread| thread.join().unwrap());
        assert!(digests.iter().all(|digest| *digest == digests[0]));
    });
    assert_eq!(machine.installs(), 1);
}

#[test]
fn a_process_that_builds_is_waited_for() {
    let machine = FakeMachine::new();
    let spec = machine.spec("x");
    let home = Home::at(machine.at("home"));
    let held = Mutex::new(Some(store::lock(&home, "x", &silence).unwrap()));
    let heard = Mutex::new(Vec::new());
    let report = |progress: Progress| {
        if let Progress::Waiting(what) = progress {
            heard.lock().unwrap().push(what);
        }
        held.lock().unwrap().take();
    };
    machine.envs().build(&spec, &report).unwrap();
    assert_eq!(heard.lock().unwrap()[0], "waiting for another build of `x`");
}

#[test]
fn what_is_half_built_is_never_used() {
    let machine = FakeMachine::new();
    let (envs, spec) = (machine.envs(), machine.spec("x"));
    let built = envs.build(&spec, &silence).unwrap();
    fs::remove_file(built.root.join("rosetta.json")).unwrap();
    fs::write(built.root.join("left"), "").unwrap();
    assert!(envs.built(&spec).is_none());

    let again = envs.build(&spec, &silence).unwrap();
    assert_eq!(machine.installs(), 2);
    assert!(!again.root.join("left").exists());

    // The interpreter that the venv was made of is gone.
    fs::remove_file(again.root.join("bin/python")).unwrap();
    assert!(envs.built(&spec).is_none());
    envs.build(&spec, &silence).unwrap();
    assert_eq!(machine.installs(), 3);
}

#[test]
fn a_failed_build_leaves_its_log_and_nothing_else() {
    let machine = FakeMachine::new();
    let (envs, spec) = (machine.envs(), machine.spec("x"));
    script(
        &machine.at("path/uv"),
        r#"
        [ "$1" = --version ] && echo "uv 0.13.9" && exit
        echo 'error: Hash mismatch for `one==1.0`' >&2; exit 1"#,
    );
    let error = format!("{:#}", envs.build(&spec, &silence).unwrap_err());
    assert!(error.starts_with("cannot build the environment `x`: `uv` failed"), "{error}");
    assert!(error.contains("Hash mismatch") && error.contains(".log`"), "{error}");
    assert!(machine.folders().is_empty());
    let digest = envs.digest(&spec).unwrap();
    assert!(machine.at(&format!("home/envs/x-{}.log", &digest[..12])).is_file());
}

#[test]
fn what_is_missing_comes_with_a_command() {
    let machine = FakeMachine::new();
    let envs = || machine.envs();
    let mut spec = machine.spec("x");
    let said = |reason: &str, hint: &str| (reason.to_owned(), hint.to_owned());

    spec = with(&spec, Pins { python: "3.97".into(), ..pins() });
    let expected = said("there is no CPython 3.97 here", "run `uv python install 3.97`");
    assert_eq!(reason(&envs(), &spec), expected);
    spec = with(&spec, Pins { python: "3.5".into(), ..pins() });
    let hint = "run `pyenv install 3.5` or `conda create --name python3.5 python=3.5`";
    assert_eq!(reason(&envs(), &spec).1, hint);

    spec = with(&spec, pins());
    spec.programs = vec!["no-such-program".into()];
    let expected = said(
        "there is no `no-such-program` on PATH",
        "install it, as `apt-get install no-such-program`",
    );
    assert_eq!(reason(&envs(), &spec), expected);
    spec.programs = vec!["nvcc".into()];
    let hint = "install it, as `apt-get install nvidia-cuda-toolkit`";
    assert_eq!(reason(&envs(), &spec).1, hint);

    spec = with(&spec, Pins { requirements: vec!["one==2.0".into()], ..pins() });
    let expected =
        said("its requirements.lock does not hold `one==2.0`", "run `rosetta env lock x`");
    assert_eq!(reason(&envs(), &spec), expected);

    fs::remove_file(spec.folder.join("requirements.lock")).unwrap();
    assert_eq!(reason(&envs(), &spec).0, "it has no requirements.lock");
    let error = envs().build(&spec, &silence).unwrap_err();
    let message = "cannot build the environment `x`: it has no requirements.lock";
    assert_eq!(error.to_string(), message);
}

#[test]
fn fixups_run_inside_the_build() {
    let machine = FakeMachine::new();
    let mut spec = machine.spec("x");
    fs::write(spec.folder.join("fix.txt"), "medicine").unwrap();
    let fixup = |run: &[&str]| FixUp {
        why: "it is ill".into(),
        run: run.iter().map(|&word| word.to_owned()).collect(),
    };
    spec.fixups = vec![fixup(&["/bin/cp", "{folder}/fix.txt", "{env}/fixed"])];
    let built = machine.envs().build(&spec, &silence).unwrap();
    assert_eq!(fs::read_to_string(built.root.join("fixed")).unwrap(), "medicine");

    spec.fixups = vec![fixup(&["/bin/sh", "-c", "echo worse; exit 9"])];
    let error = format!("{:#}", machine.envs().build(&spec, &silence).unwrap_err());
    assert!(error.contains("a fix-up failed: it is ill: `sh` failed (exit status: 9)"), "{error}");
    assert!(error.ends_with("worse"), "{error}");
}

#[test]
fn gc_keeps_what_is_current_or_being_built() {
    let machine = FakeMachine::new();
    let (envs, spec) = (machine.envs(), machine.spec("x"));
    envs.build(&spec, &silence).unwrap();
    fs::write(spec.folder.join("requirements.lock"), "one==1.0\ntwo==2.0\n").unwrap();
    envs.build(&spec, &silence).unwrap();
    envs.build(&machine.spec("x-y"), &silence).unwrap();
    for half_built in ["z-0123456789ab", "busy-0123456789ab"] {
        fs::create_dir(machine.at("home/envs").join(half_built)).unwrap();
    }
    let _lock = store::lock(&Home::at(machine.at("home")), "busy", &silence).unwrap();

    let catalog = Catalog { envs: [("x".to_owned(), spec.clone())].into(), ..Default::default() };
    let freed = envs.gc(&catalog, Sweep::Done).unwrap();
    assert_eq!(freed.folders, 3);
    assert!(freed.bytes > 0);
    let digest = envs.digest(&spec).unwrap();
    assert_eq!(machine.folders(), ["busy-0123456789ab".to_owned(), format!("x-{}", &digest[..12])]);

    assert!(envs.remove("x", None, &silence).unwrap() > 0);
    assert_eq!(machine.folders(), ["busy-0123456789ab"]);
}

#[test]
fn what_a_run_uses_is_neither_removed_nor_collected() {
    let machine = FakeMachine::new();
    let (envs, spec) = (machine.envs(), machine.spec("x"));
    let old = envs.build(&spec, &silence).unwrap();
    fs::write(spec.folder.join("requirements.lock"), "one==1.0\ntwo==2.0\n").unwrap();
    let new = envs.build(&spec, &silence).unwrap();
    let catalog = Catalog { envs: [("x".to_owned(), spec)].into(), ..Default::default() };
    let held = [(); 2].map(|()| envs.hold(old.clone(), &silence).unwrap());

    let freed = envs.gc(&catalog, Sweep::Done).unwrap();
    assert_eq!((freed.folders, freed.in_use), (0, 1));
    let error = envs.remove("x", None, &silence).unwrap_err();
    let expected = format!("process {} uses it: `", std::process::id());
    assert_eq!(error.to_string(), "cannot remove the environment `x`");
    assert!(format!("{error:#}").contains(&expected), "{error:#}");
    assert_eq!(machine.folders().len(), 2, "the free one goes with the other or not at all");

    drop(held);
    let freed = envs.gc(&catalog, Sweep::Done).unwrap();
    assert_eq!((freed.folders, freed.in_use), (1, 0));
    assert!(envs.hold(old, &silence).is_err(), "it is gone");
    assert_eq!(envs.hold(new.clone(), &silence).unwrap().built, new);
    assert!(envs.remove("x", None, &silence).is_ok());
}

#[test]
fn an_environment_that_a_run_uses_is_not_built_over() {
    let machine = FakeMachine::new();
    let (envs, spec) = (machine.envs(), machine.spec("x"));
    let held = envs.hold(envs.build(&spec, &silence).unwrap(), &silence).unwrap();
    // The interpreter that the venv was made of is gone.
    fs::remove_file(held.built.root.join("bin/python")).unwrap();
    let error = format!("{:#}", envs.build(&spec, &silence).unwrap_err());
    assert!(error.starts_with("cannot build the environment `x`: process "), "{error}");
    drop(held);
    envs.build(&spec, &silence).unwrap();
}

/// In one project it removed the environments of all others that share a home.
#[test]
fn gc_keeps_what_another_project_needs() {
    let machine = FakeMachine::new();
    let project = |name: &str, env: &str| {
        let root = machine.at(name);
        fs::create_dir_all(root.join("harnesses")).unwrap();
        let spec = spec(&root, env);
        let yaml = format!(
            "version: 1\nname: {env}\nprovider: venv\npython: \"3.99\"\nrequirements: [one==1.0]\n"
        );
        fs::write(spec.folder.join("env.yaml"), yaml).unwrap();
        machine.envs().beside(&root).build(&spec, &silence).unwrap();
        root
    };
    let (mine, other, gone) = (project("mine", "x"), project("other", "y"), project("gone", "z"));
    fs::remove_dir_all(gone).unwrap();
    fs::write(other.join("envs/y/env.yaml"), "broken").unwrap();
    // Nobody knows whose it is.
    let unknown = machine.at("home/envs/w-0123456789ab");
    fs::create_dir(&unknown).unwrap();
    fs::write(unknown.join("rosetta.json"), "{}").unwrap();
    let names = || {
        let names = machine.folders().into_iter();
        names.map(|name| name.split('-').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let gc = || {
        let envs = machine.envs().beside(&mine);
        envs.gc(&Catalog::load(&mine).unwrap(), Sweep::Done).unwrap().folders
    };
    assert_eq!((gc(), names()), (1, vec!["w".to_owned(), "x".into(), "y".into()]));
    fs::remove_dir_all(other).unwrap();
    // A fetch of uv that was killed.
    fs::create_dir_all(machine.at("home/tools/.making-uv-1/bin")).unwrap();
    let seal = fs::File::options().append(true).open(unknown.join("rosetta.json")).unwrap();
    seal.set_modified(
        std::time::SystemTime::now() - 31 * 24 * 3600 * std::time::Duration::from_secs(1),
    )
    .unwrap();
    assert_eq!((gc(), names()), (3, vec!["x".to_owned()]));
    assert_eq!(fs::read_dir(machine.at("home/tools")).unwrap().count(), 1, "the lock");
}

#[test]
fn gc_removes_what_cargo_compiled_for_no_environment() {
    let machine = FakeMachine::new();
    let mut spec = machine.spec("crate");
    spec.provider = burn();
    let all = [("crate".to_owned(), spec), ("venv".to_owned(), machine.spec("venv"))];
    let catalog = Catalog { envs: all.into(), ..Default::default() };
    let target = |name: &str| machine.at(&format!("home/cargo-target/{name}"));
    for name in ["crate", "venv", "gone", "busy"] {
        fs::create_dir_all(target(name)).unwrap();
        fs::write(target(name).join("object"), "machine code").unwrap();
    }
    let _lock = store::lock(&Home::at(machine.at("home")), "busy", &silence).unwrap();

    let freed = machine.envs().gc(&catalog, Sweep::Done).unwrap();
    assert_eq!((freed.folders, freed.bytes, freed.in_use), (2, 24, 0));
    let is_kept = ["crate", "venv", "gone", "busy"].map(|name| target(name).is_dir());
    assert_eq!(is_kept, [true, false, false, true]);
}

#[test]
fn absent_uv_is_fetched_once_by_an_interpreter() {
    let machine = FakeMachine::new();
    let uv = machine.at("uv").display().to_string();
    fs::rename(machine.at("path/uv"), machine.at("uv")).unwrap();
    script(&machine.at("path/uv"), "echo 'uv 0.4.30'");
    // `python -m venv FOLDER` makes a python that, as pip, brings the uv set aside.
    let pip = r#"here=${0%/*}; /bin/cp "$UV" "$here/uv"; echo fetched"#.replace("$UV", &uv);
    let python = format!(
        "/bin/mkdir -p \"$3/bin\"\n/bin/cat >\"$3/bin/python\" <<'END'\n#!/bin/sh\n{pip}\nEND\n\
         /bin/chmod +x \"$3/bin/python\""
    );
    fake(&machine.at("path/python3.99"), "3.99.1", ("", ""), &python);
    let envs = machine.envs();
    for name in ["x", "y"] {
        envs.build(&machine.spec(name), &silence).unwrap();
    }
    assert!(machine.at(&format!("home/tools/uv-{}/bin/uv", uv::VERSION)).is_file());
    let log = fs::read_to_string(machine.at("home/tools/uv.log")).unwrap();
    assert_eq!(log.matches("fetched").count(), 1);
    assert_eq!(machine.installs(), 2);
}

/// Making a pip of its own for a venv took twice as long as fetching uv with it.
#[test]
fn uv_is_fetched_by_the_pip_that_is_there() {
    for (has, expected) in [("pip 23.0.1 from /x", true), ("pip 20.1 from /x", false)] {
        let machine = FakeMachine::new();
        let own = "/bin/mkdir -p \"$last/bin\"\n/bin/cp \"$0\" \"$last/bin/python\"";
        let python = format!(
            "for last; do :; done\ncase \"$*\" in\n*--version) echo '{has}';;\n'-m venv '*) {own};;\n\
             *install*)\n/bin/mv {} \"${{last%/*}}/bin/uv\";;\nesac\necho \"${{0##*/}} $*\" >>{}",
            machine.at("uv").display(),
            machine.at("asked").display(),
        );
        fs::rename(machine.at("path/uv"), machine.at("uv")).unwrap();
        fake(&machine.at("path/python3.99"), "3.99.1", ("", ""), &python);
        machine.envs().build(&machine.spec("x"), &silence).unwrap();
        let asked = fs::read_to_string(machine.at("asked")).unwrap();
        let is_ours =
            asked.contains("venv --without-pip") && asked.contains("\npython3.99 -m pip --python ");
        assert_eq!(is_ours, expected, "{asked}");
        assert_eq!(asked.contains("\npython -m pip install "), !expected, "{asked}");
    }
}

#[test]
fn lock_is_written_with_our_header_alone() {
    let machine = FakeMachine::new();
    let body = r#"
[ "$1" = --version ] && echo "uv 0.13.9" && exit
while [ $# -gt 1 ]; do [ "$1" = --output-file ] && out=$2; shift; done
printf 'one==1.0 \\\n    --hash=sha256:bb\n' >"$out""#;
    script(&machine.at("path/uv"), body);
    let spec = machine.spec("x");
    machine.envs().lock(&spec, &silence).unwrap();
    let lock = fs::read_to_string(spec.folder.join("requirements.lock")).unwrap();
    let expected =
        "# made by `rosetta env lock x`; do not edit\none==1.0 \\\n    --hash=sha256:bb\n";
    assert_eq!(lock, expected);
}

#[test]
fn cargo_programs_are_copied_out_of_the_shared_target() {
    let machine = FakeMachine::new();
    let mut spec = machine.spec("x");
    spec.provider = burn();
    assert_eq!(reason(&machine.envs(), &spec).0, "there is no `cargo` on PATH");

    script(&machine.at("path/rustc"), "echo rustc 1.95");
    let body = r#"
while [ $# -gt 1 ]; do [ "$1" = --target-dir ] && target=$2; shift; done
/bin/mkdir -p "$target" && echo program >"$target/cnn"
echo "   Compiling burn v0.22.1" >&2
echo "{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"bin\"]},\"executable\":\"$target/cnn\"}""#;
    script(&machine.at("path/cargo"), body);
    assert!(reason(&machine.envs(), &spec).0.starts_with("there is no `"));
    let krate = machine.at("project/harnesses/burn");
    fs::create_dir_all(&krate).unwrap();
    fs::write(krate.join("Cargo.toml"), "").unwrap();
    assert_eq!(reason(&machine.envs(), &spec).0, "it has no Cargo.lock");
    fs::write(krate.join("Cargo.lock"), "").unwrap();

    let heard = Mutex::new(Vec::new());
    let report = |progress: Progress| {
        if let Progress::Doing(what) = progress {
            heard.lock().unwrap().push(what);
        }
    };
    let built = machine.envs().build(&spec, &report).unwrap();
    assert_eq!(heard.into_inner().unwrap(), ["Compiling burn v0.22.1"]);
    let command = built.command(Path::new("unused"), "cnn").unwrap();
    assert_eq!((&command.program, command.args.len()), (&built.root.join("bin/cnn"), 0));
    assert!(built.command(Path::new("unused"), "rnn").is_err());

    // A node of a cluster, or a machine with a GPU, that has the home and no compiler.
    fs::remove_file(machine.at("path/rustc")).unwrap();
    fs::remove_file(machine.at("path/cargo")).unwrap();
    assert_eq!(machine.envs().built(&spec), Some(built.clone()));
    assert_eq!(machine.envs().availability(&spec), Availability::Ready);
    assert!(
        machine
            .envs()
            .gc(
                &Catalog { envs: [("x".into(), spec.clone())].into(), ..Catalog::default() },
                Sweep::Done,
            )
            .is_ok()
    );
    let moved = Home::at(machine.at("elsewhere"));
    fs::create_dir_all(moved.root()).unwrap();
    fs::rename(machine.at("home/envs"), moved.envs()).unwrap();
    let envs = machine.envs_at(&moved);
    assert_eq!(envs.built(&spec).unwrap().root.parent(), Some(moved.envs().as_path()));

    fs::write(krate.join("Cargo.lock"), "changed").unwrap();
    assert_eq!(envs.built(&spec), None);
    assert_eq!(reason(&envs, &spec).0, "there is no `cargo` on PATH");
}

#[test]
fn a_venv_is_found_where_neither_uv_nor_its_first_interpreter_is() {
    let machine = FakeMachine::new();
    let spec = machine.spec("x");
    let built = machine.envs().build(&spec, &silence).unwrap();
    fs::remove_dir_all(machine.at("path")).unwrap();
    assert_eq!(machine.envs().built(&spec), Some(built.clone()));
    assert_eq!(machine.envs().availability(&spec), Availability::Ready);
    let held = machine.envs().hold(built, &silence).unwrap();
    assert!(held.built.command(Path::new("/h/cnn.py"), "cnn").is_ok());
}

#[test]
fn an_environment_that_an_older_rosetta_sealed_is_found() {
    let machine = FakeMachine::new();
    let spec = machine.spec("x");
    let built = machine.envs().build(&spec, &silence).unwrap();
    let old = serde_json::json!({"version": 1, "built": {
        "name": "x",
        "provider": "venv",
        "digest": built.digest,
        "lock_sha256": built.lock_sha256,
        "root": built.root,
        "interpreter": built.root.join("bin/python"),
        "interpreter_version": "3.99.1",
        "packages": {"one": "1.0"},
        "compiler": null,
        "size_bytes": built.size_bytes,
        "build_seconds": built.build_seconds,
    }});
    fs::write(built.root.join("rosetta.json"), old.to_string()).unwrap();
    assert_eq!(machine.envs().build(&spec, &silence).unwrap(), built);
    assert_eq!(machine.installs(), 1);
}

#[test]
fn the_dockerfile_has_the_versions_that_are_wanted() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(project.join("Dockerfile")).unwrap();
    let line = |start: &str| {
        let found = dockerfile.lines().find_map(|line| line.strip_prefix(start));
        found.unwrap_or_else(|| panic!("no line begins with `{start}`"))
    };
    let rust = env!("CARGO_PKG_RUST_VERSION");
    for base in ["ARG BUILD_BASE=", "ARG BASE="] {
        assert!(line(base).starts_with(&format!("rust:{rust}-")));
    }
    // By the pins that rosetta itself fetches it by.
    for word in uv::WHEELS.split_whitespace().filter(|word| *word != "\\") {
        assert!(dockerfile.contains(word), "the Dockerfile has no `{word}`");
    }

    let installed = line("ARG PYTHONS=").trim_matches('"').split(' ').map(parse_version);
    let wanted = Catalog::load(project).unwrap().envs.into_values();
    let wanted = wanted.filter_map(|spec| spec.provider.python().map(parse_version));
    let wanted = wanted.filter(|version| provider::is_for_uv(version));
    assert_eq!(installed.collect::<BTreeSet<_>>(), wanted.collect());
}

#[test]
fn system_takes_what_is_there() {
    let machine = FakeMachine::new();
    let python = machine.at("path/python");
    let answer = format!(
        r#"{{"executable": "{}", "version": "3.99.1", "packages": {{"numpy": "2.5.5"}}}}"#,
        python.display()
    );
    script(&python, &format!("echo '{answer}'"));
    let built = machine.envs().system(&own("python")).unwrap();
    assert_eq!((built.provider, &built.digest), (ProviderName::System, &None));
    assert_eq!(built.packages["numpy"], "2.5.5");
    let command = built.command(Path::new("/h/cnn.py"), "cnn").unwrap();
    assert_eq!(command.program, python);
    assert!(!command.environment.contains_key("PYTHONNOUSERSITE"));

    script(&python, "echo 'no python' >&2; exit 1");
    let error = format!("{:#}", machine.envs().system(&own(python.to_str().unwrap())).unwrap_err());
    assert!(error.contains("cannot ask") && error.contains("no python"), "{error}");
    assert!(machine.envs().system(&own("absent")).is_err());
}
