//! Logins: tried at the registry, then kept where every later request looks for them.
//!
//! A login goes to the credential helper that the user's files name for the
//! registry, else to one file. What the user kept for the same registry in
//! files that are read before that one is removed: it would be used instead.

use std::path::{Path, PathBuf};

use reqwest::Method;
use reqwest::header::HeaderMap;

use super::auth_file::{AuthFile, Credentials, Place as Kept, normal_key, server_of};
use super::authorize::Rights;
use super::client::Client;
use super::content::Content;
use super::credential_helper;
use super::errand::{Errand, Place};
use super::error::{RegistryError, excerpt};
use super::login_file::{edit, with_entry, without_entry};
use super::registries::{Endpoint, Security};
use super::secret::Secret;
use crate::model::reference::{DEFAULT_REGISTRY, Reference};

/// A registry that one logs in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    registry: String,
}

/// Why a text names no registry.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid registry {0:?}: it is no host name or address with an optional port")]
pub struct InvalidRegistry(String);

impl Account {
    /// The registry that `text` names: a host, or one of the addresses that docker knows its own by.
    ///
    /// # Errors
    /// [`InvalidRegistry`].
    pub fn parse(text: &str) -> Result<Self, InvalidRegistry> {
        let name = normal_key(text.trim_end_matches('/'));
        match format!("{name}/x").parse::<Reference>() {
            Ok(reference) if reference.registry() == name && !name.is_empty() => Ok(Self { registry: name }),
            _ => Err(InvalidRegistry(excerpt(text))),
        }
    }

    /// The host, as references have it.
    pub fn registry(&self) -> &str {
        &self.registry
    }
}

/// What a registry makes of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// It has looked at it, and takes it.
    Known,
    /// It asks nobody who comes, so nothing is known.
    Open,
}

impl Client {
    /// Tries a user name and a password.
    ///
    /// # Errors
    /// [`RegistryError::LoginRefused`] where they do not do; others where that could not be found out.
    pub async fn log_in(
        &mut self,
        account: &Account,
        user: &str,
        password: Secret<String>,
    ) -> Result<Welcome, RegistryError> {
        let name = account.registry();
        let refused = |why: String| RegistryError::LoginRefused { registry: name.into(), user: user.into(), why };
        let reference: Reference =
            format!("{name}/x").parse().map_err(|_| refused("it is no name of a registry".into()))?;
        // A password is for the host that was named: a place that registries.conf has instead of it has its own.
        let configured = self.registries.endpoints(&reference)?.pop().filter(|endpoint| endpoint.name == name);
        let endpoint = configured.unwrap_or_else(|| Endpoint::of(&reference, Security::Strict));
        let endpoint = Endpoint { repository: String::new(), ..endpoint };
        self.authorizer.given = Some(Credentials::Password { user: user.to_owned(), password });
        let errand = Errand {
            endpoint: &endpoint,
            rights: &Rights::Login,
            method: Method::GET,
            place: Place::Door,
            what: "the login",
            headers: HeaderMap::new(),
            content: Content::Nothing,
            tell: &|_| {},
        };
        match self.insist(&errand).await {
            Ok(_) if self.authorizer.held(&endpoint, &Rights::Login).is_none() => Ok(Welcome::Open),
            Ok(_) => Ok(Welcome::Known),
            Err(RegistryError::Unauthorized { why, .. }) => Err(refused(why)),
            Err(RegistryError::Rejected { registry, status: 404, .. }) => {
                Err(RegistryError::NotFound { registry, what: "/v2/: it is no registry of images".into() })
            }
            Err(other) => Err(other),
        }
    }
}

/// Where logins are kept.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// All files that are read, the one that counts most first.
    pub files: Vec<PathBuf>,
    /// The file among them that gets logins which no helper keeps.
    pub target: Option<PathBuf>,
    /// The directories of PATH, where credential helpers are looked for.
    pub helper_dirs: Vec<PathBuf>,
}

impl Ledger {
    /// Keeps a login, and says where.
    ///
    /// # Errors
    /// [`RegistryError::NotKept`], [`RegistryError::Helper`], or [`RegistryError::Configuration`].
    pub async fn keep(&self, account: &Account, user: &str, password: Secret<String>) -> Result<String, RegistryError> {
        let credentials = Credentials::Password { user: user.to_owned(), password };
        let files = self.read()?;
        let registry = account.registry();
        if let Some(name) = files.iter().find_map(|(_, file)| file.helper_of(registry)) {
            credential_helper::store(name, server_of(registry), &credentials, &self.helper_dirs).await?;
            // What was written in the clear would be used instead, or lie about for nothing.
            for (path, _) in files.iter().filter(|(_, file)| file.has(registry)) {
                edit(path, |text| without_entry(text, Some(registry)))?;
            }
            return Ok(format!("docker-credential-{name}"));
        }
        let Some(target) = &self.target else {
            let why = "there is no home directory to keep a login in".to_owned();
            return Err(RegistryError::NotKept { path: "auth.json".into(), why });
        };
        edit(target, |text| with_entry(text, key(target, registry), &credentials).map(Some))?;
        for path in self.files.iter().take_while(|path| *path != target) {
            if files.iter().any(|(known, file)| *known == path && file.has(registry)) {
                edit(path, |text| without_entry(text, Some(registry)))?;
            }
        }
        Ok(target.display().to_string())
    }

    /// The user name that requests to the registry are made with.
    ///
    /// # Errors
    /// [`RegistryError::Helper`], or [`RegistryError::Configuration`].
    pub async fn user(&self, account: &Account) -> Result<Option<String>, RegistryError> {
        for (_, file) in self.read()? {
            let found = match file.look_up(account.registry(), "") {
                Some(Kept::Here(credentials)) => Some(credentials),
                Some(Kept::Helper { name, server }) => {
                    credential_helper::get(&name, &server, &self.helper_dirs).await?
                }
                None => None,
            };
            match found {
                Some(Credentials::Password { user, .. }) => return Ok(Some(user)),
                Some(Credentials::IdentityToken(_)) => return Ok(Some("<token>".to_owned())),
                None => {}
            }
        }
        Ok(None)
    }

    /// Removes a login from wherever requests would find it; says from where.
    ///
    /// # Errors
    /// As [`Ledger::keep`].
    pub async fn forget(&self, account: &Account) -> Result<Vec<String>, RegistryError> {
        let mut places = Vec::new();
        for (path, file) in self.read()? {
            if let Some(name) = file.helper_of(account.registry()) {
                self.erase(name, server_of(account.registry()), &mut places).await?;
            }
            if edit_existing(path, Some(account.registry()))? {
                places.push(path.display().to_string());
            }
        }
        Ok(places)
    }

    /// Removes all logins; says from where.
    ///
    /// # Errors
    /// As [`Ledger::keep`].
    pub async fn forget_all(&self) -> Result<Vec<String>, RegistryError> {
        let mut places = Vec::new();
        for (path, file) in self.read()? {
            let (some, all) = file.helpers();
            for (registry, name) in some {
                self.erase(name, server_of(registry), &mut places).await?;
            }
            if let Some(name) = all {
                for server in credential_helper::list(name, &self.helper_dirs).await? {
                    self.erase(name, &server, &mut places).await?;
                }
            }
            if edit_existing(path, None)? {
                places.push(path.display().to_string());
            }
        }
        Ok(places)
    }

    async fn erase(&self, name: &str, server: &str, places: &mut Vec<String>) -> Result<(), RegistryError> {
        // Helpers differ in what they say of a server that they do not know: so it is not asked for.
        if credential_helper::get(name, server, &self.helper_dirs).await?.is_some() {
            credential_helper::erase(name, server, &self.helper_dirs).await?;
            places.push(format!("docker-credential-{name}"));
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<(&PathBuf, AuthFile)>, RegistryError> {
        let mut found = Vec::new();
        for path in &self.files {
            found.extend(AuthFile::read(path)?.map(|file| (path, file)));
        }
        Ok(found)
    }
}

fn edit_existing(path: &Path, key: Option<&str>) -> Result<bool, RegistryError> {
    edit(path, |text| without_entry(text, key))
}

/// What the file calls the registry: docker knows its own by an old address only.
fn key<'a>(path: &Path, registry: &'a str) -> &'a str {
    let is_dockers = path.file_name().is_some_and(|name| name == "config.json");
    if is_dockers && registry == DEFAULT_REGISTRY { server_of(registry) } else { registry }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn names_of_registries() {
        for (text, expected) in [
            ("docker.io", Some("docker.io")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("r.example", Some("r.example")),
            ("https://r.example/", Some("r.example")),
            ("127.0.0.1:5000", Some("127.0.0.1:5000")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("localhost", Some("localhost")),
            ("name", None),
            ("r.example/team", None),
            ("r example", None),
            ("", None),
            ("..", None),
        ] {
            assert_eq!(Account::parse(text).ok().as_ref().map(Account::registry), expected, "{text:?}");
        }
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    struct Home {
        dir: tempfile::TempDir,
        ledger: Ledger,
    }

    /// Three files as they are read; the second one gets what is new.
    fn home(texts: [Option<&str>; 3]) -> Home {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<_> = ["run.json", "auth.json", "config.json"].iter().map(|name| dir.path().join(name)).collect();
        for (file, text) in files.iter().zip(texts) {
            if let Some(text) = text {
                fs::write(file, text).unwrap();
                fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        let helper = dir.path().join("docker-credential-test");
        let script = "#!/bin/sh\nd=${0%/*}\ncase $1 in\nstore) cat > $d/kept ;;\nerase) rm $d/kept ;;\n\
            list) test -f $d/kept && echo '{\"r.example\":\"u\"}' || echo '{}' ;;\n\
            get) test -f $d/kept && sed 's/ServerURL/S/' $d/kept || { echo credentials not found; exit 1; } ;;\nesac\n";
        fs::write(&helper, script).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        let target = files.get(1).cloned();
        let ledger = Ledger { files, target, helper_dirs: vec![dir.path().to_owned()] };
        Home { dir, ledger }
    }

    #[tokio::test]
    async fn a_login_is_found_before_what_was_there() {
        let account = Account::parse("r.example").unwrap();
        let old = r#"{"auths":{"r.example":{"auth":"b2xkOnA="},"other.example":{"auth":"dTpw"}}}"#;
        let Home { dir, ledger } = home([Some(old), None, Some(old)]);
        assert_eq!(ledger.user(&account).await.unwrap().as_deref(), Some("old"));
        let place = ledger.keep(&account, "new", secret("p")).await.unwrap();
        assert_eq!(place, dir.path().join("auth.json").display().to_string());
        assert_eq!(ledger.user(&account).await.unwrap().as_deref(), Some("new"));
        let other = Account::parse("other.example").unwrap();
        assert_eq!(ledger.user(&other).await.unwrap().as_deref(), Some("u"));
        assert_eq!(ledger.forget(&account).await.unwrap().len(), 2, "from docker's file as well");
        assert_eq!(ledger.user(&account).await.unwrap(), None);
        assert_eq!(ledger.forget(&account).await.unwrap(), Vec::<String>::new());
        assert_eq!(ledger.forget_all().await.unwrap().len(), 2);
        assert_eq!(ledger.user(&other).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_helper_keeps_it_where_one_is_named() {
        let account = Account::parse("r.example").unwrap();
        for config in [r#"{"credsStore":"test"}"#, r#"{"credHelpers":{"r.example":"test"}}"#] {
            let old = r#"{"auths":{"r.example":{"auth":"b2xkOnA="}}}"#;
            let Home { dir, ledger } = home([Some(old), None, Some(config)]);
            assert_eq!(ledger.keep(&account, "new", secret("hunter2")).await.unwrap(), "docker-credential-test");
            assert_eq!(ledger.user(&account).await.unwrap().as_deref(), Some("new"), "{config}");
            for file in ["run.json", "auth.json", "config.json"] {
                let text = fs::read_to_string(dir.path().join(file)).unwrap_or_default();
                assert!(!text.contains("b2xkOnA") && !text.contains("hunter2"), "{file}: {text}");
            }
            if config.contains("credsStore") {
                assert_eq!(ledger.forget_all().await.unwrap(), ["docker-credential-test"]);
            } else {
                assert_eq!(ledger.forget(&account).await.unwrap(), ["docker-credential-test"]);
            }
            assert_eq!(ledger.user(&account).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_an_error_and_nothing_is_kept() {
        let account = Account::parse("r.example").unwrap();
        let Home { dir, ledger } = home([None, None, Some(r#"{"credsStore":"nosuch"}"#)]);
        let error = ledger.keep(&account, "u", secret("p")).await.expect_err("no helper");
        assert!(error.to_string().contains("docker-credential-nosuch"), "{error}");
        assert!(!dir.path().join("auth.json").exists());
    }

    #[test]
    fn docker_knows_its_own_registry_by_an_address() {
        assert_eq!(key(Path::new("/h/.docker/config.json"), "docker.io"), "https://index.docker.io/v1/");
        assert_eq!(key(Path::new("/h/.config/containers/auth.json"), "docker.io"), "docker.io");
        assert_eq!(key(Path::new("/h/.docker/config.json"), "r.example"), "r.example");
    }
}
