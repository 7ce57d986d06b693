use std::path::Path;

use super::{Choice, Column, ColumnWish, Published, Title, build};
use crate::catalog::{Device, Era, Lane};
use crate::proof::{Equivalence, Grade};
use crate::record::{Cost, EnvIdentity, Inputs, Outcome, Record, Score, Status, Times, Version};
use crate::report::{Format, Grid, Kind, Value};
use crate::spec::Precision;
use crate::spec::{Source, Task};

fn equivalence(grade: Grade) -> Equivalence {
    Equivalence { grade, variants: Vec::new(), reason: None, is_declared: false, precision: None }
}

/// Returns a record of a target that is ok, to be changed by a test.
pub(crate) fn record(experiment: &str, target: &str, seconds: f64) -> Record {
    let is_features = experiment == "resnet50";
    Record {
        record: 1,
        run: "20261122T100000Z-aaaa".to_owned(),
        job: format!("{experiment}.{target}.cpu.1"),
        experiment: experiment.to_owned(),
        task: if is_features { Task::Features } else { Task::Classification },
        profile: "quick".to_owned(),
        framework: target.to_owned(),
        target: target.to_owned(),
        title: target.to_owned(),
        era: Era::Current,
        year: Some(2026),
        successor: None,
        lane: Lane::Idiomatic,
        device: Device::Cpu,
        repeat: 1,
        started: "2026-11-22T10:00:00Z".to_owned(),
        outcome: Outcome::ok(),
        framework_version: Some("1.0".to_owned()),
        score: Score { accuracy: (!is_features).then_some(0.7754), ..Score::default() },
        equivalence: Some(equivalence(Grade::Exact)),
        times: Times {
            training: (!is_features).then_some(seconds),
            predict_rate: Some(1000.0 / seconds),
            ..Times::default()
        },
        epochs: Vec::new(),
        cost: Cost { threads_allowed: 2, ..Cost::default() },
        facts: Vec::new(),
        metrics: Vec::new(),
        marks: Vec::new(),
        inputs: Inputs {
            dataset: Some("cifar10".to_owned()),
            source: Some(Source::Synthetic),
            ..Inputs::default()
        },
        env: None,
        machine: crate::machine::Machine::default(),
        rosetta: Version { version: "0.1.0".to_owned(), revision: None },
        earlier: Vec::new(),
    }
}

fn tables(records: &[Record], choice: &Choice) -> Vec<Grid> {
    let title = |name: &str| Title { experiment: name.to_owned(), title: name.to_owned() };
    let titles = [title("cnn"), title("resnet50")];
    build(records, &titles, &Published::default(), choice).unwrap()
}

/// Returns where a column stands in a table.
fn place(table: &Grid, column: Column) -> Option<usize> {
    table.headings.iter().position(|heading| *heading == column.heading())
}

fn libraries(table: &Grid) -> Vec<String> {
    table.rows.iter().map(|row| row[0].shown(Kind::Text)).collect()
}

#[test]
fn rows_are_sorted_by_time_and_failures_come_last_with_their_reason() {
    let mut failed = record("cnn", "a|b", 0.0);
    failed.outcome = Outcome::because(Status::OutOfMemory, "the tree used 60 GiB");
    failed.times = Times::default();
    failed.score = Score::default();
    let records = [failed, record("cnn", "slow", 20.0), record("cnn", "fast", 10.0)];
    let table = &tables(&records, &Choice::default())[0];
    assert_eq!(libraries(table), ["fast", "slow", "a|b"]);
    let markdown = Format::Markdown.write(std::slice::from_ref(table));
    assert!(markdown.contains("| a\\|b "), "{markdown}");
    assert!(markdown.contains("(1) a\\|b on cpu: out of memory; the tree used 60 GiB"));
    assert!(markdown.contains("|             – (1) |"), "{markdown}");
}

#[test]
fn the_latest_run_of_each_target_counts() {
    let old = record("cnn", "jax", 99.0);
    let mut new = record("cnn", "jax", 11.0);
    new.run = "20261123T100000Z-bbbb".to_owned();
    let other = record("cnn", "torch", 50.0);
    let table = &tables(&[old, other, new], &Choice::default())[0];
    assert_eq!(libraries(table), ["jax", "torch"]);
    assert_eq!(table.rows[0][2].value, Value::Number(11.0));
}

#[test]
fn a_disturbed_run_is_left_out_of_the_median_when_there_is_another() {
    let mut tainted = record("cnn", "jax", 99.0);
    tainted.marks.push("tainted: other processes used 50 % of the CPU time".to_owned());
    let table = &tables(&[tainted.clone(), record("cnn", "jax", 11.0)], &Choice::default())[0];
    assert_eq!(table.rows[0][2].value, Value::Number(11.0));
    let table = &tables(&[tainted], &Choice::default())[0];
    assert_eq!(table.rows[0][2].value, Value::Number(99.0));
    assert!(table.footnotes[0].words.contains("50 %"));
}

#[test]
fn tuned_rows_have_a_table_of_their_own() {
    let mut tuned = record("cnn", "tuned", 1.0);
    tuned.lane = Lane::Tuned;
    let precision = Some(Precision::Bf16);
    tuned.equivalence = Some(Equivalence { precision, ..equivalence(Grade::Close) });
    let tables = tables(&[tuned, record("cnn", "torch", 2.0)], &Choice::default());
    assert_eq!(libraries(&tables[0]), ["torch"]);
    assert_eq!(libraries(&tables[1]), ["tuned"]);
    assert!(tables[1].title.ends_with(" – tuned lane"), "{}", tables[1].title);
    let at = place(&tables[1], Column::Equivalence).unwrap();
    assert_eq!(tables[1].rows[0][at].shown(Kind::Text), "close (bf16)");
}

#[test]
fn features_show_both_devices_in_one_row() {
    let cpu = record("resnet50", "ort", 100.0);
    let mut gpu = record("resnet50", "ort", 1.0);
    gpu.device = Device::Cuda;
    let table = &tables(&[cpu, gpu, record("resnet50", "openvino", 50.0)], &Choice::default())[0];
    assert_eq!(libraries(table), ["ort", "openvino"]);
    assert_eq!(table.rows[0][1].value, Value::Number(1000.0));
    assert_eq!(table.rows[0][2].value, Value::Number(10.0));
    assert_eq!(table.footnotes, ["not run on cuda".into()]);
}

#[test]
fn what_is_not_the_experiment_is_shown_apart_unless_it_says_so_itself() {
    let mut wrong = record("cnn", "wrong", 1.0);
    let reason = Some("the momentum is Nesterov's".to_owned());
    let different = Equivalence { reason, ..equivalence(Grade::Different) };
    wrong.equivalence = Some(different.clone());
    let mut declared = record("cnn", "declared", 2.0);
    declared.equivalence = Some(Equivalence { is_declared: true, ..different });
    let mut old = record("cnn", "old", 3.0);
    old.equivalence = None;
    let mut variant = record("cnn", "variant", 4.0);
    let variants = vec!["adam_epsilon_hat".to_owned()];
    variant.equivalence = Some(Equivalence { variants, ..equivalence(Grade::Variant) });
    let tables = tables(&[wrong, declared, old, variant], &Choice::default());
    assert_eq!(libraries(&tables[0]), ["declared", "old", "variant"]);
    let at = place(&tables[0], Column::Equivalence).unwrap();
    let words = tables[0].rows.iter().map(|row| row[at].shown(Kind::Text));
    let expected = ["different (1)", "unchecked (2)", "variant (3)"];
    assert_eq!(words.collect::<Vec<_>>(), expected);
    assert_eq!(tables[0].footnotes[0].words, "different: the momentum is Nesterov's");
    assert!(tables[0].footnotes[2].words.ends_with("variant adam_epsilon_hat"));
    assert_eq!(libraries(&tables[1]), ["wrong"]);
    assert!(tables[1].title.ends_with(": not the same experiment"));
}

#[test]
fn an_old_version_stands_beside_its_newest_of_the_same_machine_and_data() {
    let old = |experiment: &str, seconds: f64| {
        let mut old = record(experiment, "torch1", seconds);
        old.title = "Torch 1.0".to_owned();
        old.era = Era::Historic;
        old.year = Some(2018);
        old.successor = Some("torch".to_owned());
        old
    };
    let choice = Choice { then_and_now: true, ..Choice::default() };
    let cell = |table: &Grid, column: Column| {
        let at = place(table, column).unwrap();
        table.rows[0][at].shown(column.heading().kind)
    };
    let mut now = record("cnn", "torch", 20.0);
    now.framework_version = Some("2.0".to_owned());
    let features = record("resnet50", "torch", 10.0);
    let records = [old("cnn", 50.0), now.clone(), old("resnet50", 40.0), features];
    let both = tables(&records, &choice);
    assert_eq!(libraries(&both[0]), ["Torch 1.0"]);
    assert_eq!(cell(&both[0], Column::Year), "2018");
    assert_eq!(cell(&both[0], Column::Now), "torch 2.0 (2026)");
    assert_eq!(cell(&both[0], Column::NowTime), "20");
    assert_eq!(cell(&both[0], Column::SpeedUp), "2.50");
    assert_eq!(cell(&both[1], Column::SpeedUpCpu), "4");
    assert!(place(&both[1], Column::SpeedUpGpu).is_none(), "there was no GPU");
    // Of accuracies it says nothing, for it shows none.
    let warns = |table: &Grid| table.notes.iter().any(|note| note.words.contains("its accuracy"));
    assert!(!warns(&both[0]) && warns(&tables(&records, &Choice::default())[0]));

    // An era keeps to the old rows, but not the newest from standing beside them.
    let historic = Choice { era: Some(Era::Historic), ..choice.clone() };
    assert_eq!(cell(&tables(&records, &historic)[0], Column::SpeedUp), "2.50");

    let mut elsewhere = now.clone();
    elsewhere.machine.host = "another".to_owned();
    let mut real = now;
    real.inputs.source = Some(Source::Real);
    for now in [elsewhere, real] {
        let table = &tables(&[old("cnn", 50.0), now], &choice)[0];
        assert_eq!(cell(table, Column::Now), "– (1)");
        assert_eq!(cell(table, Column::SpeedUp), "–");
        assert!(table.footnotes[0].words.contains("no result of `torch` on this machine"));
    }
}

#[test]
fn csv_quotes_and_json_keeps_reasons() {
    let mut odd = record("cnn", "a,\"b\"", 10.0);
    odd.outcome = Outcome::because(Status::CheckFailed, "accuracy is outside its band");
    let all = tables(&[odd, record("resnet50", "ort", 1.0)], &Choice::default());
    let csv = Format::Csv.write(&all);
    assert!(csv.starts_with("experiment,library,test_accuracy_percent,training_time_s"));
    assert!(csv.contains("cnn,\"a,\"\"b\"\"\",77.5"), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&Format::Json.write(&all)).unwrap();
    let note = &json[0]["rows"][0]["test_accuracy_percent_note"];
    assert_eq!(note, "accuracy out of range: accuracy is outside its band");
}

/// What the formats look like; `INSTA_UPDATE=always cargo test` writes them anew after a change that is meant.
#[test]
fn every_format_is_as_it_was() {
    let mut records = [10.0, 11.0, 12.5].map(|seconds| record("cnn", "JAX", seconds)).to_vec();
    records[1].marks = vec!["clock_disagrees".to_owned()];
    let mut failed = record("cnn", "Torch & <Co>_1", 0.0);
    failed.outcome = Outcome::because(Status::OutOfMemory, "the tree used 60 GiB | more");
    failed.times = Times::default();
    failed.score = Score::default();
    records.push(failed);
    records.push(record("resnet50", "ort", 4.0));
    let tables = tables(&records, &Choice::default());
    insta::assert_snapshot!("markdown", Format::Markdown.write(&tables));
    insta::assert_snapshot!("csv", Format::Csv.write(&tables));
    insta::assert_snapshot!("json", Format::Json.write(&tables));
    insta::assert_snapshot!("latex", Format::Latex.write(&tables));
}

#[test]
fn csv_tells_intervals_and_where_a_row_comes_from_after_what_is_shown() {
    let mut records = [10.0, 11.0, 12.0].map(|seconds| record("cnn", "jax", seconds)).to_vec();
    records.iter_mut().for_each(|record| record.machine.host = "lab, west".to_owned());
    records[2].marks = vec!["clock_disagrees".to_owned(), "slow disk".to_owned()];
    let mut failed = record("cnn", "torch", 0.0);
    failed.outcome = Outcome::because(Status::Failed, "no");
    failed.times = Times::default();
    records.push(failed);
    let columns =
        [Column::Library, Column::TrainingTime, Column::Threads].map(ColumnWish::Shown).to_vec();
    let choice = Choice { columns, ..Choice::default() };
    let text = Format::Csv.write(&tables(&records, &choice));
    let low_and_high = match &tables(&records, &choice)[0].rows[0][1].value {
        Value::Interval(_, low, high) => format!("{low},{high}"),
        other => panic!("{other:?}"),
    };
    let run = "20261122T100000Z-aaaa";
    let options = "--profile quick --device cpu --threads 2 --data synthetic";
    let expected = [
        "experiment,library,training_time_s,threads,training_time_s_low,training_time_s_high,\
         marks,run,date,host,n,target,framework,devices,era,lane,provider,environment,lock,harness,revision,command"
            .to_owned(),
        format!(
            "cnn,jax,11,2,{low_and_high},clock_disagrees; slow disk,{run},2026-11-22,\"lab, west\",3,\
             jax,jax,cpu,current,idiomatic,,,,,,rosetta run cnn -f jax {options} --repeats 3"
        ),
        format!(
            "cnn,torch,,,,,,{run},2026-11-22,,0,torch,torch,cpu,current,idiomatic,,,,,,\
             rosetta run cnn -f torch {options}"
        ),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let choice = Choice {
        columns: [Column::Run, Column::Library].map(ColumnWish::Shown).to_vec(),
        ..Choice::default()
    };
    let text = Format::Csv.write(&tables(&records, &choice));
    assert!(text.starts_with("experiment,run,library,marks,date,host,n,target,"), "{text}");
}

#[test]
fn another_installation_is_another_row() {
    let by = |provider: &str, seconds: f64| {
        let env = EnvIdentity {
            name: "torch".to_owned(),
            provider: provider.to_owned(),
            digest: None,
            lock_digest: None,
            interpreter: None,
            packages: Vec::new(),
            ..EnvIdentity::default()
        };
        Record { env: Some(env), ..record("cnn", "torch", seconds) }
    };
    let records = [by("venv", 1.0), by("conda", 2.0), by("system", 3.0), by("venv", 1.0)];
    let table = &tables(&records, &Choice::default())[0];
    assert_eq!(libraries(table), ["torch", "torch (conda)", "torch (system)"]);
    // A framework of Rust is built by cargo, which is the usual way too.
    let table = &tables(&[by("cargo", 1.0)], &Choice::default())[0];
    assert_eq!(libraries(table), ["torch"]);
}

#[test]
fn the_publication_is_shown_cell_for_cell() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/published/2017-11-24.yaml");
    let published = Published::load(&path).unwrap();
    let tables = published.to_tables(&[]);
    let sizes = tables.iter().map(|t| (t.experiment.as_str(), t.rows.len())).collect::<Vec<_>>();
    assert_eq!(sizes, [("cnn", 12), ("rnn", 7), ("resnet50", 11)]);
    let markdown = Format::Markdown.write(&tables);
    for cell in ["| MXNet           |", "| Keras(Theano)   |", "No Available", "MXNet(w/mkl)"] {
        assert!(markdown.contains(cell), "{cell} is missing in\n{markdown}");
    }
    let row = published.tables["rnn"].row("PyTorch").unwrap();
    assert_eq!((row.test_accuracy_percent, row.training_time_s), (Some(86.0), Some(31.0)));
    assert!(published.tables["cnn"].row("Keras (TF)").is_some());
    assert!(published.tables["cnn"].row("TensorFlow 1.4").is_some());
    assert!(published.tables["cnn"].row("Keras 2.2 (Theano)").is_some());
    assert!(published.tables["cnn"].row("Keras 3").is_none());
}

/// Returns a run of repeats of one target.
fn repeats(target: &str, seconds: &[f64]) -> Vec<Record> {
    let one = |(index, seconds): (usize, &f64)| Record {
        repeat: index as u32 + 1,
        ..record("cnn", target, *seconds)
    };
    seconds.iter().enumerate().map(one).collect()
}

fn ranks(table: &Grid) -> Vec<String> {
    let place = place(table, Column::Rank).expect("it has ranks");
    table.rows.iter().map(|row| row[place].shown(Kind::Text)).collect()
}

#[test]
fn rows_that_the_repeats_cannot_tell_apart_share_a_rank() {
    let mut records = repeats("a", &[10.0, 10.2, 9.9, 10.1, 10.0]);
    records.extend(repeats("b", &[10.1, 10.0, 10.1, 10.0, 10.1]));
    records.extend(repeats("c", &[12.0, 12.1, 11.9, 12.2, 12.0]));
    let table = &tables(&records, &Choice::default())[0];
    assert_eq!(
        (libraries(table), ranks(table)),
        (["a", "b", "c"].map(String::from).into(), ["=1", "=1", "3"].map(String::from).into())
    );
    let notes = table.notes.iter().map(|note| note.words.as_str()).collect::<Vec<_>>();
    assert!(notes.iter().any(|note| note.starts_with("rank: = where the repeats")), "{notes:?}");
    assert!(
        notes.iter().any(|note| note.starts_with("noise floor: ") && note.contains("(3 rows)")),
        "{notes:?}"
    );
}

#[test]
fn repeats_of_one_block_are_paired() {
    // The machine gets slower by half; within each block b takes 3 % more.
    let drift = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    let mut records = repeats("a", &drift);
    records.extend(repeats("b", &drift.map(|seconds| seconds * 1.03)));
    let table = &tables(&records, &Choice::default())[0];
    assert_eq!(ranks(table), ["1", "2"]);
    // Of another run they are not pairs, and the drift hides the difference.
    for record in records.iter_mut().filter(|record| record.target == "b") {
        record.run = "another".to_owned();
    }
    let table = &tables(&records, &Choice::default())[0];
    assert_eq!(ranks(table), ["=1", "=1"]);
}

#[test]
fn single_repeats_are_ranked_only_where_somebody_asks() {
    let records = [record("cnn", "slow", 20.0), record("cnn", "fast", 10.0)];
    let table = &tables(&records, &Choice::default())[0];
    assert_eq!(place(table, Column::Rank), None);
    let columns = [Column::Rank, Column::Library].map(ColumnWish::Shown).to_vec();
    let choice = Choice { columns, ..Choice::default() };
    let table = &tables(&records, &choice)[0];
    assert_eq!(ranks(table), ["1", "2"]);
    assert!(table.notes.iter().all(|note| !note.words.starts_with("noise floor")));
}

#[test]
fn unlike_nodes_of_a_cluster_stand_in_tables_of_their_own() {
    let on = |cluster: Option<&str>, host: &str, cpu: &str, seconds| {
        let mut one = record("cnn", "torch", seconds);
        one.machine.cluster = cluster.map(str::to_owned);
        (one.machine.host, one.machine.cpu) = (host.to_owned(), cpu.to_owned());
        one.machine.cores = 8;
        one
    };
    let mut records = vec![
        on(Some("lab"), "n1", "EPYC", 1.0),
        on(Some("lab"), "n2", "EPYC", 3.0),
        on(Some("lab"), "n3", "Xeon", 9.0),
        on(None, "laptop", "Core", 5.0),
    ];
    let gpu = |driver: &str| crate::gpu::Gpu {
        name: "A100".to_owned(),
        driver: driver.to_owned(),
        ..Default::default()
    };
    records[2].machine.gpus = vec![gpu("550")];
    let found = tables(&records, &Choice::default());
    let titles = found.iter().map(|table| table.title.as_str()).collect::<Vec<_>>();
    let expected =
        ["cnn – lab: 8 cores of EPYC", "cnn – lab: 8 cores of Xeon, A100 (driver 550)", "cnn"];
    assert_eq!(titles, expected);
    assert!(found.iter().all(|table| table.rows.len() == 1), "a row is of two classes");
    let [one, two, three, own] = [0, 1, 2, 3].map(|index| &records[index].machine);
    assert!(one.is_same(two), "nodes of one class are one machine");
    assert!(!one.is_same(three) && !one.is_same(own));
    let mut newer = three.clone();
    newer.gpus = vec![gpu("580")];
    assert!(!newer.is_same(three), "another driver");
}
