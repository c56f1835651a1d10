//! The server as its caller sees it: a thread that carries bytes, and what the
//! caller tells it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::reply::Entry;
use super::service::{Limits, Service, Sockets};
use crate::Error;

/// The port at which everybody asks for names.
const PORT: u16 = 53;

/// What is known of each network, by its name.
pub(super) type Zones = Arc<RwLock<HashMap<String, Zone>>>;

/// What is known of one network.
#[derive(Debug, Default)]
pub(super) struct Zone {
    pub(super) entries: Vec<Entry>,
    /// Whether nothing of it goes to the outside.
    pub(super) internal: bool,
    /// Where it asks.
    addresses: Vec<IpAddr>,
}

/// Whom to ask what nobody here knows.
#[derive(Clone)]
pub(super) struct Outside {
    upstreams: Arc<dyn Fn() -> Vec<SocketAddr> + Send + Sync>,
    zones: Zones,
}

impl Outside {
    /// The servers of the moment, without ourselves: a question to us would go round for ever.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        let mut servers = (self.upstreams)();
        let zones = self.zones.read().unwrap_or_else(PoisonError::into_inner);
        let own = |address: &IpAddr| zones.values().any(|zone| zone.addresses.contains(address));
        servers.retain(|server| server.port() != PORT || !own(&server.ip()));
        servers
    }
}

/// A name server for any number of networks, on a thread of its own, which ends when this is dropped.
///
/// A network is a zone here: it has entries ([`Server::set`]) and addresses at which it asks ([`Server::listen`]), in
/// any order. An address is listened at in the network namespace that the caller of `listen` is in; the outside is
/// asked from the one of who called it first.
pub struct Server {
    zones: Zones,
    outside: Outside,
    thread: Option<Thread>,
}

struct Thread {
    orders: UnboundedSender<Order>,
    handle: JoinHandle<()>,
}

/// What the thread is told; it answers when it is done.
enum Order {
    Serve { zone: String, sockets: Sockets, done: mpsc::Sender<io::Result<()>> },
    Forget { zone: String, done: mpsc::Sender<()> },
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("zones", &self.zones).finish_non_exhaustive()
    }
}

impl Server {
    /// A server that knows nobody and listens nowhere. `upstreams` is asked for each query that goes to the outside,
    /// on the server's thread, which waits for it; the servers are tried in its order.
    pub fn new(upstreams: impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        let zones = Zones::default();
        let outside = Outside { upstreams: Arc::new(upstreams), zones: Arc::clone(&zones) };
        Self { zones, outside, thread: None }
    }

    /// Answers a zone at port 53 of an address, over UDP and TCP. A zone may have several.
    pub fn listen(&mut self, zone: &str, address: IpAddr) -> Result<(), Error> {
        let at = SocketAddr::new(address, PORT);
        let sockets = Sockets::bind(address, PORT).map_err(|source| Error::Listen { address: at, source })?;
        let orders = self.orders()?.clone();
        self.zones_mut().entry(zone.to_owned()).or_default().addresses.push(address);
        let (done, answer) = mpsc::channel();
        let sent = orders.send(Order::Serve { zone: zone.to_owned(), sockets, done });
        let served = sent.map_err(|_| gone()).and_then(|()| answer.recv().map_err(|_| gone())?);
        if let Err(source) = served {
            self.zones_mut().entry(zone.to_owned()).or_default().addresses.retain(|own| *own != address);
            return Err(Error::Listen { address: at, source });
        }
        Ok(())
    }

    /// Says who is in a zone from now on.
    pub fn set(&self, zone: &str, entries: Vec<Entry>) {
        self.zones_mut().entry(zone.to_owned()).or_default().entries = entries;
    }

    /// Lets no query of a zone go to the outside from now on: what nobody there is called does not exist. A network
    /// that reaches nothing could else reach everything in the names that it asks for.
    pub fn keep_inside(&self, zone: &str) {
        self.zones_mut().entry(zone.to_owned()).or_default().internal = true;
    }

    /// Forgets a zone. When it returns nobody listens at its addresses.
    pub fn forget(&mut self, zone: &str) {
        self.zones_mut().remove(zone);
        let Some(thread) = &self.thread else { return };
        let (done, answer) = mpsc::channel();
        if thread.orders.send(Order::Forget { zone: zone.to_owned(), done }).is_ok() {
            // If the thread ends meanwhile, so do its sockets.
            let _ = answer.recv();
        }
    }

    fn zones_mut(&self) -> RwLockWriteGuard<'_, HashMap<String, Zone>> {
        self.zones.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the thread, which is started if there is none.
    fn orders(&mut self) -> Result<&UnboundedSender<Order>, Error> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => self.start().map_err(|source| Error::Thread { source })?,
        };
        Ok(&self.thread.insert(thread).orders)
    }

    fn start(&self) -> io::Result<Thread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, incoming) = unbounded_channel();
        let (zones, outside) = (Arc::clone(&self.zones), self.outside.clone());
        let work = move || runtime.block_on(obey(incoming, zones, outside));
        let handle = std::thread::Builder::new().name("names".to_owned()).spawn(work)?;
        Ok(Thread { orders, handle })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(thread.orders);
            // A panic there has been reported on its thread, and nothing is left to be done about it.
            drop(thread.handle.join());
        }
    }
}

/// Does as it is told until nobody is left who could tell it something.
async fn obey(mut orders: UnboundedReceiver<Order>, zones: Zones, outside: Outside) {
    let limits = Limits::new();
    let mut tasks: HashMap<String, (Service, JoinSet<()>)> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Serve { zone, sockets, done } => {
                let (service, running) = tasks.entry(zone).or_insert_with_key(|zone| {
                    let service = Service::new(zone, Arc::clone(&zones), outside.clone(), limits.clone());
                    (service, JoinSet::new())
                });
                drop(done.send(sockets.serve(service, running)));
            }
            Order::Forget { zone, done } => {
                if let Some((_, mut running)) = tasks.remove(&zone) {
                    running.shutdown().await;
                }
                let _ = done.send(());
            }
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread has ended")
}
