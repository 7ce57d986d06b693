use super::{
    Beside, Cell, Format, Grid, Heading, Kind, NoteLine, Screen, Value, terminal, terminal_table,
};

/// Returns a table whose texts mean no good.
fn hostile() -> Grid {
    let version = Heading { text: "Version", key: "version", kind: Kind::Text, rank: 1 };
    let bad = "\x1b[2J=1+1\n<script>\u{9b}31m\u{202e}|*x*";
    let mut grid = Grid {
        experiment: "cnn".to_owned(),
        title: "A \x1b]0;title\x07 <b>".to_owned(),
        headings: vec![version],
        rows: vec![vec![Cell::text(bad)], vec![Cell::text("=cmd()")]],
        beside: vec![Beside { key: "marks", texts: vec!["@x".to_owned(), String::new()] }],
        ..Grid::default()
    };
    let footnote = grid.footnote(NoteLine::from("it said `a\x1b*` <i>\n& more"));
    grid.rows[0][0].footnote = Some(footnote);
    grid
}

#[test]
fn texts_that_mean_no_good_are_escaped_in_every_format() {
    let grids = [hostile()];
    for format in [Format::Markdown, Format::Csv, Format::Json, Format::Latex, Format::Html] {
        let text = format.write(&grids);
        let is_raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.chars().any(is_raw), "{format:?}: {text:?}");
    }
    let shown = terminal(&grids, Screen::Endless);
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
    let html = Format::Html.write(&grids);
    assert!(!html.contains("<script>") && !html.contains("<b>") && !html.contains("<i>"), "{html}");
    assert!(html.contains("=1+1\n&lt;script&gt;\\u{9b}31m\\u{202e}|*x*</span>"), "{html}");
    assert!(html.contains("href=\"#table-1-note-1\"") && html.contains("id=\"table-1-note-1\""));
    let latex = Format::Latex.write(&grids);
    assert!(latex.contains("=cmd() \\\\"), "{latex}");
}

#[test]
fn a_name_of_a_megabyte_is_clipped_for_people_and_whole_for_programs() {
    let name = "x".repeat(1 << 20);
    let grids = [Grid {
        headings: vec![Heading::words("Name")],
        rows: vec![vec![Cell::text(&name)]],
        ..Grid::default()
    }];
    for format in [Format::Markdown, Format::Latex, Format::Html] {
        let text = format.write(&grids);
        assert!(text.len() < 10_000, "{format:?} has {} bytes", text.len());
        assert!(text.contains("x… (1048576 characters)"), "{format:?}: {text}");
    }
    assert!(terminal(&grids, Screen::Wide(80)).len() < 20_000);
    assert!(
        Format::Json.write(&grids).contains(&name) && Format::Csv.write(&grids).contains(&name)
    );
}

#[test]
fn a_page_gets_the_numbers_that_programs_get() {
    let time = Heading { text: "Time (s)", key: "time_s", kind: Kind::Measured, rank: 1 };
    let mut grid = Grid {
        headings: vec![Heading::words("Name"), time],
        rows: vec![vec![
            Cell::text("one"),
            Cell::of(Value::Interval(57.599999999999994, 50.0, 60.0)),
        ]],
        ..Grid::default()
    };
    grid.rows[0][1].footnote = Some(grid.footnote("why"));
    let html = Format::Html.write(&[grid]);
    assert!(html.contains("data-value=\"57.6\" data-low=\"50\" data-high=\"60\""), "{html}");
    assert!(html.contains("<span class=\"cell\">57.6 [50, 60]</span> <a"), "{html}");
}

#[test]
fn a_missing_value_is_a_dash_for_people_and_empty_for_programs() {
    let cell = Cell { footnote: Some(2), ..Cell::of(Value::Missing) };
    assert_eq!(cell.shown(Kind::Measured), "– (2)");
}

#[test]
fn an_interval_that_looks_like_its_median_is_not_repeated() {
    let shown = |low, high| Cell::of(Value::Interval(10.91, low, high)).shown(Kind::Measured);
    assert_eq!(shown(10.9, 10.92), "10.9");
    assert_eq!(shown(10.8, 10.92), "10.9 [10.8, 10.9]");
}

/// Returns a table of long names, as of environments.
fn names() -> Grid {
    let mut headings =
        ["Environment", "State", "Provider", "Size", "How to get it"].map(Heading::words);
    headings[3] = Heading::numbers("Size");
    let row = |name: &str, size: &str| {
        [name, "can be built", "venv", size, "run `rosetta env build` here"]
            .map(str::to_owned)
            .to_vec()
    };
    Grid::of_texts(
        headings,
        vec![row("candle-cuda", "1.2 GiB"), row("keras2-theano-legacy", "7 MiB")],
    )
}

#[test]
fn columns_leave_before_a_word_is_broken_and_are_named() {
    let all = terminal_table(&names(), Screen::Wide(120));
    assert!(!all.contains("left out") && !all.contains("the same"), "{all}");
    for width in [30, 40, 50, 60, 80] {
        let shown = terminal_table(&names(), Screen::Wide(width));
        let widest = shown.lines().map(|line| line.replace("\x1b[2m", "").replace("\x1b[0m", ""));
        let widest = widest.map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width, "{width}: {shown}");
        for name in ["candle-cuda", "keras2-theano-legacy"] {
            assert!(shown.contains(name), "{width}: {shown}");
        }
    }
    // What is the same in every row leaves first, and is not lost.
    let shown = terminal_table(&names(), Screen::Wide(40));
    let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("the same in every row: How to get it run `rosetta env build` here"),
        "{flat}"
    );
    assert!(flat.contains("1.2 GiB"), "{flat}");
    let flat = terminal_table(&names(), Screen::Wide(30));
    let flat = flat.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("left out, for want of width: Size; to see them, use a wider"), "{flat}");
}
