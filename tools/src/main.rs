//! The command `annals`. Everything it does is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    annals_cli::run(std::env::args_os())
}
