//! What is stored, and whether it is as it was. Must not depend on how it came there.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::data::known::{self, Known};
use crate::data::manifest;
use crate::data::store::{SOURCES, stored};
use crate::data::{DataStatus, DataStore, StoredData};
use crate::hint::{Hinted, hinted};
use crate::progress::Report;

impl DataStore {
    /// Returns everything that rosetta knows by name, with what is on this machine.
    pub fn list(&self) -> Vec<DataStatus> {
        known::ALL.iter().map(|known| self.status(known)).collect()
    }

    fn status(&self, known: &'static Known) -> DataStatus {
        let mut status = DataStatus { known, stored: Vec::new(), damaged: Vec::new() };
        for source in SOURCES {
            let folder = self.folder(known, source);
            match manifest::open(&folder) {
                Ok(Some(manifest)) => status.stored.push(stored(folder, manifest)),
                Ok(None) => {}
                Err(error) => status.damaged.push(format!("{error:#}")),
            }
        }
        status
    }

    /// Returns the names of all twins that can be made.
    pub fn twins(&self) -> Vec<&'static str> {
        let twins = known::ALL.iter().filter(|known| known.has_twin());
        twins.map(|known| known.name).collect()
    }

    /// Hashes everything that is stored under a name again.
    pub fn verify(&self, name: &str, report: Report) -> Result<Vec<StoredData>> {
        let known = known::find(name)?;
        let mut checked = Audited::default();
        for source in SOURCES {
            let what = format!("{} `{name}` is damaged", source.as_str());
            checked.add(self.folder(known, source), what, known.cure(source), report);
        }
        let good = checked.good()?;
        match good.is_empty() {
            true => Err(hinted(format!("no `{name}` on this machine"), known.how_to_get())),
            false => Ok(good),
        }
    }

    /// Hashes the weights and batch orders that experiments made, and the files that were converted for them.
    pub fn verify_made(&self, report: Report) -> Result<Vec<StoredData>> {
        let mut checked = Audited::default();
        for kind in ["weights", "orders", "converted"] {
            let Ok(listing) = fs::read_dir(self.root.join(kind)) else { continue };
            let mut folders = listing.flatten().map(|entry| entry.path()).collect::<Vec<_>>();
            folders.sort();
            for folder in folders {
                let what = format!("`{}` is damaged", folder.display());
                let cure = "remove it; the next run makes it again".to_owned();
                checked.add(folder, what, cure, report);
            }
        }
        checked.good()
    }
}

/// What was hashed again: one damaged folder hides no other.
#[derive(Default)]
struct Audited {
    good: Vec<StoredData>,
    bad: Vec<String>,
    cures: Vec<String>,
}

impl Audited {
    fn add(&mut self, folder: PathBuf, what: String, cure: String, report: Report) {
        match manifest::verify(&folder, report) {
            Ok(manifest) => self.good.extend(manifest.map(|manifest| stored(folder, manifest))),
            Err(error) => {
                self.bad.push(format!("{what}: {error:#}"));
                self.cures.push(cure);
            }
        }
    }

    fn good(mut self) -> Result<Vec<StoredData>> {
        if self.bad.is_empty() {
            return Ok(self.good);
        }
        self.cures.dedup();
        Err(anyhow::Error::new(Hinted { message: self.bad.join("; "), hints: self.cures }))
    }
}
