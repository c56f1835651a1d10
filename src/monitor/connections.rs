//! Those who have connected: what each of them waits to hear.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::Shutdown;

use super::protocol::{self, Event, WireError};
use super::timers::is_due;
use crate::sys::message;

/// More than anybody needs at once; whoever comes after waits in the kernel's queue.
const MOST: usize = 512;

/// Who has said nothing for so long gives way when there are too many.
const SILENCE: Duration = Duration::from_secs(1);

/// How long the door stays shut when nobody can be let in.
const SHUT: Duration = Duration::from_millis(200);

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
    /// Since when it has said nothing at all.
    silent: Option<Instant>,
    /// Hears of the next end.
    pub waits_for_end: bool,
    /// Hears of the last end.
    pub waits_for_last_end: bool,
    /// Hears of the next start.
    pub waits_for_start: bool,
    /// Its streams are connected.
    pub attached: bool,
    /// The container is frozen for as long as it lasts.
    pub holds: bool,
}

impl Connection {
    /// Who has left hundreds of answers unread is not waited for, nor left to wait for one that was dropped: it hears
    /// the end, and so do we when we look at it next.
    fn tell(&self, event: &Event, fds: &[BorrowedFd<'_>]) {
        if matches!(protocol::send_at_once(self.socket.as_fd(), event, fds), Err(WireError::Deaf)) {
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        }
    }
}

/// All of them.
#[derive(Debug)]
pub struct Connections {
    listener: OwnedFd,
    all: Vec<Connection>,
    next: Id,
    /// Until when nobody is let in.
    shut: Option<Instant>,
}

impl Connections {
    /// Those who come to `listener`. The first that is added has the id [`BORN`].
    pub fn new(listener: OwnedFd) -> Self {
        Self { listener, all: Vec::new(), next: BORN, shut: None }
    }

    /// One more.
    pub fn add(&mut self, socket: OwnedFd) {
        self.all.push(Connection {
            id: self.next,
            socket,
            // Whoever made us has said all there is.
            silent: (self.next != BORN).then(Instant::now),
            waits_for_end: false,
            waits_for_last_end: false,
            waits_for_start: false,
            attached: false,
            holds: false,
        });
        self.next += 1;
    }

    /// Where to look for new ones; none while there are too many.
    pub fn door(&self) -> Option<BorrowedFd<'_>> {
        self.shut.is_none().then(|| self.listener.as_fd())
    }

    /// When the door is to be opened again.
    pub fn clock(&self) -> Option<Instant> {
        self.shut
    }

    /// Opens the door again if it is time, and makes room behind it.
    pub fn by_the_clock(&mut self) {
        if is_due(self.shut) {
            self.shut = None;
            self.all.retain(|connection| connection.silent.is_none_or(|since| since.elapsed() < SILENCE));
            if self.all.len() >= MOST {
                self.shut();
            }
        }
    }

    /// Nobody can be let in for a while: looking at the door again at once would be all that we did.
    fn shut(&mut self) {
        self.shut = Some(Instant::now() + SHUT);
    }

    /// Where to look for words.
    pub fn sockets(&self) -> impl Iterator<Item = (Id, BorrowedFd<'_>)> {
        self.all.iter().map(|connection| (connection.id, connection.socket.as_fd()))
    }

    /// Lets in who waits at the door.
    pub fn accept(&mut self) {
        loop {
            if self.all.len() >= MOST {
                return self.shut();
            }
            match message::accept(self.listener.as_fd()) {
                Ok(socket) => self.add(socket),
                // Too many open files, or no memory: who waits there is still there later.
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => return self.shut(),
                // Of somebody else, or gone again.
                Err(Errno::PERM | Errno::CONNABORTED | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// The connection of this id, if it is there.
    pub fn get(&mut self, id: Id) -> Option<&mut Connection> {
        self.all.iter_mut().find(|connection| connection.id == id)
    }

    /// Whether somebody holds the container.
    pub fn hold(&self) -> bool {
        self.all.iter().any(|connection| connection.holds)
    }

    /// Whether the connection of this id is there.
    pub fn has(&self, id: Id) -> bool {
        self.all.iter().any(|connection| connection.id == id)
    }

    /// What the connection has to say.
    ///
    /// # Errors
    /// [`WireError::Closed`] if it has gone.
    pub fn hear(&mut self, id: Id) -> Result<(protocol::Control, protocol::Cargo), WireError> {
        let connection = self.get(id).ok_or(WireError::Closed)?;
        connection.silent = None;
        protocol::receive(&connection.socket)
    }

    /// Forgets a connection.
    pub fn close(&mut self, id: Id) {
        self.all.retain(|connection| connection.id != id);
    }

    /// Tells one of them; one that does not listen is not waited for.
    pub fn tell(&mut self, id: Id, event: &Event, fds: &[BorrowedFd<'_>]) {
        if let Some(connection) = self.get(id) {
            connection.tell(event, fds);
        }
    }

    /// Tells all for whom `select` is true; it may change what they wait for.
    pub fn tell_all(&mut self, event: &Event, mut select: impl FnMut(&mut Connection) -> bool) {
        for connection in &mut self.all {
            if select(connection) {
                connection.tell(event, &[]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_gives_way_to_others() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = std::fs::File::open(place.path()).expect("open");
        let mut connections = Connections::new(message::listen(directory.as_fd(), "control").expect("listen"));
        let (born, _ours) = message::pair().expect("a pair");
        connections.add(born);
        let connect = || message::connect(directory.as_fd(), "control").expect("connect");
        let mut silent = Vec::new();
        while connections.door().is_some() {
            silent.push(connect());
            connections.accept();
        }
        assert!(silent.len() == MOST - 1 && connections.clock().is_some());
        let waits = connect();
        std::thread::sleep(SILENCE);
        protocol::send(silent[7].as_fd(), &protocol::Control::Wait, &[]).expect("send");
        connections.hear(8).expect("a word");
        connections.by_the_clock();
        connections.accept();
        let left: Vec<Id> = connections.sockets().map(|(id, _)| id).collect();
        assert_eq!(left, [BORN, 8, MOST as Id]);
        drop(waits);
    }
    #[test]
    fn who_does_not_listen_holds_nobody_up() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = std::fs::File::open(place.path()).expect("open");
        let mut connections = Connections::new(message::listen(directory.as_fd(), "control").expect("listen"));
        let [(deaf, deaf_end), (other, other_end)] = [(); 2].map(|()| message::pair().expect("a pair"));
        connections.add(deaf_end);
        connections.add(other_end);
        // More than a socket has room for.
        for _ in 0..2000 {
            connections.tell(BORN, &Event::Done, &[]);
        }
        connections.tell_all(&Event::Exited { exit_code: 7 }, |_| true);
        let (heard, _) = protocol::receive::<Event>(&other).expect("an event");
        assert!(matches!(heard, Event::Exited { exit_code: 7 }), "{heard:?}");
        assert!(matches!(connections.hear(BORN), Err(WireError::Closed)));
        // What had room arrives, and then the end.
        let heard = std::iter::from_fn(|| protocol::receive::<Event>(&deaf).ok()).count();
        assert!((1..2000).contains(&heard), "{heard}");
        assert!(matches!(protocol::receive::<Event>(&deaf), Err(WireError::Closed)));
    }
}
