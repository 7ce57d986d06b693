//! `rosetta report` on the stored results of this project, and on records that mean no good.

use std::fs;
use std::path::Path;
use std::process::Command;

fn rosetta(results: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
    command.arg("--results").arg(results).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("COLUMNS", "100").env("NO_COLOR", "1");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn reference() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/results/reference"))
}

#[test]
fn a_report_is_one_file_that_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.html");
    let out = path.to_str().unwrap();
    let (code, text) = rosetta(reference(), &["report", "--all-machines", "--out", out]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("wrote `"), "{text}");
    let page = fs::read_to_string(&path).unwrap();
    for part in ["id=\"cnn\"", "id=\"then-and-now\"", "id=\"equivalence\"", "id=\"code-rnn-jax\""] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert!(page.contains("rosetta run cnn -f pytorch --profile quick --device cpu --threads 2"));
    // Nothing that a browser would fetch: addresses stand in texts only.
    for asked in ["src=", "<link", "url(", "@import", "href=\"http"] {
        assert!(!page.contains(asked), "the page asks with `{asked}`");
    }
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_has_the_page_and_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("site");
    let asked = ["report", "rnn", "--all-machines", "--out", out.to_str().unwrap()];
    let (code, text) = rosetta(reference(), &asked);
    assert_eq!(code, Some(0), "{text}");
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("id=\"rnn\"") && !page.contains("id=\"cnn\""));
    let tables = fs::read_to_string(out.join("tables.json")).unwrap();
    let tables: serde_json::Value = serde_json::from_str(&tables).unwrap();
    assert_eq!(tables[0]["rows"].as_array().unwrap().len(), 26);
    assert!(fs::read_to_string(out.join("tables.csv")).unwrap().contains("\nrnn,JAX (Flax),"));
}

/// The parent of a bare name is empty: the file was written, and then said to be not.
#[test]
fn a_bare_name_is_of_the_current_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (what, out) in [
        (&["report", "rnn", "--all-machines"][..], "rnn.html"),
        (&["plot", "rnn", "--all-machines"], "rnn.svg"),
        (&["export", "notebook", "rnn", "jax"], "rnn.ipynb"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
        command.args(["--project", env!("CARGO_MANIFEST_DIR")]).arg("--results").arg(reference());
        let output = command.args(what).args(["--out", out]).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(folder.path().join(out).is_file(), "{what:?}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = rosetta(reference(), &["report", "cnm", "--all-machines"]);
    assert!(code == Some(2) && text.contains("did you mean `cnn`?"), "{text}");
    let out = folder.path().join("none/report.html");
    let (code, text) =
        rosetta(reference(), &["report", "--all-machines", "--out", out.to_str().unwrap()]);
    assert!(code == Some(2) && text.contains("name another place with `--out`"), "{text}");
    // A project without results still has code to read.
    let out = folder.path().join("report.html");
    let (code, text) = rosetta(folder.path(), &["report", "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(fs::read_to_string(out).unwrap().contains("id=\"code-cnn-pytorch\""));
}

#[test]
fn a_record_that_means_no_good_is_text_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("runs/20261127T000000Z-0000");
    fs::create_dir_all(&run).unwrap();
    let of = reference().join("runs/20261125T072219Z-c8cc");
    fs::copy(of.join("run.json"), run.join("run.json")).unwrap();
    let line = fs::read_to_string(of.join("records.jsonl")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    record["title"] = format!("<script>alert(1)</script>\u{202e}{}", "x".repeat(1 << 20)).into();
    record["target"] = "\"><img onerror=alert(1)>".into();
    fs::write(run.join("records.jsonl"), format!("{record}\n")).unwrap();
    let out = folder.path().join("report.html");
    let formats: [&[&str]; 7] = [
        &["table", "--all-machines"],
        &["table", "--all-machines", "--markdown"],
        &["table", "--all-machines", "--csv"],
        &["table", "--all-machines", "--json"],
        &["table", "--all-machines", "--latex"],
        &["table", "--all-machines", "--html"],
        &["report", "--all-machines", "--out", out.to_str().unwrap()],
    ];
    for format in formats {
        let (code, mut text) = rosetta(folder.path(), format);
        assert_eq!(code, Some(0), "{format:?}: {}", &text[..200.min(text.len())]);
        let is_page = format[0] == "report";
        if is_page {
            text = fs::read_to_string(&out).unwrap();
        }
        assert!(!text.contains('\u{202e}') && !text.contains('\x1b'), "{format:?}");
        let is_html =
            is_page || format.last() == Some(&"--html") || format.last() == Some(&"--markdown");
        if is_html {
            assert!(!text.contains("<script>alert") && !text.contains("<img"), "{format:?}");
            assert!(text.len() < 1_500_000, "{format:?}: {} bytes", text.len());
        }
    }
}

#[test]
fn a_chart_is_a_picture_of_its_own() {
    let drawn = |args: &[&str]| {
        let (code, text) = rosetta(reference(), &[&["plot"], args, &["--all-machines"]].concat());
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with("<svg xmlns=") && text.trim_end().ends_with("</svg>"), "{text}");
        text
    };
    let bars = drawn(&["cnn", "-f", "pytorch,jax"]);
    assert!(
        bars.contains("<title>PyTorch: 2.88</title>") && bars.contains("Training Time (s)"),
        "{bars}"
    );
    assert_eq!(bars.matches("class=\"bar\"").count(), 2, "{bars}");
    assert!(drawn(&["rnn", "--of", "peak-memory"]).contains("Peak Memory (GiB)"));
    assert!(drawn(&["cnn", "--of", "loss-by-epoch"]).contains("PyTorch: from "));
    assert!(
        drawn(&["cnn", "--of", "loss-by-second"]).contains("Loss over seconds of the training")
    );
    let points = drawn(&["cnn", "--of", "accuracy-by-time", "-f", "pytorch,jax"]);
    assert!(points.contains("<title>PyTorch: 2.88, ") && points.contains("Test accuracy (%)"));
    assert!(drawn(&["cnn", "--of", "then-and-now"]).contains("class=\"slope better\""));
    let (code, text) = rosetta(reference(), &["plot", "cnn", "--of", "version", "--all-machines"]);
    assert!(code == Some(2) && text.contains("nothing to draw of `version`"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("cnn.svg");
    rosetta(reference(), &["plot", "cnn", "--all-machines", "--out", out.to_str().unwrap()]);
    assert!(fs::read_to_string(out).unwrap().starts_with("<svg"));
    // A file that is named as what it would not be is not written.
    for (name, how) in [
        ("cnn.PNG", "rsvg-convert --zoom 3"),
        ("cnn.pdf", "rsvg-convert --format pdf"),
        ("cnn.webp", "--background-color white"),
    ] {
        let out = folder.path().join(name);
        let (code, text) = rosetta(
            reference(),
            &["plot", "cnn", "--all-machines", "--out", out.to_str().unwrap()],
        );
        assert!(
            code == Some(2) && text.contains("a chart is written as SVG") && text.contains(how),
            "{text}"
        );
        assert!(!out.exists());
    }
}

#[test]
fn a_harness_is_a_notebook_whose_cells_are_its_sections() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("cnn.ipynb");
    let (code, text) =
        rosetta(reference(), &["export", "notebook", "cnn", "jax", "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let notebook: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(out).unwrap()).unwrap();
    let cells = notebook["cells"].as_array().unwrap();
    let source = |index: usize| cells[index]["source"].as_str().unwrap();
    assert!(
        source(0).starts_with("VGG-style CNN on CIFAR-10") && source(1).contains("ROSETTA_JOB")
    );
    assert_eq!((source(2), cells[3]["cell_type"].as_str()), ("## Setup", Some("code")));
    let harness =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/harnesses/jax/cnn.py")).unwrap();
    let code = (3..cells.len()).step_by(2).map(source).collect::<Vec<_>>();
    assert!(code.len() == 8 && code.iter().all(|cell| harness.contains(cell)), "{code:?}");
    let (code, text) = rosetta(reference(), &["export", "notebook", "cnn", "burn"]);
    assert!(code == Some(2) && text.contains("`burn` is not written in Python"), "{text}");
    let (code, text) = rosetta(reference(), &["export", "notebook", "cmn", "jax"]);
    assert!(code == Some(2) && text.contains("did you mean `cnn`?"), "{text}");
}
