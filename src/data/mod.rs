//! Data sets, initial weights and batch orders on disk: imported, fetched, made, verified.
//!
//! Everything ends as `.npy` files in a sealed folder (see [`sealed`]) with a manifest of digests. May not
//! know which frameworks exist.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::digest::sha256;
use crate::hint::hinted;
use crate::progress::{Progress, Report};
use crate::spec::{Experiment, Source, WeightsRecipe};
use crate::yaml;

mod archive;
mod chance;
mod fetch;
mod import;
mod known;
mod npy;
mod own;
mod pickle;
mod resnet50;
mod sealed;
mod twin;
mod weights;

pub use known::{ALL as KNOWN, Known};
pub use npy::{Dtype, Header, Writer as NpyWriter};
pub use sealed::Origin;

use known::{Archive, Kind};
use sealed::{Entry, Manifest, Plan};

/// Recipe of arrays that came out of an archive: raised when an importer gives other arrays.
const IMPORT_RECIPE: &str = "import 1";

/// The folder that holds data sets, weights and orders.
#[derive(Debug, Clone)]
pub struct DataStore {
    root: PathBuf,
    /// Sizes of twins; tests make small ones.
    sizes: fn(Kind) -> [usize; 2],
}

/// The arrays of an experiment, ready to be read.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub name: String,
    pub source: Source,
    pub arrays: BTreeMap<String, ArrayFile>,
    /// SHA-256 over the digests of the arrays.
    pub digest: String,
}

/// One `.npy` file: C order, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayFile {
    pub path: PathBuf,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    /// Values are divided by this number when they are loaded.
    pub divide_by: Option<f64>,
}

/// Initial weights, `folder/NAME.npy` in float32.
#[derive(Debug, Clone)]
pub struct Weights {
    pub folder: PathBuf,
    /// In the order of the forward pass; empty when the experiment has none.
    pub names: Vec<String>,
    pub digest: String,
    /// Where imported weights came from; `Synthetic` for made ones.
    pub source: Source,
}

/// Row numbers of each epoch: uint32 (epochs, rows).
#[derive(Debug, Clone)]
pub struct Order {
    pub path: PathBuf,
    pub digest: String,
}

/// What the store knows and has of one name.
#[derive(Debug)]
pub struct Status {
    pub known: &'static Known,
    pub stored: Vec<Stored>,
    /// Folders that are there but cannot be used, and why.
    pub damaged: Vec<String>,
}

/// One sealed folder.
#[derive(Debug, Clone)]
pub struct Stored {
    pub name: String,
    pub source: Source,
    pub folder: PathBuf,
    pub bytes: u64,
    pub digest: String,
    /// The archive that it was imported from.
    pub archive: Option<Origin>,
    /// Names and shapes.
    pub arrays: Vec<(String, Vec<usize>)>,
}

impl DataStore {
    /// Returns the store in a folder, which need not exist.
    pub fn at(root: impl Into<PathBuf>) -> DataStore {
        DataStore { root: root.into(), sizes: twin::sizes }
    }

    /// Returns the data of an experiment: its own files, or the named set from the best source there is.
    pub fn ready(
        &self,
        experiment: &Experiment,
        choice: Option<Source>,
        report: Report,
    ) -> Result<Dataset> {
        let Some(name) = &experiment.spec.data.dataset else {
            return self.own(experiment, choice, report);
        };
        let known = known::find(&name.value);
        let known = known.and_then(|known| match known.kind {
            Kind::Resnet50 => Err(anyhow!("`{}` are weights, not a data set", known.name)),
            _ => Ok(known),
        });
        let known = known.map_err(|error| {
            yaml::wrong(&experiment.path, &name.referenced, format!("{error:#}"))
        })?;
        let order: &[Source] = match &choice {
            Some(Source::Own) => bail!("`{}` has no files of its own", experiment.name()),
            Some(source) => &[*source],
            None => &[Source::Real, Source::Unverified],
        };
        for source in order.iter().filter(|source| **source != Source::Synthetic) {
            if let Some(manifest) = self.imported(known, *source)? {
                return Ok(dataset(&self.folder(known, *source), manifest));
            }
        }
        match choice {
            Some(source @ (Source::Real | Source::Unverified)) => Err(known.absent(source)),
            _ => self.make_known(known, report),
        }
    }

    fn own(
        &self,
        experiment: &Experiment,
        choice: Option<Source>,
        report: Report,
    ) -> Result<Dataset> {
        if let Some(source) = choice.filter(|source| *source != Source::Own) {
            bail!("`{}` has its own files, so no {} data", experiment.name(), source.as_str());
        }
        let (paths, entries): (Vec<_>, Vec<_>) =
            own::arrays(&self.root, experiment, report)?.into_iter().unzip();
        let digest = sealed::digest(&entries);
        let arrays = entries.into_iter().zip(paths).map(array_file).collect();
        Ok(Dataset { name: experiment.name().to_owned(), source: Source::Own, arrays, digest })
    }

    /// Returns the initial weights of an experiment, made on first use.
    pub fn weights(&self, experiment: &Experiment, report: Report) -> Result<Weights> {
        let (spec, seed) = (&experiment.spec.initial_weights, experiment.spec.seed);
        let (name, recipe) = match spec.recipe {
            Some(WeightsRecipe::Resnet50) => {
                let known = known::find("resnet50")?;
                for source in [Source::Real, Source::Unverified] {
                    if let Some(manifest) = self.imported(known, source)? {
                        return Ok(initial_weights(self.folder(known, source), manifest));
                    }
                }
                ("resnet50", format!("{} seed {seed}", resnet50::RECIPE))
            }
            None if spec.tensors.is_empty() => {
                let (folder, names) = (self.root.join("weights"), Vec::new());
                let (digest, source) = (sealed::digest(&[]), Source::Synthetic);
                return Ok(Weights { folder, names, digest, source });
            }
            None => {
                let mut recipe = format!("{} seed {seed}", weights::RECIPE);
                for tensor in &spec.tensors {
                    let (name, scale) = (&tensor.name.value, tensor.scale.unwrap_or(0.0));
                    let (shape, init, blocks) = (&tensor.shape, tensor.init, tensor.blocks);
                    recipe += &format!(", {name} {shape:?} {init:?} {scale} {blocks}");
                }
                (experiment.name(), recipe)
            }
        };
        let key = sha256(&recipe);
        let folder = self.root.join("weights").join(format!("{name}-{}", &key[..16]));
        let (source, archive) = (Source::Synthetic, None);
        let plan = Plan { folder: &folder, name, source, recipe: &recipe, archive };
        let manifest = sealed::ready(&self.root, plan, report, |making| match spec.recipe {
            Some(WeightsRecipe::Resnet50) => weights::make_resnet50(seed, making, report),
            None => weights::make(&spec.tensors, seed, making, report),
        });
        let manifest = manifest.with_context(|| format!("cannot make the weights of `{name}`"))?;
        Ok(initial_weights(folder, manifest))
    }

    /// Returns the order in which rows are visited, made on first use.
    pub fn order(&self, seed: u64, epochs: usize, rows: usize) -> Result<Order> {
        let folder = self.root.join("orders").join(format!("{seed}-{epochs}-{rows}"));
        let (name, source, recipe) = ("order", Source::Synthetic, weights::ORDER_RECIPE);
        let plan = Plan { folder: &folder, name, source, recipe, archive: None };
        let manifest = sealed::ready(&self.root, plan, &|_| (), |making| {
            weights::make_order(seed, epochs, rows, making)
        });
        let manifest = manifest.context("cannot make the batch order")?;
        Ok(Order { path: folder.join("order.npy"), digest: manifest.digest })
    }

    /// Returns everything that rosetta knows by name, with what is on this machine.
    pub fn list(&self) -> Vec<Status> {
        known::ALL.iter().map(|known| self.status(known)).collect()
    }

    fn status(&self, known: &'static Known) -> Status {
        let mut status = Status { known, stored: Vec::new(), damaged: Vec::new() };
        for source in SOURCES {
            let folder = self.folder(known, source);
            match sealed::open(&folder) {
                Ok(Some(manifest)) => status.stored.push(stored(folder, manifest)),
                Ok(None) => {}
                Err(error) => status.damaged.push(format!("{error:#}")),
            }
        }
        status
    }

    /// Downloads the authors' archive and imports it.
    pub fn fetch(&self, name: &str, report: Report) -> Result<Stored> {
        let known = known::find(name)?;
        let Some(archive) = known.archives.first() else {
            return Err(hinted(format!("`{name}` is made, not fetched"), known.made_by()));
        };
        // Held to the end: who waits here finds the data imported.
        let _lock = sealed::lock(&self.root, &format!("fetch-{name}"), report)?;
        if let Ok(Some(manifest)) = self.imported(known, Source::Real) {
            report(Progress::Doing(format!("{name} is here already")));
            return Ok(stored(self.folder(known, Source::Real), manifest));
        }
        let path = self.download(known, archive, report)?;
        let imported = self.import(name, &path, false, report)?;
        let _ = fs::remove_file(&path);
        Ok(imported)
    }

    fn download(&self, known: &Known, archive: &Archive, report: Report) -> Result<PathBuf> {
        let folder = self.root.join("downloads");
        sealed::create_folder(&folder)?;
        let path = folder.join(archive.file());
        report(Progress::Doing(format!("fetching {}", archive.url)));
        let pause = Duration::from_secs(2);
        let download = fetch::Download { url: archive.url, digest: archive.digest, pause };
        download.to(&path, report).map_err(sealed::explain_disk).map_err(|error| {
            let (name, url) = (known.name, archive.url);
            let advice = format!(
                "download it by other means, then run `rosetta data import {name} {}`",
                archive.file()
            );
            error.context(crate::hint::Hinted {
                message: format!("cannot fetch `{url}`"),
                hints: vec![advice],
            })
        })?;
        Ok(path)
    }

    /// Imports an archive that a user has; `unverified` admits one whose digest is not the authors'.
    pub fn import(
        &self,
        name: &str,
        path: &Path,
        unverified: bool,
        report: Report,
    ) -> Result<Stored> {
        let known = known::find(name)?;
        if known.archives.is_empty() {
            return Err(hinted(format!("`{name}` is made, not imported"), known.made_by()));
        }
        let shown = path.display();
        let cannot = || format!("cannot import `{shown}`");
        let mut file = File::open(path).with_context(cannot)?;
        ensure!(file.metadata().with_context(cannot)?.is_file(), "`{shown}` is no file");
        report(Progress::Doing(format!("checking {shown}")));
        let digests = fetch::digests(&mut file, report).with_context(cannot)?;
        let fits = |archive: &&Archive| archive.digest.fits(&digests.md5, &digests.sha256);
        let is_genuine = known.archives.iter().find(fits).is_some();
        if !is_genuine && !unverified {
            return Err(not_genuine(known, path, &digests));
        }
        report(Progress::Doing(format!("reading {shown}")));
        std::io::Seek::rewind(&mut file).with_context(cannot)?;
        // Everything is read and checked before the store is touched: a bad archive leaves nothing behind.
        let arrays = import::read(known.kind, &mut file, !is_genuine).with_context(cannot)?;
        let source = if is_genuine { Source::Real } else { Source::Unverified };
        let folder = self.folder(known, source);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fetch::Digests { bytes, md5, sha256 } = digests;
        let archive = Some(Origin { file: file_name, bytes, md5, sha256 });
        let plan = Plan { folder: &folder, name, source, recipe: IMPORT_RECIPE, archive };
        let manifest = sealed::replace(&self.root, plan, report, |making| {
            for array in &arrays {
                let import::Imported { name, dtype, shape, divide_by, bytes } = array;
                making.array(name, *dtype, shape, *divide_by, |writer| writer.write(bytes))?;
            }
            Ok(())
        });
        Ok(stored(folder.clone(), manifest.with_context(cannot)?))
    }

    /// Makes the synthetic twin of a data set, if it is not here in good order.
    pub fn make(&self, name: &str, report: Report) -> Result<Stored> {
        let known = known::find(name)?;
        if known.kind == Kind::Resnet50 {
            let message = "`resnet50` weights are made from the seed of an experiment";
            return Err(hinted(message, "run `rosetta run resnet50`"));
        }
        self.make_known(known, report)?;
        let folder = self.folder(known, Source::Synthetic);
        let manifest = sealed::open(&folder)?;
        let manifest = manifest.ok_or_else(|| anyhow!("`{}` is gone", folder.display()))?;
        Ok(stored(folder, manifest))
    }

    fn make_known(&self, known: &Known, report: Report) -> Result<Dataset> {
        let folder = self.folder(known, Source::Synthetic);
        let (name, source, recipe) = (known.name, Source::Synthetic, twin::RECIPE);
        let plan = Plan { folder: &folder, name, source, recipe, archive: None };
        let manifest = sealed::ready(&self.root, plan, report, |making| {
            report(Progress::Doing(format!("making {name}")));
            twin::make(known.kind, (self.sizes)(known.kind), making, report)
        });
        let manifest = manifest.with_context(|| format!("cannot make `{name}`"))?;
        Ok(dataset(&folder, manifest))
    }

    /// Hashes everything that is stored under a name again.
    pub fn verify(&self, name: &str, report: Report) -> Result<Vec<Stored>> {
        let known = known::find(name)?;
        let mut good = Vec::new();
        for source in SOURCES {
            let folder = self.folder(known, source);
            let checked = sealed::verify(&folder, report).map_err(|error| {
                let message = format!("{} `{name}` is damaged", source.as_str());
                error.context(crate::hint::Hinted { message, hints: vec![known.cure(source)] })
            })?;
            good.extend(checked.map(|manifest| stored(folder, manifest)));
        }
        match good.is_empty() {
            true => Err(hinted(format!("no `{name}` on this machine"), known.how_to_get())),
            false => Ok(good),
        }
    }

    /// Hashes the weights and batch orders that experiments made.
    pub fn verify_made(&self, report: Report) -> Result<Vec<Stored>> {
        let mut good = Vec::new();
        for kind in ["weights", "orders"] {
            let Ok(listing) = fs::read_dir(self.root.join(kind)) else { continue };
            let mut folders = listing.flatten().map(|entry| entry.path()).collect::<Vec<_>>();
            folders.sort();
            for folder in folders {
                let checked = sealed::verify(&folder, report).map_err(|error| {
                    let message = format!("`{}` is damaged", folder.display());
                    let hints = vec!["remove it; the next run makes it again".to_owned()];
                    error.context(crate::hint::Hinted { message, hints })
                })?;
                good.extend(checked.map(|manifest| stored(folder, manifest)));
            }
        }
        Ok(good)
    }

    fn folder(&self, known: &Known, source: Source) -> PathBuf {
        self.root.join(known.name).join(source.as_str())
    }

    fn imported(&self, known: &Known, source: Source) -> Result<Option<Manifest>> {
        let found = sealed::trusted(&self.folder(known, source)).map_err(|error| {
            let message = format!("{} `{}` is damaged", source.as_str(), known.name);
            error.context(crate::hint::Hinted { message, hints: vec![known.cure(source)] })
        })?;
        match found {
            Some(manifest) if manifest.recipe != IMPORT_RECIPE => {
                let message = format!(
                    "{} `{}` was imported by another version of rosetta",
                    source.as_str(),
                    known.name
                );
                Err(hinted(message, known.cure(source)))
            }
            found => Ok(found),
        }
    }
}

const SOURCES: [Source; 3] = [Source::Real, Source::Unverified, Source::Synthetic];

fn not_genuine(known: &Known, path: &Path, found: &fetch::Digests) -> anyhow::Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let archive = known.archives.iter().find(|archive| archive.file() == name);
    let size = match archive.and_then(|archive| archive.bytes) {
        Some(bytes) if found.bytes < bytes => {
            format!("; it has {} of {bytes} bytes, so it may be truncated", found.bytes)
        }
        _ => String::new(),
    };
    let published =
        known.archives.iter().map(|archive| format!("{} ({})", archive.file(), archive.digest));
    let message = format!(
        "`{}` is no archive that the authors of `{}` published: MD5 {}, SHA-256 {}{size}; published: {}",
        path.display(),
        known.name,
        found.md5,
        found.sha256,
        published.collect::<Vec<_>>().join(", ")
    );
    let hint = "add `--unverified` if it is a subset, a copy or a mirror that you trust; records will say so";
    hinted(message, hint)
}

fn dataset(folder: &Path, manifest: Manifest) -> Dataset {
    let files = manifest.arrays.into_iter().map(|entry| {
        let path = folder.join(&entry.file);
        array_file((entry, path))
    });
    let (name, source, digest) = (manifest.name, manifest.source, manifest.digest);
    Dataset { name, source, arrays: files.collect(), digest }
}

fn array_file((entry, path): (Entry, PathBuf)) -> (String, ArrayFile) {
    let Entry { name, shape, dtype, divide_by, .. } = entry;
    (name, ArrayFile { path, shape, dtype, divide_by })
}

fn initial_weights(folder: PathBuf, manifest: Manifest) -> Weights {
    let names = manifest.arrays.into_iter().map(|entry| entry.name).collect();
    Weights { folder, names, digest: manifest.digest, source: manifest.source }
}

fn stored(folder: PathBuf, manifest: Manifest) -> Stored {
    let bytes = manifest.arrays.iter().map(|entry| entry.bytes).sum();
    let Manifest { name, source, archive, digest, arrays, .. } = manifest;
    let arrays = arrays.into_iter().map(|entry| (entry.name, entry.shape)).collect();
    Stored { name, source, folder, bytes, digest, archive, arrays }
}

#[cfg(test)]
mod tests;
