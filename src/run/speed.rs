//! Asks an installation how fast it computes: the program `speed.*` of a framework. Must not depend on what is made of it.

use std::collections::BTreeMap;

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
use crate::catalog::SPEED;
use crate::plan::Job;
use crate::request::Request;

/// Returns what the program of a job's framework says of the installation that the request takes, on the job's device; nothing
/// where there is no such program, or where it fails, which is told.
pub fn speed(
    job: &Job,
    request: &Request,
    session: &Session,
    notify: Notify,
) -> Result<BTreeMap<String, Value>> {
    let &Job { framework, target, device, .. } = job;
    let Some(file) = framework.speed.as_deref() else { return Ok(BTreeMap::new()) };
    let conditions = Conditions::of(request);
    let Some(held) = ready((framework, target, device), &conditions, session, notify)? else {
        return Ok(BTreeMap::new());
    };
    let name = format!("speed of {} ({})", target.title, held.built.provider);
    let name = name.as_str();
    notify(Notice::StepStarted { name });
    let folder = session.store.begin_defaults(&run_id(jiff::Timestamp::now()))?;
    let folder = folder.job(&target.name)?;
    let program = Program { framework, target, device, file, name: SPEED };
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
