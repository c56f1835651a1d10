//! `history`: how an image came to be, step by step.

use serde::Deserialize;

use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind, HistoryStep, ListHistory};
use crate::store::Access;
use crate::store::image::CONFIG_LIMIT;

/// What of an image's configuration counts here (OCI image-spec 1.1, config.md).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    history: Vec<Entry>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    empty_layer: bool,
}

impl Engine {
    /// The steps, the last one first.
    ///
    /// # Errors
    /// If there is no such image, or its configuration is damaged.
    pub(in crate::engine) fn list_history(&self, list: &ListHistory) -> Result<Vec<HistoryStep>, Failure> {
        let store = self.store(Access::Read)?;
        let image = store.find_image(&list.name)?;
        let text = store.read_blob(&image.id, CONFIG_LIMIT)?;
        let document: Document = serde_json::from_slice(&text)
            .map_err(|error| Failure::say(FailureKind::Corrupt, format!("configuration of {}: {error}", list.name)))?;
        let uses = store.layer_uses()?;
        let size = |index: usize| {
            let layer = image.layers.get(index)?;
            uses.iter().find(|known| known.diff_id == layer.diff_id).map(|known| known.bytes)
        };
        let names = store.image_names(&image.id)?;
        let names: Vec<String> = names.tags.iter().map(|tag| super::familiar(&tag.reference)).collect();
        let mut entries = document.history;
        // Layers that no step tells of have one each.
        let told = entries.iter().filter(|entry| !entry.empty_layer).count();
        entries.extend((told..image.layers.len()).map(|_| Entry::default()));
        let mut layer = 0;
        let mut steps = Vec::with_capacity(entries.len());
        for entry in entries {
            let bytes = if entry.empty_layer { Some(0) } else { size(layer) };
            layer += usize::from(!entry.empty_layer);
            steps.push(HistoryStep {
                id: None,
                created: entry.created.as_deref().and_then(milliseconds),
                created_by: entry.created_by.unwrap_or_default(),
                size: bytes.unwrap_or_default(),
                comment: entry.comment.unwrap_or_default(),
                names: Vec::new(),
            });
        }
        if let Some(last) = steps.last_mut() {
            (last.id, last.names) = (Some(image.id), names);
        }
        steps.reverse();
        Ok(steps)
    }
}

fn milliseconds(text: &str) -> Option<i64> {
    let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}
