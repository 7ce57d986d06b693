//! What is asked of the kernel beyond the standard library; every `unsafe` of this room is here.
//!
//! Must not depend on any other module.
//!
//! Decision: rustix, which the terminal crates bring along anyway, for all that it has. It makes system calls without
//! libc's state, so that they are safe between fork and exec, and it keeps the raw status of a process: nix refuses one
//! that a real-time signal has ended. Neither has sigtimedwait; that, signal masks and getrusage go through libc.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::process::{Command, ExitStatus};
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub use rustix::process::Signal;
use rustix::process::{Pid, WaitOptions};
use rustix::thread::CpuSet;
use rustix::time::ClockId;

/// Makes orphans among the descendants children of this process.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Makes the kernel send `signal` to this process when its parent's thread ends.
pub fn follow_parent(signal: Signal) -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(signal))?)
}

/// Returns the id of this process.
pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// Returns the id of the process that this one is below.
pub fn parent_pid() -> i32 {
    i32::try_from(parent_id()).expect("a process id fits a pid_t")
}

/// Sends a signal to a process. That it is gone already is not an error.
pub fn send(pid: i32, signal: Signal) {
    let _ = Pid::from_raw(pid).map(|pid| rustix::process::kill_process(pid, signal));
}

/// Sends a signal to all processes of a group. That they are gone already is not an error.
pub fn send_to_group(group: i32, signal: Signal) {
    let _ = Pid::from_raw(group).map(|group| rustix::process::kill_process_group(group, signal));
}

/// Starts a command in a process group of its own and returns its id. It dies with this process, hears every signal, and
/// is kept to `cpus`, each of which must be allowed here.
pub fn spawn(command: &mut Command, cpus: Option<&[usize]>) -> io::Result<i32> {
    let (shim, cpus) = (own_pid(), cpus.map(cpu_set));
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes system calls only; it allocates nothing.
    unsafe { command.pre_exec(move || prepare(shim, cpus.as_ref())) };
    let child = command.spawn()?;
    Ok(i32::try_from(child.id()).expect("a process id fits a pid_t"))
}

/// Runs in the child before exec.
fn prepare(shim: i32, cpus: Option<&CpuSet>) -> io::Result<()> {
    follow_parent(Signal::KILL)?;
    hear_every_signal()?;
    if let Some(cpus) = cpus {
        rustix::thread::sched_setaffinity(None, cpus)?;
    }
    match rustix::process::getppid() == Pid::from_raw(shim) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

fn cpu_set(cpus: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    set
}

/// Returns the CPUs that a process may use, 0 for this one; empty if it is gone.
pub fn cpus_allowed(pid: i32) -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(Pid::from_raw(pid)) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// The largest resident set, in bytes, of a process or of one that it has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Peak(pub u64);

/// What comes of waiting for a child without waiting.
#[derive(Debug, PartialEq, Eq)]
pub enum Reaped {
    Process(i32, ExitStatus, Peak),
    /// All children are alive.
    NobodyYet,
    /// There are no children, adopted or own.
    NobodyLeft,
}

/// Takes the status of one child that has ended, an adopted orphan too; its CPU time then counts as this process'
/// children's. No library may wait for children of its own in a process that calls this.
pub fn reap_any() -> Reaped {
    let (mut status, any) = (0, -1);
    // SAFETY: the kernel fills both; the structure is valid when all zero too.
    let (pid, usage) = unsafe {
        let mut usage = zeroed::<libc::rusage>();
        let pid = libc::wait4(any, &raw mut status, libc::WNOHANG, &raw mut usage);
        (pid, usage)
    };
    match pid {
        0 => Reaped::NobodyYet,
        1.. => {
            let peak = Peak(u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024);
            Reaped::Process(pid, ExitStatus::from_raw(status), peak)
        }
        _ => Reaped::NobodyLeft,
    }
}

/// Takes the status of one child, if it has ended.
pub fn reap(pid: i32) {
    // That it is not our child, or not any more, is not an error.
    let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
}

/// What the children that were waited for have used, with all of theirs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuUsage {
    pub user_seconds: f64,
    pub system_seconds: f64,
}

impl CpuUsage {
    /// Returns what was used since.
    pub fn since(self, before: CpuUsage) -> CpuUsage {
        CpuUsage {
            user_seconds: self.user_seconds - before.user_seconds,
            system_seconds: self.system_seconds - before.system_seconds,
        }
    }
}

/// Returns what the children have used.
pub fn usage_of_children() -> CpuUsage {
    // SAFETY: the kernel fills the structure, which is valid when all zero too.
    let usage = unsafe {
        let mut usage = zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    CpuUsage { user_seconds: seconds(usage.ru_utime), system_seconds: seconds(usage.ru_stime) }
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

/// Returns the clock that all processes of this machine share and that `Instant` reads.
pub fn monotonic_seconds() -> f64 {
    let time = rustix::time::clock_gettime(ClockId::Monotonic);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Returns for how long this machine has been suspended since it booted.
pub fn seconds_asleep() -> f64 {
    let time = rustix::time::clock_gettime(ClockId::Boottime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9 - monotonic_seconds()
}

/// Whether this process was started to ignore a signal.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: without a new action the call only fills in the old one, which is valid when all zero too.
    unsafe {
        let mut action = zeroed::<libc::sigaction>();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Makes a write beyond the limit on the size of a file an error of that write instead of the end of the process.
pub fn survive_file_limits() {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Returns the size of a page of memory.
pub fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Makes a pipe hold so many bytes. A refusal, by a limit of the user's, costs only speed.
pub fn widen(pipe: impl AsFd, bytes: usize) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, bytes);
}

/// Signals that are taken when it suits, not when they come.
pub struct Signals(libc::sigset_t);

impl Signals {
    const TAKEN: [Signal; 5] =
        [Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1];

    /// Makes those signals wait, in this thread and in those that it will start.
    pub fn block() -> Signals {
        // SAFETY: the set is initialised by sigemptyset before it is used.
        unsafe {
            let mut set = zeroed();
            libc::sigemptyset(&mut set);
            for signal in Self::TAKEN {
                libc::sigaddset(&mut set, signal.as_raw());
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, null_mut());
            Signals(set)
        }
    }

    /// Returns the next signal, or none once it is `time`.
    pub fn wait_until(&self, time: Instant) -> Option<Signal> {
        let left = time.saturating_duration_since(Instant::now());
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(left.subsec_nanos() as i32),
        };
        // SAFETY: both arguments live as long as the call.
        let signal = unsafe { libc::sigtimedwait(&self.0, null_mut(), &raw const timeout) };
        Signal::from_named_raw(signal)
    }

    /// Waits until there is something to read, or the other end is closed. Meanwhile a signal does what it does to a
    /// process that knows nothing of it.
    pub fn let_pass_until_readable(&self, file: impl AsFd) {
        let mut file =
            libc::pollfd { fd: file.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the set is initialised by sigemptyset, and all live as long as the call.
        unsafe {
            let mut none = zeroed();
            libc::sigemptyset(&mut none);
            while libc::ppoll(&raw mut file, 1, std::ptr::null(), &raw const none) < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
        }
    }
}

/// Ends this process by a signal; returns if the signal does not end it.
pub fn end_by(signal: Signal) {
    // A dump of this process' core would tell nothing.
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    );
    if hear_every_signal().is_ok() {
        send(own_pid(), signal);
    }
}

/// While one of these lives, Ctrl-C, SIGTERM and a lost terminal end this process at once, with the code for an
/// interruption. Handlers of others, which may wait for something, come back afterwards.
pub struct Interruptible(());

/// How many there are, and what the signals did before the first.
static INTERRUPTIBLE: Mutex<(usize, Vec<(libc::c_int, libc::sigaction)>)> =
    Mutex::new((0, Vec::new()));

/// What shells know as interrupted.
const INTERRUPTED: libc::c_int = 130;

impl Interruptible {
    pub fn begin() -> Interruptible {
        let mut state = INTERRUPTIBLE.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 == 0 {
            let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
            state.1 = signals.into_iter().filter_map(replace_handler).collect();
        }
        state.0 += 1;
        Interruptible(())
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        let mut state = INTERRUPTIBLE.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 -= 1;
        if state.0 == 0 {
            for (signal, before) in std::mem::take(&mut state.1) {
                // SAFETY: `before` is what sigaction gave for that signal.
                unsafe { libc::sigaction(signal, &before, null_mut()) };
            }
        }
    }
}

/// Makes a signal end this process; returns what it did before, unless it was ignored: nohup means it.
fn replace_handler(signal: libc::c_int) -> Option<(libc::c_int, libc::sigaction)> {
    // SAFETY: both structures are valid when all zero, and the handler makes system calls only.
    unsafe {
        let (mut before, mut ours) = (zeroed::<libc::sigaction>(), zeroed::<libc::sigaction>());
        libc::sigaction(signal, std::ptr::null(), &mut before);
        if before.sa_sigaction == libc::SIG_IGN {
            return None;
        }
        ours.sa_sigaction = end_at_once as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(signal, &ours, null_mut());
        Some((signal, before))
    }
}

extern "C" fn end_at_once(_signal: libc::c_int) {
    let words = b"\ninterrupted\n";
    // SAFETY: both calls may be made in a signal handler.
    unsafe {
        libc::write(2, words.as_ptr().cast(), words.len());
        libc::_exit(INTERRUPTED);
    }
}

/// Sets the empty mask that programs expect: Rust's own spawn hands the parent's on.
fn hear_every_signal() -> io::Result<()> {
    // SAFETY: the set is initialised by sigemptyset before it is used.
    let error = unsafe {
        let mut set = zeroed();
        libc::sigemptyset(&mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, null_mut())
    };
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn waiting_for_a_signal_ends_in_time() {
        let signals = Signals::block();
        assert_eq!(signals.wait_until(Instant::now() + Duration::from_millis(5)), None);
    }

    #[test]
    fn what_is_gone_is_not_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        send(pid, Signal::KILL);
        send_to_group(pid, Signal::KILL);
        reap(pid);
        assert_eq!(cpus_allowed(pid), Vec::<usize>::new());
    }
}
