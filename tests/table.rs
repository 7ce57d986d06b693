//! `rosetta table` on the stored results of this project: what fits a terminal, which rows, in which order, in colour.

use std::process::Command;

fn table(columns: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
    command.args(["--results", "results/reference", "table", "--all-machines"]).args(args);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("COLUMNS", columns).env_remove("NO_COLOR");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Returns the names in the first column of a Markdown table.
fn libraries(args: &[&str]) -> Vec<String> {
    let (code, text) = table("80", &[args, &["--markdown"]].concat());
    assert_eq!(code, Some(0), "{text}");
    let rows =
        text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| DL Library"));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

#[test]
fn a_table_fits_and_no_word_is_broken() {
    for columns in ["80", "120", "160"] {
        let (code, text) = table(columns, &["cnn", "-f", "pytorch,pytorch1,keras"]);
        assert_eq!(code, Some(0), "{text}");
        let width = columns.parse::<usize>().unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        insta::assert_snapshot!(format!("cnn_{columns}"), text);
    }
    let (_, text) = table("160", &["resnet50", "-f", "pytorch,onnx-caffe2", "--era", "historic"]);
    insta::assert_snapshot!("failed_rows", text);
}

#[test]
fn rows_are_chosen_by_name_and_by_condition() {
    assert_eq!(libraries(&["cnn", "-f", "pytorch,keras-tf"]), ["PyTorch", "Keras (TF)"]);
    assert_eq!(
        libraries(&["cnn", "-f", "keras"]),
        ["Keras (TF)", "Keras (PyTorch)", "Keras (JAX)"]
    );
    let quick = libraries(&["cnn", "--where", "training-time<3"]);
    assert_eq!(quick, ["PyTorch", "TensorFlow"]);
    let both = ["cnn", "--where", "training-time < 10", "--where", "equivalence=EXACT"];
    assert_eq!(libraries(&both), ["PyTorch", "TensorFlow", "Keras 2.2 (TF)", "JAX (Flax)"]);
    assert_eq!(libraries(&["cnn", "--where", "version~2.15"]), ["PyTorch"]);
    assert_eq!(libraries(&["cnn", "--where", "training-time=2.88"]), ["PyTorch"], "as it is shown");
    // An old version keeps the newest one beside it although only the old one was asked for.
    let (_, text) = table("160", &["cnn", "--then-and-now", "-f", "pytorch1"]);
    assert!(text.contains("PyTorch 2.15.0+cu132 (2026)"), "{text}");
}

#[test]
fn rows_are_sorted_by_any_column() {
    let sorted = |column: &str| libraries(&["cnn", "-f", "pytorch,keras", "--sort", column]);
    assert_eq!(sorted("peak-memory")[0], "Keras (JAX)");
    assert_eq!(sorted("-peak-memory")[0], "Keras (PyTorch)");
    assert_eq!(sorted("library")[3], "PyTorch");
}

#[test]
fn what_cannot_be_a_condition_is_said_with_what_can() {
    let cases: [(&[&str], &str); 5] = [
        (&["--where", "training-time"], "as `training-time<10`"),
        (&["--where", "time<10"], "`time` is not a column"),
        (&["--where", "training-time<ten"], "`<` needs a number, and `ten` is not one"),
        (&["--sort", "-speed"], "`speed` is not a column"),
        (&["-f", "torch"], "no row is as `-f` and `--where` ask"),
    ];
    for (args, expected) in cases {
        let (code, text) = table("80", args);
        assert!(code == Some(2) && text.contains(expected), "{args:?}: {text}");
    }
}

#[test]
fn grades_have_colours_where_they_are_asked_for() {
    let green = "\x1b[38;5;10m";
    let (_, text) = table("80", &["cnn", "-f", "pytorch", "--color", "always"]);
    assert!(text.contains(green) && text.contains("exact"), "{text:?}");
    for without in [&["cnn"][..], &["cnn", "--color", "never"], &["cnn", "--color", "auto"]] {
        let (_, text) = table("80", without);
        assert!(!text.contains('\x1b'), "{text:?}");
    }
}

#[test]
fn the_page_of_results_is_that_of_the_records() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/results.md")).unwrap();
    let markdown = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
        command.args(args).arg("--markdown").current_dir(env!("CARGO_MANIFEST_DIR"));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let tables: [&[&str]; 6] = [
        &["--results", "results/reference", "table", "--all-machines"],
        &["--results", "results/reference", "table", "--all-machines", "--then-and-now"],
        &["--results", "results/h100", "table", "--all-machines"],
        &["--results", "results/tuned", "table", "--all-machines"],
        &["--results", "results/julia", "table", "--all-machines"],
        &["table", "--published"],
    ];
    for args in tables {
        let text = markdown(args);
        assert!(
            text.len() > 1000 && page.contains(&text),
            "{args:?}: run `bash .ci/make_results ROSETTA`"
        );
    }
}
