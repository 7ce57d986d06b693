//! Slopes: where each was then, where it is now.

use maud::{Markup, html};

use super::axis::Axis;
use super::{APART, Chart, GAP, at, clipped, picture, spread};
use crate::report::three_digits;

/// Two numbers each of several, on one scale of ratios.
#[derive(Debug, Clone, PartialEq)]
pub struct Slopes {
    /// What they show, with its unit.
    pub title: String,
    /// What stands above the numbers of then and of now.
    pub heads: (String, String),
    /// Whether the larger number is the better one.
    pub is_more_better: bool,
    pub slopes: Vec<Slope>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Slope {
    /// What was then, and what is now.
    pub labels: (String, String),
    pub then: f64,
    pub now: f64,
}

const WIDTH: f64 = 500.0;
/// Where the lines begin and end: labels stand on either side.
const SIDES: (f64, f64) = (184.0, 296.0);
const TOP: f64 = 44.0;
const LABEL: usize = 21;

impl Chart for Slopes {
    fn svg(&self) -> Markup {
        let length = (self.slopes.len() as f64 * APART * 1.3).max(160.0);
        let numbers = self.slopes.iter().flat_map(|slope| [slope.then, slope.now]);
        let axis = Axis::of_ratios(numbers, length);
        // The better end is on top.
        let place = |number: f64| match self.is_more_better {
            true => TOP + length - axis.place(number),
            false => TOP + axis.place(number),
        };
        let then = self.slopes.iter().map(|slope| place(slope.then)).collect::<Vec<_>>();
        let now = self.slopes.iter().map(|slope| place(slope.now)).collect::<Vec<_>>();
        let (left, right) = (spread(&then), spread(&now));
        let lowest = left.iter().chain(&right).copied().fold(TOP + length, f64::max);
        let inside = html! {
            text.head x=(at(SIDES.0)) y="18" text-anchor="end" { (self.heads.0) }
            text.head x=(at(SIDES.1)) y="18" { (self.heads.1) }
            @for (index, slope) in self.slopes.iter().enumerate() {
                @let is_better = (slope.now > slope.then) == self.is_more_better;
                g.row {
                    title { (words(slope)) }
                    path class={ "slope " (if is_better { "better" } else { "worse" }) }
                        d={ "M" (at(SIDES.0)) " " (at(then[index])) "L" (at(SIDES.1)) " " (at(now[index])) } {}
                    circle.end cx=(at(SIDES.0)) cy=(at(then[index])) r="3" {}
                    circle.end cx=(at(SIDES.1)) cy=(at(now[index])) r="3" {}
                    (label(SIDES.0, -1.0, (then[index], left[index]), &slope.labels.0, slope.then))
                    (label(SIDES.1, 1.0, (now[index], right[index]), &slope.labels.1, slope.now))
                }
            }
        };
        picture(&self.title, (WIDTH, lowest + 14.0), inside)
    }
}

/// Returns a label on one side of a point, and the line to it where it was pushed away.
fn label(x: f64, side: f64, (point, place): (f64, f64), text: &str, number: f64) -> Markup {
    let anchor = if side < 0.0 { "end" } else { "start" };
    let text = clipped(text, LABEL);
    let words = if side < 0.0 {
        format!("{text}{GAP}{}", three_digits(number))
    } else {
        format!("{}{GAP}{text}", three_digits(number))
    };
    html! {
        @if (point - place).abs() > 2.0 {
            path.lead d={ "M" (at(x + side * 4.0)) " " (at(point)) "L" (at(x + side * 14.0)) " " (at(place)) } {}
        }
        text.label x=(at(x + side * 17.0)) y=(at(place + 4.0)) text-anchor=(anchor) { (words) }
    }
}

fn words(slope: &Slope) -> String {
    let (then, now) = &slope.labels;
    format!("{then}: {}; {now}: {}", three_digits(slope.then), three_digits(slope.now))
}
