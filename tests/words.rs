//! `rosetta words`: the dictionary holds for the harnesses of this project as they are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use rosetta::project::Project;
use rosetta::words::Dictionary;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn words(args: &[&str], columns: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
    command
        .arg("words")
        .args(args)
        .current_dir(root())
        .env("COLUMNS", columns)
        .env("NO_COLOR", "1");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn every_word_is_in_every_harness_or_is_a_gap_with_a_reason() {
    let dictionary = Dictionary::load(&root().join("harnesses/words.yaml")).unwrap();
    let catalog = Project::at(root()).catalog().unwrap();
    assert!(dictionary.words.len() >= 15);
    let mut faults = Vec::new();
    for word in &dictionary.words {
        let mut used = BTreeMap::<&str, usize>::new();
        let of = catalog
            .frameworks
            .iter()
            .filter_map(|one| Some((one, one.harnesses.get(&word.experiment)?)));
        for (framework, path) in of {
            let text = std::fs::read_to_string(path).unwrap();
            let (name, gap) = (&framework.spec.name, word.gaps.get(&framework.spec.name));
            match (word.find(&text, framework.spec.language), gap) {
                (Some((_, by)), None) => *used.entry(by).or_default() += 1,
                (None, Some(_)) => {}
                (None, None) => faults.push(format!("{}: neither in {name} nor a gap", word.word)),
                (Some((call, _)), Some(_)) => {
                    faults.push(format!(
                        "{}: {name} is called a gap and has `{}`",
                        word.word, call.code
                    ));
                }
            }
        }
        let idle = word.lines.iter().filter(|line| !used.contains_key(line.as_str()));
        faults.extend(idle.map(|line| format!("{}: no harness has `{line}`", word.word)));
        let known = |name: &str| catalog.frameworks.iter().any(|one| one.spec.name == name);
        faults.extend(
            word.gaps.keys().filter(|name| !known(name)).map(|name| format!("no framework {name}")),
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_word_is_the_line_that_is_run() {
    let (code, text) = words(&["momentum", "pytorch", "candle"], "200");
    assert_eq!(code, Some(0), "{text}");
    let call = "optimizer = torch.optim.SGD(model.parameters(), lr=cfg.learning_rate, momentum=cfg.momentum)";
    assert!(text.contains(call) && text.contains("harnesses/pytorch/cnn.py:"), "{text}");
    assert!(text.contains("its SGD has no momentum; written out"), "{text}");
    let (_, text) = words(&["pytorch", "jax"], "80");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("dropout: Dropout") && text.contains("seed: "), "{text}");
}

#[test]
fn a_program_gets_place_code_and_gaps() {
    let (_, text) = words(&["gru", "pytorch", "mlx", "--json"], "80");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value[0]["code"], "self.gru = nn.GRU(cfg.embedding, cfg.units, batch_first=True)");
    assert_eq!(value[0]["file"], "harnesses/pytorch/rnn.py");
    assert!(
        value[1]["code"].is_null() && value[1]["gap"].as_str().unwrap().contains("recurrent bias")
    );
}

#[test]
fn a_name_that_is_neither_is_said() {
    let (code, text) = words(&["droput"], "80");
    assert!(code == Some(2) && text.contains("did you mean `dropout`?"), "{text}");
    let (code, text) = words(&[], "120");
    assert!(code == Some(0) && text.contains("Softmax cross-entropy"), "{text}");
}
