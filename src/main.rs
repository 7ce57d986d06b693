use std::path::PathBuf;
use std::process::ExitCode;

use rosetta::{cli, hint, process};

fn main() -> ExitCode {
    process::survive_file_limits();
    // A shim is started for every job: the description of the whole command line, which clap builds first, would be a
    // good part of what it costs.
    if let Some(order) = shim_order() {
        return process::shim_main(&order);
    }
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == process::BUILDER) {
        return process::builder_main(arguments);
    }
    cli::answer_shell();
    match cli::main(cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            hint::report(&error);
            ExitCode::from(2)
        }
    }
}

/// Returns the order of `rosetta __job ORDER`.
fn shim_order() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(name), Some(order), None) if name == process::SHIM => Some(order.into()),
        _ => None,
    }
}
