//! Events → the measurements of a record. The harness' clock gives the durations, the host's
//! clock confirms them. Must not depend on where events come from.

use std::path::PathBuf;

use serde_json::Value;

use crate::event::{Event, Stamped};
use crate::record::{Epoch, Fact, Metric, Times};
use crate::stats::{median, quantile};

/// Durations on both clocks may differ by this much, or by [`CLOCK_SHARE`].
const CLOCK_SECONDS: f64 = 0.05;
const CLOCK_SHARE: f64 = 0.02;
/// How many times as large as the first one, or as 1, a loss must be to be that of a training that diverges: no training
/// that ends well has been seen to come near it.
const DIVERGED: f64 = 1_000.0;

/// What a stream of events says, as it grows.
#[derive(Debug, Default)]
pub struct Fold {
    pub hello: Option<Hello>,
    pub epochs: Vec<Epoch>,
    pub facts: Vec<Fact>,
    pub metrics: Vec<Metric>,
    pub outputs: Option<Outputs>,
    pub is_ended: bool,
    /// The first loss that was not finite, or far beyond the first one: where, and what it was.
    pub bad_loss: Option<String>,
    first_loss: Option<f64>,
    /// The first thing that no job of the protocol says.
    pub violation: Option<String>,
    start: Option<Stamp>,
    hello_at: Option<Stamp>,
    phases: Vec<(String, Stamp)>,
    last_epoch: Option<Stamp>,
    first_step_seconds: Option<f64>,
    first_epoch_steps: u64,
    batch_seconds: Vec<f64>,
    batch_samples: u64,
    last: Stamp,
}

/// How the harness introduced itself.
#[derive(Debug, Clone)]
pub struct Hello {
    pub framework: String,
    pub version: String,
    pub device: String,
}

/// The stored outputs, as the harness announced them.
#[derive(Debug, Clone)]
pub struct Outputs {
    pub path: PathBuf,
    pub shape: Vec<u64>,
    ready: Option<f64>,
}

/// A moment on both clocks, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Stamp {
    host: f64,
    harness: f64,
}

impl Fold {
    /// Returns a fold of no events; the steps of an epoch give the excess of the first one.
    pub fn new(steps: u64) -> Fold {
        Fold { first_epoch_steps: steps, ..Fold::default() }
    }

    /// Takes in an event that arrived `at` seconds after the process was launched.
    pub fn take(&mut self, at: f64, stamped: &Stamped) {
        let now = Stamp { host: at, harness: stamped.t };
        if self.violation.is_none() {
            self.violation = self.violation_of(now, &stamped.event);
        }
        self.last = now;
        match &stamped.event {
            Event::Start { .. } => self.start = Some(now),
            Event::Hello { framework, version, device } => {
                self.hello_at = Some(now);
                self.hello = Some(Hello {
                    framework: framework.clone(),
                    version: version.clone(),
                    device: device.clone(),
                });
            }
            Event::Phase { name } => self.phases.push((name.clone(), now)),
            Event::Step { epoch, step, loss, .. } => {
                self.see_loss(*loss, || format!("step {step} of epoch {}", epoch + 1));
            }
            Event::Epoch { epoch, loss, seconds, first_step_seconds, samples } => {
                self.see_loss(*loss, || format!("the end of epoch {}", epoch + 1));
                if self.epochs.is_empty() {
                    self.first_step_seconds = *first_step_seconds;
                }
                self.last_epoch = Some(now);
                self.epochs.push(Epoch {
                    epoch: u32::try_from(*epoch).unwrap_or(u32::MAX),
                    loss: loss.filter(|loss| loss.is_finite()),
                    seconds: *seconds,
                    samples: *samples,
                });
            }
            Event::Batches { phase, seconds, samples } if phase == "predict" => {
                self.batch_seconds.extend(seconds);
                self.batch_samples += samples.iter().sum::<u64>();
            }
            Event::Array { name, path, shape, ready, .. } if name == "outputs" => {
                let (path, shape, ready) = (path.to_path_buf(), shape.to_vec(), *ready);
                self.outputs = Some(Outputs { path, shape, ready });
            }
            Event::Fact { name, value } => {
                let value = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                self.facts.push(Fact { name: name.to_string(), value });
            }
            Event::Metric { name, value, unit } => self.metrics.push(Metric {
                name: name.clone(),
                value: value.is_finite().then_some(*value),
                unit: unit.clone(),
            }),
            Event::End {} => self.is_ended = true,
            Event::Batches { .. }
            | Event::Array { .. }
            | Event::Activation { .. }
            | Event::Weights { .. }
            | Event::Part { .. }
            | Event::Unknown { .. } => {}
        }
    }

    /// Returns what is wrong with an event after those before it.
    fn violation_of(&self, now: Stamp, event: &Event) -> Option<String> {
        if self.is_ended {
            return Some("it went on after its `end`".to_owned());
        }
        if now.harness < self.last.harness - CLOCK_SECONDS {
            let (before, after) = (self.last.harness, now.harness);
            return Some(format!("its clock went back from {before} s to {after} s"));
        }
        let longest = now.harness + CLOCK_SECONDS;
        let too_long =
            |seconds: &f64| format!("it says that {seconds} s passed in {} s", now.harness);
        match event {
            Event::Hello { .. } if self.hello.is_some() => Some("it said `hello` twice".to_owned()),
            Event::Phase { name } if self.phases.iter().any(|(phase, _)| phase == name) => {
                Some(format!("it began the phase `{name}` twice"))
            }
            Event::Epoch { epoch, .. } if *epoch != self.epochs.len() as u64 => Some(format!(
                "epoch {epoch} came where epoch {} was due (they count from 0)",
                self.epochs.len()
            )),
            Event::Epoch { seconds, first_step_seconds, .. } => {
                [Some(*seconds), *first_step_seconds]
                    .iter()
                    .flatten()
                    .find(|seconds| **seconds > longest)
                    .map(too_long)
            }
            Event::Batches { seconds, .. } => {
                let sum = seconds.iter().sum::<f64>();
                (sum > longest).then(|| too_long(&sum))
            }
            Event::Array { name, ready: Some(ready), .. } if name == "outputs" => {
                let earliest = self.phase("predict").map_or(0.0, |(start, _)| start.harness);
                let is_within = *ready >= earliest - CLOCK_SECONDS && *ready <= longest;
                let now = now.harness;
                (!is_within).then(|| {
                    format!(
                        "its outputs were ready at {ready} s, not between {earliest} s and {now} s"
                    )
                })
            }
            _ => None,
        }
    }

    fn see_loss(&mut self, loss: Option<f64>, place: impl Fn() -> String) {
        let (Some(loss), None) = (loss, &self.bad_loss) else { return };
        let first = *self.first_loss.get_or_insert(loss);
        if !loss.is_finite() {
            self.bad_loss = Some(format!("the loss was {loss} at {}", place()));
        } else if loss > DIVERGED * first.abs().max(1.0) {
            self.bad_loss = Some(format!("the loss rose from {first} to {loss} at {}", place()));
        }
    }

    /// Returns the durations that the events tell.
    pub fn times(&self) -> Times {
        let hello = self.hello_at.map(|hello| hello.harness);
        let mut batches = self.batch_seconds.clone();
        batches.sort_by(f64::total_cmp);
        let predict = self.predict_seconds();
        let rows = self.outputs.as_ref().and_then(|outputs| outputs.shape.first().copied());
        let training = self.training_seconds();
        let trained = self.epochs.iter().map(|epoch| epoch.samples).sum::<u64>() as f64;
        Times {
            start: self.start.map(|start| start.host),
            import: hello.zip(self.start).map(|(hello, start)| since(start.harness, hello)),
            load: self.phase_seconds("load"),
            build: self.phase_seconds("build"),
            training,
            compile: self.compile_seconds(),
            warmup: self.phase_seconds("warmup"),
            predict,
            training_rate: training.filter(|s| *s > 0.0).map(|seconds| trained / seconds),
            predict_rate: predict
                .filter(|seconds| *seconds > 0.0)
                .zip(rows)
                .map(|(seconds, rows)| rows as f64 / seconds),
            batch_p50: quantile(&batches, 0.5),
            batch_p90: quantile(&batches, 0.9),
            batch_p99: quantile(&batches, 0.99),
            wall: None,
        }
    }

    fn phase(&self, name: &str) -> Option<(Stamp, Stamp)> {
        let index = self.phases.iter().position(|(phase, _)| phase == name)?;
        let next = self.phases.get(index + 1).map_or(self.last, |(_, stamp)| *stamp);
        Some((self.phases[index].1, next))
    }

    fn phase_seconds(&self, name: &str) -> Option<f64> {
        self.phase(name).map(|(start, end)| since(start.harness, end.harness))
    }

    /// The epoch loop: from the beginning of `train` to the end of the last epoch.
    fn training_seconds(&self) -> Option<f64> {
        let (start, _) = self.phase("train")?;
        self.last_epoch.map(|end| since(start.harness, end.harness))
    }

    /// From the beginning of `predict` until the last output was in host memory.
    fn predict_seconds(&self) -> Option<f64> {
        let (start, end) = self.phase("predict")?;
        let ready = self.outputs.as_ref().and_then(|outputs| outputs.ready);
        Some(since(start.harness, ready.unwrap_or(end.harness)))
    }

    /// The first epoch's excess over the median of the others; of a single epoch, that of its
    /// first step over the mean of its other steps.
    fn compile_seconds(&self) -> Option<f64> {
        let (first, others) = self.epochs.split_first()?;
        let mut others = others.iter().map(|epoch| epoch.seconds).collect::<Vec<_>>();
        if let Some(usual) = median(&mut others) {
            return Some((first.seconds - usual).max(0.0));
        }
        let step = self.first_step_seconds?;
        let steps = self.first_epoch_steps.checked_sub(1).filter(|steps| *steps > 0)?;
        Some((step - (first.seconds - step) / steps as f64).max(0.0))
    }

    /// Returns whether a timed phase has another length on the host's clock.
    pub fn do_clocks_disagree(&self) -> bool {
        let training = self.phase("train").map(|(start, _)| start).zip(self.last_epoch);
        let timed = ["warmup", "predict"].into_iter().filter_map(|name| self.phase(name));
        training.into_iter().chain(timed).any(|(start, end)| {
            let host = end.host - start.host;
            let harness = end.harness - start.harness;
            (host - harness).abs() > CLOCK_SECONDS.max(CLOCK_SHARE * host)
        })
    }

    /// Returns the framework's own accuracy.
    pub fn reported_accuracy(&self) -> Option<f64> {
        let mut metrics = self.metrics.iter().rev();
        metrics.find(|metric| metric.name == "accuracy").and_then(|metric| metric.value)
    }
}

/// Returns the seconds between two stamps; these have microseconds, and so has the difference.
fn since(start: f64, end: f64) -> f64 {
    ((end - start) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::Fold;
    use crate::event::{Line, parse};

    fn fold(lines: &[&str]) -> Fold {
        let mut fold = Fold::new(0);
        for (seq, line) in lines.iter().enumerate() {
            let (at, rest) = line.split_once(' ').unwrap();
            let text = format!("{{\"v\":1,\"seq\":{seq},{rest}}}");
            let Line::Event(stamped) = parse(text.as_bytes()) else { panic!("no event: {text}") };
            fold.take(at.parse().unwrap(), &stamped);
        }
        fold
    }

    const TRAINING: [&str; 9] = [
        r#"0.1 "ev":"start","t":0,"language":"x","language_version":"1","sdk":"1","pid":1"#,
        r#"2.1 "ev":"hello","t":2,"framework":"F","version":"1","device":"cpu""#,
        r#"2.2 "ev":"phase","t":2.1,"name":"load""#,
        r#"3.1 "ev":"phase","t":3,"name":"train""#,
        r#"8.1 "ev":"epoch","t":8,"epoch":0,"loss":0.7,"seconds":5,"first_step_seconds":3,"samples":100"#,
        r#"10.1 "ev":"epoch","t":10,"epoch":1,"loss":0.5,"seconds":2,"first_step_seconds":0,"samples":100"#,
        r#"10.2 "ev":"phase","t":10.1,"name":"predict""#,
        r#"11.2 "ev":"array","t":11.1,"name":"outputs","path":"o.npy","shape":[50,10],"dtype":"float32","ready":10.6"#,
        r#"11.3 "ev":"end","t":11.2"#,
    ];

    #[test]
    fn a_loss_diverges_where_it_is_far_above_the_first_and_above_one() {
        let bad = |losses: &[f64]| {
            let mut fold = Fold::new(0);
            losses.iter().for_each(|loss| fold.see_loss(Some(*loss), || "a step".to_owned()));
            fold.bad_loss
        };
        assert_eq!(bad(&[2.3, 40.0, 2.0]), None);
        assert_eq!(bad(&[1e-6, 900.0]), None, "a first loss near 0 is no measure");
        assert_eq!(bad(&[5e5, 4e8]), None);
        let expected = "the loss rose from 2.5 to 2600 at a step".to_owned();
        assert_eq!(bad(&[2.5, 2_600.0, f64::NAN]), Some(expected));
        assert_eq!(bad(&[2.5, f64::NAN]), Some("the loss was NaN at a step".to_owned()));
    }

    #[test]
    fn durations_follow_from_phases_and_epochs() {
        let fold = fold(&TRAINING);
        let times = fold.times();
        assert_eq!(times.import, Some(2.0));
        assert_eq!(times.training, Some(7.0));
        assert_eq!(times.compile, Some(3.0));
        assert_eq!(times.training_rate.map(f64::round), Some(29.0));
        assert_eq!(times.predict.map(|s| (s * 10.0).round()), Some(5.0));
        assert_eq!(times.predict_rate.map(f64::round), Some(100.0));
        assert!(fold.is_ended && !fold.do_clocks_disagree());
    }

    #[test]
    fn a_harness_that_lies_about_its_clock_is_found() {
        let mut lines = TRAINING;
        lines[5] = r#"10.1 "ev":"epoch","t":8.5,"epoch":1,"loss":0.5,"seconds":2,"samples":100"#;
        assert!(fold(&lines).do_clocks_disagree());
    }

    #[test]
    fn what_no_job_says_is_remembered() {
        assert_eq!(fold(&TRAINING).violation, None);
        let cases = [
            (1, r#"2.1 "ev":"end","t":2"#, "it went on after its `end`"),
            (
                3,
                r#"2.3 "ev":"hello","t":2.2,"framework":"F","version":"2","device":"cpu""#,
                "it said `hello` twice",
            ),
            (3, r#"2.3 "ev":"phase","t":2.2,"name":"load""#, "it began the phase `load` twice"),
            (
                5,
                r#"10.1 "ev":"epoch","t":10,"epoch":7,"seconds":2,"samples":100"#,
                "epoch 7 came where epoch 1 was due",
            ),
            (
                5,
                r#"10.1 "ev":"epoch","t":10,"epoch":1,"seconds":1e308,"samples":100"#,
                "s passed in 10 s",
            ),
            (
                5,
                r#"10.1 "ev":"epoch","t":7,"epoch":1,"seconds":2,"samples":100"#,
                "its clock went back from 8 s to 7 s",
            ),
            (
                6,
                r#"10.2 "ev":"batches","t":10.1,"phase":"predict","seconds":[8,8],"samples":[1,1]"#,
                "16 s passed in 10.1 s",
            ),
            (
                7,
                r#"11.2 "ev":"array","t":11.1,"name":"outputs","path":"o","shape":[1],"dtype":"float32","ready":3"#,
                "ready at 3 s, not between 10.1 s and 11.1 s",
            ),
        ];
        for (line, text, expected) in cases {
            let mut lines = TRAINING;
            lines[line] = text;
            let found = fold(&lines).violation.unwrap_or_default();
            assert!(found.contains(expected), "{expected}: {found}");
        }
    }

    #[test]
    fn the_first_infinite_loss_is_remembered() {
        let mut lines = TRAINING;
        lines[4] = r#"8.1 "ev":"epoch","t":8,"epoch":0,"loss":"NaN","seconds":5,"samples":100"#;
        let why = fold(&lines).bad_loss;
        assert_eq!(why.as_deref(), Some("the loss was NaN at the end of epoch 1"));
    }
}
