use super::{Content, Harnesses, OPTIONAL_ENDS, PagePart, without_optional_ends, write};
use crate::brief::{Brief, Words};
use crate::catalog::Language;
use crate::compare::{Nights, TOLERANCE};
use crate::reading::HarnessText;
use crate::record::{Epoch, Record};
use crate::table::tests::record;
use crate::table::{Choice, Published, Title, build};

/// What would be run, turn the direction of writing, or end an attribute.
const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{202e}\u{200b}\x1b[2J";

fn content(records: &[Record]) -> Content<'_> {
    let title = Title { experiment: "cnn".to_owned(), title: "CNN".to_owned() };
    let tables = build(records, &[title], &Published::default(), &Choice::default()).unwrap();
    let tables = tables.into_iter().map(|grid| ("quick".to_owned(), grid)).collect();
    let part = PagePart { experiment: "cnn".to_owned(), title: "CNN".to_owned(), tables };
    Content { experiments: vec![part], records, ..Content::default() }
}

fn with_losses(mut record: Record, losses: &[f64]) -> Record {
    let epoch =
        |(epoch, loss): (u32, &f64)| Epoch { epoch, loss: Some(*loss), seconds: 1.0, samples: 1 };
    record.epochs = (0..).zip(losses).map(epoch).collect();
    record
}

#[test]
fn texts_that_mean_no_good_are_text() {
    let mut bad = with_losses(record("cnn", "torch", 2.0), &[2.0, 1.0]);
    bad.title = HOSTILE.to_owned();
    bad.target = HOSTILE.to_owned();
    bad.framework = HOSTILE.to_owned();
    bad.framework_version = Some(HOSTILE.to_owned());
    bad.machine.host = HOSTILE.to_owned();
    bad.marks = vec![HOSTILE.to_owned()];
    let records = [bad, record("cnn", "jax", 3.0)];
    let mut content = content(&records);
    content.made = HOSTILE.to_owned();
    content.troubles = vec![HOSTILE.to_owned()];
    let text = format!("# %% Setup\nx = 1  # {HOSTILE}\ny = '{HOSTILE}'\n");
    let source = HarnessText {
        title: HOSTILE.to_owned(),
        file: HOSTILE.to_owned(),
        language: Language::Python,
        text,
    };
    let sources = vec![(HOSTILE.to_owned(), source)];
    content.harnesses =
        vec![Harnesses { experiment: "cnn".to_owned(), title: HOSTILE.to_owned(), sources }];
    let page = write(&content);
    assert_eq!(page.matches("<script>").count(), 1, "only the page's own");
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 10);
    let is_hidden = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{200b}".contains(c));
    assert!(!page.contains(is_hidden), "{:?}", page.find(is_hidden));
    assert!(page.contains("\\u{202e}\\u{200b}\\u{1b}[2J"));
}

#[test]
fn only_end_tags_that_html_can_do_without_are_left_out() {
    let page = "</td>a<table><tr><td>b</td><td><b>c</b></td></tr></table></tdx>";
    assert_eq!(without_optional_ends(page), "a<table><tr><td>b<td><b>c</b></table></tdx>");
    assert_eq!(without_optional_ends("td>a"), "td>a");
    let page = write(&content(&[record("cnn", "torch", 2.0), record("cnn", "jax", 3.0)]));
    assert!(page.contains("<tr data-tags=") && page.contains("</table>"), "{page}");
    assert!(!OPTIONAL_ENDS.iter().any(|end| page.contains(end)), "{page}");
}

#[test]
fn a_row_says_what_measures_it_again() {
    let mut named = record("cnn", "my torch", 2.0);
    named.repeat = 1;
    let records = [named.clone(), Record { repeat: 2, ..named }, record("cnn", "jax", 3.0)];
    let page = write(&content(&records));
    let command = "rosetta run cnn -f 'my torch' --profile quick --device cpu --threads 2 --data synthetic --repeats 2";
    assert!(page.contains(command), "{page}");
    assert!(page.contains("data-tags=\"era:current device:cpu lane:idiomatic\""), "{page}");
}

/// Returns the nights of records, each of a run of its own.
fn nights(records: &[Record]) -> Nights {
    let mut names = Words::default();
    let briefs = records.iter().enumerate().map(|(run, one)| (run, Brief::of(one, &mut names)));
    let briefs = briefs.collect::<Vec<_>>();
    let runs = records.iter().map(|one| (one.run.clone(), one.started.clone())).collect::<Vec<_>>();
    let mut nights = Nights::of(&briefs, names.list(), &runs, TOLERANCE);
    nights.explain(records);
    nights
}

fn night(day: u32, seconds: f64) -> Record {
    let mut one = with_losses(record("cnn", "torch", seconds), &[2.0, 1.0]);
    one.run = format!("202611{day:02}T100000Z-aaaa");
    one.started = format!("2026-11-{day:02}T10:00:00Z");
    one
}

#[test]
fn epochs_and_nights_are_lines() {
    let records = [night(1, 10.0), night(2, 11.0), night(4, 20.0), record("cnn", "jax", 3.0)];
    let with_nights =
        |records: &[Record]| write(&Content { nights: nights(records), ..content(records) });
    let page = with_nights(&records);
    assert!(page.contains("step, torch: from 2 to 1 in 2 points"), "{page}");
    assert!(page.contains("training, torch: from 2 to 1 in 2 points"), "{page}");
    assert!(page.contains(">1 s</text>") && page.contains(">2 s</text>"), "{page}");
    assert!(page.contains("night by night, torch: from 10 to 20 in 3 points"), "{page}");
    assert!(page.contains(">2026-11-01</text>") && page.contains(">2026-11-04</text>"), "{page}");
    assert!(page.contains("<title>jax: 3, 77.5</title>"), "time and accuracy");
    assert!(!page.contains("Changes of level"));
    let page = with_nights(&records[1..]);
    assert!(!page.contains("night by night"), "two nights are no history");
}

#[test]
fn a_change_of_level_is_drawn_and_told() {
    let mut records = (1..=8).map(|day| night(day, 10.0)).collect::<Vec<_>>();
    records.extend(
        (9..=14)
            .map(|day| Record { framework_version: Some("2.0".to_owned()), ..night(day, 12.0) }),
    );
    let page = write(&Content { nights: nights(&records), ..content(&records) });
    assert!(page.contains("in 14 points; since 2026-11-09 1.20 times as long</title>"), "{page}");
    assert!(page.contains("class=\"level\" d=\"M4 "), "{page}");
    for words in
        ["Changes of level: CNN", "torch 1.0 → 2.0", "20261109T100000Z-aaaa", "data-value=\"1.2\""]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn a_page_without_results_has_what_there_is() {
    let page = write(&Content::default());
    assert!(page.starts_with("<!DOCTYPE html>") && !page.contains("id=\"filters\""), "{page}");
}
