//! Logins at registries.

use serde::{Deserialize, Serialize};

/// Tries a login, and keeps it if the registry takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The registry, as a host with its port.
    pub registry: String,
    /// The user name.
    pub user: String,
    /// The password, or an access token.
    pub password: Password,
}

/// Asks which user name is used at a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetLogin {
    /// The registry.
    pub registry: String,
}

/// Forgets a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logout {
    /// The registry; all of them if none.
    pub registry: Option<String>,
}

/// A password, which is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A login that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedIn {
    /// The registry, as names of images have it.
    pub registry: String,
    /// The file or the helper that keeps it.
    pub place: String,
}

/// The user name that is used at a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFound {
    /// `<token>` where there is a token instead of a name.
    pub user: String,
}

/// Logins that are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedOut {
    /// The registry, as names of images have it; none if all were meant.
    pub registry: Option<String>,
    /// The files and helpers that had one.
    pub places: Vec<String>,
}
