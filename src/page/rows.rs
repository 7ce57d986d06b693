//! The records that the rows of tables were made of.

use std::collections::HashMap;

use crate::record::Record;
use crate::report::Grid;

/// Records by experiment, target and profile, oldest first.
pub(super) struct RowRecords<'a> {
    records: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Record>>,
}

impl<'a> RowRecords<'a> {
    pub(super) fn of(all: &'a [Record]) -> RowRecords<'a> {
        let mut records = HashMap::<_, Vec<_>>::new();
        for record in all.iter().filter(|record| record.is_whole()) {
            let key = (record.experiment.as_str(), record.target.as_str(), record.profile.as_str());
            records.entry(key).or_default().push(record);
        }
        RowRecords { records }
    }

    /// Returns the records that a row shows: of its target, profile, runs, devices and providers.
    pub(super) fn of_row(&self, profile: &str, grid: &Grid, row: usize) -> Vec<&'a Record> {
        let key = (grid.experiment.as_str(), grid.beside("target", row), profile);
        let Some(found) = self.records.get(&key) else { return Vec::new() };
        let is_named =
            |key: &str, word: &str| grid.beside(key, row).split(", ").any(|one| one == word);
        let shown = found.iter().filter(|record| {
            let provider = record.env.as_ref().map(|env| env.provider.as_str());
            is_named("run", &record.run)
                && is_named("devices", &record.device.to_string())
                && provider.is_none_or(|provider| is_named("provider", provider))
        });
        shown.copied().collect()
    }
}

/// Returns the name of a row.
pub(super) fn name(grid: &Grid, row: usize) -> String {
    grid.headings.first().map(|heading| grid.rows[row][0].shown(heading.kind)).unwrap_or_default()
}
