//! Layers reach the disk after the command that unpacked them has returned.
//!
//! Waiting for sixty thousand small files takes as long as unpacking them, and
//! a layer can be unpacked again from its blob, which is on disk already (see
//! `store::layers`). So a short-lived process of its own waits, and then notes
//! that the layers survive a restart of the machine. If it is killed, nothing
//! is lost but that note.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::engine::Engine;
use crate::engine::api::Event;
use crate::store::{Access, Layout, Store, StoreError};

/// First argument of the program that makes it this process; the root of the store follows.
pub const PERSONA: &str = "__settle";

/// The word after the root for the process that waits; without it, one that starts that process and ends.
const WAIT: &str = "wait";

impl Engine {
    /// Has unpacked layers written to disk and noted as such, without waiting for it.
    pub(in crate::engine) fn settle_later(&self, events: &mut dyn FnMut(Event)) {
        let program = &self.settings.program;
        // The layers are there for as long as the machine runs: no reason to fail.
        if let Err(error) = command(program, &self.settings.root).status() {
            events(Event::Warning(format!("start {}: {error}", program.display())));
        }
    }
}

/// The persona: `__settle ROOT` starts `__settle ROOT wait` and ends, so that
/// the latter is no child of a command that may run for days.
pub fn main(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(root) = words.next().map(PathBuf::from) else { return ExitCode::FAILURE };
    let done = match words.next() {
        Some(_) => settle(&root).is_ok(),
        None => std::env::current_exe().and_then(|program| command(&program, &root).arg(WAIT).spawn()).is_ok(),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn settle(root: &Path) -> Result<(), StoreError> {
    if !Layout::new(root).database().exists() {
        // Gone meanwhile, and not to be made again.
        return Ok(());
    }
    Store::open(root, Access::Write)?.settle_layers().map(drop)
}

/// The program as this persona, out of reach of the terminal's signals.
fn command(program: &Path, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(PERSONA).arg(root).env_clear().current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    crate::sys::failpoint::hand_on(&mut command);
    command
}
