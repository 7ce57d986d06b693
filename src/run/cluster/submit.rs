//! A plan → a run whose jobs are submitted: what they need is made ready here, then Slurm is given its arrays.
//!
//! Must not depend on what becomes of a task.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::collect::Collector;
use crate::catalog::{Device, ProviderName};
use crate::cluster::{ClusterLauncher, ClusterPlan, Ledger};
use crate::hint::hinted;
use crate::machine::Machine;
use crate::material::Size;
use crate::plan::{Job, Plan};
use crate::record::Record;
use crate::request::Request;
use crate::run::attempt::with_value;
use crate::run::check::Checked;
use crate::run::conditions::Conditions;
use crate::run::job::RunContext;
use crate::run::jobs::without_secrets;
use crate::run::notice::{Notice, Notify};
use crate::run::prepare::Needs;
use crate::run::session::Session;
use crate::run::stamp::{run_id, seconds};
use crate::store::Run;

/// A run that was given to a cluster.
pub struct Submitted<'a> {
    pub id: String,
    pub collector: Collector<'a>,
}

impl Session {
    /// Makes ready what the jobs of a plan need, and writes all that their tasks must know. Nothing is submitted yet: the first
    /// pass of the collector does. Returns nothing if the check that goes before was interrupted.
    pub fn prepare_submission<'a>(
        &'a self,
        plan: &Plan<'a>,
        launcher: &ClusterLauncher,
        request: &Request,
        project: &Path,
        notify: Notify,
    ) -> Result<Option<Submitted<'a>>> {
        let rosetta = std::env::current_exe().context("cannot tell where this program is")?;
        self.check_places(launcher, project, &rosetta)?;
        let checked = self.check_here(plan, request, notify)?;
        if checked.is_interrupted {
            return Ok(None);
        }
        let profile = request.profile.clone().unwrap_or_default();
        let conditions = conditions(request, launcher, Device::Cpu);
        let needs = Needs::of(&plan.jobs, Size::Profile(&profile), &conditions);
        let prepared = needs.prepare(&conditions, self, notify)?;
        let (started, machine) = (Timestamp::now(), Machine::look());
        let id = run_id(started);
        let folder = self.store.begin(&Run {
            run: 1,
            id: id.clone(),
            started: seconds(started),
            command: self.command.clone(),
            request: Some(without_secrets(request)),
            profile: profile.clone(),
            jobs: plan.jobs.iter().map(Job::name).collect(),
            launcher: Some("slurm".to_owned()),
            machine: machine.clone(),
            rosetta: self.version(),
        })?;
        let context = RunContext {
            id: id.clone(),
            rosetta: self.version(),
            machine,
            verdicts: checked.verdicts.clone(),
            conditions,
            prepared,
        };
        for skip in &plan.skips {
            seal(&context.skipped(skip, &profile), &folder, notify)?;
        }
        for job in &plan.jobs {
            match context.prepared.built_for(job, &context.conditions) {
                // Nodes may not write where environments are.
                Ok(_) => context.prepared.compile_for(job, &context.conditions, self, notify),
                Err(outcome) => seal(&context.never_started(job, outcome), &folder, notify)?,
            }
        }
        let ledger = Ledger::of(folder.path());
        let variables = request.environment.iter().map(|word| with_value(word)).collect::<Vec<_>>();
        let cluster = ClusterPlan {
            cluster: 1,
            run: id.clone(),
            launcher: launcher.path.clone(),
            launcher_text: launcher.text.clone(),
            request: Request { environment: Vec::new(), ..request.clone() },
            project: project.to_owned(),
            home: self.home.root().to_owned(),
            rosetta,
            version: self.version().version,
            jobs: plan.jobs.iter().map(|job| (job.name(), job.device)).collect(),
            verdicts: checked.verdicts,
        };
        ledger.begin(&cluster, &variables)?;
        let collector = Collector::new(self, ledger, cluster, launcher.clone(), folder)?;
        Ok(Some(Submitted { id, collector }))
    }

    /// Refuses places that nodes do not have.
    fn check_places(
        &self,
        launcher: &ClusterLauncher,
        project: &Path,
        rosetta: &Path,
    ) -> Result<()> {
        if self.provider() == Some(ProviderName::Docker) {
            return Err(hinted(
                "`--provider docker` makes images where rosetta is; the nodes of a cluster do not have them",
                "take `--provider conda`, or let `wrap` in the launcher's file run rosetta in an image of yours",
            ));
        }
        let results = self.store.root();
        std::fs::create_dir_all(results)
            .with_context(|| format!("cannot make `{}`", results.display()))?;
        std::fs::create_dir_all(self.home.root())
            .with_context(|| format!("cannot make `{}`", self.home.root().display()))?;
        let own: PathBuf = launcher.rosetta.clone().unwrap_or_else(|| rosetta.to_owned());
        let places = [
            ("the project", project),
            ("the folder of the results (`--results`)", results),
            ("rosetta's home (`ROSETTA_HOME`)", self.home.root()),
            ("the program rosetta", &own),
        ];
        places.into_iter().try_for_each(|(what, path)| launcher.check_shared(what, path))
    }

    /// Checks the jobs of the CPU, if the request says so: where jobs are submitted there is seldom a GPU.
    fn check_here(&self, plan: &Plan, request: &Request, notify: Notify) -> Result<Checked> {
        if !request.check {
            return Ok(Checked::default());
        }
        let on_cpu = |job: &&Job| job.device == Device::Cpu;
        let jobs = plan.jobs.iter().filter(on_cpu).cloned().collect();
        match self.check_first(&Plan { jobs, ..Plan::default() }, request, None, notify)? {
            Ok(checked) => Ok(checked),
            Err(error) => {
                notify(Notice::NotChecked(&error));
                Ok(Checked::default())
            }
        }
    }
}

/// Returns the conditions of a job on a device: its threads are the CPUs of its task, unless the request says it.
pub(super) fn conditions(
    request: &Request,
    launcher: &ClusterLauncher,
    device: Device,
) -> Conditions {
    let cpus = launcher.resources.get(&device).and_then(|resources| resources.cpus);
    Conditions::of(&Request { threads: request.threads.or(cpus), ..request.clone() })
}

fn seal(record: &Record, folder: &crate::store::RunFolder, notify: Notify) -> Result<()> {
    folder.seal(record)?;
    notify(Notice::JobFinished(record));
    Ok(())
}
