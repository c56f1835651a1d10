//! One blob on its way to a registry, however often the connection breaks.
//!
//! # Order
//! 1. A blob that the repository has is not sent ([`Client::has_blob`]).
//! 2. One that another repository of the registry has is mounted from there.
//! 3. A small one goes in one request. A large one goes in chunks, and before the first
//!    request after a failure the registry is asked how much it has.
//!
//! An upload that the registry knows nothing of any more begins anew; some (distribution 2 is
//! one) forget it when a connection breaks within a chunk, and keep it between two. A registry
//! that takes no chunks is sent the whole in one request.

use std::cell::Cell;
use std::fs::File;
use std::sync::Arc;

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, Url};

use super::authorize::Rights;
use super::client::Client;
use super::content::Content;
use super::errand::{Errand, Place};
use super::error::RegistryError;
use super::fetch::Failure;
use super::retry::Again;
use super::target::Target;
use crate::model::digest::Digest;

/// Bytes of a large blob that are sent in one request, and the largest blob that goes in one.
/// More would be lost with a connection, less would wait for answers.
pub const CHUNK: u64 = 16 << 20;
/// The header in which a registry says how large chunks have to be (distribution-spec 1.1, "Pushing a blob in chunks").
const LEAST_CHUNK: &str = "oci-chunk-min-length";

/// A blob to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes.
    pub file: Arc<File>,
    /// A repository of the same registry that may have it.
    pub elsewhere: Option<String>,
}

/// What is heard of a blob on its way.
#[derive(Debug)]
pub enum Sending {
    /// So many bytes of it have gone.
    Bytes(u64),
    /// It failed; another try follows.
    Retrying {
        /// Which one it is going to be, from 2.
        attempt: u32,
        /// What went wrong.
        why: RegistryError,
    },
}

/// How a blob came to be in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It was there.
    Present,
    /// It came from this repository of the same registry.
    Mounted(String),
    /// We sent it.
    Sent,
}

impl Client {
    /// Sees to it that the repository has the blob.
    ///
    /// # Errors
    /// [`RegistryError`] after all tries.
    pub async fn send_blob(
        &self,
        target: &Target,
        blob: &Outgoing,
        tell: &dyn Fn(Sending),
    ) -> Result<Delivered, RegistryError> {
        if self.has_blob(target, &blob.digest).await? {
            return Ok(Delivered::Present);
        }
        let (what, furthest) = (format!("blob {}", blob.digest.short()), Cell::new(0));
        let mut upload = Upload {
            client: self,
            target,
            blob,
            what,
            tell,
            session: None,
            manner: Manner::Chunks,
            refusals: 0,
            furthest,
        };
        if let Some(from) = upload.mount().await {
            return Ok(Delivered::Mounted(from));
        }
        let mut attempts = self.attempts();
        loop {
            let reached = upload.furthest.get();
            let failure = match upload.attempt().await {
                Ok(delivered) => return Ok(delivered),
                Err(failure) => upload.consider(failure),
            };
            // What got further than any try before it makes up for failures.
            if upload.furthest.get() >= reached.saturating_add(self.chunk) {
                attempts = self.attempts();
            }
            let Some(pause) = attempts.next_pause(failure.again) else { return Err(failure.error) };
            tracing::debug!(error = %failure.error, ?pause, "sending on");
            tell(Sending::Retrying { attempt: attempts.number(), why: failure.error });
            tokio::time::sleep(pause).await;
        }
    }
}

/// How the blob goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// In chunks, if it is larger than one.
    Chunks,
    /// In one request: the registry takes no chunks.
    Whole,
}

/// An upload that the registry knows.
#[derive(Clone, Debug)]
struct Session {
    url: Url,
    /// How many bytes the registry has.
    offset: u64,
    /// How large a chunk has to be.
    least: u64,
    /// Whether this is what the registry said last, with nothing sent since.
    certain: bool,
}

struct Upload<'a> {
    client: &'a Client,
    target: &'a Target,
    blob: &'a Outgoing,
    what: String,
    tell: &'a dyn Fn(Sending),
    session: Option<Session>,
    manner: Manner,
    /// How often the registry refused a chunk after the first one.
    refusals: u32,
    /// How far a try has come.
    furthest: Cell<u64>,
}

impl Upload<'_> {
    async fn attempt(&mut self) -> Result<Delivered, Failure> {
        let mut session = match self.session.take() {
            Some(session) if session.certain => session,
            Some(session) => match self.locate(session).await? {
                Some(session) => session,
                // It may have come whole, and only the answer was lost.
                None if self.client.has_blob(self.target, &self.blob.digest).await? => return Ok(Delivered::Sent),
                None => self.begin().await?,
            },
            None => self.begin().await?,
        };
        let chunk = self.client.chunk.max(session.least);
        let whole = self.manner == Manner::Whole || self.blob.size <= chunk;
        if whole && session.offset > 0 {
            session = self.begin().await?;
        }
        while !whole && session.offset < self.blob.size {
            session = self.refreshed(session).await?;
            session = self.send_chunk(session, chunk).await?;
        }
        let content = if whole { self.part(0, self.blob.size) } else { Content::Nothing };
        if whole {
            session = self.refreshed(session).await?;
        }
        self.finish(session, content).await?;
        Ok(Delivered::Sent)
    }

    /// What a failure means for the next try.
    fn consider(&mut self, mut failure: Failure) -> Failure {
        let RegistryError::Rejected { status, code, .. } = &failure.error else { return failure };
        if matches!(code.as_str(), "DIGEST_INVALID" | "SIZE_INVALID" | "UNSUPPORTED") || failure.again != Again::Never {
            return failure;
        }
        let Some(session) = &self.session else { return failure };
        let in_chunks = self.manner == Manner::Chunks && self.blob.size > self.client.chunk.max(session.least);
        match status {
            // The registry dislikes the first chunk: perhaps all chunks.
            400 | 404 | 405 | 411 | 413 | 415 | 416 | 501 if in_chunks && session.offset == 0 => {
                self.manner = Manner::Whole;
            }
            // The upload is not what we think it is, or is gone; or every second chunk is disliked.
            400 | 404 | 410 | 416 => {
                self.refusals += 1;
                if self.refusals > 1 {
                    self.manner = Manner::Whole;
                }
            }
            _ => return failure,
        }
        self.session = None;
        failure.again = Again::Soon;
        failure
    }

    /// The repository from which the blob was mounted. Whatever goes wrong, it can be sent.
    async fn mount(&mut self) -> Option<String> {
        let from = self.blob.elsewhere.as_ref()?;
        let errand = Errand {
            endpoint: &self.target.0,
            rights: &Rights::Mount(from.clone()),
            method: Method::POST,
            place: Place::Path(format!("blobs/uploads/?mount={}&from={}", self.blob.digest, encoded(from))),
            what: &self.what,
            headers: HeaderMap::new(),
            content: Content::Nothing,
            tell: &|_| {},
        };
        match self.client.run(&errand).await {
            Ok(response) if response.status().as_u16() == 201 => return Some(from.clone()),
            // A registry that does not mount begins an upload instead.
            Ok(response) => self.session = self.session(&response).ok(),
            Err(failure) => tracing::debug!(error = %failure.error, from, "the blob is not mounted"),
        }
        None
    }

    async fn begin(&mut self) -> Result<Session, Failure> {
        self.session = None;
        let place = Place::Path("blobs/uploads/".to_owned());
        let response = self.run(Method::POST, place, (HeaderMap::new(), Content::Nothing), 0).await?;
        Ok(self.session(&response)?)
    }

    /// The upload that a response begins.
    fn session(&self, response: &Response) -> Result<Session, RegistryError> {
        let least = response.headers().get(LEAST_CHUNK).and_then(|value| value.to_str().ok()?.parse().ok());
        let (url, offset, certain) = (self.next_place(response)?, 0, true);
        // A registry that wants larger chunks than memory has does not matter: they are read as they go.
        Ok(Session { url, offset, least: least.unwrap_or_default(), certain })
    }

    /// Asks the registry how far the upload is; none if it does not know it any more.
    async fn locate(&mut self, session: Session) -> Result<Option<Session>, Failure> {
        // Until it has answered, the question stays.
        self.session = Some(session.clone());
        let asked =
            self.run(Method::GET, Place::Named(session.url.clone()), (HeaderMap::new(), Content::Nothing), 0).await;
        let response = match asked {
            Ok(response) => response,
            Err(Failure { error: RegistryError::Rejected { status: 400 | 404 | 410 | 416, .. }, .. }) => {
                self.session = None;
                return Ok(None);
            }
            Err(other) => return Err(other),
        };
        let offset = stored(&response).unwrap_or_default();
        tracing::debug!(blob = self.what, offset, "the registry has a part of it");
        let url = if response.headers().contains_key(LOCATION) { self.next_place(&response)? } else { session.url };
        self.session = None;
        Ok((offset <= self.blob.size).then_some(Session { url, offset, least: session.least, certain: true }))
    }

    /// The session with a token that is good for the next body: it would be sent in vain with one that has run out.
    async fn refreshed(&mut self, session: Session) -> Result<Session, Failure> {
        if !self.client.authorizer.has_run_out(&self.target.0, &Rights::Push) {
            return Ok(session);
        }
        match self.locate(session).await? {
            Some(session) => Ok(session),
            None => self.begin().await,
        }
    }

    async fn send_chunk(&mut self, session: Session, chunk: u64) -> Result<Session, Failure> {
        let length = chunk.min(self.blob.size - session.offset);
        let end = session.offset + length;
        let mut headers = octets();
        let range = format!("{}-{}", session.offset, end.saturating_sub(1));
        if let Ok(range) = HeaderValue::from_str(&range) {
            headers.insert(CONTENT_RANGE, range);
        }
        let content = self.part(session.offset, length);
        let place = Place::Named(session.url.clone());
        self.session = Some(Session { certain: false, ..session.clone() });
        let response = self.run(Method::PATCH, place, (headers, content), session.offset).await?;
        let offset = stored(&response).unwrap_or(end);
        if offset <= session.offset || offset > end {
            let message = format!("it has {offset} bytes after {end} were sent");
            return Err(Failure::soon(self.strange(&response, message)));
        }
        self.session = None;
        self.furthest.set(self.furthest.get().max(offset));
        (self.tell)(Sending::Bytes(offset));
        Ok(Session { url: self.next_place(&response)?, offset, least: session.least, certain: true })
    }

    async fn finish(&mut self, session: Session, content: Content) -> Result<(), Failure> {
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        self.session = Some(Session { certain: false, ..session });
        self.run(Method::PUT, Place::Named(url), (octets(), content), 0).await?;
        self.session = None;
        Ok(())
    }

    async fn run(
        &self,
        method: Method,
        place: Place,
        (headers, content): (HeaderMap, Content),
        before: u64,
    ) -> Result<Response, Failure> {
        let tell = |sent: u64| (self.tell)(Sending::Bytes(before.saturating_add(sent)));
        let (endpoint, rights, what) = (&self.target.0, &Rights::Push, self.what.as_str());
        self.client.run(&Errand { endpoint, rights, method, place, what, headers, content, tell: &tell }).await
    }

    fn part(&self, from: u64, length: u64) -> Content {
        if length == 0 { Content::Nothing } else { Content::Part { file: Arc::clone(&self.blob.file), from, length } }
    }

    /// Where the registry wants the next request.
    fn next_place(&self, response: &Response) -> Result<Url, RegistryError> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let joined = location.and_then(|location| response.url().join(location).ok());
        let url = joined.ok_or_else(|| self.strange(response, "it says not where to send it".to_owned()))?;
        Ok(secured(url, response.url()))
    }

    fn strange(&self, response: &Response, message: String) -> RegistryError {
        let (registry, status) = (self.target.registry().to_owned(), response.status().as_u16());
        RegistryError::Rejected { registry, what: self.what.clone(), status, code: String::new(), message }
    }
}

fn octets() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers
}

/// A registry behind a proxy may not know that it is spoken to over TLS, and names http places on its own host.
fn secured(mut url: Url, asked: &Url) -> Url {
    if url.scheme() == "http" && asked.scheme() == "https" && url.host_str() == asked.host_str() {
        let port = url.port().filter(|port| *port != 80).or(asked.port());
        if url.set_scheme("https").is_ok() {
            // An https address takes any port.
            let _ = url.set_port(port);
        }
    }
    url
}

/// How many bytes a registry says to have, in `Range: 0-LAST`.
fn stored(response: &Response) -> Option<u64> {
    parse_stored(response.headers().get(RANGE)?.to_str().ok()?)
}

fn parse_stored(header: &str) -> Option<u64> {
    let range = header.trim();
    let (first, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    let last: u64 = last.trim().parse().ok().filter(|_| first.trim() == "0")?;
    // `0-0` is how registries say "nothing": one byte alone is never sent in a chunk.
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

/// A repository's name in a query.
fn encoded(name: &str) -> String {
    name.replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_registries_say_they_have() {
        for (header, expected) in [
            ("0-1023", Some(1024)),
            ("bytes=0-1023", Some(1024)),
            ("0-0", Some(0)),
            ("5-9", None),
            ("0-", None),
            ("0--1", None),
            ("", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(parse_stored(header), expected, "{header:?}");
        }
    }

    #[test]
    fn places_stay_on_tls() {
        for (named, asked, expected) in [
            ("http://r.example/u?s=1", "https://r.example/v2/", "https://r.example/u?s=1"),
            ("http://r.example/u", "https://r.example:8443/v2/", "https://r.example:8443/u"),
            ("http://r.example:5000/u", "https://r.example:5000/v2/", "https://r.example:5000/u"),
            ("http://other.example/u", "https://r.example/v2/", "http://other.example/u"),
            ("http://r.example/u", "http://r.example/v2/", "http://r.example/u"),
        ] {
            let url = |text: &str| Url::parse(text).unwrap();
            assert_eq!(secured(url(named), &url(asked)).as_str(), expected, "{named}");
        }
    }
}
