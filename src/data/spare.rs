//! Data that can be made again, and what killed processes have left of such. Must not depend on why they are to go.

use std::fs;
use std::path::PathBuf;

use crate::data::manifest::{self, place};
use crate::data::sealed;
use crate::data::store::DataStore;
use crate::seal::{self, Place};
use crate::spec::Source;

/// Folders of the store whose content is made from what experiments say.
const MADE: [&str; 3] = ["weights", "orders", "own"];

impl DataStore {
    /// Returns the folders of data that can be made again: twins, initial weights, batch orders, converted files.
    pub fn spare(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for folder in self.folders() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
            for entry in inside {
                let is_made = MADE.contains(&name.as_str())
                    || entry.file_name().to_str() == Some(Source::Synthetic.as_str());
                let place = place(&entry.path());
                // Imported weights are among the made ones.
                let is_synthetic = || {
                    let found = manifest::trusted(place.folder()).ok().flatten();
                    found.is_some_and(|found| found.archive.is_none())
                };
                if is_made && place.is_whole() && is_synthetic() {
                    places.push(place);
                }
            }
        }
        places
    }

    /// Returns half-made folders.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        self.folders().iter().flat_map(|folder| seal::leftovers(folder)).collect()
    }

    /// Removes them, unless somebody is at work on them.
    pub fn tidy(&self) {
        sealed::sweep(&self.root);
    }

    fn folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}
