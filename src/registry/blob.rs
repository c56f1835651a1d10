//! One blob as one clean stream, however often the connection breaks, and from
//! wherever it is to be had: a cache on disk, a mirror, the registry itself.
//!
//! The bytes that [`BlobStream::next`] gives are each given once and in order;
//! the stream ends well only if they have the size and the digest that were
//! asked for. Until then nothing of it may be believed.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::time::Instant;

use super::client::{Client, Source};
use super::error::RegistryError;
use super::fetch::{Failure, Question};
use super::registries::Endpoint;
use super::retry::Attempts;
use super::verify::Verifier;

/// How many bytes within the stall time count as progress: a server that
/// drips is given up like one that is silent.
pub const PROGRESS: u64 = 1024;
/// How many bytes of one connection make up for a failure before it.
const RECOVERED: u64 = 256 << 10;
/// Bytes that are read of a cached blob at once.
const PIECE: usize = 256 << 10;

/// What [`BlobStream::next`] has to tell.
#[derive(Debug)]
pub enum Step {
    /// The next bytes; never empty.
    Bytes(Bytes),
    /// The connection failed; the call after this one waits and asks again.
    Retrying {
        /// Which attempt it is going to be, from 2.
        attempt: u32,
        /// What went wrong.
        why: RegistryError,
    },
}

/// A blob on its way.
#[derive(Debug)]
pub struct BlobStream<'c> {
    client: &'c Client,
    endpoint: Endpoint,
    /// Where to ask when nothing more is to be hoped for there.
    others: VecDeque<Endpoint>,
    /// The blob, where it is in a cache; looked for once.
    cached: Cached,
    verifier: Verifier,
    attempts: Attempts,
    body: Option<Body>,
    /// Set where the server was caught sending other ranges than asked for.
    ranges: Ranges,
    /// How long to wait before anything else.
    pause: Option<Duration>,
    ended: bool,
}

/// Whether the blob is in a cache.
#[derive(Debug)]
enum Cached {
    Unknown,
    Here(File),
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ranges {
    Ask,
    Avoid,
}

/// One connection's part of the blob.
#[derive(Debug)]
struct Body {
    response: Response,
    /// Bytes to pass over: the server began before the place we are at.
    skip: u64,
    /// Bytes that were of use.
    useful: u64,
    /// Bytes since the last progress.
    since: u64,
    /// Time spent waiting for the server since the last progress; the time
    /// that the consumer takes for what it has does not count.
    waited: Duration,
}

impl<'c> BlobStream<'c> {
    pub(crate) fn new(client: &'c Client, source: Source, verifier: Verifier) -> Self {
        let attempts = attempts(client);
        let Source { endpoint, others } = source;
        let (others, cached, ranges) = (others.into(), Cached::Unknown, Ranges::Ask);
        Self { client, endpoint, others, cached, verifier, attempts, body: None, ranges, pause: None, ended: false }
    }

    /// How many bytes of the blob went by, those before the stream began included.
    pub fn position(&self) -> u64 {
        self.verifier.seen()
    }

    /// The next bytes or the next try; none when all came and were found to be right.
    ///
    /// # Errors
    /// [`RegistryError`] after all retries. What came before
    /// [`RegistryError::WrongDigest`] and [`RegistryError::TooLarge`] is to be
    /// thrown away; with other errors it may be kept and gone on from.
    pub async fn next(&mut self) -> Result<Option<Step>, RegistryError> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        loop {
            if self.ended {
                return Ok(None);
            }
            if self.body.is_none() && self.verifier.seen() == self.verifier.size() {
                self.verifier.finish()?;
                self.ended = true;
                return Ok(None);
            }
            let failure = match self.step().await {
                Ok(Some(bytes)) => return Ok(Some(Step::Bytes(bytes))),
                Ok(None) => continue,
                Err(failure) => failure,
            };
            if self.body.take().is_some_and(|body| body.useful >= RECOVERED) {
                self.attempts = attempts(self.client);
            }
            // All is here: that the connection then broke instead of ending does no harm.
            if self.verifier.seen() == self.verifier.size() && !matches!(failure.error, RegistryError::TooLarge { .. })
            {
                continue;
            }
            let Some(pause) = self.attempts.next_pause(failure.again) else {
                return self.elsewhere(failure.error).map(Some);
            };
            tracing::debug!(error = %failure.error, ?pause, at = self.verifier.seen(), "downloading on");
            self.pause = Some(pause);
            return Ok(Some(Step::Retrying { attempt: self.attempts.number(), why: failure.error }));
        }
    }

    /// The next bytes alone, retries passed over.
    ///
    /// # Errors
    /// As [`BlobStream::next`].
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match self.next().await? {
                Some(Step::Bytes(bytes)) => return Ok(Some(bytes)),
                Some(Step::Retrying { .. }) => {}
                None => return Ok(None),
            }
        }
    }

    /// Turns to the next place: a mirror need not have what the registry has.
    fn elsewhere(&mut self, why: RegistryError) -> Result<Step, RegistryError> {
        // Bytes too many may have come before they were found to be: they are the caller's already.
        let next = self.others.pop_front().filter(|_| !matches!(why, RegistryError::TooLarge { .. }));
        let Some(next) = next else { return Err(why) };
        tracing::warn!(mirror = self.endpoint.authority, next = next.authority, error = %why, "the mirror does not serve a blob");
        let attempt = self.attempts.number().saturating_add(1);
        (self.endpoint, self.attempts, self.ranges) = (next, attempts(self.client), Ranges::Ask);
        Ok(Step::Retrying { attempt, why })
    }

    /// The next bytes of a cached blob; none where there is no such one.
    async fn cached_bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        if matches!(self.cached, Cached::Unknown) {
            let (cache, digest) = (self.client.cache.clone(), self.verifier.digest().clone());
            let size = self.verifier.size();
            // It is hashed first, which takes as long as it is large.
            let found = tokio::task::spawn_blocking(move || cache.find(&digest, size)).await;
            self.cached = found.ok().flatten().map_or(Cached::No, Cached::Here);
        }
        let Cached::Here(file) = &self.cached else { return Ok(None) };
        let mut buffer = vec![0; PIECE];
        match file.read_at(&mut buffer, self.verifier.seen()) {
            Ok(count @ 1..) => {
                buffer.truncate(count);
                self.verifier.update(&buffer)?;
                Ok(Some(buffer.into()))
            }
            // Somebody cut it off meanwhile: the rest is the registry's to give.
            Ok(0) | Err(_) => {
                self.cached = Cached::No;
                Ok(None)
            }
        }
    }

    /// Connects, or reads a chunk; none where there is nothing to hand on yet.
    async fn step(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(bytes) = self.cached_bytes().await? {
            return Ok(Some(bytes));
        }
        let stall = self.client.transport.timing.stall;
        let Some(body) = &mut self.body else {
            let body = self.connect().await?;
            self.body = Some(body);
            return Ok(None);
        };
        let began = Instant::now();
        let patience = stall.saturating_sub(body.waited);
        let chunk = match tokio::time::timeout(patience, body.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => {
                let (registry, source) = (self.endpoint.authority.clone(), error.without_url().into());
                return Err(Failure::soon(RegistryError::Unreachable { registry, source }));
            }
            Err(_) => {
                let (registry, what) = (self.endpoint.authority.clone(), self.verifier.what());
                return Err(Failure::soon(RegistryError::Stalled { registry, what, bytes: PROGRESS, after: stall }));
            }
        };
        let Some(mut chunk) = chunk else {
            self.body = None;
            return if self.verifier.seen() == self.verifier.size() { Ok(None) } else { Err(self.truncated()) };
        };
        body.since = body.since.saturating_add(chunk.len() as u64);
        body.waited = body.waited.saturating_add(began.elapsed());
        if body.since >= PROGRESS {
            (body.since, body.waited) = (0, Duration::ZERO);
        }
        let skipped = body.skip.min(chunk.len() as u64);
        body.skip -= skipped;
        let chunk = chunk.split_off(usize::try_from(skipped).unwrap_or(chunk.len()));
        if chunk.is_empty() {
            return Ok(None);
        }
        self.verifier.update(&chunk)?;
        body.useful = body.useful.saturating_add(chunk.len() as u64);
        Ok(Some(chunk))
    }

    async fn connect(&mut self) -> Result<Body, Failure> {
        let from = if self.ranges == Ranges::Ask { self.verifier.seen() } else { 0 };
        let question = Question {
            endpoint: &self.endpoint,
            path: format!("blobs/{}", self.verifier.digest()),
            what: self.verifier.what(),
            accept: None,
            from,
        };
        let response = self.client.ask(&question).await?;
        let size = self.verifier.size();
        let skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if from > 0 && range_matches(&response, from, size) => 0,
            StatusCode::OK => self.verifier.seen(),
            // Another range than asked for, or "no such range": from the start, then, and to the same place.
            status => {
                self.ranges = Ranges::Avoid;
                let (registry, what) = (self.endpoint.authority.clone(), self.verifier.what());
                let message = format!("it does not send the bytes from {from} on");
                let error = RegistryError::Server { registry, what, status: status.as_u16(), message };
                return Err(if from > 0 { Failure::soon(error) } else { error.into() });
            }
        };
        let expected = size.saturating_sub(self.verifier.seen()).saturating_add(skip);
        match response.content_length() {
            Some(length) if length > expected => {
                Err(RegistryError::TooLarge { what: self.verifier.what(), limit: size }.into())
            }
            Some(length) if length < expected => {
                let actual = size.saturating_sub(expected).saturating_add(length);
                Err(RegistryError::Truncated { what: self.verifier.what(), expected: size, actual }.into())
            }
            _ => Ok(Body { response, skip, useful: 0, since: 0, waited: Duration::ZERO }),
        }
    }

    fn truncated(&self) -> Failure {
        let (expected, actual) = (self.verifier.size(), self.verifier.seen());
        Failure::soon(RegistryError::Truncated { what: self.verifier.what(), expected, actual })
    }
}

fn attempts(client: &Client) -> Attempts {
    let timing = client.transport.timing;
    Attempts::new(timing.retries, timing.pause, timing.longest_pause)
}

/// Whether a 206 holds the bytes from `from` to the end of `size`.
fn range_matches(response: &Response, from: u64, size: u64) -> bool {
    let header = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    header.and_then(parse_range).is_some_and(|(first, last, total)| {
        first == from && last.checked_add(1) == Some(size) && total.is_none_or(|total| total == size)
    })
}

/// `bytes FIRST-LAST/TOTAL`, where the total may be `*` (RFC 9110, section 14.4).
fn parse_range(header: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges() {
        for (header, expected) in [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("bytes 5-9/*", Some((5, 9, None))),
            ("bytes */10", None),
            ("bytes 5-/10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes 99999999999999999999-9/10", None),
            ("", None),
        ] {
            assert_eq!(parse_range(header), expected, "{header:?}");
        }
    }
}
