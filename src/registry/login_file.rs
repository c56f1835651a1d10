//! Changes of a file of credentials: one entry more or less, all else as it was.
//!
//! The file is replaced whole, by rename, and nobody but its owner may read it.
//! Its directory is locked meanwhile, so that two logins at once both stay.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use rustix::fs::FlockOperation;
use serde_json::{Map, Value, json};

use super::auth_file::{Credentials, MAX_FILE, normal_key};
use super::error::RegistryError;

/// The text with `credentials` under `key`, instead of what was there.
///
/// # Errors
/// A sentence; it quotes no value of the text.
pub(crate) fn with_entry(text: &str, key: &str, credentials: &Credentials) -> Result<String, String> {
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let entry = match credentials {
        Credentials::Password { user, password } => json!({ "auth": encode(format!("{user}:{}", password.expose())) }),
        Credentials::IdentityToken(token) => {
            json!({ "auth": encode("<token>:".to_owned()), "identitytoken": token.expose() })
        }
    };
    let mut document = parse(text)?;
    let auths = auths(&mut document)?;
    auths.retain(|known, _| normal_key(known) != normal_key(key));
    auths.insert(key.to_owned(), entry);
    Ok(print(document))
}

/// The text without what is under `key`, or without all entries; none where there is nothing to remove.
///
/// # Errors
/// As [`with_entry`].
pub(crate) fn without_entry(text: &str, key: Option<&str>) -> Result<Option<String>, String> {
    let mut document = parse(text)?;
    let auths = auths(&mut document)?;
    let before = auths.len();
    auths.retain(|known, _| key.is_some_and(|key| normal_key(known) != normal_key(key)));
    let changed = auths.len() != before;
    Ok(changed.then(|| print(document)))
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text)
        .map_err(|error| format!("line {}, column {}: no valid auth file", error.line(), error.column()))
}

fn auths(document: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, String> {
    match document.entry("auths").or_insert_with(|| json!({})) {
        Value::Object(auths) => Ok(auths),
        _ => Err("its `auths` is no object".to_owned()),
    }
}

fn print(document: Map<String, Value>) -> String {
    // Tabs, as docker and podman write it: what people keep under version control changes in one place.
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    match serde::Serialize::serialize(&document, &mut serializer) {
        Ok(()) => String::from_utf8(text).unwrap_or_default() + "\n",
        Err(_) => Value::Object(document).to_string(),
    }
}

/// Replaces the text of `path`, which need not exist, by what `change` makes of it; says whether it changed.
///
/// # Errors
/// [`RegistryError::NotKept`], or [`RegistryError::Configuration`] for a file that is not what it should be.
pub(crate) fn edit(
    path: &Path,
    change: impl FnOnce(&str) -> Result<Option<String>, String>,
) -> Result<bool, RegistryError> {
    // Some have it under version control, behind a link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let fail = |error: std::io::Error| RegistryError::NotKept { path: path.clone(), why: error.to_string() };
    // REGISTRY_AUTH_FILE may be a name alone.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
    let lock = File::open(directory).map_err(fail)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|errno| fail(errno.into()))?;
    // What a killed process has left is no longer of use to anybody, and has passwords in it.
    let temporary = beside(path);
    let unusable = |why: String| RegistryError::Configuration { path: path.clone(), why };
    let text = read(path).map_err(|error| unusable(error.to_string()))?;
    let Some(changed) = change(&text).map_err(unusable)? else { return Ok(false) };
    let written = write(&temporary, &changed).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| lock.sync_all()).map_err(fail)?;
    Ok(true)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_FILE).read_to_string(&mut text).map(|_| text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(text),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A name that nobody else has: the directory is locked.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".pybox.new");
    let temporary = path.with_file_name(name);
    let _ = fs::remove_file(&temporary);
    temporary
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::registry::auth_file::{AuthFile, Place, password_of};

    fn user(text: &str, registry: &str) -> Option<String> {
        match AuthFile::parse(text).unwrap().look_up(registry, "x") {
            Some(Place::Here(Credentials::Password { user, .. })) => Some(user),
            _ => None,
        }
    }

    #[test]
    fn an_entry_comes_and_goes_and_the_rest_stays() {
        let before = r#"{"auths":{"a.example":{"auth":"dTpw"},"https://r.example/v1/":{"auth":"b2xkOnA="}},
            "credHelpers":{"gcr.io":"gcloud"},"HttpHeaders":{"X":"y"}}"#;
        let with = with_entry(before, "r.example", &password_of("new", "p:w")).unwrap();
        assert_eq!(user(&with, "r.example").as_deref(), Some("new"));
        assert_eq!(user(&with, "a.example").as_deref(), Some("u"));
        let document: Value = serde_json::from_str(&with).unwrap();
        assert_eq!(document["credHelpers"]["gcr.io"], "gcloud");
        assert_eq!(document["HttpHeaders"]["X"], "y");
        assert_eq!(document["auths"].as_object().map(Map::len), Some(2), "the old spelling of the key is gone");
        let without = without_entry(&with, Some("r.example")).unwrap().expect("a change");
        assert_eq!((user(&without, "r.example"), user(&without, "a.example").as_deref()), (None, Some("u")));
        assert_eq!(without_entry(&without, Some("r.example")).unwrap(), None);
        let nothing = without_entry(&with, None).unwrap().expect("a change");
        assert!(AuthFile::parse(&nothing).unwrap().keys().next().is_none());
        assert_eq!(without_entry("", None).unwrap(), None);
    }

    #[test]
    fn what_is_no_such_file_is_left_alone() {
        for bad in ["hunter2", "[]", r#"{"auths":["hunter2"]}"#] {
            let error = with_entry(bad, "r", &password_of("u", "p")).expect_err(bad);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/containers/auth.json");
        let put = |key: &str| {
            edit(&path, |text| with_entry(text, key, &password_of("u", "p")).map(Some)).unwrap();
        };
        put("one");
        put("two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let file = AuthFile::read(&path).unwrap().unwrap();
        assert_eq!(file.keys().collect::<Vec<_>>(), ["one", "two"]);
        // Behind a link it is the file that changes.
        let link = dir.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        edit(&link, |text| without_entry(text, Some("one"))).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(AuthFile::read(&path).unwrap().unwrap().keys().collect::<Vec<_>>(), ["two"]);
        assert!(!edit(&path, |_| Ok(None)).unwrap());
        assert!(edit(&path, |_| Err("no".into())).is_err());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn many_logins_at_once_all_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let key = format!("r{number}.example");
                    edit(path, |text| with_entry(text, &key, &password_of("u", "p")).map(Some)).unwrap();
                });
            }
        });
        assert_eq!(AuthFile::read(&path).unwrap().unwrap().keys().count(), 8);
    }
}
