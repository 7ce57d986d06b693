//! The digests by which verdicts and the reference's numbers are found again.
//!
//! Verdicts in results/reference/ are known by them: the JSON must stay the same, byte for byte,
//! the order of its fields included. Must not depend on files or on processes.

use serde_json::json;

use crate::catalog::Device;
use crate::digest::sha256;
use crate::material::Material;
use crate::plan::Job;
use crate::proof::part::Part;
use crate::proof::verdict::VERSION;

/// One of the two programs that are compared.
#[derive(Debug, Clone, Copy)]
pub struct CheckSide<'a> {
    pub job: &'a Job<'a>,
    /// Digest of the harness.
    pub harness: &'a str,
    /// What its environment is known by.
    pub env: &'a str,
}

/// Returns the digest of all that a verdict follows from; `variants` is that of the file with
/// the reference's variants of the experiment.
pub fn verdict_key(
    ours: &CheckSide,
    theirs: &CheckSide,
    material: &Material,
    variants: Option<&str>,
) -> String {
    let (target, experiment) = (ours.job.target, ours.job.experiment.name());
    let device: Device = ours.job.device;
    let from = json!({
        "verdict": VERSION,
        "experiment": ours.job.experiment.digest,
        "target": target.name,
        "device": device,
        "declared": [
            json!(target.environment),
            json!(ours.job.has_float64()),
            json!(target.deterministic),
            json!(target.variants.get(experiment)),
            json!(target.differences.get(experiment)),
        ],
        "harness": ours.harness,
        "env": ours.env,
        "reference": [
            json!(theirs.job.target.name),
            json!(theirs.job.target.environment),
            json!(theirs.job.has_float64()),
        ],
        "reference_harness": theirs.harness,
        "reference_env": theirs.env,
        "variants": variants,
        "data": material.dataset.digest,
        "weights": material.weights.digest,
    });
    sha256(from.to_string())
}

/// Returns the digest of all that a part of the reference follows from: a `job` in an environment
/// `env` whose harness has this `source`, on the material of the part.
pub fn reference_key(
    job: &Job,
    env: &str,
    material: &Material,
    source: &str,
    part: &Part,
) -> String {
    let order = material.order.as_ref().map(|order| order.digest.as_str());
    let mut settings = material.settings.clone();
    settings.extend(part.settings.clone());
    let from = json!({
        "source": sha256(source),
        // Backends of one framework may differ by no more than a variable.
        "target": [json!(job.target.name), json!(job.target.environment)],
        "env": env,
        "settings": settings,
        "seed": part.seed.unwrap_or(job.experiment.spec.seed),
        "part": [json!(part.name), json!(part.dtype), json!(part.steps)],
        "rows": [material.train_rows, material.test_rows],
        "digests": [Some(material.dataset.digest.as_str()), Some(&material.weights.digest), order],
    });
    sha256(from.to_string())[..24].to_owned()
}
