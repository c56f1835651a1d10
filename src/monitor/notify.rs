//! Telling systemd how its service fares (sd_notify(3)): one datagram of assignments.
//!
//! The monitor tells, since it lives as long as the container: that it is up, or healthy, and that it is
//! being stopped. Where nobody stays with the container the monitor is what the service is; it says so, and
//! ends with the container's exit code.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::life::Life;
use crate::model::supervision::{Health, Notify, ReadyWhen};

/// What there is to tell of one container.
#[derive(Debug)]
pub struct Notifier {
    to: Notify,
    /// Whether the service's process is us.
    pub is_main: bool,
    told: bool,
}

impl Notifier {
    /// Tells `to`; we are the service's process if nobody else `stays`.
    pub fn new(to: Notify, stays: bool) -> Self {
        Self { to, is_main: !stays, told: false }
    }

    /// The container runs, and fares like that if it has a health check.
    fn is_up(&mut self, health: Option<Health>) {
        let ready = match self.to.when {
            ReadyWhen::Started => true,
            ReadyWhen::Healthy => health == Some(Health::Healthy),
            ReadyWhen::Told => false,
        };
        if ready && !self.told {
            self.told = true;
            self.tell("READY=1");
        }
    }

    /// Sends it. Who listens may have gone, which is no business of the container's.
    fn tell(&self, text: &str) {
        let path = self.to.socket.as_os_str().as_bytes();
        let address = match path.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&self.to.socket),
        };
        let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address));
        drop(sent);
    }
}

impl Life {
    /// The first start is over.
    pub(super) fn notify_started(&mut self) {
        if let Some(notifier) = self.notifier.as_ref().filter(|notifier| notifier.is_main) {
            notifier.tell(&format!("MAINPID={}", std::process::id()));
        }
        self.notify_up();
    }

    /// Tells that it is ready, if that is so now.
    pub(super) fn notify_up(&mut self) {
        let health = self.health.as_ref().map(|health| health.state().status);
        if let Some(notifier) = &mut self.notifier {
            notifier.is_up(health);
        }
    }

    /// It has been asked to stop, and will not be started again.
    pub(super) fn notify_stopping(&self) {
        if let Some(notifier) = self.notifier.as_ref().filter(|_| !self.again) {
            notifier.tell("STOPPING=1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(when: ReadyWhen, health: &[Option<Health>]) -> Vec<String> {
        let place = tempfile::tempdir().expect("a directory");
        let socket = place.path().join("notify");
        let listener = UnixDatagram::bind(&socket).expect("bind");
        listener.set_nonblocking(true).expect("a flag");
        let mut notifier = Notifier::new(Notify { socket, when }, true);
        health.iter().for_each(|health| notifier.is_up(*health));
        let mut buffer = [0; 64];
        let next =
            || listener.recv(&mut buffer).ok().map(|count| String::from_utf8_lossy(&buffer[..count]).into_owned());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn ready_is_told_once_and_in_time() {
        let (starting, healthy) = (Some(Health::Starting), Some(Health::Healthy));
        assert_eq!(told(ReadyWhen::Started, &[None, None]), ["READY=1"]);
        assert_eq!(told(ReadyWhen::Started, &[starting, healthy]), ["READY=1"]);
        assert_eq!(told(ReadyWhen::Healthy, &[starting, Some(Health::Unhealthy), healthy, healthy]), ["READY=1"]);
        assert_eq!(told(ReadyWhen::Healthy, &[None, starting]), Vec::<String>::new());
        assert_eq!(told(ReadyWhen::Told, &[None, healthy]), Vec::<String>::new());
    }

    #[test]
    fn sockets_without_a_file_are_found() {
        let name = format!("pybox-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("bind");
        Notifier::new(Notify { socket: format!("@{name}").into(), when: ReadyWhen::Started }, false).tell("STOPPING=1");
        let mut buffer = [0; 64];
        let count = listener.recv(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..count], b"STOPPING=1");
    }
}
