//! `rosetta read` on the harnesses of this project.

use std::process::Command;

fn read(args: &[&str], columns: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
    command.arg("read").args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("COLUMNS", columns).env("NO_COLOR", "1");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn harnesses_stand_beside_each_other_section_by_section() {
    let (code, text) = read(&["cnn", "pytorch", "jax"], "160");
    assert_eq!(code, Some(0), "{text}");
    let titles = ["Setup", "Load data", "Build model", "Initial weights", "Train", "Evaluate"];
    let places = titles.map(|title| text.find(&format!("── {title} ")).unwrap_or(usize::MAX));
    assert!(places.is_sorted(), "{text}");
    let line = text.lines().find(|line| line.starts_with("import torch ")).unwrap();
    assert!(line.contains(" │ "), "{line}");
    assert!(text.contains("PyTorch  harnesses/pytorch/cnn.py:"), "{text}");
}

#[test]
fn one_section_of_many_stands_one_below_the_other_in_a_narrow_terminal() {
    let (code, text) = read(&["rnn", "PyTorch,jax", "burn", "-s", "build"], "80");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("── ").count(), 1, "{text}");
    let places =
        ["pytorch", "jax", "burn"].map(|name| text.find(&format!("harnesses/{name}/")).unwrap());
    assert!(places.is_sorted() && !text.contains('│'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_program_gets_the_sections_with_their_lines() {
    let (code, text) = read(&["cnn", "numpy", "--json"], "80");
    assert_eq!(code, Some(0), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value[0]["file"], "harnesses/numpy/cnn.py");
    let section = &value[0]["sections"][1];
    assert_eq!(section["title"], "Load data");
    assert!(
        section["line"].as_u64() > Some(1)
            && section["text"].as_str().unwrap().contains("run.data")
    );
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let cases: [(&[&str], &str); 4] = [
        (&["cnn", "onnxruntime"], "those that have one: `burn`"),
        (&["cnn", "pytroch"], "did you mean `pytorch`?"),
        (&["cnm", "pytorch"], "did you mean `cnn`?"),
        (&["cnn", "pytorch", "-s", "brew"], "known: `Setup`, `Load data`"),
    ];
    for (args, expected) in cases {
        let (code, text) = read(args, "80");
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn one_idea_of_many_and_what_differs_of_two() {
    let (code, text) = read(&["cnn", "pytorch", "keras", "numpy", "--concept", "dropout"], "200");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("layers.Dropout(cfg.dropout[0]),") && text.contains("NumPy: no such section"),
        "{text}"
    );
    let (code, text) = read(&["cnn", "pytorch", "--concept", "droput"], "200");
    assert!(code == Some(2) && text.contains("did you mean `dropout`?"), "{text}");
    let (code, text) = read(&["cnn", "pytorch1", "pytorch", "--diff"], "80");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\n+ with torch.inference_mode():\n"), "{text}");
    assert!(text.contains("── Loss and optimiser ") && text.contains("the same"), "{text}");
    let (code, text) = read(&["cnn", "pytorch", "--diff"], "80");
    assert!(
        code == Some(2) && text.contains("`--diff` is of two frameworks; 1 were named"),
        "{text}"
    );
}
