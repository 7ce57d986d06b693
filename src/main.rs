use std::process::ExitCode;

use clap::Parser;
use rosetta::cli::{self, args::Cli};
use rosetta::hint;

fn main() -> ExitCode {
    match cli::main(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            hint::report(&error);
            ExitCode::from(2)
        }
    }
}
