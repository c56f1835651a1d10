//! The personas that deal with containers as a program of its own, a tenth of pybox's size: the
//! monitor, and what it starts beside a container: the server of a file system, and who answers calls.
//!
//! It is not installed: the release build carries it inside `pybox`, which copies
//! it into sealed memory for each container (`monitor::program` says why).

use std::process::ExitCode;

use pybox::emulation;
use pybox::snapshot::fuse_overlay;
#[cfg(feature = "failpoints")]
use pybox::sys::failpoint;

fn main() -> ExitCode {
    pybox::sys::startup::harden();
    #[cfg(feature = "failpoints")]
    if let Ok(Err(_)) = std::env::var(failpoint::VARIABLE).map(|text| failpoint::arm(&text)) {
        return ExitCode::FAILURE;
    }
    let mut words = std::env::args_os().skip(1);
    let persona = words.next();
    let number = words.next();
    ExitCode::from(match persona.as_deref().and_then(|word| word.to_str()) {
        Some(fuse_overlay::PERSONA) => fuse_overlay::main(number.as_deref()),
        Some(emulation::PERSONA) => emulation::main(number.as_deref()),
        _ => pybox::monitor::main(number.as_deref()),
    })
}
