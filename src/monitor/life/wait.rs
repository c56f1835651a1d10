//! Waiting: for signals, words, bytes and the clock.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::Life;
use crate::cgroup::Group;
use crate::monitor::connections::Id;
use crate::monitor::error::MonitorError;
use crate::monitor::health::Watch;
use crate::monitor::names::Names;
use crate::monitor::network::Network;
use crate::monitor::timers;
use crate::sys::startup;

/// After so long without anything to do, there will be nothing to do for long.
const QUIET: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What a wait has brought.
pub(super) struct Ready {
    pub(super) signals: bool,
    pub(super) door: bool,
    pub(super) sockets: Vec<Id>,
    pub(super) streams: Vec<RawFd>,
}

impl Life {
    /// Waits for what comes next.
    ///
    /// # Errors
    /// Those of poll(2).
    pub(super) fn wait(&self) -> Result<Ready, MonitorError> {
        let signals = self.signals.as_fd();
        let door = self.connections.door();
        let sockets: Vec<_> = self.connections.sockets().collect();
        let streams = self.now.iter().flat_map(|now| now.input.interests().chain(now.output.interests()));
        let health = self.health.iter().flat_map(Watch::interests);
        let names = self.now.iter().flat_map(|now| &now.names);
        let changes = names.clone().filter_map(Names::changes).map(|changes| (changes, PollFlags::IN));
        let networks = self.now.iter().flat_map(|now| &now.networks).map(|joined| (joined.as_fd(), PollFlags::IN));
        let network = self.now.iter().flat_map(|now| &now.network).filter_map(Network::interest);
        let network = network.map(|fd| (fd, PollFlags::IN));
        let memory = self.group.iter().filter_map(Group::alarm).map(|alarm| (alarm, PollFlags::PRI));
        let beside = health.chain(changes).chain(networks).chain(network).chain(memory);
        let streams: Vec<_> = streams.chain(self.execs.interests()).chain(beside).collect();
        let mut fds = vec![PollFd::new(&signals, PollFlags::IN)];
        fds.extend(sockets.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)));
        fds.extend(streams.iter().map(|(fd, flags)| PollFd::new(fd, *flags)));
        fds.extend(door.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let clock = [self.health.as_ref().and_then(Watch::clock), self.now.as_ref().and_then(|now| now.output.clock())];
        let clock = clock.into_iter().chain(names.map(Names::clock));
        let ours = [self.kill_at, self.timeout_at, self.start_at, self.drained_by, self.connections.clock()];
        let clock = timers::until(ours.into_iter().chain(clock));
        self.sleep(&mut fds, clock)?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            signals: ready.next().unwrap_or(false),
            sockets: sockets.iter().zip(&mut ready).filter(|(_, ready)| *ready).map(|((id, _), _)| *id).collect(),
            streams: streams
                .iter()
                .zip(&mut ready)
                .filter(|(_, ready)| *ready)
                .map(|((fd, _), _)| fd.as_raw_fd())
                .collect(),
            door: ready.next().unwrap_or(false),
        })
    }

    /// Sleeps until something is ready or due. If nothing comes for a while, a long sleep is to be
    /// expected, and what is not needed for it is let go of.
    fn sleep(&self, fds: &mut [PollFd<'_>], clock: Option<Timespec>) -> Result<(), MonitorError> {
        let is_longer = clock.is_none_or(|clock| clock.tv_sec >= QUIET.tv_sec);
        let mut woken = match (is_longer, self.rests.get()) {
            (false, _) => rustix::event::poll(fds, clock.as_ref()),
            (true, false) => rustix::event::poll(fds, Some(&QUIET)),
            (true, true) => startup::sleep(fds, clock.as_ref()),
        };
        if is_longer && !self.rests.get() && woken == Ok(0) {
            self.rests.set(true);
            let rest = clock.map(|clock| Timespec { tv_sec: clock.tv_sec - QUIET.tv_sec, ..clock });
            woken = startup::sleep(fds, rest.as_ref());
        }
        match woken {
            Ok(count) => {
                self.rests.set(self.rests.get() && count == 0);
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(MonitorError::System("poll", error.into())),
        }
    }
}
