//! An OCI image layout in a directory.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{ArchiveError, INDEX_LIMIT, Origin, blob_name};
use crate::engine::api::Failure;
use crate::engine::halt::Halt;
use crate::model::digest::Digest;
use crate::store::{Ingest, Lease, Store, StoreError, Wait};
use crate::sys::path::RootFd;

/// Bytes that a layer's blob may have.
const BLOB_LIMIT: u64 = 64 << 30;
const PATIENCE: Wait = Wait::Until(std::time::Duration::from_secs(10 * 60));

/// A layout whose blobs come as they are asked for.
pub(crate) struct Directory<'s> {
    store: &'s Store,
    lease: &'s Lease,
    halt: &'s Halt,
    root: RootFd,
    index: Vec<u8>,
    layout: Vec<u8>,
    brought: Vec<Digest>,
}

impl<'s> Directory<'s> {
    /// Opens the layout at `path`; nothing in it resolves out of it.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn open((store, lease, halt): (&'s Store, &'s Lease, &'s Halt), path: &Path) -> Result<Self, Failure> {
        let root = RootFd::open_trusted(path).map_err(StoreError::errno("open", path))?;
        let document = |name: &str| {
            let mut bytes = Vec::new();
            let mut file = root.open_file(name, INDEX_LIMIT).map_err(|_| ArchiveError::NoImages)?;
            file.read_to_end(&mut bytes).map_err(|error| ArchiveError::document(name, &error))?;
            Ok::<_, Failure>(bytes)
        };
        let (index, layout) = (document("index.json")?, document("oci-layout")?);
        Ok(Self { store, lease, halt, root, index, layout, brought: Vec::new() })
    }

    /// Every blob that came, whether an image needs it or not.
    pub(crate) fn brought(&self) -> &[Digest] {
        &self.brought
    }

    fn fill(&self, ingest: &mut Ingest, file: &mut File, name: &str) -> Result<(), Failure> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            self.halt.check()?;
            let count = file.read(&mut buffer).map_err(|error| ArchiveError::document(name, &error))?;
            match buffer.get(..count).filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => ingest.append(bytes)?,
                None => return Ok(()),
            }
        }
    }
}

impl Origin for Directory<'_> {
    fn document(&self, name: &str) -> Option<&[u8]> {
        match name {
            "index.json" => Some(&self.index),
            "oci-layout" => Some(&self.layout),
            _ => None,
        }
    }

    fn named(&self, _name: &str) -> Option<Digest> {
        None
    }

    fn bring(&mut self, digest: &Digest) -> Result<bool, Failure> {
        self.store.extend_lease(self.lease, [digest])?;
        let Some(mut ingest) = self.store.ingest(digest, PATIENCE)? else { return Ok(true) };
        let name = blob_name(digest);
        let Ok(mut file) = self.root.open_file(&name, BLOB_LIMIT) else {
            ingest.discard()?;
            return Ok(false);
        };
        ingest.restart()?;
        if let Err(failure) = self.fill(&mut ingest, &mut file, &name) {
            // Part of a blob is of use to who can go on in the middle.
            let _ = ingest.discard();
            return Err(failure);
        }
        ingest.commit()?;
        self.brought.push(digest.clone());
        Ok(true)
    }
}
