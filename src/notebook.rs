//! A harness as a Jupyter notebook: its sections are cells. Pure; must not depend on where harnesses lie.

use std::path::Path;

use serde_json::{Value, json};

use crate::catalog::Language;
use crate::sections::split;

/// Returns a harness of Python, which lies in `file` of the project `root`, as a notebook.
pub fn of(text: &str, file: &str, experiment: &str, root: &Path) -> Value {
    let sections = split(text, Language::Python);
    let first = sections.first().map_or(1, |section| section.line);
    let about = text.lines().take(first - 1).collect::<Vec<_>>().join("\n");
    let about = about.trim().trim_matches('"').trim();
    let mut cells = vec![
        words(&format!(
            "{about}\n\nThe cells are the sections of `{file}`. The first one stands for rosetta: it has a job of profile \
             smoke described, which says where the data are and what the settings. Run all cells in their order."
        )),
        code(&setup(experiment, root)),
    ];
    for section in &sections {
        cells.push(words(&format!("## {}", section.title)));
        cells.push(code(section.text.trim_matches('\n')));
    }
    for (index, cell) in cells.iter_mut().enumerate() {
        cell["id"] = json!(format!("cell-{index}"));
    }
    json!({
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    })
}

/// Returns the cell that does by hand what rosetta does for a job.
fn setup(experiment: &str, root: &Path) -> String {
    let root = json!(root.display().to_string());
    let experiment = json!(experiment);
    format!(
        "import json, os, pathlib, subprocess, sys, tempfile\n\n\
         project = {root}\n\
         outputs = tempfile.mkdtemp()\n\
         command = [\"rosetta\", \"--project\", project, \"job\", {experiment}, \"--outputs\", outputs]\n\
         job = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout\n\
         pathlib.Path(outputs, \"job.json\").write_bytes(job)\n\
         os.environ[\"ROSETTA_JOB\"] = os.path.join(outputs, \"job.json\")\n\
         sys.path.insert(0, os.path.join(project, \"harnesses/sdk/python\"))"
    )
}

fn words(text: &str) -> Value {
    json!({"cell_type": "markdown", "metadata": {}, "source": text})
}

fn code(text: &str) -> Value {
    json!({"cell_type": "code", "metadata": {}, "execution_count": null, "outputs": [], "source": text})
}
