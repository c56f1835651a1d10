//! `journalctl`, asked for the entries of one container.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::engine::api::{Failure, FailureKind};
use crate::logs::journal::export::{FIELDS, Parser, Told};
use crate::logs::journal::{CONTAINER, EVENT, EVENT_ID};

/// Where it may be.
const PLACES: [&str; 3] = ["/usr/bin", "/bin", "/run/current-system/sw/bin"];
/// How much is read at once.
const BLOCK: usize = 64 << 10;

/// Which entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'r> {
    /// The container's id.
    pub(super) id: &'r str,
    /// None that are older, in seconds since the epoch.
    pub(super) since: Option<i64>,
}

/// In which order, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order<'f> {
    /// All that are there, the oldest first.
    Oldest,
    /// All that are there, the newest first.
    Newest,
    /// All behind this one, and those that come.
    After(Option<&'f str>),
}

/// The program, and what it has printed.
#[derive(Debug)]
pub(super) struct Journalctl {
    child: Child,
    output: ChildStdout,
    parser: Parser,
    ended: bool,
}

impl Journalctl {
    pub(super) fn start(request: &Request<'_>, order: Order<'_>) -> Result<Self, Failure> {
        let places = PLACES.iter().map(|place| Path::new(place).join("journalctl"));
        let program: PathBuf = places.into_iter().find(|path| path.exists()).ok_or_else(|| {
            let sentence = "the container's log is in the journal, and journalctl is not installed";
            Failure::say(FailureKind::Host, sentence).hint("ls -l /usr/bin/journalctl".to_owned())
        })?;
        let mut command = Command::new(&program);
        command.args(words(request, order, rustix::process::getuid().as_raw()));
        command.env_clear().env("LC_ALL", "C").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed =
            |error: std::io::Error| Failure::say(FailureKind::Host, format!("start {}: {error}", program.display()));
        let mut child = command.spawn().map_err(failed)?;
        let output = child.stdout.take().ok_or_else(|| failed(Errno::PIPE.into()))?;
        rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK).map_err(|error| failed(error.into()))?;
        Ok(Self { child, output, parser: Parser::default(), ended: false })
    }

    /// The next entry, waited for; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Told>, Failure> {
        loop {
            let told = self.next_that_is_there()?;
            if told.is_some() || self.ended {
                return Ok(told);
            }
            self.poll(None);
        }
    }

    /// The next entry, if it has been printed.
    pub(super) fn next_that_is_there(&mut self) -> Result<Option<Told>, Failure> {
        loop {
            let told = self.parser.entry().map_err(|error| Failure::say(FailureKind::Host, error.to_string()))?;
            if told.is_some() || self.ended || !self.read()? {
                return Ok(told);
            }
        }
    }

    /// Whether it will print no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits so many milliseconds at most until it has printed something.
    pub(super) fn wait(&self, milliseconds: i64) {
        let limit = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
        self.poll(Some(&limit));
    }

    fn poll(&self, limit: Option<&Timespec>) {
        let _ = rustix::event::poll(&mut [PollFd::new(&self.output, PollFlags::IN)], limit);
    }

    /// Reads what is there; false if that is nothing by now.
    fn read(&mut self) -> Result<bool, Failure> {
        let mut block = vec![0; BLOCK];
        match rustix::io::read(&self.output, block.as_mut_slice()) {
            Ok(0) => {
                self.ended = true;
                self.judge()?;
                Ok(true)
            }
            Ok(count) => {
                self.parser.push(block.get(..count).unwrap_or_default());
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(Failure::say(FailureKind::Host, format!("read what journalctl prints: {error}"))),
        }
    }

    /// Looks how it ended.
    fn judge(&mut self) -> Result<(), Failure> {
        let mut said = String::new();
        if let Some(error) = &mut self.child.stderr {
            // More than a sentence is of no use to anybody.
            let _ = error.take(4096).read_to_string(&mut said);
        }
        let failed = |what: &str| Failure::say(FailureKind::Host, format!("journalctl: {what}"));
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            // Without a single file of a journal it fails on some versions, and has said why.
            Ok(status) => Err(failed(said.lines().next().unwrap_or(&status.to_string()))
                .hint("journalctl --user, to see what of the journal can be read".to_owned())),
            Err(error) => Err(failed(&error.to_string())),
        }
    }
}

impl AsFd for Journalctl {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }
}

impl Drop for Journalctl {
    fn drop(&mut self) {
        // Already over, or of no more use; it is our child until it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its arguments. Of the fields that are asked for, `_UID` is one that the kernel vouches for.
fn words(request: &Request<'_>, order: Order<'_>, uid: u32) -> Vec<OsString> {
    let mut words = vec!["--quiet".to_owned(), "--no-pager".to_owned(), "--output=export".to_owned()];
    words.push(format!("--output-fields={}", FIELDS.join(",")));
    let since = || request.since.map(|since| format!("--since=@{since}"));
    match order {
        Order::Oldest => words.extend(since()),
        Order::Newest => words.extend(["--reverse".to_owned()].into_iter().chain(since())),
        Order::After(cursor) => {
            words.extend(["--follow".to_owned(), "--no-tail".to_owned()]);
            // It takes one of the two.
            words.extend(cursor.map(|cursor| format!("--after-cursor={cursor}")).or_else(since));
        }
    }
    let by = format!("_UID={uid}");
    words.extend([format!("{CONTAINER}={}", request.id), by.clone(), "+".to_owned()]);
    words.extend([format!("{EVENT_ID}={}", request.id), format!("{EVENT}=die"), by]);
    words.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_for_one_container_of_one_user() {
        let words = |since, order| words(&Request { id: "abc", since }, order, 1000);
        let of =
            |words: Vec<OsString>, number: usize| words.get(number..).map(<[OsString]>::to_vec).unwrap_or_default();
        let matched = ["CONTAINER_ID_FULL=abc", "_UID=1000", "+", "PYBOX_ID=abc", "PYBOX_EVENT=die", "_UID=1000"];
        assert_eq!(of(words(None, Order::Oldest), 4), matched);
        let last = of(words(Some(-1), Order::Newest), 4);
        assert_eq!(last.get(..2).unwrap_or_default(), ["--reverse", "--since=@-1"]);
        let follow = of(words(None, Order::After(Some("s=1;i=2"))), 4);
        assert_eq!(follow.get(..3).unwrap_or_default(), ["--follow", "--no-tail", "--after-cursor=s=1;i=2"]);
    }
}
