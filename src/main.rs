//! The door: see the `cli` room.

use std::process::ExitCode;

fn main() -> ExitCode {
    switchback::cli::main()
}
