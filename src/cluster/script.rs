//! What a task of an array runs on its node, and what sbatch is told of the array.
//!
//! Must not depend on how the programs of a cluster are called.
//!
//! The script `exec`s rosetta: where Slurm tracks processes by control groups, a signal reaches the script's own process alone.
//! The submitter's variables stay behind, as a record must not depend on a shell's history; PATH and HOME may then be unset.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::launcher::{ClusterLauncher, Resources};
use super::ledger::{ClusterPlan, Ledger, Submission};

/// The variable by which a task is told of which submission it is.
pub const SUBMISSION: &str = "ROSETTA_SUBMISSION";
/// How long before its limit a task is told; Slurm may tell it up to a minute earlier.
const LEAD: Duration = Duration::from_secs(60);

/// Returns the script of a submission's tasks; `task` is the word that makes a rosetta one.
pub fn script(
    plan: &ClusterPlan,
    launcher: &ClusterLauncher,
    ledger: &Ledger,
    submission: &Submission,
    task: &str,
) -> String {
    let quoted = |path: &Path| quote(&path.to_string_lossy());
    let run = quoted(ledger.run_folder());
    let rosetta = launcher.rosetta.as_ref().unwrap_or(&plan.rosetta);
    let wrap = launcher.wrap.iter().map(|word| quote(word) + " ").collect::<String>();
    let setup = launcher.setup.iter().map(|line| format!("{line}\n")).collect::<String>();
    format!(
        "#!/bin/sh\n\
         # A task of run {id}: written by rosetta {version}, submitted as number {number}.\n\
         export PATH=\"${{PATH:-/usr/local/bin:/usr/bin:/bin}}\"\n\
         export HOME=\"${{HOME:-$(getent passwd \"$(id -u)\" | cut -d: -f6)}}\"\n\
         # What srun would take over from sbatch: nothing.\n\
         unset SLURM_EXPORT_ENV\n\
         if ! cd {run} || ! [ -x {rosetta} ] || ! [ -d {home} ]; then\n    \
             echo \"rosetta: node $SLURMD_NODENAME lacks one of\" {run} {rosetta} {home} >&2\n    \
             exit 64\n\
         fi\n\
         {setup}\
         export ROSETTA_HOME={home} {SUBMISSION}={number}\n\
         export ROSETTA_CLUSTER=\"${{SLURM_CLUSTER_NAME:-slurm}}\" ROSETTA_MACHINE=\"$SLURMD_NODENAME\"\n\
         exec {wrap}{rosetta} {task} {run}\n",
        id = plan.run,
        version = plan.version,
        number = submission.number,
        rosetta = quoted(rosetta),
        home = quoted(&plan.home),
    )
}

/// Returns the words that sbatch is given for a submission, one of `arrays` that wait at the same time, kept from `unfit` nodes.
pub fn submit_words(
    plan: &ClusterPlan,
    launcher: &ClusterLauncher,
    ledger: &Ledger,
    submission: &Submission,
    resources: &Resources,
    arrays: usize,
    unfit: &BTreeSet<String>,
) -> Vec<String> {
    let last = submission.jobs.len().saturating_sub(1);
    let most = launcher.max_running.map(|most| (most as usize / arrays.max(1)).max(1));
    let most = most.map(|most| format!("%{most}")).unwrap_or_default();
    let minutes = resources.time.as_secs().div_ceil(60);
    let lead = LEAD.min(resources.time / 10).as_secs();
    let mut words = vec![
        "--parsable".to_owned(),
        format!("--array=0-{last}{most}"),
        format!("--job-name={}", name(&plan.run)),
        format!("--comment={}", submission.number),
        "--requeue".to_owned(),
        "--open-mode=append".to_owned(),
        "--export=NIL".to_owned(),
        format!("--signal=B:USR1@{lead}"),
        format!("--output={}", ledger.path("output/%A_%a.log").display()),
        format!("--chdir={}", ledger.run_folder().display()),
        "--nodes=1".to_owned(),
        "--ntasks=1".to_owned(),
        format!("--time={minutes}"),
    ];
    let mut add = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("--{name}={value}")))
    };
    add("partition", resources.partition.clone());
    add("gres", resources.gres.clone());
    add("constraint", resources.constraint.clone());
    add("cpus-per-task", resources.cpus.map(|cpus| cpus.to_string()));
    add("mem", resources.memory_bytes.map(|bytes| format!("{}M", bytes.div_ceil(1 << 20))));
    add("account", launcher.account.clone());
    add("qos", launcher.qos.clone());
    add("nice", launcher.nice.map(|nice| nice.to_string()));
    let unfit = unfit.iter().cloned().collect::<Vec<_>>().join(",");
    words.extend((!unfit.is_empty()).then(|| format!("--exclude={unfit}")));
    words.extend(resources.exclusive.then(|| "--exclusive".to_owned()));
    words.extend(launcher.options.iter().cloned());
    words.push(ledger.path(&format!("submissions/{}.sh", submission.number)).display().to_string());
    words
}

/// Returns what all arrays of a run are called.
pub fn name(run: &str) -> String {
    format!("rosetta-{run}")
}

/// Returns a text as one word of sh.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
