//! `rosetta runs label` and `rosetta runs note`.

use anyhow::Result;

use super::own_folder;
use crate::store::Store;

pub fn label(store: &Store, run: &str, label: Option<&str>) -> Result<()> {
    let folder = own_folder(store, run)?;
    if let Some(label) = label {
        store.refuse_taken(label, &folder)?;
    }
    store.describe(&folder, |about| about.label = label.map(str::to_owned))
}

pub fn note(store: &Store, run: &str, note: Option<&str>) -> Result<()> {
    let folder = own_folder(store, run)?;
    store.describe(&folder, |about| about.note = note.map(str::to_owned))
}
