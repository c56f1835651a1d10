//! One question to a registry: authorisation, what the status means, whether
//! it is worth asking again.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Request, Response, StatusCode, Url};
use serde::Deserialize;

use super::authorize::Rights;
use super::client::Client;
use super::content::Content;
use super::error::{Cause, RegistryError, excerpt};
use super::registries::{Endpoint, Security};
use super::resolve::{Reach, is_loopback_host};
use super::retry::{Again, Attempts, retry_after};
use super::secret::Secret;
use super::tls::Trust;
use super::transport::{Ask, NoResponse};

/// Most bytes of an error document that are read.
const MAX_ERROR_BODY: u64 = 64 << 10;
/// How long an error document is waited for.
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(5);

/// What is asked for.
pub(crate) struct Question<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// Below `/v2/REPOSITORY/`.
    pub(crate) path: String,
    /// As a noun, for messages.
    pub(crate) what: String,
    pub(crate) accept: Option<String>,
    /// The first byte that is wanted.
    pub(crate) from: u64,
}

/// A document, whole.
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) content_type: Option<String>,
}

/// A failure, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: RegistryError,
    pub(crate) again: Again,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self { error, again: Again::Never }
    }
}

impl Failure {
    pub(crate) fn soon(error: RegistryError) -> Self {
        Self { error, again: Again::Soon }
    }
}

impl Client {
    /// Asks until there is an answer of at most `limit` bytes, or no hope.
    pub(crate) async fn ask_for_all(&self, question: &Question<'_>, limit: u64) -> Result<Answer, RegistryError> {
        let timing = self.transport.timing;
        let mut attempts = Attempts::new(timing.retries, timing.pause, timing.longest_pause);
        loop {
            let failure = match self.try_for_all(question, limit).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(pause) = attempts.next_pause(failure.again) else { return Err(failure.error) };
            tracing::debug!(error = %failure.error, ?pause, "asking again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_for_all(&self, question: &Question<'_>, limit: u64) -> Result<Answer, Failure> {
        let response = self.ask(question).await?;
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let reading = read_all(response, limit, &question.what);
        let registry = &question.endpoint.authority;
        match tokio::time::timeout(self.transport.timing.stall, reading).await {
            Ok(Ok(body)) => Ok(Answer { body, content_type }),
            Ok(Err(Unread::TooLarge)) => Err(RegistryError::TooLarge { what: question.what.clone(), limit }.into()),
            Ok(Err(Unread::Broken(source))) => {
                Err(Failure::soon(RegistryError::Unreachable { registry: registry.clone(), source }))
            }
            Err(_) => Err(Failure::soon(RegistryError::Stalled {
                registry: registry.clone(),
                what: question.what.clone(),
                bytes: limit,
                after: self.transport.timing.stall,
            })),
        }
    }

    /// Asks once, with authorisation; the response has status 200, 206 or 416.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<Response, Failure> {
        let endpoint = question.endpoint;
        let (base, trust) = self.base(endpoint).await?;
        let url = address(&base, endpoint, &question.path)?;
        let send = |authorization| self.send(question, url.clone(), trust, authorization);
        let response = self.with_authorization((endpoint, &Rights::Pull), (&url, trust), send).await?;
        judge(question, response).await
    }

    /// What `send` gets with the authorisation that the registry asks for, which is made where
    /// there is none yet. The status may still be 401.
    pub(crate) async fn with_authorization<S: Future<Output = Result<Response, Failure>>>(
        &self,
        (endpoint, rights): (&Endpoint, &Rights),
        asker: (&Url, Trust),
        send: impl Fn(Option<Secret<HeaderValue>>) -> S,
    ) -> Result<Response, Failure> {
        let mut authorization = self.authorizer.held(endpoint, rights);
        // Twice refused with fresh authorisation is refused: a third round would go on for ever.
        for _ in 0..2 {
            let response = send(authorization.clone()).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            let refused = (&response, authorization);
            authorization = Some(self.authorizer.answer(&self.transport, (endpoint, rights), asker, refused).await?);
        }
        send(authorization).await
    }

    async fn send(
        &self,
        question: &Question<'_>,
        url: Url,
        trust: Trust,
        authorization: Option<Secret<HeaderValue>>,
    ) -> Result<Response, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(accept) = question.accept.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(ACCEPT, accept);
        }
        if let (1.., Ok(range)) = (question.from, HeaderValue::from_str(&format!("bytes={}-", question.from))) {
            headers.insert(RANGE, range);
        }
        let registry = &question.endpoint.authority;
        let named = &url.clone();
        let (method, content) = (reqwest::Method::GET, Content::Nothing);
        self.exchange(Ask { registry, method, url, named, headers, content, tell: &|_| {}, authorization, trust }).await
    }

    /// Does what `ask` says, and tells which failures are worth another try.
    pub(crate) async fn exchange(&self, ask: Ask<'_>) -> Result<Response, Failure> {
        let registry = ask.registry;
        match self.transport.exchange(ask).await {
            Ok(response) => {
                self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.to_owned());
                Ok(response)
            }
            Err(NoResponse::Refused(error)) => Err(error.into()),
            Err(NoResponse::Broken(error)) => Err(Failure::soon(error)),
            // A registry that was never there is a wrong name more often than a bad moment.
            Err(NoResponse::NotConnected(error)) => {
                let known = self.answered.lock().unwrap_or_else(PoisonError::into_inner).contains(registry);
                Err(if known { Failure::soon(error) } else { error.into() })
            }
        }
    }

    /// How `endpoint` is spoken to: https; for an insecure host whatever answers,
    /// https first; http for loopback. Certificates in certs.d mean https in any case.
    pub(crate) async fn base(&self, endpoint: &Endpoint) -> Result<(Url, Trust), Failure> {
        let authority = &endpoint.authority;
        if let Some(known) = self.bases.lock().unwrap_or_else(PoisonError::into_inner).get(authority) {
            return Ok(known.clone());
        }
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{authority}/v2/"))
                .map_err(|error| RegistryError::Setup { registry: authority.clone(), source: error.into() })
        };
        let base = if self.transport.has_certificates(authority)? {
            (url("https")?, Trust::Authorities)
        } else if endpoint.security == Security::Insecure {
            let (https, http) = (url("https")?, url("http")?);
            let request = Request::new(reqwest::Method::GET, https.clone());
            match self.transport.send(authority, request, Reach::Any, Trust::Anybody).await {
                Ok(_) => (https, Trust::Anybody),
                Err(NoResponse::NotConnected(_)) => (http, Trust::Nobody),
                Err(other) => return Err(Failure::soon(other.into_error())),
            }
        } else if is_loopback_host(endpoint.host()) {
            (url("http")?, Trust::Nobody)
        } else {
            (url("https")?, Trust::Authorities)
        };
        self.bases.lock().unwrap_or_else(PoisonError::into_inner).insert(authority.clone(), base.clone());
        Ok(base)
    }
}

/// The address of `path` of the endpoint's repository.
pub(crate) fn address(base: &Url, endpoint: &Endpoint, path: &str) -> Result<Url, RegistryError> {
    base.join(&format!("/v2/{}/{path}", endpoint.repository))
        .map_err(|error| RegistryError::Setup { registry: endpoint.authority.clone(), source: error.into() })
}

/// Sorts a response by its status.
async fn judge(question: &Question<'_>, response: Response) -> Result<Response, Failure> {
    let registry = question.endpoint.authority.clone();
    let status = response.status();
    let pause = pause_asked(&response);
    match status.as_u16() {
        200 | 206 | 416 => return Ok(response),
        404 => return Err(RegistryError::NotFound { registry, what: question.what.clone() }.into()),
        401 | 403 => {
            let said = error_message(response).await;
            let why = if said.is_empty() { format!("it answers {status}") } else { said };
            let repository = question.endpoint.repository.clone();
            return Err(RegistryError::Unauthorized { registry, repository, why }.into());
        }
        429 => {
            let error = RegistryError::RateLimited { registry, retry_after: pause };
            return Err(Failure { error, again: pause.map_or(Again::Soon, Again::After) });
        }
        _ => {}
    }
    let again = match status.as_u16() {
        408 | 500 | 502 | 503 | 504 => pause.map_or(Again::Soon, Again::After),
        _ => Again::Never,
    };
    let message = error_message(response).await;
    let what = question.what.clone();
    Err(Failure { error: RegistryError::Server { registry, what, status: status.as_u16(), message }, again })
}

/// The pause of a `Retry-After` header.
pub(crate) fn pause_asked(response: &Response) -> Option<Duration> {
    let header = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    retry_after(header, time::OffsetDateTime::now_utc())
}

/// The registry's own words in an error document (distribution-spec, "Error
/// Codes"), or in one of a token server; empty where there are none.
pub(crate) async fn error_message(response: Response) -> String {
    let Said { code, message } = error_said(response).await;
    if message.is_empty() { code } else { message }
}

/// What an error document says; either may be empty.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// The code and the words of an error document.
pub(crate) async fn error_said(response: Response) -> Said {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<Item>,
        #[serde(default, alias = "details", alias = "error_description")]
        message: String,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let reading = read_all(response, MAX_ERROR_BODY, "error");
    let Ok(Ok(body)) = tokio::time::timeout(ERROR_BODY_PATIENCE, reading).await else { return Said::default() };
    let Ok(document) = serde_json::from_slice::<Document>(&body) else { return Said::default() };
    let first = document.errors.into_iter().next();
    let (code, message) = first.map_or((String::new(), document.message), |item| (item.code, item.message));
    Said { code: excerpt(&code), message: excerpt(&message) }
}

/// Why a body could not be read whole.
pub(crate) enum Unread {
    TooLarge,
    Broken(Cause),
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_all(mut response: Response, limit: u64, what: &str) -> Result<Bytes, Unread> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(Unread::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Unread::Broken(error.without_url().into()))? {
        if body.len() as u64 + chunk.len() as u64 > limit {
            tracing::debug!(what, limit, "the body is too large");
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
