//! Where the numbers of a row come from. Must not depend on how a table is drawn.

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
}

impl Provenance {
    /// Returns what a row's records say: those that are counted, else those that failed.
    pub(super) fn of(group: &Group) -> Provenance {
        let counted = group.counted(None);
        let records = if counted.is_empty() { &group.records } else { &counted };
        let mut found = Provenance { repeats: Some(repeats(&counted)), ..Provenance::default() };
        for record in records {
            record.marks.iter().for_each(|mark| add(&mut found.marks, mark));
            add(&mut found.runs, &record.run);
            add(&mut found.dates, record.started.get(..10).unwrap_or(&record.started));
            add(&mut found.hosts, &record.machine.host);
        }
        found
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
    ]
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
