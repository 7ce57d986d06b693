//! `rosetta run` and `rosetta job`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::catalog::DEFAULTS;
use crate::cli::args::{JobArgs, RunArgs};
use crate::cli::{INTERRUPTED, NOT_OK, OK, plan, submit, table};
use crate::data::DataStore;
use crate::hint::{hinted, say};
use crate::home::Home;
use crate::jobfile::{Check, JobFile, JobPlace};
use crate::machine;
use crate::material::{Material, Settings, Size};
use crate::plan::Plan;
use crate::project::Project;
use crate::record::{Record, Status};
use crate::request::Request;
use crate::run::{EndedRun, Notice, Session, Unfinished};
use crate::spec::Experiment;
use crate::store::Store;
use crate::ui::{self, Live};

/// Runs what was asked for and prints its tables.
pub fn run(project: &Project, store: &Store, args: &RunArgs) -> Result<ExitCode> {
    if let Some(launcher) = &args.launcher {
        return submit::submit(project, store, args, launcher);
    }
    let started = Instant::now();
    let unfinished = match &args.resume {
        Some(named) => Some(unfinished(store, named.as_deref(), &args.selection.environment)?),
        None => None,
    };
    let request = match &unfinished {
        // The budget is that of this start, and whether it waits is this person's to say.
        Some(run) => Request {
            budget: args.limits.budget.or(run.request.budget),
            no_wait: args.limits.no_wait,
            ..run.request.clone()
        },
        None => args.request(),
    };
    let experiments = project.experiments()?;
    let session = Session::open(project, store, request.provider)?;
    let mut plan = session.plan(&request, &experiments)?;
    let is_missed = plan.lacks_what_was_named(&request);
    let preview = session.preview(&plan, &request);
    let before = plan::preview_words(&preview, session.home.root());
    before.into_iter().chain(plan::remarks(&plan, &request)).for_each(say);
    if args.dry_run {
        if !args.format.json {
            say(plan::length(&plan, &request, &session.expected()));
        }
        return plan::print(&plan, &request, &preview, &session, args.format.json);
    }
    refuse_nothing(&plan)?;
    project.need_sdk(plan.jobs.iter().map(|job| job.framework))?;
    let (mut resumed, mut done_before) = (None, 0);
    if let Some(unfinished) = unfinished {
        let (run, left) = unfinished.resume(plan, &session)?;
        say(format_args!("run {} goes on: {} jobs are left", run.id(), left.jobs.len()));
        done_before = run.done();
        (resumed, plan) = (Some(run), left);
    }
    let live = Live::new();
    let ended = session.check_then_run(&plan, resumed, &request, &|notice| match notice {
        Notice::ExperimentDone(records) => show_early(&live, &experiments, records),
        notice => live.show(notice),
    });
    live.finish();
    let Some(ended) = ended? else { return Ok(INTERRUPTED.into()) };
    if ended.records.iter().any(|record| record.outcome.status != Status::Skipped) {
        table::run_tables(&experiments, &ended.records, args.format)?;
    }
    say(summary(&ended, done_before + plan.jobs.len(), started));
    Ok(exit_code(&ended, is_missed))
}

/// Shows the table of an experiment whose jobs are done, beside what goes on; with the others it is printed at the end.
fn show_early(live: &Live, experiments: &[Experiment], records: &[Record]) {
    // One that cannot be made is told of at the end.
    if let Ok(tables) = table::of_run(experiments, records)
        && !tables.is_empty()
    {
        live.tell(&format!("\n{}", ui::tables(&tables)));
    }
}

/// Returns what is left of the run that is named, or of the newest that was interrupted.
fn unfinished(store: &Store, named: Option<&str>, environment: &[String]) -> Result<Unfinished> {
    let newest = match named {
        Some(_) => None,
        None => {
            let survey = store.survey()?;
            let interrupted = survey.outlines().filter(|run| run.is_interrupted());
            interrupted.last().map(|run| run.id.clone())
        }
    };
    let Some(name) = named.map(str::to_owned).or(newest) else {
        let hint = "`rosetta list runs` shows how each has ended";
        return Err(hinted("there is no run that was interrupted", hint));
    };
    let reading = store.read_one(&name)?;
    ui::warn(&reading.troubles);
    let stored = reading.runs.into_iter().next();
    Unfinished::of(stored.with_context(|| format!("run `{name}` cannot be read"))?, environment)
}

/// Ends with an error if every job that was asked for is skipped.
pub(super) fn refuse_nothing(plan: &Plan) -> Result<()> {
    let Some(skip) = plan.skips.first().filter(|_| plan.jobs.is_empty()) else { return Ok(()) };
    let reasons = plan.skips.iter().map(|skip| {
        let (experiment, target) = (skip.experiment.name(), &skip.target.name);
        format!("\n  {experiment} · {target} · {}: {}", skip.device, skip.obstacle.reason)
    });
    let message = format!("nothing can run here:{}", reasons.collect::<String>());
    let hint = skip.obstacle.hint.as_deref().unwrap_or("`rosetta doctor` tells what is missing");
    Err(hinted(message, hint))
}

fn summary(ended: &EndedRun, planned: usize, started: Instant) -> String {
    let count = |is: &dyn Fn(Status) -> bool| {
        ended.records.iter().filter(|record| is(record.outcome.status)).count()
    };
    let ok = count(&|status| status == Status::Ok);
    let skipped = count(&|status| status == Status::Skipped) - ended.dropped;
    let not_ok = ended.records.len() - ok - skipped - ended.dropped;
    let never = planned - (ok + not_ok + ended.dropped);
    let mut words = vec![format!("{ok} ok")];
    let others = [
        (not_ok, "not ok"),
        (ended.dropped, "dropped"),
        (skipped, "skipped"),
        (never, "not started"),
    ];
    words.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")));
    let took = ui::words(started.elapsed());
    format!("\n{} in {took}; run {} is in {}", words.join(", "), ended.id, ended.folder.display())
}

fn exit_code(ended: &EndedRun, is_missed: bool) -> ExitCode {
    let is_fine = |status| matches!(status, Status::Ok | Status::Skipped);
    if ended.is_interrupted {
        INTERRUPTED.into()
    } else if !is_missed && ended.records.iter().all(|record| is_fine(record.outcome.status)) {
        OK
    } else {
        NOT_OK.into()
    }
}

/// Prints the job file that a harness would be given, so that it runs by hand.
pub fn job(project: &Project, args: &JobArgs) -> Result<()> {
    if args.experiment == DEFAULTS {
        return defaults_job(args);
    }
    let experiments = project.experiments()?;
    let known = experiments.iter().map(Experiment::name);
    let experiment = experiments.iter().find(|e| e.name() == args.experiment);
    let experiment = experiment
        .ok_or_else(|| crate::hint::unknown("experiment", &args.experiment, known.clone()))?;
    let store = DataStore::at(Home::find()?.data());
    let source = args.data.map(|data| data.source());
    let live = Live::new();
    let report = |progress| live.say_words(progress);
    let size = args.check.map_or(Size::Profile(&args.profile), |_| Size::Check);
    let material = Material::prepare(&store, experiment, size, source, &report)?;
    let outputs = outputs_folder(args.outputs.clone())?;
    let place = place(args, &outputs);
    let dtype = args.dtype.as_str();
    let file = match args.check {
        Some(steps) => {
            let check = Check { steps, dtype, settings: Settings::new(), seed: None };
            JobFile::of_check(experiment, &material, &place, &check)
        }
        None => JobFile::of_run(experiment, &material, &place),
    };
    ui::print(&(serde_json::to_string_pretty(&file)? + "\n"))
}

/// Prints the job file of a program that measures defaults.
fn defaults_job(args: &JobArgs) -> Result<()> {
    let outputs = outputs_folder(args.outputs.clone())?;
    let place = place(args, &outputs);
    ui::print(&(serde_json::to_string_pretty(&JobFile::of_program(DEFAULTS, &place))? + "\n"))
}

fn place<'a>(args: &'a JobArgs, outputs: &'a Path) -> JobPlace<'a> {
    JobPlace {
        job: format!("{}.{}.{}.1", args.experiment, args.target, args.device),
        target: &args.target,
        device: args.device,
        threads: args.threads.unwrap_or_else(machine::cores),
        outputs,
    }
}

fn outputs_folder(named: Option<PathBuf>) -> Result<PathBuf> {
    let folder = named.unwrap_or_else(|| {
        std::env::temp_dir().join(format!("rosetta-job-{}", std::process::id()))
    });
    let folder = std::path::absolute(folder)?;
    let shown = folder.display();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{shown}`"))?;
    Ok(folder)
}
