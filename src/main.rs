//! The program `pillarbox`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic has told its reason by now; what is left of it is the exit code of a failure.
    std::panic::catch_unwind(|| pillarbox::cli::run(std::env::args_os())).unwrap_or(ExitCode::FAILURE)
}
