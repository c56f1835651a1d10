//! The program: makes the process safe to be in, then chooses a persona. No logic.

use std::process::ExitCode;

fn main() -> ExitCode {
    pybox::sys::startup::harden();
    // Personas come before any parser, runtime or thread.
    pybox::cli::main()
}
