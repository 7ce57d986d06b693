//! `rosetta run --launcher`.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cli::args::RunArgs;
use crate::cli::run::refuse_nothing;
use crate::cli::runs::{exit_code, follow, tell};
use crate::cli::{INTERRUPTED, plan, table};
use crate::cluster::{ClusterLauncher, find};
use crate::hint::{hinted, say};
use crate::project::Project;
use crate::request::Request;
use crate::run::{Followed, Session};
use crate::store::Store;
use crate::ui::{self, Live};

/// Submits what was asked for; unless it is to be detached, waits for the results and prints their tables.
pub fn submit(project: &Project, store: &Store, args: &RunArgs, named: &str) -> Result<ExitCode> {
    let launcher = find(named, &project.root)?;
    let request = with_devices(args.request(), &launcher)?;
    let experiments = project.experiments()?;
    let session = Session::open(project, store, request.provider)?.with_gpus(launcher.gpus());
    let planned = session.plan(&request, &experiments)?;
    let preview = session.preview(&planned, &request);
    plan::preview_words(&preview, session.home.root()).into_iter().for_each(say);
    if args.dry_run {
        return plan::print(&planned, &request, &preview, &session, args.format.json);
    }
    refuse_nothing(&planned)?;
    project.need_sdk(planned.jobs.iter().map(|job| job.framework))?;
    let root = std::path::absolute(&project.root)?;
    let live = Live::new();
    let notify = |notice: crate::run::Notice| live.show(notice);
    let submitted = session.prepare_submission(&planned, &launcher, &request, &root, &notify);
    live.finish();
    let Some(submitted) = submitted? else { return Ok(INTERRUPTED.into()) };
    let (id, mut collector) = (submitted.id, submitted.collector);
    if args.detach {
        let pass = collector.pass(&experiments, false)?;
        tell(&id, collector.folder(), &pass);
        if pass.trouble.is_some() {
            say(format_args!(
                "run {id} is prepared; once that is put right, `rosetta runs collect {id}` submits it"
            ));
        } else if !pass.is_finished() {
            say(format_args!(
                "`rosetta runs show {id}` tells how far it is, `rosetta runs collect {id}` takes results in"
            ));
        }
        return Ok(exit_code(&Followed { last: pass, is_interrupted: false }));
    }
    let followed = follow(&mut collector, &experiments)?;
    let folder = collector.folder().to_owned();
    drop(collector);
    if followed.last.is_finished() {
        let (records, troubles) = store.read_one(&folder.to_string_lossy())?.into_records();
        ui::warn(&troubles);
        table::run_tables(&experiments, &records, args.format)?;
    }
    Ok(exit_code(&followed))
}

/// Returns a request for the devices that the launcher has something for, unless it names some.
fn with_devices(request: Request, launcher: &ClusterLauncher) -> Result<Request> {
    let has = |device: &_| launcher.resources.contains_key(device);
    if let Some(device) = request.devices.iter().find(|device| !has(device)) {
        let message = format!("{} has no `resources` for {device}", launcher.path.display());
        bail!(hinted(
            message,
            format!(
                "write `{device}:` below `resources`, with a `time`, or leave `--device {device}` out"
            )
        ));
    }
    let devices = match request.devices.is_empty() {
        true => launcher.resources.keys().copied().collect(),
        false => request.devices.clone(),
    };
    Ok(Request { devices, ..request })
}
