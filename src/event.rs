//! The wire protocol of docs/protocol.md: events, their version, and how a line becomes one.
//!
//! May not know where a line comes from or what becomes of an event.
//!
//! A line is an event if it is a JSON object that has `ev` and `v`. Everything else is chatter: a warning of a C library
//! must not end a job. What claims to be an event and is none is rejected with a reason. Unknown fields are passed over
//! here and stay in the stored line; an unknown kind keeps all of its fields.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use memchr::memmem;
use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer, MapAccess,
    VariantAccess, Visitor,
};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

/// The version of the protocol that this rosetta speaks.
pub const PROTOCOL: u64 = 1;

/// What a harness says: one variant for each kind of docs/protocol.md.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The SDK is loaded; the framework is not imported yet.
    Start { language: String, language_version: String, sdk: String, pid: u32 },
    /// The framework is imported.
    Hello { framework: String, version: String, device: String },
    /// A phase begins and the one before it ends.
    Phase { name: String },
    /// `step` of `steps` are done; `loss` is that of the step before, or its own in a check.
    Step {
        epoch: u64,
        step: u64,
        steps: u64,
        #[serde(default, deserialize_with = "maybe_number")]
        loss: Option<f64>,
    },
    /// An epoch is over and the device has been waited for.
    Epoch {
        epoch: u64,
        #[serde(default, deserialize_with = "maybe_number")]
        loss: Option<f64>,
        #[serde(deserialize_with = "number")]
        seconds: f64,
        #[serde(default, deserialize_with = "maybe_number")]
        first_step_seconds: Option<f64>,
        samples: u64,
    },
    /// Duration and size of each batch of an inference phase.
    Batches {
        phase: String,
        #[serde(deserialize_with = "numbers")]
        seconds: Vec<f64>,
        samples: Vec<u64>,
    },
    /// An array was stored; it was in host memory at `ready`.
    Array {
        name: String,
        path: PathBuf,
        shape: Vec<u64>,
        dtype: String,
        #[serde(default, deserialize_with = "maybe_number")]
        ready: Option<f64>,
    },
    /// The final weights of a check were stored as `folder/NAME.npy`.
    Weights { folder: PathBuf, names: Vec<String> },
    /// A job of a series, named by its job file, has ended with an exit code or a negative signal.
    Part { path: PathBuf, exit: i32 },
    /// A property of the run that a reader should know.
    Fact { name: String, value: Value },
    /// Any other number.
    Metric {
        name: String,
        #[serde(deserialize_with = "number")]
        value: f64,
        unit: Option<String>,
    },
    /// Everything is stored; the process is about to exit with 0.
    End {},
    /// A kind that this version does not know, with all of its fields.
    #[serde(skip)]
    Unknown { kind: String, fields: Map<String, Value> },
}

const KINDS: [&str; 12] = [
    "start", "hello", "phase", "step", "epoch", "batches", "array", "weights", "part", "fact",
    "metric", "end",
];

/// An event with its place in the stream and its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped {
    /// Seconds on the host's clock since the job was launched; only in a stored line.
    pub at: Option<f64>,
    pub seq: u64,
    /// Seconds on the harness' clock since its SDK was loaded.
    pub t: f64,
    pub event: Event,
}

/// What a line of standard output is.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Event(Stamped),
    /// Not an event and not meant as one.
    Chatter,
    /// Meant as an event, but not one of this protocol.
    Rejected {
        reason: String,
    },
}

/// Returns what `line`, without its line end, is. Never fails: a bad line is an answer too.
pub fn parse(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    if line.first() != Some(&b'{') {
        return Line::Chatter;
    }
    match serde_json::from_slice::<Quick>(line) {
        Ok(Quick(stamped)) => Line::Event(stamped),
        Err(_) => parse_slowly(line),
    }
}

/// Parses what the quick way refuses: fields before `ev`, unknown kinds, and errors, which get their reason here.
fn parse_slowly(line: &[u8]) -> Line {
    let mut fields = match serde_json::from_slice::<Map<String, Value>>(line) {
        Ok(fields) => fields,
        Err(error) if claims_to_be_event(line) => return rejected(format!("no JSON: {error}")),
        Err(_) => return Line::Chatter,
    };
    if !(fields.contains_key("ev") && fields.contains_key("v")) {
        return Line::Chatter;
    }
    if fields["v"].as_u64() != Some(PROTOCOL) {
        let version = &fields["v"];
        return rejected(format!("protocol {version}; this rosetta speaks protocol {PROTOCOL}"));
    }
    stamped(&mut fields).map_or_else(rejected, Line::Event)
}

fn rejected(reason: String) -> Line {
    Line::Rejected { reason }
}

fn claims_to_be_event(line: &[u8]) -> bool {
    memmem::find(line, b"\"ev\"").is_some() && memmem::find(line, b"\"v\"").is_some()
}

fn stamped(fields: &mut Map<String, Value>) -> Result<Stamped, String> {
    fields.shift_remove("v");
    let kind = fields.shift_remove("ev").unwrap_or_default();
    let kind = kind.as_str().ok_or("`ev` is no string")?;
    let seq = fields.shift_remove("seq").as_ref().and_then(Value::as_u64);
    let t = fields.shift_remove("t").as_ref().and_then(Value::as_f64);
    let at = fields.shift_remove("at").as_ref().and_then(Value::as_f64);
    let seq = seq.ok_or_else(|| format!("`{kind}` without `seq`, a number 0, 1, 2 …"))?;
    let t = t.ok_or_else(|| format!("`{kind}` without `t`, a number of seconds"))?;
    let fields = std::mem::take(fields);
    let event = match KINDS.contains(&kind) {
        true => Event::deserialize(Value::Object(Map::from_iter([(kind.into(), fields.into())])))
            .map_err(|error| format!("`{kind}`: {error}"))?,
        false => Event::Unknown { kind: kind.into(), fields },
    };
    Ok(Stamped { at, seq, t, event })
}

/// Counts the events that a stream should have had.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    expected: u64,
    seen: u64,
}

impl Sequence {
    pub fn record(&mut self, seq: u64) {
        self.expected = self.expected.max(seq.saturating_add(1));
        self.seen += 1;
    }

    /// Returns how many numbers below the highest were never seen.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.seen)
    }
}

/// An event parsed in one pass without an intermediate value. Works where `ev` comes before the fields of its kind, as
/// every SDK sends it.
struct Quick(Stamped);

/// The fields that every event has.
#[derive(Default)]
struct Head {
    v: Option<u64>,
    seq: Option<u64>,
    t: Option<f64>,
    at: Option<f64>,
}

impl Head {
    /// Takes the value of `key` if it is one of the head's.
    fn take<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "v" => self.v = map.next_value()?,
            "seq" => self.seq = map.next_value()?,
            "t" => self.t = map.next_value()?,
            "at" => self.at = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn stamp<E: de::Error>(self, event: Event) -> Result<Stamped, E> {
        match (self.v, self.seq, self.t) {
            (Some(PROTOCOL), Some(seq), Some(t)) => Ok(Stamped { at: self.at, seq, t, event }),
            _ => Err(E::custom("incomplete")),
        }
    }
}

impl<'de> Deserialize<'de> for Quick {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(QuickVisitor)
    }
}

struct QuickVisitor;

impl<'de> Visitor<'de> for QuickVisitor {
    type Value = Quick;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Quick, M::Error> {
        let mut head = Head::default();
        while let Some(Text(key)) = map.next_key()? {
            if head.take(&key, &mut map)? {
                continue;
            }
            if key != "ev" {
                return Err(M::Error::custom("`ev` is late"));
            }
            let Text(kind) = map.next_value()?;
            let rest = Rest { map, head: &mut head };
            let event = Event::deserialize(KindDeserializer { kind, rest })?;
            return head.stamp(event).map(Quick);
        }
        Err(M::Error::custom("no `ev`"))
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What follows `ev`: fields of the kind, between which those of the head are taken out.
struct Rest<'h, M> {
    map: M,
    head: &'h mut Head,
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Rest<'_, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, M::Error> {
        while let Some(Text(key)) = self.map.next_key()? {
            if !self.head.take(&key, &mut self.map)? {
                return seed.deserialize(CowStrDeserializer::new(key)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, M::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Shows serde the flat line as the enum that it derived: a variant's name and its fields.
struct KindDeserializer<'de, 'h, M> {
    kind: Cow<'de, str>,
    rest: Rest<'h, M>,
}

impl<'de, M: MapAccess<'de>> Deserializer<'de> for KindDeserializer<'de, '_, M> {
    type Error = M::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, M::Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, 'h, M: MapAccess<'de>> EnumAccess<'de> for KindDeserializer<'de, 'h, M> {
    type Error = M::Error;
    type Variant = Rest<'h, M>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Rest<'h, M>), M::Error> {
        Ok((seed.deserialize(self.kind.into_deserializer())?, self.rest))
    }
}

impl<'de, M: MapAccess<'de>> VariantAccess<'de> for Rest<'_, M> {
    type Error = M::Error;

    fn unit_variant(self) -> Result<(), M::Error> {
        IgnoredAny.visit_map(self).map(drop)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, M::Error> {
        seed.deserialize(MapAccessDeserializer::new(self))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, M::Error> {
        visitor.visit_map(self)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, M::Error> {
        visitor.visit_map(self)
    }
}

/// A number that may be `"NaN"`, `"Infinity"` or `"-Infinity"`.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a number, "NaN", "Infinity" or "-Infinity""#)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Number, E> {
        match value {
            "NaN" => Ok(Number(f64::NAN)),
            "Infinity" => Ok(Number(f64::INFINITY)),
            "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
            _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
        }
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Number::deserialize(deserializer).map(|number| number.0)
}

fn maybe_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Option::deserialize(deserializer).map(|number| number.map(|Number(value)| value))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    Vec::deserialize(deserializer)
        .map(|numbers| numbers.into_iter().map(|Number(value)| value).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(line: &str) -> Stamped {
        match parse(line.as_bytes()) {
            Line::Event(stamped) => stamped,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn reason(line: &[u8]) -> String {
        match parse(line) {
            Line::Rejected { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Puts the head around the fields of a kind, in both orders.
    fn both_ways(kind: &str, fields: &str) -> [Event; 2] {
        let comma = if fields.is_empty() { "" } else { "," };
        let quick = format!(r#"{{"v":1,"seq":3,"ev":"{kind}","t":0.5{comma}{fields}}}"#);
        let slow = format!(r#"{{"x":[1],{fields}{comma}"t":0.5,"ev":"{kind}","seq":3,"v":1}}"#);
        assert!(serde_json::from_str::<Quick>(&quick).is_ok(), "{quick}");
        [quick, slow].map(|line| event(&line).event)
    }

    #[test]
    fn each_kind_is_read_whatever_the_order_of_its_fields() {
        let cases = [
            (
                "start",
                r#""language":"python","language_version":"3.11","sdk":"1.0.0","pid":7"#,
                Event::Start {
                    language: "python".into(),
                    language_version: "3.11".into(),
                    sdk: "1.0.0".into(),
                    pid: 7,
                },
            ),
            (
                "hello",
                r#""framework":"JAX \"x\"","version":"0.8","device":"cpu""#,
                Event::Hello {
                    framework: "JAX \"x\"".into(),
                    version: "0.8".into(),
                    device: "cpu".into(),
                },
            ),
            ("phase", r#""name":"train""#, Event::Phase { name: "train".into() }),
            (
                "step",
                r#""epoch":0,"step":5,"steps":10,"loss":null"#,
                Event::Step { epoch: 0, step: 5, steps: 10, loss: None },
            ),
            (
                "epoch",
                r#""epoch":1,"loss":2,"seconds":1.5,"first_step_seconds":0.25,"samples":64"#,
                Event::Epoch {
                    epoch: 1,
                    loss: Some(2.0),
                    seconds: 1.5,
                    first_step_seconds: Some(0.25),
                    samples: 64,
                },
            ),
            (
                "batches",
                r#""phase":"predict","seconds":[0.5,1],"samples":[2,1]"#,
                Event::Batches {
                    phase: "predict".into(),
                    seconds: vec![0.5, 1.0],
                    samples: vec![2, 1],
                },
            ),
            (
                "array",
                r#""name":"outputs","path":"/o.npy","shape":[2,3],"dtype":"float32","ready":0.25"#,
                Event::Array {
                    name: "outputs".into(),
                    path: "/o.npy".into(),
                    shape: vec![2, 3],
                    dtype: "float32".into(),
                    ready: Some(0.25),
                },
            ),
            (
                "weights",
                r#""folder":"/w","names":["a","b"]"#,
                Event::Weights { folder: "/w".into(), names: vec!["a".into(), "b".into()] },
            ),
            (
                "part",
                r#""path":"/p/job.json","exit":-11"#,
                Event::Part { path: "/p/job.json".into(), exit: -11 },
            ),
            (
                "fact",
                r#""name":"layout","value":{"a":[1]}"#,
                Event::Fact { name: "layout".into(), value: json!({"a": [1]}) },
            ),
            (
                "metric",
                r#""name":"accuracy","value":0.5,"unit":null"#,
                Event::Metric { name: "accuracy".into(), value: 0.5, unit: None },
            ),
            ("end", "", Event::End {}),
            (
                "end",
                r#""more":[1,{"a":2}],"epoch":"odd""#, // fields of other kinds are free
                Event::End {},
            ),
        ];
        for (kind, fields, expected) in &cases {
            let [quick, slow] = both_ways(kind, fields);
            assert_eq!(&quick, expected);
            assert_eq!(&slow, expected);
        }
        assert!(KINDS.iter().all(|kind| cases.iter().any(|case| case.0 == *kind)));
    }

    #[test]
    fn the_head_is_read_and_a_stored_line_has_the_hosts_stamp() {
        let stored = event(r#" {"at":1.25,"v":1,"seq":9,"ev":"end","t":0.5} "#);
        assert_eq!(stored, Stamped { at: Some(1.25), seq: 9, t: 0.5, event: Event::End {} });
        assert_eq!(event(r#"{"v":1,"seq":9,"ev":"end","t":1}"#).at, None);
    }

    #[test]
    fn non_finite_numbers_are_read() {
        let loss = |text: &str| match &both_ways(
            "step",
            &format!(r#""epoch":0,"step":1,"steps":1,"loss":"{text}""#),
        )[0]
        {
            Event::Step { loss: Some(loss), .. } => *loss,
            other => panic!("{other:?}"),
        };
        assert!(loss("NaN").is_nan());
        assert_eq!(loss("Infinity"), f64::INFINITY);
        assert_eq!(loss("-Infinity"), f64::NEG_INFINITY);
    }

    #[test]
    fn unknown_kinds_keep_their_fields() {
        let line = r#"{"v":1,"seq":0,"ev":"energy","t":0,"name":[1],"joules":5}"#;
        let Event::Unknown { kind, fields } = event(line).event else { panic!() };
        assert_eq!(kind, "energy");
        assert_eq!(Value::Object(fields), json!({"name": [1], "joules": 5}));
    }

    #[test]
    fn what_is_not_meant_as_an_event_is_chatter() {
        for line in [
            &b"hello"[..],
            b"",
            b"\xff\xfe",
            b"{",
            b"{}",
            b"[1,2]",
            b"{'ev': 1}",
            br#"{"ev":"step"}"#,
            br#"{"v":1}"#,
            br#"{"a":{"ev":"x","v":1}}"#,
            b"null",
        ] {
            assert_eq!(parse(line), Line::Chatter, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn what_is_meant_as_an_event_is_rejected_with_a_reason() {
        let cases: [(&[u8], &str); 9] = [
            (br#"{"v":2,"seq":0,"ev":"end","t":0}"#, "protocol 2; this rosetta speaks protocol 1"),
            (br#"{"v":"1","seq":0,"ev":"end","t":0}"#, "protocol \"1\""),
            (br#"{"v":1,"ev":"end","t":0}"#, "`end` without `seq`"),
            (br#"{"v":1,"seq":0,"ev":"end"}"#, "`end` without `t`"),
            (br#"{"v":1,"seq":0,"ev":7,"t":0}"#, "`ev` is no string"),
            (br#"{"v":1,"seq":0,"ev":"phase","t":0}"#, "`phase`: missing field `name`"),
            (
                br#"{"v":1,"seq":0,"ev":"step","t":0,"epoch":0,"step":1,"steps":1,"loss":NaN}"#,
                "no JSON: expected value",
            ),
            (b"{\"v\":1,\"seq\":0,\"ev\":\"phase\",\"t\":0,\"name\":\"\xff\"}", "no JSON: "),
            (
                br#"{"v":1,"seq":0,"ev":"metric","t":0,"name":"a","value":"big"}"#,
                r#"`metric`: invalid value: string "big", expected a number, "NaN""#,
            ),
        ];
        for (line, expected) in cases {
            let reason = reason(line);
            assert!(reason.starts_with(expected), "{reason}");
        }
    }

    #[test]
    fn gaps_in_the_sequence_are_counted() {
        let lost = |seqs: &[u64]| {
            let mut sequence = Sequence::default();
            seqs.iter().for_each(|&seq| sequence.record(seq));
            sequence.lost()
        };
        assert_eq!(lost(&[]), 0);
        assert_eq!(lost(&[0, 1, 2]), 0);
        assert_eq!(lost(&[2]), 2);
        assert_eq!(lost(&[0, 3, 2]), 1);
        assert_eq!(lost(&[u64::MAX]), u64::MAX - 1);
    }
}
