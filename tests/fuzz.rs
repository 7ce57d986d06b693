//! Readers of what others wrote, given what nobody would write: they refuse it in words, and never panic, hang or store half.
//!
//! Inputs are the project's own files with random edits, so that most of them get past the first byte. `PROPTEST_CASES=100000
//! cargo test --test fuzz` tries more; what fails is made as small as possible and printed.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use common::{Project, good, list};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use rosetta::data::DataStore;
use rosetta::event::{Line, parse};
use rosetta::mask::Masker;
use rosetta::record::Record;
use rosetta::spec::Experiment;
use rosetta::store::Store;
use serde_json::{Value, json};

/// A change of a file.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Double(Index, usize),
    Cut(Index),
}

/// What is inserted: what means something to one of the readers.
const WORDS: [&[u8]; 14] = [
    b"\0",
    b"\n",
    b"\"",
    b"{",
    b"[",
    b"}",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"NaN",
    b"null",
    b"&a ",
    b"*a ",
    b"\xff\xff\xff\xff",
];

fn edit() -> impl Strategy<Value = Edit> {
    let word = prop::sample::select(WORDS.to_vec()).prop_map(<[u8]>::to_vec);
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        3 => (any::<Index>(), word).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (any::<Index>(), 1..200_usize).prop_map(|(at, length)| Edit::Double(at, length)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec(edit(), 1..6)
}

fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits {
        let end = bytes.len();
        let at = |index: &Index| index.index(end.max(1)).min(end);
        match edit {
            Edit::Set(index, byte) => {
                if let Some(found) = bytes.get_mut(at(index)) {
                    *found = *byte;
                }
            }
            Edit::Remove(index, length) => {
                let at = at(index);
                bytes.drain(at..(at + length).min(end));
            }
            Edit::Insert(index, word) => {
                let at = at(index);
                bytes.splice(at..at, word.iter().copied());
            }
            Edit::Double(index, length) => {
                let at = at(index);
                let part = bytes[at..(at + length).min(end)].to_vec();
                bytes.splice(at..at, part);
            }
            Edit::Cut(index) => bytes.truncate(at(index)),
        }
    }
    bytes
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files of a folder that end so.
fn corpus(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut files = list(&root().join(folder));
    files.retain(|path| path.to_string_lossy().ends_with(ending));
    files.sort();
    assert!(!files.is_empty(), "{folder}");
    files
}

/// Returns how many cases to try: so many, unless the environment says another number.
fn cases(usual: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    // Without a wish the same cases each time: a test that is red once is red again.
    let rng_seed = cases.map_or(RngSeed::Fixed(1), |_| RngSeed::Random);
    ProptestConfig {
        cases: cases.unwrap_or(usual),
        rng_seed,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Returns all lines of the golden streams.
fn golden_lines() -> Vec<Vec<u8>> {
    let files = corpus("tests/golden", ".jsonl");
    let texts = files.iter().map(|path| fs::read(path).unwrap());
    texts
        .flat_map(|text| text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect()
}

#[test]
fn events() {
    let lines = golden_lines();
    let one = (any::<Index>(), prop::collection::vec(edit(), 0..6));
    proptest!(cases(4_000), |((index, edits) in one)| {
        let line = edited(&lines[index.index(lines.len())], &edits);
        if let Line::Event(stamped) = parse(&line) {
            prop_assert!(stamped.t.is_finite(), "{}", String::from_utf8_lossy(&line));
        }
    });
    proptest!(cases(2_000), |(line in prop::collection::vec(any::<u8>(), 0..200))| {
        prop_assert!(!matches!(parse(&line), Line::Event(_)));
    });
}

#[test]
fn specs() {
    let texts =
        corpus("specs", ".yaml").iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edited.yaml");
    proptest!(cases(600), |((index, edits) in (any::<Index>(), edits()))| {
        fs::write(&path, edited(&texts[index.index(texts.len())], &edits)).unwrap();
        if let Err(error) = Experiment::load(&path) {
            let words = format!("{error:#}");
            prop_assert!(words.contains("edited.yaml"), "it does not name the file: {words}");
        }
    });
}

/// Returns a run of one job in a project.
fn a_run() -> (Project, PathBuf, Vec<u8>) {
    let project = Project::new().harness("a", &good());
    assert_eq!(project.run(&["--no-check"]).code, Some(0));
    let run = list(&project.path("results/runs")).remove(0);
    let line = fs::read(run.join("records.jsonl")).unwrap();
    (project, run, line)
}

/// Whether two values are the same but for the last digit of numbers: serde_json reads those fast, not exactly.
fn is_near(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= 4.0 * f64::EPSILON * one.abs()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_near(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            let is_same =
                |(key, value): (&String, &Value)| other.get(key).is_some_and(|o| is_near(value, o));
            one.len() == other.len() && one.iter().all(is_same)
        }
        _ => one == other,
    }
}

#[test]
fn records() {
    let (project, run, line) = a_run();
    let store = Store::at(project.path("results"));
    let sealed = run.join("tiny.a.cpu.1/record.json");
    proptest!(cases(1_000), |((edits, is_sealed) in (edits(), any::<bool>()))| {
        let bytes = edited(&line, &edits);
        if let Ok(record) = serde_json::from_slice::<Record>(&bytes) {
            let text = serde_json::to_string(&record).unwrap();
            let again = serde_json::from_str::<Record>(&text).unwrap();
            let (record, again) = (json!(record), json!(again));
            prop_assert!(is_near(&record, &again), "{record} {again}");
        }
        fs::write(run.join("records.jsonl"), &bytes).unwrap();
        fs::write(&sealed, if is_sealed { &line } else { &bytes }).unwrap();
        let reading = store.read().unwrap();
        let jobs = reading.runs.iter().flat_map(|run| &run.records).map(|record| &record.job);
        let mut jobs = jobs.collect::<Vec<_>>();
        let count = jobs.len();
        jobs.sort();
        jobs.dedup();
        prop_assert_eq!(jobs.len(), count, "a job counts twice");
        // What is sealed is read, whatever its line looks like.
        prop_assert!(!is_sealed || count >= 1);
    });
}

/// What credentials are made of, and what stands around them.
const PIECES: [&str; 40] = [
    "AKIA",
    "ghp_",
    "github_pat_",
    "hf_",
    "sk-",
    "AIza",
    "xoxb-",
    "eyJ",
    ".",
    "Bearer ",
    "Authorization",
    ": ",
    "=",
    "\"",
    "Basic ",
    "aws_secret_access_key",
    "AccountKey",
    "SessionToken",
    "https",
    "://",
    "user",
    ":",
    "@",
    "host/",
    "?",
    "&sig=",
    "\\u0026",
    "-----BEGIN ",
    "RSA ",
    "PRIVATE KEY",
    "-----",
    "-----END ",
    "\n",
    "\\n",
    "\\\\n",
    "\x1b[1;31m",
    " ",
    "%2B",
    "a long password",
    "ü",
];

fn near_credentials() -> impl Strategy<Value = String> {
    let value = (0..120_usize, "[A-Z0-9]{1,4}|[a-z0-9]{1,9}|[A-Za-z0-9_-]{1,30}|[0-9]{1,5}");
    let value = value.prop_map(|(times, text)| text.repeat(times));
    let piece = prop::sample::select(PIECES.to_vec()).prop_map(str::to_owned);
    prop::collection::vec(prop_oneof![3 => piece, 2 => value], 1..16).prop_map(|all| all.concat())
}

#[test]
fn masks() {
    let knowing = Masker::knowing(["a long password".to_owned()]);
    let masked = |text: &[u8], cuts: &[usize]| {
        let (mut masker, mut found, mut rest) = (knowing.clone(), Vec::new(), text);
        for length in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*length).min(rest.len()));
            masker.feed(piece, |bytes| found.extend_from_slice(bytes));
            rest = after;
        }
        masker.feed(rest, |bytes| found.extend_from_slice(bytes));
        masker.finish(|bytes| found.extend_from_slice(bytes));
        found
    };
    let cuts = prop::collection::vec(1..60_usize, 1..8);
    proptest!(cases(600), |((text, cuts, number) in (near_credentials(), cuts, any::<i64>()))| {
        let whole = masked(text.as_bytes(), &[]);
        let cut = masked(text.as_bytes(), &cuts);
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        prop_assert_eq!(words(&whole), words(&cut), "{}", text);
        prop_assert!(std::str::from_utf8(&whole).is_ok(), "half a character is left: {text}");
        prop_assert!(!words(&whole).contains("a long password"), "{text}");
        let line = json!({"text": text, "n": number, "also": [text]}).to_string();
        let line = words(&masked(line.as_bytes(), &cuts));
        let value = serde_json::from_str::<Value>(&line);
        prop_assert!(value.as_ref().is_ok_and(|value| value["n"] == number), "{}", line);
    });
}

/// Imports a file, and asserts that nothing of it stays where it is refused.
fn import(name: &str, file: &Path) -> Result<(), TestCaseError> {
    let home = tempfile::tempdir().unwrap();
    let store = DataStore::at(home.path());
    let is_taken = store.import(name, file, true, &|_| ()).is_ok();
    let stored = store.list().into_iter().map(|status| status.stored.len()).sum::<usize>();
    prop_assert_eq!(stored, usize::from(is_taken));
    let left = list(home.path()).into_iter().flat_map(|folder| list(&folder));
    let half =
        left.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".making"));
    prop_assert_eq!(half.count(), 0, "something half-made stays");
    Ok(())
}

#[test]
fn archives() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| root().join("tests/fixtures/data").join(name);
    let others = [
        ("imdb", "imdb.npz"),
        ("resnet50", "torch.pth"),
        ("resnet50", "torch-legacy.pth"),
        ("resnet50", "torch.safetensors"),
    ];
    let others = others.map(|(data, name)| (data, name, fs::read(file(name)).unwrap()));
    // The check of gzip would refuse any edit: what is edited is what it holds.
    let mut unpacked = Vec::new();
    let packed = fs::File::open(file("cifar-10-python.tar.gz")).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
    proptest!(cases(60), |((index, edits, is_tar) in (any::<Index>(), edits(), any::<bool>()))| {
        if is_tar {
            let path = folder.path().join("cifar-10-python.tar.gz");
            let bytes = Vec::new();
            let mut packer = flate2::write::GzEncoder::new(bytes, flate2::Compression::fast());
            packer.write_all(&edited(&unpacked, &edits)).unwrap();
            fs::write(&path, packer.finish().unwrap()).unwrap();
            import("cifar10", &path)?;
        } else {
            let (data, name, bytes) = &others[index.index(others.len())];
            let path = folder.path().join(name);
            fs::write(&path, edited(bytes, &edits)).unwrap();
            import(data, &path)?;
        }
    });
}
