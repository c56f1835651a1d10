//! One HTTP request and its redirects.
//!
//! reqwest brings bytes and TLS; what may be asked, with which header, at
//! which address, is decided here, hop by hop. reqwest's own redirects, its
//! proxies from the environment and its resolver are switched off.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Request, Response, Url};

use super::certificates::HostCertificates;
use super::client::{Proxies, Timing};
use super::content::Content;
use super::error::{Cause, RegistryError, excerpt};
use super::resolve::{Names, Reach, RefusedAddress, is_loopback_host, literal};
use super::secret::Secret;
use super::tls::{self, Trust};

/// Most redirects of one request.
pub(crate) const MAX_REDIRECTS: u32 = 5;
/// How often somebody looks how far a body is.
const TICK: Duration = Duration::from_millis(100);
/// How many times longer than for anything else a registry is waited for that has all of a blob:
/// it moves it to its place and hashes it.
const DIGESTION: u32 = 10;

/// Connections, made when first needed and kept for the client's life.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) certs_dirs: Vec<PathBuf>,
    pub(crate) user_agent: String,
    pub(crate) proxies: Proxies,
    pub(crate) timing: Timing,
    names: Names,
    clients: Mutex<HashMap<ClientKey, reqwest::Client>>,
}

/// Hosts share no client: each has its own certificates, and its own reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientKey {
    authority: String,
    reach: Reach,
    trust: Trust,
}

/// One thing to ask a registry for, or to send there.
pub(crate) struct Ask<'a> {
    /// The registry as messages call it.
    pub(crate) registry: &'a str,
    /// What to do.
    pub(crate) method: Method,
    /// Where to begin.
    pub(crate) url: Url,
    /// An address at the registry that the user named: what is of the user's goes to its origin only.
    pub(crate) named: &'a Url,
    /// Sent on each hop.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) content: Content,
    /// Hears how many bytes of the body have gone.
    pub(crate) tell: &'a dyn Fn(u64),
    /// Sent as long as the origin is the one of `named`.
    pub(crate) authorization: Option<Secret<HeaderValue>>,
    /// Whose certificates do, at the origin of `named`.
    pub(crate) trust: Trust,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum NoResponse {
    /// Nobody listens, or the name is unknown: the request was never sent.
    NotConnected(RegistryError),
    /// The connection broke, or nothing came in time.
    Broken(RegistryError),
    /// We would not ask, or not follow.
    Refused(RegistryError),
}

impl NoResponse {
    /// The error alone.
    pub(crate) fn into_error(self) -> RegistryError {
        match self {
            Self::NotConnected(error) | Self::Broken(error) | Self::Refused(error) => error,
        }
    }
}

impl Transport {
    /// A transport without connections.
    pub(crate) fn new(certs_dirs: Vec<PathBuf>, user_agent: String, proxies: Proxies, timing: Timing) -> Self {
        let (names, clients) = (Names::new(proxies.hosts()), Mutex::default());
        Self { certs_dirs, user_agent, proxies, timing, names, clients }
    }

    /// Does what `ask` says and follows redirects; the response may have any status but
    /// those of a redirect.
    pub(crate) async fn exchange(&self, ask: Ask<'_>) -> Result<Response, NoResponse> {
        let origin = ask.named.origin();
        let local = is_loopback_host(ask.named.host_str().unwrap_or_default());
        let mut url = ask.url.clone();
        if url.origin() != origin {
            // A place for uploads that the registry names is a redirect like any other.
            check_hop(ask.named, &url, ask.named).map_err(|why| refused(ask.registry, why))?;
        }
        let mut authorization = ask.authorization.as_ref().filter(|_| url.origin() == origin);
        for _ in 0..=MAX_REDIRECTS {
            // What the user named may be anywhere; what a registry names may not.
            let (reach, trust) = match (url.origin() == origin, local) {
                (true, _) => (Reach::Any, ask.trust),
                (false, true) => (Reach::WithLoopback, Trust::Authorities),
                (false, false) => (Reach::Outside, Trust::Authorities),
            };
            let sent = Arc::new(AtomicU64::new(0));
            let mut request = Request::new(ask.method.clone(), url.clone());
            *request.headers_mut() = ask.headers.clone();
            if !is_question(&ask.method) {
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(ask.content.length()));
                *request.body_mut() = ask.content.body(&sent);
            }
            if let Some(value) = authorization {
                request.headers_mut().insert(AUTHORIZATION, value.expose().clone());
            }
            let flow = Flow { sent: &sent, length: ask.content.length(), tell: ask.tell };
            let response = self.send_watched(ask.registry, request, (reach, trust), Some(flow)).await?;
            let next = redirect(&response, &ask.method).map_err(|why| refused(ask.registry, why))?;
            let Some(next) = next else { return Ok(response) };
            check_hop(&url, &next, ask.named).map_err(|why| refused(ask.registry, why))?;
            if next.origin() != url.origin() {
                authorization = None;
            }
            url = next;
        }
        Err(refused(ask.registry, format!("there are more than {MAX_REDIRECTS} of them in a row")))
    }

    /// Sends one request and follows nothing.
    pub(crate) async fn send(
        &self,
        registry: &str,
        request: Request,
        reach: Reach,
        trust: Trust,
    ) -> Result<Response, NoResponse> {
        self.send_watched(registry, request, (reach, trust), None).await
    }

    async fn send_watched(
        &self,
        registry: &str,
        request: Request,
        (reach, trust): (Reach, Trust),
        flow: Option<Flow<'_>>,
    ) -> Result<Response, NoResponse> {
        let client = self.client(registry, request.url(), reach, trust).map_err(NoResponse::Refused)?;
        let unreachable = |source: Cause| RegistryError::Unreachable { registry: registry.to_owned(), source };
        // Without its query, which may bear a signature.
        let (host, path) = (authority(request.url()), request.url().path().to_owned());
        let method = request.method().clone();
        let digests = matches!(method, Method::PUT | Method::PATCH);
        let patience = if digests { self.timing.stall * DIGESTION } else { self.timing.stall };
        match self.wait(client.execute(request), patience, flow).await {
            Some(Ok(response)) => {
                tracing::debug!("{method} {host}{path}: {}", response.status());
                Ok(response)
            }
            Some(Err(error)) => {
                // Its address may bear the signature that a redirect gave us: keep it out of messages.
                let error = error.without_url();
                match refused_address(&error) {
                    Some(why) => Err(refused(registry, why)),
                    None if error.is_connect() => Err(NoResponse::NotConnected(unreachable(root_cause(&error)))),
                    None => Err(NoResponse::Broken(unreachable(root_cause(&error)))),
                }
            }
            None => {
                let after = self.timing.stall.as_secs();
                Err(NoResponse::Broken(unreachable(format!("no answer within {after} s").into())))
            }
        }
    }

    /// Waits for the answer; none if nothing moves. As long as a body flows there is progress, and
    /// once all of it has gone the other side has `patience` to answer.
    async fn wait<T>(&self, answer: impl Future<Output = T>, patience: Duration, flow: Option<Flow<'_>>) -> Option<T> {
        let Some(flow) = flow else { return tokio::time::timeout(self.timing.stall, answer).await.ok() };
        let mut answer = std::pin::pin!(answer);
        let tick = TICK.min(self.timing.stall);
        let (mut last, mut quiet) = (0, Duration::ZERO);
        loop {
            if let Ok(answer) = tokio::time::timeout(tick, &mut answer).await {
                return Some(answer);
            }
            let sent = flow.sent.load(Ordering::Relaxed);
            if sent != last {
                (last, quiet) = (sent, Duration::ZERO);
                (flow.tell)(sent);
                continue;
            }
            quiet += tick;
            if quiet >= if sent == flow.length { patience } else { self.timing.stall } {
                return None;
            }
        }
    }

    fn client(&self, registry: &str, url: &Url, reach: Reach, trust: Trust) -> Result<reqwest::Client, RegistryError> {
        let authority = authority(url);
        let key = ClientKey { authority: authority.clone(), reach, trust };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let setup = |source: Cause| RegistryError::Setup { registry: registry.to_owned(), source };
        let (trust, certificates) = if url.scheme() == "https" {
            (trust, HostCertificates::read(&authority, &self.certs_dirs)?)
        } else {
            (Trust::Nobody, HostCertificates::default())
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(self.user_agent.clone())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(self.timing.connect)
            .dns_resolver(Arc::new(self.names.within(reach)))
            .tls_backend_preconfigured(tls::settings(trust, certificates).map_err(setup)?);
        if !is_loopback_host(url.host_str().unwrap_or_default()) {
            for proxy in self.proxies.make().map_err(|error| setup(error.into()))? {
                builder = builder.proxy(proxy);
            }
        }
        let client = builder.build().map_err(|error| setup(error.into()))?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// Whether certs.d has anything for `authority`.
    pub(crate) fn has_certificates(&self, authority: &str) -> Result<bool, RegistryError> {
        HostCertificates::read(authority, &self.certs_dirs).map(|found| !found.is_empty())
    }
}

/// A body on its way.
struct Flow<'a> {
    sent: &'a AtomicU64,
    length: u64,
    tell: &'a dyn Fn(u64),
}

/// Whether a request only asks: it has no body, and may be made anew wherever a redirect leads.
fn is_question(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// Host and port as certs.d names them: without the port that the scheme implies.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn refused(registry: &str, why: String) -> NoResponse {
    NoResponse::Refused(RegistryError::RedirectRefused { registry: registry.to_owned(), why })
}

/// What is at the bottom of `error`: "connection refused", where the layers above
/// it say that they could not send a request.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> Cause {
    let bottom = std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error);
    match bottom.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(kind @ (std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset)) => {
            kind.to_string().into()
        }
        _ => bottom.to_string().into(),
    }
}

/// The message of a [`RefusedAddress`] in the chain of causes.
fn refused_address(error: &reqwest::Error) -> Option<String> {
    let first: Option<&(dyn std::error::Error + 'static)> = Some(error);
    std::iter::successors(first, |error| error.source())
        .find_map(|error| error.downcast_ref::<RefusedAddress>())
        .map(ToString::to_string)
}

/// The place that `response` sends us to, if it is a redirect.
pub(crate) fn redirect(response: &Response, method: &Method) -> Result<Option<Url>, String> {
    match response.status().as_u16() {
        307 | 308 => {}
        301..=303 if is_question(method) => {}
        // Everybody makes a GET of such a request (RFC 9110, section 15.4), which is not what we want.
        301..=303 => return Err(format!("it may not lead a {method} elsewhere")),
        _ => return Ok(None),
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or("it says not where to")?;
    response.url().join(location).map(Some).map_err(|_| format!("{:?} is no URL", excerpt(location)))
}

/// The rules of one hop from `from` to `to`, on the way from `start`.
pub(crate) fn check_hop(from: &Url, to: &Url, start: &Url) -> Result<(), String> {
    if !to.username().is_empty() || to.password().is_some() {
        return Err("it has a user name in it".into());
    }
    let host = to.host_str().unwrap_or_default();
    let start_host = start.host_str().unwrap_or_default();
    match (from.scheme(), to.scheme()) {
        (_, "https") => {}
        ("http", "http") if host == start_host || (is_loopback_host(host) && is_loopback_host(start_host)) => {}
        (from, to) => return Err(format!("it leads from {from} to {to} ({})", excerpt(host))),
    }
    if to.origin() == start.origin() {
        return Ok(());
    }
    let reach = if is_loopback_host(start_host) { Reach::WithLoopback } else { Reach::Outside };
    match literal(host) {
        Some(address) => reach.check(host, address).map_err(|error| error.to_string()),
        None if is_loopback_host(host) && reach == Reach::Outside => Err("it leads to this machine".into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_the_resolver_refuses_is_a_refusal() {
        let transport = Transport::new(Vec::new(), "test".into(), Proxies::default(), Timing::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = Url::parse(&format!("http://localhost:{port}/")).unwrap();
        let outcome = transport.send("r", Request::new(Method::GET, url), Reach::Outside, Trust::Nobody).await;
        let Err(NoResponse::Refused(error)) = outcome else { panic!("{outcome:?}") };
        assert!(error.to_string().contains("127.0.0.1, which is a loopback address"), "{error}");
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody has connected");
    }

    #[test]
    fn hops_that_are_followed_and_not() {
        for (from, to, start, followed) in [
            ("https://r.example/v2/", "https://cdn.example/x?sig=1", "https://r.example/v2/", true),
            ("https://r.example/v2/", "https://r.example:8443/x", "https://r.example/v2/", true),
            ("https://r.example/v2/", "https://10.0.0.3/x", "https://r.example/v2/", true),
            ("http://127.0.0.1:5000/a", "http://127.0.0.1:5001/b", "http://127.0.0.1:5000/a", true),
            ("http://lan.example/a", "http://lan.example:81/b", "http://lan.example/a", true),
            ("http://127.0.0.1:5000/a", "https://cdn.example/b", "http://127.0.0.1:5000/a", true),
            ("https://r.example/", "http://r.example/", "https://r.example/", false),
            ("https://cdn.example/", "http://127.0.0.1/", "http://127.0.0.1/", false),
            ("http://127.0.0.1/", "http://elsewhere.example/", "http://127.0.0.1/", false),
            ("http://lan.example/a", "http://other.example/b", "http://lan.example/a", false),
            ("https://r.example/", "https://user@r.example/", "https://r.example/", false),
            ("https://r.example/", "https://169.254.169.254/", "https://r.example/", false),
            ("https://r.example/", "https://127.0.0.1/", "https://r.example/", false),
            ("https://r.example/", "https://localhost/", "https://r.example/", false),
            ("https://r.example/", "https://[::1]/", "https://r.example/", false),
            ("https://r.example/", "ftp://r.example/", "https://r.example/", false),
            ("https://r.example/", "file:///etc/passwd", "https://r.example/", false),
            ("http://127.0.0.1/", "https://169.254.169.254/", "http://127.0.0.1/", false),
        ] {
            let url = |text: &str| Url::parse(text).unwrap();
            assert_eq!(check_hop(&url(from), &url(to), &url(start)).is_ok(), followed, "{from} -> {to}");
        }
    }
}
