//! The Dockerfile of an environment, and what lies beside it while the image is built.
//!
//! Must not depend on which engine builds it. No words of BuildKit's: no engine needs a plugin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::base::read_file;
use super::{ROOT, STAGE_LABEL};
use crate::catalog::{EnvSpec, Pins};
use crate::env::lockfile;
use crate::env::provider::{BUILD_TOOLS, PIP, is_for_uv};
use crate::env::python::parse_version;

/// Where what is needed only for the build lies, in a stage that the image does not keep.
const BUILD: &str = "/opt/rosetta/build";

/// The environment's own Dockerfile, for system parts that differ: its stage `system` is what the packages are put on.
const OWN: &str = "Dockerfile";

/// What stands in its place.
const SYSTEM: &str = "ARG BASE\nFROM ${BASE} AS system\n";

/// Where systems keep their certificates.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Variables that name a file of certificates.
const NAMING_CERTIFICATES: [&str; 4] =
    ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

/// Variables of uv and pip that name what is only on this machine.
const LOCAL: [&str; 6] = [
    "UV_CACHE_DIR",
    "UV_CONFIG_FILE",
    "UV_PYTHON_INSTALL_DIR",
    "UV_PYTHON_DOWNLOADS",
    "PIP_CACHE_DIR",
    "PIP_CONFIG_FILE",
];

/// Returns the Dockerfile of an environment.
pub(in crate::env) fn dockerfile(spec: &EnvSpec, pins: &Pins) -> Result<String> {
    let own = spec.folder.join(OWN);
    let system = match own.is_file() {
        true => {
            fs::read_to_string(&own).with_context(|| format!("cannot read `{}`", own.display()))?
        }
        false => SYSTEM.to_owned(),
    };
    if !system.lines().any(|line| line.trim().to_lowercase().ends_with(" as system")) {
        let shown = own.display();
        return Err(anyhow!("`{shown}` has no stage `system`: write `FROM ${{BASE}} AS system`"));
    }
    let mut text = system.trim_end().to_owned();
    text += &format!(
        "\nFROM system AS built\nARG STAGE\nLABEL {STAGE_LABEL}=${{STAGE}}\nCOPY . {BUILD}/\n"
    );
    for step in install(pins) {
        text += &format!("RUN {step}\n");
    }
    for fixup in &spec.fixups {
        let words = fixup.run.iter().map(|word| replaced(word, spec, pins));
        text += &format!("RUN {}\n", serde_json::to_string(&words.collect::<Vec<_>>())?);
    }
    text += &format!("FROM system\nCOPY --from=built {ROOT} {ROOT}\n");
    Ok(text)
}

/// Returns the steps that make the environment and install its lock.
fn install(pins: &Pins) -> Vec<String> {
    let python = format!("python{}", minor(&pins.python));
    let wheels = lockfile::only_wheels(pins).join(" ");
    let lock = format!("{BUILD}/requirements.lock");
    let network = format!(". {BUILD}/network &&");
    if is_for_uv(&parse_version(&pins.python)) {
        let tools = match pins.source.is_empty() {
            true => String::new(),
            false => {
                format!(" --build-constraints {BUILD}/build-tools.txt --build-constraints {lock}")
            }
        };
        return vec![
            format!("{python} -m venv --without-pip {ROOT}"),
            format!(
                "{network} {BUILD}/uv pip sync --require-hashes --strict --compile-bytecode --no-cache \
                 --python {ROOT}/bin/python {wheels}{tools} {lock}"
            ),
        ];
    }
    let pip = format!(
        "{network} {ROOT}/bin/python -m pip install --progress-bar off --no-cache-dir --no-deps --require-hashes"
    );
    vec![
        format!("{python} -m venv {ROOT}"),
        format!("{pip} --only-binary :all: --requirement {BUILD}/pip.txt"),
        format!("{pip} {wheels} --requirement {lock}"),
    ]
}

/// Returns a version's first two numbers.
fn minor(python: &str) -> String {
    python.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

/// Returns a word of a fix-up as it is in the image.
fn replaced(word: &str, spec: &EnvSpec, pins: &Pins) -> String {
    let site = format!("{ROOT}/lib/python{}/site-packages", minor(&pins.python));
    word.replace("{env}", ROOT)
        .replace("{folder}", &format!("{BUILD}/envs/{}", spec.name))
        .replace("{site}", &site)
        .replace("{python}", &format!("{ROOT}/bin/python"))
}

/// Puts into `folder` all that a build needs: the Dockerfile, the lock, files of fix-ups, the installer, and how the
/// network is reached, as `installer` is told it.
pub(in crate::env) fn write(
    folder: &Path,
    spec: &EnvSpec,
    pins: &Pins,
    uv: Option<&Path>,
    installer: &Command,
) -> Result<()> {
    let put = |name: &str, content: &[u8]| write_file(&folder.join(name), content);
    put(OWN, dockerfile(spec, pins)?.as_bytes())?;
    put("requirements.lock", &read_file(&spec.lock)?)?;
    put("pip.txt", PIP.as_bytes())?;
    put("build-tools.txt", BUILD_TOOLS.as_bytes())?;
    if let Some(uv) = uv {
        fs::copy(uv, folder.join("uv"))
            .with_context(|| format!("cannot copy `{}`", uv.display()))?;
    }
    let mut network = "export UV_NO_PROGRESS=1\n".to_owned();
    for (name, value) in told(installer) {
        network += &format!("export {name}='{}'\n", value.replace('\'', r"'\''"));
    }
    if let Some(settings) = variable(installer, "UV_CONFIG_FILE") {
        put("uv.toml", &read_file(Path::new(&settings))?)?;
        network += &format!("export UV_CONFIG_FILE={BUILD}/uv.toml\n");
    }
    if let Some(certificates) = certificates(installer) {
        put("ca.pem", &read_file(&certificates)?)?;
        network += &format!("export SSL_CERT_FILE={BUILD}/ca.pem PIP_CERT={BUILD}/ca.pem\n");
    }
    put("network", network.as_bytes())?;
    for file in files_of_fixups(spec)? {
        put(&format!("envs/{file}"), &read_file(&spec.folder.join("..").join(&file))?)?;
    }
    Ok(())
}

/// Writes a file, and the folder that it lies in.
fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    let failed = || format!("cannot write `{}`", path.display());
    path.parent().map_or(Ok(()), fs::create_dir_all).with_context(failed)?;
    fs::write(path, content).with_context(failed)
}

/// Returns the variables by which an installer is told where packages come from.
fn told(installer: &Command) -> Vec<(String, String)> {
    let set = installer
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())));
    let is_told = |name: &str| {
        let of_a_tool = name.starts_with("UV_") || name.starts_with("PIP_");
        let is_local = LOCAL.contains(&name) || NAMING_CERTIFICATES.contains(&name);
        (of_a_tool || name.to_lowercase().ends_with("_proxy")) && !is_local
    };
    set.filter(|(name, _)| is_told(name)).collect()
}

fn variable(installer: &Command, wanted: &str) -> Option<String> {
    let mut all = installer.get_envs();
    let (_, value) = all.find(|(name, _)| *name == wanted)?;
    value.and_then(|value| value.to_str()).map(str::to_owned)
}

/// Returns the file of the certificates that this machine trusts.
fn certificates(installer: &Command) -> Option<PathBuf> {
    let named = NAMING_CERTIFICATES.iter().filter_map(|name| variable(installer, name));
    let usual = CERTIFICATES.iter().map(|&file| file.to_owned());
    named.chain(usual).map(PathBuf::from).find(|file| file.is_file())
}

/// Returns the files that fix-ups may use, below the folder of all environments.
fn files_of_fixups(spec: &EnvSpec) -> Result<Vec<String>> {
    if spec.fixups.is_empty() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for file in crate::env::digest::files_under(&spec.folder)? {
        let below = file.strip_prefix(&spec.folder).unwrap_or(&file);
        files.push(format!("{}/{}", spec.name, below.display()));
    }
    for word in spec.fixups.iter().flat_map(|fixup| &fixup.run) {
        files.extend(word.strip_prefix("{folder}/../").map(str::to_owned));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::FixUp;
    use crate::env::tests::{pins, spec};

    #[test]
    fn an_image_is_built_by_the_same_installer_from_the_same_lock() {
        let mut spec = spec(Path::new("/project"), "x");
        let mut pins = Pins { python: "3.12.1".to_owned(), ..pins() };
        let text = dockerfile(&spec, &pins).unwrap();
        for part in [
            "ARG BASE\nFROM ${BASE} AS system\nFROM system AS built\nARG STAGE\n",
            "RUN python3.12 -m venv --without-pip /opt/rosetta/env\n",
            "/opt/rosetta/build/uv pip sync --require-hashes",
            "\nFROM system\nCOPY --from=built /opt/rosetta/env /opt/rosetta/env\n",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
        assert!(!text.contains("--mount") && !text.contains("<<"), "{text}");
        pins.python = "3.6".to_owned();
        let run = ["{python}", "{folder}/../y/a b.py", "{site}", "{env}"].map(str::to_owned);
        spec.fixups = vec![FixUp { why: String::new(), run: run.to_vec() }];
        let text = dockerfile(&spec, &pins).unwrap();
        assert!(text.contains("/opt/rosetta/env/bin/python -m pip install"), "{text}");
        assert!(text.contains(
            r#"RUN ["/opt/rosetta/env/bin/python","/opt/rosetta/build/envs/x/../y/a b.py","/opt/rosetta/env/lib/python3.6/site-packages","/opt/rosetta/env"]"#
        ), "{text}");
    }

    #[test]
    fn the_installer_is_told_of_the_network_and_not_of_this_machine() {
        let mut uv = Command::new("uv");
        for (name, value) in [
            ("UV_INDEX_URL", "https://a/simple"),
            ("UV_CACHE_DIR", "/home/me/.cache"),
            ("https_proxy", "http://p"),
            ("HOME", "/home/me"),
            ("PIP_CERT", "/x.pem"),
        ] {
            uv.env(name, value);
        }
        let names = told(&uv).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names, ["UV_INDEX_URL", "https_proxy"]);
    }
}
