//! Named changes of a harness' mathematics: what other frameworks compute instead, and what goes
//! wrong when a model is translated. May not know how a harness is run, nor what it gave.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hint::unknown;
use crate::regular;
use crate::yaml::{self, Location, Spanned};

/// Name of the file beside framework.yaml.
const FILE: &str = "variants.yaml";

/// Name of the file with mistakes that no verdict is known by: a new one there concerns no proof that stands.
const MISTAKES: &str = "mistakes.yaml";

/// Returns the file that has the variants of an experiment: one of its own, `EXPERIMENT.variants.yaml`,
/// or else that of all others. So a change of those of one experiment concerns no verdict on another.
pub fn file(folder: &Path, experiment: &str) -> PathBuf {
    let own = folder.join(format!("{experiment}.{FILE}"));
    if own.is_file() { own } else { folder.join(FILE) }
}

/// `harnesses/NAME/variants.yaml`, or `EXPERIMENT.variants.yaml` or `mistakes.yaml` there.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "rosetta variants")]
pub struct Variants {
    /// Version of this format.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    pub variants: Vec<Variant>,
}

/// One change of the mathematics.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    pub is: VariantKind,
    /// Where it shows first.
    pub stage: Stage,
    /// What is so, as a clause that a person reads.
    pub says: String,
    /// Changes of the source; without any, the variant cannot be computed.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Experiment → a number that a framework's error shows.
    #[serde(default)]
    pub shows: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VariantKind {
    /// Mathematics that a target may declare as its own.
    Variant,
    /// What only goes wrong.
    Mistake,
}

/// What a difference is seen in first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The shape of an array: the harness ends with an error.
    Shape,
    /// The outputs with the initial weights.
    Forward,
    /// The loss of the first step.
    Loss,
    /// What the steps change.
    Update,
}

/// One change of the source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Experiments whose harness it is a change of; not stated in a file of one experiment.
    #[serde(default, rename = "in")]
    pub experiments: Vec<String>,
    /// Text that stands exactly once in the harness.
    #[schemars(with = "String")]
    pub from: Spanned<String>,
    pub to: String,
}

impl Variants {
    /// Reads the variants of a framework's folder, if it has any, and holds them to its harnesses.
    pub fn load(folder: &Path, harnesses: &BTreeMap<String, PathBuf>) -> Result<Variants> {
        let shared = folder.join(FILE);
        let mut all = Variants::read(&shared)?;
        all.need_experiments(&shared)?;
        let place_of_more = folder.join(MISTAKES);
        let mut more = Variants::read(&place_of_more)?;
        more.need_experiments(&place_of_more)?;
        more.need_mistakes(&place_of_more)?;
        for (experiment, harness) in harnesses {
            let source = regular::read_to_string(harness)
                .with_context(|| format!("cannot read `{}`", harness.display()))?;
            let path = file(folder, experiment);
            if path != shared {
                all.need_none_of(experiment, &shared, &path)?;
                let mut own = Variants::read(&path)?;
                own.belong_to(experiment, &path)?;
                all.variants.append(&mut own.variants);
            }
            for variant in &all.variants {
                variant.check(&path, experiment, &source)?;
            }
            for mistake in &more.variants {
                mistake.check(&place_of_more, experiment, &source)?;
            }
        }
        all.variants.append(&mut more.variants);
        Ok(all)
    }

    /// Reads one file; without it there are none.
    fn read(path: &Path) -> Result<Variants> {
        if !path.is_file() {
            return Ok(Variants::default());
        }
        let variants: Variants = yaml::load(path)?;
        if variants.version != 1 {
            let version = variants.version;
            anyhow::bail!("{}: `version` is {version}; this rosetta reads 1", path.display());
        }
        Ok(variants)
    }

    /// Ends with an error if a change of a file for several experiments does not say of which it is.
    fn need_experiments(&self, path: &Path) -> Result<()> {
        let mut changes = self.variants.iter().flat_map(|variant| &variant.changes);
        match changes.find(|change| change.experiments.is_empty()) {
            None => Ok(()),
            Some(change) => {
                let message = "this change lacks `in`, the experiments whose harness it is made in";
                Err(yaml::wrong(path, &change.from.referenced, message))
            }
        }
    }

    /// Ends with an error if one of them may be declared: verdicts are known by all that is declared.
    fn need_mistakes(&self, path: &Path) -> Result<()> {
        match self.variants.iter().find(|variant| variant.is != VariantKind::Mistake) {
            None => Ok(()),
            Some(variant) => {
                let message =
                    format!("this file is of mistakes alone: a variant belongs in `{FILE}`");
                Err(yaml::wrong(path, &variant.name.referenced, message))
            }
        }
    }

    /// Ends with an error if the file for all has a change of an experiment that has one of its own.
    fn need_none_of(&self, experiment: &str, shared: &Path, own: &Path) -> Result<()> {
        match self.variants.iter().flat_map(|variant| variant.changes_of(experiment)).next() {
            None => Ok(()),
            Some(change) => {
                let own = own.file_name().unwrap_or_default().to_string_lossy();
                let message = format!("changes of {experiment} belong in `{own}`, which is there");
                Err(yaml::wrong(shared, &change.from.referenced, message))
            }
        }
    }

    /// Makes all changes those of one experiment, as its own file need not say.
    fn belong_to(&mut self, experiment: &str, path: &Path) -> Result<()> {
        for change in self.variants.iter_mut().flat_map(|variant| &mut variant.changes) {
            if change.experiments.is_empty() {
                change.experiments = vec![experiment.to_owned()];
            } else if change.experiments != [experiment] {
                let message = format!("this file is of {experiment} alone: leave out `in`");
                return Err(yaml::wrong(path, &change.from.referenced, message));
            }
        }
        Ok(())
    }

    /// Returns those that can be computed for an experiment.
    pub fn of<'a>(&'a self, experiment: &'a str) -> impl Iterator<Item = &'a Variant> + Clone {
        self.variants.iter().filter(move |variant| variant.changes_of(experiment).next().is_some())
    }

    /// Returns a variant that a target may declare.
    pub fn declared<'a>(&'a self, experiment: &'a str, name: &str) -> Result<&'a Variant> {
        let known = self.of(experiment).filter(|variant| variant.is == VariantKind::Variant);
        let found = known.clone().find(|variant| variant.name.value == name);
        let names = known.map(|variant| variant.name.value.as_str()).collect::<Vec<_>>();
        found.ok_or_else(|| unknown(&format!("variant of {experiment}"), name, names))
    }
}

impl Variant {
    /// Returns a mistake that stands in no file: its name and what is so, and the text that is changed
    /// wherever it stands.
    pub fn mistake(
        experiment: &str,
        stage: Stage,
        (name, says): (&str, &str),
        (from, to): (&str, &str),
    ) -> Variant {
        let unplaced =
            |text: &str| Spanned::new(text.to_owned(), Location::UNKNOWN, Location::UNKNOWN);
        let experiments = vec![experiment.to_owned()];
        let change = Change { experiments, from: unplaced(from), to: to.to_owned() };
        Variant {
            name: unplaced(name),
            is: VariantKind::Mistake,
            stage,
            says: says.to_owned(),
            changes: vec![change],
            shows: BTreeMap::new(),
        }
    }

    fn changes_of<'a>(&'a self, experiment: &'a str) -> impl Iterator<Item = &'a Change> {
        self.changes.iter().filter(move |c| c.experiments.iter().any(|one| one == experiment))
    }

    fn check(&self, path: &Path, experiment: &str, source: &str) -> Result<()> {
        for change in self.changes_of(experiment) {
            let count = source.matches(change.from.value.as_str()).count();
            if count != 1 {
                let name = &self.name.value;
                let message = format!(
                    "`from` of `{name}` stands {count} times in the harness of {experiment}, not once"
                );
                return Err(yaml::wrong(path, &change.from.referenced, message));
            }
        }
        Ok(())
    }

    /// Returns the source of a harness with the changes made.
    pub fn apply(&self, experiment: &str, source: &str) -> String {
        let mut changed = source.to_owned();
        for change in self.changes_of(experiment) {
            changed = changed.replace(change.from.value.as_str(), &change.to);
        }
        changed
    }

    /// Returns the lines of the harness that the changes are made in, before and after.
    pub fn lines(&self, experiment: &str, source: &str) -> Vec<(String, String)> {
        let pair = |change: &Change| {
            let before = lines_around(source, &change.from.value);
            (before.to_owned(), before.replace(change.from.value.as_str(), &change.to))
        };
        self.changes_of(experiment).map(pair).collect()
    }
}

/// Returns the whole lines of `source` in which `text` stands.
fn lines_around<'a>(source: &'a str, text: &str) -> &'a str {
    let Some(at) = source.find(text) else { return "" };
    let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = at + text.trim_end().len();
    let end = source[end..].find('\n').map_or(source.len(), |newline| end + newline);
    &source[start..end]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::{Variants, file};

    const SOURCE: &str = "a = 1\nb = a + 2  # two\n";

    /// Returns a folder of a framework without variants, and its harness.
    fn folder() -> (TempDir, BTreeMap<String, PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let harness = folder.path().join("tiny.py");
        std::fs::write(&harness, SOURCE).unwrap();
        (folder, BTreeMap::from([("tiny".to_owned(), harness)]))
    }

    fn load(from: &str) -> anyhow::Result<Variants> {
        let (folder, harnesses) = folder();
        let text = format!(
            "version: 1\nvariants:\n  - name: three\n    is: mistake\n    stage: loss\n    \
             says: it is three\n    changes: [{{in: [tiny], from: \"{from}\", to: a + 3}}]\n"
        );
        std::fs::write(folder.path().join("variants.yaml"), text).unwrap();
        Variants::load(folder.path(), &harnesses)
    }

    #[test]
    fn a_change_is_made_in_the_source_and_shown_in_whole_lines() {
        let variants = load("a + 2").unwrap();
        let three = variants.of("tiny").next().unwrap();
        assert_eq!(three.apply("tiny", SOURCE), "a = 1\nb = a + 3  # two\n");
        let lines = ("b = a + 2  # two".to_owned(), "b = a + 3  # two".to_owned());
        assert_eq!(three.lines("tiny", SOURCE), [lines]);
        assert_eq!(variants.of("other").count(), 0);
    }

    #[test]
    fn a_text_that_is_not_there_or_there_twice_is_an_error_at_its_place() {
        for (from, count) in [("a + 5", 0), ("a", 2)] {
            let error = load(from).unwrap_err().to_string();
            assert!(error.contains(&format!("stands {count} times")), "{error}");
            assert!(error.contains("variants.yaml:7:"), "{error}");
        }
    }

    #[test]
    fn an_experiment_with_a_file_of_its_own_has_all_its_variants_there() {
        let (folder, harnesses) = folder();
        let write = |name: &str, which: &str| {
            let text = format!(
                "version: 1\nvariants:\n  - {{name: three, is: mistake, stage: loss, says: so,\n     \
                 changes: [{{{which}from: a + 2, to: a + 3}}]}}\n"
            );
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        let load = || Variants::load(folder.path(), &harnesses);
        write("tiny.variants.yaml", "");
        assert_eq!(load().unwrap().of("tiny").count(), 1);
        assert!(file(folder.path(), "tiny").ends_with("tiny.variants.yaml"));
        assert!(file(folder.path(), "other").ends_with("variants.yaml"));
        for (name, which, expected) in [
            ("variants.yaml", "", "this change lacks `in`"),
            ("variants.yaml", "in: [tiny], ", "belong in `tiny.variants.yaml`, which is there"),
            ("variants.yaml", "in: [other], ", ""),
            ("tiny.variants.yaml", "in: [other], ", "of tiny alone: leave out `in`"),
        ] {
            write(name, which);
            let found = load().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{found}");
        }
    }

    #[test]
    fn mistakes_have_a_file_that_no_verdict_is_known_by() {
        let (folder, harnesses) = folder();
        let load = |is: &str, more: &str| {
            let text = format!(
                "version: 1\nvariants:\n  - {{name: three, is: {is}, stage: loss, says: so,\n     \
                 changes: [{{{more}, to: a + 3}}]}}\n"
            );
            std::fs::write(folder.path().join("mistakes.yaml"), text).unwrap();
            let loaded = Variants::load(folder.path(), &harnesses);
            loaded.map(|all| all.of("tiny").count()).map_err(|error| error.to_string())
        };
        assert_eq!(load("mistake", "in: [tiny], from: a + 2"), Ok(1));
        assert!(file(folder.path(), "tiny").ends_with("variants.yaml"));
        for (is, more, expected) in [
            ("variant", "in: [tiny], from: a + 2", "mistakes.yaml:3:"),
            ("variant", "in: [tiny], from: a + 2", "of mistakes alone"),
            ("mistake", "from: a + 2", "this change lacks `in`"),
            ("mistake", "in: [tiny], from: a + 5", "stands 0 times"),
        ] {
            let error = load(is, more).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_mistake_cannot_be_declared() {
        let variants = load("a + 2").unwrap();
        let error = variants.declared("tiny", "three").unwrap_err().to_string();
        assert!(error.contains("unknown variant of tiny `three`; there is none"), "{error}");
    }
}
