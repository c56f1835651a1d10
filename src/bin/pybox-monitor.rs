//! The monitor persona as a program of its own, a tenth of pybox's size.
//!
//! It is not installed: the release build carries it inside `pybox`, which copies
//! it into sealed memory for each container (`monitor::program` says why).

use std::process::ExitCode;

#[cfg(feature = "failpoints")]
use pybox::sys::failpoint;

fn main() -> ExitCode {
    pybox::sys::startup::harden();
    #[cfg(feature = "failpoints")]
    if let Ok(Err(_)) = std::env::var(failpoint::VARIABLE).map(|text| failpoint::arm(&text)) {
        return ExitCode::FAILURE;
    }
    let mut words = std::env::args_os().skip(2);
    ExitCode::from(pybox::monitor::main(words.next().as_deref()))
}
