//! `clone3(2)`: one call that makes a process and its namespaces.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

bitflags::bitflags! {
    /// The `CLONE_NEW*` flags (clone(2)).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Namespaces: u64 {
        /// User ids, group ids and capabilities.
        const USER = libc::CLONE_NEWUSER as u64;
        /// Mounts.
        const MOUNT = libc::CLONE_NEWNS as u64;
        /// Process ids.
        const PID = libc::CLONE_NEWPID as u64;
        /// System V IPC and POSIX message queues.
        const IPC = libc::CLONE_NEWIPC as u64;
        /// Host name and domain name.
        const UTS = libc::CLONE_NEWUTS as u64;
        /// Network devices, addresses, ports.
        const NETWORK = libc::CLONE_NEWNET as u64;
        /// The view of the cgroup tree.
        const CGROUP = libc::CLONE_NEWCGROUP as u64;
    }
}

/// A child process, named by its pid and held by a pidfd.
#[derive(Debug)]
pub struct Child {
    /// The pid in our namespace.
    pub pid: u32,
    /// The pidfd, close-on-exec.
    pub pidfd: OwnedFd,
}

/// Shows that we are in a child of [`clone3`], which has one thread by its birth.
#[derive(Debug)]
pub struct Fresh(());

/// Which side of a [`Fresh::fork`] or a [`Fresh::rebirth`] we are on.
#[derive(Debug)]
pub enum Side {
    /// The process that made the other.
    Parent(Child),
    /// The new process.
    Child,
}

impl Fresh {
    /// Ends this process at once, without running any destructor of the parent's copy. It ends its one thread, not
    /// the group: nobody may be there to answer for that call, where a filter asks about it.
    pub fn end(&self, code: u8) -> ! {
        // SAFETY: exit(2) takes a number and does not return.
        unsafe { libc::syscall(libc::SYS_exit, libc::c_long::from(code)) };
        // SAFETY: as above, where it should return in spite of that.
        unsafe { libc::_exit(code.into()) }
    }

    /// A plain fork(2), in which both sides go on from here.
    ///
    /// # Errors
    /// Those of fork(2).
    pub fn fork(&self) -> Result<Side, Errno> {
        // Not clone3, which a container's filter may refuse: it cannot look into the arguments.
        let flags = (libc::SIGCHLD | libc::CLONE_PIDFD) as libc::c_ulong;
        let pidfd = Cell::new(-1);
        // SAFETY: a copy of this single-threaded process (the token shows it is one), as fork(2) makes it;
        // the kernel stores the pidfd in the parent's copy of `pidfd`, which outlives the call.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, pidfd.as_ptr(), 0, 0) };
        side(pid, &pidfd)
    }

    /// A fork(2) whose new process is not our child but a sibling: a child of our own parent,
    /// which is told of its end and reaps it. It is where setns(2) or unshare(2) said that
    /// children go, so it can be in another pid namespace than we are.
    ///
    /// # Errors
    /// ENOMEM if that pid namespace has lost its first process, else those of clone3(2).
    pub fn rebirth(&self) -> Result<Side, Errno> {
        call(CloneArgs { flags: libc::CLONE_PARENT as u64, ..CloneArgs::default() })
    }
}

/// Calls clone3(2) with these arguments, for a process on a copy of our memory that is held by a pidfd.
fn call(mut args: CloneArgs) -> Result<Side, Errno> {
    let pidfd = Cell::new(-1);
    args.flags |= libc::CLONE_PIDFD as u64;
    args.pidfd = pidfd.as_ptr() as u64;
    // SAFETY: without CLONE_VM the child runs on a copy of this stack and heap, as after fork(2); the
    // callers see to it that nothing in the copy is used that was in change. `args` and `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    side(pid, &pidfd)
}

/// What a clone that made a pidfd returned. The kernel has written that into a cell: of a plain number to which there is a
/// reference, as one that a closure holds, the compiler believes that it has not changed.
fn side(pid: libc::c_long, pidfd: &Cell<RawFd>) -> Result<Side, Errno> {
    match pid {
        0 => Ok(Side::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel has stored a new pidfd there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd.get()) };
            Ok(Side::Parent(Child { pid: pid as u32, pidfd }))
        }
        _ => Err(last_error()),
    }
}

/// Moves this process, which has one thread by its birth, into these namespaces of the process
/// behind `pidfd`, all in one call; a pid namespace counts for children only.
///
/// # Errors
/// ESRCH if that process has ended, else those of setns(2).
pub fn join(_fresh: &Fresh, pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> Result<(), Errno> {
    let flags = namespaces.bits() as libc::c_int;
    // SAFETY: takes numbers only, and changes nothing that Rust code relies on in a process of one thread.
    let result = unsafe { libc::setns(pidfd.as_raw_fd(), flags) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// `struct clone_args` of linux/sched.h, version 2 (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl CloneArgs {
    /// Those of a child in new namespaces, born into `cgroup` where one is given.
    fn born(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Self {
        let mut args = Self { flags: namespaces.bits(), ..Self::default() };
        if let Some(cgroup) = cgroup {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = cgroup.as_raw_fd() as u64;
        }
        args
    }
}

/// Makes a child in new namespaces, born into `cgroup` where one is given, and
/// runs `child` in it. The child shares nothing with us but a copy of our
/// memory; it ends with the code that `child` returns, without running any
/// destructor or exit handler of ours.
///
/// # Errors
/// EDEADLK if this process has more than one thread: a lock that another
/// thread holds at the time would stay locked in the child for ever.
/// Else those of `clone3(2)`.
pub fn clone3(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce(&Fresh) -> u8,
) -> Result<Child, Errno> {
    if !is_single_threaded()? {
        return Err(Errno::DEADLK);
    }
    match copy_of_us(CloneArgs::born(namespaces, cgroup))? {
        Side::Parent(child) => Ok(child),
        Side::Child => {
            let fresh = Fresh(());
            let code = child(&fresh);
            fresh.end(code)
        }
    }
}

/// As [`clone3`], from below: the child is ours, and its user namespace is a child of `user`, which is not ours; it is
/// in the network namespace `network`, unless it gets a new one. `then` is called in a process that has all rights in
/// `user` and knows the child by its pid; what it says goes to the caller.
///
/// That process shares nothing with us but a copy of our memory, and ends before this function does.
///
/// # Errors
/// EDEADLK as in [`clone3`], else with the sentence that says what failed; no child is left behind then.
pub fn clone3_below(
    (user, network): (Option<BorrowedFd<'_>>, Option<BorrowedFd<'_>>),
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce(&Fresh) -> u8,
    then: impl FnOnce(u32) -> Result<(), String>,
) -> Result<Child, String> {
    let (said, ended) = hear(|fresh, told| {
        let sentence = match birth_below((user, network), namespaces, cgroup, told) {
            Ok(Side::Child) => {
                // The end of what is told is when the process between has ended.
                super::exec::close_copy(told);
                return child(fresh);
            }
            Ok(Side::Parent(born)) => then(born.pid),
            Err(sentence) => Err(sentence),
        };
        let _ = rustix::io::write(told, sentence.err().unwrap_or_default().as_bytes());
        0
    })?;
    let Some((pid, sentence)) = said.split_first_chunk() else {
        return Err(format!("make a process: the one between ended with {ended}"));
    };
    let pid = u32::from_ne_bytes(*pid);
    let born = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let mut sentence = String::from_utf8_lossy(sentence).into_owned();
    if sentence.is_empty() && ended != 0 {
        "the process that makes it was killed".clone_into(&mut sentence);
    }
    // Nobody else can reap it, so the pid is still its own.
    let Some(born) = born else { return Err(sentence) };
    let pidfd = rustix::process::pidfd_open(born, rustix::process::PidfdFlags::empty());
    let child = Child { pid, pidfd: pidfd.map_err(|error| format!("hold the new process: {error}"))? };
    if sentence.is_empty() {
        return Ok(child);
    }
    child.kill();
    let _ = child.wait();
    Err(sentence)
}

/// Does `work` in another process, which shares nothing with us but a copy of our memory, and ends before this function
/// does.
///
/// # Errors
/// With the sentence that `work` fails with, or that the process was killed.
pub fn beside(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let (said, ended) = hear(|_, told| {
        let _ = rustix::io::write(told, work().err().unwrap_or_default().as_bytes());
        0
    })?;
    match said.as_slice() {
        [] if ended == 0 => Ok(()),
        [] => Err("the process that was to do it was killed".to_owned()),
        said => Err(String::from_utf8_lossy(said).into_owned()),
    }
}

/// Makes a child, in no new namespaces, and returns all that it writes to the descriptor that it is given, and how it ended.
fn hear(child: impl FnOnce(&Fresh, BorrowedFd<'_>) -> u8) -> Result<(Vec<u8>, i32), String> {
    let failed = |what: &'static str| move |error: Errno| format!("{what}: {error}");
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
    let made = clone3(Namespaces::empty(), None, |fresh| child(fresh, write.as_fd()));
    let made = made.map_err(failed("make a process"))?;
    drop(write);
    let mut said = Vec::new();
    let heard = std::io::Read::read_to_end(&mut std::fs::File::from(read), &mut said);
    let ended = made.wait().map_err(failed("wait for a process"))?;
    heard.map_err(|error| format!("hear of a process: {error}"))?;
    Ok((said, ended))
}

/// Enters `user` and `network` and makes a child of our parent in new namespaces; writes its pid, or zero, to `told`.
fn birth_below(
    (user, network): (Option<BorrowedFd<'_>>, Option<BorrowedFd<'_>>),
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    told: BorrowedFd<'_>,
) -> Result<Side, String> {
    let entered = user.map_or(Ok(()), enter_user).and_then(|()| network.map_or(Ok(()), enter_network));
    let entered = entered.map_err(|error| format!("enter the namespaces of the network: {error}"));
    let mut args = CloneArgs::born(namespaces, cgroup);
    args.flags |= libc::CLONE_PARENT as u64;
    // This process has one thread.
    let born =
        entered.and_then(|()| call(args).map_err(|error| format!("make the namespaces of the container: {error}")));
    let pid = match &born {
        Ok(Side::Child) => return Ok(Side::Child),
        Ok(Side::Parent(child)) => child.pid,
        Err(_) => 0,
    };
    rustix::io::write(told, &pid.to_ne_bytes()).map_err(|error| format!("tell of the new process: {error}"))?;
    born
}

fn enter_network(network: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes a descriptor and a number.
    if unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) } != 0 { Err(last_error()) } else { Ok(()) }
}

fn enter_user(user: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes a descriptor and a number, in a process of one thread.
    if unsafe { libc::setns(user.as_raw_fd(), libc::CLONE_NEWUSER) } != 0 {
        return Err(last_error());
    }
    // Who gains rights can no longer be looked at, and hands that on to its child, whose maps are to be written.
    // SAFETY: takes numbers.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) } != 0 { Err(last_error()) } else { Ok(()) }
}

/// Makes a child, in no new namespaces, that makes the system calls in `child` and ends with
/// `code`. What other threads hold does not matter, as long as `child` takes no lock: it must
/// not allocate, for one.
///
/// # Errors
/// Those of `clone3(2)`.
pub fn beside_threads(code: u8, child: impl FnOnce()) -> Result<Child, Errno> {
    match copy_of_us(CloneArgs::default())? {
        Side::Parent(child) => Ok(child),
        Side::Child => {
            child();
            Fresh(()).end(code)
        }
    }
}

/// A child of ours by `clone3(2)` with these arguments, on a copy of our memory, held by a pidfd.
fn copy_of_us(mut args: CloneArgs) -> Result<Side, Errno> {
    args.exit_signal = libc::SIGCHLD as u64;
    call(args)
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Whether this process has one thread: `/proc/self/task` then has three links (`.`, `..` and one).
fn is_single_threaded() -> Result<bool, Errno> {
    Ok(rustix::fs::stat(c"/proc/self/task")?.st_nlink == 3)
}

impl Child {
    /// Holds a process that the standard library has started, and that nobody has reaped yet.
    ///
    /// # Errors
    /// Those of pidfd_open(2).
    pub fn of(process: &std::process::Child) -> Result<Self, Errno> {
        let pid = rustix::process::Pid::from_child(process);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        Ok(Self { pid: pid.as_raw_pid().unsigned_abs(), pidfd })
    }

    /// Sends SIGKILL; a child that has ended already is no error.
    pub fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(self.pidfd.as_fd(), rustix::process::Signal::KILL);
    }

    /// Sends the signal of this number (pidfd_send_signal(2)); a child that has ended is no error.
    pub fn signal(&self, number: i32) {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: takes numbers and a null pointer, which stands for the information kill(2) gives.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), number, info, 0) };
    }

    /// Waits for the end of the child: the exit code, or 128 + the signal that ended it.
    ///
    /// # Errors
    /// Those of `waitid(2)`.
    pub fn wait(&self) -> Result<i32, Errno> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED))?;
        let status = status.ok_or(Errno::CHILD)?;
        let signal = status.terminating_signal().map(|signal| 128 + signal);
        Ok(status.exit_status().or(signal).unwrap_or(255))
    }
}

/// The error of the libc call just made.
pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The test runner has threads, so the call itself is tested by the live tests.
    #[test]
    fn refuses_to_fork_beside_threads() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        assert_eq!(clone3(Namespaces::empty(), None, |_| 0).map(|child| child.pid), Err(Errno::DEADLK));
        drop(stop);
        let _ = thread.join();
    }
}
