//! What is taken at the place where a job runs: the machine, what else it did meanwhile, what its GPUs did.
//!
//! Must not depend on how the job is run or what becomes of it.
//!
//! This is not looked at where rosetta is: a job of a cluster runs elsewhere. Own cost: reads of /proc and /sys
//! where there is no driver of GPUs; a driver's library takes what it takes.

use super::done::{Done, Exit};
use super::kernel::{self, Signal};
use super::order::Launch;
use crate::catalog::Device;
use crate::gpu;
use crate::machine::{Counters, Machine, oom_kills_in_cgroup};

/// The place before the job.
pub struct Site {
    machine: Option<Machine>,
    meter: Option<gpu::Peak>,
    counters: Option<Counters>,
    /// How often the kernel has killed in the container for want of memory; absent elsewhere.
    own_kills: Option<u64>,
}

impl Site {
    /// Looks at the place and begins to watch its GPUs for a job that may use them.
    pub fn look(launch: &Launch, known: Option<Machine>) -> Site {
        let uses_gpu = launch.is_measured && launch.device == Device::Cuda;
        Site {
            machine: launch.is_measured.then(|| known.map_or_else(Machine::look, Machine::now)),
            // The watch of the job takes this as the wish to end it at once.
            meter: uses_gpu
                .then(|| gpu::Peak::start(|| kernel::send(kernel::own_pid(), Signal::USR1)))
                .flatten(),
            counters: Counters::read(),
            // A container that is kept to no memory shares its count with others.
            own_kills: launch
                .container
                .as_ref()
                .filter(|container| container.engine.keeps.memory)
                .and_then(|_| oom_kills_in_cgroup()),
        }
    }

    /// Adds to the end of a job what the place tells of it.
    pub fn tell(self, launch: &Launch, done: &mut Done) {
        if let (Some(before), Some(after)) = (self.counters, Counters::read()) {
            let cpu_seconds = done.user_seconds + done.system_seconds;
            let disturbance = after.disturbance(&before, cpu_seconds);
            done.disturbance = done.disturbance.take().or(disturbance);
            done.oom_kills = after.oom_kills_since(&before);
        }
        done.disturbance = done.disturbance.take().filter(|_| launch.is_measured);
        let own_kills = self.own_kills.zip(oom_kills_in_cgroup());
        done.exit = match own_kills {
            Some((before, after)) => exit_in_container(&done.exit, after.saturating_sub(before)),
            None => exit(&done.exit, done.oom_kills),
        };
        done.machine = self.machine;
        done.gpu = self.meter.map(gpu::Peak::stop);
    }
}

/// Tells a process that the kernel killed for want of memory from one that somebody else killed.
fn exit(exit: &Exit, oom_kills: u64) -> Exit {
    match exit {
        Exit::Signal(libc::SIGKILL) if oom_kills > 0 => Exit::OutOfMemory,
        exit => exit.clone(),
    }
}

/// The same where the kernel counts what it has killed in the container alone: a helper of the job's may have been hit, and
/// the job has then ended with a code of its own.
fn exit_in_container(exit: &Exit, own_kills: u64) -> Exit {
    match exit {
        Exit::Signal(libc::SIGKILL) if own_kills > 0 => Exit::OutOfMemory,
        Exit::Code(code) if *code != 0 && own_kills > 0 => Exit::OutOfMemory,
        exit => exit.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_container_a_helper_that_the_kernel_killed_counts_unless_all_went_well() {
        let cases = [
            (Exit::Signal(libc::SIGKILL), 1, Exit::OutOfMemory),
            (Exit::Code(3), 1, Exit::OutOfMemory),
            (Exit::Code(0), 1, Exit::Code(0)),
            (Exit::Code(3), 0, Exit::Code(3)),
            (Exit::TimedOut, 1, Exit::TimedOut),
        ];
        for (told, own_kills, expected) in cases {
            assert_eq!(exit_in_container(&told, own_kills), expected);
        }
    }

    #[test]
    fn a_kill_is_of_the_kernel_where_it_has_killed_for_want_of_memory() {
        let cases = [
            (Exit::Signal(libc::SIGKILL), 1, Exit::OutOfMemory),
            (Exit::Signal(libc::SIGKILL), 0, Exit::Signal(libc::SIGKILL)),
            (Exit::Signal(libc::SIGTERM), 1, Exit::Signal(libc::SIGTERM)),
            (Exit::TimedOut, 1, Exit::TimedOut),
        ];
        for (told, oom_kills, expected) in cases {
            assert_eq!(exit(&told, oom_kills), expected);
        }
    }
}
