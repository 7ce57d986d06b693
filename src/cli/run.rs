//! `rosetta run` and `rosetta job`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::catalog::DEFAULTS;
use crate::cli::args::{JobArgs, RunArgs};
use crate::cli::{INTERRUPTED, NOT_OK, OK, check, table};
use crate::data::DataStore;
use crate::env::Envs;
use crate::hint::hinted;
use crate::home::Home;
use crate::jobfile::{self, Check, Material, Place, Settings, Size};
use crate::plan::{self, Plan, Wanted};
use crate::project::Project;
use crate::record::Status;
use crate::run::{
    self as running, CheckSettings, Checked, Ended, Notice, Places, skip_unavailable,
};
use crate::store::Store;
use crate::ui::{self, Live};
use crate::{gpu, machine};

/// Runs what was asked for and prints its tables.
pub fn run(project: &Project, store: &Store, args: &RunArgs) -> Result<ExitCode> {
    let started = Instant::now();
    let home = Home::find()?;
    let experiments = project.experiments()?;
    let catalog = project.catalog()?;
    let envs = Envs::new(home.clone(), project.root.clone());
    let chosen = &args.selection;
    let mut plan = plan::plan(&wanted(args), &experiments, &catalog, gpu::is_here())?;
    let without = plan.skips.len();
    skip_unavailable(&mut plan, chosen.is_system(), &catalog, &envs);
    // Who names a framework wants it: under cron a missing compiler must not end in green.
    let is_missed = !chosen.frameworks.is_empty() && plan.skips.len() > without;
    if args.dry_run {
        return ui::print(&shown(&plan)).map(|()| OK);
    }
    refuse_nothing(&plan)?;
    project.need_sdk(plan.jobs.iter().map(|job| job.framework))?;
    let settings = running::Settings {
        threads: args.threads.unwrap_or_else(machine::cores),
        data: chosen.data.map(|data| data.source()),
        timeout: args.timeout,
        stall_timeout: args.stall_timeout,
        memory_limit_bytes: args.memory_limit,
        python: chosen.interpreter(),
        environment: chosen.environment.clone(),
        command: super::command(),
        profile: args.profile.clone(),
    };
    let places = Places {
        catalog: &catalog,
        envs: &envs,
        home: &home,
        data: &DataStore::at(home.data()),
        store,
        version: project.version(),
    };
    let live = Live::new();
    let checked = match args.no_check {
        true => Checked { verdicts: Vec::new(), is_interrupted: false },
        false => check_first(&plan, &settings, &places, &live)?,
    };
    if checked.is_interrupted {
        live.finish();
        return Ok(INTERRUPTED.into());
    }
    let runtime = runtime()?;
    let notify = |notice: Notice| {
        // What the check has just made ready is not worth a second line.
        let is_told = matches!(&notice, Notice::StepStarted { name } | Notice::StepDone { name, .. }
            if name.starts_with("data of ") && !checked.verdicts.is_empty());
        if !is_told {
            live.show(notice);
        }
    };
    let verdicts = &checked.verdicts;
    let ended = runtime.block_on(running::run(&plan, verdicts, &settings, &places, &notify));
    live.finish();
    let ended = ended?;
    if ended.records.iter().any(|record| record.outcome.status != Status::Skipped) {
        table::run_tables(&experiments, &ended.records, args.format)?;
    }
    anstream::eprintln!("{}", summary(&ended, plan.jobs.len(), started));
    Ok(exit_code(&ended, is_missed))
}

/// Checks what has no verdict yet, before anything is timed. That it cannot be checked is no
/// reason not to run it: its records say so.
fn check_first(
    plan: &Plan,
    settings: &running::Settings,
    places: &Places,
    live: &Live,
) -> Result<Checked> {
    let has_reference = |job: &plan::Job| {
        places.catalog.find(job.experiment.reference(), job.experiment.name()).is_some()
    };
    let jobs = plan.jobs.iter().filter(|job| job.repeat == 1 && has_reference(job));
    let jobs = jobs.cloned().collect::<Vec<_>>();
    if jobs.is_empty() {
        return Ok(Checked { verdicts: Vec::new(), is_interrupted: false });
    }
    let at_once = check::at_once();
    let run = running::Settings {
        threads: check::threads(at_once),
        timeout: None,
        stall_timeout: None,
        ..settings.clone()
    };
    let check = CheckSettings { run: &run, reference: None, at_once };
    let known = places.store.verdicts()?;
    match running::check(&jobs, &check, places, &known, &|notice| live.show(notice)) {
        Ok(checked) => Ok(checked),
        Err(error) => {
            live.say(&format!("not checked: {error:#}"));
            Ok(Checked { verdicts: Vec::new(), is_interrupted: false })
        }
    }
}

/// Jobs are started from this thread: the kernel takes its end for the end of rosetta.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn wanted(args: &RunArgs) -> Wanted {
    Wanted {
        profile: Some(args.profile.clone()),
        repeats: args.repeats,
        order_seed: args.order_seed,
        ..args.selection.wanted()
    }
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

fn shown(plan: &Plan) -> String {
    let job = |job: &plan::Job| format!("{}\n", job.name());
    let skip = |skip: &plan::Skip| {
        let (experiment, target) = (skip.experiment.name(), &skip.target.name);
        format!("skipped: {experiment}.{target}.{}: {}\n", skip.device, skip.obstacle)
    };
    plan.jobs.iter().map(job).chain(plan.skips.iter().map(skip)).collect()
}

fn summary(ended: &Ended, planned: usize, started: Instant) -> String {
    let count = |is: &dyn Fn(Status) -> bool| {
        ended.records.iter().filter(|record| is(record.outcome.status)).count()
    };
    let ok = count(&|status| status == Status::Ok);
    let skipped = count(&|status| status == Status::Skipped);
    let not_ok = ended.records.len() - ok - skipped;
    let never = planned - (ok + not_ok);
    let mut words = vec![format!("{ok} ok")];
    let others = [(not_ok, "not ok"), (skipped, "skipped"), (never, "not started")];
    words.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")));
    let took = ui::words(started.elapsed());
    format!("\n{} in {took}; run {} is in {}", words.join(", "), ended.id, ended.folder.display())
}

fn exit_code(ended: &Ended, is_missed: bool) -> ExitCode {
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
    let known = experiments.iter().map(crate::spec::Experiment::name);
    let experiment = experiments.iter().find(|e| e.name() == args.experiment);
    let experiment = experiment
        .ok_or_else(|| crate::hint::unknown("experiment", &args.experiment, known.clone()))?;
    let store = DataStore::at(Home::find()?.data());
    let source = args.data.map(|data| data.source());
    let live = Live::new();
    let report = |progress| {
        if let crate::progress::Progress::Doing(what) = progress {
            live.say(&what);
        }
    };
    let size = args.check.map_or(Size::Profile(&args.profile), |_| Size::Check);
    let material = Material::prepare(&store, experiment, size, source, &report)?;
    let outputs = outputs_folder(args.outputs.clone())?;
    let job = format!("{}.{}.{}.1", args.experiment, args.target, args.device);
    let threads = args.threads.unwrap_or_else(machine::cores);
    let (target, device) = (args.target.as_str(), args.device);
    let place = Place { job, target, device, threads, outputs: &outputs };
    let dtype = args.dtype.clone();
    let check =
        args.check.map(|steps| Check { steps, dtype, settings: Settings::new(), seed: None });
    let file = jobfile::job_file(experiment, &material, &place, check.as_ref());
    ui::print(&(serde_json::to_string_pretty(&file)? + "\n"))
}

/// Prints the job file of a program that measures defaults.
fn defaults_job(args: &JobArgs) -> Result<()> {
    let outputs = outputs_folder(args.outputs.clone())?;
    let job = format!("{DEFAULTS}.{}.{}.1", args.target, args.device);
    let threads = args.threads.unwrap_or_else(machine::cores);
    let place =
        Place { job, target: &args.target, device: args.device, threads, outputs: &outputs };
    ui::print(&(serde_json::to_string_pretty(&jobfile::defaults_file(&place))? + "\n"))
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
