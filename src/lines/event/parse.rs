//! A line → an event, chatter, or a reason why it is neither.
//!
//! Must not depend on where a line comes from.

use memchr::memmem;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::event::kind::{Event, KINDS, Line, PROTOCOL, Stamped};
use crate::event::quick::Quick;

/// Returns what `line`, without its line end, is. Never fails: a bad line is an answer too.
pub fn parse(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    if line.first() != Some(&b'{') {
        return Line::Chatter;
    }
    // Of a text that is known to be UTF-8 each of its strings is.
    match str::from_utf8(line).map(serde_json::from_str::<Quick>) {
        Ok(Ok(Quick(stamped))) => Line::Event(stamped),
        _ => parse_slowly(line),
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
    let kind = kind.as_str().ok_or("`ev` is not a string")?;
    let seq = fields.shift_remove("seq").as_ref().and_then(Value::as_u64);
    let t = fields.shift_remove("t").as_ref().and_then(Value::as_f64);
    let at = fields.shift_remove("at").as_ref().and_then(Value::as_f64);
    let seq = seq.ok_or_else(|| format!("`{kind}` without `seq`, a number 0, 1, 2 …"))?;
    let t = t.filter(|t| *t >= 0.0);
    let t = t.ok_or_else(|| format!("`{kind}` without `t`, a number of seconds from 0 up"))?;
    let fields = std::mem::take(fields);
    let event = match KINDS.contains(&kind) {
        true => Event::deserialize(Value::Object(Map::from_iter([(kind.into(), fields.into())])))
            .map_err(|error| format!("`{kind}`: {error}"))?,
        false => Event::Unknown { kind: kind.into(), fields },
    };
    Ok(Stamped { at, seq, t, event })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::{Event, KINDS, Line, Stamped, Value, parse};
    use crate::event::quick::Quick;

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
                    path: Path::new("/o.npy").into(),
                    shape: [2, 3].into(),
                    dtype: "float32".into(),
                    ready: Some(0.25),
                },
            ),
            (
                "activation",
                r#""name":"block1","path":"/a-0.npy""#,
                Event::Activation { name: "block1".into(), path: "/a-0.npy".into() },
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
    fn an_event_is_moved_without_a_call() {
        // Up to so many bytes, which a line is handed on with several times, the compiler copies in place.
        assert!(size_of::<Line>() <= 128, "{}", size_of::<Line>());
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
        assert_eq!(&*kind, "energy");
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
        let cases: [(&[u8], &str); 13] = [
            (br#"{"v":2,"seq":0,"ev":"end","t":0}"#, "protocol 2; this rosetta speaks protocol 1"),
            (br#"{"v":"1","seq":0,"ev":"end","t":0}"#, "protocol \"1\""),
            (br#"{"v":1,"ev":"end","t":0}"#, "`end` without `seq`"),
            (br#"{"v":1,"seq":0,"ev":"end"}"#, "`end` without `t`"),
            (br#"{"v":1,"seq":0,"ev":7,"t":0}"#, "`ev` is not a string"),
            (br#"{"v":1,"seq":0,"ev":"phase","t":0}"#, "`phase`: missing field `name`"),
            (
                br#"{"v":1,"seq":0,"ev":"step","t":0,"epoch":0,"step":1,"steps":1,"loss":NaN}"#,
                "no JSON: expected value",
            ),
            (b"{\"v\":1,\"seq\":0,\"ev\":\"phase\",\"t\":0,\"name\":\"\xff\"}", "no JSON: "),
            (br#"{"v":1,"seq":0,"ev":"end","t":-1}"#, "`end` without `t`, a number of seconds from"),
            (
                br#"{"v":1,"seq":0,"ev":"epoch","t":0,"epoch":0,"seconds":"NaN","samples":1}"#,
                "`epoch`: NaN s; a time is finite and not negative",
            ),
            (
                br#"{"v":1,"seq":0,"ev":"epoch","t":0,"epoch":0,"seconds":-3,"samples":1}"#,
                "`epoch`: -3 s; a time is finite",
            ),
            (
                br#"{"v":1,"seq":0,"ev":"batches","t":0,"phase":"p","seconds":[1,"Infinity"],"samples":[]}"#,
                "`batches`: inf s; a time is finite",
            ),
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
}
