//! What `defaults.*` programs said, as it is stored: one file for each target, the newest.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Store, cannot_write, json_line, parse};
use crate::hint::hinted;
use crate::machine::Machine;
use crate::publish::publish;
use crate::record::Version;

/// Version of the format.
const VERSION: u32 = 1;

/// The defaults of one target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredDefaults {
    /// Version of this format.
    pub defaults: u32,
    pub target: String,
    pub title: String,
    /// That of the framework, as its program said it.
    pub version: String,
    /// When, in UTC (RFC 3339).
    pub measured: String,
    pub machine: Machine,
    pub rosetta: Version,
    pub facts: Vec<StoredFact>,
}

/// What was said of one property.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredFact {
    pub name: String,
    pub value: Value,
}

impl StoredDefaults {
    pub const VERSION: u32 = VERSION;
}

impl Store {
    /// Stores what was measured of a target, in place of what was there.
    pub fn keep_defaults(&self, defaults: &StoredDefaults) -> Result<()> {
        let folder = self.root.join("defaults");
        let path = folder.join(format!("{}.json", defaults.target));
        let keep = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            publish(&path, &json_line(defaults)?)
        };
        keep().map_err(|error| cannot_write(&folder, &error))
    }

    /// Returns what is stored, by target. What another version wrote counts as not there.
    pub fn defaults(&self) -> Result<Vec<StoredDefaults>> {
        let folder = self.root.join("defaults");
        let shown = folder.display();
        let listing = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing.with_context(|| format!("cannot list `{shown}`"))?,
        };
        let mut found = Vec::new();
        for entry in listing {
            let path = entry.with_context(|| format!("cannot list `{shown}`"))?.path();
            let is_ours = path.extension().is_some_and(|extension| extension == "json");
            if !is_ours || !parse::is_regular(&path) {
                continue;
            }
            let one = fs::read(&path).map_err(anyhow::Error::from);
            let one = one.and_then(|text| Ok(serde_json::from_slice::<StoredDefaults>(&text)?));
            let one = one.map_err(|error| {
                let message = format!("cannot read `{}`: {error}", path.display());
                hinted(message, "remove it, and measure again with `rosetta defaults --measure`")
            })?;
            found.extend((one.defaults == VERSION).then_some(one));
        }
        found.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(found)
    }
}
