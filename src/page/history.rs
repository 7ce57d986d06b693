//! Records over epochs, and over the nights that they were measured in, as lines.

use std::collections::HashMap;

use maud::{Markup, html};

use super::tags;
use crate::chart::{Curve, Lines};
use crate::record::{Epoch, Record};
use crate::report::Grid;
use crate::spec::Task;
use crate::stats::median;

/// The fewest nights that are a history.
const NIGHTS: usize = 3;

/// Records by experiment, target and profile, oldest first.
pub(super) struct History<'a> {
    records: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Record>>,
}

impl<'a> History<'a> {
    pub(super) fn of(all: &'a [Record]) -> History<'a> {
        let mut records = HashMap::<_, Vec<_>>::new();
        for record in all {
            let key = (record.experiment.as_str(), record.target.as_str(), record.profile.as_str());
            records.entry(key).or_default().push(record);
        }
        History { records }
    }

    /// Returns the records of a row: of its target, profile and devices.
    fn of_row(&self, profile: &str, grid: &Grid, row: usize) -> impl Iterator<Item = &'a Record> {
        let key = (grid.experiment.as_str(), grid.beside("target", row), profile);
        let found = self.records.get(&key).cloned().unwrap_or_default();
        let devices = grid.beside("devices", row).to_owned();
        let provider = grid.beside("provider", row).to_owned();
        let fits = move |record: &&Record| {
            let is_of_provider = record
                .env
                .as_ref()
                .is_none_or(|env| provider.split(", ").any(|one| one == env.provider));
            record.is_whole()
                && is_of_provider
                && devices.split(", ").any(|one| one == record.device.to_string())
        };
        found.into_iter().filter(fits)
    }

    /// Returns the loss of each row's epochs, drawn.
    pub(super) fn losses(&self, id: &str, profile: &str, grid: &Grid) -> Markup {
        drawn(id, "each before all others in grey", self.loss_lines(profile, grid))
    }

    /// Returns the loss of each row's epochs; of several repeats the first counts.
    fn loss_lines(&self, profile: &str, grid: &Grid) -> Lines {
        let mut lines = Vec::new();
        for row in 0..grid.rows.len() {
            let runs = grid.beside("run", row);
            let mut records = self.of_row(profile, grid, row);
            let is_shown = |record: &&Record| runs.split(", ").any(|run| run == record.run);
            let Some(record) = records.find(is_shown) else { continue };
            let point = |epoch: &Epoch| Some((f64::from(epoch.epoch) + 1.0, epoch.loss?));
            let points =
                record.epochs.iter().filter_map(point).filter(|(_, loss)| loss.is_finite());
            let points = points.collect::<Vec<_>>();
            if points.len() > 1 {
                lines.push(Curve { label: label(grid, row), points, tags: tags(grid, row) });
            }
        }
        let epochs = lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
        let (first, last) =
            epochs.fold((f64::INFINITY, 0.0), |(low, high), one| (one.min(low), one.max(high)));
        let title = "Loss of each epoch's last step".to_owned();
        let ends = (format!("epoch {first}"), format!("{last}"));
        Lines { title, ends, lines, is_scaled_apart: false }
    }

    /// Returns the number of each row night by night, where there are at least three nights.
    pub(super) fn nights(&self, id: &str, profile: &str, grid: &Grid) -> Markup {
        let mut lines = Vec::new();
        let mut dates = (String::new(), String::new());
        for row in 0..grid.rows.len() {
            let nights = nights(self.of_row(profile, grid, row));
            if nights.len() < NIGHTS {
                continue;
            }
            let (first, last) = (nights[0].0.to_owned(), nights[nights.len() - 1].0.to_owned());
            let is_earlier = dates.0.is_empty() || first < dates.0;
            dates = (if is_earlier { first } else { dates.0 }, dates.1.max(last));
            let points = nights.iter().filter_map(|(date, number)| Some((day(date)?, *number)));
            lines.push(Curve {
                label: label(grid, row),
                points: points.collect(),
                tags: tags(grid, row),
            });
        }
        let is_training = self
            .records
            .values()
            .flatten()
            .any(|r| r.experiment == grid.experiment && r.task == Task::Classification);
        let title = if is_training {
            "Training time (s), night by night"
        } else {
            "Images/s, night by night"
        };
        let lines = Lines { title: title.to_owned(), ends: dates, lines, is_scaled_apart: true };
        drawn(id, "medians of undisturbed runs, each on a scale of its own from zero", lines)
    }
}

/// Returns the losses of a table's rows over their epochs, if any has two.
pub fn losses(records: &[Record], profile: &str, grid: &Grid) -> Option<Lines> {
    let lines = History::of(records).loss_lines(profile, grid);
    (!lines.lines.is_empty()).then_some(lines)
}

fn label(grid: &Grid, row: usize) -> String {
    grid.headings.first().map(|heading| grid.rows[row][0].shown(heading.kind)).unwrap_or_default()
}

fn drawn(id: &str, how: &str, lines: Lines) -> Markup {
    html! {
        @if !lines.lines.is_empty() {
            figure.wide {
                figcaption { (lines.title) " – " (how) }
                (lines.tiles(id))
            }
        }
    }
}

/// Returns the median of each day's undisturbed records.
fn nights<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<(&'a str, f64)> {
    let mut nights = Vec::<(&str, Vec<f64>)>::new();
    for record in records.filter(|record| !record.is_tainted()) {
        let number = match record.task {
            Task::Classification => record.times.training,
            Task::Features => record.times.predict_rate,
        };
        let Some(number) = number.filter(|number| number.is_finite() && *number >= 0.0) else {
            continue;
        };
        let date = record.started.get(..10).unwrap_or(&record.started);
        match nights.last_mut().filter(|(last, _)| *last == date) {
            Some((_, numbers)) => numbers.push(number),
            None => nights.push((date, vec![number])),
        }
    }
    nights.sort_by_key(|(date, _)| *date);
    let night = |(date, mut numbers): (&'a str, Vec<f64>)| Some((date, median(&mut numbers)?));
    nights.into_iter().filter_map(night).collect()
}

/// Returns the number of a day.
fn day(date: &str) -> Option<f64> {
    let date = date.parse::<jiff::civil::Date>().ok()?;
    let since = date.since(jiff::civil::date(2017, 1, 1)).ok()?;
    Some(f64::from(since.get_days()))
}
