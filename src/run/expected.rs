//! How long jobs will take: as long as the same ones took last. Must not depend on how that is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::session::Session;
use crate::brief::Brief;
use crate::catalog::Device;
use crate::machine::Machine;
use crate::plan::Job;
use crate::record::{Record, Status};

/// What the last jobs took that were ok on this machine.
#[derive(Debug, Default)]
pub struct Expected(BTreeMap<(String, String, String, Device), Duration>);

impl Session {
    /// Returns what jobs took last; nothing where results cannot be read.
    pub fn expected(&self) -> Expected {
        let Ok(survey) = self.store.survey() else { return Expected::default() };
        let here = Machine::first_look();
        let records = survey.records(newest);
        Expected::of(records.iter().filter(|record| record.machine.is_same(here)))
    }
}

/// Chooses the newest record of each job that was ok.
fn newest(briefs: &[(usize, Brief)]) -> Vec<bool> {
    let mut newest = BTreeMap::new();
    for (index, (_, brief)) in briefs.iter().enumerate() {
        if brief.status == Status::Ok {
            let Brief { experiment, profile, target, machine, device, .. } = *brief;
            newest.insert((experiment, profile, target, machine, device), index);
        }
    }
    let newest = newest.into_values().collect::<BTreeSet<_>>();
    (0..briefs.len()).map(|index| newest.contains(&index)).collect()
}

impl Expected {
    /// Of records in the order in which they were made.
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Expected {
        let mut took = BTreeMap::new();
        for record in records.filter(|record| record.is_ok()) {
            let Some(wall) = record.times.wall.and_then(|s| Duration::try_from_secs_f64(s).ok())
            else {
                continue;
            };
            let Record { experiment, target, profile, device, .. } = record;
            took.insert((experiment.clone(), target.clone(), profile.clone(), *device), wall);
        }
        Expected(took)
    }

    /// Returns how long a job took last.
    pub fn time(&self, job: &Job) -> Option<Duration> {
        let (experiment, target) = (job.experiment.name().to_owned(), job.target.name.clone());
        self.0.get(&(experiment, target, job.profile.clone(), job.device)).copied()
    }

    /// Returns how long some jobs took last, and how many of them nobody knows it of.
    pub fn sum(&self, jobs: &[Job]) -> (Duration, usize) {
        let known = jobs.iter().filter_map(|job| self.time(job));
        (known.clone().sum(), jobs.len() - known.count())
    }

    /// Returns how long some jobs will take, if that is known of each.
    pub(super) fn left(&self, jobs: &[Job]) -> Option<Duration> {
        let (known, unknown) = self.sum(jobs);
        (unknown == 0).then_some(known)
    }
}
