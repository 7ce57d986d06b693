//! Sends events: JSON lines for rosetta, readable ones for a person. May not know what they mean.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd},
    time::Instant,
};

use serde_json::{Map, Value, json};

use crate::{PROTOCOL, fail};

/// The only way out of a harness.
pub(crate) struct Wire {
    origin: Instant,
    sequence: u64,
    file: Option<File>, // none where a person reads along
}

impl Wire {
    /// Takes standard output away from the rest of the process.
    pub(crate) fn guarded(origin: Instant) -> Wire {
        // Whatever Rust, C or CUDA prints from here on lands in the log.
        let taken = io::stdout().flush().and_then(|()| {
            let original = io::stdout().as_fd().try_clone_to_owned()?;
            // SAFETY: both are open descriptors of this process; nothing is borrowed.
            match unsafe { libc::dup2(io::stderr().as_raw_fd(), io::stdout().as_raw_fd()) } {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(File::from(original)),
            }
        });
        let file = taken.unwrap_or_else(|why| fail(format!("cannot guard standard output: {why}")));
        Wire { origin, sequence: 0, file: Some(file) }
    }

    /// Prints readable lines.
    pub(crate) fn screen(origin: Instant) -> Wire {
        Wire { origin, sequence: 0, file: None }
    }

    /// Returns the seconds from the SDK's first moment to `at`.
    pub(crate) fn seconds(&self, at: Instant) -> Value {
        seconds(at.duration_since(self.origin).as_secs_f64())
    }

    /// Sends an event that happens now.
    pub(crate) fn send(&mut self, event: &str, fields: Value) {
        self.send_at(Instant::now(), event, fields);
    }

    /// Sends an event with the moment at which it happened.
    pub(crate) fn send_at(&mut self, at: Instant, event: &str, fields: Value) {
        let Value::Object(fields) = fields else { unreachable!("fields are an object") };
        let line = match self.file {
            Some(_) => self.json(at, event, fields),
            None => self.words(at, event, &fields),
        };
        self.sequence += 1;
        let written = match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => io::stdout().write_all(line.as_bytes()),
        };
        written.unwrap_or_else(|why| fail(format!("cannot send `{event}`: {why}")));
    }

    fn json(&self, at: Instant, event: &str, fields: Map<String, Value>) -> String {
        let mut line = Map::new();
        line.insert("v".into(), json!(PROTOCOL));
        line.insert("seq".into(), json!(self.sequence));
        line.insert("ev".into(), json!(event));
        line.insert("t".into(), self.seconds(at));
        line.extend(fields);
        format!("{}\n", Value::Object(line))
    }

    fn words(&self, at: Instant, event: &str, fields: &Map<String, Value>) -> String {
        let shown = fields.iter().filter(|(_, value)| !value.is_null());
        let words: Vec<_> = shown.map(|(name, value)| format!("{name}={}", short(value))).collect();
        let now = at.duration_since(self.origin).as_secs_f64();
        format!("{now:8.2} s  {event:<8} {}\n", words.join(" "))
    }
}

/// Returns a number as JSON can hold it: non-finite ones as text.
pub(crate) fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ => json!(value),
    }
}

/// Returns a duration in seconds, rounded to microseconds.
pub(crate) fn seconds(value: f64) -> Value {
    json!((value * 1e6).round() / 1e6)
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) if all.len() > 4 => format!("[{} values]", all.len()),
        Value::Number(number) if number.is_f64() => {
            let text = format!("{:.4}", number.as_f64().unwrap_or_default());
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};

    use super::{Wire, number, short};

    #[test]
    fn non_finite_numbers_are_text() {
        let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5];
        assert_eq!(
            numbers.map(number),
            [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(0.5)]
        );
    }

    #[test]
    fn a_line_has_version_sequence_event_and_time_first() {
        let origin = Instant::now();
        let mut wire = Wire::screen(origin);
        wire.sequence = 7;
        let Value::Object(fields) = json!({"name": "train"}) else { unreachable!() };
        assert_eq!(
            wire.json(origin + Duration::from_millis(1500), "phase", fields.clone()),
            "{\"v\":1,\"seq\":7,\"ev\":\"phase\",\"t\":1.5,\"name\":\"train\"}\n"
        );
        assert_eq!(wire.words(origin, "phase", &fields), "    0.00 s  phase    name=train\n");
    }

    #[test]
    fn a_person_sees_short_values() {
        assert_eq!(short(&json!(0.123456)), "0.1235");
        assert_eq!(short(&json!(2.0)), "2");
        assert_eq!(short(&json!([1, 2, 3, 4, 5])), "[5 values]");
        assert_eq!(short(&json!(true)), "true");
    }
}
