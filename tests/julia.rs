//! Environments of Julia's: the real rosetta, with a Julia that is a script. What a real Julia does,
//! `.ci/check_julia.py` sees.

mod common;

use std::fs;
use std::process::Command;

use common::{Done, Project, good};

/// Says its version; installs, which it notes with what it saw; or runs a harness, which is a script.
const JULIA: &str = r#"
[ "$1" = --version ] && echo 'julia version {version}' && exit
case "$2" in
*/sdk/julia/start.jl) env >{at}/seen-by-job; echo "$*" >{at}/started; exec sh "$3" ;;
esac
for script; do :; done
echo "$script" >>{at}/scripts
env >{at}/seen-by-build
{more}
case "$script" in *Pkg.update*) echo '[[deps.Lux]]' >"$JULIA_PROJECT/Manifest.toml" ;; esac
mkdir -p "${JULIA_DEPOT_PATH%%:*}/packages"
"#;

const PROJECT: &str = "[deps]\nLux = \"b2108857-7c20-44ae-9111-449ecde12c47\"\n";
const MANIFEST: &str =
    "julia_version = \"1.10.4\"\nmanifest_format = \"2.0\"\n\n[[deps.Lux]]\nversion = \"1.2.3\"\n";

/// Returns a project with a harness in Julia, whose environment wants Julia 1.10 and no packages.
fn project() -> Project {
    let project = Project::new();
    project.write("envs/lux/env.yaml", "version: 1\nname: lux\nprovider: julia\njulia: \"1.10\"\n");
    let yaml = "version: 1\nname: lux\ntitle: Lux\nlanguage: julia\nera: current\n\
        targets:\n  - {name: lux, title: Lux, env: {cpu: lux}, starter: true}\n";
    project.write("harnesses/lux/framework.yaml", yaml);
    let script = good().replace("{good}", &project.path("good.npy").to_string_lossy());
    project.write("harnesses/lux/tiny.jl", &script);
    project
}

/// Returns the same with packages.
fn project_with_packages() -> Project {
    let project = project();
    project.write("envs/lux/Project.toml", PROJECT);
    project.write("envs/lux/Manifest.toml", MANIFEST);
    julia(&project, "path/julia", "1.10.4", "");
    project
}

fn julia(project: &Project, name: &str, version: &str, more: &str) {
    let at = project.path("").display().to_string();
    let script = JULIA.replace("{version}", version).replace("{more}", more);
    project.program(name, &script.replace("{at}", at.trim_end_matches('/')));
}

/// Returns rosetta with only what the test has on PATH, besides what scripts need.
fn alone(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env_clear();
    command.env("ROSETTA_HOME", project.path("home")).env("NO_COLOR", "1");
    for folder in ["user", "tools"] {
        fs::create_dir_all(project.path(folder)).unwrap();
    }
    for tool in ["sh", "mkdir", "env"] {
        let link = project.path(&format!("tools/{tool}"));
        let _ = std::os::unix::fs::symlink(format!("/bin/{tool}"), link);
    }
    let path = format!("{}:{}", project.path("path").display(), project.path("tools").display());
    command.env("HOME", project.path("user")).env("PATH", path);
    command
}

fn rosetta(project: &Project, args: &[&str]) -> Done {
    Done::of(alone(project, args).output().unwrap())
}

/// Returns the variables of a file that `env` has written, of those that begin with `JULIA` or end with `THREADS`.
fn variables(project: &Project, file: &str) -> Vec<String> {
    let text = project.read(file);
    let of_julia = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default();
        name.starts_with("JULIA") || name == "OPENBLAS_NUM_THREADS"
    };
    let mut found = text.lines().filter(of_julia).map(str::to_owned).collect::<Vec<_>>();
    found.sort();
    found
}

/// Returns the folder of the one environment that is built.
fn root(project: &Project) -> String {
    let all = common::list(&project.path("home/envs"));
    let mut folders = all.into_iter().filter(|path| path.join("rosetta.json").is_file());
    folders.next().expect("one is built").display().to_string()
}

const RUN: [&str; 6] = ["run", "--no-check", "--device", "cpu", "--threads", "1"];

#[test]
fn julia_alone_runs_a_harness_through_the_sdk() {
    let project = project();
    julia(&project, "path/julia", "1.10.4", "");
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    let record = &project.records()[0];
    assert_eq!(record["env"]["provider"], "julia");
    assert_eq!(record["env"]["interpreter"], "1.10.4");
    assert_eq!(record["env"]["packages"].to_string(), "[]");
    let sdk = project.path("harnesses/sdk/julia/start.jl").display().to_string();
    let harness = project.path("harnesses/lux/tiny.jl").display().to_string();
    assert_eq!(project.read("started"), format!("--startup-file=no {sdk} {harness}\n"));
    let root = root(&project);
    let expected = [
        format!("JULIA_DEPOT_PATH={root}/depot:"),
        "JULIA_LOAD_PATH=@:@stdlib".to_owned(),
        "JULIA_NUM_THREADS=1".to_owned(),
        "OPENBLAS_NUM_THREADS=1".to_owned(),
    ];
    assert_eq!(variables(&project, "seen-by-job"), expected);
    assert_eq!(project.read("scripts"), "", "there are no packages, so nothing is installed");
}

#[test]
fn without_julia_a_job_is_skipped_with_what_helps() {
    let project = project();
    let yaml = project.read("harnesses/lux/framework.yaml");
    let target = "starter: true, unverified: its packages cannot be had here";
    project.write("harnesses/lux/framework.yaml", &yaml.replace("starter: true", target));
    let reason = "tiny · lux · cpu: there is no Julia 1.10 here; unverified: its packages cannot be had here";
    let hint = "run `juliaup add 1.10`, or name a Julia in ROSETTA_JULIA";
    rosetta(&project, &RUN).says(2, &[reason, hint]);
    let listed = rosetta(&project, &["list", "targets", "--json"]).stdout;
    assert!(listed.contains("\"unverified\": \"its packages cannot be had here\""), "{listed}");
    // One of another version is named.
    julia(&project, "path/julia", "1.5.3", "");
    let done = rosetta(&project, &["env", "build", "lux"]);
    done.says(1, &["there is no Julia 1.10 here: `", "path/julia` is 1.5.3"]);
}

#[test]
fn packages_are_installed_and_compiled_before_any_job() {
    let project = project_with_packages();
    let mut run = alone(&project, &RUN);
    run.env("JULIA_PKG_SERVER", "https://mirror.example").env("JULIA_LOAD_PATH", "/astray");
    run.env("JULIA_DEPOT_PATH", format!("{}::/more", project.path("given").display()));
    Done::of(run.output().unwrap()).says(0, &["1 ok"]);
    let scripts = project.read("scripts");
    // What is in the depots already is not asked for: Pkg would fetch the registry first, which needs a network.
    let install = "is_here ? Pkg.precompile(; already_instantiated = true) \
                   : (Pkg.instantiate(); Pkg.precompile())";
    assert!(scripts.lines().next().is_some_and(|line| line.ends_with(install)), "{scripts}");
    assert!(
        scripts.contains("Base.require"),
        "a package that cannot be loaded fails the build: {scripts}"
    );
    let root = root(&project);
    let depots =
        format!("JULIA_DEPOT_PATH={root}/depot:{}:/more:", project.path("given").display());
    let common = [&depots, "JULIA_LOAD_PATH=@:@stdlib", &format!("JULIA_PROJECT={root}/project")];
    let mut built = common.map(str::to_owned).to_vec();
    built.insert(2, "JULIA_PKG_SERVER=https://mirror.example".to_owned());
    assert_eq!(variables(&project, "seen-by-build"), built);
    let seen = variables(&project, "seen-by-job");
    assert!(common.iter().all(|one| seen.iter().any(|line| line == one)), "{seen:?}");
    assert!(!seen.iter().any(|line| line.contains("SERVER")), "{seen:?}");
    // What is in the user's `~/.julia` would not be there for a job, whose home is empty.
    assert!(project.read("seen-by-build").contains(&format!("\nHOME={root}\n")));
    assert_eq!(fs::read_to_string(format!("{root}/project/Manifest.toml")).unwrap(), MANIFEST);
    let record = &project.records()[0];
    assert_eq!(record["env"]["packages"].to_string(), r#"["Lux==1.2.3"]"#);
    // It is built: a job by another shell looks into the same depots, and nothing is installed again.
    let before = project.read("scripts");
    rosetta(&project, &RUN).says(0, &["1 ok"]);
    assert_eq!(project.read("scripts"), before);
    assert!(variables(&project, "seen-by-job").contains(&depots));
}

#[test]
fn what_cannot_be_installed_is_the_end_of_a_build_with_its_words() {
    let project = project_with_packages();
    let more = "echo 'ERROR: Unsatisfiable requirements detected for package Lux' >&2; exit 1";
    julia(&project, "path/julia", "1.10.4", more);
    let done = rosetta(&project, &["env", "build", "lux"]);
    done.says(1, &["`julia` failed (exit status: 1)", "Unsatisfiable requirements"]);
    assert!(!project.path("home/envs/lux").exists());
}

#[test]
fn a_lock_is_made_from_the_project_and_must_have_its_packages() {
    let project = project_with_packages();
    let build = ["env", "build", "lux"];
    fs::remove_file(project.path("envs/lux/Manifest.toml")).unwrap();
    rosetta(&project, &build).says(1, &["it has no Manifest.toml", "rosetta env lock lux"]);
    project.write("envs/lux/Manifest.toml", "[[Knet]]\nversion = \"1.2.3\"\n");
    let stale = "its Manifest.toml lacks `Lux` of Project.toml";
    rosetta(&project, &build).says(1, &[stale, "rosetta env lock lux"]);
    rosetta(&project, &["env", "lock", "lux"]).says(0, &[]);
    assert_eq!(project.read("envs/lux/Manifest.toml"), "[[deps.Lux]]\n");
    assert_eq!(project.read("scripts"), "using Pkg; Pkg.update()\n");
    rosetta(&project, &build).says(0, &[]);
}

#[test]
fn another_julia_or_lock_is_another_environment() {
    let project = project_with_packages();
    let build = ["env", "build", "lux"];
    let count =
        || common::list(&project.path("home/envs")).iter().filter(|path| path.is_dir()).count();
    rosetta(&project, &build).says(0, &[]);
    rosetta(&project, &build).says(0, &[]);
    assert_eq!(count(), 1);
    julia(&project, "path/julia", "1.10.5", "");
    rosetta(&project, &build).says(0, &[]);
    assert_eq!(count(), 2);
    project.write("envs/lux/Manifest.toml", &MANIFEST.replace("1.2.3", "1.2.4"));
    rosetta(&project, &build).says(0, &[]);
    assert_eq!(count(), 3);
    // One that a person names may be a script with options: it counts by its path too.
    let named = |program: &str| {
        let mut named = alone(&project, &build);
        named.env("ROSETTA_JULIA", project.path(program));
        Done::of(named.output().unwrap())
    };
    julia(&project, "elsewhere/julia", "1.10.5", "");
    named("elsewhere/julia").says(0, &[]);
    named("elsewhere/julia").says(0, &[]);
    assert_eq!(count(), 4);
    named("path/julia").says(0, &[]);
    assert_eq!(count(), 5);
}

#[test]
fn what_is_built_runs_in_a_shell_that_finds_no_julia() {
    let project = project_with_packages();
    julia(&project, "elsewhere/julia", "1.10.4", "");
    for named in [false, true] {
        let mut build = alone(&project, &["env", "build", "lux"]);
        if named {
            fs::remove_file(project.path("path/julia")).unwrap();
            build.env("ROSETTA_JULIA", project.path("elsewhere/julia"));
        }
        Done::of(build.output().unwrap()).says(0, &[]);
        // As on the nodes of a cluster: Julia is there, and no variable says where.
        let mut run = alone(&project, &RUN);
        run.env("PATH", project.path("tools"));
        Done::of(run.output().unwrap()).says(0, &["1 ok"]);
        fs::remove_dir_all(project.path("home/envs")).unwrap();
    }
}
