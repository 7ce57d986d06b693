//! What the digests of environments follow from: a name that changes must rebuild nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::*;
use crate::catalog::{Crate, FixUp, Own, Pins};
use crate::env::built::{Built, Runtime};
use crate::env::tests::{pins, spec};
use crate::env::tool::Host;
use crate::home::Home;

fn workshop(variables: &[(&str, &str)], spec: &EnvSpec) -> Workshop {
    Workshop::new(Host::with(variables), Home::at("/home"), spec.project.clone())
}

fn digest(spec: &EnvSpec) -> String {
    of(spec, &workshop(&[], spec)).digest().unwrap()
}

/// Returns the digest of a crate that `rustc` compiles, on a machine without one.
fn digest_by(rustc: &str, variables: &[(&str, &str)], spec: &EnvSpec) -> String {
    let built = Built {
        name: spec.name.clone(),
        provider: spec.provider.name(),
        digest: None,
        lock_sha256: None,
        root: "/".into(),
        runtime: Runtime::Programs { compiler: Some(rustc.to_owned()) },
        packages: BTreeMap::new(),
        size_bytes: 0,
        build_seconds: 0.0,
        environment: BTreeMap::new(),
        unset: Vec::new(),
        starter: None,
        seen: Vec::new(),
        found: Default::default(),
        wrap: Vec::new(),
    };
    of(spec, &workshop(variables, spec)).digest_elsewhere(&built).unwrap()
}

fn fixup(run: &[&str]) -> FixUp {
    FixUp { why: "w".into(), run: run.iter().map(|&word| word.to_owned()).collect() }
}

#[test]
fn what_is_built_changes_a_venv_digest_and_nothing_else_does() {
    let project = tempfile::tempdir().unwrap();
    let spec = spec(project.path(), "x");
    let at = |name: &str| spec.folder.join(name);
    let first = digest(&spec);
    assert_eq!(first.len(), 64);

    let mut same = spec.clone();
    same.environment.insert("A".into(), "b".into());
    same.programs.push("gcc".into());
    fs::write(at("notes.txt"), "unused without fix-ups").unwrap();
    assert_eq!(digest(&same), first);

    let changes =
        [Pins { python: "3.98".into(), ..pins() }, Pins { source: vec!["x".into()], ..pins() }];
    for pins in changes {
        let other = EnvSpec { provider: Provider::Venv(pins), ..spec.clone() };
        assert_ne!(digest(&other), first);
    }

    let mut fixed = spec.clone();
    fixed.fixups = vec![fixup(&["r"])];
    let with_fixup = digest(&fixed);
    assert_ne!(with_fixup, first);
    fs::write(at("notes.txt"), "used by a fix-up").unwrap();
    assert_ne!(digest(&fixed), with_fixup);

    let script = spec.folder.join("../fix.py");
    fixed.fixups[0].run.push("{folder}/../fix.py".into());
    fs::write(&script, "one way").unwrap();
    let with_script = digest(&fixed);
    fs::write(&script, "another way").unwrap();
    assert_ne!(digest(&fixed), with_script);

    fs::write(at("requirements.lock"), "one==1.0\nother==2\n").unwrap();
    assert_ne!(digest(&spec), first);
}

#[test]
fn sources_sdk_compiler_and_flags_change_a_cargo_digest() {
    let project = tempfile::tempdir().unwrap();
    let mut spec = spec(project.path(), "x");
    let with = |features: &[&str]| {
        let features = features.iter().map(|&feature| feature.to_owned()).collect();
        Provider::Cargo(Crate { manifest: "harnesses/burn/Cargo.toml".into(), features })
    };
    spec.provider = with(&[]);
    let krate = project.path().join("harnesses/burn");
    let sdk = project.path().join("harnesses/sdk/rust/src");
    for folder in [krate.join("target"), krate.join("src"), sdk.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    let mut digests = vec![digest_by("1.95", &[], &spec)];
    for (file, text) in [("burn/src/cnn.rs", "fn main() {}"), ("burn/Cargo.lock", "")] {
        fs::write(project.path().join("harnesses").join(file), text).unwrap();
        digests.push(digest_by("1.95", &[], &spec));
    }
    fs::write(sdk.join("lib.rs"), "").unwrap();
    digests.push(digest_by("1.95", &[], &spec));
    digests.push(digest_by("1.96", &[], &spec));
    digests.push(digest_by("1.95", &[("RUSTFLAGS", "-Ctarget-cpu=native")], &spec));
    spec.provider = with(&["cuda"]);
    digests.push(digest_by("1.95", &[], &spec));
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());

    fs::write(krate.join("target/made.rs"), "").unwrap();
    fs::write(krate.join("framework.yaml"), "").unwrap();
    assert_eq!(digests.last(), Some(&digest_by("1.95", &[], &spec)));
}

#[test]
fn each_provider_starts_jobs_with_variables_of_its_own() {
    let shell = [("PATH", "/bin"), ("PYTHONPATH", "/p")];
    let variables = |provider| {
        let spec = EnvSpec { provider, ..spec(Path::new("/project"), "x") };
        let workshop = workshop(&shell, &spec);
        let provider = of(&spec, &workshop);
        let found = provider.variables(Path::new("/x")).unwrap();
        (found, provider.unwanted().contains(&"PYTHONHOME"))
    };
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let sdk = "/project/harnesses/sdk/python";
    let venv = [
        ("PATH", "/x/bin:/bin"),
        ("PYTHONNOUSERSITE", "1"),
        ("PYTHONPATH", sdk),
        ("VIRTUAL_ENV", "/x"),
    ];
    assert_eq!(variables(Provider::Venv(pins())), (map(&venv), true));
    let of = Crate { manifest: "Cargo.toml".into(), features: Vec::new() };
    assert_eq!(variables(Provider::Cargo(of)), (map(&[("PATH", "/x/bin:/bin")]), false));
    // What the user's shell has stays: it is the user's interpreter.
    let behind = format!("{sdk}:/p");
    let system = Provider::System(Own { python: "python3".into(), wrap: Vec::new() });
    assert_eq!(variables(system), (map(&[("PYTHONPATH", &behind)]), false));
}

/// Rebuilding costs gigabytes: these digests are those of the first rosetta that had any.
#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn digests_are_what_they_always_were() {
    let project = tempfile::tempdir().unwrap();
    let at = |path: &str| project.path().join(path);
    let mut venv = spec(project.path(), "a");
    fs::create_dir_all(at("envs/shared")).unwrap();
    fs::create_dir_all(at("harnesses/crate/src")).unwrap();
    for (path, text) in [
        ("envs/a/fix.py", "print(1)\n"),
        ("envs/shared/more.py", "print(2)\n"),
        ("harnesses/crate/Cargo.toml", ""),
        ("harnesses/crate/Cargo.lock", ""),
        ("harnesses/crate/src/cnn.rs", "fn main() {}\n"),
    ] {
        fs::write(at(path), text).unwrap();
    }
    let python = "3.12".to_owned();
    venv.provider = Provider::Venv(Pins { python, source: vec!["one".to_owned()], ..pins() });
    venv.fixups = vec![fixup(&["{python}", "{folder}/fix.py", "{folder}/../shared/more.py"])];
    let expected = "421f784564bac5d4f8a7f9534b1aa8f7b6ad994a27e07f0a33dc95fac7cc06ea";
    assert_eq!(digest(&venv), expected);

    let of =
        Crate { manifest: "harnesses/crate/Cargo.toml".into(), features: vec!["cuda".to_owned()] };
    let cargo = EnvSpec { provider: Provider::Cargo(of), fixups: Vec::new(), ..venv };
    let expected = "a762ecb701f968fe7b0c01a131a3384304cadebd9438f22e834cf7874ec2cb8f";
    assert_eq!(digest_by("rustc 1.95\n", &[], &cargo), expected);
}
