//! An image whose layers are compressed for the registry.
//!
//! Layers that are made here are plain archives, unless somebody wanted otherwise. Those that are compressed already stay
//! as they are: registries and other machines know them by their digests.

use serde_json::Value;

use super::shipment::{Document, Shipment};
use super::{Order, Pusher};
use crate::engine::api::{Failure, FailureKind};
use crate::engine::images::archive::media;
use crate::engine::images::{manifest, pressing};
use crate::model::compression::Compression;
use crate::model::digest::Digest;
use crate::registry::Target;
use crate::store::image::{CONFIG_LIMIT, ImageLayer};
use crate::store::{Lease, Store};

/// Compresses the layers of all orders that are not yet, if it is wanted. What is noted of an earlier push, though it is
/// not here any more, may be there: whoever sends it asks.
///
/// # Errors
/// If something is no single image, or what reading and writing say.
pub(super) fn press(
    source: (&Store, &Lease),
    orders: &mut [Order],
    wanted: Option<Compression>,
    brought: &mut Vec<Digest>,
) -> Result<(), Failure> {
    let Some(wanted) = wanted.filter(|wanted| *wanted != Compression::None) else { return Ok(()) };
    for order in orders {
        if order.index.is_some() || order.image.is_list() {
            let message = format!("{} is several images, whose layers stay as they are", order.destination);
            let hint = "push without --compression-format, or compress when building: pybox build --compression";
            return Err(Failure::say(FailureKind::Invalid, message).hint(hint.to_owned()));
        }
        let mut layers = Vec::new();
        for layer in &order.image.layers {
            let noted = || source.0.repressed(layer, wanted);
            layers.push(match is_plain(layer).then(noted) {
                None => layer.clone(),
                Some(Some(noted)) => noted,
                Some(None) => pressing::repress(source, layer, wanted, &mut |digest| brought.push(digest))?,
            });
        }
        order.layers = Some(layers).filter(|layers| *layers != order.image.layers);
    }
    Ok(())
}

/// An archive that is not compressed has its own digest for a name.
fn is_plain(layer: &ImageLayer) -> bool {
    layer.blob == layer.diff_id
}

impl Pusher<'_> {
    /// What is sent in place of `shipment`, if layers were compressed for it.
    pub(super) async fn press(
        &self,
        order: &Order,
        target: &Target,
        shipment: Shipment,
        lease: &Lease,
    ) -> Result<Shipment, Failure> {
        let Some(layers) = &order.layers else { return Ok(shipment) };
        self.store.extend_lease(lease, layers.iter().map(|layer| &layer.blob))?;
        let mut found = Vec::new();
        for (layer, plain) in layers.iter().zip(&order.image.layers) {
            found.push(self.find(target, (layer, plain), lease).await?);
        }
        let config = self.store.read_blob(&order.image.id, CONFIG_LIMIT)?;
        let mut manifest = manifest(found.iter(), &config);
        // What its maker wrote on it stays on it.
        if let Ok(Value::Object(mut plain)) = serde_json::from_slice(&shipment.top.bytes)
            && let Some(annotations) = plain.remove("annotations")
        {
            manifest["annotations"] = annotations;
        }
        let bytes = manifest.to_string().into_bytes();
        let top = Document { digest: Digest::of(&bytes), media_type: media::OCI_MANIFEST.to_owned(), bytes };
        let blobs = found.into_iter().map(|layer| (layer.blob, layer.size));
        let blobs = blobs.chain([(order.image.id.clone(), config.len() as u64)]).collect();
        Ok(Shipment { top, members: Vec::new(), blobs, missing: Vec::new() })
    }

    /// The layer, whose blob is here or there then.
    async fn find(
        &self,
        target: &Target,
        (layer, plain): (&ImageLayer, &ImageLayer),
        lease: &Lease,
    ) -> Result<ImageLayer, Failure> {
        if self.store.has_blob(&layer.blob) {
            return Ok(layer.clone());
        }
        if self.client.has_blob(target, &layer.blob).await? {
            self.there.borrow_mut().insert(layer.blob.clone());
            return Ok(layer.clone());
        }
        let known = [Compression::Gzip, Compression::Zstd];
        let wanted = known.into_iter().find(|known| layer.media_type.ends_with(known.suffix())).unwrap_or_default();
        // Whatever comes of it, the lease of this push keeps until the end, and a collection takes afterwards.
        pressing::repress((self.store, lease), plain, wanted, &mut |_| {})
    }
}
