//! `docker-credential-NAME`: a program of the user's that keeps passwords.
//!
//! The name comes from a file and becomes part of a path, so it has a grammar;
//! the program is looked for in absolute directories only; the secret travels
//! on its standard streams and nowhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{Access, access};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::auth_file::{Credentials, password_of};
use super::error::excerpt;

/// How long a helper may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes a helper may answer with.
const MAX_ANSWER: u64 = 64 << 10;

/// Why a helper gave nothing; the text quotes nothing the helper said on success.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum HelperError {
    #[error("the name of the credential helper {0:?} has other characters than letters, digits, '_', '.' and '-'")]
    Name(String),
    #[error("there is no docker-credential-{0} in any directory of PATH")]
    Missing(String),
    #[error("docker-credential-{0} did not answer within 10 s")]
    Timeout(String),
    #[error("docker-credential-{0} answered with more than 64 KiB")]
    TooLong(String),
    #[error("docker-credential-{name}: {why}")]
    Refused { name: String, why: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper `name`, found in `directories`, for the credentials of `server`.
///
/// # Errors
/// [`HelperError`]; a helper that knows no such server is no error but none.
pub(crate) async fn get(name: &str, server: &str, directories: &[PathBuf]) -> Result<Option<Credentials>, HelperError> {
    get_within(PATIENCE, name, server, directories).await
}

async fn get_within(
    patience: Duration,
    name: &str,
    server: &str,
    directories: &[PathBuf],
) -> Result<Option<Credentials>, HelperError> {
    let (succeeded, output) = ask_within(patience, name, directories, ("get", server.as_bytes())).await?;
    let refuse = |why: &str| HelperError::Refused { name: name.to_owned(), why: excerpt(why) };
    if !succeeded {
        let said = String::from_utf8_lossy(&output);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(refuse(said.trim()));
    }
    let answer: Answer = serde_json::from_slice(&output).map_err(|_| refuse("its answer is no valid JSON"))?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(password_of(&answer.username, &answer.secret)))
}

/// Gives the helper the credentials of `server` to keep.
///
/// # Errors
/// [`HelperError`].
pub(crate) async fn store(
    name: &str,
    server: &str,
    credentials: &Credentials,
    directories: &[PathBuf],
) -> Result<(), HelperError> {
    let (user, secret) = match credentials {
        Credentials::Password { user, password } => (user.as_str(), password.expose()),
        Credentials::IdentityToken(token) => ("<token>", token.expose()),
    };
    let entry = serde_json::json!({ "ServerURL": server, "Username": user, "Secret": secret }).to_string();
    succeed(name, directories, ("store", entry.as_bytes())).await.map(drop)
}

/// Makes the helper forget the credentials of `server`.
///
/// # Errors
/// [`HelperError`].
pub(crate) async fn erase(name: &str, server: &str, directories: &[PathBuf]) -> Result<(), HelperError> {
    succeed(name, directories, ("erase", server.as_bytes())).await.map(drop)
}

/// The servers whose credentials the helper keeps.
///
/// # Errors
/// [`HelperError`].
pub(crate) async fn list(name: &str, directories: &[PathBuf]) -> Result<Vec<String>, HelperError> {
    let output = succeed(name, directories, ("list", b"")).await?;
    let servers: BTreeMap<String, String> = serde_json::from_slice(&output)
        .map_err(|_| HelperError::Refused { name: name.to_owned(), why: "its answer is no valid JSON".to_owned() })?;
    Ok(servers.into_keys().collect())
}

/// The output of a helper that has to succeed.
async fn succeed(name: &str, directories: &[PathBuf], words: (&str, &[u8])) -> Result<Vec<u8>, HelperError> {
    let (succeeded, output) = ask_within(PATIENCE, name, directories, words).await?;
    if succeeded {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output);
    Err(HelperError::Refused { name: name.to_owned(), why: excerpt(said.trim()) })
}

async fn ask_within(
    patience: Duration,
    name: &str,
    directories: &[PathBuf],
    words: (&str, &[u8]),
) -> Result<(bool, Vec<u8>), HelperError> {
    let program = find(name, directories)?;
    let outcome = tokio::time::timeout(patience, run(&program, name, words)).await;
    outcome.map_err(|_| HelperError::Timeout(name.to_owned()))?
}

fn find(name: &str, directories: &[PathBuf]) -> Result<PathBuf, HelperError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.is_empty() || name.len() > 100 || !name.bytes().all(word) {
        return Err(HelperError::Name(excerpt(name)));
    }
    let executable = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    directories
        .iter()
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(format!("docker-credential-{name}")))
        .find(executable)
        .ok_or_else(|| HelperError::Missing(name.to_owned()))
}

/// Runs the helper; killed where the future is dropped.
async fn run(program: &Path, name: &str, (verb, input): (&str, &[u8])) -> Result<(bool, Vec<u8>), HelperError> {
    let refuse = |error: std::io::Error| HelperError::Refused { name: name.to_owned(), why: error.to_string() };
    let mut child = tokio::process::Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(refuse)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that answers without reading closes the pipe; its answer counts all the same.
        let _ = stdin.write_all(input).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER + 1).read_to_end(&mut output).await.map_err(refuse)?;
    }
    if output.len() as u64 > MAX_ANSWER {
        return Err(HelperError::TooLong(name.to_owned()));
    }
    let status = child.wait().await.map_err(refuse)?;
    Ok((status.success(), output))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::registry::secret::Secret;

    fn helper(script: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker-credential-test");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let directories = vec![PathBuf::from("relative"), PathBuf::from("/nonexistent"), dir.path().to_owned()];
        (dir, directories)
    }

    #[tokio::test]
    async fn asks_on_standard_input_and_reads_the_answer() {
        let (_dir, path) = helper(
            r#"read server; [ "$1" = get ] && printf '{"ServerURL":"%s","Username":"u-%s","Secret":"s"}' "$server" "$server""#,
        );
        let found = get("test", "r.example", &path).await.unwrap();
        assert_eq!(
            found,
            Some(Credentials::Password { user: "u-r.example".into(), password: Secret::new("s".into()) })
        );
    }

    #[tokio::test]
    async fn a_helper_that_knows_nothing_is_no_error() {
        let (_dir, path) = helper("echo 'credentials not found in native keychain'; exit 1");
        assert_eq!(get("test", "r.example", &path).await, Ok(None));
    }

    #[tokio::test]
    async fn failures_say_which_helper() {
        let (_dir, path) = helper("echo 'keyring is locked'; exit 1");
        let error = get("test", "r", &path).await.expect_err("exit 1");
        assert_eq!(error.to_string(), "docker-credential-test: keyring is locked");
        let (_dir, path) = helper("echo 'hunter2'");
        let error = get("test", "r", &path).await.expect_err("no JSON");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let (_dir, path) = helper("head -c 70000 /dev/zero");
        assert_eq!(get("test", "r", &path).await, Err(HelperError::TooLong("test".into())));
        assert_eq!(get("other", "r", &path).await, Err(HelperError::Missing("other".into())));
    }

    #[tokio::test]
    async fn names_that_would_leave_the_directory_are_refused() {
        let (_dir, path) = helper("exit 0");
        for bad in ["", "../test", "a/b", "a b", "a\0b", "$(x)"] {
            assert!(matches!(get(bad, "r", &path).await, Err(HelperError::Name(_))), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn what_is_stored_goes_by_standard_input() {
        let (dir, path) =
            helper("echo $1 >> $0.log; cat >> $0.log; test $1 != list || echo '{\"r\":\"u\",\"s\":\"v\"}'");
        let credentials = password_of("u\"x", "pass\\word");
        store("test", "r", &credentials, &path).await.unwrap();
        erase("test", "r", &path).await.unwrap();
        assert_eq!(list("test", &path).await.unwrap(), ["r", "s"]);
        let log = fs::read_to_string(dir.path().join("docker-credential-test.log")).unwrap();
        let stored = r#"{"Secret":"pass\\word","ServerURL":"r","Username":"u\"x"}"#;
        assert_eq!(log, format!("store\n{stored}erase\nrlist\n"));
        let (_dir, path) = helper("echo 'keyring is locked'; exit 1");
        let error = store("test", "r", &credentials, &path).await.expect_err("exit 1");
        assert_eq!(error.to_string(), "docker-credential-test: keyring is locked");
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_given_up() {
        let (_dir, path) = helper("exec sleep 60");
        let outcome = get_within(Duration::from_millis(200), "test", "r", &path).await;
        assert_eq!(outcome, Err(HelperError::Timeout("test".into())));
    }
}
