//! Where a project is and what it holds. Must not depend on what is asked of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::catalog::{Catalog, Framework, Language};
use crate::hint::{hinted, report};
use crate::home::Home;
use crate::probe;
use crate::record::Version;
use crate::spec::{self, Experiment};
use crate::store::Store;
use crate::table::Published;

/// How long git may take; a large repository on a cold disk is slow.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder with `specs/`, `harnesses/`, `envs/` and `results/`.
#[derive(Debug)]
pub struct Project {
    pub root: PathBuf,
    /// What was said of files that could not be read.
    told: RefCell<BTreeSet<String>>,
}

impl Project {
    /// Returns the project in a folder.
    pub fn at(root: impl Into<PathBuf>) -> Project {
        Project { root: root.into(), told: RefCell::default() }
    }

    /// Returns the project at `named`, or the one that the current folder is in, or the one that
    /// this program was built in.
    pub fn find(named: Option<&Path>) -> Result<Project> {
        let is_project =
            |folder: &Path| folder.join("specs").is_dir() && folder.join("harnesses").is_dir();
        if let Some(root) = named {
            let root = std::path::absolute(root)?;
            if !is_project(&root) {
                bail!("`{}` has no `specs` and `harnesses` folders", root.display());
            }
            return Ok(Project::at(root));
        }
        let here = std::env::current_dir()?;
        let program = std::env::current_exe().unwrap_or_default();
        let places = here.ancestors().chain(program.ancestors().skip(1));
        match places.into_iter().find(|folder| is_project(folder)) {
            Some(root) => Ok(Project::at(root)),
            None => Err(hinted(
                format!(
                    "`{}` is in no rosetta project: no `specs` and `harnesses` folders",
                    here.display()
                ),
                "change into a checkout of rosetta, or name it with `--project DIR`",
            )),
        }
    }

    pub fn specs(&self) -> PathBuf {
        self.root.join("specs")
    }

    /// Reads every experiment; the published three stand in their order, others follow by name.
    /// Says once what is wrong with the files that cannot be read.
    pub fn experiments(&self) -> Result<Vec<Experiment>> {
        let (all, unreadable) = self.readable_experiments()?;
        self.tell(&unreadable);
        Ok(all)
    }

    /// Does the same for who is not to be told: returns what is wrong beside the others.
    pub fn readable_experiments(&self) -> Result<(Vec<Experiment>, Vec<anyhow::Error>)> {
        let (mut all, unreadable) = spec::load_all(&self.specs())?;
        let published = ["cnn", "rnn", "resnet50"];
        let rank = |e: &Experiment| published.iter().position(|name| *name == e.name());
        all.sort_by_key(|e| (rank(e).unwrap_or(published.len()), e.name().to_owned()));
        Ok((all, unreadable))
    }

    /// Returns the folder of the results that the project came with.
    pub fn reference(&self) -> PathBuf {
        self.root.join("results/reference")
    }

    /// Reads frameworks and environments, and says once what is wrong with the files that cannot be
    /// read.
    pub fn catalog(&self) -> Result<Catalog> {
        let catalog = Catalog::load(&self.root)?;
        self.tell(&catalog.unreadable);
        Ok(catalog)
    }

    fn tell(&self, unreadable: &[anyhow::Error]) {
        let mut told = self.told.borrow_mut();
        unreadable.iter().filter(|error| told.insert(format!("{error:#}"))).for_each(report);
    }

    /// Whether a file of it could not be read, and was passed over.
    pub fn is_damaged(&self) -> bool {
        !self.told.borrow().is_empty()
    }

    /// Ends with an error if a framework's harnesses would not find the SDK that they import.
    pub fn need_sdk<'a>(&self, mut frameworks: impl Iterator<Item = &'a Framework>) -> Result<()> {
        let folder = "harnesses/sdk/python/rosetta";
        let is_needed = frameworks.any(|framework| framework.spec.language == Language::Python);
        if is_needed && !self.root.join(folder).is_dir() {
            let message =
                format!("`{}` has no `{folder}`, which harnesses import", self.root.display());
            return Err(hinted(
                message,
                "link `harnesses/sdk` of a checkout of rosetta, or copy it",
            ));
        }
        Ok(())
    }

    /// Returns the results in `named`, or in the project's own folder.
    ///
    /// Harnesses are given paths in it and run elsewhere, so it is absolute.
    pub fn store(&self, named: Option<&Path>) -> Result<Store> {
        let root = named.map_or_else(|| self.root.join("results"), Path::to_owned);
        let absolute = std::path::absolute(&root);
        let store =
            Store::at(absolute.with_context(|| format!("cannot find `{}`", root.display()))?);
        // Without a home, results are read all the same.
        Ok(match Home::find() {
            Ok(home) => store.indexed_in(&home.indexes()),
            Err(_) => store,
        })
    }

    /// Reads the tables of 2017; a project without them has none.
    pub fn published(&self) -> Result<Published> {
        let path = self.root.join("results/published/2017-11-24.yaml");
        if path.is_file() { Published::load(&path) } else { Ok(Published::default()) }
    }

    /// Returns which rosetta this is.
    pub fn version(&self) -> Version {
        let git = |args: &[&str]| self.git(args);
        let revision = git(&["rev-parse", "--short=12", "HEAD"]).map(|revision| {
            let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
            if changed.is_none_or(|list| list.is_empty()) { revision } else { revision + "+" }
        });
        Version { version: env!("CARGO_PKG_VERSION").to_owned(), revision }
    }

    /// Returns what git says of this folder, if it is in a repository and git answers.
    fn git(&self, args: &[&str]) -> Option<String> {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.root).args(args);
        // Hooks and `git rebase --exec` set GIT_DIR and the like, which name another repository.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"GIT_") {
                git.env_remove(name);
            }
        }
        match probe::ask(&mut git, PATIENCE) {
            Ok(said) => said.status.success().then(|| said.stdout.trim().to_owned()),
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => None, // no git here
            Err(error) => {
                anstream::eprintln!("no revision in the records: {error:#}");
                None
            }
        }
    }
}
