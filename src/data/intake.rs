//! Archives of others: downloaded, checked against their authors' digests, taken in.
//!
//! Must not depend on what an experiment needs.

use std::fs;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::data::known::{self, Known, PublishedFile};
use crate::data::manifest::Origin;
use crate::data::sealed::{self, ArrayPlan};
use crate::data::store::{IMPORT_RECIPE, stored};
use crate::data::{DataStore, StoredData, archive, fetch, import, signature};
use crate::hint::{Hinted, hinted};
use crate::progress::{Progress, Report};
use crate::regular;
use crate::spec::Source;

impl DataStore {
    /// Downloads the authors' archive and imports it.
    pub fn fetch(&self, name: &str, report: Report) -> Result<StoredData> {
        let known = known::find(name)?;
        let Some(archive) = known.archives.first() else {
            return Err(hinted(format!("`{name}` is made, not fetched"), known.made_by()));
        };
        // Held to the end: who waits here finds the data imported.
        let _lock = sealed::lock(&self.root, &format!("fetch-{name}"), report)?;
        if let Ok(Some(manifest)) = self.imported(known, Source::Real) {
            report(Progress::Doing(format!("{name} is here already")));
            return Ok(stored(self.folder(known, Source::Real), manifest));
        }
        let path = self.download(known, archive, report)?;
        let imported = self.import(name, &path, false, report)?;
        let _ = fs::remove_file(&path);
        Ok(imported)
    }

    fn download(&self, known: &Known, archive: &PublishedFile, report: Report) -> Result<PathBuf> {
        let folder = self.root.join("downloads");
        sealed::create_folder(&folder)?;
        let path = folder.join(archive.file());
        report(Progress::Doing(format!("fetching {}", archive.url)));
        let pause = Duration::from_secs(2);
        let download = fetch::Download { url: archive.url, digest: archive.digest, pause };
        download.to(&path, report).map_err(sealed::explain_disk).map_err(|error| {
            let (name, url) = (known.name, archive.url);
            let advice = format!(
                "download it by other means, then run `rosetta data import {name} {}`",
                archive.file()
            );
            error.context(Hinted { message: format!("cannot fetch `{url}`"), hints: vec![advice] })
        })?;
        Ok(path)
    }

    /// Imports an archive that a user has; `unverified` admits one whose digest is not the authors'.
    pub fn import(
        &self,
        name: &str,
        path: &Path,
        unverified: bool,
        report: Report,
    ) -> Result<StoredData> {
        let known = known::find(name)?;
        if known.archives.is_empty() {
            return Err(hinted(format!("`{name}` is made, not imported"), known.made_by()));
        }
        let shown = path.display();
        let cannot = || format!("cannot import `{shown}`");
        let mut file = regular::open(path).with_context(cannot)?;
        signature::refuse_messages(&archive::first_bytes(&mut file)?).with_context(cannot)?;
        report(Progress::Doing(format!("checking {shown}")));
        let digests = fetch::digests(&mut file, report).with_context(cannot)?;
        let mut published = known.archives.iter();
        let is_genuine =
            published.any(|archive| archive.digest.fits(&digests.md5, &digests.sha256));
        if !is_genuine && !unverified {
            return Err(not_genuine(known, path, &digests));
        }
        report(Progress::Doing(format!("reading {shown}")));
        file.rewind().with_context(cannot)?;
        // Everything is read and checked before the store is touched: a bad archive leaves nothing behind.
        let arrays = import::read(known.kind, &mut file, is_genuine).with_context(cannot)?;
        let source = if is_genuine { Source::Real } else { Source::Unverified };
        let folder = self.folder(known, source);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fetch::Digests { bytes, md5, sha256 } = digests;
        let archive = Some(Origin { file: file_name, bytes, md5, sha256 });
        let plan = ArrayPlan { folder: &folder, name, source, recipe: IMPORT_RECIPE, archive };
        let manifest = sealed::replace(&self.root, plan, report, |making| {
            for array in &arrays {
                let import::Imported { name, dtype, shape, divide_by, bytes } = array;
                making.array(name, *dtype, shape, *divide_by, |writer| writer.write(bytes))?;
            }
            Ok(())
        });
        Ok(stored(folder.clone(), manifest.with_context(cannot)?))
    }
}

fn not_genuine(known: &Known, path: &Path, found: &fetch::Digests) -> anyhow::Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let archive = known.archives.iter().find(|archive| archive.file() == name);
    let size = match archive.and_then(|archive| archive.bytes) {
        Some(bytes) if found.bytes < bytes => {
            format!("; it has {} of {bytes} bytes, so it may be truncated", found.bytes)
        }
        _ => String::new(),
    };
    let published =
        known.archives.iter().map(|archive| format!("{} ({})", archive.file(), archive.digest));
    let message = format!(
        "`{}` is not an archive that the authors of `{}` published: MD5 {}, SHA-256 {}{size}; published: {}",
        path.display(),
        known.name,
        found.md5,
        found.sha256,
        published.collect::<Vec<_>>().join(", ")
    );
    let hint = "add `--unverified` if it is a subset, a copy or a mirror that you trust; records will say so";
    hinted(message, hint)
}
