//! An image that an engine holds. Must not depend on how it was made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::job::mount;

/// An image of an environment, and where its interpreter is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Who holds it.
    pub engine: Engine,
    /// `sha256:` and 64 digits.
    pub id: String,
    /// The name that a person can call it by.
    pub name: String,
    /// The environment's folder inside.
    pub root: PathBuf,
    pub python: PathBuf,
    /// The version of CPython.
    pub version: String,
    /// PATH as the image sets it.
    pub path: String,
}

impl Image {
    /// Whether its engine still has it.
    pub fn is_here(&self) -> bool {
        let id = self.engine.answer(&["image", "inspect", "--format", "{{.Id}}", &self.id]);
        id.is_ok_and(|id| same(id.trim(), &self.id))
    }

    /// Returns what runs a command in it, or a shell if none is named, with some variables, and some folders to read.
    pub fn enter(
        &self,
        command: &[OsString],
        variables: &BTreeMap<String, String>,
        seen: &[PathBuf],
    ) -> Command {
        let mut engine = self.engine.command();
        engine.args(["run", "--rm", "--interactive", "--pull", "never"]);
        if std::io::stdin().is_terminal() {
            engine.arg("--tty");
        }
        for (name, value) in variables {
            engine.args(["--env", &format!("{name}={value}")]);
        }
        for folder in seen {
            engine.args(["--mount", &mount(folder, folder, true)]);
        }
        let shell = OsString::from("/bin/sh");
        let (program, arguments) = command.split_first().unwrap_or((&shell, &[]));
        engine.arg("--entrypoint").arg(program).arg(&self.id).args(arguments);
        engine
    }

    /// Removes it; that it is gone already is not an error.
    pub fn remove(&self) -> Result<()> {
        match self.engine.answer(&["image", "rm", "--force", &self.id]) {
            Err(error) if self.is_gone(&error) => Ok(()),
            // Without its client there is nobody to ask, nor to keep it.
            Err(_) if !self.engine.program.is_file() => Ok(()),
            removed => removed.map(|_| ()),
        }
    }

    fn is_gone(&self, error: &anyhow::Error) -> bool {
        let said = format!("{error:#}").to_lowercase();
        ["no such image", "image not known"].iter().any(|words| said.contains(words))
    }
}

/// Whether two ids are of one image: podman leaves `sha256:` out.
fn same(one: &str, other: &str) -> bool {
    let digits = |id: &str| id.trim_start_matches("sha256:").to_owned();
    !one.is_empty() && digits(one) == digits(other)
}

/// Whether one of the images that are kept has that id.
pub fn is_kept(id: &str, kept: &[Image]) -> bool {
    kept.iter().any(|image| same(&image.id, id))
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn an_id_is_the_same_with_and_without_its_algorithm() {
        assert!(same("sha256:ab", "ab") && same("ab", "ab"));
        assert!(!same("sha256:ab", "ac") && !same("", ""));
    }
}
