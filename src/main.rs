//! The program: makes the process safe to be in, then chooses a persona. No logic.

#[cfg(feature = "failpoints")]
use std::io::Write as _;
use std::process::ExitCode;

use pybox::emulation;
use pybox::engine::{expire, settle};
use pybox::network::holder;
use pybox::snapshot::{fuse_overlay, worker};
#[cfg(feature = "failpoints")]
use pybox::sys::failpoint;

fn main() -> ExitCode {
    pybox::sys::startup::harden();
    #[cfg(feature = "failpoints")]
    if let Ok(Err(part)) = std::env::var(failpoint::VARIABLE).map(|text| failpoint::arm(&text)) {
        let _ = writeln!(std::io::stderr(), "{}: {part}", failpoint::VARIABLE);
        return ExitCode::FAILURE;
    }
    // Personas come before any parser, runtime or thread.
    let mut words = std::env::args_os().skip(1);
    match words.next().as_deref().and_then(|word| word.to_str()) {
        Some("__monitor") => ExitCode::from(pybox::monitor::main(words.next().as_deref())),
        Some(fuse_overlay::PERSONA) => ExitCode::from(fuse_overlay::main(words.next().as_deref())),
        Some(holder::PERSONA) => ExitCode::from(holder::main(words.next().as_deref())),
        Some(emulation::PERSONA) => ExitCode::from(emulation::main(words.next().as_deref())),
        Some(settle::PERSONA) => settle::main(words),
        Some(expire::PERSONA) => expire::main(words),
        Some(worker::PERSONA) => worker::main(words.next().as_deref()),
        _ => pybox::cli::main(),
    }
}
