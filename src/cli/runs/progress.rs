//! `rosetta runs show` of a run on a cluster: how far it is.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::cli::OK;
use crate::hint::{report, say};
use crate::report::Heading;
use crate::run::{RunView, TaskView, view};
use crate::store::Stored;
use crate::ui;

/// Prints how far a run is.
pub fn show(run: &Stored, as_json: bool) -> Result<ExitCode> {
    let view = view(&run.folder)?;
    if let Some(error) = &view.trouble {
        report(error);
    }
    match as_json {
        true => ui::print(&(serde_json::to_string_pretty(&object(&run.id, &view))? + "\n"))?,
        false => people(&run.id, &view)?,
    }
    Ok(OK)
}

fn object(id: &str, view: &RunView) -> serde_json::Value {
    let task = |task: &TaskView| {
        json!({
            "job": task.job, "task": task.task, "node": task.node, "state": task.state,
            "attempt": task.attempt, "progress": task.progress,
        })
    };
    json!({
        "run": id,
        "jobs": view.jobs,
        "ended": view.ended,
        "to_collect": view.to_collect,
        "running": view.running.iter().map(task).collect::<Vec<_>>(),
        "waiting": view.waiting,
        "absent": view.absent,
        "left": left(view),
        "is_cancelled": view.is_cancelled,
        "refused": view.refused,
        "is_slurm_answering": view.trouble.is_none(),
    })
}

/// Returns how many jobs have no record.
fn left(view: &RunView) -> usize {
    view.jobs - view.ended.values().sum::<usize>()
}

fn people(id: &str, view: &RunView) -> Result<()> {
    let mut lines =
        vec![format!("run {id}: {} of {} jobs have no record yet", left(view), view.jobs)];
    let ended = view.ended.iter().map(|(status, count)| format!("{count} {status}"));
    let ended = ended.collect::<Vec<_>>().join(", ");
    if !ended.is_empty() {
        lines.push(format!("ended      {ended}"));
    }
    if view.to_collect > 0 {
        lines.push(format!("to collect {}", view.to_collect));
    }
    for (why, count) in &view.waiting {
        lines.push(format!("waiting    {count} ({why})"));
    }
    if !view.running.is_empty() {
        lines.push(format!("running    {}", view.running.len()));
    }
    if view.absent > 0 {
        let (what, then) = match view.trouble {
            Some(_) => ("of whose tasks nothing is known just now", ""),
            None => (
                "neither in the queue nor with a result",
                ": `rosetta runs collect` submits what is lost again",
            ),
        };
        lines.push(format!("others     {} {what}{then}", view.absent));
    }
    if view.is_cancelled {
        lines.push("it was cancelled".to_owned());
    }
    ui::print(&(lines.join("\n") + "\n"))?;
    if let Some(why) = &view.refused {
        say(format_args!("Slurm did not take its last array: {why}"));
    }
    if view.running.is_empty() {
        return Ok(());
    }
    let row = |task: &TaskView| {
        let progress = task.progress.clone().unwrap_or_default();
        let (job, id, node) = (task.job.clone(), task.task.clone(), task.node.clone());
        vec![job, id, node, task.state.clone(), task.attempt.to_string(), progress]
    };
    let headings = ["Job", "Task", "Node", "State", "Attempt", "Progress"].map(Heading::words);
    ui::print(&ui::list(Vec::from(headings), view.running.iter().map(row).collect()))
}
