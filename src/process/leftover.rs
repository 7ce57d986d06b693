//! What a run has left behind that was killed together with its shim: nobody was there to sweep.
//!
//! Must not depend on what the run was.

use std::fs;
use std::path::Path;

use super::kernel::{self, Signal};
use super::shim::TAG;
use super::tree::{entries_named, started_seconds};

/// Ends the processes of jobs whose rosetta is gone, and returns how many they were.
///
/// They are known by a variable that their shim gave them; one that has cleared its environment is lost. Those of another
/// container, whose process numbers mean something else, and of other users are left alone.
pub fn end_leftovers() -> usize {
    let left = leftovers();
    left.iter().for_each(|pid| kernel::send(*pid, Signal::KILL));
    left.len()
}

/// Returns those processes.
pub fn leftovers() -> Vec<i32> {
    let mut left = Vec::new();
    for (pid, tag) in entries_named(TAG) {
        if is_of_a_dead_rosetta(&tag) && is_of_our_numbers(pid) && pid != kernel::own_pid() {
            left.push(pid);
        }
    }
    left
}

/// Whether nobody has the number of the rosetta that a tag names, or somebody else has it by now.
pub fn is_of_a_dead_rosetta(tag: &str) -> bool {
    let Some((pid, begun)) = tag.split_once('-') else { return false };
    let (Ok(pid), Ok(begun)) = (pid.parse::<i32>(), begun.parse::<f64>()) else { return false };
    // The kernel counts the time that the machine slept in the start of a process, a tag does not.
    let latest = begun + kernel::seconds_asleep() + 1.0;
    started_seconds(pid).is_none_or(|started| started > latest)
}

/// Whether a process is in our namespace of process numbers.
fn is_of_our_numbers(pid: i32) -> bool {
    let namespace = |of: &str| fs::read_link(Path::new("/proc").join(of).join("ns/pid")).ok();
    let ours = namespace("self");
    ours.is_some() && namespace(&pid.to_string()) == ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_whether_its_rosetta_lives() {
        let own = kernel::own_pid();
        let now = kernel::monotonic_seconds();
        assert!(!is_of_a_dead_rosetta(&format!("{own}-{now}")));
        // We began later than that.
        assert!(is_of_a_dead_rosetta(&format!("{own}-0.5")));
        // Above the kernel's largest process number.
        assert!(is_of_a_dead_rosetta("4194305-12.5"));
        assert!(!is_of_a_dead_rosetta("not a tag"));
        assert!(is_of_our_numbers(own));
    }
}
