//! One request of a push: authorisation, and what its status means.

use reqwest::header::HeaderMap;
use reqwest::{Method, Response, Url};

use super::authorize::Rights;
use super::client::Client;
use super::content::Content;
use super::error::RegistryError;
use super::fetch::{Failure, Said, address, error_said, pause_asked};
use super::registries::Endpoint;
use super::retry::{Again, Attempts};
use super::transport::Ask;

/// What is to be done at a registry.
pub(crate) struct Errand<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) rights: &'a Rights,
    pub(crate) method: Method,
    pub(crate) place: Place,
    /// As a noun, for messages.
    pub(crate) what: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
    /// Hears how many bytes of the content have gone.
    pub(crate) tell: &'a dyn Fn(u64),
}

/// Where it is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// `/v2/` itself, which says whether one may come in at all.
    Door,
    /// Below `/v2/REPOSITORY/`.
    Path(String),
    /// Where the registry wants it.
    Named(Url),
}

impl Client {
    /// Runs an errand until it succeeds, or there is no hope.
    pub(crate) async fn insist(&self, errand: &Errand<'_>) -> Result<Response, RegistryError> {
        let mut attempts = self.attempts();
        loop {
            let failure = match self.run(errand).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let Some(pause) = attempts.next_pause(failure.again) else { return Err(failure.error) };
            tracing::debug!(error = %failure.error, ?pause, "asking again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Fresh patience.
    pub(crate) fn attempts(&self) -> Attempts {
        let timing = self.transport.timing;
        Attempts::new(timing.retries, timing.pause, timing.longest_pause)
    }

    /// Runs an errand once, with authorisation; the response has a status of success.
    pub(crate) async fn run(&self, errand: &Errand<'_>) -> Result<Response, Failure> {
        let endpoint = errand.endpoint;
        let (base, trust) = self.base(endpoint).await?;
        let url = match &errand.place {
            Place::Door => base.clone(),
            Place::Path(path) => address(&base, endpoint, path)?,
            Place::Named(url) => url.clone(),
        };
        let send = |authorization| {
            self.exchange(Ask {
                registry: &endpoint.authority,
                method: errand.method.clone(),
                url: url.clone(),
                named: &base,
                headers: errand.headers.clone(),
                content: errand.content.clone(),
                tell: errand.tell,
                authorization,
                trust,
            })
        };
        let response = self.with_authorization((endpoint, errand.rights), (&base, trust), send).await?;
        judge(errand, response).await
    }
}

/// Sorts a response by its status.
async fn judge(errand: &Errand<'_>, response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let registry = errand.endpoint.authority.clone();
    let pause = pause_asked(&response);
    let again = match status.as_u16() {
        408 | 429 | 500 | 502 | 503 | 504 => pause.map_or(Again::Soon, Again::After),
        _ => Again::Never,
    };
    let Said { code, message } = error_said(response).await;
    let error = match status.as_u16() {
        401 | 403 => {
            let why = [message, code].into_iter().find(|text| !text.is_empty());
            let why = why.unwrap_or_else(|| format!("it answers {status}"));
            RegistryError::Unauthorized { registry, repository: errand.endpoint.repository.clone(), why }
        }
        429 => RegistryError::RateLimited { registry, retry_after: pause },
        status => {
            let message = if message.is_empty() { code.clone() } else { message };
            RegistryError::Rejected { registry, what: errand.what.to_owned(), status, code, message }
        }
    };
    Err(Failure { error, again })
}
