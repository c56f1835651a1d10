//! What a container's network asks of its monitor: to be there, and to have the host's name servers.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};

use rustix::io::Errno;

use super::{Life, identity_of};
use crate::monitor::error::MonitorError;
use crate::monitor::membership;
use crate::monitor::names::Names;
use crate::monitor::network::{Network, Turn};
use crate::monitor::timers;
use crate::network::segment::{Membership, Plug};

impl Life {
    /// Starts what connects the network again, if that is what `pid` was: the container lives on.
    pub(super) fn reconnect(&mut self, pid: u32) {
        let network = self.now.as_mut().and_then(|now| now.network.as_mut());
        let network = network.filter(|network| network.pid() == Some(pid) && self.exit_code.is_none());
        let Some(network) = network else { return };
        let again = network.again();
        self.note_network();
        self.tell_happening(if again { "network-restart" } else { "network-lost" }, &[]);
    }

    /// Starts what connects the network, or gives it what it asks for, if one of `ready` says so.
    pub(super) fn connect(&mut self, ready: &[RawFd]) {
        match self.now.as_mut().and_then(|now| now.network.as_mut()).map_or(Turn::Same, |network| network.turn(ready)) {
            Turn::Same => {}
            Turn::Begun => self.note_network(),
            Turn::Lost => self.tell_happening("network-lost", &[]),
        }
    }

    /// Notes which process connects the network: it has to be found by others if we are killed.
    fn note_network(&mut self) {
        let pid = self.now.as_ref().and_then(|now| now.network.as_ref()).and_then(Network::pid);
        self.run.network = pid.map(|pid| identity_of(&self.run, pid));
        let _ = self.write_run();
    }

    /// Joins the networks again, if one of `ready` says that who kept them has gone: the container stays on them, and
    /// has a name there again.
    pub(super) fn stay_joined(&mut self, ready: &[RawFd]) {
        let Some(now) = &mut self.now else { return };
        let gone = now.networks.as_ref().is_some_and(|joined| ready.contains(&joined.as_fd().as_raw_fd()));
        if let Some(membership) = self.start.membership.as_ref().filter(|_| gone) {
            let again = membership::join(membership, now.networks.as_ref());
            let happening = if again.is_ok() { "network-restart" } else { "network-lost" };
            now.networks = again.ok();
            self.tell_happening(happening, &[]);
        }
    }

    /// Puts the container on these networks, and takes it off all others.
    ///
    /// # Errors
    /// With what failed; it is where it was then, or on some of both.
    pub(in crate::monitor) fn be_on(&mut self, plugs: Vec<Plug>) -> Result<(), MonitorError> {
        let Some(membership) = &mut self.start.membership else { return Ok(()) };
        let Some(now) = &mut self.now else {
            membership.plugs = plugs;
            return Ok(());
        };
        let wanted = Membership { plugs, keeper: membership.keeper.clone() };
        let joined = membership::join(&wanted, now.networks.as_ref())?;
        membership::change(&joined, now.running.child.pid, &membership.plugs, &wanted.plugs)?;
        *membership = wanted;
        now.networks = Some(joined);
        Ok(())
    }

    /// Looks whether the host's name servers have changed, if one of `ready` says that they may have.
    pub(super) fn follow_names(&mut self, ready: &[RawFd]) {
        let changed = |names: &Names| names.changes().is_some_and(|changes| ready.contains(&changes.as_raw_fd()));
        self.names_are(changed, Names::turn);
    }

    /// Begins to look for changes of them, when it is time to.
    pub(super) fn watch_names(&mut self) {
        self.names_are(|names| timers::is_due(names.clock()), Names::watch);
    }

    fn names_are(&mut self, so: impl Fn(&Names) -> bool, act: fn(&mut Names, BorrowedFd<'_>) -> Result<(), Errno>) {
        let Some(now) = &mut self.now else { return };
        let Some(names) = now.names.as_mut().filter(|names| so(names)) else { return };
        if act(names, self.bundle.as_fd()).is_err() {
            // What cannot be followed stays as it is.
            now.names = None;
        }
        if now.network.as_mut().is_some_and(Network::lead_to_names) {
            self.note_network();
            self.tell_happening("network-restart", &[]);
        }
    }
}
