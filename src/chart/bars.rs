//! Horizontal bars with intervals, one below the other.

use maud::{Markup, html};

use super::axis::Axis;
use super::{Chart, at, clipped, picture};
use crate::report::three_digits;

/// Bars of one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// What they show, with its unit.
    pub title: String,
    pub bars: Vec<Bar>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    pub label: String,
    pub value: f64,
    pub interval: Option<(f64, f64)>,
    /// What a page filters by.
    pub tags: String,
}

const WIDTH: f64 = 520.0;
/// Where bars begin: labels stand before.
const LEFT: f64 = 186.0;
/// What is kept behind the longest bar, for its number.
const RIGHT: f64 = 62.0;
const ROW: f64 = 22.0;
/// Characters of a label that fit before the bars.
const LABEL: usize = 27;

impl Chart for Bars {
    fn svg(&self) -> Markup {
        let ends = |bar: &Bar| bar.interval.map_or(bar.value, |(_, high)| high.max(bar.value));
        let axis = Axis::from_zero(self.bars.iter().map(ends), WIDTH - LEFT - RIGHT);
        let height = ROW * self.bars.len() as f64;
        let rows = html! {
            @for (index, bar) in self.bars.iter().enumerate() {
                g.row data-tags=(bar.tags) transform={ "translate(0 " (at(ROW * index as f64)) ")" } {
                    (row(bar, &axis))
                }
            }
        };
        picture(&self.title, (WIDTH, height), rows)
    }
}

fn row(bar: &Bar, axis: &Axis) -> Markup {
    let length = axis.place(bar.value).max(1.0);
    let shown = three_digits(bar.value);
    let words = match bar.interval {
        Some((low, high)) => {
            format!(
                "{}: {shown}, 95 % interval {} to {}",
                bar.label,
                three_digits(low),
                three_digits(high)
            )
        }
        None => format!("{}: {shown}", bar.label),
    };
    let end = bar.interval.map_or(length, |(_, high)| axis.place(high).max(length));
    html! {
        title { (words) }
        text.label x=(at(LEFT - 8.0)) y="15" text-anchor="end" { (clipped(&bar.label, LABEL)) }
        rect.bar x=(at(LEFT)) y="4" width=(at(length)) height="14" {}
        @if let Some((low, high)) = bar.interval {
            @let (low, high) = (LEFT + axis.place(low), LEFT + axis.place(high));
            path.interval d={ "M" (at(low)) " 7v8M" (at(low)) " 11H" (at(high)) "M" (at(high)) " 7v8" } {}
        }
        text.value x=(at(LEFT + end + 6.0)) y="15" { (shown) }
    }
}
