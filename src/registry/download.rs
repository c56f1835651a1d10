//! Files that are no images: what `ADD` of an address brings into a build.
//!
//! The same connections, proxies and certificates as for registries, and the same rules for redirects; no
//! logins. Who asks says how far a file may reach: a build file may be anybody's, and this machine's own
//! services answer only where the user has opened the host's network.

use bytes::Bytes;
use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Method, Request, Response, StatusCode, Url};

use super::client::Client;
use super::error::{Cause, RegistryError};
use super::resolve::{Reach, is_loopback_host, literal};
use super::tls::Trust;
use super::transport::{MAX_REDIRECTS, NoResponse, check_hop, redirect};

/// The largest file that is taken.
pub const LIMIT: u64 = 10 << 30;

/// Which version of a file is known, in the words of who serves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Version {
    /// The `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<String>,
}

/// What is there.
#[derive(Debug)]
pub enum Found {
    /// The version that is known.
    Known,
    /// Another one.
    New(Box<Body>),
}

/// A file on its way.
#[derive(Debug)]
pub struct Body {
    /// Which version it is.
    pub version: Version,
    response: Response,
    host: String,
    stall: std::time::Duration,
    came: u64,
}

/// Why a file does not come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// What is written is no address of a file.
    #[error("{url:?} is no address: {why}")]
    Address {
        /// What is written.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// We would not go there.
    #[error("download from {host}: {why}")]
    Refused {
        /// Host and port.
        host: String,
        /// Why not.
        why: String,
    },
    /// No connection, or none that stayed.
    #[error("reach {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// The file is not there, or not for us.
    #[error("download from {host}: it answers {status} for {path}")]
    Status {
        /// Host and port.
        host: String,
        /// The path that was asked for.
        path: String,
        /// HTTP status.
        status: u16,
    },
    /// Nothing came any more.
    #[error("download from {host}: nothing came in {} s", after.as_secs())]
    Stalled {
        /// Host and port.
        host: String,
        /// How long we waited.
        after: std::time::Duration,
    },
    /// More than we take, or less than was promised.
    #[error("download from {host}: {why}")]
    Size {
        /// Host and port.
        host: String,
        /// What is wrong.
        why: String,
    },
}

impl Client {
    /// Asks for the file at `address`, unless it is the version that is known.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub async fn download(&self, address: &str, known: Option<&Version>, reach: Reach) -> Result<Found, DownloadError> {
        let start = parse(address)?;
        let (mut url, headers) = (start.clone(), conditions(known));
        check_literal(&start, reach)?;
        for _ in 0..=MAX_REDIRECTS {
            let host = host_of(&url);
            let response = self.hop(&url, &start, (&headers, reach)).await?;
            let refuse = |why| DownloadError::Refused { host: host.clone(), why };
            let Some(next) = redirect(&response, &Method::GET).map_err(refuse)? else {
                return self.found(response, host, known.is_some());
            };
            let refuse =
                |why: String| DownloadError::Refused { host: host.clone(), why: format!("its redirect: {why}") };
            check_hop(&url, &next, &start).map_err(refuse)?;
            url = next;
        }
        let why = format!("more than {MAX_REDIRECTS} redirects in a row");
        Err(DownloadError::Refused { host: host_of(&start), why })
    }

    async fn hop(
        &self,
        url: &Url,
        start: &Url,
        (headers, reach): (&HeaderMap, Reach),
    ) -> Result<Response, DownloadError> {
        let reach = match (url.origin() == start.origin(), is_loopback_host(start.host_str().unwrap_or_default())) {
            (true, _) => reach,
            (false, true) => Reach::WithLoopback,
            (false, false) => Reach::Outside,
        };
        let host = host_of(url);
        let trust = if url.scheme() == "https" { Trust::Authorities } else { Trust::Nobody };
        let mut request = Request::new(Method::GET, url.clone());
        *request.headers_mut() = headers.clone();
        self.transport.send(&host, request, reach, trust).await.map_err(|error| match error {
            NoResponse::Refused(RegistryError::RedirectRefused { why, .. }) => {
                DownloadError::Refused { host: host.clone(), why }
            }
            other => match other.into_error() {
                RegistryError::Unreachable { source, .. } | RegistryError::Setup { source, .. } => {
                    DownloadError::Unreachable { host: host.clone(), source }
                }
                error => DownloadError::Refused { host: host.clone(), why: error.to_string() },
            },
        })
    }

    fn found(&self, response: Response, host: String, is_known: bool) -> Result<Found, DownloadError> {
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && is_known {
            return Ok(Found::Known);
        }
        if status != StatusCode::OK {
            let path = response.url().path().to_owned();
            return Err(DownloadError::Status { host, path, status: status.as_u16() });
        }
        if response.content_length().is_some_and(|length| length > LIMIT) {
            return Err(too_large(host));
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let version = Version { etag: header(ETAG), modified: header(LAST_MODIFIED) };
        let stall = self.transport.timing.stall;
        Ok(Found::New(Box::new(Body { version, response, host, stall, came: 0 })))
    }
}

impl Body {
    /// The next bytes; none at the end of the file.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let host = || self.host.clone();
        let chunk = match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => {
                return Err(DownloadError::Unreachable { host: host(), source: error.without_url().into() });
            }
            Err(_) => return Err(DownloadError::Stalled { host: host(), after: self.stall }),
        };
        let Some(chunk) = chunk else { return Ok(None) };
        self.came = self.came.saturating_add(chunk.len() as u64);
        if self.came > LIMIT { Err(too_large(host())) } else { Ok(Some(chunk)) }
    }
}

/// The last part of the path of an address, if it has one: what its file is called.
///
/// # Errors
/// [`DownloadError::Address`].
pub fn file_name(address: &str) -> Result<Option<String>, DownloadError> {
    let url = parse(address)?;
    let last = url.path().rsplit('/').next().unwrap_or_default();
    let name = percent_decoded(last);
    let plain = !name.is_empty() && !matches!(name.as_str(), "." | "..") && !name.contains(['/', '\0']);
    Ok(plain.then_some(name))
}

fn percent_decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(address: &str) -> Result<Url, DownloadError> {
    let wrong = |why: &str| DownloadError::Address { url: shown(address), why: why.to_owned() };
    let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it is neither http nor https"));
    }
    // It would stand in the image's history.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it has a user name in it"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// Without its query, which may bear a signature, and without a login.
fn shown(address: &str) -> String {
    let text = address.split(['?', '#']).next().unwrap_or_default();
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => text.to_owned(),
    }
}

/// An address in place of a name is asked of no resolver.
fn check_literal(url: &Url, reach: Reach) -> Result<(), DownloadError> {
    let host = url.host_str().unwrap_or_default();
    let Some(address) = literal(host) else { return Ok(()) };
    let refuse = |error: super::resolve::RefusedAddress| error.to_string();
    let checked = reach.check(host, address).map_err(refuse);
    checked.map_err(|why| DownloadError::Refused { host: host_of(url), why })
}

fn conditions(known: Option<&Version>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(known) = known else { return headers };
    for (name, text) in [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.modified)] {
        if let Some(value) = text.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn too_large(host: String) -> DownloadError {
    DownloadError::Size { host, why: format!("it is larger than {} GiB", LIMIT >> 30) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_are_called() {
        for (address, name) in [
            ("https://h.example/a/b.tar.gz?token=x#y", Some("b.tar.gz")),
            ("https://h.example/a%20b", Some("a b")),
            ("https://h.example/x/..%2f..%2fetc", None),
            ("https://h.example/x/%2e%2e", None),
            ("https://h.example/", None),
            ("https://h.example", None),
        ] {
            assert_eq!(file_name(address).expect(address).as_deref(), name, "{address}");
        }
        for (address, why) in [
            ("file:///etc/passwd", "neither http nor https"),
            ("ftp://h.example/x", "neither http nor https"),
            ("https://u:p@h.example/x?q=secret", "has a user name"),
            ("https://", "no address"),
        ] {
            let error = file_name(address).expect_err(address).to_string();
            assert!(error.contains(why) && !error.contains("u:p") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn this_machine_answers_only_whom_the_user_lets() {
        for (address, reach, allowed) in [
            ("http://127.0.0.1:80/x", Reach::Outside, false),
            ("http://[::1]/x", Reach::Outside, false),
            ("http://169.254.169.254/x", Reach::Outside, false),
            ("http://127.0.0.1:80/x", Reach::Any, true),
            ("http://10.0.0.1/x", Reach::Outside, true),
        ] {
            let url = Url::parse(address).expect("an address");
            assert_eq!(check_literal(&url, reach).is_ok(), allowed, "{address}");
        }
    }
}
