//! Reading an archive of images in one pass, as it may come from a pipe.
//!
//! Whatever may be content goes to the store at once: under the digest that its
//! name claims, which is verified, or under the digest that it turns out to
//! have. What no image of the archive needs is swept away at the end.

use std::collections::BTreeMap;
use std::fs::File;

use super::{ArchiveError, INDEX_LIMIT, Origin, blob_of_name};
use crate::engine::api::{Failure, FailureKind};
use crate::engine::halt::Halt;
use crate::engine::images::unpack::{by_magic, peek};
use crate::model::digest::Digest;
use crate::snapshot::decompress::Decompressor;
use crate::snapshot::failure::Failure as TarFailure;
use crate::snapshot::tar::entry::{Entry, Kind};
use crate::snapshot::tar::reader::Archive;
use crate::snapshot::tar::stream::Supply;
use crate::snapshot::worker::Limits;
use crate::store::{Lease, Store, StoreError, Wait};

/// Files that an archive may have.
const MEMBERS: usize = 100_000;
/// Bytes that an archive may have, uncompressed.
const TOTAL: u64 = 256 << 30;
/// Aliases of aliases that are followed.
const HOPS: usize = 8;
/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// How long another process may take to receive a blob that we have too.
const PATIENCE: Wait = Wait::Until(std::time::Duration::from_secs(10 * 60));

/// The files of an archive by their names in it.
pub(crate) struct Members<'s> {
    store: &'s Store,
    lease: &'s Lease,
    halt: &'s Halt,
    files: BTreeMap<String, Member>,
    brought: Vec<Digest>,
}

enum Member {
    /// Read into memory.
    Document(Vec<u8>),
    /// In the store.
    Blob(Digest),
    /// Another name of the same archive.
    Alias(String),
}

struct Chunks(Decompressor);

impl Supply for Chunks {
    fn next(&mut self, mut spent: Vec<u8>) -> Result<Option<Vec<u8>>, TarFailure> {
        spent.resize(CHUNK, 0);
        let length = self.0.fill(&mut spent)?;
        spent.truncate(length);
        Ok((length > 0).then_some(spent))
    }
}

impl<'s> Members<'s> {
    /// Nothing read yet.
    pub(crate) fn new((store, lease, halt): (&'s Store, &'s Lease, &'s Halt)) -> Self {
        Self { store, lease, halt, files: BTreeMap::new(), brought: Vec::new() }
    }

    /// Reads an archive, plain or compressed with gzip or zstd, to its end.
    /// What has come stays in [`Members::brought`] in case of an error too.
    ///
    /// # Errors
    /// If it is no archive, or has what none may have; or what the store says.
    pub(crate) fn read(&mut self, input: File) -> Result<(), Failure> {
        let unreadable = |error: std::io::Error| ArchiveError::Damaged(error.to_string());
        let (head, length, input) = peek(self.halt.heed(input)?).map_err(unreadable)?;
        let compression = by_magic(head.get(..length).unwrap_or_default());
        let limits = Limits { total: TOTAL, ..Limits::default() };
        let chunks = Decompressor::new(Box::new(input), compression, limits).map_err(explain)?;
        let mut archive = Archive::new(Chunks(chunks));
        while let Some(entry) = archive.next_entry().map_err(explain)? {
            self.take(&entry, &mut archive)?;
        }
        Ok(())
    }

    /// Every blob that came with the archive, whether an image needs it or not.
    pub(crate) fn brought(&self) -> &[Digest] {
        &self.brought
    }

    fn take(&mut self, entry: &Entry, archive: &mut Archive<Chunks>) -> Result<(), Failure> {
        // A name that is no text cannot be referred to from a JSON document.
        let Ok(name) = std::str::from_utf8(entry.path.as_bytes()) else { return Ok(()) };
        let member = match &entry.kind {
            Kind::Directory => return Ok(()),
            Kind::File => match self.take_file(name, entry.size, archive)? {
                Some(member) => member,
                None => return Ok(()),
            },
            Kind::Symlink(target) => Member::Alias(resolve(name, target)?),
            Kind::Hardlink(target) => Member::Alias(String::from_utf8_lossy(target.as_bytes()).into_owned()),
            _ => return Err(ArchiveError::document(name, &"it is neither file, directory nor link").into()),
        };
        if self.files.len() >= MEMBERS {
            return Err(ArchiveError::TooLarge(format!("more than {MEMBERS} files")).into());
        }
        if self.files.insert(name.to_owned(), member).is_some() {
            return Err(ArchiveError::document(name, &"it is there twice").into());
        }
        Ok(())
    }

    fn take_file(&mut self, name: &str, size: u64, archive: &mut Archive<Chunks>) -> Result<Option<Member>, Failure> {
        if matches!(name, "manifest.json" | "index.json" | "oci-layout") {
            return read_document(name, size, archive).map(|bytes| Some(Member::Document(bytes)));
        }
        if let Some(digest) = blob_of_name(name) {
            self.take_blob(&digest, size, archive)?;
            return Ok(Some(Member::Blob(digest)));
        }
        let last = name.rsplit('/').next().unwrap_or(name);
        if matches!(last, "repositories" | "VERSION" | "json") {
            // What docker needed before 1.10.
            return Ok(None);
        }
        self.store.check_space(size)?;
        let mut spool = self.store.spool()?;
        copy(archive, |bytes| spool.append(bytes))?;
        self.store.extend_lease(self.lease, [&spool.digest()])?;
        let digest = spool.commit()?;
        self.brought.push(digest.clone());
        Ok(Some(Member::Blob(digest)))
    }

    /// Receives a blob; if the store has it, its bytes are not looked at.
    fn take_blob(&mut self, digest: &Digest, size: u64, archive: &mut Archive<Chunks>) -> Result<(), Failure> {
        self.store.extend_lease(self.lease, [digest])?;
        let Some(mut ingest) = self.store.ingest(digest, PATIENCE)? else { return Ok(()) };
        self.store.check_space(size)?;
        // A part that a killed download has left is of no use for a stream from its beginning.
        ingest.restart()?;
        if let Err(failure) = copy(archive, |bytes| ingest.append(bytes)) {
            let _ = ingest.discard();
            return Err(failure);
        }
        ingest.commit()?;
        self.brought.push(digest.clone());
        Ok(())
    }
}

impl Origin for Members<'_> {
    fn document(&self, name: &str) -> Option<&[u8]> {
        match self.files.get(name)? {
            Member::Document(bytes) => Some(bytes),
            Member::Blob(_) | Member::Alias(_) => None,
        }
    }

    fn named(&self, name: &str) -> Option<Digest> {
        let mut name = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..HOPS {
            match self.files.get(name)? {
                Member::Blob(digest) => return Some(digest.clone()),
                Member::Document(_) => return None,
                Member::Alias(target) => name = target,
            }
        }
        None
    }

    fn bring(&mut self, digest: &Digest) -> Result<bool, Failure> {
        self.store.extend_lease(self.lease, [digest])?;
        Ok(self.store.has_blob(digest))
    }
}

fn read_document(name: &str, size: u64, archive: &mut Archive<Chunks>) -> Result<Vec<u8>, Failure> {
    if size > INDEX_LIMIT {
        return Err(ArchiveError::TooLarge(format!("{name} has more than {INDEX_LIMIT} bytes")).into());
    }
    let mut document = Vec::new();
    copy(archive, |bytes| {
        document.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(document)
}

/// Passes on the data of the current entry.
fn copy(archive: &mut Archive<Chunks>, mut write: impl FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), Failure> {
    loop {
        let bytes = archive.data(CHUNK as u64).map_err(explain)?;
        if bytes.is_empty() {
            return Ok(());
        }
        write(bytes)?;
    }
}

/// The reader is made for layers and says so; here it reads what is around them.
fn explain(failure: TarFailure) -> Failure {
    match failure {
        TarFailure::Corrupt { reason } => ArchiveError::Damaged(reason).into(),
        TarFailure::Unsafe { entry, reason } => ArchiveError::document(&entry, &reason).into(),
        TarFailure::TooLarge { reason } => ArchiveError::TooLarge(reason).into(),
        other => Failure::new(FailureKind::Store, &other),
    }
}

/// What a link in the archive means, as a name of the archive.
fn resolve(name: &str, target: &[u8]) -> Result<String, Failure> {
    let refuse = || Failure::from(ArchiveError::document(name, &"it is a link that leaves the archive"));
    let target = std::str::from_utf8(target).map_err(|_| refuse())?;
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        return Err(refuse());
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(refuse)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_mean_names_of_the_archive() {
        for (name, target, means) in [
            ("a/layer.tar", "../b/layer.tar", Some("b/layer.tar")),
            ("a/layer.tar", "./x", Some("a/x")),
            ("a", "b//c", Some("b/c")),
            ("a", "..", None),
            ("a/b", "../../c", None),
            ("a", "/etc/passwd", None),
            ("a/b", "..", Some("")),
        ] {
            assert_eq!(resolve(name, target.as_bytes()).ok().as_deref(), means, "{name} -> {target}");
        }
        assert!(resolve("a", b"\xff").is_err());
    }
}
