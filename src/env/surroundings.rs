//! Which variables of the user's shell the programs of a build see: those that say where things are
//! and how they are reached. What says how something is built stays behind, or is in the digest.
//!
//! Must not depend on what is built.

use std::ffi::OsStr;

/// Where things are, and how the network is reached.
const SEEN: [&str; 78] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TERM",
    "TMPDIR",
    "TZ",
    "LD_LIBRARY_PATH",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NETRC",
    "REQUESTS_CA_BUNDLE",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "SSL_CLIENT_CERT",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_ROOT",
    "CUDA_TOOLKIT_ROOT_DIR",
    "CONDA_PREFIX",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "CARGO_BUILD_JOBS",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_DIST_SERVER",
    "RUSTUP_UPDATE_ROOT",
    "ROSETTA_UV",
    "UV_CACHE_DIR",
    "UV_CONCURRENT_DOWNLOADS",
    "UV_CONCURRENT_INSTALLS",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_HTTP_CONNECT_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_HTTP_TIMEOUT",
    "UV_INDEX",
    "UV_INSECURE_HOST",
    "UV_KEYRING_PROVIDER",
    "UV_NATIVE_TLS",
    "UV_NO_CACHE",
    "UV_NO_INDEX",
    "UV_OFFLINE",
    "UV_PYTHON_INSTALL_DIR",
    "UV_REQUEST_TIMEOUT",
    "UV_SYSTEM_CERTS",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_NO_CACHE_DIR",
    "PIP_NO_INPUT",
    "PIP_KEYRING_PROVIDER",
    "PIP_CACHE_DIR",
    "ROSETTA_JULIA",
    "JULIAUP_DEPOT_PATH",
    "JULIA_NUM_PRECOMPILE_TASKS",
    "JULIA_PKG_OFFLINE",
    "JULIA_PKG_SERVER",
    "JULIA_PKG_SERVER_REGISTRY_PREFERENCE",
    "JULIA_PKG_USE_CLI_GIT",
    "JULIA_SSL_CA_ROOTS_PATH",
];

/// The same: every variable that begins so.
const SEEN_FAMILIES: [&str; 8] = [
    "LC_",
    "UV_INDEX_",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// What changes what compilers make. Only crates are compiled, and their digest holds what is set.
pub(super) const COMPILING: [&str; 20] = [
    "AR",
    "ARFLAGS",
    "CC",
    "CFLAGS",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "CPPFLAGS",
    "CUDAHOSTCXX",
    "CUDARC_CUDA_VERSION",
    "CUDA_COMPUTE_CAP",
    "CXX",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "LDFLAGS",
    "LIBRARY_PATH",
    "NVCC_APPEND_FLAGS",
    "NVCC_CCBIN",
    "NVCC_PREPEND_FLAGS",
    "PKG_CONFIG_PATH",
    "SOURCE_DATE_EPOCH",
];

/// Returns whether every program of a build may see a variable.
pub(super) fn is_seen(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    SEEN.contains(&name)
        || SEEN_FAMILIES.iter().any(|family| name.starts_with(family))
        || super::settings::PASSED_TO_PIP
            .iter()
            .any(|key| super::settings::pip_variable(key) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_sees_where_things_are_and_not_how_to_build() {
        for seen in ["PATH", "https_proxy", "UV_INDEX_COMPANY_PASSWORD", "PIP_EXTRA_INDEX_URL"] {
            assert!(is_seen(seen.as_ref()), "{seen}");
        }
        let steering = [
            "CARGO_PROFILE_RELEASE_OPT_LEVEL",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "CC",
            "PIP_USER",
            "PIP_CONSTRAINT",
            "UV_CONSTRAINT",
            "UV_OVERRIDE",
            "UV_EXCLUDE_NEWER",
            "UV_PYTHON",
            "JULIA_DEPOT_PATH",
            "JULIA_LOAD_PATH",
            "PYTHONPATH",
            "PYTHONOPTIMIZE",
            "VIRTUAL_ENV",
            "GIT_DIR",
            "LD_PRELOAD",
        ];
        for name in steering {
            assert!(!is_seen(name.as_ref()), "{name}");
        }
    }
}
