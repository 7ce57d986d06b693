//! rosetta's side of a shim: its process, started here or in a container, told to stop, killed.
//!
//! Must not depend on what a job says.
//!
//! A shim in a container is the child of a client of the container's engine, which hands signals and streams on. Its
//! standard input stays open as long as this side lives; its end is the end of the job.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::{Child, ChildStdin, Command};

use crate::catalog::Device;
use crate::container::{self, Container, Marks};
use crate::machine::{self, Machine};
use crate::process::kernel::{self, Signal};
use crate::process::{Cancel, DONE, Launch, Order, SHIM, is_stopped};

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

/// The shim's process, or the client of its container's engine; killed with everything below it if rosetta loses interest.
pub(super) struct Shim {
    pub(super) child: Child,
    pub(super) tag: String,
    container: Option<Container>,
    /// The other end of what a shim in a container reads.
    _input: Option<ChildStdin>,
}

impl Shim {
    /// Starts one on this machine, or in a container, which shows less of it.
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
        let command = match &container {
            Some(container) => in_container(container, &launch, &tag)?,
            None => {
                let mut command = std::process::Command::new(rosetta);
                std::os::unix::process::CommandExt::arg0(&mut command, "rosetta");
                command.arg(SHIM).arg(Order::path(&job_folder));
                command.env(machine::VARIABLE, machine::name());
                command
            }
        };
        // In a container nobody has the number of this process.
        let parent = container.is_none().then_some(pid);
        let follows_input = container.is_some();
        Order { launch, parent, tag: tag.clone(), follows_input, machine }.write()?;
        remove(&job_folder.join(DONE))?;
        let shown = PathBuf::from(command.get_program()).display().to_string();
        let mut command = Command::from(command);
        command
            .stdin(if follows_input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0); // Ctrl-C at the terminal is for rosetta alone.
        let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        let input = child.stdin.take();
        Ok(Shim { child, tag, container, _input: input })
    }

    /// Returns its id, which is gone once it has been waited for: it may be somebody else's then.
    fn pid(&self) -> Option<i32> {
        self.child.id().and_then(|pid| i32::try_from(pid).ok())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.pid().is_some_and(is_stopped)
    }

    pub(super) fn kill(&mut self) {
        // That it has just ended is not an error.
        let _ = self.child.start_kill();
    }

    pub(super) fn tell(&self, cancel: Cancel) {
        match (self.pid(), cancel) {
            (Some(pid), Cancel::Gracefully) => kernel::send(pid, Signal::TERM),
            (Some(pid), Cancel::Now) => kernel::send(pid, Signal::USR1),
            _ => {}
        }
    }

    /// Removes the container of a shim that has left no word. What hinders it is met again by the next run, which sweeps.
    pub(super) fn remove_container(&self) {
        let Some(Container { engine, .. }) = &self.container else { return };
        let all = container::containers(engine).unwrap_or_default();
        let ours = all.into_iter().filter(|(_, owner)| owner.as_ref() == Some(&self.tag));
        let ours = ours.map(|(id, _)| id).collect::<Vec<_>>();
        let _ = container::remove_containers(engine, &ours);
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.tell(Cancel::Now);
    }
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
