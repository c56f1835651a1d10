//! registries.conf (containers' format, version 2): where a name is really
//! asked, over what, and whether at all.
//!
//! Read: `[[registry]]` with `prefix`, `location`, `insecure`, `blocked`,
//! `mirror-by-digest-only` and `[[registry.mirror]]`. Short names mean Docker
//! Hub here, so `unqualified-search-registries` and `[aliases]` are not used.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::RegistryError;
use crate::model::reference::{DEFAULT_REGISTRY, Reference};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The rules of all files together.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    rules: Vec<Rule>,
}

/// One place that an image can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The registry by the name that credentials are stored under: `docker.io`.
    pub name: String,
    /// Host and port that are spoken to: `registry-1.docker.io`.
    pub authority: String,
    /// The repository there.
    pub repository: String,
    /// Whether plain http and unknown certificates do.
    pub security: Security,
}

/// What the user accepts of a registry's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// https with a certificate that can be checked (http for loopback).
    Strict,
    /// `insecure = true`: https with any certificate, or http.
    Insecure,
}

#[derive(Clone, Debug)]
struct Rule {
    raw: RawRegistry,
    file: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
struct RawFile {
    #[serde(default)]
    registry: Vec<RawRegistry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawRegistry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<RawMirror>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

impl Registries {
    /// Reads `paths` in order: files, and directories of `*.conf` files in the
    /// order of their names. A later rule replaces an earlier one with the
    /// same prefix; what is not there is passed over.
    ///
    /// # Errors
    /// [`RegistryError::Configuration`].
    pub fn read(paths: &[PathBuf]) -> Result<Self, RegistryError> {
        let mut all = Self::default();
        for path in paths {
            if !path.is_dir() {
                all.read_file(path)?;
                continue;
            }
            let entries = fs::read_dir(path).map_err(|error| unusable(path, &error.to_string()))?;
            let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
            files.sort();
            files.iter().try_for_each(|file| all.read_file(file))?;
        }
        Ok(all)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), RegistryError> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() && found.len() <= MAX_FILE => {}
            Ok(_) => return Err(unusable(path, "it is no regular file of at most 1 MiB")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unusable(path, &error.to_string())),
        }
        let text = fs::read_to_string(path).map_err(|error| unusable(path, &error.to_string()))?;
        self.add(&text, path)
    }

    /// Adds the rules in `text`; `path` is what messages call it.
    ///
    /// # Errors
    /// [`RegistryError::Configuration`].
    pub fn add(&mut self, text: &str, path: &Path) -> Result<(), RegistryError> {
        let file: RawFile = toml::from_str(text).map_err(|error| unusable(path, error.message()))?;
        for mut raw in file.registry {
            if raw.prefix.is_empty() {
                raw.prefix.clone_from(&raw.location);
            }
            if raw.prefix.is_empty() {
                return Err(unusable(path, "a [[registry]] has neither a prefix nor a location"));
            }
            raw.prefix = raw.prefix.trim_end_matches('/').to_owned();
            raw.location = raw.location.trim_end_matches('/').to_owned();
            self.rules.retain(|rule| rule.raw.prefix != raw.prefix);
            self.rules.push(Rule { raw, file: path.to_owned() });
        }
        Ok(())
    }

    /// The places to ask for `reference`, mirrors first.
    ///
    /// # Errors
    /// [`RegistryError::Blocked`], or [`RegistryError::Configuration`] for a
    /// location that is no registry.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, RegistryError> {
        let name = reference.name();
        let matching = self.rules.iter().filter_map(|rule| Some((matched(&rule.raw.prefix, &name)?, rule)));
        let Some((length, rule)) = matching.max_by_key(|(length, _)| *length) else {
            return Ok(vec![Endpoint::of(reference, Security::Strict)]);
        };
        if rule.raw.blocked {
            return Err(RegistryError::Blocked { registry: rule.raw.prefix.clone() });
        }
        let rest = name.get(length..).unwrap_or_default();
        let by_digest = reference.digest().is_some();
        let mirrors = rule.raw.mirror.iter().filter(|mirror| match mirror.pull_from_mirror.as_str() {
            "digest-only" => by_digest,
            "tag-only" => !by_digest,
            _ => by_digest || !rule.raw.mirror_by_digest_only,
        });
        let mut endpoints: Vec<Endpoint> = mirrors
            .map(|mirror| rule.endpoint(&mirror.location, rest, security(mirror.insecure)))
            .collect::<Result<_, _>>()?;
        endpoints.push(if rule.raw.location.is_empty() {
            Endpoint::of(reference, security(rule.raw.insecure))
        } else {
            rule.endpoint(&rule.raw.location, rest, security(rule.raw.insecure))?
        });
        Ok(endpoints)
    }
}

impl Rule {
    fn endpoint(&self, location: &str, rest: &str, security: Security) -> Result<Endpoint, RegistryError> {
        let name = format!("{}{rest}", location.trim_end_matches('/'));
        let host = name.split('/').next().unwrap_or_default();
        match name.parse::<Reference>() {
            Ok(reference) if reference.registry() == host => Ok(Endpoint::of(&reference, security)),
            _ => Err(unusable(&self.file, &format!("the location {location:?} is no registry host with a path"))),
        }
    }
}

impl Endpoint {
    /// The registry that `reference` names itself, whatever registries.conf says of its place.
    pub(crate) fn of(reference: &Reference, security: Security) -> Self {
        let name = reference.registry();
        let authority = if name == DEFAULT_REGISTRY { "registry-1.docker.io" } else { name };
        Self {
            name: name.to_owned(),
            authority: authority.to_owned(),
            repository: reference.repository().to_owned(),
            security,
        }
    }

    /// The host without port and brackets kept, as it stands in a URL.
    pub fn host(&self) -> &str {
        match self.authority.rfind(':') {
            Some(colon) if !self.authority.ends_with(']') => self.authority.get(..colon).unwrap_or_default(),
            _ => &self.authority,
        }
    }
}

fn security(insecure: bool) -> Security {
    if insecure { Security::Insecure } else { Security::Strict }
}

fn unusable(path: &Path, why: &str) -> RegistryError {
    RegistryError::Configuration { path: path.to_owned(), why: why.to_owned() }
}

/// How many bytes of `name` the prefix matches, at a border of a component.
/// `*.example.com` matches every host below example.com, and its path after it.
fn matched(prefix: &str, name: &str) -> Option<usize> {
    let at_border = |length: usize| match name.as_bytes().get(length) {
        None | Some(b'/') => Some(length),
        _ => None,
    };
    match prefix.strip_prefix('*') {
        None => name.starts_with(prefix).then(|| at_border(prefix.len())).flatten(),
        Some(suffix) => {
            let host = name.split('/').next().unwrap_or_default();
            let (host_suffix, path) = suffix.split_once('/').map_or((suffix, ""), |(host, path)| (host, path));
            if !host.ends_with(host_suffix) {
                return None;
            }
            let length = if path.is_empty() { host.len() } else { host.len() + 1 + path.len() };
            let below = name.get(host.len()..length)?.trim_start_matches('/');
            (below == path).then(|| at_border(length)).flatten()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(conf: &str, reference: &str) -> Result<Vec<String>, RegistryError> {
        let mut registries = Registries::default();
        registries.add(conf, Path::new("registries.conf"))?;
        let endpoints = registries.endpoints(&reference.parse().expect(reference))?;
        let show = |endpoint: &Endpoint| {
            let mark = if endpoint.security == Security::Insecure { "!" } else { "" };
            format!("{mark}{}/{}", endpoint.authority, endpoint.repository)
        };
        Ok(endpoints.iter().map(show).collect())
    }

    const CONF: &str = r#"
        unqualified-search-registries = ["docker.io"]
        short-name-mode = "enforcing"
        [[registry]]
        location = "insecure.example:5000"
        insecure = true
        [[registry]]
        prefix = "docker.io"
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.example/hub"
        [[registry.mirror]]
        location = "digests.example"
        insecure = true
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "docker.io/evil"
        blocked = true
        [[registry]]
        prefix = "*.corp.example"
        location = "proxy.corp.example/cache"
        [[registry]]
        prefix = "old.example/team"
        location = "new.example/group/team"
        [[registry]]
        prefix = "*.lab.example"
        insecure = true
    "#;

    #[test]
    fn names_go_where_the_rules_say() {
        let sha = format!("sha256:{}", "0".repeat(64));
        for (reference, expected) in [
            ("other.example/a/b", vec!["other.example/a/b"]),
            ("insecure.example:5000/a", vec!["!insecure.example:5000/a"]),
            ("insecure.example/a", vec!["insecure.example/a"]),
            ("debian:12", vec!["mirror.example/hub/library/debian", "registry-1.docker.io/library/debian"]),
            (
                &format!("debian@{sha}"),
                vec![
                    "mirror.example/hub/library/debian",
                    "!digests.example/library/debian",
                    "registry-1.docker.io/library/debian",
                ],
            ),
            ("a.corp.example/x/y", vec!["proxy.corp.example/cache/x/y"]),
            ("corp.example/x", vec!["corp.example/x"]),
            ("old.example/team/app", vec!["new.example/group/team/app"]),
            ("old.example/teams/app", vec!["old.example/teams/app"]),
            ("r.lab.example/x", vec!["!r.lab.example/x"]),
        ] {
            assert_eq!(places(CONF, reference).expect(reference), expected, "{reference}");
        }
        assert!(matches!(places(CONF, "evil/x"), Err(RegistryError::Blocked { .. })));
    }

    #[test]
    fn a_later_file_replaces_a_rule() {
        let mut registries = Registries::default();
        registries.add("[[registry]]\nlocation = \"r.example\"\nblocked = true", Path::new("a")).unwrap();
        registries.add("[[registry]]\nlocation = \"r.example\"\ninsecure = true", Path::new("b")).unwrap();
        let endpoints = registries.endpoints(&"r.example/x".parse().unwrap()).unwrap();
        assert_eq!(endpoints.first().map(|endpoint| endpoint.security), Some(Security::Insecure));
    }

    #[test]
    fn what_is_no_registry_is_refused() {
        for bad in [
            "[[registry]]\ninsecure = true",
            "[[registry]]\nlocation = 5",
            "[[registry]]\nlocation = ",
            "[[registry]]\nlocation = \"r.example\"\ninsecure = \"yes\"",
        ] {
            assert!(matches!(places(bad, "r.example/x"), Err(RegistryError::Configuration { .. })), "{bad}");
        }
        for location in ["https://m.example", "m.example/../x", "mirror", ""] {
            let conf = format!(
                "[[registry]]\nprefix=\"r.example\"\nlocation=\"r.example\"\n[[registry.mirror]]\nlocation=\"{location}\""
            );
            assert!(matches!(places(&conf, "r.example/x"), Err(RegistryError::Configuration { .. })), "{location}");
        }
    }

    #[test]
    fn reads_files_and_directories_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let drop_ins = dir.path().join("registries.conf.d");
        fs::create_dir(&drop_ins).unwrap();
        let rule = |insecure: bool| format!("[[registry]]\nlocation = \"r.example\"\ninsecure = {insecure}");
        fs::write(dir.path().join("registries.conf"), rule(false)).unwrap();
        fs::write(drop_ins.join("10.conf"), rule(false)).unwrap();
        fs::write(drop_ins.join("20.conf"), rule(true)).unwrap();
        fs::write(drop_ins.join("30.txt"), "not toml at all [").unwrap();
        let paths = [dir.path().join("missing"), dir.path().join("registries.conf"), drop_ins];
        let endpoints = Registries::read(&paths).unwrap().endpoints(&"r.example/x".parse().unwrap()).unwrap();
        assert_eq!(endpoints.first().map(|endpoint| endpoint.security), Some(Security::Insecure));
    }

    #[test]
    fn the_host_of_an_endpoint_has_no_port() {
        for (reference, host) in [
            ("127.0.0.1:5000/x", "127.0.0.1"),
            ("[::1]:5000/x", "[::1]"),
            ("[::1]/x", "[::1]"),
            ("r.example/x", "r.example"),
        ] {
            let endpoints = Registries::default().endpoints(&reference.parse().unwrap()).unwrap();
            assert_eq!(endpoints[0].host(), host);
        }
    }
}
