//! Layers on their way into the store, compressed as they are wanted.

use std::fs::File;
use std::io::{self, Write};

use super::archive::media;
use super::unpack::compression as compression_of;
use crate::engine::api::{Failure, FailureKind};
use crate::model::compression::Compression;
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::snapshot::compress::Compressor;
use crate::snapshot::decompress::Decompressor;
use crate::snapshot::worker::Limits;
use crate::store::image::ImageLayer;
use crate::store::{Lease, Spool, Store, StoreError};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// The archive of a layer that is being written. Nothing stays if it is dropped.
pub(in crate::engine) struct Press {
    compression: Compression,
    /// Of the archive; none where that is the blob.
    plain: Option<Hasher>,
    compressor: Compressor<Spooling>,
}

/// A spool as something to write to.
struct Spooling(Spool);

/// A layer whose blob has no name yet.
pub(in crate::engine) struct Pressed {
    spool: Spool,
    diff_id: Digest,
    compression: Compression,
}

impl Press {
    /// Begins a layer.
    ///
    /// # Errors
    /// What the store or the compressor says.
    pub(in crate::engine) fn new(store: &Store, compression: Compression) -> Result<Self, Failure> {
        let compressor = Compressor::new(compression, Spooling(store.spool()?)).map_err(failed)?;
        let plain = (compression != Compression::None).then(|| Hasher::new(Algorithm::Sha256));
        Ok(Self { compression, plain, compressor })
    }

    /// Adds bytes of the archive.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(plain) = &mut self.plain {
            plain.update(bytes);
        }
        self.compressor.write_all(bytes).map_err(failed)
    }

    /// The archive is complete.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) fn finish(self) -> Result<Pressed, Failure> {
        let Spooling(spool) = self.compressor.finish().map_err(failed)?;
        let diff_id = self.plain.map_or_else(|| spool.digest(), Hasher::finish);
        Ok(Pressed { spool, diff_id, compression: self.compression })
    }
}

impl Pressed {
    /// Names the blob, which is protected by `lease` from now on, and noted as `brought`.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) fn keep(
        self,
        store: &Store,
        lease: &Lease,
        brought: &mut dyn FnMut(Digest),
    ) -> Result<ImageLayer, Failure> {
        let (blob, size) = (self.spool.digest(), self.spool.length());
        store.extend_lease(lease, [&blob])?;
        brought(blob);
        let blob = self.spool.commit()?;
        let media_type = format!("{}{}", media::OCI_LAYER, self.compression.suffix());
        Ok(ImageLayer { diff_id: self.diff_id, blob, size, media_type })
    }
}

impl Write for Spooling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What goes wrong passes the compressor as it is.
        self.0.append(bytes).map(|()| bytes.len()).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The layer with its blob compressed in this way, written anew if it is not. A blob that was made from the same one
/// before is known, and need not be here: see `is_needed`.
///
/// # Errors
/// What reading, or the store says.
pub(in crate::engine) fn repress(
    (store, lease): (&Store, &Lease),
    layer: &ImageLayer,
    wanted: Compression,
    brought: &mut dyn FnMut(Digest),
) -> Result<ImageLayer, Failure> {
    let read_failed = |error| StoreError::io("read", &store.layout().blob(&layer.blob))(error);
    let blob = store.open_blob(&layer.blob)?;
    let compression = compression_of(&blob).map_err(read_failed)?;
    if compression == wanted {
        return Ok(layer.clone());
    }
    if let Some(known) = store.repressed(layer, wanted) {
        store.extend_lease(lease, [&known.blob])?;
        // Asked only now: nobody removes it any more.
        if store.has_blob(&known.blob) {
            return Ok(known);
        }
    }
    let mut press = Press::new(store, wanted)?;
    pour(blob, compression, &mut |bytes| press.append(bytes))?;
    let made = press.finish()?;
    if made.diff_id != layer.diff_id {
        return Err(StoreError::DamagedBlob(layer.blob.clone()).into());
    }
    let made = made.keep(store, lease, brought)?;
    store.note_repressed(layer, wanted, &made)?;
    Ok(made)
}

/// Hands on what is in a blob.
fn pour(
    blob: File,
    compression: Compression,
    append: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let damaged = |failure| Failure::new(FailureKind::Corrupt, &failure);
    let mut input = Decompressor::new(Box::new(blob), compression, Limits::default()).map_err(damaged)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match input.fill(&mut buffer).map_err(damaged)? {
            0 => return Ok(()),
            count => append(buffer.get(..count).unwrap_or_default())?,
        }
    }
}

fn failed(error: io::Error) -> Failure {
    match error.downcast::<StoreError>() {
        Ok(failure) => failure.into(),
        Err(error) => Failure::say(FailureKind::Store, format!("compress a layer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    #[test]
    fn a_layer_is_compressed_in_any_way_and_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        let store = Store::open(&root, Access::Write).expect("open");
        let lease = store.lease([]).expect("a lease");
        let mut brought = Vec::new();
        let mut press = Press::new(&store, Compression::None).expect("begin");
        let archive = b"all the same ".repeat(100_000);
        archive.chunks(1000).for_each(|piece| press.append(piece).expect("append"));
        let plain = press.finish().expect("finish");
        let plain = plain.keep(&store, &lease, &mut |digest| brought.push(digest)).expect("keep");
        assert_eq!((&plain.blob, &plain.diff_id), (&Digest::of(&archive), &Digest::of(&archive)));
        let mut to = |layer: &ImageLayer, wanted| {
            repress((&store, &lease), layer, wanted, &mut |digest| brought.push(digest)).expect("repress")
        };
        let zstd = to(&plain, Compression::Zstd);
        assert_eq!(zstd.media_type, "application/vnd.oci.image.layer.v1.tar+zstd");
        assert!(zstd.size < plain.size / 10 && zstd.diff_id == plain.diff_id);
        let gzip = to(&zstd, Compression::Gzip);
        assert_eq!(to(&gzip, Compression::None), plain);
        assert_eq!(to(&plain, Compression::None), plain);
        assert_eq!(to(&plain, Compression::Gzip), gzip);
        // What is noted is no more than a hint.
        std::fs::remove_file(store.layout().blob(&zstd.blob)).expect("remove");
        assert_eq!(store.repressed(&plain, Compression::Zstd), Some(zstd.clone()));
        assert_eq!(to(&plain, Compression::Zstd), zstd);
        assert_eq!(brought.len(), 6, "{brought:?}");
        store.release(lease).expect("release");
    }
}
