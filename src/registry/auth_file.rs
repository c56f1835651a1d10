//! Stored credentials: docker's `config.json` and containers' `auth.json`,
//! which share one format.
//!
//! A file gives credentials itself (`auths`) or names a program that has them
//! (`credHelpers`, `credsStore`). The key of an entry is a registry, or, with
//! containers' tools, a registry and the beginning of a repository.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;

use super::error::RegistryError;
use super::secret::Secret;

/// Largest file that is read, in bytes.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// What a user proves with to be the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password.
    Password {
        /// The name; may be shown.
        user: String,
        /// The password or access token.
        password: Secret<String>,
    },
    /// A refresh token (`identitytoken`) that a token server gives access tokens for.
    IdentityToken(Secret<String>),
}

/// Where the credentials of one registry are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    Here(Credentials),
    /// With `docker-credential-NAME`, under the server name.
    Helper {
        /// NAME.
        name: String,
        /// What the helper is asked for.
        server: String,
    },
}

/// A parsed file.
#[derive(Clone, Debug, Default)]
pub struct AuthFile {
    auths: BTreeMap<String, Credentials>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    #[serde(default)]
    auths: BTreeMap<String, Option<RawEntry>>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct RawEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl AuthFile {
    /// Reads `path`; nothing if there is no such file.
    ///
    /// # Errors
    /// [`RegistryError::Configuration`] where it cannot be read or understood.
    pub fn read(path: &Path) -> Result<Option<Self>, RegistryError> {
        let fail = |why: String| RegistryError::Configuration { path: path.to_owned(), why };
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(fail(error.to_string())),
        };
        let metadata = file.metadata().map_err(|error| fail(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return Err(fail(format!("it is no regular file of at most {MAX_FILE} bytes")));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "others can read the stored credentials; chmod 600 it");
        }
        let mut text = String::new();
        file.by_ref().take(MAX_FILE).read_to_string(&mut text).map_err(|error| fail(error.to_string()))?;
        Self::parse(&text).map(Some).map_err(fail)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// A sentence; it quotes no value of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // serde_json's messages may quote a value, and the values are passwords: give the place only.
        let raw: RawFile = serde_json::from_str(text)
            .map_err(|error| format!("line {}, column {}: no valid auth file", error.line(), error.column()))?;
        let mut auths = BTreeMap::new();
        for (key, entry) in raw.auths {
            if let Some(credentials) = entry.map(RawEntry::into_credentials).transpose()?.flatten() {
                auths.insert(normal_key(&key), credentials);
            }
        }
        let helpers = raw.cred_helpers.into_iter().map(|(key, name)| (normal_key(&key), name)).collect();
        Ok(Self { auths, helpers, store: raw.creds_store.filter(|name| !name.is_empty()) })
    }

    /// Where the credentials for `repository` of `registry` (as in a
    /// reference: `docker.io`, not the host behind it) are, if this file knows.
    pub fn look_up(&self, registry: &str, repository: &str) -> Option<Place> {
        let server = server_of(registry);
        let helper = |name: &String| Place::Helper { name: name.clone(), server: server.to_owned() };
        if let Some(name) = self.helpers.get(registry) {
            return Some(helper(name));
        }
        let mut key = format!("{registry}/{repository}");
        loop {
            if let Some(credentials) = self.auths.get(&key) {
                return Some(Place::Here(credentials.clone()));
            }
            match key.rfind('/') {
                Some(slash) => key.truncate(slash),
                None => break,
            }
        }
        self.store.as_ref().map(helper)
    }
}

impl AuthFile {
    /// The helper that keeps logins of `registry`, if this file names one.
    pub(crate) fn helper_of(&self, registry: &str) -> Option<&str> {
        self.helpers.get(registry).or(self.store.as_ref()).map(String::as_str)
    }

    /// The helpers that this file names for some registries, and the one for all others.
    pub(crate) fn helpers(&self) -> (impl Iterator<Item = (&str, &str)>, Option<&str>) {
        let some = self.helpers.iter().map(|(registry, name)| (registry.as_str(), name.as_str()));
        (some, self.store.as_deref())
    }

    /// Whether the file itself has credentials under `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.auths.contains_key(key)
    }

    /// All registries (and beginnings of repositories) that the file itself has credentials for.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.auths.keys().map(String::as_str)
    }
}

/// What helpers call a registry.
pub(crate) fn server_of(registry: &str) -> &str {
    if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry }
}

impl RawEntry {
    fn into_credentials(self) -> Result<Option<Credentials>, String> {
        if let Some(token) = self.identitytoken.filter(|token| !token.is_empty()) {
            return Ok(Some(Credentials::IdentityToken(Secret::new(token))));
        }
        if let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) {
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(auth.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or("an auth value is no base64 of a text")?;
            let (user, password) = decoded.split_once(':').ok_or("an auth value has no ':' in it")?;
            return Ok(Some(password_of(user, password.trim_end_matches('\0'))));
        }
        match (self.username, self.password) {
            (Some(user), Some(password)) if !user.is_empty() => Ok(Some(password_of(&user, &password))),
            _ => Ok(None),
        }
    }
}

/// `<token>` as user name says that the password is a refresh token.
pub(crate) fn password_of(user: &str, password: &str) -> Credentials {
    if user == "<token>" {
        return Credentials::IdentityToken(Secret::new(password.to_owned()));
    }
    Credentials::Password { user: user.to_owned(), password: Secret::new(password.to_owned()) }
}

/// Old docker wrote addresses (`https://index.docker.io/v1/`) where hosts are meant.
pub(crate) fn normal_key(key: &str) -> String {
    let without_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let name = match without_scheme {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2"),
    };
    match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Place {
        Place::Here(password_of(user, password))
    }

    fn helper(name: &str, server: &str) -> Place {
        Place::Helper { name: name.into(), server: server.into() }
    }

    #[test]
    fn finds_the_most_specific_entry() {
        // "u:p" = dTpw, "team:t" = dGVhbTp0, "x:a:b" = eDphOmI=
        let file = AuthFile::parse(
            r#"{"auths":{
                "https://index.docker.io/v1/":{"auth":"dTpw","email":"e"},
                "quay.example":{"auth":"dTpw"},
                "quay.example/team":{"auth":"dGVhbTp0"},
                "quay.example/team/app":{"auth":"eDphOmI="},
                "127.0.0.1:5000":{"username":"plain","password":"text"},
                "id.example":{"auth":"dTpw","identitytoken":"refresh"},
                "angle.example":{"username":"<token>","password":"refresh"},
                "empty.example":{},
                "null.example":null
            },"HttpHeaders":{"X":"y"},"currentContext":"default"}"#,
        )
        .unwrap();
        let token = Place::Here(Credentials::IdentityToken(Secret::new("refresh".into())));
        for (registry, repository, expected) in [
            ("docker.io", "library/debian", Some(password("u", "p"))),
            ("quay.example", "other/app", Some(password("u", "p"))),
            ("quay.example", "team/x", Some(password("team", "t"))),
            ("quay.example", "team/app", Some(password("x", "a:b"))),
            ("quay.example", "teamx/app", Some(password("u", "p"))),
            ("127.0.0.1:5000", "a", Some(password("plain", "text"))),
            ("127.0.0.1:5001", "a", None),
            ("127.0.0.1", "a", None),
            ("id.example", "a", Some(token.clone())),
            ("angle.example", "a", Some(token)),
            ("empty.example", "a", None),
            ("null.example", "a", None),
            ("evil.quay.example", "a", None),
        ] {
            assert_eq!(file.look_up(registry, repository), expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn helpers_come_first_and_the_store_last() {
        let file = AuthFile::parse(
            r#"{"auths":{"ghcr.io":{},"quay.io":{"auth":"dTpw"}},"credsStore":"secretservice",
                "credHelpers":{"gcr.io":"gcloud","quay.io":"other"}}"#,
        )
        .unwrap();
        for (registry, expected) in [
            ("gcr.io", helper("gcloud", "gcr.io")),
            ("quay.io", helper("other", "quay.io")),
            ("ghcr.io", helper("secretservice", "ghcr.io")),
            ("docker.io", helper("secretservice", "https://index.docker.io/v1/")),
        ] {
            assert_eq!(file.look_up(registry, "a/b"), Some(expected), "{registry}");
        }
    }

    #[test]
    fn errors_quote_no_secret() {
        for bad in [
            r#"{"auths":{"x":{"auth":"hunter2!"}}}"#,
            r#"{"auths":{"x":{"auth":"aHVudGVyMg=="}}}"#,
            r#"{"auths":{"x":"hunter2"}}"#,
            r#"{"auths":["hunter2"]}"#,
            "hunter2",
        ] {
            let error = AuthFile::parse(bad).expect_err(bad);
            assert!(!error.contains("hunter2") && !error.contains("aHVu"), "{error}");
        }
        let file = AuthFile::parse(r#"{"auths":{"x":{"auth":"dTpodW50ZXIy"}}}"#).unwrap();
        assert!(!format!("{file:?}").contains("hunter2"));
        assert!(AuthFile::parse("").unwrap().look_up("x", "y").is_none());
    }

    #[test]
    fn a_missing_file_is_none_and_a_strange_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(AuthFile::read(&dir.path().join("none.json")).unwrap().is_none());
        assert!(matches!(AuthFile::read(dir.path()), Err(RegistryError::Configuration { .. })));
        let path = dir.path().join("auth.json");
        fs::write(&path, r#"{"auths":{"x":{"auth":"dTpw"}}}"#).unwrap();
        let file = AuthFile::read(&path).unwrap().unwrap();
        assert_eq!(file.look_up("x", "y"), Some(password("u", "p")));
    }
}
