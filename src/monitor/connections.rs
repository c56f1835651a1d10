//! Those who have connected: what each of them waits to hear.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::protocol::{self, Event, WireError};
use crate::sys::message;

/// More than anybody needs at once; whoever comes after waits in the kernel's queue.
const MOST: usize = 512;

/// Names a connection for as long as the monitor lives.
pub type Id = u64;

/// Whoever made the monitor.
pub const BORN: Id = 0;

/// One of them.
#[derive(Debug)]
pub struct Connection {
    /// Its name.
    pub id: Id,
    socket: OwnedFd,
    /// Hears of the next end.
    pub waits_for_end: bool,
    /// Hears of the last end.
    pub waits_for_last_end: bool,
    /// Hears of the next start.
    pub waits_for_start: bool,
    /// Its streams are connected.
    pub attached: bool,
}

/// All of them.
#[derive(Debug)]
pub struct Connections {
    listener: OwnedFd,
    all: Vec<Connection>,
    next: Id,
}

impl Connections {
    /// Those who come to `listener`. The first that is added has the id [`BORN`].
    pub fn new(listener: OwnedFd) -> Self {
        Self { listener, all: Vec::new(), next: BORN }
    }

    /// One more.
    pub fn add(&mut self, socket: OwnedFd) {
        self.all.push(Connection {
            id: self.next,
            socket,
            waits_for_end: false,
            waits_for_last_end: false,
            waits_for_start: false,
            attached: false,
        });
        self.next += 1;
    }

    /// Where to look for new ones; none while there are too many.
    pub fn door(&self) -> Option<BorrowedFd<'_>> {
        (self.all.len() < MOST).then(|| self.listener.as_fd())
    }

    /// Where to look for words.
    pub fn sockets(&self) -> impl Iterator<Item = (Id, BorrowedFd<'_>)> {
        self.all.iter().map(|connection| (connection.id, connection.socket.as_fd()))
    }

    /// Lets in who waits at the door.
    pub fn accept(&mut self) {
        while let Ok(socket) = message::accept(self.listener.as_fd()) {
            self.add(socket);
            if self.all.len() >= MOST {
                return;
            }
        }
    }

    /// The connection of this id, if it is there.
    pub fn get(&mut self, id: Id) -> Option<&mut Connection> {
        self.all.iter_mut().find(|connection| connection.id == id)
    }

    /// Whether the connection of this id is there.
    pub fn has(&self, id: Id) -> bool {
        self.all.iter().any(|connection| connection.id == id)
    }

    /// Whether one of them is so.
    pub fn any(&self, is_so: impl Fn(&Connection) -> bool) -> bool {
        self.all.iter().any(is_so)
    }

    /// What the connection has to say.
    ///
    /// # Errors
    /// [`WireError::Closed`] if it has gone.
    pub fn hear(&mut self, id: Id) -> Result<(protocol::Control, protocol::Cargo), WireError> {
        self.get(id).ok_or(WireError::Closed).and_then(|connection| protocol::receive(&connection.socket))
    }

    /// Forgets a connection.
    pub fn close(&mut self, id: Id) {
        self.all.retain(|connection| connection.id != id);
    }

    /// Tells one of them; one that does not listen is not waited for.
    pub fn tell(&mut self, id: Id, event: &Event, fds: &[BorrowedFd<'_>]) {
        if let Some(connection) = self.get(id) {
            let _ = protocol::send(connection.socket.as_fd(), event, fds);
        }
    }

    /// Tells all for whom `select` is true; it may change what they wait for.
    pub fn tell_all(&mut self, event: &Event, mut select: impl FnMut(&mut Connection) -> bool) {
        for connection in &mut self.all {
            if select(connection) {
                let _ = protocol::send(connection.socket.as_fd(), event, &[]);
            }
        }
    }
}
