//! The environment that every job is given, apart from what its env and its target add.
//!
//! Must not depend on any kind of place: what is inherited is taken over where the job runs.

use std::collections::BTreeMap;

use crate::catalog::Device;
use crate::mask::{MASK, is_harmless};
use crate::process::{Environment, is_secret};

/// Variables by which the frameworks read how many threads they may use.
const THREAD_VARIABLES: [&str; 11] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "RAYON_NUM_THREADS",
    "JULIA_NUM_THREADS",
    "MXNET_CPU_WORKER_NTHREADS",
    "BLIS_NUM_THREADS",
];

/// Variables of the user that every job sees; all others are left behind, for a record must not
/// depend on a shell's history. HOME and the folders of XDG are not among them: frameworks read
/// their users' settings there, such as `~/.keras/keras.json` and `~/.theanorc`, so each job has an
/// empty home of its own.
const INHERITED: [&str; 16] = [
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
];

/// What hides the GPUs from a job of the CPU: a framework that sees one takes it, whatever the harness asks for.
const HIDDEN_GPU: [(&str, &str); 2] = [("CUDA_VISIBLE_DEVICES", ""), ("JAX_PLATFORMS", "cpu")];

/// Where the CUDA driver keeps what it compiled.
const CUDA_CACHE: &str = "CUDA_CACHE_PATH";

/// Returns where the driver keeps it unless told otherwise.
fn cuda_cache() -> Option<String> {
    let home = std::env::var("HOME").ok().filter(|home| !home.is_empty())?;
    Some(format!("{home}/.nv/ComputeCache"))
}

/// Returns the variables by which a job is told its threads and, on the CPU, that there is no GPU.
pub fn variables(device: Device, threads: u32) -> BTreeMap<String, String> {
    let threads = THREAD_VARIABLES.iter().map(|name| ((*name).to_owned(), threads.to_string()));
    let hidden = HIDDEN_GPU.iter().filter(|_| device == Device::Cpu);
    let hidden = hidden.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    threads.chain(hidden).collect()
}

/// Returns the environment of a job, apart from what its env and its target add.
///
/// `passed` are variables that the user names: `NAME` or `NAME=VALUE`.
pub fn environment(device: Device, threads: u32, passed: &[String]) -> Environment {
    let mut environment = Environment::default();
    for name in INHERITED {
        environment.inherit(name);
    }
    // What the driver compiled for this GPU: without it every job of an old framework compiles anew.
    if let Some(cache) = cuda_cache() {
        environment.set(CUDA_CACHE, cache);
    }
    environment.inherit(CUDA_CACHE);
    environment.extend(variables(device, threads));
    for word in passed {
        match word.split_once('=') {
            Some((name, value)) => environment.set(name, value),
            None => environment.inherit(word),
        }
    }
    environment
}

/// Returns a word such as `NAME=VALUE` as a record may have it: a secret is masked.
pub fn shown(passed: &str) -> String {
    match passed.split_once('=') {
        Some((name, value)) if is_secret(name) || !is_harmless(value) => format!("{name}={MASK}"),
        _ => passed.to_owned(),
    }
}

/// Returns the name of a secret whose value was masked, if a stored word is one.
pub fn masked(stored: &str) -> Option<&str> {
    stored.split_once('=').filter(|(_, value)| *value == MASK).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_its_threads_and_sees_a_gpu_only_if_it_may_use_it() {
        let cases: [(Device, &[&str], &str, Option<&str>); 6] = [
            (Device::Cpu, &[], "OMP_NUM_THREADS", Some("3")),
            (Device::Cpu, &[], "CUDA_VISIBLE_DEVICES", Some("")),
            (Device::Cpu, &[], "JAX_PLATFORMS", Some("cpu")),
            (Device::Cpu, &["CUDA_VISIBLE_DEVICES=1"], "CUDA_VISIBLE_DEVICES", Some("1")),
            (Device::Cuda, &[], "JAX_PLATFORMS", None),
            (Device::Cpu, &["ROSETTA_NO_SUCH=a=b"], "ROSETTA_NO_SUCH", Some("a=b")),
        ];
        for (device, passed, name, expected) in cases {
            let passed = passed.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
            let variables = environment(device, 3, &passed).here();
            assert_eq!(variables.get(name).map(String::as_str), expected, "{device} {name}");
        }
    }

    #[test]
    fn what_the_user_names_is_taken_over_and_nothing_else_of_the_shell() {
        let of_cargo = "CARGO_MANIFEST_DIR";
        let seen = |passed: &[String]| environment(Device::Cpu, 1, passed).here();
        assert!(!seen(&[]).contains_key(of_cargo) && seen(&[]).contains_key("PATH"));
        assert!(seen(&[of_cargo.to_owned()]).contains_key(of_cargo));
        // Named, but not there: the job keeps what it would have had.
        let kept = seen(&["OMP_NUM_THREADS".to_owned()]);
        assert!(kept.contains_key("OMP_NUM_THREADS"));
    }
}
