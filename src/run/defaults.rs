//! Measures the defaults of frameworks: jobs of no experiment, one at a time.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{
    Notice, Notify, Places, SYSTEM, Settings, Start, build, launch, listen_to_signals, outcome,
    run_id,
};
use crate::catalog::{DEFAULTS, Device, Framework, Target};
use crate::defaults::{Measured, Source};
use crate::env::{Built, Held};
use crate::event::{Event, Line};
use crate::fold::Fold;
use crate::jobfile;
use crate::launch::{Launcher, Local};
use crate::process::Cancel;
use crate::record::Status;

/// What was measured.
pub struct Gathered {
    pub measured: Vec<Measured>,
    pub is_complete: bool,
    pub is_interrupted: bool,
}

/// Runs the programs that measure the defaults of targets. One that fails leaves the others be.
pub async fn gather(
    targets: &[(&Framework, &Target)],
    settings: &Settings,
    places: &Places<'_>,
    notify: Notify<'_>,
) -> Result<Gathered> {
    let folder = places.store.begin_defaults(&run_id(jiff::Timestamp::now()))?;
    let mut cancel = listen_to_signals()?;
    let mut measured = Vec::new();
    for (framework, target) in targets {
        if *cancel.borrow() != Cancel::No {
            break;
        }
        let Some(held) = ready(framework, target, settings, places, notify)? else { continue };
        let name = format!("defaults of {}", target.title);
        let name = name.as_str();
        notify(Notice::StepStarted { name });
        let folder = folder.job(&target.name)?;
        let (fold, facts, why) =
            run_one(framework, target, &held.built, settings, &folder, &mut cancel).await?;
        if let Some(why) = why {
            notify(Notice::StepFailed { name, why });
            continue;
        }
        let what = format!("are measured: {} properties", facts.len());
        notify(Notice::StepDone { name, what });
        measured.push(Measured {
            target: target.name.clone(),
            title: target.title.clone(),
            version: fold.hello.map(|hello| hello.version).unwrap_or_default(),
            facts,
            sources: sources(framework)?,
        });
    }
    let is_complete = measured.len() == targets.len();
    Ok(Gathered { measured, is_complete, is_interrupted: *cancel.borrow() != Cancel::No })
}

/// Returns the environment of a target, built if it was not, or nothing if it cannot be had.
fn ready(
    framework: &Framework,
    target: &Target,
    settings: &Settings,
    places: &Places<'_>,
    notify: Notify<'_>,
) -> Result<Option<Held>> {
    let built = match &settings.python {
        Some(python) if settings.is_system(framework) => places.envs.system(python)?,
        _ => {
            let env = target.env.get(&Device::Cpu).map_or(SYSTEM, |env| env.value.as_str());
            let Ok(built) = build(env, places, notify) else { return Ok(None) };
            built
        }
    };
    places.envs.hold(built).map(Some)
}

type Facts = Vec<(String, serde_json::Value)>;

/// Runs the program of one target; returns what it said, and why it failed if it did.
async fn run_one(
    framework: &Framework,
    target: &Target,
    built: &Built,
    settings: &Settings,
    folder: &Path,
    cancel: &mut tokio::sync::watch::Receiver<Cancel>,
) -> Result<(Fold, Facts, Option<String>)> {
    let program = framework.defaults.as_deref().unwrap_or(Path::new(DEFAULTS));
    let (device, threads, outputs) = (Device::Cpu, settings.threads, folder);
    let job = format!("{DEFAULTS}.{}.{device}.1", target.name);
    let place = jobfile::Place { job, target: &target.name, device, threads, outputs };
    let file = jobfile::write(folder, &jobfile::defaults_file(&place))?;
    let start = Start { framework, target, device, program, name: DEFAULTS };
    let launch = launch(&start, built, &file, settings)?;
    let (mut fold, mut facts) = (Fold::new(0), Facts::new());
    let mut on_line = |line| {
        if let Line::Event(stamped) = line {
            fold.take(stamped.at.unwrap_or_default(), &stamped);
            if let Event::Fact { name, value } = stamped.event {
                facts.push((name, value));
            }
        }
    };
    let finished = Local::new().run(&launch, cancel, &mut on_line).await?;
    let outcome = outcome(&finished, &fold, &launch.timeout);
    let log = folder.join("stderr.log");
    let why = outcome.reason.unwrap_or_else(|| outcome.status.as_str().to_owned());
    let why = format!("{why}; its log is {}", log.display());
    Ok((fold, facts, Some(why).filter(|_| outcome.status != Status::Ok)))
}

/// Returns the files of a framework in which defaults are overridden.
fn sources(framework: &Framework) -> Result<Vec<Source>> {
    let yaml = "framework.yaml".to_owned();
    let harnesses = framework.harnesses.iter().map(|(name, path)| (name.clone(), path.clone()));
    let files = harnesses.chain([(yaml.clone(), framework.folder.join(yaml))]);
    let source = |(name, path): (String, std::path::PathBuf)| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let shown = format!("harnesses/{}/{file}", framework.spec.name);
        Ok(Source { name, path: shown, text: fs::read_to_string(&path)? })
    };
    files.map(source).collect()
}
