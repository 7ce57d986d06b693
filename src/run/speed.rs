//! Asks an installation how fast it computes: the program `speed.*` of a framework. Must not depend on what is made of it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::attempt::Program;
use super::conditions::Conditions;
use super::defaults::ready;
use super::facts::ask;
use super::notice::{Notice, Notify};
use super::session::Session;
use super::signals;
use super::stamp::run_id;
use crate::catalog::{Device, Framework, SPEED, Target};
use crate::request::Request;

/// Returns what a target's program says of itself where the request takes it from; nothing where there is no such program,
/// or where it fails, which is told.
pub fn speed(
    (framework, target): (&Framework, &Target),
    request: &Request,
    session: &Session,
    notify: Notify,
) -> Result<BTreeMap<String, Value>> {
    let Some(file) = framework.speed.as_deref() else { return Ok(BTreeMap::new()) };
    let conditions = Conditions::of(request);
    let Some(held) = ready(framework, target, &conditions, session, notify)? else {
        return Ok(BTreeMap::new());
    };
    let name = format!("speed of {} ({})", target.title, held.built.provider);
    let name = name.as_str();
    notify(Notice::StepStarted { name });
    let folder = session.store.begin_defaults(&run_id(jiff::Timestamp::now()))?;
    let folder = folder.job(&target.name)?;
    let program = program(framework, target, file);
    let asked = signals::runtime()?.block_on(async {
        let mut cancel = signals::listen()?;
        ask(program, &held.built, &conditions, &folder, &mut cancel).await
    })?;
    match asked {
        Ok(said) => {
            notify(Notice::StepDone { name, what: "is measured".to_owned() });
            Ok(said.facts.into_iter().collect())
        }
        Err(why) => {
            notify(Notice::StepFailed { name, why });
            Ok(BTreeMap::new())
        }
    }
}

fn program<'a>(framework: &'a Framework, target: &'a Target, file: &'a Path) -> Program<'a> {
    Program { framework, target, device: Device::Cpu, file, name: SPEED }
}
