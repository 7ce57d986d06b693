//! Which of many records a table can be made of. Must not depend on where records come from.

use std::collections::{BTreeMap, BTreeSet};

use crate::brief::Brief;
use crate::table::group::{Worth, worth_of};

/// What a record competes with others for, whatever is asked for: only among those with the same key, one hides another.
type Rivals = (u32, u32, u32, u32, u32, u8, u8);

fn key(brief: &Brief) -> Rivals {
    let Brief { experiment, profile, target, provider, machine, .. } = *brief;
    (experiment, profile, target, provider, machine, brief.device as u8, brief.era as u8)
}

/// Returns the row of a key: it shows all of its target's records of the run that it is taken from, whoever made their
/// environments.
fn row((experiment, profile, target, _, _, device, _): Rivals) -> (u32, u32, u32, u8) {
    (experiment, profile, target, device)
}

#[derive(Default)]
struct Best {
    /// The newest of the best runs; it is shown.
    run: usize,
    worth: Option<Worth>,
    /// The newest record of all; where it is not shown, a note says so.
    newest: usize,
    /// The newest that has numbers: by it the profile is chosen.
    newest_whole: Option<usize>,
}

/// Returns for each record whether [`super::build`] may need it; from those alone it makes the same tables, on one machine or on all,
/// for any choice. The briefs are in the order in which the records were made, each with the number of its run.
pub fn needed(briefs: &[(usize, Brief)]) -> Vec<bool> {
    let mut best = BTreeMap::<Rivals, Best>::new();
    for (index, (run, brief)) in briefs.iter().enumerate() {
        let one = best.entry(key(brief)).or_default();
        let worth = worth_of(brief.status, brief.is_tainted);
        one.newest = index;
        if brief.status.is_whole() {
            one.newest_whole = Some(index);
        }
        if Some(worth) >= one.worth {
            (one.run, one.worth) = (*run, Some(worth));
        }
    }
    let shown = best.iter().map(|(key, best)| (row(*key), best.run)).collect::<BTreeSet<_>>();
    // Experiments without a title stand in the order of their first records.
    let mut seen = BTreeSet::new();
    let is_needed = |(index, (run, brief)): (usize, &(usize, Brief))| {
        let one = &best[&key(brief)];
        let is_first = seen.insert((brief.experiment, brief.machine));
        let is_shown = shown.contains(&(row(key(brief)), *run));
        is_first || is_shown || one.newest == index || one.newest_whole == Some(index)
    };
    briefs.iter().enumerate().map(is_needed).collect()
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha8Rng;
    use chacha20::rand_core::{Rng, SeedableRng};

    use super::needed;
    use crate::brief::{Brief, Words};
    use crate::catalog::{Device, Era};
    use crate::record::{EnvIdentity, Outcome, Record, Status};
    use crate::report::Format;
    use crate::table::tests::record;
    use crate::table::{Choice, Published, build};

    /// Returns runs of records that differ in everything that one is chosen by.
    fn runs(random: &mut impl FnMut(u32) -> u32) -> Vec<Record> {
        let mut records = Vec::new();
        for run in 0..40 {
            for job in 0..8 {
                let experiment = ["cnn", "resnet50"][random(2) as usize];
                let target = ["a", "b"][random(2) as usize];
                let mut one = record(experiment, target, f64::from(run * 100 + job + 1));
                one.run = format!("run-{run}");
                one.profile = ["smoke", "quick", "full"][random(3) as usize].to_owned();
                one.device = [Device::Cpu, Device::Cuda][random(2) as usize];
                one.era = [Era::Current, Era::Historic][random(2) as usize];
                one.machine.host = ["here", "there"][random(2) as usize].to_owned();
                if random(3) == 0 {
                    one.machine.cluster = Some("lab".to_owned());
                    one.machine.host = format!("node {}", random(9));
                    one.machine.cpu = ["fast", "slow"][random(2) as usize].to_owned();
                }
                if random(3) == 0 {
                    one.marks.push("tainted: in a test".to_owned());
                }
                let statuses = [Status::Ok, Status::Ok, Status::CheckFailed, Status::Crashed];
                let status = statuses[random(4) as usize];
                one.outcome = Outcome { status, ..Outcome::ok() };
                if random(3) == 0 {
                    one.env = Some(EnvIdentity {
                        name: target.to_owned(),
                        provider: "system".to_owned(),
                        ..EnvIdentity::default()
                    });
                }
                records.push(one);
            }
        }
        records
    }

    /// Returns what a person would see, or the error.
    fn shown<'a>(records: impl Iterator<Item = &'a Record>, choice: &Choice) -> String {
        let records = records.cloned().collect::<Vec<_>>();
        match build(&records, &[], &Published::default(), choice) {
            Ok(tables) => Format::Json.write(&tables) + &Format::Markdown.write(&tables),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tables_of_what_is_needed_are_those_of_all_records() {
        let mut generator = ChaCha8Rng::seed_from_u64(7);
        let mut random = |below: u32| generator.next_u32() % below;
        let mut left_out = 0;
        for _ in 0..20 {
            let records = runs(&mut random);
            let mut names = Words::default();
            let run = |record: &Record| record.run[4..].parse::<usize>().unwrap();
            let briefs = records.iter().map(|record| (run(record), Brief::of(record, &mut names)));
            let needed = needed(&briefs.collect::<Vec<_>>());
            left_out += needed.iter().filter(|needed| !**needed).count();
            let choices = [
                Choice::default(),
                Choice { profile: Some("full".to_owned()), ..Choice::default() },
                Choice { device: Some(Device::Cuda), ..Choice::default() },
                Choice { era: Some(Era::Historic), ..Choice::default() },
            ];
            for choice in &choices {
                for host in [None, Some("here")] {
                    let is_here = |r: &&Record| host.is_none_or(|host| r.machine.host == host);
                    let chosen = records.iter().zip(&needed).filter(|(_, needed)| **needed);
                    let some = shown(chosen.map(|(record, _)| record).filter(is_here), choice);
                    assert_eq!(some, shown(records.iter().filter(is_here), choice));
                }
            }
        }
        assert!(left_out > 1000, "{left_out}");
    }
}
