//! The documents of the image that a build ends with.

use serde_json::{Value, json};

use super::{Made, Site, platform_fields};
use crate::engine::api::{Built, Event, Failure};
use crate::engine::images::{manifest, pressing};
use crate::model::digest::Digest;
use crate::model::reference::Reference;
use crate::store::image::{ImageLayer, ImageNames, NewImage, TagName};
use crate::sys::failpoint;

impl Site<'_> {
    /// Puts the image of the last stage into the store.
    pub(super) fn finish(&mut self, made: &Made, events: &mut dyn FnMut(Event)) -> Result<Built, Failure> {
        let names = self.names()?;
        let layers = self.pressed(made)?;
        let config = document(made, &self.build.labels).to_string().into_bytes();
        let mut manifest = manifest(layers.iter(), &config);
        if !self.build.annotations.is_empty() {
            let annotations = self.build.annotations.iter().map(|(key, value)| (key.clone(), json!(value)));
            manifest["annotations"] = Value::Object(annotations.collect());
        }
        let manifest = manifest.to_string().into_bytes();
        if let Some(output) = &self.build.output {
            self.write_out(made, output)?;
            if names.is_empty() {
                return Ok(Built { id: Digest::of(&config), names, kept: false });
            }
        }
        let (id, digest) = (Digest::of(&config), Digest::of(&manifest));
        for (digest, bytes) in [(&id, &config), (&digest, &manifest)] {
            self.store.extend_lease(self.lease, [digest])?;
            self.ledger.bring(digest.clone());
            self.store.put_blob(digest, bytes)?;
        }
        if self.is_here(&id, &digest, &names)? {
            return Ok(Built { id, names, kept: true });
        }
        failpoint::reach!("build.documents_put");
        let image = NewImage::describe(&digest, &manifest, &config)?;
        let tags = names.iter().map(|reference| TagName { reference: reference.clone(), target: None }).collect();
        self.store.put_image(&image, &ImageNames { tags, digests: Vec::new() })?;
        failpoint::reach!("build.row_put");
        self.engine.index_ahead(self.store, [&id], events);
        Ok(Built { id, names, kept: true })
    }

    /// The layers, those that were made here compressed as it is wanted: one that was kept by an earlier build may not be.
    fn pressed(&self, made: &Made) -> Result<Vec<ImageLayer>, Failure> {
        let wanted = self.build.compression;
        let mut layers = made.layers.clone();
        for layer in layers.iter_mut().skip(made.below) {
            let source = (self.store, self.lease);
            *layer = pressing::repress(source, layer, wanted, &mut |digest| self.ledger.bring(digest))?;
        }
        Ok(layers)
    }

    /// Whether all is as it is to be, and nothing has to reach the disk. One image may have several manifests.
    fn is_here(&self, id: &Digest, manifest: &Digest, names: &[Reference]) -> Result<bool, Failure> {
        if names.is_empty() {
            return Ok(self.store.find_image(&id.to_string()).is_ok_and(|known| known.manifest == *manifest));
        }
        for name in names {
            if self.store.find_reference(name)?.is_none_or(|known| known.id != *id || known.manifest != *manifest) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As the command line says, or else the file.
    fn names(&self) -> Result<Vec<Reference>, Failure> {
        if !self.build.names.is_empty() {
            return Ok(self.build.names.clone());
        }
        let Some(name) = &self.graph.name else { return Ok(Vec::new()) };
        let parsed = name.parse::<Reference>();
        parsed.map(|reference| vec![reference]).map_err(|error| super::step::invalid(error.to_string()))
    }
}

/// The configuration (OCI image-spec 1.1, config.md).
fn document(made: &Made, labels: &[(String, String)]) -> Value {
    let mut document = platform_fields(&made.platform);
    let mut config = made.state.config.clone();
    if !labels.is_empty() {
        let known = config.entry("Labels").or_insert_with(|| json!({}));
        if !known.is_object() {
            *known = json!({});
        }
        if let Some(known) = known.as_object_mut() {
            known.extend(labels.iter().map(|(key, value)| (key.clone(), json!(value))));
        }
    }
    let created = made.created.and_then(timestamp);
    document.extend(created.map(|created| ("created".to_owned(), json!(created))));
    document.extend(made.state.author.clone().map(|author| ("author".to_owned(), json!(author))));
    document.insert("config".to_owned(), Value::Object(config));
    let diff_ids: Vec<&Digest> = made.layers.iter().map(|layer| &layer.diff_id).collect();
    document.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": diff_ids }));
    document.insert("history".to_owned(), json!(made.history));
    Value::Object(document)
}

/// Milliseconds since the epoch, as images have times.
pub(super) fn timestamp(milliseconds: i64) -> Option<String> {
    let nanoseconds = i128::from(milliseconds).checked_mul(1_000_000)?;
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?;
    time.format(&time::format_description::well_known::Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_images_have_them() {
        assert_eq!(timestamp(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(timestamp(1_577_934_245_500).as_deref(), Some("2020-01-02T03:04:05.5Z"));
    }
}
