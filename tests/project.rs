//! What this repository promises of itself: its specs, schemas, harnesses and pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rosetta::catalog::Provider;
use rosetta::cli::args::SchemaKind;
use rosetta::cli::schema;
use rosetta::project::Project;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rosetta(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
    let output = command.args(args).current_dir(root()).env("NO_COLOR", "1").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn the_networks_have_the_published_number_of_parameters() {
    let project = Project::at(root());
    let parameters = |name: &str| {
        let experiments = project.experiments().unwrap();
        let experiment = experiments.iter().find(|e| e.name() == name).unwrap();
        let tensors = &experiment.spec.initial_weights.tensors;
        tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum::<usize>()
    };
    assert_eq!(parameters("cnn"), 3_441_592);
    assert_eq!(parameters("rnn"), 3_818_302);
    assert_eq!(parameters("transformer"), 4_256_258); // not published then
}

/// Write them anew with `rosetta schema experiment > specs/experiment.schema.json` and so on.
#[test]
fn the_schemas_that_editors_use_are_current() {
    let files = [
        (SchemaKind::Experiment, "specs/experiment.schema.json"),
        (SchemaKind::Framework, "harnesses/framework.schema.json"),
        (SchemaKind::Env, "envs/env.schema.json"),
        (SchemaKind::Variants, "harnesses/variants.schema.json"),
        (SchemaKind::Launcher, "launchers/launcher.schema.json"),
    ];
    for (kind, path) in files {
        let stored = fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(stored == schema(kind), "`{path}` is not what `rosetta schema` prints");
    }
}

#[test]
fn every_yaml_file_names_its_schema() {
    let named = |folder: &str, file: &str, schema: &str| {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = if file.is_empty() {
                entry.unwrap().path()
            } else {
                entry.unwrap().path().join(file)
            };
            if path.extension().is_some_and(|ext| ext == "yaml") && path.is_file() {
                let text = fs::read_to_string(&path).unwrap();
                let first = format!("# yaml-language-server: $schema={schema}");
                assert!(
                    text.starts_with(&first),
                    "{} does not begin with `{first}`",
                    path.display()
                );
            }
        }
    };
    named("specs", "", "experiment.schema.json");
    named("harnesses", "framework.yaml", "../framework.schema.json");
    named("harnesses", "variants.yaml", "../variants.schema.json");
    named("harnesses", "transformer.variants.yaml", "../variants.schema.json");
    named("harnesses", "mistakes.yaml", "../variants.schema.json");
    named("envs", "env.yaml", "../env.schema.json");
}

#[test]
fn every_harness_holds_to_the_contract() {
    let (code, text) = rosetta(&["lint"]);
    assert_eq!((code, text.as_str()), (Some(0), ""));
}

#[test]
fn every_target_has_an_environment_with_a_lock() {
    let catalog = Project::at(root()).catalog().unwrap();
    // What nobody could install yet has no lock: CUDA.jl asks for Julia's own server.
    let without = ["flux-cuda"];
    for env in catalog.envs.values() {
        let lock = match &env.provider {
            Provider::Cargo(of) => root().join(&of.manifest).with_file_name("Cargo.lock"),
            Provider::Venv(_) | Provider::Conda(_) => env.folder.join("requirements.lock"),
            Provider::Julia(_) if !env.folder.join("Project.toml").is_file() => continue,
            Provider::Julia(_) if without.contains(&env.name.as_str()) => continue,
            Provider::Julia(_) => env.folder.join("Manifest.toml"),
            Provider::System(_) | Provider::Docker { .. } => panic!("no env.yaml has it"),
        };
        assert!(lock.is_file(), "{} has no lock `{}`", env.name, lock.display());
        if let Some(python) = env.provider.python() {
            let wanted = fs::read_to_string(env.folder.join("environment.yml")).unwrap_or_default();
            assert!(wanted.contains(&format!("[python={python}]")), "{}: {wanted}", env.name);
        }
    }
    assert!(catalog.targets().count() >= 12);
}

#[test]
fn the_protocol_page_is_what_the_command_prints() {
    let (code, text) = rosetta(&["protocol"]);
    assert_eq!(code, Some(0));
    assert_eq!(text, fs::read_to_string(root().join("docs/protocol.md")).unwrap());
}

#[test]
fn the_tables_of_2017_are_shown_cell_for_cell() {
    let (code, text) = rosetta(&["table", "--published", "--csv"]);
    assert_eq!(code, Some(0));
    for row in [
        "cnn,MXNet,77,145,,,",
        "rnn,Keras(CNTK),86,86,No Available,,",
        "resnet50,Tensorflow,,,,155,11",
    ] {
        assert!(text.contains(row), "no `{row}` in\n{text}");
    }
    assert_eq!(text.lines().count(), 1 + 12 + 7 + 11);
}

#[test]
fn help_man_page_and_completions_are_there() {
    for (args, words) in [
        (&["--help"][..], "rosetta run --all"),
        (&["run", "--help"], "Exit code: 0"),
        (&["man"], ".TH rosetta"),
        (&["completions", "bash"], "_rosetta"),
        (&["completions", "fish"], "complete -c rosetta"),
    ] {
        let (code, text) = rosetta(args);
        assert_eq!(code, Some(0), "{args:?}");
        assert!(text.contains(words), "{args:?}: no `{words}` in\n{text}");
    }
}

#[test]
fn everything_that_can_be_typed_is_described() {
    use clap::CommandFactory;
    let mut commands = vec![rosetta::cli::args::Cli::command()];
    while let Some(command) = commands.pop() {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "`{name}` has no description");
        let after = command.get_after_help().map(|text| text.to_string()).unwrap_or_default();
        assert!(after.contains("Examples:\n"), "`{name}` has no examples");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "`{id}` of `{name}` has no description");
        }
        commands.extend(command.get_subcommands().cloned());
    }
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert_eq!(rosetta(&["man", "--out", pages.to_str().unwrap()]), (Some(0), String::new()));
    for (name, words) in [
        ("rosetta.1", "compare them"),
        ("rosetta-run.1", "Exit code: 0"),
        ("rosetta-table.1", "then\\-and\\-now"),
        ("rosetta-data-import.1", "unverified"),
        ("rosetta-env-shell.1", "environment"),
        ("rosetta-env-update.1", "pinned"),
    ] {
        let page = fs::read_to_string(pages.join(name)).unwrap();
        assert!(page.contains(words), "{name}: no `{words}` in\n{page}");
    }
    let (code, text) = rosetta(&["man", "--out", "/dev/null/man1"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("cannot write manual pages into `/dev/null/man1`"), "{text}");
}

#[test]
fn a_shell_that_asks_is_told_the_names_of_this_project() {
    for (typed, expected) in [
        (&["run", "cn"][..], "cnn"),
        (&["run", "-f", "numpy,pytorc"], "numpy,pytorch"),
        (&["job", "resn"], "resnet50"),
        (&["env", "build", "nump"], "numpy"),
        (&["data", "import", "im"], "imdb"),
        (&["table", "--run", "late"], "latest"),
        (&["table", "-p", "smo"], "smoke"),
        (&["run", "no-such-experi"], ""),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
        command.args(["--", "rosetta"]).args(typed).current_dir(root());
        let output = command.env("ROSETTA_COMPLETE", "fish").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split('\t').next()).collect::<Vec<_>>();
        match expected {
            "" => assert!(names.is_empty(), "{typed:?}: {text}"),
            expected => assert!(names.contains(&expected), "{typed:?}: {text}"),
        }
    }
}

#[test]
fn links_within_the_pages_lead_somewhere() {
    let mut pages = vec![root().join("README.md"), root().join("harnesses/README.md")];
    pages.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    for page in pages.iter().filter(|page| page.extension().is_some_and(|ext| ext == "md")) {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = page.parent().unwrap_or(Path::new(".")).join(file);
            assert!(target.exists(), "{} links to `{link}`, which is not there", page.display());
        }
    }
}

#[test]
fn the_lessons_quote_lines_that_are_there() {
    let page = fs::read_to_string(root().join("docs/lessons.md")).unwrap();
    // A quotation: `code` ([name](../harnesses/name/file)).
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut quoted = 0;
    for (at, _) in page.match_indices("` ([") {
        let code = page[..at].rsplit('`').next().unwrap();
        let path = page[at..].split("](../").nth(1).unwrap().split(')').next().unwrap();
        let text = fs::read_to_string(root().join(path)).unwrap();
        assert!(text.contains(code), "`{code}` is not in {path}");
        quoted += 1;
    }
    assert!(quoted > 8, "{quoted} quotations");
}

/// What the README shows is output: nobody writes a number or a line of code into it.
#[test]
fn the_readme_shows_what_is_printed() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let table = "--results results/reference table cnn --all-machines --markdown --columns \
        library,training-time,peak-memory,equivalence,version \
        -f pytorch,tensorflow,jax,mxnet-1.9,cntk,mxnet-0.12,chainer,numpy";
    let (code, text) = rosetta(&table.split_whitespace().collect::<Vec<_>>());
    let (_, rows) = text.split_once("\n\n").unwrap();
    assert_eq!(code, Some(0), "{text}");
    assert!(
        page.contains(rows.trim()),
        "README.md does not show this of `rosetta {table}`:\n{rows}"
    );

    let mut read = Command::new(env!("CARGO_BIN_EXE_rosetta"));
    read.args(["read", "cnn", "pytorch", "jax", "-s", "train"]).current_dir(root());
    let output = read.env("COLUMNS", "150").env("NO_COLOR", "1").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.trim().lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert!(page.contains(&lines), "README.md does not show this of `rosetta read`:\n{lines}");
}

/// Lines of up to 438 characters could not be read in an editor, nor a change of one in a diff.
#[test]
fn prose_of_the_pages_is_wrapped() {
    // Written by programs.
    let made = ["docs/results.md", "docs/defaults.md"];
    let mut pages =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "harnesses/README.md"]
            .map(|name| root().join(name))
            .to_vec();
    pages.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let is_page = |page: &&PathBuf| page.extension().is_some_and(|ext| ext == "md");
    let is_made = |page: &PathBuf| made.iter().any(|name| root().join(name) == *page);
    for page in pages.iter().filter(is_page).filter(|page| !is_made(page)) {
        let text = fs::read_to_string(page).unwrap();
        let mut is_code = false;
        for (number, line) in (1..).zip(text.lines()) {
            is_code ^= line.trim_start().starts_with("```");
            let (is_table, length) = (line.trim_start().starts_with('|'), line.chars().count());
            let has_room = line.trim().contains(' ') && length > 140;
            let place = format!("{}:{number}", page.display());
            assert!(
                is_code || is_table || !has_room,
                "{place}: {length} characters: wrap it at 120"
            );
        }
    }
}
