//! Whether a token server that a registry names may be asked (pure).
//!
//! The name comes out of a header of an unauthenticated answer; what is sent
//! there may be the user's password. So it is held against the registry it
//! came from, and against what the user allowed, before anything is sent.

use reqwest::Url;

use super::error::{RegistryError, excerpt};
use super::resolve::{Reach, is_loopback_host, literal};

/// Token servers in another domain than their registries, known to belong to them.
const KNOWN: [(&str, &str); 7] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("docker.io", "auth.docker.io"),
    ("index.docker.io", "auth.docker.io"),
    ("registry.redhat.io", "sso.redhat.com"),
    ("registry.connect.redhat.com", "sso.redhat.com"),
    ("registry.access.redhat.com", "sso.redhat.com"),
    ("nvcr.io", "authn.nvidia.com"),
];

/// Domains below which strangers live side by side, so that a shared ending
/// says nothing. Not complete and need not be: see [`same_owner`].
const SHARED: [&str; 12] = [
    "amazonaws.com",
    "appspot.com",
    "azurecr.io",
    "azurewebsites.net",
    "cloudfront.net",
    "duckdns.org",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "herokuapp.com",
    "run.app",
    "workers.dev",
];

/// The registry that named the token server.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Host name without port, as in the URL of the request.
    pub host: &'a str,
    /// Whether the request went over plain http.
    pub plain_http: bool,
}

impl Asker<'_> {
    /// Which addresses the token server may have.
    pub fn reach(&self) -> Reach {
        if is_loopback_host(self.host) { Reach::WithLoopback } else { Reach::Outside }
    }
}

/// What would be sent to the token server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Nothing that is worth stealing.
    Nothing,
    /// The user's credentials for the registry.
    Credentials,
}

/// The address of the token server `realm`, if it may be asked; `allowed` are
/// the hosts that the user trusts with credentials of any registry.
///
/// # Errors
/// [`RegistryError::RealmRefused`] with the rule that is broken.
pub fn check(realm: &str, asker: &Asker<'_>, sending: Sending, allowed: &[String]) -> Result<Url, RegistryError> {
    let refuse =
        |why: String| RegistryError::RealmRefused { registry: asker.host.to_owned(), realm: excerpt(realm), why };
    let url = Url::parse(realm).map_err(|error| refuse(format!("it is no URL ({error})")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it has a user name in it".into()));
    }
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(refuse("it has no host".into()));
    }
    match url.scheme() {
        "https" => {}
        "http" if asker.plain_http && is_loopback_host(asker.host) && is_loopback_host(host) => {}
        scheme => return Err(refuse(format!("it would be asked over {scheme}, not https"))),
    }
    if host.eq_ignore_ascii_case("metadata.google.internal") {
        return Err(refuse("it is a metadata service".into()));
    }
    match literal(host) {
        Some(address) => asker.reach().check(host, address).map_err(|error| refuse(error.to_string()))?,
        None if is_loopback_host(host) && asker.reach() == Reach::Outside => {
            return Err(refuse("it is on this machine and the registry is not".into()));
        }
        None => {}
    }
    if sending == Sending::Credentials && !may_have_credentials(asker.host, host, allowed) {
        return Err(refuse(format!("{host} belongs to another domain, and credentials are stored for the registry")));
    }
    Ok(url)
}

fn may_have_credentials(registry: &str, realm: &str, allowed: &[String]) -> bool {
    let registry = registry.to_ascii_lowercase();
    let realm = realm.to_ascii_lowercase();
    same_owner(&registry, &realm)
        || KNOWN.contains(&(registry.as_str(), realm.as_str()))
        || allowed.iter().any(|host| host.eq_ignore_ascii_case(&realm))
}

/// Whether two hosts plainly belong to one owner: the same host, one below the
/// other, or both below one registrable domain.
///
/// What is registrable would take the public suffix list to say. Without it we
/// err to the strict side: `co.uk`-like and shared endings do not count, and
/// `--allow-realm` is there for the rest. A mistake to the other side costs
/// little: the registry that names the realm could ask for the very same
/// credentials itself.
fn same_owner(registry: &str, realm: &str) -> bool {
    if registry == realm {
        return true;
    }
    if literal(registry).is_some() || literal(realm).is_some() {
        return false;
    }
    let below = |inner: &str, outer: &str| {
        inner.strip_suffix(outer).is_some_and(|rest| rest.ends_with('.')) && is_registrable(outer)
    };
    if below(registry, realm) || below(realm, registry) {
        return true;
    }
    let common: Vec<&str> = registry
        .rsplit('.')
        .zip(realm.rsplit('.'))
        .take_while(|(one, other)| one == other)
        .map(|(label, _)| label)
        .collect();
    is_registrable(&common.into_iter().rev().collect::<Vec<_>>().join("."))
}

fn is_registrable(domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    match labels.as_slice() {
        [] | [_] => false,
        [second, top] if top.len() == 2 && second.len() <= 3 => false,
        _ => !SHARED.iter().any(|shared| *shared == domain || shared.ends_with(&format!(".{domain}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(realm: &str, host: &str, plain_http: bool, sending: Sending) -> Option<String> {
        let allowed = ["sso.corp.example".to_owned()];
        match check(realm, &Asker { host, plain_http }, sending, &allowed) {
            Ok(_) => None,
            Err(RegistryError::RealmRefused { why, .. }) => Some(why),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn ordinary_token_servers_are_asked() {
        for (realm, host, http) in [
            ("https://auth.docker.io/token", "registry-1.docker.io", false),
            ("https://gitlab.com/jwt/auth", "registry.gitlab.com", false),
            ("https://ghcr.io/token", "ghcr.io", false),
            ("https://auth.corp.example.co.uk/t", "registry.corp.example.co.uk", false),
            ("https://sso.redhat.com/auth", "registry.redhat.io", false),
            ("https://sso.corp.example/auth", "registry.other.example", false),
            ("https://10.0.0.7/token", "10.0.0.7", false),
            ("http://127.0.0.1:5001/token", "127.0.0.1", true),
            ("http://localhost:5001/token", "localhost", true),
            ("https://localhost:5001/token", "localhost", true),
        ] {
            assert_eq!(why(realm, host, http, Sending::Credentials), None, "{realm} for {host}");
        }
        assert_eq!(why("https://tokens.elsewhere.example/t", "r.example", false, Sending::Nothing), None);
    }

    #[test]
    fn bad_places_are_never_asked() {
        for (realm, host, http, expected) in [
            ("http://auth.r.example/token", "r.example", false, "over http"),
            ("http://r.example/token", "r.example", true, "over http"),
            ("http://r.example/token", "127.0.0.1", true, "over http"),
            ("ftp://r.example/", "r.example", false, "over ftp"),
            ("file:///etc/passwd", "r.example", false, "no host"),
            ("https://user:pw@r.example/", "r.example", false, "user name"),
            ("https://user@r.example/", "r.example", false, "user name"),
            ("https://169.254.169.254/latest/meta-data", "r.example", false, "link-local"),
            ("http://169.254.169.254/latest", "127.0.0.1", true, "over http"),
            ("https://169.254.169.254/latest", "127.0.0.1", true, "link-local"),
            ("https://0xa9fea9fe/latest", "r.example", false, "link-local"),
            ("https://2852039166/latest", "r.example", false, "link-local"),
            ("https://[::ffff:169.254.169.254]/x", "r.example", false, "link-local"),
            ("https://[fd00:ec2::254]/x", "r.example", false, "metadata"),
            ("https://metadata.google.internal/x", "r.example", false, "metadata"),
            ("https://0.0.0.0/x", "r.example", false, "unspecified"),
            ("https://[::]/x", "r.example", false, "unspecified"),
            ("https://127.0.0.1/x", "r.example", false, "loopback"),
            ("https://[::1]/x", "r.example", false, "loopback"),
            ("https://localhost/x", "r.example", false, "this machine"),
            ("/relative", "r.example", false, "no URL"),
            ("", "r.example", false, "no URL"),
        ] {
            for sending in [Sending::Nothing, Sending::Credentials] {
                let found = why(realm, host, http, sending).unwrap_or_else(|| panic!("{realm} for {host} is asked"));
                assert!(found.contains(expected), "{realm}: {found}");
            }
        }
    }

    #[test]
    fn credentials_stay_with_their_owner() {
        for (realm, host) in [
            ("https://auth.evil.example/t", "registry.good.test"),
            ("https://evil.co.uk/t", "good.co.uk"),
            ("https://b.azurecr.io/t", "a.azurecr.io"),
            ("https://x.s3.amazonaws.com/t", "1.dkr.ecr.eu-west-1.amazonaws.com"),
            ("https://auth.docker.io/t", "registry.evil.example"),
            ("https://10.0.0.8/t", "10.0.0.7"),
            ("https://evilgood.example/t", "good.example"),
            ("https://com/t", "good.com"),
        ] {
            let found = why(realm, host, false, Sending::Credentials);
            assert!(found.is_some_and(|why| why.contains("another domain")), "{realm} for {host}");
            assert_eq!(why(realm, host, false, Sending::Nothing), None, "{realm} for {host}, anonymous");
        }
    }
}
