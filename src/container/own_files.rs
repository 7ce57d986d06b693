//! rosetta itself, for a container: the program, the loader that it was started with, and every library that it has
//! loaded.
//!
//! Must not depend on what it does there.
//!
//! Decision: the program of this process is taken as it is, with its own loader and libraries, each mounted as a file. An
//! image needs no C library for it, or may have one of another age. The alternative, a program that is linked statically,
//! would have to be built, shipped and found beside the other one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::hint::hinted;

/// The folder in a container that has them.
const INSIDE: &str = "/.rosetta";

/// Files of this machine, where a container has them, and the words that start the program there.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnFiles {
    pub mounts: Vec<(PathBuf, String)>,
    pub words: Vec<String>,
}

/// Returns those of this process.
pub fn own_files() -> Result<OwnFiles> {
    let program = fs::read_link("/proc/self/exe").context("cannot find rosetta's own program")?;
    if program.to_string_lossy().ends_with(" (deleted)") {
        let message = "rosetta's program was replaced while it runs, so no container can start it";
        return Err(hinted(message, "run the same command again"));
    }
    let maps =
        fs::read_to_string("/proc/self/maps").context("cannot read what rosetta has loaded")?;
    Ok(files_of(&program, &libraries(&maps)))
}

/// Returns the libraries that a list of mapped files has.
fn libraries(maps: &str) -> BTreeSet<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    let is_library = |path: &&str| Path::new(path).file_name().is_some_and(is_library_name);
    paths.filter(is_library).map(PathBuf::from).collect()
}

fn is_library_name(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.ends_with(".so") || name.contains(".so.")
}

fn files_of(program: &Path, libraries: &BTreeSet<PathBuf>) -> OwnFiles {
    let own = format!("{INSIDE}/rosetta");
    let mut mounts = vec![(program.to_owned(), own.clone())];
    let mut loader = None;
    for library in libraries {
        for name in names(library) {
            let inside = format!("{INSIDE}/lib/{name}");
            if name.starts_with("ld-") {
                loader = Some(inside.clone());
            }
            mounts.push((library.clone(), inside));
        }
    }
    let words = match loader {
        Some(loader) => vec![loader, "--library-path".to_owned(), format!("{INSIDE}/lib"), own],
        // Linked statically.
        None => vec![own],
    };
    OwnFiles { mounts, words }
}

/// Returns the names of a library in its folder: programs ask for that of a link, as `libc.so.6` of `libc-2.31.so`.
fn names(library: &Path) -> BTreeSet<String> {
    let own = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = own.split(['.', '-']).next().unwrap_or_default().to_owned();
    let folder = library.parent().unwrap_or(Path::new("/"));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter(|entry| {
        let is_alike = entry.file_name().to_string_lossy().starts_with(&stem);
        is_alike
            && is_library_name(&entry.file_name())
            && fs::canonicalize(entry.path()).is_ok_and(|real| real == library)
    });
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.chain([own]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_starts_by_its_own_loader_where_it_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        for name in ["libc-2.31.so", "ld-2.31.so", "libcap.so.2"] {
            fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink("libc-2.31.so", at("libc.so.6")).unwrap();
        let maps = format!(
            "00-01 r-xp 00000000 fe:00 7    /usr/bin/rosetta\n02-03 r--p 0 fe:00 8  {}\n04-05 rw-p 0 00:00 0 [heap]\n06-07 r--p 0 fe:00 9  {}\n",
            at("libc-2.31.so").display(),
            at("ld-2.31.so").display()
        );
        let files = files_of(Path::new("/usr/bin/rosetta"), &libraries(&maps));
        let inside = files.mounts.iter().map(|(_, inside)| inside.as_str()).collect::<Vec<_>>();
        let expected = ["rosetta", "lib/ld-2.31.so", "lib/libc-2.31.so", "lib/libc.so.6"];
        assert_eq!(inside, expected.map(|name| format!("/.rosetta/{name}")));
        let words =
            ["/.rosetta/lib/ld-2.31.so", "--library-path", "/.rosetta/lib", "/.rosetta/rosetta"];
        assert_eq!(files.words, words);
        let alone = files_of(Path::new("/r"), &libraries("00-01 r-xp 0 fe:00 7 /r\n"));
        assert_eq!(alone.words, ["/.rosetta/rosetta"]);
    }

    #[test]
    fn this_process_has_a_loader() {
        let files = own_files().unwrap();
        assert!(files.mounts.iter().all(|(file, _)| file.is_file()), "{files:?}");
        assert_eq!(files.words.len(), 4, "{files:?}");
    }
}
