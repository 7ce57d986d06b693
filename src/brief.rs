//! What a record is chosen by, in a few bytes, so that those of a year of nights are held at once.
//!
//! Plain data: must not depend on where records are stored nor on what they are chosen for.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::catalog::{Device, Era};
use crate::record::{Record, Status};
use crate::spec::Task;

/// A name, as its place in [`Words`]: two are the same name where they are the same number.
pub type Name = u32;

/// What a record is chosen by, and the one number that a history is made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    pub experiment: Name,
    pub profile: Name,
    pub target: Name,
    /// Who made the environment, or nobody.
    pub provider: Name,
    /// What tells one machine from another.
    pub machine: Name,
    pub device: Device,
    pub era: Era,
    pub status: Status,
    pub is_tainted: bool,
    pub task: Task,
    /// What it took, in seconds: its training, or an image where nothing is trained.
    pub seconds: Option<f64>,
}

impl Brief {
    pub fn of(record: &Record, names: &mut Words) -> Brief {
        let provider = record.env.as_ref().map_or("", |env| &env.provider);
        Brief {
            experiment: names.of(&record.experiment),
            profile: names.of(&record.profile),
            target: names.of(&record.target),
            provider: names.of(provider),
            machine: names.of(&record.machine.identity()),
            device: record.device,
            era: record.era,
            status: record.outcome.status,
            is_tainted: record.is_tainted(),
            task: record.task,
            seconds: record.seconds(),
        }
    }
}

/// Words, each once.
#[derive(Debug, Default)]
pub struct Words {
    list: Vec<String>,
    places: HashMap<String, Name>,
}

impl Words {
    /// Returns the number of a name.
    pub fn of(&mut self, name: &str) -> Name {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = Name::try_from(self.list.len()).expect("fewer names than there are records");
        self.list.push(name.to_owned());
        self.places.insert(name.to_owned(), place);
        place
    }

    /// Returns all names, each at its number.
    pub fn list(&self) -> &[String] {
        &self.list
    }
}

impl From<Vec<String>> for Words {
    fn from(list: Vec<String>) -> Words {
        let places = list.iter().cloned().zip(0..).collect();
        Words { list, places }
    }
}
