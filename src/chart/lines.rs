//! Small lines: each in a picture of its own, before all others in grey.

use maud::{Markup, html};

use super::axis::Axis;
use super::{Chart, at, clipped, picture};
use crate::report::three_digits;

/// Lines of one quantity over another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lines {
    /// What they show.
    pub title: String,
    /// What stands at both ends of the horizontal axis.
    pub ends: (String, String),
    pub lines: Vec<Curve>,
    /// Whether each line has a vertical scale of its own; else all share one.
    pub is_scaled_apart: bool,
    /// Whether equal ratios are equal lengths on the horizontal axis.
    pub is_of_ratios: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    pub label: String,
    pub points: Vec<(f64, f64)>,
    /// The levels that the points keep to, if those change.
    pub levels: Vec<Level>,
    /// What is read aloud behind where the line begins and ends.
    pub told: String,
    /// What a page filters by.
    pub tags: String,
}

/// A number that a line keeps to over a part of the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    pub from: f64,
    pub to: f64,
    pub value: f64,
}

const TILE: (f64, f64) = (168.0, 104.0);
/// What is kept around the lines: left, top, right, bottom.
const AROUND: (f64, f64, f64, f64) = (4.0, 22.0, 4.0, 16.0);
/// Tiles beside each other in a file of its own.
const BESIDE: usize = 4;
const LABEL: usize = 22;
/// What a number needs behind the end of its line; where there is less, it stands above.
const NUMBER: f64 = 46.0;

impl Lines {
    /// Returns a picture for each line, for a page that sets them beside each other as they fit.
    pub fn tiles(&self, id: &str) -> Markup {
        let others = format!("{id}-others");
        html! {
            @if !self.is_scaled_apart {
                svg.chart.defs aria-hidden="true" { defs { g id=(others) { (self.others()) } } }
            }
            div.tiles {
                @for line in &self.lines {
                    div.tile data-tags=(line.tags) {
                        @let inside = self.tile(line, (!self.is_scaled_apart).then_some(others.as_str()));
                        (picture(&words(&self.title, line), TILE, inside))
                    }
                }
            }
        }
    }

    fn axes<'a>(&'a self, line: Option<&'a Curve>) -> (Axis, Axis) {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let (width, height) = (TILE.0 - AROUND.0 - AROUND.2, TILE.1 - AROUND.1 - AROUND.3);
        let across = all().map(|point| point.0);
        let across = match self.is_of_ratios {
            true => Axis::of_ratios(across, width),
            false => Axis::around(across, width),
        };
        let up = match line {
            Some(line) => Axis::from_zero(line.points.iter().map(|point| point.1), height),
            None => Axis::from_zero(all().map(|point| point.1), height),
        };
        (across, up)
    }

    fn others(&self) -> Markup {
        let axes = self.axes(None);
        html! { @for line in &self.lines { path.other d=(path(&line.points, axes)) {} } }
    }

    fn tile(&self, line: &Curve, others: Option<&str>) -> Markup {
        let axes = self.axes(self.is_scaled_apart.then_some(line));
        let last = line.points.last();
        let shown = last.map(|point| three_digits(point.1)).unwrap_or_default();
        html! {
            text.name x=(at(AROUND.0)) y="13" { (clipped(&line.label, LABEL)) }
            path.rule d={ "M" (at(AROUND.0)) " " (at(TILE.1 - AROUND.3)) "H" (at(TILE.0 - AROUND.2)) } {}
            @if let Some(others) = others { use href={ "#" (others) } {} }
            path.line d=(path(&line.points, axes)) {}
            @if !line.levels.is_empty() { path.level d=(levels(&line.levels, axes)) {} }
            @if let Some(point) = last {
                @let (x, y) = place(*point, axes);
                circle.end cx=(at(x)) cy=(at(y)) r="2.5" {}
                @if x < TILE.0 - NUMBER {
                    text.value x=(at(x + 6.0)) y=(at(y + 4.0)) { (shown) }
                } @else {
                    text.value x=(at(x.min(TILE.0 - AROUND.2))) y=(at(beside(line, axes, y))) text-anchor="end" { (shown) }
                }
            }
            text.tick x=(at(AROUND.0)) y=(at(TILE.1 - 4.0)) { (self.ends.0) }
            text.tick x=(at(TILE.0 - AROUND.2)) y=(at(TILE.1 - 4.0)) text-anchor="end" { (self.ends.1) }
            @if self.is_scaled_apart || others.is_some() {
                text.tick x=(at(AROUND.0)) y=(at(AROUND.1 + 9.0)) { (three_digits(axes.1.high())) }
            }
        }
    }
}

impl Chart for Lines {
    /// Returns all tiles as one picture, for a file of its own.
    fn svg(&self) -> Markup {
        let others = "others";
        let beside = BESIDE.min(self.lines.len().max(1));
        let rows = self.lines.len().div_ceil(beside);
        let size = (TILE.0 * beside as f64, TILE.1 * rows as f64);
        let inside = html! {
            @if !self.is_scaled_apart { defs { g id=(others) { (self.others()) } } }
            @for (index, line) in self.lines.iter().enumerate() {
                @let (x, y) = ((index % beside) as f64 * TILE.0, (index / beside) as f64 * TILE.1);
                g transform={ "translate(" (at(x)) " " (at(y)) ")" } {
                    title { (words(&self.title, line)) }
                    (self.tile(line, (!self.is_scaled_apart).then_some(others)))
                }
            }
        };
        picture(&self.title, size, inside)
    }
}

/// Returns what is read aloud of a line: where it begins and ends.
fn words(title: &str, line: &Curve) -> String {
    let end =
        |point: Option<&(f64, f64)>| point.map(|point| three_digits(point.1)).unwrap_or_default();
    let (first, last) = (end(line.points.first()), end(line.points.last()));
    let count = line.points.len();
    format!("{title}, {}: from {first} to {last} in {count} points{}", line.label, line.told)
}

/// Returns where the number of a line's end stands that is at `y`: below a line that falls, if there is room, else above.
fn beside(line: &Curve, axes: (Axis, Axis), y: f64) -> f64 {
    let before = line.points.iter().rev().nth(1).map_or(y, |point| place(*point, axes).1);
    match before < y && y + 15.0 < TILE.1 - AROUND.3 {
        true => y + 15.0,
        false => (y - 6.0).max(AROUND.1 + 8.0),
    }
}

fn levels(levels: &[Level], axes: (Axis, Axis)) -> String {
    let one = |level: &Level| {
        let (from, y) = place((level.from, level.value), axes);
        let (to, _) = place((level.to, level.value), axes);
        format!("M{} {}H{}", at(from), at(y), at(to))
    };
    levels.iter().map(one).collect()
}

fn place((x, y): (f64, f64), (across, up): (Axis, Axis)) -> (f64, f64) {
    (AROUND.0 + across.place(x), TILE.1 - AROUND.3 - up.place(y))
}

fn path(points: &[(f64, f64)], axes: (Axis, Axis)) -> String {
    let mut out = String::new();
    for point in points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
        let (x, y) = place(*point, axes);
        out += if out.is_empty() { "M" } else { "L" };
        out += &format!("{} {}", at(x), at(y));
    }
    // A line of one point is a dot, as its round ends.
    if !out.contains('L') && !out.is_empty() {
        out += "h0";
    }
    out
}
