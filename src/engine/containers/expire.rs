//! The end of a container with `--rm` that nobody is attached to: its monitor,
//! which knows no store, runs this persona as its last act.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::engine::Engine;
use crate::engine::api::Settings;
use crate::store::Access;

/// First argument of the program that makes it this process; the root of the store and the id follow.
pub const PERSONA: &str = "__expire";

/// The persona. Looking at a container that is over removes it; if this is
/// killed, the next command that looks does.
pub fn main(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(root), Some(id)) = (words.next().map(PathBuf::from), words.next()) else { return ExitCode::FAILURE };
    crate::sys::failpoint::reach!("expire.begun");
    let Ok(program) = std::env::current_exe() else { return ExitCode::FAILURE };
    let engine = Engine::new(Settings { root, program, ..Settings::default() });
    let looked = engine.store(Access::Write).map(|store| engine.find_container(&store, &id.to_string_lossy()));
    if looked.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
