use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    match args.as_slice() {
        [_, command, order] if command == "__job" => rosetta::process::shim_main(Path::new(order)),
        _ => ExitCode::from(2),
    }
}
