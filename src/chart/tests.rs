use super::{Bar, Bars, Curve, Lines, Slope, Slopes, file};

fn bar(label: &str, value: f64, interval: Option<(f64, f64)>) -> Bar {
    Bar { label: label.to_owned(), value, interval, tags: "device:cpu".to_owned() }
}

#[test]
fn a_bar_is_as_long_as_its_number_and_says_its_interval() {
    let bars = vec![bar("fast", 5.0, Some((4.0, 6.0))), bar("slow", 10.0, None)];
    let svg = file(&Bars { title: "Training time (s)".to_owned(), bars });
    assert!(svg.contains("width=\"136\"") && svg.contains("width=\"272\""), "{svg}");
    assert!(svg.contains("fast: 5, 95 % interval 4 to 6</title>"), "{svg}");
    assert!(svg.starts_with("<svg xmlns=") && svg.contains("><style>.chart{"), "{svg}");
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
        tags: String::new(),
    };
    let lines = vec![line(&[(1.0, 2.0)]), line(&[(1.0, 4.0), (2.0, f64::NAN), (3.0, 0.0)])];
    let ends = ("1".to_owned(), "3".to_owned());
    let lines = Lines { title: "Loss".to_owned(), ends, lines, is_scaled_apart: false };
    let svg = file(&lines);
    assert!(!svg.contains("NaN"), "{svg}");
    assert!(svg.contains("class=\"line\" d=\"M4 55h0\""), "{svg}");
    assert!(svg.contains("class=\"line\" d=\"M4 22L164 88\""), "{svg}");
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
