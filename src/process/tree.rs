//! Finds the descendants of a process in /proc and measures them.
//!
//! Must not depend on why they run or who will end them.
//!
//! Decision: own readers instead of the crate procfs, which opens a descriptor for each process beside the file and parses
//! 52 fields where four are wanted: half as much again for each process of each sample (10.2 against 6.5 µs).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Read;

use rustix::param::clock_ticks_per_second;

use super::kernel::{cpus_allowed, own_pid, page_bytes};

/// What `/proc/PID/stat` says about a process.
#[derive(Debug, Clone, Copy)]
struct Stat {
    parent: i32,
    session: i32,
    is_alive: bool,
    is_stopped: bool,
    threads: u32,
    started_ticks: u64,
    rss_pages: u64,
}

/// What a tree of processes used at one moment.
#[derive(Debug, Default)]
pub struct Sample {
    /// Sum over the processes; pages that several of them share count for each.
    pub rss_bytes: u64,
    pub processes: u32,
    pub threads: u32,
    pub cpus: BTreeSet<usize>,
    /// Whether somebody has stopped one of them.
    pub is_stopped: bool,
}

/// The descendants of this process, followed from sample to sample.
///
/// A process of somebody else never becomes a descendant, so that its file is read once. This makes a sample cheap on a
/// busy machine: one listing of /proc and a read for each process of the tree. The one exception, a process id that was
/// used again, is why the memory is short.
pub struct Tree {
    root: i32,
    foreign: HashSet<i32>,
    samples_until_forgetting: u32,
}

const FORGET_EVERY: u32 = 30;

impl Tree {
    /// Returns the tree below this process, which has no children yet: whatever runs now is not of it.
    pub fn before_first_child() -> Tree {
        let root = own_pid();
        let foreign = pids().into_iter().filter(|pid| *pid != root).collect();
        Tree { root, foreign, samples_until_forgetting: FORGET_EVERY }
    }

    /// Measures the first child, which has only just been started. What it has started meanwhile the next sample finds.
    pub fn first_sample(child: i32) -> Sample {
        let alive = stat(child).filter(|stat| stat.is_alive);
        sample_of(alive.map(|stat| (child, stat)))
    }

    /// Measures all descendants that are alive.
    pub fn sample(&mut self) -> Sample {
        sample_of(self.family())
    }

    /// Returns the memory of all descendants, each shared page counted once. Slow: the kernel walks all their pages.
    pub fn proportional_bytes(&mut self) -> u64 {
        let family = self.family();
        let bytes = |(pid, stat): (i32, Stat)| {
            proportional_bytes(pid).unwrap_or(stat.rss_pages * page_bytes())
        };
        family.into_iter().map(bytes).sum()
    }

    fn family(&mut self) -> Vec<(i32, Stat)> {
        let mut pids = pids();
        if self.samples_until_forgetting == 0 {
            self.foreign.clear();
            self.samples_until_forgetting = FORGET_EVERY;
        }
        self.samples_until_forgetting -= 1;
        pids.retain(|pid| !self.foreign.contains(pid));
        let stats = stats(pids);
        let family = below(self.root, &stats);
        // A parent that vanished during the walk proves nothing: its child may be about to come to us.
        let is_foreign = |pid: i32, parent: i32| {
            let parent_is_known =
                parent == 0 || self.foreign.contains(&parent) || stats.contains_key(&parent);
            pid != self.root && !family.contains(&pid) && parent_is_known
        };
        let foreign: Vec<i32> =
            stats.iter().filter(|(p, s)| is_foreign(**p, s.parent)).map(|(pid, _)| *pid).collect();
        self.foreign.extend(foreign);
        let members = family.into_iter().filter_map(|pid| Some((pid, *stats.get(&pid)?)));
        members.filter(|(_, stat)| stat.is_alive).collect()
    }
}

fn sample_of(processes: impl IntoIterator<Item = (i32, Stat)>) -> Sample {
    let mut sample = Sample::default();
    for (pid, stat) in processes {
        sample.rss_bytes += stat.rss_pages * page_bytes();
        sample.processes += 1;
        sample.threads += stat.threads;
        sample.cpus.extend(cpus_allowed(pid));
        sample.is_stopped |= stat.is_stopped;
    }
    sample
}

/// Returns all descendants of `root` that are alive; reads the whole of /proc.
pub fn descendants(root: i32) -> Vec<i32> {
    let stats = stats(pids());
    let family = below(root, &stats);
    family.into_iter().filter(|pid| stats[pid].is_alive).collect()
}

/// Returns the children of this process that have ended in a session of their own: it has adopted them, for it starts none
/// so, and nobody waits for them.
pub fn ended_foundlings() -> Vec<i32> {
    let (own, stats) = (own_pid(), stats(pids()));
    let session = stats.get(&own).map_or(0, |stat| stat.session);
    let is_foundling =
        |stat: &Stat| !stat.is_alive && stat.parent == own && stat.session != session;
    stats.iter().filter(|(_, stat)| is_foundling(stat)).map(|(pid, _)| *pid).collect()
}

/// Returns when a process was started, in seconds since the machine was.
pub fn started_seconds(pid: i32) -> Option<f64> {
    stat(pid).map(|stat| stat.started_ticks as f64 / clock_ticks_per_second() as f64)
}

/// Whether somebody has stopped a process.
pub fn is_stopped(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.is_stopped)
}

/// Returns all living processes whose environment has the entry `name=value`.
pub fn tagged(name: &str, value: &str) -> Vec<i32> {
    let named = entries_named(name).into_iter();
    named.filter(|(_, found)| found == value).map(|(pid, _)| pid).collect()
}

/// Returns all living processes that have a variable, with its value.
pub fn entries_named(name: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for pid in pids() {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        for entry in environment.split(|byte| *byte == 0) {
            let value =
                entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(value) = value {
                found.push((pid, String::from_utf8_lossy(value).into_owned()));
            }
        }
    }
    found
}

/// Returns everybody below `root`, parents before their children.
fn below(root: i32, stats: &HashMap<i32, Stat>) -> Vec<i32> {
    let mut family = Vec::new();
    let mut parents = HashSet::from([root]);
    while !parents.is_empty() {
        let is_child =
            |(pid, stat): &(&i32, &Stat)| parents.contains(&stat.parent) && !family.contains(*pid);
        let children = stats.iter().filter(is_child).map(|(pid, _)| *pid).collect::<HashSet<_>>();
        family.extend(&children);
        parents = children;
    }
    family
}

fn stats(pids: Vec<i32>) -> HashMap<i32, Stat> {
    pids.into_iter().filter_map(|pid| stat(pid).map(|stat| (pid, stat))).collect()
}

fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn stat(pid: i32) -> Option<Stat> {
    let mut text = [0; 1024];
    let mut file = fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let length = file.read(&mut text).ok()?;
    parse_stat(&text[..length])
}

/// Reads the fields that proc_pid_stat(5) numbers 3, 4, 6, 20, 22 and 24.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name is in parentheses and may hold anything, parentheses and invalid UTF-8 too.
    let after_name = memchr::memrchr(b')', text)? + 1;
    let text = std::str::from_utf8(&text[after_name..]).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let state = *fields.first()?;
    Some(Stat {
        is_alive: !matches!(state, "Z" | "X"),
        is_stopped: matches!(state, "T" | "t"),
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        started_ticks: fields.get(19)?.parse().ok()?,
        rss_pages: fields.get(21)?.parse().ok()?,
    })
}

fn proportional_bytes(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::super::kernel;
    use super::*;

    /// A child was once killed before its parent, which then went on with what comes after it.
    #[test]
    fn parents_stand_before_their_children() {
        let stat = |parent| Stat {
            parent,
            session: 0,
            is_alive: true,
            is_stopped: false,
            threads: 1,
            started_ticks: 0,
            rss_pages: 0,
        };
        // 1 → 50 → 49 → … → 2, and strangers below 99.
        let chain = (2..50).map(|pid| (pid, stat(pid + 1))).chain([(50, stat(1)), (98, stat(99))]);
        let stats = chain.collect::<HashMap<_, _>>();
        assert_eq!(below(1, &stats), (2..=50).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"7 (a) \xff(b) S 1 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 5 0 99 4096 321 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.is_alive, stat.threads), (1, true, 5));
        assert_eq!(stat.session, 7);
        assert_eq!((stat.rss_pages, stat.started_ticks), (321, 99));
        assert!(parse_stat(b"7 (a) S 1").is_none());
        let stopped = String::from_utf8_lossy(line).replace(") S", ") T");
        assert!(!stat.is_stopped && parse_stat(stopped.as_bytes()).unwrap().is_stopped);
    }

    fn sleeper() -> Child {
        // The shell tells by a line that its own child runs.
        let script = "sleep 60 & echo; wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut byte = [0];
        child.stdout.take().unwrap().read_exact(&mut byte).unwrap();
        child
    }

    #[test]
    fn grandchildren_are_found_and_strangers_are_not() {
        let stranger = sleeper();
        let mut tree = Tree::before_first_child();
        let mut child = sleeper();
        let pid = i32::try_from(child.id()).unwrap();
        let below_child = descendants(pid);
        assert_eq!(below_child.len(), 1);
        let family: Vec<i32> = tree.family().into_iter().map(|(pid, _)| pid).collect();
        assert!(family.contains(&pid) && family.contains(&below_child[0]));
        assert!(!family.contains(&i32::try_from(stranger.id()).unwrap()));
        let sample = tree.sample();
        assert!((1..=sample.rss_bytes).contains(&proportional_bytes(pid).unwrap()));
        assert!(sample.rss_bytes > 0 && sample.threads >= sample.processes);
        assert!(cpus_allowed(0).iter().all(|cpu| sample.cpus.contains(cpu)));
        for mut process in [stranger, std::mem::replace(&mut child, sleeper()), child] {
            let pid = i32::try_from(process.id()).unwrap();
            for pid in descendants(pid) {
                kernel::send(pid, kernel::Signal::KILL);
            }
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}
