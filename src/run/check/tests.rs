//! The keys under which verdicts and the reference's numbers are found again: results/reference/ has
//! verdicts that must go on being found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::bench::{env_digest, key_of};
use super::compute::Entrant;
use crate::catalog::{Catalog, Device, ProviderName};
use crate::data::{BatchOrder, Dataset, Weights};
use crate::env::{Built, Runtime};
use crate::material::Material;
use crate::plan::Job;
use crate::proof::key::reference_key;
use crate::proof::part::Part;
use crate::spec::{self, Experiment, Setting, Source};

const SPEC: &str = "\
version: 1
name: tiny
title: A tiny experiment
task: classification
seed: 7
data: {files: {x_train: x.npy, y_train: y.npy, x_test: x.npy, y_test: y.npy}}
settings: {batch_size: 4, epochs: 1, learning_rate: 0.1}
profiles: {quick: {rows: {}, timeout: 30s}}
";

const OURS: &str = "\
version: 1
name: ours
title: Ours
language: python
era: current
targets:
  - name: ours
    title: Ours
    env: {cpu: fake}
    environment: {BACKEND: one}
    float64: [tiny]
    deterministic: false
    variants: {tiny: [longer_loss]}
    differences: {tiny: it differs}
";

const THEIRS: &str = "\
version: 1
name: theirs
title: Theirs
language: python
era: current
targets: [{name: theirs, title: Theirs, env: {cpu: fake}, float64: true}]
";

const VARIANTS: &str = "\
version: 1
variants:
  - {name: longer_loss, is: variant, stage: loss, says: it is longer,
     changes: [{in: [tiny], from: one, to: two}]}
";

const ENV: &str = "{version: 1, name: fake, provider: venv, python: \"3.12\"}";

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Returns an experiment and two frameworks that have a harness for it.
fn project(root: &Path) -> (Experiment, Catalog) {
    write(root, "specs/tiny.yaml", SPEC);
    write(root, "envs/fake/env.yaml", ENV);
    for (name, yaml) in [("ours", OURS), ("theirs", THEIRS)] {
        write(root, &format!("harnesses/{name}/framework.yaml"), yaml);
        write(root, &format!("harnesses/{name}/tiny.py"), &format!("one = '{name}'\n"));
    }
    write(root, "harnesses/theirs/variants.yaml", VARIANTS);
    let experiment = spec::load_all(&root.join("specs")).unwrap().0.remove(0);
    (experiment, Catalog::load(root).unwrap())
}

fn job<'a>(experiment: &'a Experiment, catalog: &'a Catalog, name: &str) -> Job<'a> {
    let (framework, target) = catalog.find(name, "tiny").unwrap();
    let profile = "check".to_owned();
    Job { experiment, framework, target, device: Device::Cpu, profile, repeat: 1 }
}

/// Returns an environment of the user's own, or one that is pinned by a digest.
fn built(digest: Option<&str>) -> Built {
    Built {
        name: "fake".to_owned(),
        provider: ProviderName::Venv,
        digest: digest.map(str::to_owned),
        lock_sha256: None,
        root: "/env".into(),
        runtime: Runtime::Interpreter {
            python: "/env/bin/python".into(),
            version: "3.12.1".to_owned(),
        },
        packages: BTreeMap::from([("numpy".to_owned(), "2.0".to_owned())]),
        size_bytes: 0,
        build_seconds: 0.0,
        environment: BTreeMap::new(),
        unset: Vec::new(),
        starter: None,
        seen: Vec::new(),
        found: BTreeMap::new(),
        wrap: Vec::new(),
    }
}

fn material(order: Option<&str>) -> Material {
    let settings = [("batch_size", Setting::Int(4)), ("learning_rate", Setting::Float(0.1))];
    let (digest, source) = ("d1".to_owned(), Source::Own);
    let dataset = Dataset { name: "own".to_owned(), source, arrays: BTreeMap::new(), digest };
    let (folder, names, digest) = ("/weights".into(), vec!["dense".to_owned()], "w1".to_owned());
    let order = order.map(|digest| BatchOrder { path: "/o.npy".into(), digest: digest.to_owned() });
    Material {
        profile: "check".to_owned(),
        settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        dataset,
        weights: Weights { folder, names, digest, source },
        order,
        train_rows: 12,
        test_rows: 4,
        batch_size: 4,
        epochs: 2,
    }
}

#[test]
fn keys_stay_the_same_for_ever() {
    let root = tempfile::tempdir().unwrap();
    let (experiment, catalog) = project(root.path());
    let jobs = ["ours", "theirs"].map(|name| job(&experiment, &catalog, name));
    let built = [built(Some("e1")), built(None)];
    let [ours, theirs] = [0, 1].map(|which| Entrant {
        job: &jobs[which],
        built: &built[which],
        harness: &jobs[which].framework.harnesses["tiny"],
    });
    let found = key_of(&ours, &theirs, &material(Some("o1"))).unwrap();
    assert_eq!(found, "b25f3709e1f8fb099d6df99819cc0c6dce3a85fdf6ef6aec77aa54469b788980");

    let plain = Part::new("float32-0", "float32", 0);
    let mut seed = Part::new("other-seed", "float32", 2).with("dropout", Setting::Float(0.5));
    seed.seed = Some(8);
    let probe = Part::new("dropout-0", "float32", 8);
    let (own, probed) = (material(Some("o1")), material(None));
    let cases = [
        (&theirs, &own, &plain, "8caeb56e60889e99216ffb47"),
        (&ours, &own, &seed, "3096c9ea88278903871d5359"),
        (&theirs, &probed, &probe, "8b8ac4542168bffcbe04ba9e"),
    ];
    for (entrant, material, part, expected) in cases {
        let env = env_digest(entrant.built);
        let found = reference_key(entrant.job, &env, material, "one = 1\n", part);
        assert_eq!(found, expected, "{}", part.name);
    }
}
