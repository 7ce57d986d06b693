//! A setting's value: what a harness reads as `run.config`.
//!
//! Must not depend on which settings there are.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::spec::validate::{MOST, MOST_EPOCHS};

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Setting {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Setting>),
}

impl JsonSchema for Setting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Setting".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number, a text, true or false, or a list of these.",
            "type": ["boolean", "number", "string", "array"],
            "items": { "$ref": "#/$defs/Setting" }
        })
    }
}

/// Settings by name, for the JSON schema: what the tasks need has its limits there.
pub(super) struct SettingsSchema;

impl JsonSchema for SettingsSchema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let whole = |lowest: i64, highest: i64| schemars::json_schema!({ "type": "integer", "minimum": lowest, "maximum": highest });
        schemars::json_schema!({
            "description": "Settings by name.",
            "type": "object",
            "properties": {
                "batch_size": whole(1, MOST),
                "epochs": whole(1, MOST_EPOCHS),
                "warmup_batches": whole(0, MOST)
            },
            "additionalProperties": generator.subschema_for::<Setting>()
        })
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Setting;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, a text, true or false, or a list of these")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
                Ok(Setting::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
                Ok(Setting::Int(value))
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Setting, E> {
                i64::try_from(value).map(Setting::Int).map_err(E::custom)
            }
            fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
                Ok(Setting::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Setting, E> {
                Ok(Setting::Text(value.to_owned()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<Setting, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Setting::List(list))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Setting {
    /// Returns the words for its type; values of one type can stand for each other.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Setting::Bool(_) => "true or false",
            Setting::Int(_) | Setting::Float(_) => "a number",
            Setting::Text(_) => "a text",
            Setting::List(_) => "a list",
        }
    }
}
