//! `rosetta nightly`: a run, its tables, what changed since, and one summary of it all.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::args::NightlyArgs;
use crate::cli::{INTERRUPTED, NOT_OK, OK, compare, plan, run, table};
use crate::compare::{Comparison, Question, Side};
use crate::hint::say;
use crate::project::Project;
use crate::publish::publish;
use crate::record::{Record, Status};
use crate::report::Format;
use crate::run::{EndedRun, Session};
use crate::store::Store;
use crate::ui::{self, Live};
use crate::{machine, probe};

/// How long a program that is notified may take.
const NOTIFY_LIMIT: Duration = Duration::from_secs(120);
/// How many jobs that are not ok are told one by one.
const TOLD: usize = 20;

/// Runs what was asked for and prints a summary, which also goes to files of the run and to a program.
pub fn nightly(project: &Project, store: &Store, args: &NightlyArgs) -> Result<ExitCode> {
    let started = Instant::now();
    let request = args.request();
    let experiments = project.experiments()?;
    let session = Session::open(project, store, request.provider)?;
    let plan = session.plan(&request, &experiments)?;
    let is_missed = plan.lacks_what_was_named(&request);
    run::refuse_nothing(&plan)?;
    plan::remarks(&plan, &request).into_iter().for_each(say);
    project.need_sdk(plan.jobs.iter().map(|job| job.framework))?;
    let live = Live::new();
    let ended = session.check_then_run(&plan, None, &request, &|notice| live.show(notice));
    live.finish();
    let Some(ended) = ended? else { return Ok(INTERRUPTED.into()) };
    let night = Night {
        ended: &ended,
        // The first night has nothing to be compared with.
        comparison: since(store, &ended, args.tolerance)?,
        took: started.elapsed(),
        planned: plan.jobs.len(),
    };
    let tables = table::of_run(&experiments, &ended.records)?;
    let text = night.text();
    let files = [
        ("summary.txt", text.clone()),
        ("summary.md", night.markdown(&Format::Markdown.write(&tables))),
        ("summary.json", serde_json::to_string_pretty(&night.json(&tables))? + "\n"),
    ];
    for (name, content) in files {
        let path = ended.folder.join(name);
        let written = publish(&path, content.as_bytes());
        written.with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    ui::print(&text)?;
    let is_told =
        args.notify.as_deref().is_none_or(|command| notify(command, &text, &ended.folder));
    let is_worse = night.is_worse(args.fail_above);
    Ok(if ended.is_interrupted {
        INTERRUPTED.into()
    } else if is_worse || is_missed || !is_told {
        NOT_OK.into()
    } else {
        OK
    })
}

/// Returns what changed since the last good result of each row, if there is one.
fn since(store: &Store, ended: &EndedRun, tolerance: f64) -> Result<Option<Comparison>> {
    let now = Side::new(&ended.id, ended.records.clone());
    let before = compare::earlier(store.survey()?, &now);
    let question = Question { tolerance, ..Question::default() };
    let both = before.filter(|before| !before.is_empty() && !now.is_empty());
    // What this night did not run is not gone.
    let of_now = |mut comparison: Comparison| {
        comparison.forget_what_was_not_run();
        comparison
    };
    Ok(both.map(|before| of_now(crate::compare::compare(&before, &now, &question))))
}

/// What a night brought.
struct Night<'a> {
    ended: &'a EndedRun,
    comparison: Option<Comparison>,
    took: Duration,
    planned: usize,
}

impl Night<'_> {
    fn not_ok(&self) -> Vec<&Record> {
        let is_fine = |status| matches!(status, Status::Ok | Status::Skipped);
        self.ended.records.iter().filter(|r| !is_fine(r.outcome.status)).collect()
    }

    fn count(&self, status: Status) -> usize {
        self.ended.records.iter().filter(|r| r.outcome.status == status).count()
    }

    /// Returns whether somebody should look: a job is not ok, or a row is slower by more than this or broken.
    fn is_worse(&self, share: f64) -> bool {
        let is_slower = |comparison: &Comparison| comparison.is_worse_by(share);
        !self.not_ok().is_empty() || self.comparison.as_ref().is_some_and(is_slower)
    }

    /// Returns the night in a few words: `1 slower, 31 the same`, `no change`.
    fn headline(&self) -> String {
        let changes = self.comparison.as_ref().map(|comparison| match comparison.is_same() {
            true if comparison.differences().is_empty() => "no change".to_owned(),
            true => "no change of results".to_owned(),
            false => comparison.summary(),
        });
        let mut words = changes.unwrap_or_else(|| "nothing to compare with yet".to_owned());
        match self.not_ok().len() {
            0 => {}
            1 => words += "; 1 job is not ok",
            count => words += &format!("; {count} jobs are not ok"),
        }
        match self.ended.dropped {
            0 => {}
            1 => words += "; 1 job was dropped",
            count => words += &format!("; {count} jobs were dropped"),
        }
        if self.ended.is_interrupted {
            words += "; interrupted";
        }
        words
    }

    fn text(&self) -> String {
        let day = Timestamp::now().strftime("%Y-%m-%d");
        let mut text = format!("rosetta {day} on {}: {}\n", machine::name(), self.headline());
        let lines = self.comparison.as_ref().map(Comparison::lines).unwrap_or_default();
        let mut paragraph = |heading: &str, lines: &[String]| {
            if !lines.is_empty() {
                text += &format!("\n{heading}\n");
                lines
                    .iter()
                    .for_each(|line| text += &format!("  {}\n", crate::report::printable(line)));
            }
        };
        paragraph(
            "Since the last good result of each row (seconds of training, or images/s):",
            &lines,
        );
        let differs = self.comparison.as_ref().map(Comparison::differences).unwrap_or_default();
        let differs = differs.into_iter().map(|(what, rows)| {
            let s = if rows == 1 { "" } else { "s" };
            format!("{what} ({rows} row{s})")
        });
        paragraph("What differs from then, whatever it did:", &differs.collect::<Vec<_>>());
        let not_ok = self.not_ok();
        let failed = not_ok.iter().take(TOLD).map(|record| how(record));
        let more = not_ok.len().saturating_sub(TOLD);
        let more = (more > 0).then(|| format!("and {more} more"));
        paragraph("Not ok:", &failed.chain(more).collect::<Vec<_>>());
        let (ok, skipped) = (self.count(Status::Ok), self.count(Status::Skipped));
        let ended = self.ended.records.len() - skipped;
        let dropped = self.ended.dropped;
        let never = self.planned.saturating_sub(ended + dropped);
        let mut totals = format!("{ok} ok, {} not ok, {} skipped", ended - ok, skipped - dropped);
        if dropped > 0 {
            totals += &format!(", {dropped} dropped");
        }
        if never > 0 {
            totals += &format!(", {never} not started");
        }
        let (id, folder) = (&self.ended.id, self.ended.folder.display());
        text + &format!(
            "\n{totals} in {}; run {id} is in {folder}\nrosetta table --run {id} shows its tables, rosetta compare all that changed\n",
            ui::words(self.took)
        )
    }

    fn markdown(&self, tables: &str) -> String {
        let compared = self.comparison.as_ref().map(|comparison| comparison.grids(false));
        let changes = compared.map(|grids| Format::Markdown.write(&grids)).unwrap_or_default();
        format!("```text\n{}```\n\n{changes}\n{tables}", self.text().replace("```", "'''"))
    }

    fn json(&self, tables: &[crate::report::Grid]) -> Value {
        let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap_or_default();
        let changes = self.comparison.as_ref().map(|comparison| comparison.grids(true));
        json!({
            "summary": 1,
            "run": self.ended.id,
            "folder": self.ended.folder,
            "machine": machine::name(),
            "headline": self.headline(),
            "is_interrupted": self.ended.is_interrupted,
            "seconds": self.took.as_secs_f64(),
            "ok": self.count(Status::Ok),
            "skipped": self.count(Status::Skipped) - self.ended.dropped,
            "dropped": self.ended.dropped,
            "not_ok": self.not_ok().into_iter().map(outcome_json).collect::<Vec<_>>(),
            "changes": changes.map(|grids| parse(Format::Json.write(&grids))),
            "tables": parse(Format::Json.write(tables)),
        })
    }
}

fn outcome_json(record: &Record) -> Value {
    json!({
        "job": record.job,
        "status": record.outcome.status,
        "reason": record.outcome.reason,
        "hint": record.outcome.hint,
    })
}

/// Returns how a job ended, in a line.
fn how(record: &Record) -> String {
    let Record { experiment, title, device, outcome, .. } = record;
    let mut line = format!("{experiment} · {title} · {device}: {}", outcome.status.as_str());
    for more in outcome.reason.iter().chain(&outcome.hint) {
        line += &format!("; {more}");
    }
    line
}

/// Gives the summary to a program; whether it took it.
fn notify(command: &str, text: &str, folder: &Path) -> bool {
    let told = give(command, text, folder);
    if let Err(error) = &told {
        say(format_args!(
            "warning: `--notify {command}`: {error:#}; the summary is in `{}`",
            folder.display()
        ));
    }
    told.is_ok()
}

fn give(command: &str, text: &str, folder: &Path) -> Result<()> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env("ROSETTA_SUMMARY", folder.join("summary.md"));
    let answer = probe::tell(&mut shell, text, NOTIFY_LIMIT)?;
    if !answer.stderr.is_empty() {
        say(answer.stderr.trim_end());
    }
    anyhow::ensure!(answer.status.success(), "it ended with {}", answer.status);
    Ok(())
}
