//! `rosetta export repro`: a record → a folder that repeats it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::catalog::{Catalog, EnvSpec, Language, Provider, Target};
use crate::data::{ArrayFile, DataStore, NpyWriter};
use crate::digest::{sha256, sha256_of};
use crate::hint::{hinted, say, unknown};
use crate::home::Home;
use crate::jobfile::{JobFile, JobPlace};
use crate::launch;
use crate::material::{Material, Size};
use crate::project::Project;
use crate::record::{Record, Status};
use crate::regular;
use crate::repro::{CopiedArray, LOCK, Repro};
use crate::spec::Experiment;
use crate::store::Store;
use crate::ui::{self, Live};

/// How many names of jobs an error lists.
const LISTED: usize = 8;

/// Writes the folder.
pub(super) fn repro(
    project: &Project,
    store: &Store,
    name: &str,
    out: Option<&Path>,
) -> Result<()> {
    let record = find(store, name)?;
    if record.outcome.status == Status::Skipped {
        let why = record.outcome.reason.as_deref().unwrap_or("it was skipped");
        bail!("`{}` never ran, so there is nothing to repeat: {why}", record.job);
    }
    let (experiments, catalog) = (project.experiments()?, project.catalog()?);
    let parts = Ingredients::of(&record, &experiments, &catalog)?;
    let usual = format!("repro-{}-{}-{}", record.experiment, record.target, record.device);
    let out = std::path::absolute(out.unwrap_or(Path::new(&usual)))?;
    if out.symlink_metadata().is_ok() {
        let message = format!("`{}` is there already", out.display());
        return Err(hinted(message, "remove it, or name another place with `--out`"));
    }
    let live = Live::new();
    let report = |progress| live.say_words(progress);
    let data = DataStore::at(Home::find()?.data());
    let size = Size::Profile(&record.profile);
    let material = Material::prepare(&data, parts.experiment, size, record.inputs.source, &report)?;
    let doubts = parts.doubts(&material)?;
    let written = fs::create_dir(&out)
        .with_context(|| format!("cannot make the folder `{}`", out.display()))
        .and_then(|()| {
            parts.write(project, &material, &doubts, &out).inspect_err(|_| {
                // Half a folder would repeat something else.
                let _ = fs::remove_dir_all(&out);
            })
        });
    written?;
    live.finish();
    ui::warn(&doubts);
    say(format_args!(
        "wrote `{}`; `sh {}` repeats it",
        out.display(),
        out.join("run.sh").display()
    ));
    Ok(())
}

/// Returns the record that is named: RUN/JOB, or a job's folder.
fn find(store: &Store, name: &str) -> Result<Record> {
    let path = Path::new(name);
    let folder = match path.file_name().is_some_and(|file| file == "record.json") {
        true => path.parent(),
        false => Some(path).filter(|path| path.join("record.json").is_file()),
    };
    let (run, job) = match folder {
        Some(folder) => {
            let folder = std::path::absolute(folder)?;
            let job = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (folder.parent().unwrap_or(&folder).display().to_string(), job)
        }
        None => match name.rsplit_once('/') {
            Some((run, job)) => (run.to_owned(), job.to_owned()),
            None => (name.to_owned(), String::new()),
        },
    };
    let reading = store.read_one(&run).map_err(|error| {
        error.context(format!(
            "a record is named RUN/JOB, as `latest/cnn.pytorch.cpu.1`, not `{name}`"
        ))
    })?;
    let (records, troubles) = reading.into_records();
    ui::warn(&troubles);
    if let Some(exact) = records.iter().find(|record| record.job == job) {
        return Ok(exact.clone());
    }
    let jobs = records.iter().map(|record| record.job.as_str()).collect::<Vec<_>>();
    let alike = records.iter().filter(|record| record.job.starts_with(&job)).collect::<Vec<_>>();
    match alike.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(unknown(&format!("job of run `{run}`"), &job, jobs)),
        several => {
            let listed =
                several.iter().take(LISTED).map(|record| format!("`{run}/{}`", record.job));
            let listed = listed.collect::<Vec<_>>().join(", ");
            let more = several.len().saturating_sub(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Err(hinted(
                format!("`{name}` is {} jobs: {listed}{more}", several.len()),
                "name one of them; the number at the end is the repeat",
            ))
        }
    }
}

/// What the project has today of what the record was made of.
struct Ingredients<'a> {
    record: &'a Record,
    experiment: &'a Experiment,
    target: &'a Target,
    harness: &'a Path,
    /// The environment that the record's lock makes.
    env: Option<&'a EnvSpec>,
}

impl<'a> Ingredients<'a> {
    fn of(
        record: &'a Record,
        experiments: &'a [Experiment],
        catalog: &'a Catalog,
    ) -> Result<Ingredients<'a>> {
        let Record { experiment, framework, target, .. } = record;
        let known = experiments.iter().map(Experiment::name);
        let found = experiments.iter().find(|one| one.name() == experiment);
        let experiment_of =
            found.ok_or_else(|| unknown("experiment", experiment, known.clone()))?;
        let known = catalog.targets().map(|(_, target)| target.name.as_str());
        let found = catalog.targets().find(|(_, one)| one.name == *target);
        let (framework_of, target_of) =
            found.ok_or_else(|| unknown("target", target, known.clone()))?;
        if framework_of.spec.language != Language::Python {
            let message = format!(
                "`{framework}` is not written in Python: its program is compiled with its SDK, and no folder of its own runs it"
            );
            let hint = format!(
                "`harnesses/{framework}` and `harnesses/sdk` of this project are what its maintainers need; `rosetta job {experiment} \
                 --profile {}` prints the job that the program reads from ROSETTA_JOB",
                record.profile
            );
            return Err(hinted(message, hint));
        }
        let harness = framework_of.harnesses.get(experiment);
        let harness = harness.ok_or_else(|| {
            let have = framework_of.harnesses.keys().map(String::as_str);
            unknown("experiment of this framework", experiment, have)
        })?;
        let is_locked = |env: &&crate::record::EnvIdentity| env.provider == "venv";
        let env = record.env.as_ref().filter(is_locked).and_then(|env| catalog.env(&env.name).ok());
        let env = env.filter(|env| matches!(env.provider, Provider::Venv(_)));
        Ok(Ingredients { record, experiment: experiment_of, target: target_of, harness, env })
    }

    /// Returns what is not as it was when the record was made.
    fn doubts(&self, material: &Material) -> Result<Vec<String>> {
        let inputs = &self.record.inputs;
        let revision = self.record.rosetta.revision.as_deref().map(|one| one.trim_end_matches('+'));
        let at = revision.map(|one| format!("; it was that of revision {one}")).unwrap_or_default();
        let harness = sha256(read(self.harness)?);
        let lock = self.env.map(|env| read(&env.lock)).transpose()?;
        let was = self.record.env.as_ref().and_then(|env| env.lock_digest.clone());
        let (lock, was) = (lock.map(sha256), was.filter(|_| self.env.is_some()));
        let weights = Some(material.weights.digest.clone());
        let order = material.order.as_ref().map(|order| order.digest.clone());
        let differing = [
            ("the harness", harness != inputs.harness_digest),
            ("the experiment's spec", self.experiment.digest != inputs.spec_digest),
            ("the lock of the environment", lock != was),
            ("the data", Some(&material.dataset.digest) != inputs.data_digest.as_ref()),
            ("the initial weights", weights != inputs.weights_digest),
            ("the batch order", order != inputs.order_digest),
        ];
        let changed = differing.into_iter().filter(|(_, is_other)| *is_other);
        let mut doubts = changed
            .map(|(what, _)| format!("{what} is another than in the record{at}"))
            .collect::<Vec<_>>();
        if let (None, Some(env)) = (self.env, &self.record.env) {
            let wrap = match env.wrap.is_empty() {
                true => String::new(),
                false => format!(", run by `{}`", env.wrap.join(" ")),
            };
            doubts.push(format!(
                "the environment was not made from a lock by uv or pip (provider {}{wrap}): a Python with the packages of \
                 `environment/packages.txt` is to be named",
                env.provider
            ));
        }
        Ok(doubts)
    }

    fn write(
        &self,
        project: &Project,
        material: &Material,
        doubts: &[String],
        out: &Path,
    ) -> Result<()> {
        let harness = self.harness.file_name().unwrap_or_default().to_string_lossy().into_owned();
        copy(self.harness, &out.join("harness").join(&harness))?;
        let sdk = project.root.join("harnesses/sdk/python/rosetta");
        copy_folder(&sdk, &out.join("sdk/rosetta"))?;
        fs::create_dir(out.join("environment"))?;
        if let Some(env) = self.env {
            copy_folder(&env.folder, &out.join("environment"))?;
            // The pinned one, or that of a version that is kept beside it.
            copy(&env.lock, &out.join(LOCK))?;
        }
        let (job, arrays) = self.job(material, out)?;
        let mut variables = launch::variables(self.record.device, self.record.cost.threads_allowed);
        variables.extend(self.env.iter().flat_map(|env| env.environment.clone()));
        variables.extend(self.target.environment.clone());
        let repro = Repro {
            record: self.record,
            title: &self.experiment.spec.title,
            harness: &harness,
            env: self.env,
            job,
            variables,
            arrays,
            doubts,
        };
        for (name, text) in repro.files() {
            let path = out.join(name);
            fs::write(&path, text).with_context(|| cannot_write(&path))?;
        }
        Ok(())
    }

    /// Copies what the job reads, and returns its file with paths from there.
    fn job(&self, material: &Material, out: &Path) -> Result<(Value, Vec<CopiedArray>)> {
        let place = JobPlace {
            job: self.record.job.clone(),
            target: &self.target.name,
            device: self.record.device,
            threads: self.record.cost.threads_allowed,
            outputs: Path::new("outputs"),
        };
        let file = JobFile::of_run(self.experiment, material, &place);
        let mut job = serde_json::to_value(&file)?;
        fs::create_dir_all(out.join("data/weights"))?;
        let mut arrays = Vec::new();
        for (name, array) in &file.arrays {
            let stored = &material.dataset.arrays[*name];
            let path = format!("data/{name}.npy");
            arrays.push(copy_rows(stored, array.rows, out, &path)?);
            job["arrays"][*name]["path"] = json!(path);
        }
        for name in &material.weights.names {
            let from = material.weights.folder.join(format!("{name}.npy"));
            arrays.push(copy_array(&from, out, &format!("data/weights/{name}.npy"))?);
        }
        job["weights"]["folder"] = json!("data/weights");
        if let Some(order) = &material.order {
            arrays.push(copy_array(&order.path, out, "data/order.npy")?);
            job["order"] = json!("data/order.npy");
        }
        Ok((job, arrays))
    }
}

/// Copies the first rows of an array.
fn copy_rows(array: &ArrayFile, rows: usize, out: &Path, file: &str) -> Result<CopiedArray> {
    let ArrayFile { path, shape, dtype, .. } = array;
    let row = shape[1..].iter().product::<usize>() * dtype.size();
    let mut from = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let bytes = (row * shape[0]) as u64;
    let begin = from.metadata()?.len().checked_sub(bytes);
    let begin =
        begin.with_context(|| format!("`{}` is shorter than its shape says", path.display()))?;
    from.seek(SeekFrom::Start(begin))?;
    let shape = [&[rows], &shape[1..]].concat();
    let mut writer = NpyWriter::create(&out.join(file), *dtype, &shape)?;
    let mut left = row * rows;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let part = &mut buffer[..left.min(1 << 20)];
        from.read_exact(part).with_context(|| format!("cannot read `{}`", path.display()))?;
        writer.write(part)?;
        left -= part.len();
    }
    let written = writer.finish()?;
    Ok(CopiedArray { file: file.to_owned(), shape, bytes: written.bytes, sha256: written.sha256 })
}

/// Copies a whole array.
fn copy_array(from: &Path, out: &Path, file: &str) -> Result<CopiedArray> {
    let to = out.join(file);
    copy(from, &to)?;
    let mut bytes = File::open(&to)?;
    let shape = crate::data::Header::read(&mut bytes)?.shape;
    let sha256 = sha256_of(File::open(&to)?)?;
    Ok(CopiedArray { file: file.to_owned(), shape, bytes: to.metadata()?.len(), sha256 })
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let listing =
        fs::read_dir(from).with_context(|| format!("cannot list `{}`", from.display()))?;
    for entry in listing {
        let entry = entry?;
        // Subfolders are what Python has compiled.
        if entry.file_type()?.is_file() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| cannot_write(folder))?;
    // Only the bytes: a store's files may be read-only.
    fs::write(to, read(from)?).with_context(|| cannot_write(to))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    regular::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}
