//! How the training of each row went: its loss over epochs and over seconds, and what accuracy it reached in which time.
//!
//! Records have the loss of each epoch's last step and its seconds, and one accuracy, that of the end: so no curve of the
//! accuracy is drawn.

use maud::{Markup, html};

use super::rows::{RowRecords, name};
use super::tags;
use crate::chart::{Chart, Curve, Lines, Point, Points};
use crate::record::Record;
use crate::report::{Grid, Value, three_digits};

/// Returns the charts of a table's rows.
pub(super) fn part(id: &str, profile: &str, grid: &Grid, records: &RowRecords) -> Markup {
    let epochs = loss_lines(profile, grid, records, Across::Epochs);
    let seconds = loss_lines(profile, grid, records, Across::Seconds);
    let grey = "each before all others in grey";
    html! {
        (tiles(&format!("{id}-epochs"), grey, &epochs))
        (tiles(&format!("{id}-seconds"), "the same on a scale of ratios", &seconds))
        @if let Some(points) = accuracy_by_time(grid) {
            div.charts {
                figure { figcaption { (points.title) } (points.svg()) }
            }
        }
    }
}

/// Returns lines as a figure, if there are any.
pub(super) fn tiles(id: &str, how: &str, lines: &Lines) -> Markup {
    html! {
        @if !lines.lines.is_empty() {
            figure.wide {
                figcaption { (lines.title) " – " (how) }
                (lines.tiles(id))
            }
        }
    }
}

/// What a loss is drawn over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Across {
    Epochs,
    Seconds,
}

/// Returns the losses of a table's rows, if any has two.
pub fn losses(records: &[Record], profile: &str, grid: &Grid, across: Across) -> Option<Lines> {
    let lines = loss_lines(profile, grid, &RowRecords::of(records), across);
    (!lines.lines.is_empty()).then_some(lines)
}

/// Returns the loss of each row's epochs; of several repeats the first counts.
fn loss_lines(profile: &str, grid: &Grid, records: &RowRecords, across: Across) -> Lines {
    let mut lines = Vec::new();
    for row in 0..grid.rows.len() {
        let records = records.of_row(profile, grid, row);
        let Some(record) = records.first() else { continue };
        let points = points(record, across);
        if points.len() > 1 {
            lines.push(Curve {
                label: name(grid, row),
                points,
                tags: tags(grid, row),
                ..Curve::default()
            });
        }
    }
    let places = lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
    let (first, last) =
        places.fold((f64::INFINITY, 0.0), |(low, high), one| (one.min(low), one.max(high)));
    let (title, ends) = match across {
        Across::Epochs => {
            ("Loss of each epoch's last step", (format!("epoch {first}"), format!("{last}")))
        }
        Across::Seconds => (
            "Loss over seconds of the training",
            (format!("{} s", three_digits(first)), format!("{} s", three_digits(last))),
        ),
    };
    Lines {
        title: title.to_owned(),
        ends,
        lines,
        is_scaled_apart: false,
        is_of_ratios: across == Across::Seconds,
    }
}

/// Returns the losses of a record at the ends of its epochs.
fn points(record: &Record, across: Across) -> Vec<(f64, f64)> {
    let (mut points, mut passed) = (Vec::new(), 0.0);
    for epoch in &record.epochs {
        passed += epoch.seconds;
        let place = match across {
            Across::Epochs => f64::from(epoch.epoch) + 1.0,
            Across::Seconds => passed,
        };
        let is_place = place.is_finite() && place > 0.0;
        points.extend(
            epoch.loss.filter(|loss| loss.is_finite() && is_place).map(|loss| (place, loss)),
        );
    }
    points
}

/// Returns what accuracy each row has reached in which time, if two rows have both.
pub fn accuracy_by_time(grid: &Grid) -> Option<Points> {
    let (time, accuracy) = (grid.column("training_time_s")?, grid.column("test_accuracy_percent")?);
    let number = |value: &Value| match value {
        Value::Number(number) | Value::Interval(number, ..) => {
            Some(*number).filter(|n| n.is_finite())
        }
        Value::Text(_) | Value::Missing => None,
    };
    let mut points = Vec::new();
    for (row, cells) in grid.rows.iter().enumerate() {
        let (Some(across), Some(up)) = (number(&cells[time].value), number(&cells[accuracy].value))
        else {
            continue;
        };
        if across > 0.0 {
            points.push(Point { label: name(grid, row), across, up, tags: tags(grid, row) });
        }
    }
    let title = "Test accuracy against the time of the training".to_owned();
    let axes =
        ("Training time (s), on a scale of ratios".to_owned(), "Test accuracy (%)".to_owned());
    (points.len() > 1).then_some(Points { title, axes, points })
}
