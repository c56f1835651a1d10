//! What can go wrong with a registry, by kind.

use std::path::PathBuf;
use std::time::Duration;

use super::credential_helper::HelperError;
use crate::model::digest::Digest;
use crate::model::platform::Platform;

/// The cause below a [`RegistryError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a pull did not give an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry does not know the image, or a part of it.
    #[error("the registry {registry} has no {what}")]
    NotFound {
        /// Host and port.
        registry: String,
        /// The image or blob as a noun, `image library/debian:12`.
        what: String,
    },
    /// The registry wants other credentials, or some at all.
    #[error("the registry {registry} refuses access to {repository}: {why}")]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// The repository asked for.
        repository: String,
        /// In the registry's words, or ours.
        why: String,
    },
    /// A login that is tried does not do.
    #[error("log in to {registry} as {user}: {why}")]
    LoginRefused {
        /// The registry as it was named.
        registry: String,
        /// The user name.
        user: String,
        /// In the registry's words, or ours.
        why: String,
    },
    /// No connection, or none that stayed.
    #[error("reach the registry {registry}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// The connection stayed but nothing came.
    #[error("download {what} from {registry}: less than {bytes} bytes came in {} s", after.as_secs())]
    Stalled {
        /// Host and port.
        registry: String,
        /// What was downloaded.
        what: String,
        /// How many bytes would have counted as progress.
        bytes: u64,
        /// How long we waited.
        after: Duration,
    },
    /// Too many requests.
    #[error("the registry {registry} limits requests{}", wait_text(*retry_after))]
    RateLimited {
        /// Host and port.
        registry: String,
        /// How long it asks to wait, if it says so.
        retry_after: Option<Duration>,
    },
    /// An answer that says the registry is broken or does not like the request.
    #[error("ask {registry} for {what}: it answers {status}{}", message_text(message))]
    Server {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// The registry's own words, shortened; may be empty.
        message: String,
    },
    /// The registry does not take what is sent.
    #[error("send {what} to {registry}: it answers {status}{}", message_text(message))]
    Rejected {
        /// Host and port.
        registry: String,
        /// What was sent.
        what: String,
        /// HTTP status.
        status: u16,
        /// The code of the distribution specification, as `DIGEST_INVALID`; may be empty.
        code: String,
        /// The registry's own words, shortened; may be empty.
        message: String,
    },
    /// The bytes are other ones than the digest names.
    #[error("check {what}: its digest is {actual}, expected {expected}")]
    WrongDigest {
        /// What was checked.
        what: String,
        /// The digest in the document above.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// Fewer bytes than the document above says.
    #[error("download {what}: {actual} bytes came, expected {expected}")]
    Truncated {
        /// What was downloaded.
        what: String,
        /// Bytes expected.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// More bytes than the document above says, or than we take.
    #[error("download {what}: it is larger than {limit} bytes")]
    TooLarge {
        /// What was downloaded.
        what: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// The image is there, but not for the platform.
    #[error("image {image} is not made for {wanted}; it is for {}", list(available))]
    PlatformMissing {
        /// The image.
        image: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        available: Vec<String>,
    },
    /// A document that breaks the image specification or our limits.
    #[error("read the manifest of {image}: {why}")]
    InvalidManifest {
        /// The image.
        image: String,
        /// The rule that is broken.
        why: String,
    },
    /// Another kind of artifact.
    #[error("{image} is no container image but {media_type:?}")]
    NotAnImage {
        /// The reference.
        image: String,
        /// What it says it is.
        media_type: String,
    },
    /// A layer that lies elsewhere (`urls`); such places are never asked.
    #[error("image {image} has the non-distributable layer {layer}")]
    NonDistributable {
        /// The image.
        image: String,
        /// The layer.
        layer: Digest,
    },
    /// registries.conf forbids the registry.
    #[error("the registry {registry} is blocked by registries.conf")]
    Blocked {
        /// The prefix that is blocked.
        registry: String,
    },
    /// The token server that the registry names is not asked.
    #[error("ask for a token of {registry}: the token server {realm:?} is refused: {why}")]
    RealmRefused {
        /// Host and port.
        registry: String,
        /// As the registry sent it, shortened.
        realm: String,
        /// The rule.
        why: String,
    },
    /// A redirect is not followed.
    #[error("ask {registry}: its redirect is refused: {why}")]
    RedirectRefused {
        /// Host and port.
        registry: String,
        /// The rule.
        why: String,
    },
    /// A file of the user's cannot be used.
    #[error("read {}: {why}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A login cannot be kept or forgotten.
    #[error("write {}: {why}", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A program that keeps logins does not do what it is asked.
    #[error("keep the login with a credential helper: {why}")]
    Helper {
        /// What it says.
        why: String,
    },
    /// The HTTP client or TLS could not be set up.
    #[error("set up the connection to {registry}")]
    Setup {
        /// Host and port.
        registry: String,
        /// What is wrong.
        #[source]
        source: Cause,
    },
}

impl From<HelperError> for RegistryError {
    fn from(error: HelperError) -> Self {
        Self::Helper { why: error.to_string() }
    }
}

impl RegistryError {
    /// What the user can do, as one sentence with the command to type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("check the name and the tag of the image".into()),
            Self::Unauthorized { registry, .. } => {
                Some(format!("pybox login {}; or check the name of the image", login_name(registry)))
            }
            Self::Unreachable { registry, source } => Some(unreachable_hint(registry, source.as_ref())),
            Self::LoginRefused { .. } => {
                Some("check the user name and the password; many registries want an access token instead of it".into())
            }
            Self::NotKept { path, .. } => {
                let directory = path.parent().unwrap_or(path);
                Some(format!("ls -la {}   (or keep it elsewhere: export REGISTRY_AUTH_FILE=FILE)", directory.display()))
            }
            Self::Helper { .. } => Some("see credsStore and credHelpers in ~/.docker/config.json".into()),
            Self::Stalled { .. } | Self::Truncated { .. } => {
                Some("pull again: what came so far is kept and goes on from there".into())
            }
            Self::RateLimited { registry, .. } => {
                Some(format!("pybox login {}   (its users may ask more often); or wait", login_name(registry)))
            }
            Self::Rejected { registry, status, code, .. } => rejected_hint(registry, *status, code),
            Self::PlatformMissing { available, .. } => {
                available.first().map(|first| format!("choose one of them with `--platform {first}`"))
            }
            Self::WrongDigest { .. } => Some("the registry or a proxy on the way serves wrong data; pull again".into()),
            Self::RealmRefused { .. } => Some("pybox logout REGISTRY   (a public image needs no credentials)".into()),
            Self::Blocked { .. } => Some("remove `blocked = true` from registries.conf".into()),
            _ => None,
        }
    }
}

/// An http server answers a TLS hello with something that is no TLS record; a
/// certificate nobody signed is the other case that users meet.
fn unreachable_hint(registry: &str, source: &(dyn std::error::Error + 'static)) -> String {
    let chain: String =
        std::iter::successors(Some(source), |error| error.source()).map(|error| format!("{error}; ")).collect();
    if chain.contains("InvalidContentType") || chain.contains("corrupt message") {
        format!("if the registry speaks plain http, set `insecure = true` for {registry} in registries.conf")
    } else if chain.contains("certificate") || chain.contains("UnknownIssuer") {
        format!("put the registry's CA certificate in certs.d/{registry}/ca.crt under /etc/containers")
    } else {
        "check the name of the registry and the network".into()
    }
}

fn rejected_hint(registry: &str, status: u16, code: &str) -> Option<String> {
    match (code, status) {
        ("DIGEST_INVALID" | "SIZE_INVALID", _) => Some("see whether what is kept here is whole: pybox check".into()),
        ("NAME_UNKNOWN", _) | ("", 404 | 410) => Some(format!("see whether {registry} has such a repository")),
        ("UNSUPPORTED", _) | (_, 405) => {
            Some(format!("push to another registry: {registry} is read-only, or a mirror of another one"))
        }
        (_, 413) => {
            Some(format!("ask who runs {registry} for a higher limit: something in front of it refuses so much"))
        }
        _ => None,
    }
}

/// What `pybox login` calls the registry at this host.
fn login_name(registry: &str) -> &str {
    if registry == "registry-1.docker.io" { "docker.io" } else { registry }
}

fn wait_text(retry_after: Option<Duration>) -> String {
    retry_after.map_or(String::new(), |wait| format!(": it asks to wait {} s", wait.as_secs()))
}

fn message_text(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn list(platforms: &[String]) -> String {
    if platforms.is_empty() { "no platform".into() } else { platforms.join(", ") }
}

/// The first characters of `text`, without control characters: what comes from
/// a registry may be long, and may try to write on the terminal.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_object_and_hints_the_command() {
        let missing = RegistryError::PlatformMissing {
            image: "127.0.0.1:5000/a:1".into(),
            wanted: Platform { os: "linux".into(), architecture: "amd64".into(), variant: None },
            available: vec!["linux/arm64".into(), "linux/s390x".into()],
        };
        assert_eq!(
            missing.to_string(),
            "image 127.0.0.1:5000/a:1 is not made for linux/amd64; it is for linux/arm64, linux/s390x"
        );
        assert_eq!(missing.hint().as_deref(), Some("choose one of them with `--platform linux/arm64`"));
        let limited = RegistryError::RateLimited { registry: "r".into(), retry_after: Some(Duration::from_secs(90)) };
        assert_eq!(limited.to_string(), "the registry r limits requests: it asks to wait 90 s");
    }

    #[test]
    fn the_hint_follows_the_cause_of_a_failed_connection() {
        let hint = |cause: &str| RegistryError::Unreachable { registry: "r:5000".into(), source: cause.into() }.hint();
        assert!(hint("received corrupt message of type InvalidContentType").is_some_and(|h| h.contains("insecure")));
        assert!(hint("invalid peer certificate: UnknownIssuer").is_some_and(|h| h.contains("certs.d/r:5000/ca.crt")));
        assert!(hint("connection refused").is_some_and(|h| h.contains("network")));
    }

    #[test]
    fn excerpts_hold_no_escape_sequences() {
        assert_eq!(excerpt("a\u{1b}[31mb\n"), "a[31mb");
        assert_eq!(excerpt(&"x".repeat(9999)).len(), 200);
    }
}
