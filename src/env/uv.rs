//! Finds uv, or puts a pinned one into rosetta's tools folder. Must not depend on what uv
//! is used for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};

use super::python::{Interpreter, parse_version};
use super::settings;
use super::tool::{Build, Host, output_of};
use crate::hint::Hinted;
use crate::home::Home;
use crate::lock::Lock;
use crate::progress::{Progress, Report};
use crate::seal::{Place, find_or_make};

pub(super) const VERSION: &str = "0.13.9";

/// The wheels of that version: x86_64 and aarch64, each for glibc from 2.17 and musl from 1.1.
pub(super) const WHEELS: &str = "\
uv==0.13.9 \\
    --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19 \\
    --hash=sha256:5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe
";

/// The program, below its folder.
const PROGRAM: &str = "bin/uv";

/// How long a uv may take to say its version; a cold network disk is slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// The oldest uv that knows every option that is used.
const OLDEST: [u16; 2] = [0, 5];

/// The first pip that installs for another interpreter than its own.
const PIP_FOR_OTHERS: [u16; 2] = [22, 3];

/// Makes uv trust the certificates of the system.
const SYSTEM_CERTS: &str = "UV_SYSTEM_CERTS";

/// Where systems keep their certificates; uv without any trusts nobody.
const SYSTEM_CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The user's own uv, looked for once.
#[derive(Debug, Default)]
pub(super) struct Uvs {
    users: OnceLock<Option<PathBuf>>,
}

impl Uvs {
    /// Returns a uv that is here already: `ROSETTA_UV`, the one on PATH, or that of rosetta.
    pub(super) fn find(&self, host: &Host, home: &Home) -> Option<PathBuf> {
        let users = self.users.get_or_init(|| {
            let named = host.get("ROSETTA_UV").and_then(|name| host.which(name));
            named.or_else(|| host.which("uv")).filter(|uv| is_usable(host, uv))
        });
        users.clone().or_else(|| own(home))
    }
}

/// A uv on PATH may be too old, or a pyenv shim that leads nowhere.
fn is_usable(host: &Host, uv: &Path) -> bool {
    let mut command = host.command(uv);
    command.arg("--version");
    let said = output_of(command, PATIENCE).unwrap_or_default();
    let version = said.split_whitespace().nth(1).map(parse_version).unwrap_or_default();
    version.as_slice() >= OLDEST.as_slice()
}

/// Whether an interpreter can fetch uv for us.
pub(super) fn can_fetch(python: &Interpreter) -> bool {
    python.has_venv && python.version >= [3, 8, 0]
}

/// Returns rosetta's own uv, fetched by `python` unless another process just did.
pub(super) fn fetch_once(
    host: &Host,
    home: &Home,
    python: &Interpreter,
    report: Report,
) -> Result<PathBuf> {
    let tools = home.tools();
    fs::create_dir_all(&tools).with_context(|| format!("cannot make `{}`", tools.display()))?;
    let place = place(home);
    find_or_make(
        || own(home),
        || Lock::wait(&tools.join(".uv.lock"), "another build of `uv`", report),
        |lock| {
            report(Progress::Doing(format!("fetching uv {VERSION}")));
            let build = Build::begin(host, tools.join("uv.log"), lock.file(), report)?;
            place.make_aside(|aside| fetch(&build, aside, python)).map_err(explain)?;
            Ok(place.folder().join(PROGRAM))
        },
    )
}

fn explain(error: anyhow::Error) -> anyhow::Error {
    let hint = "install uv by hand (https://docs.astral.sh/uv) so that it is on PATH";
    let message = format!("cannot fetch uv {VERSION} with pip");
    error.context(Hinted { message, hints: vec![hint.to_owned()] })
}

/// The folder of rosetta's own uv, which is whole once the program is there.
fn place(home: &Home) -> Place {
    Place::new(home.tools().join(format!("uv-{VERSION}")), PROGRAM)
}

fn own(home: &Home) -> Option<PathBuf> {
    let place = place(home);
    place.is_whole().then(|| place.folder().join(PROGRAM))
}

/// Installs the pinned wheel into a venv. That may be moved: uv itself is one static program, and
/// the rest of the venv is not used. A pip of its own would take longer to make than uv to fetch.
fn fetch(build: &Build, aside: &Path, python: &Interpreter) -> Result<()> {
    let (host, base) = (build.host, &python.executable);
    let has_pip = pip_version(host, base).as_slice() >= PIP_FOR_OTHERS.as_slice();
    let mut venv = host.command(base);
    venv.args(["-m", "venv"]).args(has_pip.then_some("--without-pip")).arg(aside);
    build.run(venv)?;
    let requirements = aside.join("uv.txt");
    fs::write(&requirements, WHEELS).context("cannot write uv's requirements")?;
    let target = aside.join("bin/python");
    let mut pip = host.command(if has_pip { base } else { &target });
    pip.args(["-m", "pip"]);
    if has_pip {
        pip.arg("--python").arg(&target);
    }
    pip.args(["install", "--progress-bar", "off", "--no-deps", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "-r"]).arg(&requirements);
    settings::for_pip(host, &mut pip);
    build.run(pip)
}

/// Returns the version of an interpreter's pip; nothing if it has none.
fn pip_version(host: &Host, python: &Path) -> Vec<u16> {
    let mut command = host.command(python);
    command.args(["-m", "pip", "--version"]);
    let said = output_of(command, PATIENCE).unwrap_or_default();
    said.split_whitespace().nth(1).map(parse_version).unwrap_or_default()
}

/// Returns a uv command. Its cache moves into our home when the usual one is on another file
/// system, because only within one can files be linked instead of copied.
pub(super) fn command(host: &Host, home: &Home, uv: &Path) -> Result<Command> {
    let mut command = host.command(uv);
    let usual = host.folder("XDG_CACHE_HOME").map(|cache| cache.join("uv"));
    let usual = usual.or_else(|| host.folder("HOME").map(|home| home.join(".cache/uv")));
    let is_here = usual.is_some_and(|usual| device(&usual) == device(home.root()));
    if host.get("UV_CACHE_DIR").is_none() && !is_here {
        command.env("UV_CACHE_DIR", home.root().join("uv-cache"));
    }
    // pip trusts whom the system trusts, a company's proxy too; uv must be told to.
    let is_chosen = [SYSTEM_CERTS, "UV_NATIVE_TLS"].iter().any(|name| host.get(name).is_some());
    if !is_chosen && SYSTEM_CERTIFICATES.iter().any(|file| Path::new(file).is_file()) {
        command.env(SYSTEM_CERTS, "1");
    }
    settings::for_uv(host, home, &mut command)?;
    Ok(command)
}

/// Returns the file system that a path is on, or would be.
fn device(path: &Path) -> Option<u64> {
    path.ancestors().find_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.dev())
}
