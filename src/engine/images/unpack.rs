//! Layers whose blobs are here, and that are to be unpacked by workers.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::api::{Event, Failure, LayerProgress, LayerSize};
use crate::engine::halt::Halt;
use crate::model::digest::Digest;
use crate::snapshot::worker::{Compression, Limits, Unpack, Unpacked, Warning, WarningKind, Worker, WorkerProgram};
use crate::store::image::{Image, ImageLayer};
use crate::store::layers::{LayerIngest, LayerStats, Settle};
use crate::store::{Store, StoreError, Wait};

/// Layers unpacked at a time: one writes files while another is decompressed.
const TOGETHER: usize = 2;

/// How long another process may take to unpack a layer that we need too.
const PATIENCE: Wait = Wait::Until(Duration::from_secs(10 * 60));

/// Layers that are being unpacked, the oldest first.
struct Unpacking<'e> {
    engine: &'e Engine,
    store: &'e Store,
    program: WorkerProgram,
    /// What ends the work, if anything does.
    halt: Option<&'e Halt>,
    under_way: VecDeque<(ImageLayer, LayerIngest, Worker)>,
}

impl Engine {
    /// The image with all its layers: those that a crash of the machine put in
    /// doubt, or that somebody deleted, are unpacked again from their blobs.
    ///
    /// # Errors
    /// With the layer that cannot be unpacked.
    pub(in crate::engine) fn whole_image(
        &self,
        store: &Store,
        image: Image,
        events: &mut dyn FnMut(Event),
    ) -> Result<Image, Failure> {
        match store.layer_dirs(&image) {
            Ok(_) => Ok(image),
            Err(StoreError::MissingLayer(_)) => {
                self.unpack_layers(store, &image.layers, events)?;
                self.settle_later(events);
                Ok(store.image_of_manifest(&image.id, &image.manifest)?)
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Unpacks those of `layers` that are not, from their blobs.
    ///
    /// # Errors
    /// With the layer that cannot be unpacked; those that were finished stay.
    pub(in crate::engine) fn unpack_layers(
        &self,
        store: &Store,
        layers: &[ImageLayer],
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        self.unpack_unless((store, None), layers, events)
    }

    /// The same, until work is to end.
    ///
    /// # Errors
    /// With the layer that cannot be unpacked, or that work is to end.
    pub(in crate::engine) fn unpack_unless(
        &self,
        (store, halt): (&Store, Option<&Halt>),
        layers: &[ImageLayer],
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        let missing: Vec<_> =
            layers.iter().filter(|layer| seen.insert(&layer.diff_id) && !store.has_layer(&layer.diff_id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let size = |layer: &&ImageLayer| LayerSize { digest: layer.blob.clone(), size: layer.size };
        events(Event::Layers(missing.iter().map(size).collect()));
        let mut unpacking = Unpacking {
            engine: self,
            store,
            program: self.unpacker(store)?,
            halt,
            under_way: VecDeque::with_capacity(TOGETHER),
        };
        for layer in missing {
            unpacking.start(layer, events)?;
        }
        while !unpacking.under_way.is_empty() {
            unpacking.finish_first(events)?;
        }
        Ok(())
    }
}

impl Unpacking<'_> {
    fn start(&mut self, layer: &ImageLayer, events: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        let ingest = loop {
            if self.under_way.len() >= TOGETHER {
                self.finish_first(events)?;
            }
            // Who waits holds nothing: else two processes with the same layers
            // in another order would wait for each other.
            let wait = if self.under_way.is_empty() { PATIENCE } else { Wait::No };
            match self.store.begin_layer(&layer.diff_id, wait) {
                Err(StoreError::Busy { .. }) if !self.under_way.is_empty() => self.finish_first(events)?,
                other => break other?,
            }
        };
        let Some(ingest) = ingest else {
            events(progress(layer, LayerProgress::Present));
            return Ok(());
        };
        self.engine.remove_foreign(ingest.leftovers())?;
        events(progress(layer, LayerProgress::Unpacking));
        match self.spawn(layer, &ingest) {
            Ok(worker) => {
                self.under_way.push_back((layer.clone(), ingest, worker));
                Ok(())
            }
            Err(failure) => {
                self.abort(ingest);
                Err(failure)
            }
        }
    }

    fn spawn(&self, layer: &ImageLayer, ingest: &LayerIngest) -> Result<Worker, Failure> {
        let blob = self.store.open_blob(&layer.blob)?;
        let compression = compression(&blob).map_err(StoreError::io("read", &self.store.layout().blob(&layer.blob)))?;
        let job = Unpack { compression, diff_id: Some(layer.diff_id.clone()), limits: Limits::default() };
        let output = ingest.open_diff()?;
        Ok(self.program.unpack(&job, output.as_fd(), blob.as_fd())?)
    }

    fn finish_first(&mut self, events: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        if let (Some(halt), Some((_, _, worker))) = (self.halt, self.under_way.front()) {
            halt.wait_for(worker.socket())?;
        }
        let Some((layer, ingest, worker)) = self.under_way.pop_front() else { return Ok(()) };
        match worker.wait() {
            Ok(unpacked) => {
                self.store.commit_layer(ingest, &stats(&unpacked), Settle::Later)?;
                unpacked.warnings.iter().for_each(|warning| events(Event::Warning(sentence(&layer.blob, warning))));
                events(progress(&layer, LayerProgress::Done));
                Ok(())
            }
            Err(error) => {
                self.abort(ingest);
                Err(Failure::from(error))
            }
        }
    }

    /// The first error is the one to tell; what cannot be removed now is garbage for later.
    fn abort(&self, ingest: LayerIngest) {
        let leftovers = self.store.abort_layer(ingest);
        let _ = self.engine.remove_foreign(&leftovers);
    }
}

impl Drop for Unpacking<'_> {
    fn drop(&mut self) {
        // After an error: kill the other workers before their directories go.
        while let Some((_, ingest, worker)) = self.under_way.pop_front() {
            drop(worker);
            self.abort(ingest);
        }
    }
}

fn progress(layer: &ImageLayer, progress: LayerProgress) -> Event {
    Event::Layer { digest: layer.blob.clone(), progress }
}

fn stats(unpacked: &Unpacked) -> LayerStats {
    LayerStats { bytes: unpacked.bytes, entries: unpacked.entries }
}

/// What was not kept of the layer with this blob, for people.
pub(super) fn sentence(blob: &Digest, warning: &Warning) -> String {
    let what = match warning.kind {
        WarningKind::UnmappedOwner => "owners that no id here is mapped to were kept as a note",
        WarningKind::DevicePlaceholder => "devices are empty files, as only root can make devices",
        WarningKind::AttributeRefused => "extended attributes were refused by the file system",
    };
    let Warning { count, example, .. } = warning;
    format!("layer {}: {what} ({count}, as of {example})", blob.short())
}

/// How the blob is packed, by its first bytes: docker calls every layer gzip.
pub(super) fn compression(blob: &File) -> std::io::Result<Compression> {
    use std::os::unix::fs::FileExt as _;
    let mut magic = [0; 4];
    let length = blob.read_at(&mut magic, 0)?;
    Ok(by_magic(magic.get(..length).unwrap_or_default()))
}

/// What compression these first bytes stand for.
pub(super) fn by_magic(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A skippable frame may stand before the first one.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// The first bytes of `input`, and all of it again.
pub(super) fn peek<R: std::io::Read + Send + 'static>(
    mut input: R,
) -> std::io::Result<([u8; 4], usize, impl std::io::Read + Send + 'static)> {
    let mut head = [0; 4];
    let mut length = 0;
    while let Some(rest) = head.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match input.read(rest)? {
            0 => break,
            count => length += count,
        }
    }
    let start = std::io::Cursor::new(head.get(..length).unwrap_or_default().to_vec());
    Ok((head, length, start.chain(input)))
}
