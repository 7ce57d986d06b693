//! Where the numbers of a row come from. Must not depend on how a table is drawn.

use crate::catalog::{Era, Lane};
use crate::record::Record;
use crate::report::Beside;
use crate::table::group::Group;

/// What a program that reads a table needs to know of a row beside its cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Provenance {
    /// Why a reader should doubt a number, each once.
    pub marks: Vec<String>,
    pub runs: Vec<String>,
    /// Days on which its jobs began, in UTC.
    pub dates: Vec<String>,
    pub hosts: Vec<String>,
    /// How many repeats a number is the median of, at most; of a publication it is not known.
    pub repeats: Option<usize>,
    pub target: String,
    pub framework: String,
    pub devices: Vec<String>,
    pub era: &'static str,
    pub lane: &'static str,
    pub providers: Vec<String>,
    pub environments: Vec<String>,
    /// Digests of the locks.
    pub locks: Vec<String>,
    /// Digests of the harnesses.
    pub harnesses: Vec<String>,
    pub revisions: Vec<String>,
    /// What measures the row again.
    pub command: String,
}

impl Provenance {
    /// Returns what a row's records say: those that are counted, else those that failed.
    pub(super) fn of(group: &Group) -> Provenance {
        let counted = group.counted(None);
        let records = if counted.is_empty() { &group.records } else { &counted };
        let first = group.first();
        let mut found = Provenance {
            repeats: Some(repeats(&counted)),
            target: first.target.clone(),
            framework: first.framework.clone(),
            era: era(first.era),
            lane: lane(first.lane),
            ..Provenance::default()
        };
        for record in records {
            record.marks.iter().for_each(|mark| add(&mut found.marks, mark));
            add(&mut found.runs, &record.run);
            add(&mut found.dates, record.started.get(..10).unwrap_or(&record.started));
            add(&mut found.hosts, &record.machine.host);
            add(&mut found.devices, &record.device.to_string());
            add(&mut found.harnesses, &record.inputs.harness_digest);
            record.rosetta.revision.iter().for_each(|revision| add(&mut found.revisions, revision));
            if let Some(env) = &record.env {
                add(&mut found.providers, &env.provider);
                add(&mut found.environments, &env.name);
                env.lock_digest.iter().for_each(|digest| add(&mut found.locks, digest));
            }
        }
        found.command = found.command(first);
        found
    }

    /// Returns the command that measures the same row again, on whatever machine it is typed.
    fn command(&self, record: &Record) -> String {
        let mut words = vec!["rosetta".to_owned(), "run".to_owned(), record.experiment.clone()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("-f", self.target.clone());
        option("--profile", record.profile.clone());
        option("--device", self.devices.join(","));
        option("--threads", record.cost.threads_allowed.to_string());
        if let Some(source) = record.inputs.source {
            option("--data", source.as_str().to_owned());
        }
        if let Some(repeats) = self.repeats.filter(|repeats| *repeats > 1) {
            option("--repeats", repeats.to_string());
        }
        match self.providers.first().map(String::as_str) {
            Some("system") => option("--python", "python3".to_owned()),
            Some("conda") => option("--provider", "conda".to_owned()),
            _ => {}
        }
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the columns that programs read beside the cells, for the rows in their order.
pub(super) fn beside(rows: Vec<Provenance>) -> Vec<Beside> {
    let column = |key: &'static str, text: &dyn Fn(&Provenance) -> String| Beside {
        key,
        texts: rows.iter().map(text).collect(),
    };
    vec![
        column("marks", &|row| row.marks.join("; ")),
        column("run", &|row| row.runs.join(", ")),
        column("date", &|row| row.dates.join(", ")),
        column("host", &|row| row.hosts.join(", ")),
        column("n", &|row| row.repeats.map(|n| n.to_string()).unwrap_or_default()),
        column("target", &|row| row.target.clone()),
        column("framework", &|row| row.framework.clone()),
        column("devices", &|row| row.devices.join(", ")),
        column("era", &|row| row.era.to_owned()),
        column("lane", &|row| row.lane.to_owned()),
        column("provider", &|row| row.providers.join(", ")),
        column("environment", &|row| row.environments.join(", ")),
        column("lock", &|row| row.locks.join(", ")),
        column("harness", &|row| row.harnesses.join(", ")),
        column("revision", &|row| row.revisions.join(", ")),
        column("command", &|row| row.command.clone()),
    ]
}

fn era(era: Era) -> &'static str {
    match era {
        Era::Current => "current",
        Era::Historic => "historic",
    }
}

fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Idiomatic => "idiomatic",
        Lane::Tuned => "tuned",
    }
}

/// Returns a word that a shell takes for one.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.,/+=@".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn add(words: &mut Vec<String>, word: &str) {
    if !words.iter().any(|one| one == word) {
        words.push(word.to_owned());
    }
}

/// Returns how often a device repeats, for features the device with the most.
fn repeats(records: &[&Record]) -> usize {
    let on_device = |one: &&Record| records.iter().filter(|r| r.device == one.device).count();
    records.iter().map(on_device).max().unwrap_or(0)
}
