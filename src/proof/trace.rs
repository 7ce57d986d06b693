//! What one job of a check left behind: outputs, losses, weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::arrays::Floats;
use crate::event::{Event, Line, parse};
use crate::regular;

/// The numbers of one job.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The framework's version, as the harness said it.
    pub version: Option<String>,
    /// Logits or features.
    pub outputs: Option<Floats>,
    /// What layers computed, by name, in the order of the computation.
    pub activations: Vec<(String, Floats)>,
    /// The loss of each step.
    pub losses: Vec<f64>,
    /// The weights at the end, by canonical name; empty where the experiment trains nothing.
    pub weights: BTreeMap<String, Floats>,
}

impl Trace {
    /// Reads what a job stored in `folder`, which may have been moved since, its weights only where
    /// they are wanted; an error says why it is not whole.
    pub fn read(folder: &Path, with_weights: bool) -> Result<Trace> {
        let path = folder.join("events.jsonl");
        let text = regular::read(&path);
        let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
        let mut trace = Trace::default();
        let mut is_ended = false;
        for line in text.split(|byte| *byte == b'\n') {
            let Line::Event(stamped) = parse(line) else { continue };
            match stamped.event {
                Event::Hello { version, .. } => trace.version = Some(version),
                Event::Step { loss, .. } => trace.losses.push(loss.unwrap_or(f64::NAN)),
                Event::Array { name, path, .. } if name == "outputs" => {
                    trace.outputs = Some(Floats::read(&moved(folder, &path))?);
                }
                Event::Activation { name, path } => {
                    trace.activations.push((name, Floats::read(&moved(folder, &path))?));
                }
                Event::Weights { folder: weights, names } if with_weights => {
                    let weights = moved(folder, &weights);
                    for name in names {
                        let array = Floats::read(&weights.join(format!("{name}.npy")))?;
                        trace.weights.insert(name, array);
                    }
                }
                Event::End {} => is_ended = true,
                _ => {}
            }
        }
        if !is_ended {
            bail!("it ended before everything was stored");
        }
        Ok(trace)
    }
}

/// Returns where a file of a job is now.
fn moved(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path.file_name().unwrap_or_default())
}

/// Returns the initial weights that every framework was given.
pub fn given(folder: &Path, names: &[String]) -> Result<Vec<(String, Floats)>> {
    let read = |name: &String| {
        let array = Floats::read(&folder.join(format!("{name}.npy")))?;
        Ok((name.clone(), array))
    };
    names.iter().map(read).collect()
}
