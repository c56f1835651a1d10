//! From a 401 to an `Authorization` header.
//!
//! A header belongs to one repository of one registry and lives in memory
//! only. Credentials are looked for when a registry asks, not before: an
//! anonymous pull starts no credential helper.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Request, Response, Url};
use serde::Deserialize;

use super::auth_file::{AuthFile, Credentials, Place};
use super::challenge::{self, Challenge};
use super::credential_helper;
use super::error::{RegistryError, excerpt};
use super::fetch::{Failure, error_message, pause_asked, read_all};
use super::realm::{self, Asker, Sending};
use super::registries::Endpoint;
use super::resolve::is_loopback_host;
use super::retry::Again;
use super::secret::Secret;
use super::tls::Trust;
use super::transport::{NoResponse, Transport};

/// Largest answer of a token server, in bytes.
const MAX_TOKEN: u64 = 256 << 10;
/// How long a token lives that does not say (distribution's token specification).
const TOKEN_LIFE: Duration = Duration::from_secs(60);

type Header = Secret<HeaderValue>;

/// What a request needs to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// To be somebody: what a login is tried with.
    Login,
    /// To read the endpoint's repository.
    Pull,
    /// To write to it.
    Push,
    /// To write to it, and to read another one of the same registry.
    Mount(String),
}

impl Rights {
    /// The scopes of a token (distribution's token specification).
    fn scopes(&self, repository: &str) -> Vec<String> {
        match self {
            Self::Login => Vec::new(),
            Self::Pull => vec![format!("repository:{repository}:pull")],
            Self::Push => vec![format!("repository:{repository}:pull,push")],
            Self::Mount(from) => {
                vec![format!("repository:{repository}:pull,push"), format!("repository:{from}:pull")]
            }
        }
    }

    fn denied(&self) -> &'static str {
        match self {
            Self::Push | Self::Mount(_) => "the user may not push to it",
            Self::Login | Self::Pull => "the user may not pull from it",
        }
    }
}

/// Makes and keeps `Authorization` headers.
#[derive(Debug)]
pub(crate) struct Authorizer {
    auth_files: Vec<PathBuf>,
    helper_dirs: Vec<PathBuf>,
    allow_realm: Vec<String>,
    /// What is used instead of what is stored.
    pub(crate) given: Option<Credentials>,
    held: Mutex<HashMap<(String, String), Held>>,
    /// One at a time: three layers that meet a 401 together need one token.
    gate: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Held {
    header: Header,
    until: Option<Instant>,
}

/// What was found of the user's for a registry.
struct Found {
    credentials: Option<Credentials>,
    /// Why there may be more than was found.
    problem: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

impl Authorizer {
    pub(crate) fn new(auth_files: Vec<PathBuf>, helper_dirs: Vec<PathBuf>, allow_realm: Vec<String>) -> Self {
        let (held, gate) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { auth_files, helper_dirs, allow_realm, given: None, held, gate }
    }

    /// The header that was made for `endpoint` before, if it is still good.
    pub(crate) fn held(&self, endpoint: &Endpoint, rights: &Rights) -> Option<Header> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.get(&key(endpoint, rights))?;
        found.until.is_none_or(|until| Instant::now() < until).then(|| found.header.clone())
    }

    /// Whether there was a header, and it is good no longer: the next request will be refused once.
    pub(crate) fn has_run_out(&self, endpoint: &Endpoint, rights: &Rights) -> bool {
        let known = self.held.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key(endpoint, rights));
        known && self.held(endpoint, rights).is_none()
    }

    /// The header that answers the 401 in `refused`, which came although (if
    /// so) a header was sent; `asker` is the address that was asked and whose
    /// certificate was taken.
    pub(crate) async fn answer(
        &self,
        transport: &Transport,
        (endpoint, rights): (&Endpoint, &Rights),
        asker: (&Url, Trust),
        refused: (&Response, Option<Header>),
    ) -> Result<Header, Failure> {
        let _one_at_a_time = self.gate.lock().await;
        let (response, sent) = refused;
        if let Some(newer) = self.held(endpoint, rights).filter(|held| Some(held) != sent.as_ref()) {
            return Ok(newer);
        }
        let unauthorized = |why: String| RegistryError::Unauthorized {
            registry: endpoint.authority.clone(),
            repository: endpoint.repository.clone(),
            why,
        };
        // A challenge from where a redirect led is not the registry's, and nothing of the user's is for it.
        if response.url().origin() != asker.0.origin() {
            return Err(unauthorized("it sends us to a place that asks for a login of its own".into()).into());
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenge::choose(headers.filter_map(|value| value.to_str().ok()))
            .ok_or_else(|| unauthorized("it asks for a login of a kind that pybox does not know".into()))?;
        let Found { credentials, problem } = self.find(endpoint).await?;
        let explain = |why: &str| match &problem {
            Some(problem) => unauthorized(format!("{why} ({problem})")),
            None => unauthorized(why.to_owned()),
        };
        let held = match (challenge, credentials) {
            (Challenge::Basic, Some(Credentials::Password { user, password })) => {
                if sent.is_some() {
                    let which = if self.given.is_some() { "this" } else { "the stored" };
                    return Err(explain(&format!("it does not take {which} user name and password")).into());
                }
                if asker.0.scheme() != "https" && !is_loopback_host(endpoint.host()) {
                    return Err(explain("it wants a password over plain http, where anyone can read it").into());
                }
                Held { header: basic(&user, &password)?, until: None }
            }
            (Challenge::Basic, _) => return Err(explain("it asks for a user name and a password").into()),
            (Challenge::Bearer { error: Some(error), .. }, _) if sent.is_some() && error == "insufficient_scope" => {
                return Err(explain(rights.denied()).into());
            }
            (Challenge::Bearer { realm, service, .. }, credentials) => {
                let call = TokenCall { transport, endpoint, rights, asker, realm: &realm, service, credentials };
                call.run(&self.allow_realm).await.map_err(|failure| match failure.error {
                    RegistryError::Unauthorized { why, .. } => explain(&why).into(),
                    error => Failure { error, again: failure.again },
                })?
            }
        };
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(key(endpoint, rights), held.clone());
        Ok(held.header)
    }

    async fn find(&self, endpoint: &Endpoint) -> Result<Found, RegistryError> {
        if let Some(given) = &self.given {
            return Ok(Found { credentials: Some(given.clone()), problem: None });
        }
        let mut problem = None;
        for path in &self.auth_files {
            let Some(file) = AuthFile::read(path)? else { continue };
            let credentials = match file.look_up(&endpoint.name, &endpoint.repository) {
                None => None,
                Some(Place::Here(credentials)) => Some(credentials),
                Some(Place::Helper { name, server }) => {
                    // A broken helper must not be in the way of what is public.
                    let asked = credential_helper::get(&name, &server, &self.helper_dirs).await;
                    asked.unwrap_or_else(|error| {
                        tracing::warn!(%error, "no credentials from the helper");
                        problem = Some(error.to_string());
                        None
                    })
                }
            };
            if credentials.is_some() {
                return Ok(Found { credentials, problem: None });
            }
        }
        Ok(Found { credentials: None, problem })
    }
}

/// One call of a token server (distribution's token and oauth2 specifications).
struct TokenCall<'a> {
    transport: &'a Transport,
    endpoint: &'a Endpoint,
    rights: &'a Rights,
    asker: (&'a Url, Trust),
    realm: &'a str,
    service: Option<String>,
    credentials: Option<Credentials>,
}

impl TokenCall<'_> {
    async fn run(&self, allowed: &[String]) -> Result<Held, Failure> {
        let (registry_url, registry_trust) = self.asker;
        let host = registry_url.host_str().unwrap_or_default();
        let asker = Asker { host, plain_http: registry_url.scheme() == "http" };
        let sending = if self.credentials.is_some() { Sending::Credentials } else { Sending::Nothing };
        let url = realm::check(self.realm, &asker, sending, allowed)?;
        // What the user says of the registry's certificate holds for the registry alone.
        let trust = if url.origin() == registry_url.origin() { registry_trust } else { Trust::Authorities };
        let token_host = url.host_str().unwrap_or_default().to_owned();
        let request = self.request(url)?;
        let response = match self.transport.send(&token_host, request, asker.reach(), trust).await {
            Ok(response) => response,
            Err(NoResponse::Refused(RegistryError::RedirectRefused { why, .. })) => {
                return Err(self.refuse(why).into());
            }
            Err(NoResponse::Refused(error)) => return Err(error.into()),
            Err(NoResponse::Broken(error) | NoResponse::NotConnected(error)) => return Err(Failure::soon(error)),
        };
        self.read(response).await
    }

    /// The scope is the one we need, whatever the challenge suggests.
    fn request(&self, mut url: Url) -> Result<Request, RegistryError> {
        let scopes = self.rights.scopes(&self.endpoint.repository);
        let service = self.service.as_deref();
        if let Some(Credentials::IdentityToken(token)) = &self.credentials {
            let mut form = Url::parse("form:").map_err(|error| self.refuse(error.to_string()))?;
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("client_id", "pybox")
                .append_pair("scope", &scopes.join(" "))
                .append_pair("refresh_token", token.expose());
            let mut request = Request::new(Method::POST, url);
            let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, content_type);
            *request.body_mut() = form.query().map(|query| query.to_owned().into());
            return Ok(request);
        }
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        for scope in &scopes {
            url.query_pairs_mut().append_pair("scope", scope);
        }
        let password = match &self.credentials {
            Some(Credentials::Password { user, password }) => {
                url.query_pairs_mut().append_pair("account", user);
                Some(basic(user, password)?)
            }
            _ => None,
        };
        let mut request = Request::new(Method::GET, url);
        if let Some(header) = password {
            request.headers_mut().insert(AUTHORIZATION, header.expose().clone());
        }
        Ok(request)
    }

    async fn read(&self, response: Response) -> Result<Held, Failure> {
        let status = response.status();
        if status.is_redirection() {
            return Err(self.refuse("it redirects".into()).into());
        }
        let pause = pause_asked(&response);
        match status.as_u16() {
            200 => {}
            429 => {
                let error =
                    RegistryError::RateLimited { registry: self.endpoint.authority.clone(), retry_after: pause };
                return Err(Failure { error, again: pause.map_or(Again::Soon, Again::After) });
            }
            500..=599 => {
                let again = pause.map_or(Again::Soon, Again::After);
                return Err(Failure {
                    error: self.server_error(status.as_u16(), error_message(response).await),
                    again,
                });
            }
            _ => {
                let said = error_message(response).await;
                let said = if said.is_empty() { format!("it answers {status}") } else { said };
                return Err(self.unauthorized(format!("its token server gives no token: {said}")).into());
            }
        }
        let reading = tokio::time::timeout(self.transport.timing.stall, read_all(response, MAX_TOKEN, "token")).await;
        let Ok(Ok(body)) = reading else {
            return Err(Failure::soon(self.server_error(200, "the token did not come whole".into())));
        };
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| self.server_error(200, "the answer of the token server is no valid JSON".into()))?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
            .ok()
            .filter(|_| !token.is_empty())
            .ok_or_else(|| self.server_error(200, "the token server gives no token".into()))?;
        header.set_sensitive(true);
        let life = answer.expires_in.map_or(TOKEN_LIFE, Duration::from_secs).max(TOKEN_LIFE);
        // A day is longer than any pull; the margin is for the way of the next request.
        let life = life.min(Duration::from_secs(86_400)).saturating_sub(Duration::from_secs(10));
        Ok(Held { header: Secret::new(header), until: Instant::now().checked_add(life) })
    }

    fn refuse(&self, why: String) -> RegistryError {
        let registry = self.endpoint.authority.clone();
        RegistryError::RealmRefused { registry, realm: excerpt(self.realm), why }
    }

    fn unauthorized(&self, why: String) -> RegistryError {
        let (registry, repository) = (self.endpoint.authority.clone(), self.endpoint.repository.clone());
        RegistryError::Unauthorized { registry, repository, why }
    }

    fn server_error(&self, status: u16, message: String) -> RegistryError {
        RegistryError::Server { registry: self.endpoint.authority.clone(), what: "a token".into(), status, message }
    }
}

fn key(endpoint: &Endpoint, rights: &Rights) -> (String, String) {
    (endpoint.authority.clone(), rights.scopes(&endpoint.repository).join(" "))
}

fn basic(user: &str, password: &Secret<String>) -> Result<Header, RegistryError> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose()));
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}"))
        .map_err(|error| RegistryError::Setup { registry: "the registry".into(), source: error.into() })?;
    header.set_sensitive(true);
    Ok(Secret::new(header))
}
