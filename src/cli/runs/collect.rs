//! `rosetta runs collect`, and how far a collecting is in words.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use super::on_a_cluster;
use crate::cli::args::RunsCollectArgs;
use crate::cli::{INTERRUPTED, NOT_OK, OK, WRONG_INPUT};
use crate::hint::{report, say};
use crate::project::Project;
use crate::request::FrameworksFrom;
use crate::run::{Collector, Followed, Pass, Session};
use crate::spec::Experiment;
use crate::store::Store;

/// Takes in what there is of a run, and does what is due.
pub fn collect(project: &Project, store: &Store, args: &RunsCollectArgs) -> Result<ExitCode> {
    let run = on_a_cluster(store, &args.run.run)?;
    let from = run.run.as_ref().and_then(|run| run.request.as_ref());
    let from = from.map_or(FrameworksFrom::default(), |request| request.provider);
    let session = Session::open(project, store, from)?;
    let mut collector = Collector::open(&session, &run.id, &run.folder)?;
    let experiments = project.experiments()?;
    if args.wait {
        return Ok(exit_code(&follow(&mut collector, &experiments)?));
    }
    let pass = collector.pass(&experiments, true)?;
    tell(&run.id, &run.folder, &pass);
    Ok(exit_code(&Followed { last: pass, is_interrupted: false }))
}

/// Collects until all is there, and says how far it is whenever that changes.
pub(crate) fn follow(collector: &mut Collector, experiments: &[Experiment]) -> Result<Followed> {
    let (id, folder) = (collector.id().to_owned(), collector.folder().to_owned());
    let said = std::cell::RefCell::new(String::new());
    let followed = collector.follow(experiments, &|pass| {
        let words = told(pass);
        if *said.borrow() != words || pass.trouble.is_some() {
            tell(&id, &folder, pass);
            said.replace(words);
        }
    })?;
    if followed.is_interrupted {
        say(format_args!(
            "run {id} goes on in Slurm: `rosetta runs collect {id}` takes its results in"
        ));
    }
    Ok(followed)
}

/// Says how far a run is, and what Slurm refused.
pub(crate) fn tell(id: &str, folder: &Path, pass: &Pass) {
    if let Some(error) = &pass.trouble {
        report(error);
    }
    if pass.submitted > 0 {
        let again = match pass.again {
            0 => String::new(),
            again => format!(", {again} of them once more"),
        };
        let (jobs, arrays) = (pass.submitted, pass.arrays.join(", "));
        let s = if jobs == 1 { "" } else { "s" };
        say(format_args!("submitted: {jobs} job{s}{again}, as Slurm's {arrays}"));
    }
    say(format_args!("run {id}: {}", told(pass)));
    if pass.is_finished() {
        say(format_args!("it is in {}; `rosetta table --run {id}` shows it", folder.display()));
    }
}

/// Returns how far a run is: `12 of 40 jobs have a record (11 ok, 1 not ok); 8 running, 20 waiting`.
pub(crate) fn told(pass: &Pass) -> String {
    let (done, jobs) = (pass.ok + pass.not_ok, pass.jobs);
    let mut words =
        format!("{done} of {jobs} jobs have a record ({} ok, {} not ok)", pass.ok, pass.not_ok);
    let others = [
        (pass.running, "running"),
        (pass.waiting, "waiting"),
        (pass.late, "gone from the queue without a result so far"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0);
    let others = others.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>();
    if !others.is_empty() {
        words += &format!("; {}", others.join(", "));
    }
    words
}

/// Returns the exit code of a collecting.
pub(crate) fn exit_code(followed: &Followed) -> ExitCode {
    let Followed { last, is_interrupted } = followed;
    if *is_interrupted {
        INTERRUPTED.into()
    } else if last.trouble.is_some() {
        WRONG_INPUT.into()
    } else if last.not_ok > 0 {
        NOT_OK.into()
    } else {
        OK
    }
}
