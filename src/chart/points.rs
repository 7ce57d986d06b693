//! Points: one quantity against another, each with its name beside the picture.

use maud::{Markup, html};

use super::axis::Axis;
use super::{APART, Chart, GAP, at, clipped, picture, spread};
use crate::report::three_digits;

/// Two numbers of each of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// What they show.
    pub title: String,
    /// What is to the right, on a scale of ratios, and what is up.
    pub axes: (String, String),
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub label: String,
    /// Positive.
    pub across: f64,
    pub up: f64,
    /// What a page filters by.
    pub tags: String,
}

const WIDTH: f64 = 540.0;
/// Where points lie; names stand to the right.
const SIDES: (f64, f64) = (12.0, 300.0);
const NAMES: f64 = 322.0;
const TOP: f64 = 34.0;
const LABEL: usize = 24;

impl Chart for Points {
    fn svg(&self) -> Markup {
        let length = (self.points.len() as f64 * APART).max(180.0);
        let across = Axis::of_ratios(self.points.iter().map(|one| one.across), SIDES.1 - SIDES.0);
        let up = Axis::around(self.points.iter().map(|one| one.up), length);
        let place =
            |one: &Point| (SIDES.0 + across.place(one.across), TOP + length - up.place(one.up));
        let names = spread(&self.points.iter().map(|one| place(one).1).collect::<Vec<_>>());
        let lowest = names.iter().copied().fold(TOP + length, f64::max);
        let below = TOP + length + 10.0;
        let inside = html! {
            text.head x=(at(SIDES.0)) y="14" { (self.axes.1) }
            path.rule d={ "M" (at(SIDES.0)) " " (at(below)) "H" (at(SIDES.1)) } {}
            text.tick x=(at(SIDES.0)) y=(at(below + 12.0)) { (three_digits(across.low())) }
            text.tick x=(at(SIDES.1)) y=(at(below + 12.0)) text-anchor="end" { (three_digits(across.high())) }
            text.head x=(at((SIDES.0 + SIDES.1) / 2.0)) y=(at(below + 30.0)) text-anchor="middle" { (self.axes.0) }
            @for (point, name) in self.points.iter().zip(&names) {
                @let (x, y) = place(point);
                g.row data-tags=(point.tags) {
                    title { (point.label) ": " (three_digits(point.across)) ", " (three_digits(point.up)) }
                    path.lead d={ "M" (at(x + 5.0)) " " (at(y)) "L" (at(NAMES - 4.0)) " " (at(*name)) } {}
                    circle.end cx=(at(x)) cy=(at(y)) r="3.5" {}
                    text.label x=(at(NAMES)) y=(at(name + 4.0)) { (three_digits(point.up)) (GAP) (clipped(&point.label, LABEL)) }
                }
            }
        };
        picture(&self.title, (WIDTH, (below + 36.0).max(lowest + 10.0)), inside)
    }
}
