//! `import`: an image of one layer from a root file system.
//!
//! An archive is kept byte for byte as the layer's blob; a directory is packed
//! first. Either way the layer is then unpacked from its blob as any other, by
//! the worker: what the user brings is no more trusted than what a registry has.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use serde_json::json;
use sha2::Digest as _;

use super::archive::media;
use super::changes;
use super::unpack::by_magic;
use crate::engine::Engine;
use crate::engine::api::{Event, Failure, FailureKind, Import, Imported, Source};
use crate::engine::halt::{self, Halt};
use crate::engine::host;
use crate::model::container::UserNamespace;
use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::snapshot::decompress::Decompressor;
use crate::snapshot::pack;
use crate::snapshot::worker::{Compression, Limits};
use crate::store::image::{ImageLayer, ImageNames, NewImage, TagName};
use crate::store::{Access, Lease, Spool, Store, StoreError};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

impl Engine {
    /// Makes an image of a root file system.
    ///
    /// # Errors
    /// If the source cannot be read or is no root file system, or a change makes no sense.
    pub(in crate::engine) fn import_image(
        &self,
        import: &Import,
        events: &mut dyn FnMut(Event),
    ) -> Result<Imported, Failure> {
        // What makes no sense is said before anything is read.
        let config = changes::config(&import.changes)?;
        halt::listening(|halt| self.import_until(import, &config, halt, events))
    }

    fn import_until(
        &self,
        import: &Import,
        config: &serde_json::Value,
        halt: &Halt,
        events: &mut dyn FnMut(Event),
    ) -> Result<Imported, Failure> {
        let store = self.store(Access::Write)?;
        let lease = store.lease([])?;
        let mut brought = Vec::new();
        let imported = self.import_with((import, halt), config, (&store, &lease, &mut brought), events);
        store.release(lease)?;
        if imported.is_err() {
            let swept = store.discard_unused(brought)?;
            self.remove_foreign(&swept.leftovers)?;
        }
        if let Ok(image) = &imported {
            self.index_ahead(&store, [&image.id], events);
            self.tell_image("import", &image.id.to_string(), import.reference.as_ref());
        }
        imported
    }

    fn import_with(
        &self,
        (import, halt): (&Import, &Halt),
        config: &serde_json::Value,
        (store, lease, brought): (&Store, &Lease, &mut Vec<Digest>),
        events: &mut dyn FnMut(Event),
    ) -> Result<Imported, Failure> {
        let mut keep = |digest: &Digest| -> Result<(), Failure> {
            store.extend_lease(lease, [digest])?;
            brought.push(digest.clone());
            Ok(())
        };
        let spool = receive((&import.source, halt), store, events)?;
        keep(&spool.digest())?;
        let size = spool.length();
        let blob = spool.commit()?;
        let (compression, diff_id) = diff_id(store, &blob, halt)?;
        keep(&diff_id)?;
        let layer =
            ImageLayer { diff_id, blob, size, media_type: format!("{}{}", media::OCI_LAYER, compression.suffix()) };
        self.unpack_unless((store, Some(halt)), std::slice::from_ref(&layer), events)?;
        events(Event::Committing);
        let (config, manifest) = documents(import, config, &layer)?;
        let (id, name) = (Digest::of(&config), Digest::of(&manifest));
        for (digest, bytes) in [(&id, &config), (&name, &manifest)] {
            keep(digest)?;
            store.put_blob(digest, bytes)?;
        }
        let image = NewImage::describe(&name, &manifest, &config)?;
        let tags = import.reference.iter().map(|reference| TagName { reference: reference.clone(), target: None });
        for (reference, before) in store.put_image(&image, &ImageNames { tags: tags.collect(), digests: vec![] })? {
            let sentence = format!("{reference} was the name of image {} until now", before.short());
            events(Event::Warning(sentence));
        }
        store.settle_layers()?;
        Ok(Imported { id, references: import.reference.iter().cloned().collect() })
    }
}

/// Brings the layer's bytes into the store.
fn receive((source, halt): (&Source, &Halt), store: &Store, events: &mut dyn FnMut(Event)) -> Result<Spool, Failure> {
    let mut spool = store.spool()?;
    match source {
        Source::Path(path) if path.is_dir() => receive_directory((path, halt), &mut spool, events)?,
        Source::Path(path) => {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            receive_archive(halt.heed(file)?, path, &mut spool)?;
        }
        Source::Standard => {
            let path = Path::new("standard input");
            let input = io::stdin().as_fd().try_clone_to_owned().map_err(|error| unreadable(path, &error))?;
            receive_archive(halt.heed(File::from(input))?, path, &mut spool)?;
        }
    }
    Ok(spool)
}

fn receive_directory(
    (path, halt): (&Path, &Halt),
    spool: &mut Spool,
    events: &mut dyn FnMut(Event),
) -> Result<(), Failure> {
    let map = host::id_map(&UserNamespace::Default)?;
    let mut output = Spooling { spool, halt, failure: None };
    let packed = pack::pack(path, map.as_ref(), io::BufWriter::with_capacity(CHUNK, &mut output));
    if let Some(failure) = output.failure {
        return Err(failure);
    }
    let packed = packed.map_err(|error| {
        // The files are the user's: this is no fault of the store.
        Failure::new(FailureKind::Invalid, &error).hint(unreadable_hint(&error))
    })?;
    if packed.left_out > 0 {
        events(Event::Warning(format!("{} sockets are not in the image", packed.left_out)));
    }
    Ok(())
}

fn unreadable_hint(error: &crate::snapshot::failure::SnapshotError) -> Option<String> {
    use crate::snapshot::failure::SnapshotError;
    let SnapshotError::Io { source, .. } = error else { return None };
    (source.kind() == io::ErrorKind::PermissionDenied)
        .then(|| "sudo tar -C DIR -c . | pybox import - NAME reads files that belong to others".to_owned())
}

/// The spool as something to write to; keeps what went wrong.
struct Spooling<'s> {
    spool: &'s mut Spool,
    halt: &'s Halt,
    failure: Option<Failure>,
}

impl Write for Spooling<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.halt.check().and_then(|()| Ok(self.spool.append(bytes)?)) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                self.failure.get_or_insert(failure);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Brings an archive into the spool as it is.
///
/// # Errors
/// If it cannot be read, or is compressed as no layer may be.
pub(in crate::engine) fn receive_archive(mut input: impl Read, path: &Path, spool: &mut Spool) -> Result<(), Failure> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(path, &error)),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        if spool.length() == 0 {
            check_kind(bytes, path)?;
        }
        spool.append(bytes)?;
    }
    if spool.length() == 0 {
        return Err(Failure::say(FailureKind::Invalid, format!("{} is empty", path.display())));
    }
    Ok(())
}

/// The program that has compressed what begins so, if it is one whose work nothing here can read.
pub(in crate::engine) fn foreign_compression(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        [b'L', b'Z', b'I', b'P', ..] => Some("lzip"),
        _ => None,
    }
}

/// Names the compressions that no image layer may have.
fn check_kind(head: &[u8], path: &Path) -> Result<(), Failure> {
    let Some(program) = foreign_compression(head) else { return Ok(()) };
    let message = format!("{} is compressed with {program}; layers are plain, gzip or zstd", path.display());
    Err(Failure::say(FailureKind::Invalid, message).hint(format!("{program} -dc FILE | pybox import - NAME")))
}

/// The layer that a blob is, whatever it is compressed with.
///
/// # Errors
/// If it cannot be read.
pub(in crate::engine) fn layer_of(
    store: &Store,
    (blob, size): (Digest, u64),
    halt: &Halt,
) -> Result<ImageLayer, Failure> {
    let (compression, diff_id) = diff_id(store, &blob, halt)?;
    Ok(ImageLayer { diff_id, blob, size, media_type: format!("{}{}", media::OCI_LAYER, compression.suffix()) })
}

/// How the blob is compressed, and the digest of what is in it.
fn diff_id(store: &Store, blob: &Digest, halt: &Halt) -> Result<(Compression, Digest), Failure> {
    let mut head = Vec::new();
    let read_failed = |error| StoreError::io("read", &store.layout().blob(blob))(error);
    store.open_blob(blob)?.take(4).read_to_end(&mut head).map_err(read_failed)?;
    let compression = by_magic(&head);
    if compression == Compression::None {
        return Ok((compression, blob.clone()));
    }
    let damaged = |failure| Failure::new(FailureKind::Corrupt, &failure);
    let input = Box::new(store.open_blob(blob)?);
    let mut input = Decompressor::new(input, compression, Limits::default()).map_err(damaged)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        halt.check()?;
        match input.fill(&mut buffer).map_err(damaged)? {
            0 => return Ok((compression, Digest::sha256(&hasher.finalize().into()))),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// The configuration and the manifest of an image of one layer (OCI image-spec 1.1).
fn documents(import: &Import, config: &serde_json::Value, layer: &ImageLayer) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let platform = import.platform.clone().unwrap_or_else(Platform::host);
    let created = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339);
    let internal = |error: &dyn std::error::Error| Failure::new(FailureKind::Internal, error);
    let created = created.map_err(|error| internal(&error))?;
    let comment = import.message.clone().unwrap_or_else(|| match &import.source {
        Source::Path(path) => format!("imported from {}", path.file_name().unwrap_or_default().display()),
        Source::Standard => "imported from standard input".to_owned(),
    });
    let mut document = json!({
        "created": created,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        "history": [{ "created": created, "created_by": "pybox import", "comment": comment }],
    });
    if let (Some(variant), Some(document)) = (&platform.variant, document.as_object_mut()) {
        document.insert("variant".to_owned(), json!(variant));
    }
    let config = serde_json::to_vec(&document).map_err(|error| internal(&error))?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": { "mediaType": media::OCI_CONFIG, "digest": Digest::of(&config), "size": config.len() },
        "layers": [{ "mediaType": layer.media_type, "digest": layer.blob, "size": layer.size }],
    });
    let manifest = serde_json::to_vec(&manifest).map_err(|error| internal(&error))?;
    Ok((config, manifest))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FailureKind::NotFound,
        _ => FailureKind::Invalid,
    };
    Failure::say(kind, format!("read {}: {error}", path.display()))
}
