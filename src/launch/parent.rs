//! The parent's side of a launch, one type a phase: `Forked` (maps to be
//! written) → [`Held`] (waits at the gate) → [`Running`]. Each consumes the last,
//! so no order but the right one compiles. Whatever is dropped before it runs is
//! killed and reaped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::child::{self, Birth};
use super::error::LaunchError;
use super::plan::Plan;
use super::step::{Mount, Source, Step};
use super::wire::{self, Report};
use crate::sys::clone::{Child, Fresh, Namespaces, clone3, clone3_below};
use crate::sys::idmap::{Helpers, write_directly};
use crate::sys::{failpoint, message};

/// How the id maps of a new user namespace are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// By newuidmap and newgidmap.
    Helpers(Helpers),
    /// By ourselves: as root, or for the one id that is our own.
    Direct {
        /// Whether we may set groups; without privilege the kernel wants it denied.
        deny_setgroups: bool,
    },
}

/// Another user namespace that the child's is to be a child of, and what is done there when the child has been born:
/// writing its maps is a part of it.
pub struct Below<'a> {
    /// The user namespace; none if root has no need of one.
    pub user: Option<BorrowedFd<'a>>,
    /// The network namespace that the child is in, if it gets no new one.
    pub network: Option<BorrowedFd<'a>>,
    /// Called with the child's pid, in a process with all rights in that namespace; says what failed.
    pub then: &'a dyn Fn(u32) -> Result<(), String>,
}

impl std::fmt::Debug for Below<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Below").field("user", &self.user).field("network", &self.network).finish_non_exhaustive()
    }
}

/// Standard input, output and error of the program; none where it gets a terminal.
pub type Stdio<'a> = Option<[BorrowedFd<'a>; 3]>;

/// Takes the device of a served tree, and the new user namespace of the process that sees it.
pub type Serve<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, Option<BorrowedFd<'_>>) -> Result<(), Errno>;

/// A child that waits for its id maps.
#[derive(Debug)]
struct Forked {
    child: Held,
}

/// A child that is mapped and walks until the gate before the pivot.
#[derive(Debug)]
pub struct Held {
    /// None once the child has been handed on.
    child: Option<Child>,
    wire: OwnedFd,
    /// Its new user namespace, if somebody will have to join that.
    user: Option<OwnedFd>,
    /// Its new network namespace, if somebody has to connect it.
    network: Option<OwnedFd>,
    /// The other end of its interface, if it has sent that already.
    interface: Option<OwnedFd>,
}

/// A child that executes its program.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    /// The controlling side of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// The program below it, where the process itself is our reaper.
    pub program: Option<OwnedFd>,
    /// Where it asks about ids, if it has to.
    pub asks: Option<OwnedFd>,
    /// Its new user namespace, if somebody may have to join that.
    pub user: Option<OwnedFd>,
    /// The other end of its interface, unless somebody has taken that before.
    pub interface: Option<OwnedFd>,
}

impl Running {
    /// The process whose namespaces one joins to be in the container: the one that has executed its program.
    pub fn target(&self) -> BorrowedFd<'_> {
        self.program.as_ref().unwrap_or(&self.child.pidfd).as_fd()
    }
}

/// Makes the child, born into `cgroup` where one is given, and writes its maps.
///
/// # Errors
/// [`LaunchError::Namespaces`] and [`LaunchError::Map`]; nothing is left behind.
pub fn start(
    plan: &Plan,
    mapping: &Mapping,
    stdio: Stdio<'_>,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Held, LaunchError> {
    let forked = Forked::new(plan, |child| {
        clone3(plan.namespaces, cgroup, |fresh| child(stdio, fresh))
            .map_err(|error| LaunchError::Namespaces(error.into()))
    })?;
    let held = forked.look(plan)?;
    if plan.namespaces.contains(Namespaces::USER) {
        match mapping {
            Mapping::Helpers(helpers) => helpers.apply(held.pid(), &plan.uid_map, &plan.gid_map)?,
            Mapping::Direct { deny_setgroups } => {
                write_directly(held.pid(), &plan.uid_map, &plan.gid_map, *deny_setgroups)?;
            }
        }
    }
    held.mapped()
}

/// The same for a child whose user namespace is to be below another one.
///
/// # Errors
/// [`LaunchError::Below`]; nothing is left behind.
pub fn start_below(
    plan: &Plan,
    below: &Below<'_>,
    stdio: Stdio<'_>,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Held, LaunchError> {
    let forked = Forked::new(plan, |child| {
        clone3_below(
            (below.user, below.network),
            plan.namespaces,
            cgroup,
            |fresh| child(stdio, fresh),
            |pid| (below.then)(pid),
        )
        .map_err(LaunchError::Below)
    })?;
    forked.look(plan)?.mapped()
}

impl Forked {
    /// A child by `make`, which is given what is to be run in it.
    fn new(
        plan: &Plan,
        make: impl FnOnce(&dyn Fn(Stdio<'_>, &Fresh) -> u8) -> Result<Child, LaunchError>,
    ) -> Result<Self, LaunchError> {
        let (ours, mut theirs) = message::pair().map_err(wire_error)?;
        if !plan.inherited.is_empty() {
            // The program's descriptors take the low numbers while the wire is in use.
            theirs = rustix::io::fcntl_dupfd_cloexec(&theirs, plan.after_descriptors()).map_err(wire_error)?;
        }
        let child = make(&|stdio, fresh| {
            // Our end is a copy in the child: it must not keep the wire open.
            crate::sys::exec::close_copy(ours.as_fd());
            child::walk(plan, &Birth { wire: theirs.as_fd(), stdio, target: None }, fresh)
        })?;
        failpoint::reach!("launch.cloned");
        Ok(Self { child: Held { child: Some(child), wire: ours, user: None, network: None, interface: None } })
    }

    /// Takes hold of the namespaces that somebody will need.
    fn look(mut self, plan: &Plan) -> Result<Held, LaunchError> {
        let pid = self.child.pid();
        // Now: later the child lets nobody near.
        let open = |kind: &str| {
            let path = format!("/proc/{pid}/ns/{kind}");
            let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            opened.map_err(|error| LaunchError::Serve(error.into()))
        };
        if (plan.is_served() || plan.pretends() || plan.connected) && plan.namespaces.contains(Namespaces::USER) {
            self.child.user = Some(open("user")?);
        }
        if plan.connected && plan.namespaces.contains(Namespaces::NETWORK) {
            self.child.network = Some(open("net")?);
        }
        Ok(self.child)
    }
}

impl Held {
    /// Tells the child that its ids are there.
    fn mapped(self) -> Result<Self, LaunchError> {
        failpoint::reach!("launch.mapped");
        message::send(self.wire.as_fd(), &[wire::MAPPED], &[]).map_err(wire_error)?;
        failpoint::reach!("launch.held");
        Ok(self)
    }

    /// The child's pid, for what is attached from outside before the gate opens.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// Takes its network namespace, if the plan says that it is to be connected, and names its user namespace.
    pub fn take_network(&mut self) -> Option<(OwnedFd, Option<BorrowedFd<'_>>)> {
        let network = self.network.take()?;
        Some((network, self.user.as_ref().map(AsFd::as_fd)))
    }

    /// Waits for the other end of its interface.
    ///
    /// # Errors
    /// With the step that failed before there was one.
    pub fn await_interface(&mut self, plan: &Plan) -> Result<OwnedFd, LaunchError> {
        let (report, on_board) = self.hear()?;
        match (report, on_board) {
            (Some(Report::Interface), Some(end)) => Ok(end),
            (Some(Report::Failed { step, errno }), _) => Err(explain(plan, step, errno)),
            _ => Err(wire_error(Errno::BADMSG)),
        }
    }

    /// The next report, and what is on board; none if there will be no more.
    fn hear(&self) -> Result<(Option<Report>, Option<OwnedFd>), LaunchError> {
        let mut packet = [0; wire::PACKET];
        let received = message::receive(self.wire.as_fd(), &mut packet).map_err(wire_error)?;
        let [on_board, ..] = received.fds;
        Ok((packet.get(..received.len).and_then(Report::decode), on_board))
    }

    /// Opens the gate and waits until the program is executed. `serve` is given the device of a
    /// served tree.
    ///
    /// # Errors
    /// With the step that failed, or why the program could not be executed, or what `serve`
    /// says; the child has been reaped then.
    pub fn run(mut self, plan: &Plan, serve: Serve<'_>) -> Result<Running, LaunchError> {
        // A child that has failed already cannot take the byte: its report is in the queue.
        let _ = message::send(self.wire.as_fd(), &[wire::GO], &[]);
        let (mut terminal, mut program, mut asks, mut ready) = (None, None, None, false);
        loop {
            let (report, on_board) = self.hear()?;
            match report {
                Some(Report::Interface) => self.interface = on_board,
                Some(Report::Terminal) => terminal = on_board,
                Some(Report::Device) => {
                    if let Some(device) = on_board {
                        let user = self.user.as_ref().map(AsFd::as_fd);
                        serve(device.as_fd(), user).map_err(|error| LaunchError::Serve(error.into()))?;
                    }
                }
                Some(Report::Program) => program = on_board,
                Some(Report::Listener) => asks = on_board,
                Some(Report::Ready) => ready = true,
                Some(Report::Failed { step, errno }) => return Err(explain(plan, step, errno)),
                Some(Report::Born { .. }) | None => break,
            }
        }
        failpoint::reach!("launch.executed");
        let child = self.child.take().ok_or(LaunchError::Died(255))?;
        if ready {
            let (user, interface) = (self.user.take(), self.interface.take());
            return Ok(Running { child, terminal, program, asks, user, interface });
        }
        child.kill();
        Err(LaunchError::Died(child.wait().unwrap_or(255)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            child.kill();
            let _ = child.wait();
        }
    }
}

/// The child sent two numbers; the plan knows what they mean.
pub(super) fn explain(plan: &Plan, step: u16, errno: i32) -> LaunchError {
    let source = std::io::Error::from_raw_os_error(errno);
    let program = plan.program_name.clone();
    match (step, Errno::from_raw_os_error(errno)) {
        (wire::EXEC, Errno::NOENT | Errno::NOTDIR) => LaunchError::NotFound { program },
        (wire::EXEC, _) => LaunchError::NotExecutable { program, source },
        (step, errno) => {
            let failed = plan.steps.get(usize::from(step));
            let operation = failed.map_or_else(|| format!("step {step}"), ToString::to_string);
            LaunchError::Step { operation, source, hint: failed.and_then(|step| advice(step, errno)) }
        }
    }
}

/// What to do about a step that failed for what it was asked to do.
fn advice(step: &Step, errno: Errno) -> Option<&'static str> {
    match step {
        Step::Mount(Mount { source: Source::Host { .. }, .. }) if errno == Errno::NOENT => {
            Some("make it again where `pybox inspect CONTAINER` says it is mounted from")
        }
        Step::OpenWorkdir(_) | Step::FindWorkdir(_) | Step::EnterWorkdir => Some("choose another directory with -w"),
        Step::Interface(_) if errno == Errno::NOENT => Some("sudo modprobe tun"),
        Step::Interface(_) if matches!(errno, Errno::ACCESS | Errno::PERM) => {
            Some("sudo chmod 666 /dev/net/tun, or do without: --network none")
        }
        Step::Sysctl(_) => Some("`pybox run --rm IMAGE ls /proc/sys/net` shows which settings a container has"),
        _ => None,
    }
}

pub(super) fn wire_error(error: Errno) -> LaunchError {
    LaunchError::Wire(error.into())
}
