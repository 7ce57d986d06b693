//! `envs/NAME/env.yaml`: as it is written, and as it is meant. Must not depend on how an environment
//! is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::gpu_needs::GpuNeeds;
use super::provider::{Crate, Own, OwnProvider, Pins, Provider, ProviderName, Toml};
use crate::quantity::parse_bytes;
use crate::yaml::{self, Location, Spanned};

/// A pinned environment and where its files stand.
#[derive(Debug, Clone)]
pub struct EnvSpec {
    pub folder: PathBuf,
    /// The project that paths in the file are relative to.
    pub project: PathBuf,
    /// With a version behind an `@` where that is not the pinned one.
    pub name: String,
    /// The lock of its Python packages.
    pub lock: PathBuf,
    pub provider: Provider,
    /// Programs that must be on PATH to build it.
    pub programs: Vec<String>,
    pub fixups: Vec<FixUp>,
    /// Variables set for every job in it.
    pub environment: BTreeMap<String, String>,
    /// About how much room it takes once it is built.
    pub size_bytes: Option<u64>,
    /// No part of a digest: it changes nothing in what is built.
    pub gpu: Option<GpuNeeds>,
}

/// A declared step of an environment's build.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixUp {
    /// What is missing and why this helps.
    pub why: String,
    /// The command; `{env}`, `{folder}`, `{site}` and `{python}` are replaced.
    pub run: Vec<String>,
}

/// A pinned environment, as written in `envs/NAME/env.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "rosetta environment", transform = add_rules)]
pub struct EnvFile {
    /// Version of this format.
    #[schemars(extend("const" = 1))]
    pub(super) version: u32,
    /// The folder's name.
    pub(super) name: String,
    provider: OwnProvider,
    /// `venv`: the CPython that is needed, as `"3.12"`.
    #[schemars(with = "Option<String>")]
    python: Option<Spanned<String>>,
    /// `venv`: direct pins; `requirements.lock` beside this file has the rest, with hashes.
    #[schemars(with = "Option<Vec<String>>")]
    requirements: Option<Spanned<Vec<String>>>,
    /// `venv`: the oldest glibc that has wheels of them all, as `"2.35"` [default: 2.28].
    #[schemars(with = "Option<String>")]
    glibc: Option<Spanned<String>>,
    /// `venv`: packages that may be built from source; all others must be wheels.
    #[schemars(with = "Option<Vec<String>>")]
    source: Option<Spanned<Vec<String>>>,
    /// `cargo`: the crate's Cargo.toml, relative to the project.
    #[schemars(with = "Option<String>")]
    manifest: Option<Spanned<PathBuf>>,
    /// `cargo`: features to build with.
    #[schemars(with = "Option<Vec<String>>")]
    features: Option<Spanned<Vec<String>>>,
    /// `julia`: the Julia that is needed, as `"1.10"`; `Project.toml` and `Manifest.toml` beside this file, if they are
    /// there, name its packages.
    #[schemars(with = "Option<String>")]
    julia: Option<Spanned<String>>,
    /// Programs that must be on PATH to build it.
    #[serde(default)]
    programs: Vec<String>,
    /// Steps that mend, inside the environment, what the packages lack.
    #[serde(default, alias = "cures")]
    fixups: Vec<FixUp>,
    /// Variables set for every job in it.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// About how much room it takes once it is built, as `5.3G`.
    #[schemars(with = "Option<String>")]
    size: Option<Spanned<String>>,
    /// What its packages need of a GPU, for targets that compute on one.
    gpu: Option<GpuNeeds>,
}

/// A field of env.yaml that not every provider has.
struct ProviderField {
    field: &'static str,
    of: &'static [ProviderName],
    is_needed: bool,
    /// Where a file has it.
    place: fn(&EnvFile) -> Option<Location>,
}

const SETTINGS: [ProviderField; 7] = [
    ProviderField {
        field: "python",
        of: &[ProviderName::Venv],
        is_needed: true,
        place: |file| place(&file.python),
    },
    ProviderField {
        field: "requirements",
        of: &[ProviderName::Venv],
        is_needed: false,
        place: |file| place(&file.requirements),
    },
    ProviderField {
        field: "glibc",
        of: &[ProviderName::Venv],
        is_needed: false,
        place: |file| place(&file.glibc),
    },
    ProviderField {
        field: "source",
        of: &[ProviderName::Venv],
        is_needed: false,
        place: |file| place(&file.source),
    },
    ProviderField {
        field: "manifest",
        of: &[ProviderName::Cargo],
        is_needed: true,
        place: |file| place(&file.manifest),
    },
    ProviderField {
        field: "features",
        of: &[ProviderName::Cargo],
        is_needed: false,
        place: |file| place(&file.features),
    },
    ProviderField {
        field: "julia",
        of: &[ProviderName::Julia],
        is_needed: true,
        place: |file| place(&file.julia),
    },
];

/// The providers that env.yaml may name.
const NAMES: [ProviderName; 3] = [ProviderName::Venv, ProviderName::Cargo, ProviderName::Julia];

impl EnvSpec {
    /// Returns what the file at `path` means.
    pub(super) fn of(file: EnvFile, path: &Path, project: &Path) -> Result<EnvSpec> {
        check_settings(path, &file)?;
        check_version(path, "python", file.python.as_ref(), "3.12")?;
        check_version(path, "julia", file.julia.as_ref(), "1.10")?;
        check_version(path, "glibc", file.glibc.as_ref(), "2.35")?;
        let size_bytes = size(path, file.size.as_ref())?;
        file.gpu.as_ref().map_or(Ok(()), |gpu| gpu.check(path))?;
        if file.fixups.iter().any(|fixup| fixup.run.is_empty()) {
            anyhow::bail!("{}: a fix-up has an empty `run`", path.display());
        }
        let folder = path.parent().unwrap_or(project);
        Ok(EnvSpec {
            folder: folder.to_owned(),
            lock: folder.join("requirements.lock"),
            project: project.to_owned(),
            provider: file.provider(),
            name: file.name,
            programs: file.programs,
            fixups: file.fixups,
            environment: file.environment,
            size_bytes,
            gpu: file.gpu,
        })
    }

    /// Returns an interpreter of the user's as an environment.
    pub fn system(own: &Own, project: &Path) -> EnvSpec {
        EnvSpec {
            folder: project.to_owned(),
            lock: PathBuf::new(),
            project: project.to_owned(),
            name: ProviderName::System.as_str().to_owned(),
            provider: Provider::System(own.clone()),
            programs: Vec::new(),
            fixups: Vec::new(),
            environment: BTreeMap::new(),
            size_bytes: None,
            gpu: None,
        }
    }
}

impl EnvFile {
    /// Returns the settings of its provider, of which [`check_settings`] found none missing.
    fn provider(&self) -> Provider {
        match self.provider {
            OwnProvider::Venv => Provider::Venv(Pins {
                python: value(&self.python),
                requirements: value(&self.requirements),
                glibc: self.glibc.as_ref().map(|glibc| glibc.value.clone()),
                source: value(&self.source),
            }),
            OwnProvider::Cargo => Provider::Cargo(Crate {
                manifest: value(&self.manifest),
                features: value(&self.features),
            }),
            OwnProvider::Julia => Provider::Julia(Toml { julia: value(&self.julia) }),
        }
    }
}

fn place<T>(field: &Option<Spanned<T>>) -> Option<Location> {
    field.as_ref().map(|field| field.referenced)
}

fn value<T: Clone + Default>(field: &Option<Spanned<T>>) -> T {
    field.as_ref().map(|field| field.value.clone()).unwrap_or_default()
}

/// Refuses a file that lacks a setting of its provider, or has one of another.
fn check_settings(path: &Path, file: &EnvFile) -> Result<()> {
    let provider = file.provider.name();
    for ProviderField { field, of, is_needed, place } in SETTINGS {
        match (place(file), of.contains(&provider)) {
            (Some(place), false) => {
                let owners = of.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
                let owners = owners.join(" and ");
                let message = format!(
                    "`{field}` is a setting of the provider {owners}; this one is `{provider}`"
                );
                return Err(yaml::wrong(path, &place, message));
            }
            (None, true) if is_needed => {
                let path = path.display();
                anyhow::bail!("{path}: the provider `{provider}` needs `{field}`");
            }
            _ => {}
        }
    }
    Ok(())
}

fn size(path: &Path, size: Option<&Spanned<String>>) -> Result<Option<u64>> {
    let Some(Spanned { value, referenced, .. }) = size else { return Ok(None) };
    parse_bytes(value).map(Some).map_err(|why| yaml::wrong(path, referenced, why))
}

fn check_version(
    path: &Path,
    field: &str,
    version: Option<&Spanned<String>>,
    example: &str,
) -> Result<()> {
    let Some(Spanned { value, referenced, .. }) = version else { return Ok(()) };
    if value.split('.').all(|part| part.parse::<u16>().is_ok()) {
        return Ok(());
    }
    let message = format!("`{field}: {value}` is not a version; write `\"{example}\"`");
    Err(yaml::wrong(path, referenced, message))
}

/// Adds to the schema what the type does not tell: the old name of a field, and which settings go
/// with which provider.
fn add_rules(schema: &mut Schema) {
    let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    if let Some(mut old) = fields.get("fixups").cloned() {
        old["description"] = json!("The old name of `fixups`.");
        old["deprecated"] = json!(true);
        fields.insert("cures".to_owned(), old);
    }
    schema.insert("allOf".to_owned(), NAMES.map(rule).into());
}

/// Returns what a provider's settings must be, in the words of a JSON schema.
fn rule(provider: ProviderName) -> Value {
    let mut needed = Vec::new();
    let mut foreign = Map::new();
    for ProviderField { field, of, is_needed, .. } in SETTINGS {
        if !of.contains(&provider) {
            foreign.insert(field.to_owned(), json!(false));
        } else if is_needed {
            needed.push(field);
        }
    }
    json!({
        "if": {"properties": {"provider": {"const": provider}}},
        "then": {"required": needed, "properties": foreign},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VENV: &str = "version: 1\nname: x\nprovider: venv\npython: \"3.12\"\n";
    const CARGO: &str = "version: 1\nname: x\nprovider: cargo\nmanifest: a/Cargo.toml\n";

    const JULIA: &str = "version: 1\nname: x\nprovider: julia\njulia: \"1.10\"\n";

    fn load(text: &str) -> Result<EnvSpec> {
        let path = Path::new("envs/x/env.yaml");
        EnvSpec::of(yaml::parse(path, text)?, path, Path::new(""))
    }

    #[test]
    fn each_provider_has_its_own_settings() {
        let spec = load(&format!("{VENV}source: [a]\nglibc: \"2.35\"\n")).unwrap();
        let expected = Pins {
            python: "3.12".to_owned(),
            requirements: Vec::new(),
            glibc: Some("2.35".to_owned()),
            source: vec!["a".to_owned()],
        };
        assert_eq!(spec.provider, Provider::Venv(expected));
        assert_eq!(spec.provider.python(), Some("3.12"));
        let spec = load(&format!("{CARGO}features: [cuda]\n")).unwrap();
        let expected = Crate { manifest: "a/Cargo.toml".into(), features: vec!["cuda".to_owned()] };
        assert_eq!(spec.provider, Provider::Cargo(expected));
        assert_eq!(spec.provider.python(), None);
        let spec = load(JULIA).unwrap();
        assert_eq!(spec.provider, Provider::Julia(Toml { julia: "1.10".to_owned() }));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            (
                format!("{VENV}manifest: a/Cargo.toml\n"),
                "env.yaml:5:11: `manifest` is a setting of the provider `cargo`; this one is `venv`",
            ),
            (
                format!("{CARGO}requirements: []\n"),
                "env.yaml:5:15: `requirements` is a setting of the provider `venv`; this one is `cargo`",
            ),
            (
                VENV.replace("python: \"3.12\"\n", ""),
                "env.yaml: the provider `venv` needs `python`",
            ),
            (
                CARGO.replace("manifest: a/Cargo.toml\n", ""),
                "env.yaml: the provider `cargo` needs `manifest`",
            ),
            (
                VENV.replace("3.12", "new"),
                "env.yaml:4:9: `python: new` is not a version; write `\"3.12\"`",
            ),
            (
                VENV.replace("venv", "system"),
                "env.yaml:3:11: unknown variant `system`; allowed: `venv`, `cargo`, `julia`",
            ),
            (
                format!("{JULIA}python: \"3.12\"\n"),
                "env.yaml:5:9: `python` is a setting of the provider `venv`; this one is `julia`",
            ),
            (
                JULIA.replace("1.10", "lts"),
                "env.yaml:4:8: `julia: lts` is not a version; write `\"1.10\"`",
            ),
            (
                format!("{VENV}fixups: [{{why: w, run: []}}]\n"),
                "env.yaml: a fix-up has an empty `run`",
            ),
            (
                format!("{VENV}fixup: []\n"),
                "env.yaml:5:1: unknown field `fixup`; allowed: `version`, `name`, `provider`, `python`",
            ),
        ];
        for (text, expected) in cases {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}\nhas not: {expected}");
        }
    }

    #[test]
    fn the_old_name_of_fixups_is_still_read() {
        let fixups = "[{why: it is old, run: [ln]}]\n";
        for name in ["fixups", "cures"] {
            let spec = load(&format!("{VENV}{name}: {fixups}")).unwrap();
            assert_eq!(
                (spec.fixups.len(), spec.fixups[0].run.as_slice()),
                (1, &["ln".to_owned()][..])
            );
        }
        let both = load(&format!("{VENV}fixups: {fixups}cures: {fixups}"));
        assert!(both.unwrap_err().to_string().contains("duplicate field"));
    }

    #[test]
    fn the_schema_knows_whose_settings_are_whose() {
        let schema: Value = serde_json::from_str(&yaml::schema::<EnvFile>()).unwrap();
        let [venv, cargo] = [&schema["allOf"][0]["then"], &schema["allOf"][1]["then"]];
        assert_eq!(venv["required"], json!(["python"]));
        let foreign = json!({"manifest": false, "features": false, "julia": false});
        assert_eq!(venv["properties"], foreign);
        assert_eq!(cargo["required"], json!(["manifest"]));
        assert_eq!(schema["properties"]["cures"]["items"], schema["properties"]["fixups"]["items"]);
        assert_eq!(schema["$defs"]["ProviderName"]["enum"], json!(["venv", "cargo", "julia"]));
    }
}
