//! Holds the SDK to the event streams of tests/golden, which its README.md describes.

mod process;

use std::{
    fs,
    path::{Path, PathBuf},
};

use process::{events, job, run};
use rosetta::{Array, Values};
use serde_json::{Value, json};

#[test]
#[ignore = "the scripted harness of the tests below"]
fn scripted() {
    let run = rosetta::start("Scripted", "1.2.3");
    run.fact("layout", "NCHW");
    run.fact("compiled", false);
    run.phase("load");
    let x_test = run.data("x_test");
    run.phase("build");
    let weights = run.weights();

    if run.experiment == "inference" {
        run.phase("warmup");
        let rows: usize = run.warmup(&x_test).map(|x| x.rows()).sum();
        run.metric("warmup_rows", rows as f64, Some("rows"));
        run.phase("predict");
        for x in run.split(&x_test) {
            run.outputs(logits(&x));
        }
        return run.finish();
    }

    run.phase("train");
    let mut pixels = 0.0;
    for epoch in run.epochs() {
        for (step, (x, y)) in run.batches(epoch).enumerate() {
            let y = floats(&y);
            let loss = match run.experiment.as_str() {
                "nonfinite" => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][step],
                _ => 0.125 + y[0] + y[1] / 16.0,
            };
            seen_logits(&run, &x);
            pixels += floats(&x).iter().sum::<f64>();
            run.step(move || loss);
        }
        run.epoch_end(epoch);
    }
    run.final_weights(|| weights.into_iter().map(|(name, w)| (name, plus_one(w))).collect());
    run.metric("pixels", pixels, Some("1"));
    run.phase("predict");
    run.outputs(Array::concatenate(run.split(&x_test).map(|x| seen_logits(&run, &x))));
    run.phase("evaluate");
    let accuracy = if run.experiment == "nonfinite" { f64::NAN } else { 0.75 };
    run.metric("accuracy", accuracy, None);
    run.finish();
}

/// The logits, with a word on what is inside where the stream is about that.
fn seen_logits(run: &rosetta::Run, x: &Array) -> Array {
    let y = logits(x);
    if run.experiment == "activations" {
        run.activation("pixels", || x.clone());
        run.activation("block 1/sums", || y.clone());
    }
    y
}

/// The sum of each row's pixels, and minus that, in the type of the pixels.
fn logits(x: &Array) -> Array {
    let pixels = floats(x);
    let sums = pixels.chunks(4).map(|row| row.iter().sum::<f64>()).flat_map(|sum| [sum, -sum]);
    like(x, [x.rows(), 2], sums.collect())
}

fn plus_one(w: Array) -> Array {
    like(&w, w.shape.clone(), floats(&w).iter().map(|value| value + 1.0).collect())
}

fn floats(array: &Array) -> Vec<f64> {
    match &array.values {
        Values::F32(values) => values.iter().map(|&value| value.into()).collect(),
        Values::F64(values) => values.clone(),
        Values::I32(values) => values.iter().map(|&value| value.into()).collect(),
    }
}

fn like(array: &Array, shape: impl Into<Vec<usize>>, values: Vec<f64>) -> Array {
    match array.values {
        Values::F64(_) => Array::new(shape, values),
        _ => Array::new(shape, values.iter().map(|&value| value as f32).collect::<Vec<_>>()),
    }
}

#[test]
fn training_is_as_in_the_golden_stream() {
    remove(compare("training", json!({})));
}

#[test]
fn inference_is_as_in_the_golden_stream() {
    let config = json!({"batch_size": 2, "warmup_batches": 3});
    remove(compare("inference", json!({"config": config, "order": null})));
}

#[test]
fn a_check_is_as_in_the_golden_stream() {
    let folder = compare("check", json!({"mode": "check", "steps": 4, "dtype": "float64"}));
    let bias = fs::read(folder.join("outputs/weights/dense.bias.npy")).unwrap();
    assert!(bias.ends_with(&[1.5f64, 0.5].map(f64::to_le_bytes).concat()));
    let logits = fs::read(folder.join("outputs/outputs.npy")).unwrap();
    let last = (80 + 85 + 90 + 95) as f64 / 256.0;
    assert!(logits.ends_with(&[last, -last].map(f64::to_le_bytes).concat()));
    remove(folder);
}

#[test]
fn a_check_without_steps_is_as_in_the_golden_stream() {
    remove(compare("untrained", json!({"mode": "check", "steps": 0})));
}

#[test]
fn activations_are_as_in_the_golden_stream() {
    let folder = compare("activations", json!({"mode": "check", "steps": 1}));
    let sums = fs::read(folder.join("outputs/activation-1.npy")).unwrap();
    let [first, second] = [30f32 / 256.0, 110f32 / 256.0];
    assert!(sums.ends_with(&[first, -first, second, -second].map(f32::to_le_bytes).concat()));
    remove(folder);
}

#[test]
fn non_finite_numbers_are_as_in_the_golden_stream() {
    remove(compare("nonfinite", json!({"mode": "check", "steps": 3})));
}

/// Runs the scripted harness and compares event by event; returns the job's folder.
fn compare(stream: &str, changes: Value) -> PathBuf {
    let folder = job(stream, changes);
    let output = run("scripted", &folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = events(&output);
    let is_run = !said.iter().any(|event| event["ev"] == "weights");
    for (seq, event) in said.iter().enumerate() {
        assert_eq!(event["seq"], seq, "no event is lost");
    }
    let lasting = said.into_iter().filter(|event| !(is_run && event["ev"] == "step"));
    let masked = lasting.enumerate().map(|(seq, event)| masked(seq, event));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden");
    let golden = fs::read_to_string(golden.join(format!("{stream}.jsonl"))).unwrap();
    let golden = golden.lines().map(|line| number(serde_json::from_str(line).unwrap()));
    assert_eq!(masked.collect::<Vec<_>>(), golden.collect::<Vec<_>>());
    folder
}

fn remove(folder: PathBuf) {
    fs::remove_dir_all(folder).unwrap();
}

/// Takes out what differs from run to run, as the README says.
fn masked(seq: usize, mut event: Value) -> Value {
    let fields = event.as_object_mut().unwrap();
    for (name, value) in fields.iter_mut() {
        *value = match (name.as_str(), &*value) {
            ("seq", _) => json!(seq),
            ("first_step_seconds", Value::Null) => Value::Null,
            ("seconds", Value::Array(all)) => json!(vec![0; all.len()]),
            ("t" | "pid" | "ready" | "seconds" | "first_step_seconds", _) => json!(0),
            ("language" | "language_version" | "sdk", _) => json!(""),
            ("path" | "folder", Value::String(path)) => {
                json!(Path::new(path).file_name().unwrap().to_str())
            }
            (_, other) => other.clone(),
        };
    }
    number(event)
}

/// Makes every number a float: 1 equals 1.0.
fn number(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(all) => all.into_iter().map(number).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, number(value))).collect())
        }
        other => other,
    }
}
