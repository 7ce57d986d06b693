//! What configuration files tell cargo, pip and uv. Where packages come from, proxies and certificates
//! are passed on; whatever else pip and uv are told is left out, for a lock says what is installed.
//! What steers a compiler is in the digest of what it compiles.
//!
//! Must not depend on what is built.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::tool::Host;
use crate::home::Home;
use crate::publish::publish;

/// What pip is told of its user's settings.
pub(super) const PASSED_TO_PIP: [&str; 10] = [
    "cert",
    "client-cert",
    "extra-index-url",
    "find-links",
    "index-url",
    "no-index",
    "proxy",
    "retries",
    "timeout",
    "trusted-host",
];

/// What uv is told of its user's settings, as a whole file or below `[pip]`.
const PASSED_TO_UV: [&str; 13] = [
    "allow-insecure-host",
    "cache-dir",
    "extra-index-url",
    "find-links",
    "http-proxy",
    "https-proxy",
    "index",
    "index-strategy",
    "index-url",
    "keyring-provider",
    "native-tls",
    "no-index",
    "system-certs",
];

/// Tables of cargo's settings that do not change what is compiled.
const HARMLESS_TO_CARGO: [&str; 11] = [
    "alias",
    "cache",
    "cargo-new",
    "credential-alias",
    "doc",
    "future-incompat-report",
    "http",
    "net",
    "registries",
    "registry",
    "term",
];

/// A statement of a TOML file.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    /// The header that it stands under, brackets and all, and the how manieth of the file that is.
    header: String,
    table: usize,
    key: String,
    text: String,
}

impl Statement {
    /// Returns the whole name of what it sets, as `profile.release.opt-level`.
    fn name(&self) -> String {
        let table = self.header.trim_matches(['[', ']']).trim();
        if table.is_empty() { self.key.clone() } else { format!("{table}.{}", self.key) }
    }
}

/// Returns the statements of a TOML file, each with all of its lines.
fn statements(toml: &str) -> Vec<Statement> {
    let mut found = Vec::<Statement>::new();
    let (mut header, mut table, mut depth) = (String::new(), 0, 0);
    for line in toml.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match found.last_mut().filter(|_| depth > 0) {
            Some(last) => last.text = format!("{}\n{line}", last.text),
            None if line.starts_with('[') => {
                header = line.split('#').next().unwrap_or(line).trim().to_owned();
                table += 1;
                continue;
            }
            None => {
                let key = line.split('=').next().unwrap_or(line).trim().to_owned();
                let (header, text) = (header.clone(), line.to_owned());
                found.push(Statement { header, table, key, text });
            }
        }
        depth += nesting(line);
    }
    found
}

/// Returns how many more brackets a line opens than it closes.
fn nesting(line: &str) -> i32 {
    let (mut depth, mut quote) = (0, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => break,
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            _ => {}
        }
    }
    depth
}

/// Returns what cargo's files outside a crate, from the folder above it up to CARGO_HOME, say that
/// changes what is compiled. Those of the crate are among its own files.
pub(super) fn of_cargo(host: &Host, krate: &Path) -> Vec<String> {
    let home = host.folder("CARGO_HOME");
    let home = home.or_else(|| host.folder("HOME").map(|home| home.join(".cargo")));
    let above = krate.ancestors().skip(1).map(|folder| folder.join(".cargo"));
    let mut seen = BTreeSet::new();
    let folders = above.chain(home).filter(|folder| seen.insert(folder.clone()));
    let own = [krate.join(".cargo/config")];
    // Of two, cargo reads the one without an extension.
    let files = folders.filter_map(|folder| {
        let names = ["config", "config.toml"].map(|name| folder.join(name));
        names.into_iter().find(|file| file.is_file())
    });
    let texts = own.into_iter().chain(files).filter_map(|file| fs::read_to_string(file).ok());
    let all = texts.flat_map(|text| statements(&text)).filter(changes_what_is_compiled);
    all.map(|statement| format!("{}: {}", statement.name(), statement.text)).collect()
}

fn changes_what_is_compiled(statement: &Statement) -> bool {
    let name = statement.name();
    let table = name.split('.').next().unwrap_or_default();
    let is_harmless = HARMLESS_TO_CARGO.contains(&table) || table == "source";
    !is_harmless && !["build.jobs", "build.target-dir", "build.build-dir"].contains(&name.as_str())
}

/// Makes a pip heed of its user's settings only where packages come from and how they are reached.
pub(super) fn for_pip(host: &Host, pip: &mut Command) {
    // The null device as its file keeps pip from reading any.
    pip.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_USER", "0");
    for (key, value) in of_pip(&pip_files(host)) {
        let variable = pip_variable(&key);
        if host.get(&variable).is_none() && PASSED_TO_PIP.contains(&key.as_str()) {
            pip.env(variable, value);
        }
    }
}

/// Returns the name of the variable of one of pip's settings.
pub(super) fn pip_variable(key: &str) -> String {
    format!("PIP_{}", key.to_uppercase().replace('-', "_"))
}

/// Returns the files that pip would read, the last word last.
fn pip_files(host: &Host) -> Vec<PathBuf> {
    let home = host.folder("HOME");
    let config = host.folder("XDG_CONFIG_HOME");
    let config = config.or_else(|| home.as_ref().map(|home| home.join(".config")));
    let global = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf"].map(PathBuf::from);
    let old = home.map(|home| home.join(".pip/pip.conf"));
    let users = [old, config.map(|config| config.join("pip/pip.conf"))];
    let named = host.folder("PIP_CONFIG_FILE").filter(|file| file != Path::new("/dev/null"));
    global.into_iter().chain(users.into_iter().flatten()).chain(named).collect()
}

/// Returns the settings of pip's files for an install; a value of several lines becomes one.
fn of_pip(files: &[PathBuf]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::<String, String>::new();
    for text in files.iter().filter_map(|file| fs::read_to_string(file).ok()) {
        let (mut is_read, mut key) = (false, String::new());
        for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
            let continues = line.starts_with([' ', '\t']);
            let line = line.trim();
            if let Some(section) = line.strip_prefix('[') {
                is_read = matches!(section.trim_end_matches(']'), "global" | "install");
            } else if let (true, Some(value)) = (continues && is_read, found.get_mut(&key)) {
                *value = format!("{value} {line}").trim().to_owned();
            } else if let (true, Some((name, value))) = (is_read, line.split_once(['=', ':'])) {
                key = name.trim().replace('_', "-");
                found.insert(key.clone(), value.trim().to_owned());
            }
        }
    }
    found
}

/// Makes a uv heed of its user's settings only where packages come from and how they are reached.
pub(super) fn for_uv(host: &Host, home: &Home, uv: &mut Command) -> Result<()> {
    let named = host.folder("UV_CONFIG_FILE");
    let config = host.folder("XDG_CONFIG_HOME");
    let config = config.or_else(|| host.folder("HOME").map(|home| home.join(".config")));
    let users = config.map(|config| config.join("uv/uv.toml"));
    let system = ["/etc/xdg/uv/uv.toml", "/etc/uv/uv.toml"].map(PathBuf::from);
    let texts = named.into_iter().chain(users).chain(system);
    // Of several files, the nearest is taken.
    let text = texts.into_iter().find_map(|file| fs::read_to_string(file).ok());
    let passed = of_uv(&text.unwrap_or_default());
    if passed.is_empty() {
        uv.env("UV_NO_CONFIG", "1");
        return Ok(());
    }
    let file = home.tools().join("uv.toml");
    let failed = || format!("cannot write `{}`", file.display());
    fs::create_dir_all(home.tools()).with_context(failed)?;
    publish(&file, passed.as_bytes()).with_context(failed)?;
    uv.env("UV_CONFIG_FILE", file);
    Ok(())
}

/// Returns the part of a uv.toml that is passed on.
fn of_uv(toml: &str) -> String {
    let (mut passed, mut table) = (String::new(), 0);
    for statement in statements(toml) {
        let is_index = statement.header.replace(' ', "") == "[[index]]";
        let in_place = statement.header.is_empty() || statement.header == "[pip]";
        if !(is_index || in_place && PASSED_TO_UV.contains(&statement.key.as_str())) {
            continue;
        }
        if statement.table != table {
            table = statement.table;
            passed.push_str(&format!("{}\n", statement.header));
        }
        passed.push_str(&format!("{}\n", statement.text));
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uv_is_told_of_indexes_and_not_of_versions() {
        let toml = r#"exclude-newer = "2024-01-01"
native-tls = true # the company's proxy
find-links = [
    "https://a/x?b=c",
    "/wheels [old]",
]
[[index]]
name = "company"
url = "https://company/simple"
[[index]]
url = "https://other/simple"
name = "other"
[pip]
no-binary = ["numpy"]
index-url = "https://c/simple"
[[override]]
x = 1
"#;
        let expected = r#"native-tls = true # the company's proxy
find-links = [
"https://a/x?b=c",
"/wheels [old]",
]
[[index]]
name = "company"
url = "https://company/simple"
[[index]]
url = "https://other/simple"
name = "other"
[pip]
index-url = "https://c/simple"
"#;
        assert_eq!(of_uv(toml), expected);
        assert_eq!(of_uv("exclude-newer = \"2024-01-01\"\n"), "");
    }

    #[test]
    fn pip_is_told_of_indexes_and_not_of_places() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pip.conf");
        let text = "[global]\nuser = true\nindex-url = https://a\nextra_index_url =\n    https://b\n    https://c\n[list]\nformat = x\n[install]\nconstraint = c.txt\n";
        fs::write(&file, text).unwrap();
        let host = Host::with(&[
            ("PIP_CONFIG_FILE", file.to_str().unwrap()),
            ("PIP_INDEX_URL", "https://mine"),
        ]);
        let mut pip = Command::new("pip");
        for_pip(&host, &mut pip);
        let set = pip.get_envs().map(|(name, value)| {
            format!("{}={}", name.to_str().unwrap(), value.unwrap().to_str().unwrap())
        });
        let set = set.collect::<Vec<_>>();
        for expected in
            ["PIP_CONFIG_FILE=/dev/null", "PIP_EXTRA_INDEX_URL=https://b https://c", "PIP_USER=0"]
        {
            assert!(set.iter().any(|one| one == expected), "{set:?}");
        }
        let is_other = |one: &String| one.contains("CONSTRAINT") || one.contains("PIP_INDEX_URL");
        assert!(!set.iter().any(is_other), "{set:?}");
    }

    #[test]
    fn cargo_settings_count_if_they_change_what_is_compiled() {
        let folder = tempfile::tempdir().unwrap();
        let krate = folder.path().join("project/harnesses/mine");
        let host = Host::with(&[("CARGO_HOME", folder.path().join("cargo").to_str().unwrap())]);
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        fs::create_dir_all(&krate).unwrap();
        let none = Vec::<String>::new();
        assert_eq!(of_cargo(&host, &krate), none);
        write(
            "cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"x\"\n[net]\ngit-fetch-with-cli = true\n[build]\njobs = 1\n",
        );
        assert_eq!(of_cargo(&host, &krate), none);
        write(
            "project/.cargo/config.toml",
            "[build]\nrustflags = [\n  \"-C\", \"target-cpu=native\"]\n",
        );
        write("cargo/config.toml", "profile.release.opt-level = 0\n");
        let expected = [
            "build.rustflags: rustflags = [\n\"-C\", \"target-cpu=native\"]",
            "profile.release.opt-level: profile.release.opt-level = 0",
        ];
        assert_eq!(of_cargo(&host, &krate), expected);
    }
}
