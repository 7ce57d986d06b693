//! Charts as SVG: bars with intervals, small lines, slopes. Must not depend on what their numbers are of.
//!
//! Each is plain data with a method that draws it. Colours are CSS variables with a fallback, so that a page sets them
//! for light and dark and a file of its own is still readable.

mod axis;
mod bars;
mod lines;
mod slopes;

use maud::{Markup, PreEscaped, html};

pub use self::bars::{Bar, Bars};
pub use self::lines::{Curve, Lines};
pub use self::slopes::{Slope, Slopes};

/// What the classes of all charts look like; a page has it once, a file of its own within itself.
pub const STYLE: &str = include_str!("chart.css");

/// A chart that is drawn as one picture.
pub trait Chart {
    /// Returns the picture for a page, where `id` is not used twice.
    fn svg(&self, id: &str) -> Markup;
}

/// Returns a chart as a file of its own.
pub fn file(chart: &dyn Chart) -> String {
    let drawn = chart.svg("chart").into_string();
    // The style stands within the picture, behind its first tag.
    let inside = drawn.find('>').map_or(0, |end| end + 1);
    let (head, rest) = drawn.split_at(inside);
    let style = html! { style { (PreEscaped(STYLE)) } }.into_string();
    format!("{head}{style}{rest}\n")
}

/// Returns the picture of a size around what it shows: its title is read aloud.
fn picture(id: &str, title: &str, (width, height): (f64, f64), inside: Markup) -> Markup {
    let view = format!("0 0 {width:.0} {height:.0}");
    html! {
        svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox=(view) role="img" aria-labelledby={ (id) "-title" } {
            title id={ (id) "-title" } { (title) }
            (inside)
        }
    }
}

/// Returns a coordinate with as many digits as can be seen.
fn at(coordinate: f64) -> String {
    let text = format!("{coordinate:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
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
