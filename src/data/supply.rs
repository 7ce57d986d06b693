//! What an experiment needs: its data, its initial weights, its batch order; made on first use.
//!
//! Must not depend on which archives there are.

use anyhow::{Context, Result, anyhow, bail};

use crate::data::known::{self, Known};
use crate::data::manifest;
use crate::data::sealed::{self, ArrayPlan, Making};
use crate::data::store::{array_file, dataset, initial_weights, stored};
use crate::data::{
    BatchOrder, DataStore, Dataset, StoredData, Weights, own, resnet50, twin, weights,
};
use crate::digest::sha256;
use crate::hint::hinted;
use crate::progress::{Progress, Report};
use crate::spec::{Experiment, Source, WeightsRecipe};
use crate::yaml;

/// 4 GiB: 20,000 epochs of CIFAR-10, 800 of ImageNet.
const MOST_ORDER_BYTES: u64 = 4 << 30;

impl DataStore {
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
        let known = data_set(&name.value).map_err(|error| {
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
        let digest = manifest::digest(&entries);
        let arrays = entries.into_iter().zip(paths).map(array_file).collect();
        Ok(Dataset { name: experiment.name().to_owned(), source: Source::Own, arrays, digest })
    }

    /// Returns the initial weights of an experiment, made on first use.
    pub fn weights(&self, experiment: &Experiment, report: Report) -> Result<Weights> {
        let (spec, seed) = (&experiment.spec.initial_weights, experiment.spec.seed);
        match spec.recipe {
            Some(WeightsRecipe::Resnet50) => self.resnet50_weights(seed, report),
            None if spec.tensors.is_empty() => Ok(Weights {
                folder: self.root.join("weights"),
                names: Vec::new(),
                digest: manifest::digest(&[]),
                source: Source::Synthetic,
            }),
            None => {
                let recipe = weights::recipe(&spec.tensors, seed);
                self.made_weights(experiment.name(), &recipe, report, |making| {
                    weights::make(&spec.tensors, seed, making, report)
                })
            }
        }
    }

    /// Returns imported weights where there are some, else made ones.
    fn resnet50_weights(&self, seed: u64, report: Report) -> Result<Weights> {
        let known = known::find("resnet50")?;
        for source in [Source::Real, Source::Unverified] {
            if let Some(manifest) = self.imported(known, source)? {
                return Ok(initial_weights(self.folder(known, source), manifest));
            }
        }
        let recipe = format!("{} seed {seed}", resnet50::RECIPE);
        self.made_weights("resnet50", &recipe, report, |making| {
            weights::make_resnet50(seed, making, report)
        })
    }

    fn made_weights(
        &self,
        name: &str,
        recipe: &str,
        report: Report,
        make: impl FnOnce(&mut Making) -> Result<()>,
    ) -> Result<Weights> {
        let key = sha256(recipe);
        let folder = self.root.join("weights").join(format!("{name}-{}", &key[..16]));
        let source = Source::Synthetic;
        let plan = ArrayPlan { folder: &folder, name, source, recipe, archive: None };
        let manifest = sealed::ready(&self.root, plan, report, make);
        let manifest = manifest.with_context(|| format!("cannot make the weights of `{name}`"))?;
        Ok(initial_weights(folder, manifest))
    }

    /// Returns the order in which rows are visited, made on first use.
    pub fn order(&self, seed: u64, epochs: usize, rows: usize) -> Result<BatchOrder> {
        let bytes = (epochs as u64).saturating_mul(rows as u64).saturating_mul(4);
        if bytes > MOST_ORDER_BYTES {
            bail!(
                "the batch order of {epochs} epochs of {rows} rows takes {bytes} bytes; \
                 at most {MOST_ORDER_BYTES} are written: ask for fewer epochs or rows"
            );
        }
        let folder = self.root.join("orders").join(format!("{seed}-{epochs}-{rows}"));
        let (name, source, recipe) = ("order", Source::Synthetic, weights::ORDER_RECIPE);
        let plan = ArrayPlan { folder: &folder, name, source, recipe, archive: None };
        let manifest = sealed::ready(&self.root, plan, &|_| (), |making| {
            weights::make_order(seed, epochs, rows, making)
        });
        let manifest = manifest.context("cannot make the batch order")?;
        Ok(BatchOrder { path: folder.join("order.npy"), digest: manifest.digest })
    }

    /// Makes the synthetic twin of a data set, if it is not here in good order.
    pub fn make(&self, name: &str, report: Report) -> Result<StoredData> {
        let known = known::find(name)?;
        if !known.has_twin() {
            let message = "`resnet50` weights are made from the seed of an experiment";
            return Err(hinted(message, "run `rosetta run resnet50`"));
        }
        self.make_known(known, report)?;
        let folder = self.folder(known, Source::Synthetic);
        let manifest = manifest::open(&folder)?;
        let manifest = manifest.ok_or_else(|| anyhow!("`{}` is gone", folder.display()))?;
        Ok(stored(folder, manifest))
    }

    fn make_known(&self, known: &Known, report: Report) -> Result<Dataset> {
        let folder = self.folder(known, Source::Synthetic);
        let (name, source, recipe) = (known.name, Source::Synthetic, twin::RECIPE);
        let plan = ArrayPlan { folder: &folder, name, source, recipe, archive: None };
        let manifest = sealed::ready(&self.root, plan, report, |making| {
            report(Progress::Doing(format!("making {name}")));
            twin::make(known.kind, (self.sizes)(known.kind), making, report)
        });
        let manifest = manifest.with_context(|| format!("cannot make `{name}`"))?;
        Ok(dataset(&folder, manifest))
    }
}

/// Returns a data set that rosetta knows; weights are not one.
fn data_set(name: &str) -> Result<&'static Known> {
    let known = known::find(name)?;
    if !known.has_twin() {
        bail!("`{name}` are weights, not a data set");
    }
    Ok(known)
}
