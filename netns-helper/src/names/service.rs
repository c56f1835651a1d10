//! One address at which a network asks: a task for its datagrams, one for its
//! streams. Both end, with all that they have begun, when they are aborted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::quota::{Place, Quota};
use super::reply::{Answer, answer, failed, fitting};
use super::server::{Outside, Zones};
use super::upstream::{Transport, ask, read_message, write_message};

/// The longest query that is read of a datagram; longer ones are wrong anyway.
const LONGEST_QUERY: usize = 4096;

/// Questions for the outside that one address, and one asker of it, may have under way.
const QUESTIONS: (usize, usize) = (128, 32);

/// Streams that one address, and one asker of it, may have open.
const STREAMS: (usize, usize) = (64, 16);

/// How long a stream may say nothing, or not take what it is told.
const IDLE: Duration = Duration::from_secs(10);

/// A pause after an error of a socket that is not ours to mend, so that it is no busy loop.
const PAUSE: Duration = Duration::from_millis(50);

/// What the tasks of one network share.
#[derive(Clone)]
pub(super) struct Service {
    zone: Arc<str>,
    zones: Zones,
    outside: Outside,
    questions: Quota,
    streams: Quota,
    /// Places that all networks share: each holds a descriptor.
    limits: Limits,
}

/// How much all networks together may have under way.
#[derive(Clone)]
pub(super) struct Limits {
    questions: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self { questions: Arc::new(Semaphore::new(384)), streams: Arc::new(Semaphore::new(192)) }
    }
}

/// What comes of a query.
enum Outcome {
    Reply(Vec<u8>),
    Forward,
    Nothing,
}

impl Service {
    pub(super) fn new(zone: &str, zones: Zones, outside: Outside, limits: Limits) -> Self {
        Self {
            zone: zone.into(),
            zones,
            outside,
            questions: Quota::new(QUESTIONS.0, QUESTIONS.1),
            streams: Quota::new(STREAMS.0, STREAMS.1),
            limits,
        }
    }

    /// Answers datagrams, for ever.
    pub(super) async fn datagrams(self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut under_way = JoinSet::new();
        let mut room = vec![0; LONGEST_QUERY];
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut room) => received,
                Some(_) = under_way.join_next() => continue,
            };
            let Ok((length, asker)) = received else {
                sleep(PAUSE).await;
                continue;
            };
            let query = room.get(..length).unwrap_or_default();
            match self.consider(query, asker) {
                // A reply that the kernel has no room for is as lost as one on the wire: it is asked for again.
                Outcome::Reply(reply) => drop(socket.try_send_to(&fitting(reply, query), asker)),
                Outcome::Nothing => {}
                Outcome::Forward => {
                    // Who has too much under way is not answered, and so asks again later.
                    if let Some(place) = self.questions.take(asker.ip()) {
                        let (service, socket, query) = (self.clone(), Arc::clone(&socket), query.to_vec());
                        under_way.spawn(async move {
                            if let Some(reply) = service.forward(&query, Transport::Udp, place).await {
                                drop(socket.send_to(&fitting(reply, &query), asker).await);
                            }
                        });
                    }
                }
            }
        }
    }

    /// Answers streams, for ever.
    pub(super) async fn streams(self, listener: TcpListener) {
        let mut under_way = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = under_way.join_next() => continue,
            };
            let Ok((stream, asker)) = accepted else {
                sleep(PAUSE).await;
                continue;
            };
            let shared = Arc::clone(&self.limits.streams).try_acquire_owned();
            let (Some(place), Ok(shared)) = (self.streams.take(asker.ip()), shared) else { continue };
            let service = self.clone();
            under_way.spawn(async move {
                // How a stream ends is its asker's affair.
                drop(service.stream(stream, asker).await);
                drop((place, shared));
            });
        }
    }

    async fn stream(&self, mut stream: TcpStream, asker: SocketAddr) -> io::Result<()> {
        loop {
            let query = timeout(IDLE, read_message(&mut stream)).await??;
            let reply = match self.consider(&query, asker) {
                Outcome::Reply(reply) => Some(reply),
                Outcome::Nothing => None,
                Outcome::Forward => match self.questions.take(asker.ip()) {
                    Some(place) => self.forward(&query, Transport::Tcp, place).await,
                    None => reply_of(failed(&query, ResponseCode::ServFail)),
                },
            };
            let Some(reply) = reply else { return Ok(()) };
            timeout(IDLE, write_message(&mut stream, &reply)).await??;
        }
    }

    fn consider(&self, query: &[u8], asker: SocketAddr) -> Outcome {
        let zones = self.zones.read().unwrap_or_else(PoisonError::into_inner);
        let Some(zone) = zones.get(&*self.zone) else { return Outcome::Nothing };
        // Who is on several networks asks the name servers of all of them in turn, and believes the first.
        let own = zone.entries.iter().find(|entry| entry.addresses.contains(&asker.ip()));
        let also =
            own.iter().flat_map(|own| &own.also).filter_map(|name| zones.get(name)).flat_map(|zone| &zone.entries);
        match answer(query, zone.entries.iter().chain(also)) {
            Answer::Reply(reply) => Outcome::Reply(reply),
            Answer::Drop => Outcome::Nothing,
            Answer::Forward if zone.internal => {
                reply_of(failed(query, ResponseCode::NXDomain)).map_or(Outcome::Nothing, Outcome::Reply)
            }
            Answer::Forward => Outcome::Forward,
        }
    }

    /// What the outside says to a query, or that it says nothing.
    async fn forward(&self, query: &[u8], transport: Transport, place: Place) -> Option<Vec<u8>> {
        let shared = Arc::clone(&self.limits.questions).acquire_owned().await;
        let said = ask(query, &self.outside.servers(), transport).await;
        drop((place, shared));
        said.or_else(|| reply_of(failed(query, ResponseCode::ServFail)))
    }
}

fn reply_of(answer: Answer) -> Option<Vec<u8>> {
    match answer {
        Answer::Reply(reply) => Some(reply),
        Answer::Forward | Answer::Drop => None,
    }
}

/// Sockets for one address, made where the caller is.
pub(super) struct Sockets {
    datagrams: std::net::UdpSocket,
    streams: std::net::TcpListener,
}

impl Sockets {
    pub(super) fn bind(address: IpAddr, port: u16) -> io::Result<Self> {
        let datagrams = std::net::UdpSocket::bind((address, port))?;
        let streams = std::net::TcpListener::bind((address, port))?;
        datagrams.set_nonblocking(true)?;
        streams.set_nonblocking(true)?;
        Ok(Self { datagrams, streams })
    }

    /// Starts the tasks of `service` on these sockets.
    pub(super) fn serve(self, service: &Service, tasks: &mut JoinSet<()>) -> io::Result<()> {
        let datagrams = UdpSocket::from_std(self.datagrams)?;
        let streams = TcpListener::from_std(self.streams)?;
        tasks.spawn(service.clone().datagrams(datagrams));
        tasks.spawn(service.clone().streams(streams));
        Ok(())
    }
}
