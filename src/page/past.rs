//! Old versions beside new ones on one machine, and the order of 2017 beside today's.

use maud::{Markup, html};

use super::document::scrolled;
use super::{Content, PagePart, tags};
use crate::chart::{Chart, Slope, Slopes};
use crate::report::html::{TableContext, below, table};
use crate::report::{Grid, Value, three_digits};
use crate::table::{PublishedRow, PublishedTable};

/// What is compared with 2017: the column of our table, what was published, and whether more is better.
type ComparedColumn = (&'static str, fn(&PublishedRow) -> Option<f64>, bool, &'static str);
const COMPARED: [ComparedColumn; 3] = [
    ("training_time_s", |row| row.training_time_s, false, "training time"),
    ("images_per_s_gpu", |row| row.images_per_s_gpu, true, "images/s on a GPU"),
    ("images_per_s_cpu", |row| row.images_per_s_cpu, true, "images/s on the CPU"),
];

/// Then and now in our tables: what was, what is, and whether more is better.
const PAIRS: [(&str, &str, bool, &str); 3] = [
    ("training_time_s", "training_time_now_s", false, "Training time (s)"),
    ("images_per_s_gpu", "images_per_s_gpu_now", true, "Images/s on a GPU"),
    ("images_per_s_cpu", "images_per_s_cpu_now", true, "Images/s on the CPU"),
];

/// Returns the part, if there is anything old.
pub(super) fn part(content: &Content) -> Option<Markup> {
    let standings =
        content.experiments.iter().flat_map(|part| standings(part, content)).collect::<Vec<_>>();
    let is_empty = standings.is_empty() && content.then_and_now.is_empty();
    let pairs = content.then_and_now.iter().enumerate();
    (!is_empty).then(|| {
        html! {
            h2 { "Then and now" }
            @for (index, grid) in pairs { (versions(index, grid)) }
            @if !standings.is_empty() {
                h3 { "The order of 2017 and today's" }
                p {
                    "Each number as a multiple of the fastest in its column, so that two machines can be set beside each other: then as "
                    "published, today as in the tables above, the newest version of each library. "
                    (content.published.words())
                }
                div.charts {
                    @for slopes in &standings { (figure(slopes)) }
                }
            }
        }
    })
}

fn figure(slopes: &Slopes) -> Markup {
    html! { figure { figcaption { (slopes.title) } (slopes.svg()) } }
}

/// Returns old versions beside their newest, as a table and as slopes.
fn versions(index: usize, grid: &Grid) -> Markup {
    let place = TableContext {
        id: format!("then-{index}"),
        caption: "the same machine and data".to_owned(),
        tags: &|row| tags(grid, row),
        behind: &|_| html! {},
    };
    html! {
        h3 { (grid.title) }
        (scrolled(&grid.title, table(grid, &place)))
        (below(grid, &place.id))
        div.charts {
            @for slopes in &slopes(grid) { (figure(slopes)) }
        }
    }
}

/// Returns the slopes of a table of old versions beside their newest.
pub fn slopes(grid: &Grid) -> Vec<Slopes> {
    let pair = |(then, now, is_more_better, title): &(&str, &str, bool, &str)| {
        pair(grid, then, now, *is_more_better, title)
    };
    PAIRS.iter().filter_map(pair).collect()
}

fn pair(grid: &Grid, then: &str, now: &str, is_more_better: bool, title: &str) -> Option<Slopes> {
    let (old, new) = (grid.column(then)?, grid.column(now)?);
    let name = grid.column("now");
    let mut slopes = Vec::new();
    for cells in &grid.rows {
        let (Some(then), Some(now)) = (number(&cells[old].value), number(&cells[new].value)) else {
            continue;
        };
        let text = |column: usize| match &cells[column].value {
            Value::Text(text) => text.clone(),
            _ => String::new(),
        };
        let now_is = name.map(text).unwrap_or_default();
        // The year stands in the table.
        let now_is = now_is.rsplit_once(" (").map_or(now_is.as_str(), |(words, _)| words);
        let labels = (text(0), now_is.to_owned());
        slopes.push(Slope { labels, then, now });
    }
    let heads = ("version of its time".to_owned(), "newest version".to_owned());
    let title = format!("{title}, same machine and data; better is higher");
    (!slopes.is_empty()).then_some(Slopes { title, heads, is_more_better, slopes })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) | Value::Interval(number, ..) => {
            Some(*number).filter(|number| *number > 0.0)
        }
        Value::Text(_) | Value::Missing => None,
    }
}

/// Returns how libraries stand to the fastest, in 2017 and now, for each number that both have.
fn standings(part: &PagePart, content: &Content) -> Vec<Slopes> {
    let (Some(published), Some((_, grid))) =
        (content.published.tables.get(&part.experiment), part.tables.first())
    else {
        return Vec::new();
    };
    let standing = |compared: &ComparedColumn| standing(published, grid, compared);
    COMPARED.iter().filter_map(standing).collect()
}

fn standing(
    published: &PublishedTable,
    grid: &Grid,
    (key, of, is_more_better, words): &ComparedColumn,
) -> Option<Slopes> {
    let column = grid.column(key)?;
    let mut slopes = Vec::<Slope>::new();
    let mut years = Vec::<bool>::new();
    for (row, cells) in grid.rows.iter().enumerate() {
        let Value::Text(library) = &cells[0].value else { continue };
        let Some(old) = published.row(library) else { continue };
        let (Some(then), Some(now)) = (of(old), number(&cells[column].value)) else { continue };
        let is_current = grid.beside("era", row) == "current";
        let slope = Slope { labels: (old.library.clone(), library.clone()), then, now };
        match slopes.iter().position(|one| one.labels.0 == old.library) {
            // Of several versions the newest era counts.
            Some(at) if is_current && !years[at] => (slopes[at], years[at]) = (slope, true),
            Some(_) => {}
            None => {
                slopes.push(slope);
                years.push(is_current);
            }
        }
    }
    let better = if *is_more_better { f64::max } else { f64::min };
    let then = slopes.iter().map(|slope| slope.then).reduce(better)?;
    let now = slopes.iter().map(|slope| slope.now).reduce(better)?;
    for slope in &mut slopes {
        (slope.then, slope.now) = match is_more_better {
            true => (then / slope.then, now / slope.now),
            false => (slope.then / then, slope.now / now),
        };
    }
    let heads = (
        format!("2017: fastest {}", three_digits(then)),
        format!("now: fastest {}", three_digits(now)),
    );
    let title =
        format!("{}: {words}, as a multiple of the fastest; better is higher", grid.experiment);
    (slopes.len() > 1).then_some(Slopes { title, heads, is_more_better: false, slopes })
}
