//! Arguments of the commands that show what is there. Types only.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates as Names;

use super::choice::EraArg;
use crate::catalog::Device;
use crate::cli::{complete, plot};
use crate::quantity::parse_percent;
use crate::report::Format;
use crate::table::{Column, ColumnWish, Condition, RowOrder};

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta table                        the latest result of every target on this machine
  rosetta table cnn --markdown         one experiment, for a README
  rosetta table --published            the tables of 2017
  rosetta table --with-published       ours beside those of 2017
  rosetta table cnn --columns library,training-time,peak-memory
  rosetta table cnn --columns +provider,-cudnn     the usual columns, one more and one less
  rosetta table cnn -f keras,jax --sort -accuracy --where equivalence=exact --where 'training-time<10'")]
pub struct TableArgs {
    /// Experiments to show [default: all that have results]
    #[arg(add = Names::new(complete::experiments))]
    pub experiments: Vec<String>,
    /// A run's id, its beginning, `latest`, or a run's folder [default: the latest record of every target]
    #[arg(long, add = Names::new(complete::runs))]
    pub run: Option<String>,
    #[command(flatten)]
    pub format: FormatArgs,
    /// Profile to show [default: that of the newest result]
    #[arg(short, long, add = Names::new(complete::profiles))]
    pub profile: Option<String>,
    /// Only these frameworks, targets or titles, separated by commas
    #[arg(short, long = "framework", value_name = "NAME", value_delimiter = ',')]
    #[arg(add = Names::new(complete::frameworks_and_targets))]
    pub frameworks: Vec<String>,
    /// Only rows of which this holds, as `training-time<10`, `equivalence=exact` or `version~2.15`; may
    /// be given several times
    #[arg(long = "where", value_name = "CONDITION", value_parser = Condition::parse)]
    pub conditions: Vec<Condition>,
    /// Order of the rows: a column, with a hyphen before it for the largest first [default: the fastest
    /// first]
    #[arg(long, value_name = "[-]COLUMN", value_parser = RowOrder::parse, allow_hyphen_values = true)]
    pub sort: Option<RowOrder>,
    /// Only this device
    #[arg(short, long, value_enum)]
    pub device: Option<Device>,
    /// Only frameworks of this era
    #[arg(long, value_enum)]
    pub era: Option<EraArg>,
    /// Columns to show, in this order; `+NAME` adds one to the usual ones and `-NAME` leaves one out
    #[arg(long, value_name = "[+-]COLUMN", value_delimiter = ',', value_parser = ColumnParser, allow_hyphen_values = true)]
    pub columns: Vec<ColumnWish>,
    /// Show the tables of 2017 instead
    #[arg(long, conflicts_with_all = ["run", "with_published", "columns", "then_and_now", "frameworks", "conditions", "sort"])]
    pub published: bool,
    /// Show old versions, each beside its newest on the same machine, and the ratio
    #[arg(long)]
    pub then_and_now: bool,
    /// Add the numbers of 2017
    #[arg(long)]
    pub with_published: bool,
    /// Take in results from other machines
    #[arg(long)]
    pub all_machines: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta read cnn pytorch jax                     two harnesses, section by section
  rosetta read rnn pytorch keras jax -s build      one section of three
  rosetta read cnn pytorch1 pytorch --diff         old and new: the differing lines
  rosetta read cnn pytorch keras --concept dropout one idea

Harnesses stand beside each other where the terminal has 60 columns for each, else one below the
other; a pipe has 160 columns, or COLUMNS. What is longer than the terminal goes through PAGER, or less.")]
pub struct ReadArgs {
    /// Experiment
    #[arg(add = Names::new(complete::experiments))]
    pub experiment: String,
    /// Frameworks or targets, in the order in which they stand
    #[arg(required = true, value_delimiter = ',', add = Names::new(complete::frameworks_and_targets))]
    pub frameworks: Vec<String>,
    /// Only the section that begins so, as `build` or `Loss and optimiser`
    #[arg(short, long, value_name = "TITLE")]
    pub section: Option<String>,
    /// Only the statement that says this, as `dropout` or `adam`; `rosetta words` lists them
    #[arg(long, value_name = "WORD", conflicts_with = "section")]
    pub concept: Option<String>,
    /// Show what differs between two, line by line
    #[arg(long, conflicts_with_all = ["json", "concept"])]
    pub diff: bool,
    /// Print JSON: the sections of each harness with their lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta compare                           the newest run with the last good result of each row before
  rosetta compare 20261126 latest           two runs, by the beginnings of their ids
  rosetta compare 2026-11-20 --fail-above 10%   since the last run of that day or before; red if slower
  rosetta compare reference --markdown      with the records that came with the project

A row is slower or faster where the ratio of the medians is beyond the tolerance and its interval
leaves 1 out; with fewer than five repeats, where every ratio of two repeats is on one side of 1 and
the ratio is beyond twice the tolerance.

Exit code: 0, or 1 with --fail-above if a row is slower by more, or has no numbers any more; 2 rosetta
or its input failed.")]
pub struct CompareArgs {
    /// What was before: a run's id or its beginning, a day, `reference`, or a folder of results
    /// [default: the last good result of each row before AFTER]
    #[arg(add = Names::new(complete::runs))]
    pub before: Option<String>,
    /// What is now, named in the same way [default: the newest run]
    #[arg(add = Names::new(complete::runs))]
    pub after: Option<String>,
    /// Only these experiments
    #[arg(short, long, value_name = "NAME", value_delimiter = ',', add = Names::new(complete::experiments))]
    pub experiment: Vec<String>,
    /// Show rows that are the same too
    #[arg(long)]
    pub all: bool,
    /// A change of time by less is none
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    pub tolerance: f64,
    /// End with 1 if a row is slower by more than this, or broken
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub fail_above: Option<f64>,
    #[command(flatten)]
    pub format: FormatArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta words                    the words, and which frameworks lack one
  rosetta words dropout            one word in all frameworks
  rosetta words pytorch jax        all words in two frameworks
  rosetta words gru keras mlx      one word in two

Calls are the lines of the harnesses, found by the texts in harnesses/words.yaml.")]
pub struct WordsArgs {
    /// Words, frameworks, or both, in any order [default: an overview]
    #[arg(value_name = "WORD|FRAMEWORK", add = Names::new(complete::frameworks_and_targets))]
    pub names: Vec<String>,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta report                        report.html, of this machine's results
  rosetta report cnn --profile full     one experiment
  rosetta report --all-machines --out site
                                        a folder to be published: the page, and the tables as data

The page needs no network and opens from a file. Sorting, filters and pickers need JavaScript;
tables, charts and code are there without.")]
pub struct ReportArgs {
    /// Experiments to show [default: all]
    #[arg(add = Names::new(complete::experiments))]
    pub experiments: Vec<String>,
    /// A file that ends in .html, or a folder
    #[arg(short, long, value_name = "PATH", default_value = "report.html")]
    pub out: PathBuf,
    /// A run's id, its beginning, `latest`, or a run's folder [default: the latest record of every target]
    #[arg(long, add = Names::new(complete::runs))]
    pub run: Option<String>,
    /// Profile to show [default: all that have results]
    #[arg(short, long, add = Names::new(complete::profiles))]
    pub profile: Option<String>,
    /// Take in results from other machines
    #[arg(long)]
    pub all_machines: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta plot cnn --out cnn.svg                  training times as bars, with their intervals
  rosetta plot rnn --of peak-memory -f keras,jax  one column of some rows, on standard output
  rosetta plot cnn --of loss-by-epoch             or loss-by-second, on a scale of ratios
  rosetta plot cnn --of accuracy-by-time          what accuracy was reached in which time
  rosetta plot cnn --of then-and-now              old versions and their newest, as slopes

SVG is text. PNG or PDF of it, as Debian's librsvg2-bin makes them:
  rsvg-convert --zoom 3 cnn.svg --output cnn.png
  rsvg-convert --format pdf cnn.svg --output cnn.pdf")]
pub struct PlotArgs {
    /// Experiment
    #[arg(add = Names::new(complete::experiments))]
    pub experiment: String,
    /// What is drawn: a column of numbers, loss-by-epoch, loss-by-second, accuracy-by-time or then-and-now
    #[arg(long, value_name = "WHAT", default_value = "training-time", value_parser = drawn())]
    pub of: String,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Only these frameworks, targets or titles, separated by commas
    #[arg(short, long = "framework", value_name = "NAME", value_delimiter = ',')]
    #[arg(add = Names::new(complete::frameworks_and_targets))]
    pub frameworks: Vec<String>,
    /// A run's id, its beginning, `latest`, or a run's folder [default: the latest record of every target]
    #[arg(long, add = Names::new(complete::runs))]
    pub run: Option<String>,
    /// Profile to show [default: that of the newest result]
    #[arg(short, long, add = Names::new(complete::profiles))]
    pub profile: Option<String>,
    /// Take in results from other machines
    #[arg(long)]
    pub all_machines: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  rosetta history cnn pytorch              how its time went, night by night, and where it changed
  rosetta history cnn pytorch --all        each night
  rosetta history resnet50 onnxruntime --device cpu --json

A level is at least three nights long, and its median differs from that before by more than the tolerance and by
more than the noise of the nights explains. One slow night is none. What differs names what was recorded
otherwise in the first night of a level than in the night before.")]
pub struct HistoryArgs {
    /// Experiment
    #[arg(add = Names::new(complete::experiments))]
    pub experiment: String,
    /// Framework or target
    #[arg(add = Names::new(complete::frameworks_and_targets))]
    pub framework: String,
    /// Only this profile
    #[arg(short, long, add = Names::new(complete::profiles))]
    pub profile: Option<String>,
    /// Only this device
    #[arg(short, long, value_enum)]
    pub device: Option<Device>,
    /// A change of level by less is none
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    pub tolerance: f64,
    /// Show each night too
    #[arg(long)]
    pub all: bool,
    /// Take in results from other machines, each by itself
    #[arg(long)]
    pub all_machines: bool,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Returns the parser of what can be drawn; the names stand in the help and in completions.
fn drawn() -> PossibleValuesParser {
    let columns = Column::ALL.iter().map(|column| column.name());
    PossibleValuesParser::new(columns.chain([
        plot::LOSS,
        plot::LOSS_BY_SECOND,
        plot::ACCURACY,
        plot::THEN_AND_NOW,
    ]))
}

#[derive(Debug, Clone, Subcommand)]
pub enum ExportCommand {
    /// Write a harness as a notebook that runs by hand: its sections are cells
    #[command(after_help = "Examples:
  rosetta export notebook cnn jax
  rosetta export notebook rnn pytorch --out gru.ipynb")]
    Notebook {
        /// Experiment
        #[arg(add = Names::new(complete::experiments))]
        experiment: String,
        /// Framework of Python
        #[arg(add = Names::new(complete::frameworks))]
        framework: String,
        /// File to write [default: EXPERIMENT-FRAMEWORK.ipynb]
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write a folder that repeats one result with the framework alone, for an issue to its maintainers
    #[command(after_help = "Examples:
  rosetta export repro latest/cnn.pytorch.cpu.1          a job of the newest run
  rosetta export repro 20261127/rnn.jax --out rnn-jax    the only job that begins so, into a named folder
  sh repro-cnn-pytorch-cpu/run.sh                        repeats it; no rosetta is needed for that

The folder has the harness, the SDK that it speaks through, the lock of the environment, the rows of the data,
weights and batch order, and what was recorded. `rosetta runs show RUN` lists the jobs of a run.")]
    Repro {
        /// RUN/JOB, each by its name or a beginning of it, or a job's folder
        #[arg(value_name = "RECORD", add = Names::new(complete::records))]
        record: String,
        /// Folder to make [default: repro-EXPERIMENT-TARGET-DEVICE]
        #[arg(short, long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// The parser of what is wished of a column; the names stand in the help and in completions.
#[derive(Clone)]
struct ColumnParser;

impl ColumnParser {
    fn names() -> PossibleValuesParser {
        PossibleValuesParser::new(Column::ALL.iter().map(|column| column.name()))
    }
}

impl TypedValueParser for ColumnParser {
    type Value = ColumnWish;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<ColumnWish, clap::Error> {
        let text = value.to_string_lossy();
        let sign = text.chars().next().filter(|first| matches!(first, '+' | '-'));
        let name = &text[sign.map_or(0, char::len_utf8)..];
        let name = Self::names().parse_ref(command, arg, name.as_ref())?;
        Ok(ColumnWish::of(sign, Column::named(&name).expect("a name of the list")))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Column::ALL.iter().map(|column| PossibleValue::new(column.name()))))
    }
}

/// The heading of what a table is printed as.
const OUTPUT: &str = "Output";

/// How tables are printed.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(multiple = false)]
#[command(next_help_heading = OUTPUT)]
pub struct FormatArgs {
    /// Print Markdown
    #[arg(long)]
    pub markdown: bool,
    /// Print CSV
    #[arg(long)]
    pub csv: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print LaTeX
    #[arg(long)]
    pub latex: bool,
    /// Print HTML, to be put into a page
    #[arg(long)]
    pub html: bool,
}

impl FormatArgs {
    /// Returns the text form that was asked for; none means the terminal's.
    pub fn chosen(self) -> Option<Format> {
        let forms = [
            (self.markdown, Format::Markdown),
            (self.csv, Format::Csv),
            (self.json, Format::Json),
            (self.latex, Format::Latex),
            (self.html, Format::Html),
        ];
        forms.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, form)| form)
    }
}
