//! One attempt at a job: job file → launch → events → how it ended. Runs, checks and the measuring
//! of defaults start their programs here and nowhere else.
//!
//! Must not depend on what is made of how it ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use super::conditions::Conditions;
use crate::catalog::{Device, Framework, Target};
use crate::container::Container;
use crate::env::Built;
use crate::event::{Event, Line};
use crate::fold::Fold;
use crate::launch::{Finished, Launcher, Local, environment};
use crate::plan::Job;
use crate::process::{Cancel, Exit, Launch};

/// How long a job may take to stop when asked.
const GRACE: Duration = Duration::from_secs(5);
/// The least that a job may be silent for. A framework may compile for minutes without a word, and an epoch or a pass over
/// the test rows that is one call says nothing before its end: the longer a job may take, the longer it may be silent.
const STALL: Duration = Duration::from_secs(10 * 60);
/// How long a job may take that no profile sets a limit for.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A program of a framework.
#[derive(Clone, Copy)]
pub(super) struct Program<'a> {
    pub(super) framework: &'a Framework,
    pub(super) target: &'a Target,
    pub(super) device: Device,
    pub(super) file: &'a Path,
    /// The program's name in a crate.
    pub(super) name: &'a str,
}

impl<'a> Program<'a> {
    /// Returns a job's harness, or another file in its place.
    pub(super) fn of(job: &'a Job, harness: &'a Path) -> Program<'a> {
        let Job { framework, target, device, .. } = *job;
        Program { framework, target, device, file: harness, name: job.experiment.name() }
    }
}

/// A program that shall be started on a job file, whose folder is the job's.
pub(super) struct Attempt<'a> {
    pub(super) program: Program<'a>,
    pub(super) built: &'a Built,
    pub(super) job_file: &'a Path,
    /// Folders that it writes to, besides the job's: of those alone a container lets it.
    pub(super) writes: Vec<PathBuf>,
    pub(super) conditions: &'a Conditions,
    /// Its limit where the conditions set none.
    pub(super) timeout: Duration,
    pub(super) asked: Asked,
    /// What is left of the run's budget.
    pub(super) left: Option<Duration>,
    /// Whether it has its CPUs for itself and the machine is watched.
    pub(super) is_timed: bool,
    /// Further variables.
    pub(super) environment: BTreeMap<String, String>,
}

/// The training that a job is asked for; none of it where nothing is trained.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) epochs: u64,
    /// Steps of an epoch.
    pub(super) steps: u64,
    pub(super) batch_size: u64,
}

/// How an attempt ended, and what was seen of it.
pub(super) struct Ending {
    pub(super) finished: Finished,
    pub(super) fold: Fold,
    pub(super) asked: Asked,
    /// The limits that it had.
    pub(super) timeout: Duration,
    pub(super) stall_timeout: Option<Duration>,
    /// Why rosetta ended it, where that is not a limit of its own.
    pub(super) stop: Option<EarlyEnd>,
}

/// Why rosetta ends a job early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlyEnd {
    /// Its loss is not a number any more, or far from where it began: nothing will come of it.
    Diverged,
    /// The run has no time left.
    OutOfBudget,
}

impl Attempt<'_> {
    /// Runs the program to its end and hands on its events.
    pub(super) async fn run(
        &self,
        cancel: &mut watch::Receiver<Cancel>,
        mut on_event: impl FnMut(&Event),
    ) -> Result<Ending> {
        let launch = self.launch()?;
        let (stop, mut stopped) = watch::channel(*cancel.borrow_and_update());
        let mut fold = Fold::new(self.asked.steps);
        let mut is_diverged = false;
        let mut on_line = |line| {
            if let Line::Event(stamped) = line {
                on_event(&stamped.event);
                fold.take(stamped.at.unwrap_or_default(), &stamped);
                if self.is_timed && !is_diverged && fold.bad_loss.is_some() {
                    is_diverged = true;
                    stop.send_replace(Cancel::Gracefully);
                }
            }
        };
        let local = Local::new();
        let mut running = local.run(&launch, &mut stopped, &mut on_line);
        let mut may_cancel = true;
        let finished = loop {
            tokio::select! {
                finished = &mut running => break finished?,
                changed = cancel.changed(), if may_cancel => {
                    may_cancel = changed.is_ok();
                    if *cancel.borrow_and_update() != Cancel::No {
                        stop.send_replace(*cancel.borrow());
                    }
                }
            }
        };
        drop(running);
        let is_cut = self.left.is_some_and(|left| left <= launch.timeout);
        let stop = match finished.exit {
            Exit::Cancelled if is_diverged => Some(EarlyEnd::Diverged),
            Exit::TimedOut if is_cut => Some(EarlyEnd::OutOfBudget),
            _ => None,
        };
        let (timeout, stall_timeout) = (launch.timeout, launch.stall_timeout);
        Ok(Ending { finished, fold, asked: self.asked, timeout, stall_timeout, stop })
    }

    fn launch(&self) -> Result<Launch> {
        let Program { framework, target, device, file, name } = self.program;
        let command = self.built.command(file, name)?;
        let (threads, limits) = (self.conditions.threads, &self.conditions.limits);
        let job_folder = self.job_file.parent().unwrap_or(Path::new("/")).to_owned();
        let container = self.container(&job_folder);
        let passed = match &container {
            // A container inherits nothing of this process.
            Some(_) => self.conditions.environment.iter().map(|word| with_value(word)).collect(),
            None => self.conditions.environment.clone(),
        };
        let mut environment = environment(device, threads, &passed);
        environment.extend(command.environment);
        for name in &command.unset {
            environment.remove(name);
        }
        environment.extend(target.environment.clone());
        environment.set("ROSETTA_JOB", self.job_file.to_string_lossy());
        environment.extend(self.environment.clone());
        let timeout = limits.timeout.unwrap_or(self.timeout);
        let silence = self.is_timed.then(|| STALL.max(timeout / 2));
        Ok(Launch {
            program: command.program,
            args: command.args,
            environment,
            folder: framework.folder.clone(),
            job_folder,
            timeout: self.left.map_or(timeout, |left| timeout.min(left)),
            stall_timeout: limits.stall_timeout.or(silence),
            grace: GRACE,
            device,
            cpus: Some(threads).filter(|_| self.is_timed),
            memory_limit_bytes: limits.memory_bytes,
            is_measured: self.is_timed,
            container,
        })
    }

    /// Returns the container that it runs in, if its environment is an image.
    fn container(&self, job_folder: &Path) -> Option<Container> {
        let image = self.built.image()?;
        let mut writable = vec![job_folder.to_owned()];
        writable.extend(self.writes.iter().cloned());
        let mut variables = BTreeMap::new();
        // Some programs ask for their user's name, and the image does not know this user.
        for name in ["USER", "LOGNAME"] {
            variables.insert(name.to_owned(), "rosetta".to_owned());
        }
        if self.program.device == Device::Cuda {
            for name in ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"] {
                variables.extend(std::env::var(name).ok().map(|value| (name.to_owned(), value)));
            }
        }
        Some(Container {
            engine: image.engine.clone(),
            image: image.id.clone(),
            readable: self.built.seen.clone(),
            writable,
            variables,
        })
    }
}

/// Returns a variable that the user names, with its value where it has one here.
pub(super) fn with_value(word: &str) -> String {
    match (word.contains('='), std::env::var(word)) {
        (false, Ok(value)) => format!("{word}={value}"),
        _ => word.to_owned(),
    }
}
