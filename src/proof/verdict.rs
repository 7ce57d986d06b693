//! What a check found, as it is stored. Must not depend on how the numbers were made.

use serde::{Deserialize, Serialize};

use crate::catalog::Device;
use crate::plan::Job;
use crate::proof::cause::Cause;
use crate::proof::compare::{Difference, Quantity};
use crate::spec::Precision;

/// Version of the stored verdict.
pub const VERSION: u32 = 1;

/// How far a target is the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// In float64 it agrees with the reference to 1e-9, in float32 to what rounding explains.
    Exact,
    /// In float32 it agrees to what rounding explains; it cannot compute in float64.
    Close,
    /// It agrees in the same way with a variant of the reference that it declares.
    Variant,
    /// It does not agree.
    Different,
    /// Nobody knows.
    Unchecked,
}

impl Grade {
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Exact => "exact",
            Grade::Close => "close",
            Grade::Variant => "variant",
            Grade::Different => "different",
            Grade::Unchecked => "unchecked",
        }
    }

    /// Whether it was proved to be the same experiment, or a variant that it declares.
    pub fn is_same(self) -> bool {
        matches!(self, Grade::Exact | Grade::Close | Grade::Variant)
    }
}

/// What a record and a table say of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivalence {
    pub grade: Grade,
    /// The declared variants that were proved.
    pub variants: Vec<String>,
    /// Why it is different or unchecked.
    pub reason: Option<String>,
    /// Whether framework.yaml declares the difference.
    pub is_declared: bool,
    /// What the target rounds to on purpose, which the check allowed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
}

impl Equivalence {
    /// Returns what is said of a target that nobody has checked.
    pub fn never_checked() -> Equivalence {
        Equivalence::unchecked("it was not checked: `rosetta check`")
    }

    pub fn unchecked(reason: impl Into<String>) -> Equivalence {
        let reason = Some(reason.into());
        Equivalence {
            grade: Grade::Unchecked,
            variants: Vec::new(),
            reason,
            is_declared: false,
            precision: None,
        }
    }

    /// Returns the words of a table's cell.
    pub fn words(&self) -> String {
        let precision = self.precision.map(Precision::as_str);
        let named = self.variants.iter().map(String::as_str).chain(precision);
        match (self.grade, named.collect::<Vec<_>>()) {
            (grade, named) if grade.is_same() && !named.is_empty() => {
                format!("{} ({})", grade.as_str(), named.join(", "))
            }
            (grade, _) => grade.as_str().to_owned(),
        }
    }

    /// Whether a row may be ranked: it is the experiment, or says how it differs.
    pub fn is_ranked(&self) -> bool {
        self.grade != Grade::Different || self.is_declared
    }
}

/// The outcome of the check of one target, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verdict {
    /// Version of this format.
    pub verdict: u32,
    /// Digest of all that the verdict follows from.
    pub key: String,
    pub experiment: String,
    pub framework: String,
    pub target: String,
    pub title: String,
    pub device: Device,
    pub framework_version: Option<String>,
    /// What it was compared with.
    pub reference: String,
    /// When, in UTC (RFC 3339).
    pub checked: String,
    pub seconds: f64,
    pub equivalence: Equivalence,
    pub cause: Option<Cause>,
    /// Every comparison, float64 first.
    pub compared: Vec<Compared>,
    /// How the harness treats what a check without dropout hides.
    pub semantics: Vec<Semantic>,
}

/// The differences at one precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub dtype: String,
    pub differences: Vec<Difference>,
}

impl Compared {
    /// Returns what differs first, in the order of the computation.
    pub fn first(&self) -> Option<&Difference> {
        self.differences.iter().find(|difference| !difference.is_within())
    }

    /// Returns the worst of a quantity, next to its tolerance.
    pub fn worst(&self, quantity: Quantity) -> Option<&Difference> {
        let of = self.differences.iter().filter(|difference| difference.quantity == quantity);
        of.max_by(|a, b| a.error.total_cmp(&b.error))
    }
}

/// One property of training or prediction, probed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Semantic {
    /// What must be so.
    pub claim: String,
    /// What was seen.
    pub seen: String,
    pub is_so: bool,
}

impl Semantic {
    /// Returns what a person reads where it is not so.
    pub fn sentence(&self) -> String {
        format!("not so: {} ({})", self.claim, self.seen)
    }
}

impl Verdict {
    /// Returns the verdict on a job of which nothing is known yet but who it is.
    pub fn blank(job: &Job, key: String, reference: &str, equivalence: Equivalence) -> Verdict {
        Verdict {
            verdict: VERSION,
            key,
            experiment: job.experiment.name().to_owned(),
            framework: job.framework.spec.name.clone(),
            target: job.target.name.clone(),
            title: job.target.title.clone(),
            device: job.device,
            framework_version: None,
            reference: reference.to_owned(),
            checked: String::new(),
            seconds: 0.0,
            equivalence,
            cause: None,
            compared: Vec::new(),
            semantics: Vec::new(),
        }
    }

    /// Returns what differs first, in float64 if it was computed in that.
    pub fn first(&self) -> Option<(&str, &Difference)> {
        self.compared.iter().find_map(|compared| {
            compared.first().map(|difference| (compared.dtype.as_str(), difference))
        })
    }
}

/// Returns a difference in a sentence.
pub fn sentence(dtype: &str, found: &Difference) -> String {
    let of = found.of.as_ref().map(|of| format!(" of {of}")).unwrap_or_default();
    let what = match found.quantity {
        Quantity::Gradient => format!("the gradient{of} in the first step"),
        Quantity::ArrayUpdate => format!("the update{of}"),
        Quantity::Activation => format!("the activation{of}"),
        Quantity::Loss => format!("the loss{of}"),
        Quantity::InitialWeights => format!("the initial value{of}"),
        other => format!("{}{of}", other.words()),
    };
    match &found.note {
        Some(note) => format!("{what} in {dtype}: {note}"),
        None => {
            let differ = match found.quantity {
                Quantity::Outputs | Quantity::TrainedOutputs => "differ",
                _ => "differs",
            };
            let (error, tolerance) = (found.error, found.tolerance);
            format!("{what} in {dtype} {differ} by {error:.1e} (allowed {tolerance:.0e})")
        }
    }
}
