//! The process in the host's namespaces: whom monitors connect to.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::client::{self, SOCKET};
use super::crew::{Inside, Uplink};
use super::wire::{self, Answer, Ask, Order, Person, Present};
use crate::network::segment::{Keeper, Plug};
use crate::sys::clone::{Namespaces, clone3};
use crate::sys::message;
use crate::sys::wait::readable_within;
use crate::sys::worker_limits::close_from;

/// How long it stays when nobody is on any network: whoever comes next finds all in place.
const LINGER: Duration = Duration::from_secs(2);

/// Runs the persona `__networks`: makes another process that stays, and ends.
pub(super) fn main() -> u8 {
    if close_from(3).is_err() {
        return 2;
    }
    let made = clone3(Namespaces::empty(), None, |_| {
        let _ = rustix::process::setsid();
        let _ = rustix::thread::set_name(c"pybox-networks");
        let stdin = std::io::stdin();
        let Ok(Some((keeper, fds))) = wire::receive::<Keeper>(stdin.as_fd()) else { return 2 };
        let mut fds = fds.into_iter();
        let Some(place) = fds.next() else { return 2 };
        match Holder::new(keeper, place, fds.next().map(|network| (network, fds.next()))) {
            Ok(holder) => {
                let told = wire::send(stdin.as_fd(), &Answer::Joined, &[]);
                // Whoever started us reads to the end.
                let _ = rustix::net::shutdown(stdin.as_fd(), rustix::net::Shutdown::Both);
                if told.is_ok() { holder.hold() } else { 1 }
            }
            Err(sentence) => {
                let _ = wire::send(stdin.as_fd(), &Answer::Failed(sentence), &[]);
                1
            }
        }
    });
    u8::from(made.is_err())
}

/// A container on networks, by its monitor's connection.
struct Member {
    socket: OwnedFd,
    plugs: Vec<Plug>,
}

struct Holder {
    keeper: Keeper,
    place: OwnedFd,
    listener: OwnedFd,
    /// The socket's place in its file system: another one there is another keeper's, which found none.
    named: Option<(u64, u64)>,
    inside: Inside,
    uplink: Option<Uplink>,
    members: Vec<Member>,
    alone_since: Instant,
}

impl Holder {
    /// Makes or finds the namespaces, and listens.
    fn new(keeper: Keeper, place: OwnedFd, given: Option<(OwnedFd, Option<OwnedFd>)>) -> Result<Self, String> {
        let inside = Inside::start(&keeper, place.as_fd(), given)?;
        let _ = rustix::fs::unlinkat(&place, SOCKET, AtFlags::empty());
        let listener = message::listen(place.as_fd(), SOCKET)
            .map_err(|error| format!("listen in {}: {error}", keeper.place.display()))?;
        let named = name(place.as_fd());
        let (uplink, members, alone_since) = (None, Vec::new(), Instant::now());
        Ok(Self { keeper, place, listener, named, inside, uplink, members, alone_since })
    }

    /// Until nobody needs it any more.
    fn hold(mut self) -> u8 {
        loop {
            if self.members.is_empty() && self.alone_since.elapsed() >= LINGER && self.left_alone() {
                self.inside.end();
                return 0;
            }
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                Err(_) => return 1,
            };
            let mut ready = ready.into_iter();
            let (door, crew, out) = (ready.next(), ready.next(), ready.next());
            let left: Vec<bool> = ready.collect();
            if crew == Some(true) && self.revive().is_err() {
                return 1;
            }
            if out == Some(true) && self.uplink.is_some() {
                self.lead_out_again();
            }
            if left.contains(&true) {
                let mut left = left.into_iter();
                self.members.retain(|_| left.next() != Some(true));
                let _ = self.arrange();
                self.alone_since = Instant::now();
            }
            if door == Some(true) {
                self.admit();
            }
        }
    }

    /// Waits until something happens; says of the listener, the process inside, the uplink and each member whether it
    /// has to be looked after.
    fn wait(&self) -> Result<Vec<bool>, Errno> {
        let mut fds =
            vec![PollFd::new(&self.listener, PollFlags::IN), PollFd::new(self.inside.process(), PollFlags::IN)];
        // Where there is none, the listener stands in its place.
        let uplink = self.uplink.as_ref().map_or(self.listener.as_fd(), Uplink::process);
        fds.push(PollFd::from_borrowed_fd(uplink, PollFlags::IN));
        // A member says nothing more: it goes.
        fds.extend(self.members.iter().map(|member| PollFd::new(&member.socket, PollFlags::IN)));
        let soon = Timespec { tv_sec: LINGER.as_secs().cast_signed(), tv_nsec: 10_000_000 };
        rustix::event::poll(&mut fds, self.members.is_empty().then_some(&soon))?;
        Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
    }

    /// Whether nobody has come meanwhile; nobody can then any more.
    fn left_alone(&mut self) -> bool {
        let Ok(lock) = client::lock(self.place.as_fd()) else { return false };
        if readable_within(&self.listener, Duration::ZERO) {
            return false;
        }
        if self.named == name(self.place.as_fd()) {
            let _ = rustix::fs::unlinkat(&self.place, SOCKET, AtFlags::empty());
        }
        // Held until this process has ended.
        std::mem::forget(lock);
        true
    }

    /// Lets in one who has come.
    fn admit(&mut self) {
        let Ok(socket) = message::accept(self.listener.as_fd()) else { return };
        let Ok(Some((Ask::Join(plugs), _))) = hear(socket.as_fd()) else { return };
        self.members.push(Member { socket, plugs });
        // A process inside that does not answer, or has ended just now, is replaced.
        let done = self.lead_out().and_then(|()| {
            self.arrange().or_else(|_| {
                self.inside.kill();
                self.revive()
            })
        });
        let Some(member) = self.members.last() else { return };
        let told = match &done {
            Ok(()) => {
                let namespaces: Vec<_> = [self.inside.network()].into_iter().chain(self.inside.user()).collect();
                wire::send(member.socket.as_fd(), &Answer::Joined, &namespaces)
            }
            Err(sentence) => wire::send(member.socket.as_fd(), &Answer::Failed(sentence.clone()), &[]),
        };
        if done.is_err() || told.is_err() {
            self.members.pop();
            let _ = self.arrange();
            self.alone_since = Instant::now();
        }
    }

    /// Starts what leads out, if somebody wants to go there and it is not there yet.
    fn lead_out(&mut self) -> Result<(), String> {
        let wanted = self.members.iter().flat_map(|member| &member.plugs).any(|plug| !plug.segment.internal);
        drop(self.uplink.take_if(|uplink| wanted && uplink.leads_astray()));
        let Some((program, arguments)) = self.keeper.uplink.as_ref().filter(|_| wanted && self.uplink.is_none()) else {
            return Ok(());
        };
        let uplink = Uplink::start(program, arguments, (self.inside.network(), self.inside.user()))?;
        // The process inside ends it if we are not there to do so; one that is not told now is told when it is replaced.
        let _ = self.inside.order(&Order::Uplink, &[uplink.process()]);
        self.uplink = Some(uplink);
        Ok(())
    }

    /// It has ended: the containers live on, and have it again.
    fn lead_out_again(&mut self) {
        let short = self.uplink.take().is_some_and(|uplink| uplink.was_short());
        if short {
            // One that ends at once does so again: not more often than this.
            std::thread::sleep(Duration::from_millis(200));
        }
        // What cannot be had now is tried again when the next one comes.
        let _ = self.lead_out().and_then(|()| self.arrange());
    }

    /// Tells the process inside what there is to be.
    fn arrange(&mut self) -> Result<(), String> {
        let present = present(self.members.iter().map(|member| member.plugs.as_slice()));
        let bridges = present.iter().map(|present| present.segment.bridge.clone()).collect();
        super::crew::note(self.place.as_fd(), &self.inside, self.uplink.as_ref(), bridges);
        self.inside.order(&Order::Have(present), &[])
    }

    /// The process inside has ended: another one enters the namespaces.
    fn revive(&mut self) -> Result<(), String> {
        if self.named != name(self.place.as_fd()) {
            return Err("another process keeps the networks now".to_owned());
        }
        self.inside = self.inside.again(&self.keeper)?;
        if let Some(uplink) = &self.uplink {
            self.inside.order(&Order::Uplink, &[uplink.process()])?;
        }
        self.arrange()
    }
}

/// Which file the socket is, if it is there.
fn name(place: BorrowedFd<'_>) -> Option<(u64, u64)> {
    rustix::fs::statat(place, SOCKET, AtFlags::SYMLINK_NOFOLLOW).ok().map(|facts| (facts.st_dev, facts.st_ino))
}

/// What one who has connected asks for; a monitor says it at once.
fn hear(socket: BorrowedFd<'_>) -> Result<Option<(Ask, Vec<OwnedFd>)>, Errno> {
    if readable_within(socket, Duration::from_secs(1)) { wire::receive(socket) } else { Err(Errno::TIMEDOUT) }
}

/// The networks that somebody is on, and who.
fn present<'p>(members: impl Iterator<Item = &'p [Plug]>) -> Vec<Present> {
    let mut all: BTreeMap<&str, Present> = BTreeMap::new();
    for plugs in members {
        for plug in plugs {
            let of = all
                .entry(&plug.segment.bridge)
                .or_insert_with(|| Present { segment: plug.segment.clone(), people: Vec::new() });
            let bridges = plugs.iter().map(|other| &other.segment.bridge);
            of.people.push(Person {
                names: plug.names.clone(),
                addresses: plug.addresses.iter().map(|(address, _)| *address).collect(),
                also: bridges.filter(|bridge| **bridge != plug.segment.bridge).cloned().collect(),
            });
        }
    }
    all.into_values().collect()
}
