//! Jobs on disk and harnesses as processes of their own, for the tests beside it.
//!
//! A harness here is an ignored test of the same program: the parent starts itself again with
//! that test's name, as rosetta starts a harness.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Output},
};

use serde_json::{Value, json};

/// Writes the job of tests/golden/README.md with some fields changed; returns its folder.
pub fn job(name: &str, changes: Value) -> PathBuf {
    let folder = env::temp_dir().join(format!("rosetta-sdk-{}-{name}", process::id()));
    fs::create_dir_all(folder.join("outputs")).expect("a temporary folder");
    let train: Vec<u8> = (0..28).collect();
    let test: Vec<u8> = (0..20).map(|k| 5 * k).collect();
    let order = [6u32, 5, 4, 3, 2, 1, 0, 0, 2, 4, 6, 1, 3, 5];
    let dense: [f32; 8] = [0, 1, 2, 3, 4, 5, 6, 7].map(|k| k as f32 / 8.0);
    let write = |file: &str, kind, shape, bytes: &[u8]| npy(&folder.join(file), kind, shape, bytes);
    write("x_train.npy", "|u1", "(7, 1, 2, 2)", &train);
    write("y_train.npy", "<i4", "(7,)", &[0i32, 1, 2, 3, 4, 5, 6].map(i32::to_le_bytes).concat());
    write("x_test.npy", "|u1", "(5, 1, 2, 2)", &test);
    write("order.npy", "<u4", "(2, 7)", &order.map(u32::to_le_bytes).concat());
    write("dense.weight.npy", "<f4", "(2, 4)", &dense.map(f32::to_le_bytes).concat());
    write("dense.bias.npy", "<f4", "(2,)", &[0.5f32, -0.5].map(f32::to_le_bytes).concat());
    let array = |name: &str, rows: usize, divide_by: Value| {
        let path = folder.join(format!("{name}.npy"));
        json!({"path": path, "rows": rows, "divide_by": divide_by})
    };
    let mut job = json!({
        "protocol": 1, "job": "training.scripted.cpu.1", "experiment": name,
        "target": "scripted", "profile": "smoke", "device": "cpu", "threads": 1, "seed": 42,
        "mode": "run", "steps": null, "dtype": "float32",
        "config": {"batch_size": 2, "epochs": 2, "warmup_batches": 3},
        "arrays": {
            "x_train": array("x_train", 7, json!(256)),
            "y_train": array("y_train", 7, json!(null)),
            "x_test": array("x_test", 5, json!(256)),
        },
        "weights": {"folder": folder, "names": ["dense.weight", "dense.bias"]},
        "order": folder.join("order.npy"),
        "outputs": folder.join("outputs"),
    });
    for (field, value) in changes.as_object().expect("changes are an object") {
        job[field] = value.clone();
    }
    fs::write(folder.join("job.json"), job.to_string()).expect("a temporary file");
    folder
}

fn npy(path: &Path, kind: &str, shape: &str, bytes: &[u8]) {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes);
    fs::write(path, file).expect("a temporary file");
}

/// Runs the ignored test `harness` under the job in `folder`.
pub fn run(harness: &str, folder: &Path) -> Output {
    Command::new(env::current_exe().expect("a path"))
        .args(["--exact", harness, "--ignored", "--nocapture"])
        .env("ROSETTA_JOB", folder.join("job.json"))
        .output()
        .expect("this program starts")
}

/// The events among the lines; the test program's own words are chatter.
pub fn events(output: &Output) -> Vec<Value> {
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
