//! `rosetta doctor`: what this machine has, what it lacks, and the command to get it.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::{NOT_OK, OK};
use crate::container::{Engine, EngineKind};
use crate::env::{Availability, EnvStatus, Envs};
use crate::hint::say;
use crate::home::{Home, free_bytes};
use crate::machine::{Limits, Machine};
use crate::obstacle::Obstacle;
use crate::probe;
use crate::project::Project;
use crate::report::Heading;
use crate::ui;
use crate::verify::{held_back, held_back_gpus};

/// A program that some environment or provider needs.
struct KnownProgram {
    name: &'static str,
    arguments: &'static [&'static str],
    what_for: &'static str,
    how_to_get: &'static str,
}

/// What was found of such a program, or what is said where it is not.
struct Program {
    name: &'static str,
    version: Option<String>,
    lack: String,
    how_to_get: String,
}

const PROGRAMS: [KnownProgram; 7] = [
    KnownProgram {
        name: "uv",
        arguments: &["--version"],
        what_for: "Python environments (rosetta fetches its own if there is none)",
        how_to_get: "curl -LsSf https://astral.sh/uv/install.sh | sh",
    },
    KnownProgram {
        name: "python3",
        arguments: &["--version"],
        what_for: "Python harnesses",
        how_to_get: "apt-get install python3 python3-venv",
    },
    KnownProgram {
        name: "cargo",
        arguments: &["--version"],
        what_for: "Rust harnesses",
        how_to_get: "curl -sSf https://sh.rustup.rs | sh",
    },
    KnownProgram {
        name: "gcc",
        arguments: &["--version"],
        what_for: "fix-ups of historic environments",
        how_to_get: "apt-get install gcc",
    },
    KnownProgram {
        name: "conda",
        arguments: &["--version"],
        what_for: "environments with `--provider conda`, Python interpreters",
        how_to_get: "https://conda-forge.org/download",
    },
    KnownProgram {
        name: "julia",
        arguments: &["--version"],
        what_for: "Julia harnesses",
        how_to_get: "curl -fsSL https://install.julialang.org | sh",
    },
    KnownProgram {
        name: "git",
        arguments: &["--version"],
        what_for: "the revision in each record",
        how_to_get: "apt-get install git",
    },
];

/// Longest time that a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// Free space below which a full set of environments does not fit.
const FREE_BYTES: u64 = 20 << 30;

/// Prints the state of this machine; fails if nothing can run on it.
pub fn doctor(project: &Project, as_json: bool) -> Result<ExitCode> {
    let machine = Machine::look();
    let mut held = held_back(&machine, &Limits::look());
    held.extend(held_back_gpus(&machine.gpus));
    let home = Home::find()?;
    let free = free_bytes(home.root());
    let catalog = project.catalog()?;
    let envs = Envs::new(home.clone(), project.root.clone());
    let mut programs = PROGRAMS.iter().map(KnownProgram::look).collect::<Vec<_>>();
    programs.push(containers(envs.engine()));
    let envs = envs.list(&catalog);
    let can_run = envs.iter().any(|env| !matches!(env.availability, Availability::Unavailable(_)));
    let code = if can_run { OK } else { NOT_OK.into() };
    if as_json {
        let programs = programs.iter().map(program_json);
        let report = json!({
            "machine": machine,
            "held_back": held,
            "home": home.root(),
            "free_bytes": free,
            "programs": programs.collect::<Vec<_>>(),
            "environments": envs.iter().map(env_json).collect::<Vec<_>>(),
            "can_run": can_run,
        });
        ui::print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        return Ok(code);
    }
    let mut rows = machine_rows(&machine);
    for held in &held {
        rows.push(row(
            false,
            "speed",
            held.what.clone(),
            held.change.as_deref().unwrap_or_default(),
        ));
    }
    let is_tight = free.is_some_and(|bytes| bytes < FREE_BYTES);
    rows.push(row(
        !is_tight,
        "disk",
        format!("{} free for {}", free.map(ui::size).unwrap_or_default(), home.root().display()),
        if is_tight { "all environments together take about 20 GiB; set ROSETTA_HOME" } else { "" },
    ));
    for program in &programs {
        let (found, get) = match &program.version {
            Some(version) => (version, ""),
            None => (&program.lack, program.how_to_get.as_str()),
        };
        rows.push(row(program.version.is_some(), program.name, found.clone(), get));
    }
    for env in &envs {
        let (state, reason, hint) = state(&env.availability);
        let is_there = reason.is_empty();
        let words = if is_there { state.to_owned() } else { reason };
        rows.push(row(is_there, &format!("env {}", env.name), words, &hint));
    }
    let headings = ["", "What", "Found", "To get it"].map(Heading::words);
    ui::print(&ui::list(headings, rows))?;
    if !can_run {
        say("nothing can run here: no environment can be built");
    }
    Ok(code)
}

fn program_json(program: &Program) -> Value {
    let Program { name, version, how_to_get, .. } = program;
    json!({"name": name, "version": version, "how_to_get": how_to_get})
}

fn env_json(env: &EnvStatus) -> Value {
    let (state, reason, hint) = state(&env.availability);
    json!({"name": env.name, "state": state, "reason": reason, "hint": hint})
}

fn row(is_fine: bool, what: &str, found: String, get: &str) -> Vec<String> {
    let sign = if is_fine { "✓" } else { "–" };
    vec![sign.to_owned(), what.to_owned(), found, get.to_owned()]
}

fn machine_rows(machine: &Machine) -> Vec<Vec<String>> {
    let memory = ui::size(machine.memory_bytes);
    let limit = machine.memory_limit_bytes.map(|limit| format!(", limited to {}", ui::size(limit)));
    let memory = memory + &limit.unwrap_or_default();
    let cpu = format!("{}, {} cores", machine.cpu, machine.cores);
    let mut rows = vec![
        row(true, "system", format!("{}, Linux {}", machine.os, machine.kernel), ""),
        row(true, "CPU", cpu, ""),
        row(true, "memory", memory, ""),
    ];
    for gpu in &machine.gpus {
        let (name, size) = (&gpu.name, ui::size(gpu.memory_bytes));
        let words = format!("{name}, {size}, driver {}, CUDA {}", gpu.driver, gpu.cuda);
        rows.push(row(true, "GPU", words, ""));
    }
    if machine.gpus.is_empty() {
        let found = "none that the NVIDIA driver knows; jobs run on the CPU".to_owned();
        rows.push(row(false, "GPU", found, "install the NVIDIA driver where there is a GPU"));
    }
    rows
}

fn state(availability: &Availability) -> (&'static str, String, String) {
    match availability {
        Availability::Ready => ("built", String::new(), String::new()),
        Availability::Buildable => ("can be built", String::new(), String::new()),
        Availability::Unavailable(obstacle) => {
            let hint = obstacle.hint.clone().unwrap_or_default();
            ("unavailable", obstacle.reason.clone(), hint)
        }
    }
}

impl KnownProgram {
    fn look(&self) -> Program {
        Program {
            name: self.name,
            version: version(self),
            lack: format!("missing; for {}", self.what_for),
            how_to_get: self.how_to_get.to_owned(),
        }
    }
}

/// Returns the engine that containers would run in. Its client's version alone would say nothing of it.
fn containers(engine: Result<Engine, Obstacle>) -> Program {
    match engine {
        Ok(engine) => Program {
            name: engine.kind.name(),
            version: Some(engine.shown()),
            lack: String::new(),
            how_to_get: String::new(),
        },
        Err(Obstacle { reason, hint }) => Program {
            name: EngineKind::Docker.name(),
            version: None,
            lack: format!("{reason}; for environments with `--provider docker`"),
            how_to_get: hint.unwrap_or_default(),
        },
    }
}

/// Returns the first line of what a program says of its version.
fn version(program: &KnownProgram) -> Option<String> {
    let path = which::which(program.name).ok()?;
    let text = probe::answer(Command::new(path).args(program.arguments), PATIENCE).ok()?;
    let line = text.lines().next().unwrap_or_default().trim();
    (!line.is_empty()).then(|| line.to_owned())
}
