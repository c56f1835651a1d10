//! The walk. Runs between `clone3` and `execve`, in a process that has one
//! thread and a copy of the parent's memory.
//!
//! Nothing here allocates, formats, locks, logs, reads the environment or
//! panics: strings were made by `plan`, descriptors come from the kernel, and
//! the only output is a [`Report`] on the wire.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::plan::Plan;
use super::step::{Interface, OwnFile, Setting, Step};
use super::wire::{self, Report};
use crate::sys::clone::Fresh;
use crate::sys::{confine, exec, message, mount, notify, tap};

mod dev;
mod identity;
mod join;
mod place;
mod reaper;
mod root;
mod terminal;

pub use join::signal_all;

/// What the child was born with.
#[derive(Debug)]
pub struct Birth<'a> {
    /// Our end of the wire.
    pub wire: BorrowedFd<'a>,
    /// Standard input, output and error; none where a terminal takes their place.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// The process whose namespaces are joined, where there is one.
    pub target: Option<BorrowedFd<'a>>,
}

/// What has been found on the way.
struct Walk<'a> {
    plan: &'a Plan,
    birth: &'a Birth<'a>,
    fresh: &'a Fresh,
    /// The root file system's root.
    root: Option<OwnedFd>,
    /// The procfs mounted in it.
    proc: Option<OwnedFd>,
    /// Its /dev/null, checked.
    null: Option<OwnedFd>,
    /// An empty read-only directory, attached somewhere inside.
    empty: Option<OwnedFd>,
    /// The working directory.
    workdir: Option<OwnedFd>,
    /// The terminal's own side.
    terminal: Option<OwnedFd>,
}

/// Exit code of a child whose walk has failed; the parent reads the report instead.
const FAILED: u8 = 125;

/// Walks the plan and executes the program; returns only on failure, with the
/// code to exit with.
pub fn walk(plan: &Plan, birth: &Birth<'_>, fresh: &Fresh) -> u8 {
    let mut walk =
        Walk { plan, birth, fresh, root: None, proc: None, null: None, empty: None, workdir: None, terminal: None };
    // What is made inside gets the mode it is given; the program's own umask comes with its identity.
    rustix::process::umask(Mode::empty());
    for (index, step) in plan.steps.iter().enumerate() {
        if let Err(error) = walk.perform(step) {
            return walk.report(Report::Failed { step: index as u16, errno: error.raw_os_error() });
        }
    }
    let error = walk.execute();
    walk.report(Report::Failed { step: wire::EXEC, errno: error.raw_os_error() })
}

impl Walk<'_> {
    fn perform(&mut self, step: &Step) -> Result<(), Errno> {
        match step {
            Step::AwaitMapped => self.gate(wire::MAPPED)?,
            Step::AwaitGo => self.gate(wire::GO)?,
            Step::BecomeRoot => identity::become_root()?,
            Step::WriteOwn(file) => write_own(file)?,
            Step::HideFromTracers => identity::hide_from_tracers()?,
            Step::NewSession => drop(rustix::process::setsid()?),
            Step::Join(namespaces) => join::join(self.fresh, self.birth.target, *namespaces)?,
            Step::Rebirth => join::rebirth(self.fresh, self.birth.wire)?,
            Step::UnshareCgroup => identity::unshare_cgroup()?,
            Step::IsolateMounts(propagation) => root::isolate(*propagation)?,
            Step::MountRoot(source) => self.root = Some(root::mount(source, self.birth.wire)?),
            Step::Mount(what) => self.mount(what)?,
            Step::PopulateDev(nodes) => self.populate_dev(nodes)?,
            Step::MountMemory(content) => self.mount_memory(content)?,
            Step::Mask(target) => self.mask(target)?,
            Step::ReadOnly(target) => self.make_read_only(target)?,
            Step::Sysctl(setting) => self.sysctl(setting)?,
            Step::HostName(name) => rustix::system::sethostname(name.to_bytes())?,
            Step::DomainName(name) => confine::set_domain_name(name.to_bytes())?,
            Step::LoopbackUp => confine::loopback_up()?,
            Step::Interface(interface) => self.make_interface(interface)?,
            Step::OpenRoot => self.root = Some(root::open()?),
            Step::FindWorkdir(target) => self.workdir = Some(place::existing(self.root()?, target)?),
            Step::OpenWorkdir(target) => self.workdir = Some(place::directory(self.root()?, target)?),
            Step::OpenTerminal(wanted) => self.open_terminal(wanted)?,
            Step::SealRoot => root::seal(self.root()?)?,
            Step::PivotRoot(propagation) => root::pivot(self.root()?, *propagation)?,
            Step::EnterWorkdir => self.enter_workdir()?,
            Step::TakeStdio => self.take_stdio()?,
            Step::TakeDescriptors => self.take_descriptors()?,
            Step::Limit(limit) => identity::limit(limit)?,
            Step::JoinKeyring(name) => identity::join_keyring(name)?,
            Step::Listen => self.listen()?,
            Step::LoadFilter => confine::load_filter(&self.plan.filter)?,
            Step::NoNewPrivileges => rustix::thread::set_no_new_privs(true)?,
            Step::Identity(identity) => identity::take(identity)?,
            Step::Reaper => reaper::fork(self.fresh, self.terminal.is_some(), self.birth.wire)?,
            Step::TellReady => message::send(self.birth.wire, &Report::Ready.encode(), &[])?,
        }
        Ok(())
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::NOTDIR)
    }

    /// Waits for the byte `expected`. A parent that is gone, or says anything
    /// else, ends the walk.
    fn gate(&self, expected: u8) -> Result<(), Errno> {
        let mut packet = [0; wire::PACKET];
        let received = message::receive(self.birth.wire, &mut packet)?;
        if received.len == 1 && packet.first() == Some(&expected) { Ok(()) } else { Err(Errno::CANCELED) }
    }

    /// Writes a sysctl through the procfs mounted inside, of which the kernel
    /// shows no part that is a link or another mount (rule R2).
    fn sysctl(&self, setting: &Setting) -> Result<(), Errno> {
        let proc = self.proc.as_ref().ok_or(Errno::NODEV)?;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(proc, setting.path.as_c_str(), flags, Mode::empty(), resolve)?;
        write_all(&file, setting.value.to_bytes())
    }

    fn enter_workdir(&self) -> Result<(), Errno> {
        rustix::process::fchdir(self.workdir.as_ref().ok_or(Errno::NOENT)?)?;
        // A directory outside of our root would show itself here (rule R5).
        let mut buffer = [0_u8; libc::PATH_MAX as usize];
        let path = identity::working_directory(&mut buffer)?;
        if path.first() == Some(&b'/') { Ok(()) } else { Err(Errno::XDEV) }
    }

    fn take_stdio(&mut self) -> Result<(), Errno> {
        if let Some(terminal) = &self.terminal {
            return terminal::take(terminal.as_fd());
        }
        let [input, output, error] = self.birth.stdio.ok_or(Errno::BADF)?;
        for fd in [input, output, error] {
            self.give_away(fd)?;
        }
        let [own_input, own_output, own_error] = [input, output, error].map(own_null);
        rustix::stdio::dup2_stdin(own_input.as_ref().map_or(input, AsFd::as_fd))?;
        rustix::stdio::dup2_stdout(own_output.as_ref().map_or(output, AsFd::as_fd))?;
        rustix::stdio::dup2_stderr(own_error.as_ref().map_or(error, AsFd::as_fd))
    }

    fn make_interface(&self, interface: &Interface) -> Result<(), Errno> {
        let end = tap::make(&interface.name, interface.index)?;
        tap::ask(&interface.requests, interface.required)?;
        message::send(self.birth.wire, &Report::Interface.encode(), &[end.as_fd()])
    }

    /// What was open under these numbers is a copy that nobody needs any more; the wire has a higher one.
    fn take_descriptors(&self) -> Result<(), Errno> {
        let mut inherited = self.plan.inherited.iter().zip(3..);
        inherited.try_for_each(|(fd, number)| exec::inherit_as(fd.as_fd(), number))
    }

    /// A pipe belongs to the program's user, who may open `/dev/stdout` anew.
    fn give_away(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let (uid, gid) = self.plan.stdio_owner;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
        if uid == 0 || kind != rustix::fs::FileType::Fifo {
            return Ok(());
        }
        rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), Some(rustix::fs::Gid::from_raw(gid)))
    }

    /// Tries each path; the error of the last one that says more than "not here" counts.
    fn execute(&self) -> Errno {
        confine::reset_signals();
        if let Err(error) = confine::close_on_exec_from(self.plan.after_descriptors().unsigned_abs()) {
            return error;
        }
        let mut telling = Errno::NOENT;
        for program in &self.plan.programs {
            match exec::execve(program, &self.plan.argv, &self.plan.envp) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => telling = Errno::ACCESS,
                other => return other,
            }
        }
        telling
    }

    /// From here on, calls about ids wait for an answer; none is made before the execution.
    fn listen(&self) -> Result<(), Errno> {
        let listener = notify::load(&self.plan.asks)?;
        message::send(self.birth.wire, &Report::Listener.encode(), &[listener.as_fd()])
    }

    fn report(&self, report: Report) -> u8 {
        let _ = message::send(self.birth.wire, &report.encode(), &[]);
        FAILED
    }
}

fn write_own(file: &OwnFile) -> Result<(), Errno> {
    let target = rustix::fs::open(file.path.as_c_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write_all(&target, &file.value)
}

/// procfs takes a value in one write or not at all.
fn write_all(file: &OwnedFd, value: &[u8]) -> Result<(), Errno> {
    match rustix::io::write(file, value)? {
        written if written == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// The device number of the character device behind `fd`; none for anything else.
fn character_device(fd: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    Ok((kind == rustix::fs::FileType::CharacterDevice).then_some(stat.st_rdev))
}

/// The container's own /dev/null, if `fd` is the host's, which whoever holds it open may give away or shut; none if it is
/// something else, or if there is none.
fn own_null(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let is_null = |fd: BorrowedFd<'_>| character_device(fd) == Ok(Some(dev::null_device()));
    if !is_null(fd) {
        return None;
    }
    let flags = rustix::fs::fcntl_getfl(fd).ok()? & OFlags::ACCMODE;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let own = rustix::fs::open(c"/dev/null", flags, Mode::empty()).ok()?;
    // What it is has been seen by now, and nothing that the program would wait for.
    rustix::fs::fcntl_setfl(&own, OFlags::empty()).ok()?;
    is_null(own.as_fd()).then_some(own)
}

/// A copy of the mount at the host's path `path`.
fn host_tree(path: &CStr, reach: mount::Reach) -> Result<OwnedFd, Errno> {
    mount::copy_tree(mount::here(), path, reach)
}
