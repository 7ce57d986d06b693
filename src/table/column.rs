//! What a column shows, and how its cell follows from a row's records.

use crate::catalog::Device;
use crate::proof::{Equivalence, Grade};
use crate::record::Record;
use crate::spec::Task;
use crate::stats::summarise;
use crate::table::{Group, Value, without_version};

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Column {
    Library,
    Accuracy,
    TrainingTime,
    Cudnn,
    RateGpu,
    RateCpu,
    Equivalence,
    Device,
    Data,
    Compile,
    TrainingRate,
    PeakMemory,
    DeviceMemory,
    Version,
    Year,
    Import,
    BatchP50,
    BatchP99,
    CpuTime,
    Loss,
    Threads,
    Env,
    Run,
    PublishedAccuracy,
    PublishedTime,
    PublishedCudnn,
    PublishedGpu,
    PublishedCpu,
    Now,
    NowTime,
    NowGpu,
    NowCpu,
    SpeedUp,
    SpeedUpGpu,
    SpeedUpCpu,
}

impl Column {
    /// Returns the columns that a table has unless others are chosen.
    pub fn usual(task: Task, groups: &[Group], with_published: bool) -> Vec<Column> {
        let mut columns = match task {
            Task::Classification => vec![Column::Library, Column::Accuracy, Column::TrainingTime],
            Task::Features => vec![Column::Library, Column::RateGpu, Column::RateCpu],
        };
        let any = |is: &dyn Fn(&Record) -> bool| {
            groups.iter().flat_map(|group| &group.records).any(|record| is(record))
        };
        if task == Task::Classification {
            columns.push(Column::Cudnn);
        }
        columns.push(Column::Equivalence);
        if with_published {
            columns.extend(match task {
                Task::Classification => [Column::PublishedAccuracy, Column::PublishedTime],
                Task::Features => [Column::PublishedGpu, Column::PublishedCpu],
            });
        }
        if task == Task::Classification {
            columns.extend([Column::Device, Column::Compile]);
        }
        columns.push(Column::PeakMemory);
        if any(&|record| record.cost.peak_device_bytes.is_some()) {
            columns.push(Column::DeviceMemory);
        }
        columns.extend([Column::Data, Column::Version]);
        columns
    }

    /// Returns the columns that set an old version beside the newest, where both ran.
    pub fn then_and_now(task: Task, groups: &[Group], with_published: bool) -> Vec<Column> {
        let mut columns = vec![Column::Library, Column::Year];
        let published: &[Column] = match task {
            Task::Classification => {
                columns.extend([Column::TrainingTime, Column::Now, Column::NowTime]);
                columns.extend([Column::SpeedUp, Column::Device]);
                &[Column::PublishedTime]
            }
            Task::Features => {
                columns.push(Column::Now);
                for [then, now, speed_up] in [
                    [Column::RateGpu, Column::NowGpu, Column::SpeedUpGpu],
                    [Column::RateCpu, Column::NowCpu, Column::SpeedUpCpu],
                ] {
                    if groups.iter().any(|group| then.number(group).is_some()) {
                        columns.extend([then, now, speed_up]);
                    }
                }
                &[Column::PublishedGpu, Column::PublishedCpu]
            }
        };
        if with_published {
            columns.extend(published);
        }
        columns.extend([Column::Equivalence, Column::Data]);
        columns
    }

    /// Returns the heading that a person reads; the unit is in it.
    pub fn heading(self) -> &'static str {
        match self {
            Column::Library => "DL Library",
            Column::Accuracy => "Test Accuracy (%)",
            Column::TrainingTime => "Training Time (s)",
            Column::Cudnn => "Using cuDNN?",
            Column::RateGpu => "Images/s GPU",
            Column::RateCpu => "Images/s CPU",
            Column::Equivalence => "Equivalence",
            Column::Device => "Device",
            Column::Data => "Data",
            Column::Compile => "Compile/First Epoch (s)",
            Column::TrainingRate => "Samples/s",
            Column::PeakMemory => "Peak Memory (GiB)",
            Column::DeviceMemory => "Peak GPU Memory (GiB)",
            Column::Version => "Version",
            Column::Year => "Year",
            Column::Import => "Import (s)",
            Column::BatchP50 => "Batch p50 (s)",
            Column::BatchP99 => "Batch p99 (s)",
            Column::CpuTime => "CPU Time (s)",
            Column::Loss => "Last Loss",
            Column::Threads => "Threads",
            Column::Env => "Environment",
            Column::Run => "Run",
            Column::PublishedAccuracy => "2017 Accuracy (%)",
            Column::PublishedTime => "2017 Time (s)",
            Column::PublishedCudnn => "2017 Using cuDNN?",
            Column::PublishedGpu => "2017 Images/s GPU",
            Column::PublishedCpu => "2017 Images/s CPU",
            Column::Now => "Now",
            Column::NowTime => "Training Time Now (s)",
            Column::NowGpu => "Images/s GPU Now",
            Column::NowCpu => "Images/s CPU Now",
            Column::SpeedUp => "Speed-Up",
            Column::SpeedUpGpu => "Speed-Up GPU",
            Column::SpeedUpCpu => "Speed-Up CPU",
        }
    }

    /// Returns the name that programs read, in CSV and JSON.
    pub fn key(self) -> &'static str {
        match self {
            Column::Library => "library",
            Column::Accuracy => "test_accuracy_percent",
            Column::TrainingTime => "training_time_s",
            Column::Cudnn => "using_cudnn",
            Column::RateGpu => "images_per_s_gpu",
            Column::RateCpu => "images_per_s_cpu",
            Column::Equivalence => "equivalence",
            Column::Device => "device",
            Column::Data => "data",
            Column::Compile => "compile_s",
            Column::TrainingRate => "training_samples_per_s",
            Column::PeakMemory => "peak_memory_gib",
            Column::DeviceMemory => "peak_gpu_memory_gib",
            Column::Version => "version",
            Column::Year => "year",
            Column::Import => "import_s",
            Column::BatchP50 => "batch_p50_s",
            Column::BatchP99 => "batch_p99_s",
            Column::CpuTime => "cpu_time_s",
            Column::Loss => "last_loss",
            Column::Threads => "threads",
            Column::Env => "environment",
            Column::Run => "run",
            Column::PublishedAccuracy => "published_test_accuracy_percent",
            Column::PublishedTime => "published_training_time_s",
            Column::PublishedCudnn => "published_using_cudnn",
            Column::PublishedGpu => "published_images_per_s_gpu",
            Column::PublishedCpu => "published_images_per_s_cpu",
            Column::Now => "now",
            Column::NowTime => "training_time_now_s",
            Column::NowGpu => "images_per_s_gpu_now",
            Column::NowCpu => "images_per_s_cpu_now",
            Column::SpeedUp => "speed_up",
            Column::SpeedUpGpu => "speed_up_gpu",
            Column::SpeedUpCpu => "speed_up_cpu",
        }
    }

    /// Returns whether its cells are numbers, to be aligned on the right.
    pub fn is_number(self) -> bool {
        !matches!(
            self,
            Column::Library
                | Column::Cudnn
                | Column::Equivalence
                | Column::Device
                | Column::Data
                | Column::Version
                | Column::Env
                | Column::Run
                | Column::PublishedCudnn
                | Column::Now
        )
    }

    /// Returns whether its cells are medians of what was measured, which may have an interval.
    pub fn is_measured(self) -> bool {
        let is_of_a_row = matches!(
            self,
            Column::Year
                | Column::Threads
                | Column::PublishedAccuracy
                | Column::PublishedTime
                | Column::PublishedGpu
                | Column::PublishedCpu
                | Column::SpeedUp
                | Column::SpeedUpGpu
                | Column::SpeedUpCpu
        );
        self.is_number() && !is_of_a_row
    }

    /// Returns the column's number in a row, if it has one there.
    pub fn number(self, group: &Group) -> Option<f64> {
        match self.cell(group).0 {
            Value::Number(number) | Value::Interval(number, ..) => Some(number),
            Value::Text(_) | Value::Missing => None,
        }
    }

    /// Returns the cell of a row, and the words of its footnote.
    pub fn cell(self, group: &Group) -> (Value, Option<String>) {
        let device = match self {
            Column::RateGpu => Some(Device::Cuda),
            Column::RateCpu => Some(Device::Cpu),
            _ => None,
        };
        let value = self.value(group, device);
        let why = match (&value, self.is_result()) {
            _ if self == Column::Equivalence => {
                group.counted(None).into_iter().find_map(why_graded)
            }
            (Value::Missing, true) => why_missing(group, device),
            (Value::Missing, _) if self == Column::Now => why_not_now(group),
            (_, true) => why_doubtful(group, device, self),
            _ => None,
        };
        (value, why)
    }

    /// Whether the column shows what the table is about: its cells carry the footnotes.
    fn is_result(self) -> bool {
        let results = [Column::Accuracy, Column::TrainingTime, Column::RateGpu, Column::RateCpu];
        results.contains(&self)
    }

    fn value(self, group: &Group, device: Option<Device>) -> Value {
        let median = |of: &dyn Fn(&Record) -> Option<f64>| {
            let numbers = group.counted(device).into_iter().filter_map(of).collect::<Vec<_>>();
            match summarise(&numbers) {
                None => Value::Missing,
                Some(summary) => match summary.interval {
                    Some((low, high)) => Value::Interval(summary.median, low, high),
                    None => Value::Number(summary.median),
                },
            }
        };
        let text = |of: &dyn Fn(&Record) -> Option<String>| {
            let counted = group.counted(device);
            let all = if counted.is_empty() { &group.records } else { &counted };
            let mut seen = Vec::new();
            for word in all.iter().filter_map(|record| of(record)) {
                if !seen.contains(&word) {
                    seen.push(word);
                }
            }
            if seen.is_empty() { Value::Missing } else { Value::Text(seen.join(", ")) }
        };
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let old = group.published;
        let number = |value: Option<f64>| value.map_or(Value::Missing, Value::Number);
        match self {
            Column::Library => Value::Text(group.first().title.clone()),
            Column::Accuracy => median(&|r| r.score.accuracy.map(|share| share * 100.0)),
            Column::TrainingTime => median(&|r| r.times.training),
            Column::Cudnn => text(&|r| cudnn(r)),
            Column::RateGpu | Column::RateCpu => median(&|r| r.times.predict_rate),
            Column::Equivalence => text(&|r| Some(graded(&equivalence(r)))),
            Column::Device => text(&|r| Some(r.device.to_string())),
            Column::Data => text(&|r| r.inputs.source.map(|source| source.as_str().to_owned())),
            Column::Compile => median(&|r| r.times.compile),
            Column::TrainingRate => median(&|r| r.times.training_rate),
            Column::PeakMemory => median(&|r| r.cost.peak_rss_bytes.map(gib)),
            Column::DeviceMemory => median(&|r| r.cost.peak_device_bytes.map(gib)),
            Column::Version => text(&|r| r.framework_version.clone()),
            Column::Year => number(group.first().year.map(f64::from)),
            Column::Import => median(&|r| r.times.import),
            Column::BatchP50 => median(&|r| r.times.batch_p50),
            Column::BatchP99 => median(&|r| r.times.batch_p99),
            Column::CpuTime => median(&|r| r.cost.cpu_seconds),
            Column::Loss => median(&|r| r.epochs.last().and_then(|epoch| epoch.loss)),
            Column::Threads => median(&|r| Some(f64::from(r.cost.threads_allowed))),
            Column::Env => text(&|r| r.env.as_ref().map(|env| env.name.clone())),
            Column::Run => text(&|r| Some(r.run.clone())),
            Column::PublishedAccuracy => number(old.and_then(|row| row.test_accuracy_percent)),
            Column::PublishedTime => number(old.and_then(|row| row.training_time_s)),
            Column::PublishedCudnn => {
                old.and_then(|row| row.using_cudnn.clone()).map_or(Value::Missing, Value::Text)
            }
            Column::PublishedGpu => number(old.and_then(|row| row.images_per_s_gpu)),
            Column::PublishedCpu => number(old.and_then(|row| row.images_per_s_cpu)),
            Column::Now => {
                group.now.as_ref().map_or(Value::Missing, |now| Value::Text(version_words(now)))
            }
            Column::NowTime => group.of_now(Column::TrainingTime),
            Column::NowGpu => group.of_now(Column::RateGpu),
            Column::NowCpu => group.of_now(Column::RateCpu),
            Column::SpeedUp => {
                number(group.times_now(Column::TrainingTime).map(|share| 1.0 / share))
            }
            Column::SpeedUpGpu => number(group.times_now(Column::RateGpu)),
            Column::SpeedUpCpu => number(group.times_now(Column::RateCpu)),
        }
    }
}

impl Group<'_> {
    /// Returns the cell that the newest version has in a column.
    fn of_now(&self, column: Column) -> Value {
        self.now.as_ref().map_or(Value::Missing, |now| column.cell(now).0)
    }

    /// Returns how many times this number the newest version has in a column.
    fn times_now(&self, column: Column) -> Option<f64> {
        let now = column.number(self.now.as_ref()?)?;
        Some(now / column.number(self)?)
    }
}

/// Returns title, version and year: `PyTorch 2.15.0 (2026)`.
fn version_words(group: &Group) -> String {
    let counted = group.counted(None);
    let record = counted.first().copied().unwrap_or(group.first());
    let mut words = without_version(&record.title);
    if let Some(version) = &record.framework_version {
        words += &format!(" {version}");
    }
    if let Some(year) = record.year {
        words += &format!(" ({year})");
    }
    words
}

/// Returns what a check said of a record's target; an old record knows of none.
pub(super) fn equivalence(record: &Record) -> Equivalence {
    record.equivalence.clone().unwrap_or_else(Equivalence::never_checked)
}

/// Returns a grade, with what its target rounds to; variants are named in a footnote.
fn graded(equivalence: &Equivalence) -> String {
    match (equivalence.grade, equivalence.precision) {
        (Grade::Exact | Grade::Close, Some(_)) => equivalence.words(),
        (grade, _) => grade.as_str().to_owned(),
    }
}

fn why_graded(record: &Record) -> Option<String> {
    let Equivalence { grade, variants, reason, .. } = equivalence(record);
    match grade {
        Grade::Variant => {
            let names = variants.join(", ");
            Some(format!("proved against the reference's variant {names}"))
        }
        grade => reason.map(|reason| format!("{}: {reason}", grade.as_str())),
    }
}

/// Returns what a harness said of cuDNN; on the CPU there is none.
fn cudnn(record: &Record) -> Option<String> {
    match (record.device, record.fact("cudnn")) {
        (Device::Cpu, _) => Some("No (CPU)".to_owned()),
        (Device::Cuda, Some("true")) => Some("Yes".to_owned()),
        (Device::Cuda, Some("false")) => Some("No".to_owned()),
        (Device::Cuda, Some(other)) => Some(other.to_owned()),
        (Device::Cuda, None) => None,
    }
}

fn why_not_now(group: &Group) -> Option<String> {
    let successor = group.first().successor.as_ref()?;
    Some(format!("no result of `{successor}` on this machine and device, with the same data"))
}

fn why_missing(group: &Group, device: Option<Device>) -> Option<String> {
    let of_device = |r: &&&Record| device.is_none_or(|device| r.device == device);
    let last = group.records.iter().rfind(of_device);
    match (last, device) {
        (Some(record), _) => {
            let outcome = &record.outcome;
            let mut words = format!("{} on {}: ", record.title, record.device);
            words.push_str(outcome.status.as_str());
            for more in [&outcome.reason, &outcome.hint].into_iter().flatten() {
                words.push_str("; ");
                words.push_str(more);
            }
            Some(words)
        }
        (None, Some(device)) => Some(format!("not run on {device}")),
        (None, None) => None,
    }
}

fn why_doubtful(group: &Group, device: Option<Device>, column: Column) -> Option<String> {
    let counted = group.counted(device);
    let mut words = Vec::new();
    for record in &counted {
        if let (Some(reason), true) = (&record.outcome.reason, column == Column::Accuracy) {
            words.push(format!("{}: {reason}", record.outcome.status.as_str()));
        }
        if column != Column::Accuracy {
            words.extend(record.marks.iter().cloned());
        }
    }
    words.sort();
    words.dedup();
    (!words.is_empty()).then(|| words.join("; "))
}
