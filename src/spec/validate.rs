//! What must hold in a spec beyond the types of its fields; an error names file, line and the values allowed.
//!
//! Must not depend on which frameworks exist.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Result, bail};

use crate::hint::{nearest, unknown};
use crate::spec::{DataSpec, Experiment, Setting, Spec, Task, WeightsSpec, check_name};
use crate::yaml::{self, Spanned};

const ARRAYS: [&str; 4] = ["x_train", "y_train", "x_test", "y_test"];

/// Checks what was read from a spec.
pub(super) fn validate(experiment: &Experiment) -> Result<()> {
    let (spec, path) = (&experiment.spec, experiment.path.as_path());
    check_identity(spec, path)?;
    for profile in spec.profiles.values() {
        check_overrides(spec, &profile.settings, path)?;
    }
    check_overrides(spec, &spec.check, path)?;
    check_overrides(spec, &spec.gradient, path)?;
    check_gradient(spec, path)?;
    for (name, allowed) in needed_settings(spec.task) {
        check_whole_number(spec, name, &allowed, path)?;
    }
    check_data(spec.task, &spec.data, path)?;
    check_weights(&spec.initial_weights, path)?;
    check_bands(spec, path)
}

fn check_identity(spec: &Spec, path: &Path) -> Result<()> {
    let shown = path.display();
    if spec.version != 1 {
        bail!("{shown}: `version` is {}; this rosetta reads 1", spec.version);
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if spec.name != stem {
        bail!("{shown}: `name` is `{}` but the file is named `{stem}`", spec.name);
    }
    if let Err(why) = check_name(&spec.name) {
        bail!("{shown}: `name`: {why}");
    }
    if spec.profiles.is_empty() {
        bail!("{shown}: `profiles` is empty; an experiment needs at least one");
    }
    Ok(())
}

/// Checks that settings of a profile or a check replace some of the experiment's, of the same type.
fn check_overrides(
    spec: &Spec,
    layer: &BTreeMap<String, Spanned<Setting>>,
    path: &Path,
) -> Result<()> {
    for (name, value) in layer {
        let Some(base) = spec.settings.get(name) else {
            return Err(yaml::wrong(path, &value.referenced, no_such_setting(spec, name)));
        };
        let (found, wanted) = (value.value.kind(), base.value.kind());
        if found != wanted {
            let message = format!("`{name}` is {found} here but {wanted} in `settings`");
            return Err(yaml::wrong(path, &value.referenced, message));
        }
    }
    Ok(())
}

/// Checks that gradients are asked for where there are some, of the batches that the check has.
fn check_gradient(spec: &Spec, path: &Path) -> Result<()> {
    let Some(first) = spec.gradient.values().next() else { return Ok(()) };
    if spec.task == Task::Features {
        let message = "`gradient` belongs to `task: classification`: nothing is trained here";
        return Err(yaml::wrong(path, &first.referenced, message));
    }
    for name in ["batch_size", "epochs"] {
        if let Some(value) = spec.gradient.get(name) {
            let message = format!("`{name}` cannot differ in `gradient`; `check` may state it");
            return Err(yaml::wrong(path, &value.referenced, message));
        }
    }
    Ok(())
}

fn no_such_setting(spec: &Spec, name: &str) -> String {
    let known = names(&spec.settings).collect::<Vec<_>>();
    let list = known.join("`, `");
    let mut message = format!("`{name}` is not in `settings` (`{list}`)");
    if let Some(near) = nearest(name, known.iter().copied()) {
        message += &format!("; did you mean `{near}`?");
    }
    message
}

/// Returns the settings that a task needs, each with the values that it may have: more would fill disk or memory
/// before anybody saw a result.
fn needed_settings(task: Task) -> [(&'static str, RangeInclusive<i64>); 2] {
    match task {
        Task::Classification => [("batch_size", 1..=MOST), ("epochs", 1..=MOST_EPOCHS)],
        Task::Features => [("batch_size", 1..=MOST), ("warmup_batches", 0..=MOST)],
    }
}

/// Most epochs: each is an event that a record keeps, and a job may send 4 MiB of those.
pub(super) const MOST_EPOCHS: i64 = 10_000;
/// Most rows of a batch and batches to warm up; the JSON schema says these limits too.
pub(super) const MOST: i64 = 1_000_000;

fn check_whole_number(
    spec: &Spec,
    name: &str,
    allowed: &RangeInclusive<i64>,
    path: &Path,
) -> Result<()> {
    let Some(base) = spec.settings.get(name) else {
        bail!("{}: `settings` lacks `{name}`, which its task needs", path.display());
    };
    let replaced = spec.profiles.values().filter_map(|profile| profile.settings.get(name));
    for value in replaced.chain(spec.check.get(name)).chain([base]) {
        if !matches!(&value.value, Setting::Int(number) if allowed.contains(number)) {
            let (lowest, highest) = (allowed.start(), allowed.end());
            let message = format!("`{name}` must be a whole number from {lowest} to {highest}");
            return Err(yaml::wrong(path, &value.referenced, message));
        }
    }
    Ok(())
}

fn check_data(task: Task, data: &DataSpec, path: &Path) -> Result<()> {
    if data.dataset.is_some() != data.files.is_empty() {
        bail!("{}: `data` needs either `dataset` or `files`", path.display());
    }
    for (name, file) in &data.files {
        if !ARRAYS.contains(&name.as_str()) {
            let message = unknown("array", name, ARRAYS);
            return Err(yaml::wrong(path, &file.referenced, message));
        }
    }
    if let Some(divide_by) = data.divide_by {
        let is_sound = divide_by.is_finite() && divide_by > 0.0 && !data.files.is_empty();
        if !is_sound {
            bail!(
                "{}: `divide_by: {divide_by}`: a positive number is expected, and only with `files`",
                path.display()
            );
        }
    }
    let needed: &[&str] = match task {
        _ if data.files.is_empty() => &[],
        Task::Classification => &ARRAYS,
        Task::Features => &["x_test"],
    };
    match needed.iter().find(|name| !data.files.contains_key(**name)) {
        Some(name) => bail!("{}: `data.files` lacks `{name}`", path.display()),
        None => Ok(()),
    }
}

/// Most elements of all initial weights together: 4 GiB in float32.
const MOST_ELEMENTS: usize = 1 << 30;

fn check_weights(weights: &WeightsSpec, path: &Path) -> Result<()> {
    if weights.recipe.is_some() && !weights.tensors.is_empty() {
        bail!("{}: `initial_weights` has both `recipe` and `tensors`", path.display());
    }
    let (mut seen, mut elements) = (BTreeSet::new(), 0);
    for tensor in &weights.tensors {
        let name = &tensor.name;
        let problem = check_name(&name.value).err().or_else(|| tensor.problem());
        if let Some(problem) = problem {
            let message = format!("tensor `{}`: {problem}", name.value);
            return Err(yaml::wrong(path, &name.referenced, message));
        }
        elements += tensor.shape.iter().product::<usize>();
        if elements > MOST_ELEMENTS {
            let message = format!(
                "with tensor `{}` the weights have {elements} elements; at most {MOST_ELEMENTS} are made",
                name.value
            );
            return Err(yaml::wrong(path, &name.referenced, message));
        }
        if !seen.insert(&name.value) {
            let message = format!("tensor `{}` is listed twice", name.value);
            return Err(yaml::wrong(path, &name.referenced, message));
        }
    }
    Ok(())
}

fn check_bands(spec: &Spec, path: &Path) -> Result<()> {
    for expectation in &spec.expect {
        let profile = &expectation.profile;
        if !spec.profiles.contains_key(&profile.value) {
            let error = unknown("profile", &profile.value, names(&spec.profiles));
            return Err(yaml::wrong(path, &profile.referenced, error));
        }
        let [low, high] = expectation.accuracy;
        if !(0.0 <= low && low <= high && high <= 1.0) {
            let message = format!("`accuracy: [{low}, {high}]` is not a band within 0 and 1");
            return Err(yaml::wrong(path, &profile.referenced, message));
        }
    }
    Ok(())
}

fn names<T>(map: &BTreeMap<String, T>) -> impl Iterator<Item = &str> + Clone {
    map.keys().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn wrong(task: &str, gradient: &str) -> String {
        let text = format!(
            "{{version: 1, name: tiny, title: Tiny, task: {task}, seed: 1, \
             data: {{dataset: imdb}}, settings: {{batch_size: 1, epochs: 1, warmup_batches: 1, \
             epsilon: 0.1}}, gradient: {{{gradient}}}, profiles: {{quick: {{rows: {{}}, \
             timeout: 1s}}}}}}"
        );
        let path = Path::new("tiny.yaml");
        let spec = yaml::parse(path, &text).unwrap();
        let experiment = Experiment { path: path.to_owned(), digest: String::new(), spec };
        validate(&experiment).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_gradient_is_asked_for_with_settings_of_a_training() {
        for (task, gradient, expected) in [
            ("classification", "", ""),
            ("classification", "epsilon: 1e8", ""),
            ("classification", "epsilom: 1e8", "did you mean `epsilon`?"),
            ("classification", "epsilon: big", "is a text here but a number in `settings`"),
            ("classification", "batch_size: 2", "`batch_size` cannot differ in `gradient`"),
            ("features", "epsilon: 1e8", "belongs to `task: classification`"),
        ] {
            let found = wrong(task, gradient);
            assert!(found.contains(expected), "{gradient}: {found}");
            assert_eq!(found.is_empty(), expected.is_empty(), "{gradient}: {found}");
        }
    }
}
