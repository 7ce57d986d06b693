//! How the program is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        // A shim is this program started anew for each job: at a fixed address 14,000 relocations need not be done each time.
        // Seen on 27 November 2026, 2 cores of AMD EPYC beside other work, both in turn: 2.4 to 2.9 ms of CPU time a shim
        // instead of 2.7 to 3.1 (`cargo bench --bench own_cost`), and 118 to 125 page faults at its start instead of 164.
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
