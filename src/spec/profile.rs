//! Sizes to run an experiment at. Must not depend on what a job does with them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::quantity::parse_duration;
use crate::spec::Setting;
use crate::spec::setting::SettingsSchema;
use crate::yaml::Spanned;

/// A size of the experiment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// How many rows of the data are used.
    pub rows: Rows,
    /// Settings that differ from those above.
    #[serde(default)]
    #[schemars(with = "SettingsSchema")]
    pub settings: BTreeMap<String, Spanned<Setting>>,
    /// How long one job may take, as `90s`, `1h30m` or `1.5h`.
    pub timeout: Timeout,
}

/// Rows of the training and the test set; absent means all.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    pub train: Option<usize>,
    pub test: Option<usize>,
}

/// A length of time with its unit, or in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub Duration);

impl JsonSchema for Timeout {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timeout".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A length of time, as `90s`, `10m`, `1h30m` or `1.5h`; a number is seconds.",
            "type": ["string", "number"],
            "pattern": "^[0-9.]+ ?(ms|s|m|h)?( ?[0-9.]+ ?(ms|s|m|h))*$",
            "minimum": 0
        })
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Timeout).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Profile;

    #[test]
    fn a_timeout_is_a_text_or_a_number_of_seconds() {
        for (written, seconds) in [("90", 90), ("90s", 90), ("1h30m", 5_400), ("1.5h", 5_400)] {
            let text = format!("rows: {{}}\ntimeout: {written}\n");
            let profile = serde_yaml::from_str::<Profile>(&text).unwrap();
            assert_eq!(profile.timeout.0, Duration::from_secs(seconds), "{written}");
        }
        let error = serde_yaml::from_str::<Profile>("rows: {}\ntimeout: soon\n").unwrap_err();
        assert!(error.to_string().contains("invalid duration `soon`: write `90`"), "{error}");
    }
}
