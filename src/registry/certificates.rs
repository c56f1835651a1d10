//! `certs.d/HOST[:PORT]/`: CA certificates and client certificates by registry
//! (the layout of docker and containers).
//!
//! `*.crt` are certificates that may sign the registry's own; `NAME.cert` with
//! `NAME.key` prove who we are. What is of one host is never used for another.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::RegistryError;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What certs.d holds for one host.
#[derive(Debug, Default)]
pub(crate) struct HostCertificates {
    /// Trusted for this host beside those of the system.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// The chain and the key to show.
    pub(crate) identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl HostCertificates {
    /// Whether nothing is configured for the host.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.identity.is_none()
    }

    /// Reads what the `directories` have for `authority` (host, and port if it
    /// is not the usual one); the first that has a directory for it decides.
    ///
    /// # Errors
    /// [`RegistryError::Configuration`] for a file that is no certificate or key.
    pub(crate) fn read(authority: &str, directories: &[PathBuf]) -> Result<Self, RegistryError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_');
        if authority.is_empty() || authority.starts_with('.') || !authority.bytes().all(word) {
            return Ok(Self::default());
        }
        let Some(directory) = directories.iter().map(|dir| dir.join(authority)).find(|dir| dir.is_dir()) else {
            return Ok(Self::default());
        };
        let entries = fs::read_dir(&directory).map_err(|error| unusable(&directory, &error.to_string()))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        let mut found = Self::default();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => found.roots.extend(certificates(&file)?),
                Some("cert") => found.identity = Some((certificates(&file)?, key(&file.with_extension("key"))?)),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let text = read(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &format!("no PEM certificate ({error})")))?;
    if found.is_empty() {
        return Err(unusable(path, "there is no PEM certificate in it"));
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, RegistryError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| unusable(path, "there is no PEM private key in it"))
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    let metadata = fs::metadata(path).map_err(|error| unusable(path, &error.to_string()))?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(unusable(path, "it is no regular file of at most 1 MiB"));
    }
    fs::read(path).map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, why: &str) -> RegistryError {
    RegistryError::Configuration { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_own_directory_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("r.example:5000")).unwrap();
        fs::write(
            dir.path().join("r.example:5000/ca.crt"),
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        fs::write(dir.path().join("x.crt"), "garbage").unwrap();
        let read =
            |authority: &str| HostCertificates::read(authority, &[PathBuf::from("/nonexistent"), dir.path().into()]);
        assert_eq!(read("r.example:5000").unwrap().roots.len(), 1);
        for other in ["r.example", "r.example:5001", ".", "..", "../x", ""] {
            assert!(read(other).unwrap().is_empty(), "{other}");
        }
    }

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("r")).unwrap();
        for (file, text) in [("ca.crt", "garbage"), ("client.cert", "garbage")] {
            let path = dir.path().join("r").join(file);
            fs::write(&path, text).unwrap();
            let error = HostCertificates::read("r", &[dir.path().into()]).expect_err(file);
            assert!(error.to_string().contains(file), "{error}");
            fs::remove_file(path).unwrap();
        }
    }
}
