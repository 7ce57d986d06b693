//! Slurm's programs: what they are asked, what they answer. Must not depend on what the tasks are.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::array;
use crate::hint::hinted;
use crate::probe::{self, Answer};

/// How long one of Slurm's programs may take: a busy controller answers late.
const PATIENCE: Duration = Duration::from_secs(60);
/// How large an array may be where Slurm does not say it; its own default.
const MAX_ARRAY_SIZE: usize = 1001;

/// What a queue says of a task, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    Pending,
    Running,
    /// Under way somehow: starting, ending, held up.
    Moving(String),
    TimedOut,
    OutOfMemory,
    Cancelled,
    /// Any other end, good ones too.
    Ended(String),
}

/// One task of an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayTask {
    pub state: TaskState,
    pub node: String,
    /// Slurm's reason, as `Resources` or `NonZeroExitCode`.
    pub why: String,
    /// The submission that its array says it is of.
    pub submission: Option<u32>,
}

/// All tasks of a run that Slurm knows, by array and index.
#[derive(Debug, Default)]
pub struct Queue {
    tasks: HashMap<(String, u32), ArrayTask>,
    /// Arrays of which some tasks wait, but the list was cut short.
    unclear: HashMap<String, ArrayTask>,
    /// Which array a submission became.
    arrays: HashMap<u32, String>,
}

/// Slurm, through its programs on PATH.
#[derive(Debug, Clone, Default)]
pub struct Slurm;

impl Default for ArrayTask {
    fn default() -> ArrayTask {
        let (node, why) = (String::new(), String::new());
        ArrayTask { state: TaskState::Ended(String::new()), node, why, submission: None }
    }
}

impl TaskState {
    fn of(word: &str) -> TaskState {
        match word {
            "PENDING" => TaskState::Pending,
            "RUNNING" => TaskState::Running,
            "TIMEOUT" | "DEADLINE" => TaskState::TimedOut,
            "OUT_OF_MEMORY" => TaskState::OutOfMemory,
            _ if word.starts_with("CANCELLED") => TaskState::Cancelled,
            "COMPLETED" | "FAILED" | "NODE_FAIL" | "BOOT_FAIL" | "PREEMPTED" | "REVOKED"
            | "LAUNCH_FAILED" | "RECONFIG_FAIL" => TaskState::Ended(word.to_owned()),
            // COMPLETING, CONFIGURING, REQUEUED, REQUEUE_HOLD, SUSPENDED, …, and what a newer Slurm may say.
            _ => TaskState::Moving(word.to_owned()),
        }
    }

    /// Whether a task in this state may still leave a result.
    pub fn may_come(&self) -> bool {
        matches!(self, TaskState::Pending | TaskState::Running | TaskState::Moving(_))
    }

    /// Whether a task failed by itself, for all that Slurm knows.
    pub fn is_failure(&self) -> bool {
        matches!(self, TaskState::Ended(word) if word == "FAILED" || word == "LAUNCH_FAILED")
    }

    pub fn as_str(&self) -> &str {
        match self {
            TaskState::Pending => "PENDING",
            TaskState::Running => "RUNNING",
            TaskState::TimedOut => "TIMEOUT",
            TaskState::OutOfMemory => "OUT_OF_MEMORY",
            TaskState::Cancelled => "CANCELLED",
            TaskState::Moving(word) | TaskState::Ended(word) => word,
        }
    }
}

impl ArrayTask {
    /// Returns what Slurm says of it: `FAILED (NonZeroExitCode) on n3`.
    pub fn words(&self) -> String {
        let why = match self.why.as_str() {
            "" | "None" => String::new(),
            why => format!(" ({why})"),
        };
        let node = match self.node.as_str() {
            "" => String::new(),
            node => format!(" on {node}"),
        };
        format!("{}{why}{node}", self.state.as_str())
    }
}

impl Queue {
    /// Reads the lines of squeue: array, indices, state, submission, nodes and reason.
    fn parse(text: &str) -> Queue {
        let mut queue = Queue::default();
        for line in text.lines() {
            let fields = line.splitn(6, '|').map(str::trim).collect::<Vec<_>>();
            let [array, indices, state, submission, node, why] = fields[..] else { continue };
            let task = ArrayTask {
                state: TaskState::of(state),
                node: node.to_owned(),
                why: why.trim_start_matches('(').trim_end_matches(')').to_owned(),
                submission: submission.parse().ok(),
            };
            if let Some(submission) = task.submission {
                queue.arrays.insert(submission, array.to_owned());
            }
            match array::parse(indices) {
                Some(indices) => {
                    let keys = indices.into_iter().map(|index| (array.to_owned(), index));
                    queue.tasks.extend(keys.map(|key| (key, task.clone())));
                }
                None => drop(queue.unclear.insert(array.to_owned(), task)),
            }
        }
        queue
    }

    /// Adds how tasks ended that the queue has no more, from the lines of sacct.
    fn add_ended(&mut self, text: &str) {
        for line in text.lines() {
            let fields = line.splitn(4, '|').map(str::trim).collect::<Vec<_>>();
            let [id, state, code, node] = fields[..] else { continue };
            let Some((array, index)) = id.split_once('_') else { continue };
            let Some(indices) = array::parse(index) else { continue };
            let why = if code == "0:0" { String::new() } else { format!("exit code {code}") };
            let state = TaskState::of(state);
            if state.may_come() {
                continue; // Accounting is behind; the queue is not.
            }
            let task = ArrayTask { state, node: node.to_owned(), why, submission: None };
            for index in indices {
                self.tasks.entry((array.to_owned(), index)).or_insert_with(|| task.clone());
            }
        }
    }

    pub fn task(&self, array: &str, index: u32) -> Option<&ArrayTask> {
        // A name for each task: a look-up must not cost an allocation of 10,000, but one is nothing beside a file.
        self.tasks.get(&(array.to_owned(), index)).or_else(|| self.unclear.get(array))
    }

    /// Returns the array that a submission became, if Slurm knows it.
    pub fn array(&self, submission: u32) -> Option<&str> {
        self.arrays.get(&submission).map(String::as_str)
    }

    pub fn tasks(&self) -> impl Iterator<Item = (&str, u32, &ArrayTask)> {
        self.tasks.iter().map(|((array, index), task)| (array.as_str(), *index, task))
    }
}

impl Slurm {
    /// Returns how many tasks an array may have.
    pub fn max_array_size(&self) -> usize {
        let mut command = Command::new("scontrol");
        let said = probe::answer(command.args(["show", "config"]), PATIENCE).unwrap_or_default();
        let line = said.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"));
        let size = line.and_then(|line| line.trim_start_matches([' ', '=']).trim().parse().ok());
        size.filter(|size| *size > 0).unwrap_or(MAX_ARRAY_SIZE)
    }

    /// Submits an array and returns its id.
    pub fn submit(&self, words: &[String]) -> Result<String> {
        let answer = self.ask(Command::new("sbatch").args(words))?;
        if !answer.status.success() {
            return Err(refused("sbatch", &answer));
        }
        // `ID` or `ID;CLUSTER`, perhaps after what a site's plugin says.
        let id = answer.stdout.lines().rev().map(|line| line.trim().split(';').next());
        let is_id = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let id = id.flatten().find(is_id).map(str::to_owned);
        id.ok_or_else(|| {
            let said = first_line(&answer.stdout);
            hinted(
                format!("sbatch did not say an array's id, but `{said}`"),
                "`rosetta runs collect` looks for the array in the queue",
            )
        })
    }

    /// Returns the queue's tasks of a name, those that ended lately too.
    pub fn queue(&self, name: &str) -> Result<Queue> {
        let mut command = Command::new("squeue");
        command.args(["--noheader", "--me", "--states=all", "--format=%F|%K|%T|%k|%N|%r"]);
        command.arg(format!("--name={name}"));
        // Else a long list of indices is cut short.
        let answer = self.ask(command.env("SLURM_BITSTR_LEN", "0"))?;
        match answer.status.success() {
            true => Ok(Queue::parse(&answer.stdout)),
            false => Err(refused("squeue", &answer)),
        }
    }

    /// Adds to a queue how tasks of arrays ended that Slurm has forgotten, where it keeps accounts; else does nothing.
    pub fn add_ended(&self, queue: &mut Queue, arrays: &[String]) {
        let mut command = Command::new("sacct");
        command.args([
            "--noheader",
            "--allocations",
            "--parsable2",
            "--format=JobID,State,ExitCode,NodeList",
        ]);
        command.arg(format!("--jobs={}", arrays.join(",")));
        // A cluster without accounts has no answer; what it does not tell is not known.
        if let Ok(answer) = self.ask(&mut command)
            && answer.status.success()
        {
            queue.add_ended(&answer.stdout);
        }
    }

    /// Cancels all tasks of a name, or some tasks by id.
    pub fn cancel(&self, name: &str, tasks: &[String]) -> Result<()> {
        let mut command = Command::new("scancel");
        match tasks {
            [] => command.args(["--me".to_owned(), format!("--name={name}")]),
            tasks => command.args(tasks),
        };
        let answer = self.ask(&mut command)?;
        match answer.status.success() {
            true => Ok(()),
            false => Err(refused("scancel", &answer)),
        }
    }

    fn ask(&self, command: &mut Command) -> Result<Answer> {
        probe::ask(command, PATIENCE).map_err(|error| {
            let name = probe::name(command);
            let is_absent = error.chain().any(|cause| {
                cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
            });
            match is_absent {
                true => hinted(
                    format!("there is no `{name}` here"),
                    "log in where jobs are submitted from, or load the module that has Slurm's programs",
                ),
                false => hinted(format!("{error:#}"), ANSWERS_LATER),
            }
        })
    }
}

const ANSWERS_LATER: &str = "nothing is lost: `rosetta runs collect` goes on once Slurm answers";

/// What Slurm says of itself → what helps.
const CURES: [(&str, &str); 14] = [
    ("Unable to contact slurm controller", ANSWERS_LATER),
    ("Socket timed out", ANSWERS_LATER),
    ("Connection refused", ANSWERS_LATER),
    ("Zero Bytes were transmitted", ANSWERS_LATER),
    (
        "invalid account",
        "correct `account` or `partition` in the launcher's file; `sacctmgr show assoc user=$USER` lists yours",
    ),
    (
        "account",
        "correct `account` in the launcher's file; `sacctmgr show assoc user=$USER` lists yours",
    ),
    ("invalid partition", "correct `partition` in the launcher's file; `sinfo` lists them"),
    ("qos", "correct `qos` in the launcher's file"),
    (
        "generic resource",
        "correct `gres` in the launcher's file; `sinfo -o '%P %G'` lists what nodes have",
    ),
    (
        "feature specification",
        "correct `constraint` in the launcher's file; `sinfo -o '%P %f'` lists what nodes have",
    ),
    (
        "node configuration is not available",
        "no node has all that the launcher's file asks for; `sinfo -o '%P %c %m %G %f'` lists what nodes have",
    ),
    ("time limit", "lower `time` in the launcher's file; `sinfo -o '%P %l'` lists the limits"),
    (
        "Job violates accounting/QOS policy",
        "set `max_running` in the launcher's file or submit less at a time",
    ),
    (
        "array specification",
        "`scontrol show config | grep MaxArraySize` says how large an array may be",
    ),
];

/// Returns the error of a program of Slurm's, in its own words, with what helps.
fn refused(program: &str, answer: &Answer) -> anyhow::Error {
    let said = [&answer.stderr, &answer.stdout].map(|text| text.trim());
    let said = said.into_iter().find(|text| !text.is_empty()).unwrap_or("it said nothing");
    let lower = said.to_lowercase();
    let cure = CURES.iter().find(|(sign, _)| lower.contains(&sign.to_lowercase()));
    let cure = cure.map_or(
        "correct the launcher's file, then `rosetta runs collect` submits again",
        |(_, cure)| cure,
    );
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let code =
        answer.status.code().map_or("a signal".to_owned(), |code| format!("exit code {code}"));
    hinted(format!("{program} refused ({code}): {}", lines.join("; ")), cure)
}

fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_read_whole() {
        let text = "25|2-4%2|PENDING|1||JobArrayTaskLimit\n25|0|RUNNING|1|n1|None\n\
                    25|1|FAILED|1|n2|NonZeroExitCode\n26|[0-9,...]|PENDING|2||Priority\n\
                    27|N/A|COMPLETING|3|n[1-2]|None\nslurm_load_jobs error: what\n";
        let queue = Queue::parse(text);
        let state = |array, index| queue.task(array, index).map(|task| task.state.clone());
        assert_eq!(state("25", 3), Some(TaskState::Pending));
        assert_eq!(state("25", 0), Some(TaskState::Running));
        assert_eq!(state("25", 1), Some(TaskState::Ended("FAILED".to_owned())));
        assert_eq!(state("25", 7), None);
        // A list that was cut short: every task of that array may still come.
        assert_eq!(state("26", 500), Some(TaskState::Pending));
        assert_eq!((queue.array(2), queue.array(9)), (Some("26"), None));
        let words = queue.task("25", 1).map(ArrayTask::words);
        assert_eq!(words.as_deref(), Some("FAILED (NonZeroExitCode) on n2"));
    }

    #[test]
    fn accounts_tell_how_a_forgotten_task_ended_and_never_that_it_goes_on() {
        let mut queue = Queue::parse("25|0|RUNNING|1|n1|None\n");
        queue.add_ended("25_0|FAILED|1:0|n1\n25_1|TIMEOUT|0:0|n2\n25_2|CANCELLED by 1000|0:15|n2\n25_3|RUNNING|0:0|n4\n25_[4-5]|NODE_FAIL|1:0|n4\n");
        let state = |index| queue.task("25", index).map(|task| task.state.clone());
        assert_eq!(state(0), Some(TaskState::Running));
        assert_eq!(
            (state(1), state(2), state(3)),
            (Some(TaskState::TimedOut), Some(TaskState::Cancelled), None)
        );
        assert_eq!(state(5), Some(TaskState::Ended("NODE_FAIL".to_owned())));
    }
}
