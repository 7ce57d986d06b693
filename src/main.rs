use std::path::PathBuf;
use std::process::ExitCode;

use rosetta::{cli, hint, process, run};

fn main() -> ExitCode {
    process::survive_file_limits();
    // A shim is started for every job: the description of the whole command line, which clap builds first, would be a
    // good part of what it costs.
    if let Some(order) = only_argument_of(process::SHIM) {
        return process::shim_main(&order);
    }
    if std::env::args_os().skip(1).eq([process::SHIM]) {
        return process::serve();
    }
    if let Some(run) = only_argument_of(run::TASK) {
        return run::task_main(&run);
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

/// Returns the path in `rosetta WORD PATH`.
fn only_argument_of(word: &str) -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(name), Some(path), None) if name == word => Some(path.into()),
        _ => None,
    }
}
