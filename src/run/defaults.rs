//! Measures the defaults of frameworks: jobs of no experiment, one at a time.
//!
//! Must not depend on what is compared of them.

use std::fs;
use std::path::Path;

use anyhow::Result;
use tokio::sync::watch;

use super::attempt::Program;
use super::conditions::Conditions;
use super::facts::{ProgramFacts, ask};
use super::notice::{Notice, Notify};
use super::prepare::{SYSTEM, build, compile};
use super::session::Session;
use super::signals;
use super::stamp::run_id;
use crate::catalog::{DEFAULTS, Device, Framework, Target};
use crate::defaults::{Measurement, SourceFile};
use crate::env::{Built, Held};
use crate::process::Cancel;

/// What was measured.
pub struct Gathered {
    pub measured: Vec<Measurement>,
    pub is_complete: bool,
    pub is_interrupted: bool,
}

/// Runs the programs that measure the defaults of targets. One that fails leaves the others be.
pub fn gather(
    targets: &[(&Framework, &Target)],
    conditions: &Conditions,
    session: &Session,
    notify: Notify,
) -> Result<Gathered> {
    signals::runtime()?.block_on(gather_all(targets, conditions, session, notify))
}

async fn gather_all(
    targets: &[(&Framework, &Target)],
    conditions: &Conditions,
    session: &Session,
    notify: Notify<'_>,
) -> Result<Gathered> {
    let folder = session.store.begin_defaults(&run_id(jiff::Timestamp::now()))?;
    let mut cancel = signals::listen()?;
    let mut measured = Vec::new();
    for &(framework, target) in targets {
        if *cancel.borrow() != Cancel::No {
            break;
        }
        let Some(held) = ready((framework, target, Device::Cpu), conditions, session, notify)?
        else {
            continue;
        };
        let name = format!("defaults of {}", target.title);
        let name = name.as_str();
        notify(Notice::StepStarted { name });
        let folder = folder.job(&target.name)?;
        match measure((framework, target), &held.built, conditions, &folder, &mut cancel).await? {
            Ok(found) => {
                let what = format!("are measured: {} properties", found.facts.len());
                notify(Notice::StepDone { name, what });
                measured.push(found);
            }
            Err(why) => notify(Notice::StepFailed { name, why }),
        }
    }
    let is_complete = measured.len() == targets.len();
    Ok(Gathered { measured, is_complete, is_interrupted: *cancel.borrow() != Cancel::No })
}

/// Returns the environment of a target on a device, built if it was not and with all that a program may import compiled, or
/// nothing if it is not available.
pub(super) fn ready(
    (framework, target, device): (&Framework, &Target, Device),
    conditions: &Conditions,
    session: &Session,
    notify: Notify,
) -> Result<Option<Held>> {
    let built = match conditions.own() {
        Some(own) if conditions.is_system(framework) => session.envs.system(&own)?,
        _ => {
            let env = target.env.get(&device).map_or(SYSTEM, |env| env.value.as_str());
            let Ok(built) = build(env, session, notify) else { return Ok(None) };
            compile(&built, None, session, notify);
            built
        }
    };
    let name = format!("environment {}", built.name);
    let report = |progress| notify(Notice::StepProgress { name: &name, progress });
    session.envs.hold(built, &report).map(Some)
}

/// Runs the program of one target; returns what it said, or why it failed.
async fn measure(
    (framework, target): (&Framework, &Target),
    built: &Built,
    conditions: &Conditions,
    folder: &Path,
    cancel: &mut watch::Receiver<Cancel>,
) -> Result<Result<Measurement, String>> {
    let program = Program {
        framework,
        target,
        device: Device::Cpu,
        file: framework.defaults.as_deref().unwrap_or(Path::new(DEFAULTS)),
        name: DEFAULTS,
    };
    let ProgramFacts { version, facts } =
        match ask(program, built, conditions, folder, cancel).await? {
            Ok(said) => said,
            Err(why) => return Ok(Err(why)),
        };
    let (target, title) = (target.name.clone(), target.title.clone());
    let sources = sources(framework)?;
    Ok(Ok(Measurement { target, title, version, date: None, facts, sources }))
}

/// Returns the files of a framework in which defaults are overridden.
pub fn sources(framework: &Framework) -> Result<Vec<SourceFile>> {
    let yaml = "framework.yaml".to_owned();
    let harnesses = framework.harnesses.iter().map(|(name, path)| (name.clone(), path.clone()));
    let files = harnesses.chain([(yaml.clone(), framework.folder.join(yaml))]);
    let source = |(name, path): (String, std::path::PathBuf)| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let shown = format!("harnesses/{}/{file}", framework.spec.name);
        Ok(SourceFile { name, path: shown, text: fs::read_to_string(&path)? })
    };
    files.map(source).collect()
}
