//! The columns of a comparison, one row of one table each: what is typed, what is read, how a cell is got.

use self::CellSource::{Median, MedianOn, Row, Words};
use crate::catalog::Device;
use crate::proof::{Equivalence, Grade};
use crate::record::Record;
use crate::report::{Heading, Kind, Tone, Value};
use crate::stats::summarise;
use crate::table::footnote::{self, Footnote};
use crate::table::group::Group;

/// How a cell follows from the records of its row.
pub(super) enum CellSource {
    /// From the row as a whole.
    Row(fn(&Group) -> Value),
    /// The median of what its records say.
    Median(fn(&Record) -> Option<f64>),
    /// The same of the records of one device.
    MedianOn(Device, fn(&Record) -> Option<f64>),
    /// The words of its records, each once.
    Words(fn(&Record) -> Option<String>),
}

/// A row of the table below.
pub(super) struct ColumnEntry {
    /// What is typed after `--columns`.
    name: &'static str,
    heading: Heading,
    pub(super) footnote: Footnote,
    source: CellSource,
}

/// Declares the columns: name, heading, key, kind, rank (how early it is left out), footnote, source.
macro_rules! columns {
    ($($column:ident: $name:literal, $text:literal, $key:literal, $kind:ident, $rank:literal, $footnote:ident, $source:expr;)*) => {
        /// A column of a table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Column { $($column),* }

        impl Column {
            /// Every column, in the order in which they are listed.
            pub const ALL: &[Column] = &[$(Column::$column),*];

            pub(super) fn entry(self) -> &'static ColumnEntry {
                match self {
                    $(Column::$column => {
                        static ENTRY: ColumnEntry = ColumnEntry {
                            name: $name,
                            heading: Heading {
                                text: $text,
                                key: $key,
                                kind: Kind::$kind,
                                rank: $rank,
                            },
                            footnote: Footnote::$footnote,
                            source: $source,
                        };
                        &ENTRY
                    })*
                }
            }
        }
    };
}

columns! {
    Library: "library", "DL Library", "library", Text, 0, Nothing, Row(|row| Value::Text(row.title()));
    Accuracy: "accuracy", "Test Accuracy (%)", "test_accuracy_percent", Measured, 1, Result,
        Median(|r| r.score.accuracy.map(|share| share * 100.0));
    TrainingTime: "training-time", "Training Time (s)", "training_time_s", Measured, 0, Result,
        Median(|r| r.times.training);
    Cudnn: "cudnn", "Using cuDNN?", "using_cudnn", Text, 7, Nothing, Words(cudnn);
    RateGpu: "rate-gpu", "Images/s GPU", "images_per_s_gpu", Measured, 1, Result,
        MedianOn(Device::Cuda, |r| r.times.predict_rate);
    RateCpu: "rate-cpu", "Images/s CPU", "images_per_s_cpu", Measured, 1, Result,
        MedianOn(Device::Cpu, |r| r.times.predict_rate);
    Equivalence: "equivalence", "Equivalence", "equivalence", Text, 2, Grade,
        Words(|r| Some(graded(&equivalence(r))));
    Device: "device", "Device", "device", Text, 3, Nothing, Words(|r| Some(r.device.to_string()));
    Data: "data", "Data", "data", Text, 6, Nothing,
        Words(|r| r.inputs.source.map(|source| source.as_str().to_owned()));
    Compile: "compile", "Compile/First Epoch (s)", "compile_s", Measured, 7, Nothing,
        Median(|r| r.times.compile);
    TrainingRate: "training-rate", "Samples/s", "training_samples_per_s", Measured, 6, Nothing,
        Median(|r| r.times.training_rate);
    PeakMemory: "peak-memory", "Peak Memory (GiB)", "peak_memory_gib", Measured, 5, Nothing,
        Median(|r| r.cost.peak_rss_bytes.map(gib));
    DeviceMemory: "device-memory", "Peak GPU Memory (GiB)", "peak_gpu_memory_gib", Measured, 5, Nothing,
        Median(|r| r.cost.peak_device_bytes.map(gib));
    Version: "version", "Version", "version", Text, 4, Nothing, Words(|r| r.framework_version.clone());
    Year: "year", "Year", "year", Count, 3, Nothing, Row(|row| number(row.first().year.map(f64::from)));
    Import: "import", "Import (s)", "import_s", Measured, 6, Nothing, Median(|r| r.times.import);
    BatchP50: "batch-p50", "Batch p50 (s)", "batch_p50_s", Measured, 5, Nothing, Median(|r| r.times.batch_p50);
    BatchP99: "batch-p99", "Batch p99 (s)", "batch_p99_s", Measured, 6, Nothing, Median(|r| r.times.batch_p99);
    CpuTime: "cpu-time", "CPU Time (s)", "cpu_time_s", Measured, 6, Nothing, Median(|r| r.cost.cpu_seconds);
    Loss: "loss", "Last Loss", "last_loss", Measured, 6, Nothing,
        Median(|r| r.epochs.last().and_then(|epoch| epoch.loss));
    Threads: "threads", "Threads", "threads", Number, 6, Nothing,
        Median(|r| Some(f64::from(r.cost.threads_allowed)));
    Env: "env", "Environment", "environment", Text, 5, Nothing,
        Words(|r| r.env.as_ref().map(|env| env.name.clone()));
    Provider: "provider", "Provider", "provider", Text, 5, Nothing,
        Words(|r| r.env.as_ref().map(|env| env.provider.clone()));
    Rank: "rank", "Rank", "rank", Text, 4, Nothing, Row(|row| words(row.rank.clone()));
    Run: "run", "Run", "run", Text, 6, Nothing, Words(|r| Some(r.run.clone()));
    PublishedAccuracy: "published-accuracy", "2017 Accuracy (%)", "published_test_accuracy_percent", Number, 4, Nothing,
        Row(|row| number(row.published.and_then(|old| old.test_accuracy_percent)));
    PublishedTime: "published-time", "2017 Time (s)", "published_training_time_s", Number, 3, Nothing,
        Row(|row| number(row.published.and_then(|old| old.training_time_s)));
    PublishedCudnn: "published-cudnn", "2017 Using cuDNN?", "published_using_cudnn", Text, 7, Nothing,
        Row(|row| words(row.published.and_then(|old| old.using_cudnn.clone())));
    PublishedGpu: "published-gpu", "2017 Images/s GPU", "published_images_per_s_gpu", Number, 3, Nothing,
        Row(|row| number(row.published.and_then(|old| old.images_per_s_gpu)));
    PublishedCpu: "published-cpu", "2017 Images/s CPU", "published_images_per_s_cpu", Number, 3, Nothing,
        Row(|row| number(row.published.and_then(|old| old.images_per_s_cpu)));
    Now: "now", "Now", "now", Text, 2, Now, Row(|row| words(row.now.as_deref().map(Group::version_words)));
    NowTime: "now-time", "Training Time Now (s)", "training_time_now_s", Measured, 2, Nothing,
        Row(|row| of_now(row, Column::TrainingTime));
    NowGpu: "now-gpu", "Images/s GPU Now", "images_per_s_gpu_now", Measured, 2, Nothing,
        Row(|row| of_now(row, Column::RateGpu));
    NowCpu: "now-cpu", "Images/s CPU Now", "images_per_s_cpu_now", Measured, 2, Nothing,
        Row(|row| of_now(row, Column::RateCpu));
    SpeedUp: "speed-up", "Speed-Up", "speed_up", Number, 1, Nothing,
        Row(|row| number(times_now(row, Column::TrainingTime).map(|share| 1.0 / share)));
    SpeedUpGpu: "speed-up-gpu", "Speed-Up GPU", "speed_up_gpu", Number, 1, Nothing,
        Row(|row| number(times_now(row, Column::RateGpu)));
    SpeedUpCpu: "speed-up-cpu", "Speed-Up CPU", "speed_up_cpu", Number, 1, Nothing,
        Row(|row| number(times_now(row, Column::RateCpu)));
}

impl Column {
    /// Returns the name that is typed.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Returns the column of a name that is typed.
    pub fn named(name: &str) -> Option<Column> {
        Column::ALL.iter().copied().find(|column| column.name() == name)
    }

    /// Returns what stands above it, for people and for programs.
    pub fn heading(self) -> Heading {
        self.entry().heading
    }

    /// Returns the column's number in a row, if it has one there.
    pub fn number(self, group: &Group) -> Option<f64> {
        match self.value(group) {
            Value::Number(number) | Value::Interval(number, ..) => Some(number),
            Value::Text(_) | Value::Missing => None,
        }
    }

    /// Returns the cell of a row, and the words of its footnote.
    pub fn cell(self, group: &Group) -> (Value, Option<String>) {
        let value = self.value(group);
        let why = footnote::of(self, group, &value);
        (value, why)
    }

    /// Returns what a cell of a row says at a glance.
    pub(super) fn tone(self, group: &Group) -> Tone {
        let told = group.told();
        if self.entry().footnote == Footnote::Grade {
            return equivalence(told[0]).grade.tone();
        }
        let is_failed = group.counted(None).is_empty();
        let is_result = matches!(self.entry().footnote, Footnote::Result);
        if is_failed && (is_result || self == Column::Library) { Tone::Bad } else { Tone::Plain }
    }

    /// Returns the only device whose records count, if there is one.
    pub(super) fn device(self) -> Option<Device> {
        match self.entry().source {
            CellSource::MedianOn(device, _) => Some(device),
            _ => None,
        }
    }

    /// Returns the numbers of a row that cannot be so: times and sizes that are negative or not finite.
    pub(super) fn told_wrong(self, group: &Group) -> Vec<f64> {
        self.told(group).into_iter().filter(|number| !self.is_valid(*number)).collect()
    }

    fn is_valid(self, number: f64) -> bool {
        number.is_finite() && (number >= 0.0 || self == Column::Loss)
    }

    /// Returns what the counted records of a row say, valid or not.
    fn told(self, group: &Group) -> Vec<f64> {
        match &self.entry().source {
            CellSource::Median(of) => group.counted(None).into_iter().filter_map(of).collect(),
            CellSource::MedianOn(device, of) => {
                group.counted(Some(*device)).into_iter().filter_map(of).collect()
            }
            CellSource::Row(_) | CellSource::Words(_) => Vec::new(),
        }
    }

    fn value(self, group: &Group) -> Value {
        match &self.entry().source {
            CellSource::Row(of) => of(group),
            CellSource::Median(_) | CellSource::MedianOn(..) => {
                let told = self.told(group).into_iter();
                median(&told.filter(|number| self.is_valid(*number)).collect::<Vec<_>>())
            }
            CellSource::Words(of) => each_once(group.told().into_iter().filter_map(of)),
        }
    }
}

fn median(numbers: &[f64]) -> Value {
    match summarise(numbers) {
        None => Value::Missing,
        Some(summary) => match summary.interval {
            Some((low, high)) => Value::Interval(summary.median, low, high),
            None => Value::Number(summary.median),
        },
    }
}

fn each_once(words: impl Iterator<Item = String>) -> Value {
    let mut seen = Vec::new();
    for word in words {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    if seen.is_empty() { Value::Missing } else { Value::Text(seen.join(", ")) }
}

fn number(value: Option<f64>) -> Value {
    value.filter(|value| value.is_finite()).map_or(Value::Missing, Value::Number)
}

fn words(value: Option<String>) -> Value {
    value.map_or(Value::Missing, Value::Text)
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// Returns the cell that the newest version has in a column.
fn of_now(group: &Group, column: Column) -> Value {
    group.now.as_ref().map_or(Value::Missing, |now| column.value(now))
}

/// Returns how many times this number the newest version has in a column.
fn times_now(group: &Group, column: Column) -> Option<f64> {
    let now = column.number(group.now.as_ref()?)?;
    Some(now / column.number(group)?)
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
