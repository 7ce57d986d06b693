//! How an attempt ended → the outcome of its job. Pure: must not depend on files, processes or the
//! clock.

use std::path::Path;

use super::attempt::{Asked, EarlyEnd, Ending};
use crate::catalog::Device;
use crate::env::Built;
use crate::fold::Fold;
use crate::gpu;
use crate::launch::Finished;
use crate::obstacle::Obstacle;
use crate::process::Exit;
use crate::quantity::duration_words;
use crate::record::{Outcome, Score, Status};

/// An accuracy that the harness reports may be off by this much from the one that is computed here.
const REPORTED_APART: f64 = 1e-3;

/// Returns how a job on a device ended, as far as can be told without its outputs.
pub(super) fn of(ending: &Ending, device: Device) -> Outcome {
    let outcome = of_process(ending);
    if outcome.status != Status::Ok {
        return outcome;
    }
    if let Some(why) = computed_elsewhere(device, &ending.fold, ending.finished.gpu.as_ref()) {
        return Outcome::because(Status::Failed, why);
    }
    if ending.fold.outputs.is_none() {
        return incomplete(&ending.finished, "it ended without outputs");
    }
    match trained_otherwise(&ending.fold, ending.asked) {
        Some(why) => incomplete(&ending.finished, &why),
        None => outcome,
    }
}

/// Returns what to mark a job with that said `end` and then did not exit as it should: all that it
/// computed was stored by then.
pub(super) fn exit_mark(ending: &Ending) -> Option<String> {
    if !ending.fold.is_ended {
        return None;
    }
    match &ending.finished.exit {
        Exit::Signal(signal) => Some(format!("crashed at exit: {}", signal_name(*signal))),
        Exit::OutOfMemory => Some("ran out of memory at exit".to_owned()),
        Exit::TimedOut | Exit::Stalled | Exit::DidNotExit => Some("did not exit".to_owned()),
        _ => None,
    }
}

/// Returns how a job ended, as far as its process and its events tell.
pub(super) fn of_process(ending: &Ending) -> Outcome {
    let Ending { finished, fold, .. } = ending;
    if let Some(why) = gpu_failure(ending) {
        let hint =
            "the driver's log, as `dmesg | grep -i xid`, says more; a reset or a restart may help";
        return Outcome::of(Status::Failed, Obstacle::new(format!("the GPU failed: {why}"), hint));
    }
    let early = ended_early(ending).filter(|_| exit_mark(ending).is_none());
    early.unwrap_or_else(|| complete(finished, fold))
}

/// Returns how a GPU failed while the job ran, whatever the job made of it.
pub(super) fn gpu_failure(ending: &Ending) -> Option<&str> {
    ending.finished.gpu.as_ref()?.failure.as_deref()
}

/// What the outputs of a job are worth.
#[derive(Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) outcome: Outcome,
    pub(super) score: Score,
    pub(super) marks: Vec<String>,
}

impl Scored {
    /// Returns what there is to say of a job that has no outputs.
    pub(super) fn nothing(outcome: Outcome) -> Scored {
        Scored { outcome, score: Score::default(), marks: Vec::new() }
    }
}

/// Holds what was computed from the outputs (their accuracy, where they have one, or what is wrong
/// with them) to what the harness `reported` and to the `band` that is expected.
pub(super) fn scored(
    computed: Result<Option<f64>, String>,
    reported: Option<f64>,
    band: Option<[f64; 2]>,
) -> Scored {
    let accuracy = match computed {
        Ok(accuracy) => accuracy,
        Err(why) => return Scored::nothing(Outcome::because(Status::CheckFailed, why)),
    };
    let mut scored = Scored::nothing(Outcome::ok());
    scored.score.accuracy = accuracy;
    scored.score.accuracy_reported = reported;
    let Some(accuracy) = accuracy else { return scored };
    if let Some(reported) = reported.filter(|it| (it - accuracy).abs() > REPORTED_APART) {
        scored.marks.push(format!("accuracy_disagrees: the harness says {reported:.4}"));
    }
    let Some([low, high]) = band else { return scored };
    (scored.score.accuracy_low, scored.score.accuracy_high) = (Some(low), Some(high));
    if !(low..=high).contains(&accuracy) {
        let [accuracy, low, high] = [accuracy, low, high].map(|it| format!("{:.1}", it * 100.0));
        let reason = format!("accuracy {accuracy} % is outside {low} to {high} %");
        scored.outcome = Outcome::because(Status::CheckFailed, reason);
    }
    scored
}

/// Returns why a job did not compute where it was asked to: some frameworks fall back to the CPU
/// without an error. Both what the harness says and what the driver saw must agree.
fn computed_elsewhere(device: Device, fold: &Fold, usage: Option<&gpu::Usage>) -> Option<String> {
    let said = fold.hello.as_ref().map_or("", |hello| hello.device.as_str());
    let says_cpu = said.eq_ignore_ascii_case("cpu");
    match device {
        Device::Cpu => is_of_gpu(said)
            .then(|| format!("it was asked to compute on the CPU and says that it used `{said}`")),
        Device::Cuda if says_cpu => {
            Some("it was asked to compute on the GPU and says that it used the CPU".to_owned())
        }
        Device::Cuda => usage
            .filter(|usage| usage.is_unused())
            .map(|_| "it was asked to compute on the GPU and held no memory of one".to_owned()),
    }
}

/// Whether a framework's own name of a device is that of a GPU.
fn is_of_gpu(device: &str) -> bool {
    let device = device.to_ascii_lowercase();
    ["cuda", "gpu", "nvidia"].iter().any(|word| device.contains(word))
}

/// Returns how the training differs from what was asked for.
fn trained_otherwise(fold: &Fold, asked: Asked) -> Option<String> {
    let epochs = fold.epochs.len() as u64;
    if epochs != asked.epochs {
        return Some(format!("it trained {epochs} epochs and was asked for {}", asked.epochs));
    }
    let samples = asked.steps * asked.batch_size;
    let other = fold.epochs.iter().find(|epoch| epoch.samples != samples)?;
    Some(format!(
        "epoch {} had {} samples and was asked to have {samples}, {} batches of {}",
        other.epoch, other.samples, asked.steps, asked.batch_size
    ))
}

/// Returns why a process did not end by itself with 0, unless it did.
pub(super) fn ended_early(ending: &Ending) -> Option<Outcome> {
    let Ending { finished, fold, timeout, .. } = ending;
    match (ending.stop, &fold.bad_loss) {
        (Some(EarlyEnd::OutOfBudget), _) => {
            return Some(Outcome::because(Status::Skipped, "it was ended with the run's budget"));
        }
        (Some(EarlyEnd::Diverged), Some(why)) => {
            return Some(Outcome::because(Status::Failed, why.clone()));
        }
        _ => {}
    }
    let at = place(finished).map(|place| format!(" ({place})")).unwrap_or_default();
    let said = last_words(finished).map(|line| format!(": {line}{at}")).unwrap_or_default();
    let (status, reason) = match &finished.exit {
        Exit::Code(0) => return None,
        Exit::Code(_) if finished.last_words.iter().any(|line| is_out_of_memory(line)) => {
            (Status::OutOfMemory, format!("the framework ran out of memory{said}"))
        }
        Exit::Code(code) => (Status::Failed, format!("exit code {code}{said}")),
        Exit::Signal(signal) => (Status::Crashed, format!("{}{said}", signal_name(*signal))),
        Exit::TimedOut => {
            (Status::TimedOut, format!("it took longer than {} s", timeout.as_secs_f64()))
        }
        Exit::Stalled => {
            let silence = ending.stall_timeout.map_or("too long".to_owned(), duration_words);
            (Status::Stalled, format!("it said nothing for {silence}"))
        }
        Exit::OutOfMemory => (Status::OutOfMemory, "it used more memory than it may".to_owned()),
        Exit::Cancelled => (Status::Cancelled, "it was interrupted".to_owned()),
        Exit::DidNotExit => (Status::TimedOut, "it did not exit".to_owned()),
        Exit::Refused(why) => (Status::Failed, why.clone()),
        Exit::CannotStart(why) => (Status::Failed, format!("it cannot be started: {why}")),
        Exit::Lost(why) => (Status::Failed, format!("its end is unknown: {why}")),
    };
    Some(Outcome::because(status, reason))
}

/// Returns what helps with a job that failed in an environment; `log` is where its words are.
pub(super) fn advice(outcome: &Outcome, built: &Built, log: &Path) -> Option<String> {
    if !matches!(outcome.status, Status::Failed | Status::Crashed | Status::OutOfMemory) {
        return outcome.hint.clone();
    }
    let has_no_module =
        outcome.reason.as_ref().is_some_and(|reason| reason.contains("ModuleNotFoundError"));
    let log = format!("its log is `{}`", log.display());
    let name = &built.name;
    Some(match (has_no_module, built.digest.is_some()) {
        (false, _) => log,
        (true, true) => {
            format!("if a package is missing, `rosetta env remove {name}` and run again; {log}")
        }
        (true, false) => format!(
            "install the package for `{}`, or leave `--python` out for the pinned environment; {log}",
            built.root.display()
        ),
    })
}

/// Returns the last line of its log that is not empty.
pub(super) fn last_words(finished: &Finished) -> Option<&str> {
    let line = finished.last_words.iter().rfind(|line| !line.trim().is_empty());
    line.map(|line| line.trim())
}

/// Returns the file and line of the innermost call of a Python traceback that is not a library's.
fn place(finished: &Finished) -> Option<String> {
    let of_a_library = ["site-packages", "/lib/python", "/sdk/python/rosetta/", "\"<"];
    for line in finished.last_words.iter().rev() {
        let Some(rest) = line.trim_start().strip_prefix("File \"") else { continue };
        let Some((file, rest)) = rest.split_once("\", line ") else { continue };
        if of_a_library.iter().any(|part| line.contains(part)) {
            continue;
        }
        let number = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let file = file.rsplit('/').next().unwrap_or(file);
        return Some(format!("{file}, line {number}"));
    }
    None
}

/// Returns what is missing of a process that ended with 0.
fn complete(finished: &Finished, fold: &Fold) -> Outcome {
    if fold.hello.is_none() {
        incomplete(finished, "it ended without saying hello")
    } else if let Some(why) = &fold.violation {
        incomplete(finished, why)
    } else if let Some(why) = &fold.bad_loss {
        incomplete(finished, why)
    } else if !fold.is_ended {
        incomplete(finished, "it ended without saying that everything is stored")
    } else {
        Outcome::ok()
    }
}

fn incomplete(finished: &Finished, missing: &str) -> Outcome {
    let mut missing = missing.to_owned();
    if let Some(why) = &finished.first_rejection {
        missing.push_str(&format!("; {} lines were not events: {why}", finished.lines.rejected));
    }
    Outcome::because(Status::Failed, missing)
}

fn is_out_of_memory(line: &str) -> bool {
    let signs = [
        "MemoryError",
        "CUDA out of memory",
        "OutOfMemoryError",
        "RESOURCE_EXHAUSTED",
        "bad_alloc",
    ];
    signs.iter().any(|sign| line.contains(sign))
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV (invalid memory access)",
        libc::SIGILL => "SIGILL (an instruction that this CPU lacks)",
        libc::SIGFPE => "SIGFPE (arithmetic error)",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        _ => return format!("ended by signal {signal}"),
    };
    format!("ended by {name}")
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::event::{Line, parse};

    /// Returns how a process ended that left nothing else to tell.
    pub(crate) fn finished(exit: Exit) -> Finished {
        Finished {
            exit,
            started: Duration::ZERO,
            wall: Duration::from_secs(2),
            first_event: None,
            cpu_seconds: 1.5,
            user_seconds: 1.0,
            system_seconds: 0.5,
            peak_rss_bytes: 1 << 20,
            max_rss_bytes: 1 << 20,
            samples: 1,
            threads_seen: 3,
            processes_seen: 1,
            cpus_allowed: BTreeSet::new(),
            left_behind: 0,
            oom_kills: 0,
            machine: None,
            disturbance: None,
            gpu: None,
            lines: Default::default(),
            truncated_tail: false,
            first_rejection: None,
            last_words: Vec::new(),
        }
    }

    /// Returns what the events of a harness add up to; each is the fields after `t`.
    pub(crate) fn fold(events: &[&str]) -> Fold {
        let mut fold = Fold::new(0);
        for (seq, fields) in events.iter().enumerate() {
            let line = format!("{{\"v\":1,\"seq\":{seq},\"t\":{seq},{fields}}}");
            let Line::Event(stamped) = parse(line.as_bytes()) else { panic!("no event: {line}") };
            fold.take(seq as f64, &stamped);
        }
        fold
    }

    pub(crate) fn ending(exit: Exit, events: &[&str]) -> Ending {
        Ending {
            finished: finished(exit),
            fold: fold(events),
            asked: Asked::default(),
            timeout: Duration::from_secs(90),
            stall_timeout: Some(Duration::from_secs(600)),
            stop: None,
        }
    }

    pub(crate) const HELLO: &str =
        r#""ev":"hello","framework":"Fake","version":"1.2","device":"cpu""#;
    pub(crate) const OUTPUTS: &str =
        r#""ev":"array","name":"outputs","path":"o.npy","shape":[4,3],"dtype":"float32","ready":1"#;
    pub(crate) const END: &str = r#""ev":"end""#;

    #[test]
    fn each_way_to_end_has_its_outcome() {
        let lost = Exit::Lost("the shim was killed".to_owned());
        let cases = [
            (Exit::Code(0), Status::Failed, "it ended without saying hello"),
            (Exit::Code(3), Status::Failed, "exit code 3: no such layer"),
            (Exit::Signal(libc::SIGSEGV), Status::Crashed, "ended by SIGSEGV (invalid memory"),
            (Exit::Signal(64), Status::Crashed, "ended by signal 64: no such layer"),
            (Exit::TimedOut, Status::TimedOut, "it took longer than 90 s"),
            (Exit::Stalled, Status::Stalled, "it said nothing for 10 min 00 s"),
            (Exit::OutOfMemory, Status::OutOfMemory, "it used more memory than it may"),
            (Exit::Cancelled, Status::Cancelled, "it was interrupted"),
            (Exit::CannotStart("gone".to_owned()), Status::Failed, "it cannot be started: gone"),
            (lost, Status::Failed, "its end is unknown: the shim was killed"),
        ];
        for (exit, status, reason) in cases {
            let mut ending = ending(exit, &[]);
            ending.finished.last_words = vec!["  no such layer ".to_owned(), String::new()];
            let outcome = of(&ending, Device::Cpu);
            let found = outcome.reason.unwrap_or_default();
            assert_eq!(outcome.status, status, "{found}");
            assert!(found.starts_with(reason), "{reason}: {found}");
        }
    }

    #[test]
    fn memory_that_ran_out_is_read_in_the_last_words() {
        let mut ending = ending(Exit::Code(1), &[]);
        ending.finished.last_words = vec!["RuntimeError: CUDA out of memory".to_owned()];
        let outcome = of(&ending, Device::Cpu);
        assert_eq!(outcome.status, Status::OutOfMemory);
    }

    #[test]
    fn a_job_that_ends_well_has_said_everything() {
        let nan = r#""ev":"epoch","epoch":0,"loss":"NaN","seconds":1,"samples":8"#;
        let cases: [(&[&str], &str); 5] = [
            (&[HELLO, OUTPUTS, END], ""),
            (&[HELLO, OUTPUTS], "it ended without saying that everything is stored"),
            (&[HELLO, END], "it ended without outputs"),
            (&[OUTPUTS, END], "it ended without saying hello"),
            (&[HELLO, nan, OUTPUTS, END], "the loss was NaN at the end of epoch 1"),
        ];
        for (events, reason) in cases {
            let outcome = of(&ending(Exit::Code(0), events), Device::Cpu);
            assert_eq!(outcome.reason.unwrap_or_default(), reason, "{events:?}");
        }
        let mut noisy = ending(Exit::Code(0), &[HELLO]);
        noisy.finished.first_rejection = Some("no JSON".to_owned());
        noisy.finished.lines.rejected = 2;
        let reason = of(&noisy, Device::Cpu).reason.unwrap();
        assert!(reason.ends_with("; 2 lines were not events: no JSON"), "{reason}");
    }

    #[test]
    fn the_innermost_line_of_a_harness_is_told() {
        let mut ending = ending(Exit::Code(1), &[]);
        let words = [
            "Traceback (most recent call last):",
            "  File \"/h/pytorch/cnn.py\", line 31, in <module>",
            "    loss.backward()",
            "  File \"/e/lib/python3.12/site-packages/torch/_tensor.py\", line 7, in backward",
            "RuntimeError: shapes",
        ];
        ending.finished.last_words = words.map(str::to_owned).to_vec();
        let reason = of(&ending, Device::Cpu).reason.unwrap();
        assert_eq!(reason, "exit code 1: RuntimeError: shapes (cnn.py, line 31)");
    }

    #[test]
    fn a_gpu_that_was_not_used_fails_the_job() {
        let gpu = HELLO.replace("cpu", "cuda:0");
        let held = gpu::Usage { own_bytes: Some(1 << 30), ..gpu::Usage::default() };
        let cases = [
            (HELLO, None, "says that it used the CPU"),
            (gpu.as_str(), Some(gpu::Usage::default()), "held no memory of one"),
            (&gpu, Some(held), ""),
            (&gpu, None, ""),
        ];
        for (hello, usage, reason) in cases {
            let mut ending = ending(Exit::Code(0), &[hello, OUTPUTS, END]);
            ending.finished.gpu = usage;
            let found = of(&ending, Device::Cuda).reason.unwrap_or_default();
            assert!(found.ends_with(reason) && reason.is_empty() == found.is_empty(), "{found}");
        }
    }

    #[test]
    fn an_accuracy_is_held_to_its_band_and_to_what_the_harness_says() {
        let band = Some([0.5, 0.7]);
        let wrong = "accuracy 75.0 % is outside 50.0 to 70.0 %";
        let cases = [
            (Ok(None), None, band, "", 0),
            (Ok(Some(0.6)), None, None, "", 0),
            (Ok(Some(0.6)), Some(0.6005), band, "", 0),
            (Ok(Some(0.6)), Some(0.62), band, "", 1),
            (Ok(Some(0.7)), None, band, "", 0),
            (Ok(Some(0.75)), Some(0.6), band, wrong, 1),
            (Err("not finite".to_owned()), Some(0.6), band, "not finite", 0),
        ];
        for (computed, reported, band, reason, marks) in cases {
            let shown = json!([format!("{computed:?}"), reported]);
            let found = scored(computed, reported, band);
            assert_eq!(found.outcome.reason.as_deref().unwrap_or_default(), reason, "{shown}");
            let is_ok = found.outcome.status == Status::Ok;
            assert_eq!((is_ok, found.marks.len()), (reason.is_empty(), marks), "{shown}");
        }
    }
}
