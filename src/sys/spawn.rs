//! Starts a program from a sealed copy in memory that the new process makes
//! itself: copying takes about as long as the caller has other things to do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::clone::{self, Child};
use super::exec::CStringArray;
use super::seal::Program;
use super::{confine, exec};

/// Exit code of a process that has failed; what it has reported counts.
const FAILED: u8 = 125;

/// What is started.
#[derive(Debug)]
pub struct Sealed<'a> {
    /// The program.
    pub program: Program,
    /// Its arguments, the name it is called by among them.
    pub argv: &'a CStringArray,
    /// Its environment.
    pub envp: &'a CStringArray,
    /// A descriptor that stays open under the number that it has here.
    pub keep: BorrowedFd<'a>,
    /// What takes the place of the standard streams; none to leave it ours.
    pub streams: Option<BorrowedFd<'a>>,
}

/// A process that makes its copy and then executes it.
#[derive(Debug)]
pub struct Spawned {
    /// The process.
    pub child: Child,
    /// Five bytes if it fails: the stage, then the errno. Otherwise it ends without a word.
    report: OwnedFd,
}

/// What a new process could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Make the copy.
    Copy,
    /// Execute it.
    Execute,
}

impl Sealed<'_> {
    /// Makes the process and does not wait for it. Other threads do not matter.
    ///
    /// # Errors
    /// Those of pipe2(2) and clone3(2).
    pub fn spawn(&self) -> Result<Spawned, Errno> {
        let (report, tell) = pipe_with(PipeFlags::CLOEXEC)?;
        let child = clone::beside_threads(FAILED, || {
            let (stage, error) = self.become_it();
            let [a, b, c, d] = error.raw_os_error().to_le_bytes();
            let _ = rustix::io::write(&tell, &[stage as u8, a, b, c, d]);
        })?;
        Ok(Spawned { child, report })
    }

    /// In the new process: nothing here allocates or locks.
    fn become_it(&self) -> (Stage, Errno) {
        confine::reset_signals();
        let copy = match self.program.sealed() {
            Ok(copy) => copy,
            Err(error) => return (Stage::Copy, error),
        };
        let streams = self.streams.map_or(Ok(()), |null| {
            rustix::stdio::dup2_stdin(null)?;
            rustix::stdio::dup2_stdout(null)?;
            rustix::stdio::dup2_stderr(null)
        });
        match streams.and_then(|()| exec::keep_open(self.keep)) {
            Ok(()) => (Stage::Execute, exec::execute(copy.as_fd(), self.argv, self.envp)),
            Err(error) => (Stage::Execute, error),
        }
    }
}

impl Spawned {
    /// What kept the program from being executed, if something did. To be asked when the process
    /// has ended, or has executed.
    pub fn failure(&self) -> Option<(Stage, Errno)> {
        let mut said = [0; 5];
        let length = rustix::io::read(&self.report, &mut said).ok()?;
        let [stage, error @ ..] = said;
        let stage = if stage == Stage::Copy as u8 { Stage::Copy } else { Stage::Execute };
        (length == said.len()).then(|| (stage, Errno::from_raw_os_error(i32::from_le_bytes(error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawn(program: Program) -> Spawned {
        let argv = CStringArray::new(["program"]).expect("arguments");
        let envp = CStringArray::new::<&str>([]).expect("environment");
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).expect("null");
        let sealed = Sealed { program, argv: &argv, envp: &envp, keep: null.as_fd(), streams: Some(null.as_fd()) };
        sealed.spawn().expect("a process")
    }

    #[test]
    fn a_script_without_a_descriptor_to_read_it_by_is_told_of() {
        // Close-on-exec, so the interpreter would find nothing (execveat(2), BUGS).
        let spawned = spawn(Program::Image(b"#!/bin/sh\nexit 3\n"));
        assert_eq!(spawned.child.wait(), Ok(i32::from(FAILED)));
        assert_eq!(spawned.failure(), Some((Stage::Execute, Errno::NOENT)));
    }

    #[test]
    fn what_is_no_program_is_told_of() {
        let spawned = spawn(Program::Image(b"neither"));
        assert_eq!(spawned.child.wait(), Ok(i32::from(FAILED)));
        assert_eq!(spawned.failure(), Some((Stage::Execute, Errno::NOEXEC)));
    }
}
