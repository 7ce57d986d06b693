//! rosetta's side of a shim: a job is handed to it here or in a container; it is told to stop, or killed.
//!
//! Must not depend on what a job says.
//!
//! A shim on this machine that has ended its job well waits for the next one.
//!
//! A shim in a container is the child of a client of the container's engine, which hands signals and streams on. Its
//! standard input stays open as long as this side lives; its end is the end of the job.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::catalog::Device;
use crate::container::{self, Container, Marks};
use crate::machine::{self, Machine};
use crate::process::kernel::{self, Signal};
use crate::process::{Cancel, DONE, Launch, Order, SHIM, handover, is_stopped};

/// A home folder for one job, empty when it begins and gone when it has ended: what frameworks keep for their users there
/// must not change what the next job computes, nor how fast.
pub(super) struct JobHome(PathBuf);

impl JobHome {
    pub(super) fn make(job_folder: &Path) -> Result<JobHome> {
        let folder = job_folder.join("home");
        let failed = || format!("cannot make `{}`", folder.display());
        std::fs::create_dir_all(&folder).with_context(failed)?;
        Ok(JobHome(folder))
    }
}

impl Drop for JobHome {
    fn drop(&mut self) {
        // What cannot be removed stays beside the job's other files and does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

thread_local! {
    /// The shims of this thread that have no job of rosetta's any more. They end with the thread.
    static RELEASED: RefCell<Vec<Serving>> = const { RefCell::new(Vec::new()) };
}

/// A shim on this machine, which serves one job after another.
struct Serving {
    /// The program that it is.
    rosetta: PathBuf,
    child: std::process::Child,
    /// Where jobs are handed over to it.
    socket: OwnedFd,
    /// Where it says the end of each job by a byte.
    ends: OwnedFd,
    /// Whether it waits for another job.
    is_waiting: bool,
}

impl Serving {
    fn start(rosetta: &Path) -> Result<Serving> {
        let (socket, theirs) = handover::sockets().context("cannot make a socket")?;
        let mut command = std::process::Command::new(rosetta);
        command.arg0("rosetta").arg(SHIM).env(machine::VARIABLE, machine::name());
        command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::null());
        command.process_group(0); // Ctrl-C at the terminal is for rosetta alone.
        let failed = || format!("cannot start `{}`", rosetta.display());
        let mut child = command.spawn().with_context(failed)?;
        let ends = child.stdout.take().context("a shim without standard output")?.into();
        Ok(Serving { rosetta: rosetta.to_owned(), child, socket, ends, is_waiting: false })
    }

    /// Returns one that waits for a job, if there is one.
    fn waiting(rosetta: &Path) -> Option<Serving> {
        RELEASED.with_borrow_mut(|released| {
            released.retain_mut(|shim| shim.pid().is_some());
            let fits = |shim: &Serving| shim.is_waiting && shim.rosetta == rosetta;
            let place = released.iter().position(fits)?;
            Some(released.swap_remove(place))
        })
    }

    /// Hands a job over; returns the other ends of its standard output and error, and what tells its end.
    fn hand_over(&mut self, order: &Path) -> io::Result<(ChildStdout, ChildStderr, ChildStdout)> {
        self.is_waiting = false;
        let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        handover::hand_over(&self.socket, order, their_stdout.as_fd(), their_stderr.as_fd())?;
        let stderr = ChildStderr::from_std(stderr.into())?;
        Ok((reader(stdout)?, stderr, reader(self.ends.try_clone()?)?))
    }

    /// Returns its id unless it has ended.
    fn pid(&mut self) -> Option<i32> {
        match self.child.try_wait() {
            Ok(None) => i32::try_from(self.child.id()).ok(),
            _ => None,
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            kernel::send(pid, Signal::USR1);
            if self.is_waiting {
                // Nothing holds it up. What it answers is of no use.
                let _ = self.child.wait();
            }
        }
    }
}

/// Returns a pipe as the runtime reads it.
fn reader(pipe: OwnedFd) -> io::Result<ChildStdout> {
    ChildStdout::from_std(pipe.into())
}

/// Who runs the job.
enum Runner {
    /// A shim on this machine, and what tells the end of the job; no shim any more when this is dropped.
    Here(Option<Serving>, ChildStdout),
    Client(Box<Client>),
}

/// The client of an engine, with the shim in its container.
struct Client {
    child: Child,
    container: Container,
    /// The other end of what the shim reads.
    _input: Option<ChildStdin>,
}

/// The shim of one job. The job is ended if rosetta loses interest before.
pub(super) struct Shim {
    pub(super) tag: String,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
    runner: Runner,
    was_told: bool,
    has_said_the_end: bool,
}

impl Shim {
    /// Hands the job to one on this machine, or starts one in a container, which shows less of it.
    pub(super) fn start(
        rosetta: &Path,
        launch: &Launch,
        home: &JobHome,
        machine: Option<Machine>,
    ) -> Result<Shim> {
        let pid = kernel::own_pid();
        let tag = format!("{pid}-{}", kernel::monotonic_seconds());
        let mut launch = launch.clone();
        launch.environment.set_default("HOME", home.0.to_string_lossy());
        let (job_folder, container) = (launch.job_folder.clone(), launch.container.clone());
        let command = container.as_ref().map(|container| in_container(container, &launch, &tag));
        let client = command.transpose()?.zip(container);
        // In a container nobody has the number of this process.
        let parent = client.is_none().then_some(pid);
        let follows_input = client.is_some();
        let order = Order { launch, parent, tag: tag.clone(), follows_input, machine }.write()?;
        remove(&job_folder.join(DONE))?;
        let (stdout, stderr, runner) = match client {
            None => here(rosetta, &order)?,
            Some((command, container)) => client_of(command, container)?,
        };
        Ok(Shim { tag, stdout, stderr, runner, was_told: false, has_said_the_end: false })
    }

    /// Waits for the end of the job; a shim that goes on counts as one that has ended well.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        match &mut self.runner {
            Runner::Client(client) => client.child.wait().await,
            Runner::Here(shim, end) => {
                if self.has_said_the_end || end.read(&mut [0]).await? > 0 {
                    self.has_said_the_end = true;
                    return Ok(ExitStatus::default());
                }
                // Its end of the pipe is closed: it has ended, or will have in a moment.
                shim.as_mut().map_or_else(|| Ok(ExitStatus::default()), |shim| shim.child.wait())
            }
        }
    }

    /// Returns the id of the process here, unless it has ended: it may be somebody else's then.
    fn pid(&mut self) -> Option<i32> {
        match &mut self.runner {
            Runner::Here(shim, _) => shim.as_mut()?.pid(),
            Runner::Client(client) => client.child.id().and_then(|pid| i32::try_from(pid).ok()),
        }
    }

    pub(super) fn is_stopped(&mut self) -> bool {
        self.pid().is_some_and(is_stopped)
    }

    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    pub(super) fn tell(&mut self, cancel: Cancel) {
        match cancel {
            Cancel::Gracefully => self.signal(Signal::TERM),
            Cancel::Now => self.signal(Signal::USR1),
            Cancel::No => {}
        }
    }

    fn signal(&mut self, signal: Signal) {
        self.was_told = true;
        if let Some(pid) = self.pid() {
            kernel::send(pid, signal);
        }
    }

    /// Removes the container of a shim that has left no word. What hinders it is met again by the next run, which sweeps.
    pub(super) fn remove_container(&self) {
        let Runner::Client(client) = &self.runner else { return };
        let engine = &client.container.engine;
        let all = container::containers(engine).unwrap_or_default();
        let ours = all.into_iter().filter(|(_, owner)| owner.as_ref() == Some(&self.tag));
        let ours = ours.map(|(id, _)| id).collect::<Vec<_>>();
        let _ = container::remove_containers(engine, &ours);
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        if !self.has_said_the_end {
            self.tell(Cancel::Now);
        }
        if let Runner::Here(shim, _) = &mut self.runner
            && let Some(mut shim) = shim.take()
        {
            // One that was told something may take it for the next job's.
            shim.is_waiting = self.has_said_the_end && !self.was_told;
            // When the thread ends there is nobody to wait for.
            let _ = RELEASED.try_with(|released| released.borrow_mut().push(shim));
        }
    }
}

/// The other ends of a job's standard output and error, and who runs it.
type Started = (Option<ChildStdout>, Option<ChildStderr>, Runner);

/// Hands an order to a shim that waits, or else to a new one.
fn here(rosetta: &Path, order: &Path) -> Result<Started> {
    let handed = Serving::waiting(rosetta).and_then(|mut shim| {
        // It may have been killed a moment ago.
        let streams = shim.hand_over(order).ok()?;
        Some((shim, streams))
    });
    let (shim, (stdout, stderr, end)) = match handed {
        Some(handed) => handed,
        None => {
            let mut shim = Serving::start(rosetta)?;
            let streams = shim.hand_over(order).context("cannot hand a job to its shim")?;
            (shim, streams)
        }
    };
    Ok((Some(stdout), Some(stderr), Runner::Here(Some(shim), end)))
}

/// Starts a client of an engine.
fn client_of(command: std::process::Command, container: Container) -> Result<Started> {
    let shown = command.get_program().display().to_string();
    let mut command = Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let _input = child.stdin.take();
    Ok((stdout, stderr, Runner::Client(Box::new(Client { child, container, _input }))))
}

/// Returns the command that runs the shim of a job in its container.
fn in_container(
    container: &Container,
    launch: &Launch,
    tag: &str,
) -> Result<std::process::Command> {
    let limits = container::ContainerLimits {
        memory_bytes: launch.memory_limit_bytes,
        cpus: launch.cpus_here().unwrap_or_default(),
        has_gpu: launch.device == Device::Cuda,
    };
    let marks = Marks { owner: tag, job: &launch.job_folder };
    let order = Order::path(&launch.job_folder);
    let order = order.to_str().context("a job's folder is not UTF-8")?;
    let mut container = container.clone();
    container.variables.insert(machine::VARIABLE.to_owned(), machine::name());
    container.command(&limits, marks, &[SHIM, order])
}

/// Removes what is in the way of the shim's word, whatever it is.
fn remove(path: &Path) -> Result<()> {
    let removed = match path.is_dir() && !path.is_symlink() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
