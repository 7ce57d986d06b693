//! What is stored, and whether it is as it was. Must not depend on how it came there.

use std::fs;

use anyhow::Result;

use crate::data::known::{self, Known};
use crate::data::sealed;
use crate::data::store::{SOURCES, stored};
use crate::data::{DataStore, Status, Stored};
use crate::hint::{Hinted, hinted};
use crate::progress::Report;

impl DataStore {
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

    /// Hashes everything that is stored under a name again.
    pub fn verify(&self, name: &str, report: Report) -> Result<Vec<Stored>> {
        let known = known::find(name)?;
        let mut good = Vec::new();
        for source in SOURCES {
            let folder = self.folder(known, source);
            let checked = sealed::verify(&folder, report).map_err(|error| {
                let message = format!("{} `{name}` is damaged", source.as_str());
                error.context(Hinted { message, hints: vec![known.cure(source)] })
            })?;
            good.extend(checked.map(|manifest| stored(folder, manifest)));
        }
        match good.is_empty() {
            true => Err(hinted(format!("no `{name}` on this machine"), known.how_to_get())),
            false => Ok(good),
        }
    }

    /// Hashes the weights and batch orders that experiments made, and the files that were converted for them.
    pub fn verify_made(&self, report: Report) -> Result<Vec<Stored>> {
        let mut good = Vec::new();
        for kind in ["weights", "orders", "converted"] {
            let Ok(listing) = fs::read_dir(self.root.join(kind)) else { continue };
            let mut folders = listing.flatten().map(|entry| entry.path()).collect::<Vec<_>>();
            folders.sort();
            for folder in folders {
                let checked = sealed::verify(&folder, report).map_err(|error| {
                    let message = format!("`{}` is damaged", folder.display());
                    let hints = vec!["remove it; the next run makes it again".to_owned()];
                    error.context(Hinted { message, hints })
                })?;
                good.extend(checked.map(|manifest| stored(folder, manifest)));
            }
        }
        Ok(good)
    }
}
