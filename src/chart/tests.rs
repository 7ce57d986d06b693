use super::{Bar, Bars, Curve, Level, Lines, Point, Points, Slope, Slopes, file, spread};

fn bar(label: &str, value: f64, interval: Option<(f64, f64)>) -> Bar {
    Bar { label: label.to_owned(), value, interval, tags: "device:cpu".to_owned() }
}

#[test]
fn a_bar_is_as_long_as_its_number_and_says_its_interval() {
    let bars = vec![bar("fast", 5.0, Some((4.0, 6.0))), bar("slow", 10.0, None)];
    let svg = file(&Bars { title: "Training time (s)".to_owned(), bars });
    assert!(svg.contains("width=\"136\"") && svg.contains("width=\"272\""), "{svg}");
    assert!(svg.contains("fast: 5, 95 % interval 4 to 6</title>"), "{svg}");
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ")
            && svg.contains("><style>.chart{"),
        "{svg}"
    );
    assert!(svg.contains(".chart .bar{fill:#2f6fb3}") && !svg.contains("var("), "{svg}");
}

#[test]
fn names_are_text_and_long_ones_are_clipped() {
    let name = format!("<script>{}", "x".repeat(1 << 20));
    let bars = vec![bar(&name, 1.0, None)];
    let svg = file(&Bars { title: "a & b".to_owned(), bars });
    assert!(!svg.contains("<script>") && svg.contains("a &amp; b</title>"));
    assert!(svg.contains(">&lt;script&gt;xxxxxxxxxxxxxxxxxx…</text>"), "the label is too long");
}

#[test]
fn a_line_of_one_point_and_numbers_that_are_none_are_drawn() {
    let line = |points: &[(f64, f64)]| Curve {
        label: "one".to_owned(),
        points: points.to_vec(),
        ..Curve::default()
    };
    let lines = vec![line(&[(1.0, 2.0)]), line(&[(1.0, 4.0), (2.0, f64::NAN), (3.0, 0.0)])];
    let ends = ("1".to_owned(), "3".to_owned());
    let lines = Lines { title: "Loss".to_owned(), ends, lines, ..Lines::default() };
    let svg = file(&lines);
    assert!(!svg.contains("NaN"), "{svg}");
    let used = "xmlns:xlink=\"http://www.w3.org/1999/xlink\" xlink:href=\"#others\"";
    assert_eq!((svg.matches(used).count(), svg.matches(" href=").count()), (2, 0), "{svg}");
    assert!(svg.contains("class=\"line\" d=\"M4 55h0\""), "{svg}");
    assert!(svg.contains("class=\"line\" d=\"M4 22L164 88\""), "{svg}");
    // Above the end of a line that reaches the edge, and behind that of another: never over the line, nor cut off.
    assert!(svg.contains("x=\"164\" y=\"82\" text-anchor=\"end\">0</text>"), "{svg}");
    assert!(svg.contains("class=\"value\" x=\"10\" y=\"59\">2</text>"), "{svg}");
    let falls = Lines { lines: vec![line(&[(1.0, 4.0), (2.0, 3.0)])], ..Lines::default() };
    assert!(file(&falls).contains("x=\"164\" y=\"53.5\" text-anchor=\"end\">3</text>"), "{svg}");
}

#[test]
fn the_better_number_of_a_slope_is_on_top() {
    let slope = Slope { labels: ("old".to_owned(), "new".to_owned()), then: 100.0, now: 1.0 };
    let heads = ("then".to_owned(), "now".to_owned());
    let mut slopes =
        Slopes { title: "Time (s)".to_owned(), heads, is_more_better: false, slopes: vec![slope] };
    let svg = file(&slopes);
    assert!(svg.contains("class=\"slope better\" d=\"M184 204L296 44\""), "{svg}");
    slopes.is_more_better = true;
    let svg = file(&slopes);
    assert!(svg.contains("class=\"slope worse\" d=\"M184 44L296 204\""), "{svg}");
}

#[test]
fn labels_keep_apart_and_in_order() {
    assert_eq!(spread(&[50.0, 10.0, 12.0]), [50.0, 10.0, 27.0]);
    assert_eq!(spread(&[30.0, 10.0, 20.0]), [44.0, 10.0, 27.0]);
}

#[test]
fn levels_are_drawn_where_they_are_and_told() {
    let levels =
        vec![Level { from: 1.0, to: 2.0, value: 4.0 }, Level { from: 2.0, to: 3.0, value: 8.0 }];
    let line = Curve {
        label: "one".to_owned(),
        points: vec![(1.0, 4.0), (2.0, 8.0), (3.0, 8.0)],
        levels,
        told: "; since 2026-11-02 twice as long".to_owned(),
        ..Curve::default()
    };
    let lines = Lines { title: "Time".to_owned(), lines: vec![line], ..Lines::default() };
    let svg = file(&lines);
    assert!(svg.contains("class=\"level\" d=\"M4 55H84M84 22H164\""), "{svg}");
    assert!(
        svg.contains("from 4 to 8 in 3 points; since 2026-11-02 twice as long</title>"),
        "{svg}"
    );
}

#[test]
fn points_lie_by_ratios_and_their_names_keep_apart() {
    let point = |label: &str, across, up| Point {
        label: label.to_owned(),
        across,
        up,
        tags: "device:cpu".to_owned(),
    };
    let points = vec![point("a", 1.0, 50.0), point("b", 10.0, 60.0), point("c", 100.0, 60.0)];
    let axes = ("Training time (s)".to_owned(), "Accuracy (%)".to_owned());
    let svg = file(&Points { title: "Accuracy".to_owned(), axes, points });
    for place in ["cx=\"12\" cy=\"214\"", "cx=\"156\" cy=\"34\"", "cx=\"300\" cy=\"34\""] {
        assert!(svg.contains(place), "{place}: {svg}");
    }
    assert!(
        svg.contains("y=\"38\">60\u{2003}b</text>") && svg.contains("y=\"55\">60\u{2003}c</text>"),
        "{svg}"
    );
    assert!(svg.contains("<title>b: 10, 60</title>"), "{svg}");
}
