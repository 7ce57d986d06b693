//! Charts as SVG: bars with intervals, small lines, points, slopes. Must not depend on what their numbers are of.
//!
//! Each is plain data with a method that draws it. Colours are CSS variables with a fallback, so that a page sets them
//! for light and dark; a file of its own has the fallbacks alone.

mod axis;
mod bars;
mod lines;
mod points;
mod slopes;

use maud::{Markup, PreEscaped, html};

pub use self::bars::{Bar, Bars};
pub use self::lines::{Curve, Level, Lines};
pub use self::points::{Point, Points};
pub use self::slopes::{Slope, Slopes};

/// What the classes of all charts look like; a page has it once, a file of its own within itself.
pub const STYLE: &str = include_str!("chart.css");

/// A chart that is drawn as one picture.
pub trait Chart {
    /// Returns the picture.
    fn svg(&self) -> Markup;
}

const USE_HREF: &str = "<use xmlns:xlink=\"http://www.w3.org/1999/xlink\" xlink:href=";

/// Returns a chart as a file of its own.
pub fn file(chart: &dyn Chart) -> String {
    // HTML knows what `svg` is; in a file of its own the first tag says it, and behind that tag stands the style. Inkscape
    // 1.2 draws nothing for a `use` whose `href` has no namespace, as SVG 2 and HTML want it.
    let drawn = chart.svg().into_string();
    let drawn = drawn.replacen("<svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"", 1);
    let drawn = drawn.replace("<use href=", USE_HREF);
    let inside = drawn.find('>').map_or(0, |end| end + 1);
    let (head, rest) = drawn.split_at(inside);
    let style = html! { style { (PreEscaped(with_fallbacks(STYLE))) } }.into_string();
    format!("{head}{style}{rest}\n")
}

/// Returns a style with the fallback in place of each variable, which no page sets here: librsvg and Inkscape know none.
fn with_fallbacks(style: &str) -> String {
    let mut parts = style.split("var(");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once(')').unwrap_or((part, ""));
        plain += variable.split_once(',').map_or("", |(_, fallback)| fallback);
        plain += rest;
    }
    plain
}

/// Returns the picture of a size around what it shows: its title is read aloud.
fn picture(title: &str, (width, height): (f64, f64), inside: Markup) -> Markup {
    let view = format!("0 0 {width:.0} {height:.0}");
    html! {
        svg.chart viewBox=(view) role="img" {
            title { (title) }
            (inside)
        }
    }
}

/// Returns a coordinate with as many digits as can be seen.
fn at(coordinate: f64) -> String {
    let text = format!("{coordinate:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// What stands between a number and a name: an em space, for two spaces are drawn as one.
const GAP: char = '\u{2003}';

/// The least distance between two labels that stand one below the other.
const APART: f64 = 17.0;

/// Returns the places of labels: as near to their points as they may be without one covering another.
fn spread(points: &[f64]) -> Vec<f64> {
    let mut order = (0..points.len()).collect::<Vec<_>>();
    order.sort_by(|a, b| points[*a].total_cmp(&points[*b]));
    let mut places = points.to_vec();
    let mut above = f64::NEG_INFINITY;
    for index in order {
        places[index] = points[index].max(above + APART);
        above = places[index];
    }
    places
}

/// Returns a label of at most so many characters.
fn clipped(label: &str, most: usize) -> String {
    match label.chars().count() > most {
        true => label.chars().take(most - 1).chain(['…']).collect(),
        false => label.to_owned(),
    }
}

#[cfg(test)]
mod tests;
