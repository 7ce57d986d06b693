//! What a person sees while rosetta works: steps under way, the running job, finished jobs.
//!
//! On a terminal bars, elsewhere plain lines on standard error.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::event::Event;
use crate::hint::say;
use crate::material::Material;
use crate::plan::Job;
use crate::progress::{Progress, Report};
use crate::record::{Record, Status};
use crate::report::printable;
use crate::report::three_digits;
use crate::run::Notice;
use crate::ui::{is_quiet, size, words as duration_words};

const TICK: Duration = Duration::from_millis(120);
/// How finely the bar of all jobs shows how far one is.
const TICKS_OF_A_JOB: u64 = 1000;

/// The live display.
pub struct Live {
    bars: MultiProgress,
    is_terminal: bool,
    state: Mutex<State>,
}

/// What is on the screen.
#[derive(Default)]
struct State {
    steps: BTreeMap<String, Step>,
    job: Option<RunningJob>,
    overall: Option<ProgressBar>,
}

/// A long step under way, such as the build of an environment.
struct Step {
    bar: ProgressBar,
    started: Instant,
}

/// The running job.
struct RunningJob {
    bar: ProgressBar,
    /// Which of the jobs it is, from 0.
    index: u64,
    batch_size: u64,
    epochs: u64,
    phase: String,
    epoch_started: Instant,
    loss: Option<f64>,
}

impl Default for Live {
    fn default() -> Live {
        Live::new()
    }
}

impl Live {
    pub fn new() -> Live {
        let is_terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        if is_quiet() {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Live { bars, is_terminal, state: Mutex::default() }
    }

    /// Shows what a run says.
    pub fn show(&self, notice: Notice) {
        match notice {
            Notice::StepStarted { name } => self.step_started(name),
            Notice::StepProgress { name, progress } => self.step_progress(name, progress),
            Notice::StepDone { name, what } => self.step_ended(name, GREEN, "✓", &what),
            Notice::StepFailed { name, why } => self.step_ended(name, RED, "✗", &why),
            Notice::Waiting { process } => {
                let process = process.map(|pid| format!(" (process {pid})")).unwrap_or_default();
                self.say(&format!(
                    "waiting until another run{process} has ended: two at once would disturb each other"
                ));
            }
            Notice::Swept { processes } => {
                self.say(&format!("ended {processes} processes that a killed run had left behind"));
            }
            Notice::NotChecked(error) => {
                self.say(&format!("not checked: {}", printable(&format!("{error:#}"))))
            }
            Notice::JobStarted { index, total, left, job, material } => {
                self.job_started((index, total), left, job, material);
            }
            Notice::JobEvent(event) => self.job_event(event),
            Notice::NotQuiet { why, limit, is_over } => {
                let limit = duration_words(limit);
                self.say(&match is_over {
                    false => format!("waiting until the machine is quiet: {why} (at most {limit})"),
                    true => format!("waited {limit} for a quiet machine; it is not: the job begins all the same ({why})"),
                });
            }
            Notice::Again { job, number, of, why } => {
                let name =
                    format!("{} · {} · {}", job.experiment.name(), job.target.title, job.device);
                self.say(&format!("{YELLOW}↻{RESET} {name} once more ({number} of {of}): {why}"));
            }
            Notice::JobFinished(record) => self.job_finished(record),
            // Whoever has the experiments' titles shows its table.
            Notice::ExperimentDone(_) => {}
        }
    }

    /// Prints lines of what goes well, unless nobody wants to know.
    pub fn tell(&self, line: &str) {
        if !is_quiet() {
            self.say(line);
        }
    }

    /// Prints a line above what is moving.
    pub fn say(&self, line: &str) {
        match self.is_terminal {
            true => self.bars.suspend(|| say(line)),
            false => say(line),
        }
    }

    /// Prints what a step says of itself in words; how far it is stays unsaid.
    pub fn say_words(&self, progress: Progress) {
        if let Progress::Doing(what) | Progress::Waiting(what) = progress {
            self.say(&what);
        }
    }

    /// Runs one long step with its display.
    pub fn step<T>(&self, name: &str, work: impl FnOnce(Report) -> Result<T>) -> Result<T> {
        self.step_started(name);
        let result = work(&|progress| self.step_progress(name, progress));
        match &result {
            Ok(_) => self.step_ended(name, GREEN, "✓", "is done"),
            Err(_) => self.step_ended(name, RED, "✗", "failed"),
        }
        result
    }

    /// Takes everything that moves off the screen.
    pub fn finish(&self) {
        let mut state = self.state();
        let steps = std::mem::take(&mut state.steps).into_values().map(|step| step.bar);
        let job = state.job.take().map(|job| job.bar);
        for bar in steps.chain(job).chain(state.overall.take()) {
            bar.finish_and_clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step_started(&self, name: &str) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style("  {spinner:.cyan} {prefix:.bold} {wide_msg:.dim} {elapsed:.dim}"));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(TICK);
        self.state().steps.insert(name.to_owned(), Step { bar, started: Instant::now() });
        if !self.is_terminal {
            self.tell(&format!("{name} …"));
        }
    }

    fn step_progress(&self, name: &str, progress: Progress) {
        let words = match progress {
            Progress::Doing(what) => what,
            Progress::Waiting(what) => {
                if !self.is_terminal || !self.state().steps.contains_key(name) {
                    self.say(&format!("{name}: {what}"));
                }
                what
            }
            Progress::Bytes { done, total: Some(total) } => {
                format!("{} of {}", size(done), size(total))
            }
            Progress::Bytes { done, total: None } => size(done),
        };
        if let Some(step) = self.state().steps.get(name) {
            step.bar.set_message(words);
        }
    }

    fn step_ended(&self, name: &str, colour: &str, sign: &str, words: &str) {
        let Some(step) = self.state().steps.remove(name) else { return };
        step.bar.finish_and_clear();
        self.bars.remove(&step.bar);
        let took = duration_words(step.started.elapsed());
        let words = printable(words);
        let line = format!("{colour}{sign}{RESET} {name} {words} {DIM}({took}){RESET}");
        if colour == GREEN { self.tell(&line) } else { self.say(&line) }
    }

    fn job_started(
        &self,
        (index, total): (usize, usize),
        left: Option<Duration>,
        job: &Job,
        material: &Material,
    ) {
        let name = format!("{} · {} · {}", job.experiment.name(), job.target.title, job.device);
        if !self.is_terminal {
            self.tell(&format!("job {} of {total}: {name} …", index + 1));
        }
        let mut state = self.state();
        let overall = state.overall.get_or_insert_with(|| self.overall(total)).clone();
        overall.set_message(format!("{} of {total}", index + 1));
        overall.set_position(index as u64 * TICKS_OF_A_JOB);
        // Of jobs that never ran here the mean of those before is all that there is.
        let mean = || overall.elapsed().mul_f64((total - index) as f64 / index as f64);
        if let Some(left) = left.or_else(|| (index > 0).then(mean)) {
            overall.set_prefix(format!(" · about {} left", duration_words(left)));
        }
        let bar = self.bars.insert_before(&overall, ProgressBar::new_spinner());
        bar.set_style(style("  {spinner:.cyan} {prefix:.bold} {wide_msg} {elapsed:.dim}"));
        bar.set_prefix(name);
        bar.set_message("starting");
        bar.enable_steady_tick(TICK);
        state.job = Some(RunningJob {
            bar,
            index: index as u64,
            batch_size: material.batch_size,
            epochs: material.epochs,
            phase: String::new(),
            epoch_started: Instant::now(),
            loss: None,
        });
    }

    fn overall(&self, total: usize) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(total as u64 * TICKS_OF_A_JOB));
        bar.set_style(style("  {bar:24.cyan/dim} job {msg} · {elapsed} elapsed{prefix}"));
        bar.enable_steady_tick(TICK);
        bar
    }

    fn job_event(&self, event: &Event) {
        let mut state = self.state();
        let State { job: Some(job), overall, .. } = &mut *state else { return };
        if let Some(words) = job.words(event) {
            job.bar.set_message(words);
        }
        if let (Event::Step { epoch, step, steps, .. }, Some(overall)) = (event, overall) {
            let share = (epoch * steps + step) as f64 / (job.epochs * steps).max(1) as f64;
            let done = job.index * TICKS_OF_A_JOB;
            overall.set_position(done + (share.min(1.0) * TICKS_OF_A_JOB as f64) as u64);
        }
    }

    fn job_finished(&self, record: &Record) {
        let mut state = self.state();
        if let Some(job) = state.job.take() {
            job.bar.finish_and_clear();
            self.bars.remove(&job.bar);
            if let Some(overall) = &state.overall {
                overall.set_position((job.index + 1) * TICKS_OF_A_JOB);
            }
        }
        drop(state);
        let line = job_line(record);
        if record.is_ok() { self.tell(&line) } else { self.say(&line) }
    }
}

impl RunningJob {
    /// Returns what to show after an event, if it changes anything.
    fn words(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Start { .. } => self.phase = "importing".to_owned(),
            Event::Hello { framework, version, .. } => {
                self.phase = format!("{framework} {version}")
            }
            Event::Phase { name } => {
                self.phase.clone_from(name);
                self.epoch_started = Instant::now();
            }
            Event::Step { epoch, step, steps, loss } => {
                self.loss = loss.or(self.loss);
                return Some(self.progress(*epoch, *step, *steps));
            }
            Event::Epoch { epoch, loss, .. } => {
                self.loss = loss.or(self.loss);
                self.epoch_started = Instant::now();
                self.phase = format!("epoch {} of {} done{}", epoch + 1, self.epochs, self.loss());
            }
            _ => return None,
        }
        Some(self.phase.clone())
    }

    fn progress(&self, epoch: u64, step: u64, steps: u64) -> String {
        let seconds = self.epoch_started.elapsed().as_secs_f64().max(1e-3);
        let rate = (step * self.batch_size) as f64 / seconds;
        let left = (self.epochs * steps).saturating_sub(epoch * steps + step) as f64;
        let left = Duration::from_secs_f64(left * seconds / step.max(1) as f64);
        format!(
            "epoch {} of {} · step {step} of {steps} · {} samples/s{} · {} left",
            epoch + 1,
            self.epochs,
            three_digits(rate),
            self.loss(),
            duration_words(left),
        )
    }

    fn loss(&self) -> String {
        self.loss.map(|loss| format!(" · loss {}", three_digits(loss))).unwrap_or_default()
    }
}

/// Returns the line of a finished job: outcome, names, and what was measured.
fn job_line(record: &Record) -> String {
    let names = format!("{} · {} · {}", record.experiment, record.title, record.device);
    let outcome = &record.outcome;
    let (colour, sign) = match outcome.status {
        Status::Ok => (GREEN, "✓"),
        Status::Skipped => (YELLOW, "–"),
        _ => (RED, "✗"),
    };
    let mut words = Vec::new();
    if outcome.status != Status::Ok {
        words.push(outcome.status.as_str().to_owned());
    }
    words.extend(outcome.reason.as_deref().map(printable));
    if let Some(accuracy) = record.score.accuracy {
        words.push(format!("accuracy {} %", three_digits(accuracy * 100.0)));
    }
    match (record.times.training, record.times.predict_rate) {
        (Some(seconds), _) => words.push(format!("training {} s", three_digits(seconds))),
        (None, Some(rate)) => words.push(format!("{} images/s", three_digits(rate))),
        (None, None) => {}
    }
    words.extend(record.marks.iter().cloned());
    format!("{colour}{sign}{RESET} {names} {DIM}{}{RESET}", words.join(" · "))
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.expect("the templates of this file are well-formed").progress_chars("━╸─")
}

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
