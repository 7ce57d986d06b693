use super::{Beside, Cell, Format, Grid, Heading, Kind, Line, Value, terminal};

/// Returns a table whose texts mean no good.
fn hostile() -> Grid {
    let version = Heading { text: "Version", key: "version", kind: Kind::Text };
    let bad = "\x1b[2J=1+1\n<script>\u{9b}31m\u{202e}|*x*";
    let mut grid = Grid {
        experiment: "cnn".to_owned(),
        title: "A \x1b]0;title\x07 <b>".to_owned(),
        headings: vec![version],
        rows: vec![vec![Cell::text(bad)], vec![Cell::text("=cmd()")]],
        beside: vec![Beside { key: "marks", texts: vec!["@x".to_owned(), String::new()] }],
        ..Grid::default()
    };
    let footnote = grid.footnote(Line::from("it said `a\x1b*` <i>\n& more"));
    grid.rows[0][0].footnote = Some(footnote);
    grid
}

#[test]
fn texts_that_mean_no_good_are_escaped_in_every_format() {
    let grids = [hostile()];
    for format in [Format::Markdown, Format::Csv, Format::Json, Format::Latex] {
        let text = format.write(&grids);
        let is_raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.chars().any(is_raw), "{format:?}: {text:?}");
    }
    let shown = terminal(&grids);
    assert!(!shown.contains("\x1b[2J") && !shown.contains('\u{9b}'), "{shown:?}");
    assert!(!shown.contains("\x1b]") && !shown.contains('\u{202e}'), "{shown:?}");
    let markdown = Format::Markdown.write(&grids);
    assert!(markdown.contains("&lt;script>") && markdown.contains("\\|\\*x\\*"), "{markdown}");
    assert!(markdown.contains("(1) it said `a\\u{1b}*` &lt;i> & more"), "{markdown}");
    let csv = Format::Csv.write(&grids);
    assert!(csv.contains("\ncnn,'=cmd(),\n") && csv.contains(",'@x\n"), "{csv}");
    let json = serde_json::from_str::<serde_json::Value>(&Format::Json.write(&grids)).unwrap();
    let value = &json[0]["rows"][0]["version"];
    assert_eq!(*value, "\x1b[2J=1+1\n<script>\u{9b}31m\u{202e}|*x*", "programs get it whole");
    let latex = Format::Latex.write(&grids);
    assert!(latex.contains("=cmd() \\\\"), "{latex}");
}

#[test]
fn a_missing_value_is_a_dash_for_people_and_empty_for_programs() {
    let cell = Cell { value: Value::Missing, footnote: Some(2) };
    assert_eq!(cell.shown(Kind::Measured), "– (2)");
}
