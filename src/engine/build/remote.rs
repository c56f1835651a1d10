//! Files that are downloaded for a build.
//!
//! What is kept of one is its version and its digest, not its bytes: as long as the server says that it is the
//! same, or the file says which one it has to be, a step that was done need not be done again, and nothing is
//! downloaded. When it is done anew, so is the download.

use std::path::PathBuf;

use super::Site;
use super::step::invalid;
use crate::engine::api::{Failure, FailureKind};
use crate::engine::halt::Halt;
use crate::engine::images::interruption::Readable;
use crate::model::container::NetworkMode;
use crate::model::digest::{Digest, Hasher};
use crate::registry::Client;
use crate::registry::download::{self, DownloadError, Found, Version};
use crate::registry::resolve::Reach;
use crate::store::Spool;
use crate::store::build_cache::Downloaded;

/// A file behind an address.
pub(super) struct Remote {
    pub(super) address: String,
    /// What it is called there.
    pub(super) name: Option<String>,
    /// The digest of its bytes, as far as is known.
    pub(super) digest: Digest,
    version: Version,
    /// The digest that it has to have.
    checksum: Option<Digest>,
    bytes: Option<Spool>,
}

impl Remote {
    /// Where its bytes are, once it was downloaded.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.bytes.as_ref().map(|spool| spool.path().to_owned())
    }

    /// When it was changed, in seconds since 1970, if the server says so.
    pub(super) fn modified(&self) -> u64 {
        let format = &time::format_description::well_known::Rfc2822;
        let time = self.version.modified.as_deref().and_then(|text| time::OffsetDateTime::parse(text, format).ok());
        time.and_then(|time| u64::try_from(time.unix_timestamp()).ok()).unwrap_or(0)
    }
}

impl Site<'_> {
    /// What is at these addresses now.
    pub(super) fn remotes(&self, addresses: &[String], checksum: Option<&Digest>) -> Result<Vec<Remote>, Failure> {
        let remote = |address: &String| {
            let name = download::file_name(address)?;
            if let Some(checksum) = checksum {
                let (digest, version) = (checksum.clone(), Version::default());
                let (address, checksum) = (address.clone(), Some(checksum.clone()));
                return Ok(Remote { address, name, digest, version, checksum, bytes: None });
            }
            let known = if self.build.fresh { None } else { self.store.downloaded(address) };
            let known = known.and_then(|known| Some((known.digest, serde_json::from_value(known.version).ok()?)));
            let mut remote = Remote {
                address: address.clone(),
                name,
                digest: Digest::of(b""),
                version: Version::default(),
                checksum: None,
                bytes: None,
            };
            let version = known.as_ref().map(|(_, version)| version);
            if let (false, Some((digest, version))) = (self.receive(&mut remote, version)?, &known) {
                (remote.digest, remote.version) = (digest.clone(), version.clone());
            }
            Ok(remote)
        };
        addresses.iter().map(remote).collect()
    }

    /// Sees to it that the bytes are here; tells their digest, in the words of the checksum if there is one.
    pub(super) fn fetched(&self, remote: &mut Remote) -> Result<Digest, Failure> {
        if remote.bytes.is_none() {
            self.receive(remote, None)?;
        }
        Ok(remote.digest.clone())
    }

    /// Downloads the file, unless it is the version that is known; whether it did.
    fn receive(&self, remote: &mut Remote, known: Option<&Version>) -> Result<bool, Failure> {
        // A file may be anybody's: only the command line opens what this machine has for itself.
        let reach = if self.build.network == NetworkMode::Host { Reach::Any } else { Reach::Outside };
        let client = Client::new(self.engine.registry_options())?;
        let address = remote.address.clone();
        let algorithm = remote.checksum.as_ref().map(Digest::algorithm);
        let received = unless_halted(self.ledger.halt(), async {
            let Found::New(mut body) = client.download(&address, known, reach).await? else { return Ok(None) };
            let mut spool = self.store.spool()?;
            let mut hasher = algorithm.map(Hasher::new);
            while let Some(bytes) = body.next().await? {
                spool.append(&bytes)?;
                hasher.iter_mut().for_each(|hasher| hasher.update(&bytes));
            }
            let digest = hasher.map_or_else(|| spool.digest(), Hasher::finish);
            Ok(Some((spool, digest, body.version.clone())))
        })?;
        let Some((spool, digest, version)) = received else { return Ok(false) };
        if let Some(expected) = remote.checksum.as_ref().filter(|expected| **expected != digest) {
            let sentence = format!("check {}: its digest is {digest}, expected {expected}", remote.address);
            let hint = "if the file was changed for good reasons, write its new digest into the build file";
            return Err(Failure::say(FailureKind::Invalid, sentence).hint(hint.to_owned()));
        }
        if remote.checksum.is_none() && version != Version::default() {
            let noted = serde_json::to_value(&version).unwrap_or_default();
            self.store.note_download(&remote.address, &Downloaded { digest: digest.clone(), version: noted })?;
        }
        (remote.digest, remote.version, remote.bytes) = (digest, version, Some(spool));
        Ok(true)
    }
}

/// Does `work` on a runtime of this thread, unless all work of the build is to end.
fn unless_halted<T>(halt: &Halt, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let internal = |error: std::io::Error| Failure::say(FailureKind::Internal, format!("start the runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    runtime.block_on(async {
        let asked = Readable::new(halt.as_fd().try_clone_to_owned().map_err(internal)?).map_err(internal)?;
        tokio::select! {
            biased;
            Ok(()) = asked.wait() => Err(Halt::failure()),
            outcome = work => outcome,
        }
    })
}

/// Whether a source is one to download.
pub(super) fn is_address(text: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|start| text.starts_with(start))
}

/// # Errors
/// If an address is that of a repository.
pub(super) fn refuse_repository(address: &str) -> Result<(), Failure> {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    if address.starts_with("http") && !path.ends_with(".git") {
        return Ok(());
    }
    let failure = invalid(format!("{path} is a git repository, and files alone are downloaded"));
    Err(failure.hint(format!("clone it in a step that has git: RUN git clone {path}")))
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        let (kind, hint) = match &error {
            DownloadError::Address { .. } => (FailureKind::Invalid, "as in https://files.example/name.tar.gz"),
            DownloadError::Refused { .. } => {
                let hint = "if it is meant to be on this machine, and you trust the file: pybox build --network host";
                (FailureKind::Denied, hint)
            }
            DownloadError::Status { status: 404 | 410, .. } => (FailureKind::NotFound, "check the address"),
            DownloadError::Size { .. } => (FailureKind::Invalid, "download it in a step that runs a command"),
            _ => (FailureKind::Unreachable, "check the address, the network and the proxy, and build again"),
        };
        Self::new(kind, &error).hint(hint.to_owned())
    }
}
