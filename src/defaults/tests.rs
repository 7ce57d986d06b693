use serde_json::{Value, json};

use super::{DefaultAnswer, How, Measurement, PROPERTIES, Sheet, SourceFile, Wants};
use crate::report::{Cell, Grid, Kind, NoteLine};

fn measured(facts: Vec<(&str, Value)>) -> Measurement {
    let text = "model = Conv(3, pad=1)\nload(weights)\n".to_owned();
    let path = "harnesses/fake/cnn.py".to_owned();
    Measurement {
        date: None,
        target: "fake".to_owned(),
        title: "Fake".to_owned(),
        version: "1.2".to_owned(),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        sources: vec![SourceFile { name: "cnn".to_owned(), path, text }],
    }
}

fn sheet(facts: Vec<(&str, Value)>) -> Sheet {
    Sheet::build(&[measured(facts)])
}

fn fault(fact: Value) -> String {
    let sheet = sheet(vec![("conv.padding", fact)]);
    assert_eq!(sheet.rows[0].found.len(), 0);
    sheet.faults[0].clone()
}

#[test]
fn a_conflict_names_the_line_that_overrides_it() {
    let sheet = sheet(vec![(
        "conv.padding",
        json!({"value": "none", "how": "run", "override": ["cnn", "load(weights)"]}),
    )]);
    assert_eq!(sheet.faults, Vec::<String>::new());
    let found = &sheet.rows[0].found[0];
    assert!(found.is_conflict);
    let (path, text) = ("harnesses/fake/cnn.py".to_owned(), "load(weights)".to_owned());
    assert_eq!(found.answer, Some(DefaultAnswer::Overridden { path, line: 2, text }));
}

#[test]
fn a_default_as_wanted_needs_no_answer() {
    let padding = json!({"value": "same", "how": "run", "override": ["cnn", "pad=1"]});
    let sheet = sheet(vec![("conv.padding", padding)]);
    assert_eq!((sheet.faults.len(), &sheet.rows[0].found[0].answer), (0, &None));
}

#[test]
fn what_makes_the_table_untrue_is_a_fault() {
    let cases = [
        (
            json!({"value": "none", "how": "run", "override": ["cnn", "pad=2"]}),
            "fake: `conv.padding`: `pad=2` does not stand in harnesses/fake/cnn.py",
        ),
        (
            // Even where nothing has to be overridden any more.
            json!({"value": "same", "how": "run", "override": ["cnn", "pad=2"]}),
            "fake: `conv.padding`: `pad=2` does not stand in harnesses/fake/cnn.py",
        ),
        (
            json!({"value": "none", "how": "run", "override": ["rnn", "pad=1"]}),
            "fake: `conv.padding`: there is not a harness `rnn`",
        ),
        (
            json!({"value": "none", "how": "run"}),
            "fake: `conv.padding`: is `none`, not `same`, and no harness is said to override it",
        ),
        (json!({"value": "none", "how": "guessed"}), "unknown variant `guessed`"),
        (json!(7), "fake: `conv.padding`: invalid type"),
    ];
    for (fact, expected) in cases {
        let fault = fault(fact);
        assert!(fault.contains(expected), "{fault}");
    }
    let typo = sheet(vec![("conv.pading", json!({"value": "none", "how": "run"}))]);
    assert!(typo.faults[0].starts_with("fake: `conv.pading`: unknown property"));
}

#[test]
fn groups_have_what_is_wanted_on_top_and_share_footnotes() {
    let weights = json!({"value": "he_normal", "how": "run", "override": ["cnn", "load(weights)"]});
    let measured = measured(vec![
        ("dense.initialiser", weights.clone()),
        ("dense.bias", weights),
        ("sgd.rate", json!({"value": "0.01", "how": "read"})),
        ("sgd.momentum", json!({"value": "unit gain", "how": "run", "not_needed": "it is 0"})),
    ]);
    let mut other = measured.clone();
    (other.title, other.facts) = ("Other".to_owned(), Vec::new());
    let sheet = Sheet::build(&[measured, other]);
    let grids = sheet.grids();
    let shown = |grid: &Grid| -> Vec<Vec<String>> {
        let row = |row: &Vec<Cell>| row.iter().map(|cell| cell.shown(Kind::Text)).collect();
        grid.rows.iter().map(row).collect()
    };
    assert_eq!(grids.len(), 2);
    let headings = grids[0].headings.iter().map(|heading| heading.text).collect::<Vec<_>>();
    assert_eq!(headings, ["Framework", "Kernel", "Bias"]);
    assert_eq!(
        shown(&grids[0]),
        [
            ["the experiments want", "glorot_uniform", "zeros"],
            ["Fake", "he_normal (1)", "he_normal (1)"],
            ["Other", "–", "–"],
        ]
    );
    let code = Some("load(weights)".to_owned());
    let line = NoteLine { words: "harnesses/fake/cnn.py:2".to_owned(), code };
    assert_eq!(grids[0].footnotes, [line]);
    assert_eq!(shown(&grids[1])[0], ["the experiments want", "", "classical"]);
    assert_eq!(shown(&grids[1])[1], ["Fake", "0.01*", "unit gain (1)"]);
    assert_eq!(grids[1].footnotes, ["not needed: it is 0".into()]);
    assert_eq!(grids[1].notes, ["* read from the signature, not run".into()]);
    assert_eq!(sheet.rows[0].found[2].how, How::Read);
    let markdown = sheet.markdown();
    assert!(markdown.contains("(1) harnesses/fake/cnn.py:2 `load(weights)`  \n"), "{markdown}");
    assert!(markdown.ends_with("\nFake 1.2, Other 1.2  \n"), "{markdown}");
    let json = serde_json::from_str::<Value>(&sheet.json()).unwrap();
    assert_eq!(json[0]["answer"]["overridden"]["line"], 2);
    assert_eq!(json[2]["wanted"], Value::Null);
    assert_eq!(json[3]["answer"]["not_needed"], "it is 0");
}

#[test]
fn wanted_values_are_met_alone_or_among_others() {
    assert!(Wants::Is("r, z, n").is_met_by("r, z, n"));
    assert!(!Wants::Is("none").is_met_by("none of the known"));
    assert!(Wants::Has("int32").is_met_by("int32, int64"));
    assert!(!Wants::Has("int32").is_met_by("int64"));
}

#[test]
fn properties_have_one_name_and_stand_by_group() {
    for (index, property) in PROPERTIES.iter().enumerate() {
        let same = PROPERTIES.iter().filter(|other| other.name == property.name).count();
        assert_eq!(same, 1, "{}", property.name);
        let before = PROPERTIES[..index].iter().rposition(|other| other.group == property.group);
        let is_first = PROPERTIES[..index].iter().all(|other| other.group != property.group);
        assert!(is_first || before == Some(index - 1), "{} is away from its group", property.name);
    }
}
