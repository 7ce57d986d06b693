//! A project of its own for each test: a tiny experiment, and harnesses that are shell scripts.
//!
//! The real rosetta runs them through the provider `system`, with a script that plays Python.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary project.
pub struct Project {
    folder: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A well-formed experiment: 8 training rows and 4 test rows of 2 numbers, 3 classes.
pub const TINY: &str = "\
version: 1
name: tiny
title: A tiny experiment
task: classification
seed: 1
data:
  files: {x_train: x_train.npy, y_train: y_train.npy, x_test: x_test.npy, y_test: y_test.npy}
settings: {batch_size: 4, epochs: 1, learning_rate: 0.1}
initial_weights:
  tensors:
    - {name: dense.weight, shape: [3, 2], init: glorot_uniform}
    - {name: dense.bias, shape: [3], init: zeros}
profiles:
  quick: {rows: {}, timeout: 30s}
  smoke: {rows: {train: 4, test: 2}, timeout: 30s}
expect:
  - {profile: quick, source: own, accuracy: [0.5, 1.0]}
";

/// Runs a harness as `python …/rosetta/__main__.py HARNESS` does.
const RUN_HARNESS: &str = "case \"$1\" in */rosetta/__main__.py) exec sh \"$2\";; esac\n";

impl Project {
    /// Returns a project with the experiment `tiny` and no harness.
    pub fn new() -> Project {
        let project = Project { folder: tempfile::tempdir().unwrap() };
        project.write("specs/tiny.yaml", TINY);
        project.write_bytes("specs/x_train.npy", &npy_f32(&[8, 2], &[0.5; 16]));
        project.write_bytes("specs/y_train.npy", &npy_i32(&[0, 1, 2, 0, 1, 2, 0, 1]));
        project.write_bytes("specs/x_test.npy", &npy_f32(&[4, 2], &[0.5; 8]));
        project.write_bytes("specs/y_test.npy", &npy_i32(&[0, 1, 2, 0]));
        project.write(
            "envs/fake/env.yaml",
            "version: 1\nname: fake\nprovider: venv\npython: \"3.12\"\n",
        );
        project.write("harnesses/sdk/python/rosetta/__init__.py", "");
        // Three of four rows are right.
        let logits = [9., 0., 0., 0., 9., 0., 0., 0., 9., 0., 9., 0.];
        project.write_bytes("good.npy", &npy_f32(&[4, 3], &logits));
        let answer = format!(
            r#"{{"executable": "{}", "version": "3.99.0", "packages": {{"fakelib": "1.2.3"}}}}"#,
            project.path("python").display()
        );
        project.program("python", &format!("{RUN_HARNESS}echo '{answer}'\n"));
        project
    }

    /// Adds what makes the environment `fake` real: a CPython 3.12, a uv and a lock, in `path`.
    pub fn fake_uv(self) -> Project {
        let python = self.path("path/python3.12").display().to_string();
        let answer = format!(
            r#"{{"version": [3, 12, 0], "implementation": "cpython", "bits": 64, "has_venv": true, "is_glibc": true, "is_free_threaded": false, "executable": "{python}", "base": "{}"}}"#,
            self.path("").display()
        );
        self.program("path/python3.12", &format!("{RUN_HARNESS}echo '{answer}'\n"));
        let uv = "[ \"$1\" = --version ] && echo 'uv 0.13.9' && exit\n\
            [ \"$1\" = venv ] || exit 0\n\
            for last; do :; done\n";
        let venv = format!("mkdir -p \"$last/bin\" && cp {python} \"$last/bin/python\"\n");
        self.program("path/uv", &(uv.to_owned() + &venv));
        self.write("envs/fake/requirements.lock", "");
        self
    }

    /// Adds a framework whose harness for `tiny` is a shell script.
    pub fn harness(self, name: &str, script: &str) -> Project {
        let yaml = format!(
            "version: 1\nname: {name}\ntitle: {name}\nlanguage: python\nera: current\n\
             targets:\n  - {{name: {name}, title: {name}, env: {{cpu: fake}}, starter: true}}\n"
        );
        self.write(&format!("harnesses/{name}/framework.yaml"), &yaml);
        let script = script.replace("{good}", &self.path("good.npy").to_string_lossy());
        self.write(&format!("harnesses/{name}/tiny.py"), &script);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Compiles the library that plays the driver of a GPU, for ROSETTA_NVML.
    pub fn fake_driver(&self) -> PathBuf {
        let library = self.path("fake-nvml.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nvml/fake.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        assert!(cc.status().unwrap().success());
        library
    }

    /// Writes a program that sh runs.
    pub fn program(&self, name: &str, script: &str) {
        self.write(name, &format!("#!/bin/sh\n{script}"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns the text of a file; nothing where there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn write(&self, name: &str, text: &str) {
        self.write_bytes(name, text.as_bytes());
    }

    pub fn write_bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Returns rosetta with arguments, at home in this project.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rosetta"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("ROSETTA_HOME", self.path("home")).env("NO_COLOR", "1");
        command.env_remove("ROSETTA_PROJECT").env_remove("ROSETTA_RESULTS");
        command
    }

    pub fn rosetta(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }

    /// Runs the harnesses with the script that plays Python.
    pub fn run(&self, args: &[&str]) -> Done {
        self.rosetta(&[&self.run_args(), args].concat())
    }

    /// Starts the same without waiting.
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(&[&self.run_args(), args].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run_args(&self) -> [&'static str; 7] {
        ["run", "--provider", "system", "--python", "./python", "--device", "cpu"]
    }

    /// Returns the records of all runs, in the order in which they were made.
    pub fn records(&self) -> Vec<Value> {
        let mut runs = list(&self.path("results/runs"));
        runs.sort();
        let lines =
            |run: PathBuf| fs::read_to_string(run.join("records.jsonl")).unwrap_or_default();
        let text = runs.into_iter().map(lines).collect::<String>();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs one harness and returns its outcome: status and reason.
    pub fn outcome(script: &str) -> (String, String) {
        let project = Project::new().harness("fake", script);
        let done = project.run(&["--timeout", "20s"]);
        let records = project.records();
        assert_eq!(records.len(), 1, "{done:?}");
        let outcome = &records[0]["outcome"];
        let text = |name: &str| outcome[name].as_str().unwrap_or_default().to_owned();
        let is_ok = text("status") == "ok";
        assert_eq!(done.code, Some(if is_ok { 0 } else { 1 }), "{done:?}");
        assert!(!done.stderr.contains("panicked"), "{done:?}");
        (text("status"), text("reason"))
    }
}

impl Done {
    /// Holds an exit code, and words on standard error.
    pub fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for words in words {
            assert!(self.stderr.contains(words), "{words}\nis not in\n{}", self.stderr);
        }
    }

    pub fn of(output: std::process::Output) -> Done {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// Returns what is in a folder, or nothing if it is not there.
pub fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|dir| dir.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default()
}

/// Returns a script that says these events, each the fields after `"seq"`.
pub fn says(events: &[&str]) -> String {
    let lines = events
        .iter()
        .enumerate()
        .map(|(seq, fields)| format!("echo '{{\"v\":1,\"seq\":{seq},{fields}}}'\n"));
    lines.collect()
}

pub const START: &str =
    r#""ev":"start","t":0,"language":"sh","language_version":"1","sdk":"1","pid":1"#;
pub const HELLO: &str =
    r#""ev":"hello","t":0.1,"framework":"Fake","version":"1.2.3","device":"cpu""#;
pub const TRAIN: &str = r#""ev":"phase","t":0.2,"name":"train""#;
pub const EPOCH: &str = r#""ev":"epoch","t":0.21,"epoch":0,"loss":0.5,"seconds":0.01,"first_step_seconds":0.005,"samples":8"#;
pub const PREDICT: &str = r#""ev":"phase","t":0.22,"name":"predict""#;
pub const OUTPUTS: &str = r#""ev":"array","t":0.24,"name":"outputs","path":"{good}","shape":[4,3],"dtype":"float32","ready":0.23"#;
pub const END: &str = r#""ev":"end","t":0.25"#;

/// Returns a script of a harness that does everything right.
pub fn good() -> String {
    says(&[START, HELLO, TRAIN, EPOCH, PREDICT, OUTPUTS, END])
}

/// What a harness that can be checked stores, whatever it is given.
#[derive(Clone, Copy)]
pub struct Numbers {
    /// The first logit.
    pub output: f32,
    /// A loss but for its last digit, which is the job's seed.
    pub loss: &'static str,
    /// Each weight at the end of the training.
    pub weight: f32,
}

pub const RIGHT: Numbers = Numbers { output: 0.25, loss: "0.5", weight: 0.75 };

/// Does what a job of a check asks for, or what one of a run does; says each time that it started.
const HARNESS: &str = r#"
echo started >>{numbers}/started
if ! grep -q '"series"' "$ROSETTA_JOB"; then
{run}
exit
fi
for file in $(tr -d ' \n' <"$ROSETTA_JOB" | tr '"' '\n' | grep '^/'); do
    job=$(tr -d ' \n' <"$file")
    steps=$(echo "$job" | sed 's/.*"steps":\([0-9]*\).*/\1/')
    seed=$(echo "$job" | sed 's/.*"seed":\([0-9]*\).*/\1/')
    given=$(echo "$job" | sed 's/.*"weights":{"folder":"\([^"]*\)".*/\1/')
    cd "${file%/*}"
    cp {numbers}/outputs.npy .
    mkdir weights
    if [ "$steps" = 0 ]; then cp "$given"/dense.*.npy weights; else cp {numbers}/dense.*.npy weights; fi
    {
        echo '{"v":1,"seq":0,"ev":"hello","t":0,"framework":"Fake","version":"1","device":"cpu"}'
        step=0
        while [ $step -lt "$steps" ]; do
            step=$((step + 1))
            echo '{"v":1,"seq":1,"ev":"step","t":0,"epoch":0,"step":'$step',"steps":6,"loss":{loss}'$seed'}'
        done
        echo '{"v":1,"seq":2,"ev":"weights","t":0,"folder":"weights","names":["dense.weight","dense.bias"]}'
        echo '{"v":1,"seq":3,"ev":"array","t":0,"name":"outputs","path":"outputs.npy","shape":[4,3],"dtype":"float32","ready":0}'
        echo '{"v":1,"seq":4,"ev":"end","t":0}'
    } >events.jsonl
done
"#;

/// Adds a harness that stores these numbers.
pub fn computes(project: Project, name: &str, numbers: Numbers) -> Project {
    let folder = project.path(&format!("numbers/{name}")).display().to_string();
    let script = HARNESS.replace("{numbers}", &folder).replace("{loss}", numbers.loss);
    let project = project.harness(name, &script.replace("{run}", &good()));
    let of = |file: &str| format!("numbers/{name}/{file}");
    let mut logits = [0.5; 12];
    logits[0] = numbers.output;
    project.write_bytes(&of("outputs.npy"), &npy_f32(&[4, 3], &logits));
    project.write_bytes(&of("dense.weight.npy"), &npy_f32(&[3, 2], &[numbers.weight; 6]));
    project.write_bytes(&of("dense.bias.npy"), &npy_f32(&[3], &[numbers.weight; 3]));
    project
}

/// Returns a project whose experiment names its reference, which stores the right numbers.
pub fn with_reference() -> Project {
    let project = Project::new();
    project.write("specs/tiny.yaml", &with("reference: theirs"));
    computes(project, "theirs", RIGHT)
}

/// Returns the spec with more fields.
pub fn with(fields: &str) -> String {
    format!("{TINY}{fields}\n")
}

fn npy(descr: &str, shape: &[usize], bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let sizes = shape.iter().map(|size| format!("{size},")).collect::<String>();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let header = format!("{header:<117}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes);
    file
}

pub fn npy_f32(shape: &[usize], values: &[f32]) -> Vec<u8> {
    npy("<f4", shape, values.iter().flat_map(|value| value.to_le_bytes()))
}

pub fn npy_i32(values: &[i32]) -> Vec<u8> {
    npy("<i4", &[values.len()], values.iter().flat_map(|value| value.to_le_bytes()))
}
