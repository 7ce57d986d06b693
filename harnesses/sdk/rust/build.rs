//! Tells the SDK which compiler made the harness, for the `start` event.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let text = Command::new(rustc).arg("--version").output();
    let text = text.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = text.as_deref().ok().and_then(|text| text.split(' ').nth(1));
    println!("cargo::rustc-env=ROSETTA_RUSTC={}", version.unwrap_or("unknown").trim());
}
