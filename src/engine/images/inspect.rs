//! `inspect` of an image, in docker's words.

use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind};
use crate::model::reference::Reference;
use crate::store::Access;
use crate::store::image::{CONFIG_LIMIT, Image, ImageNames};

impl Engine {
    /// All that is known of an image.
    ///
    /// # Errors
    /// If there is no such image, or its configuration is damaged.
    pub(in crate::engine) fn inspect_image(&self, name: &str) -> Result<Value, Failure> {
        let store = self.store(Access::Read)?;
        let image = store.find_image(name)?;
        let names = store.image_names(&image.id)?;
        let config: Value = serde_json::from_slice(&store.read_blob(&image.id, CONFIG_LIMIT)?)
            .map_err(|error| Failure::say(FailureKind::Corrupt, format!("configuration of {name}: {error}")))?;
        Ok(document(&image, &names, &config))
    }
}

/// The document. What the configuration says is passed on as it is; `docker
/// inspect` does the same, and templates rely on it.
fn document(image: &Image, names: &ImageNames, config: &Value) -> Value {
    let text = |key: &str| config.get(key).cloned().unwrap_or_else(|| json!(""));
    let tags: Vec<_> = names.tags.iter().map(|tag| familiar(&tag.reference)).collect();
    let digests: Vec<_> = names.digests.iter().map(familiar).collect();
    let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let comment = config.pointer("/history").and_then(Value::as_array).and_then(|history| history.last());
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
    put("Id", json!(image.id));
    put("RepoTags", json!(tags));
    put("RepoDigests", json!(digests));
    put("Comment", comment.and_then(|entry| entry.get("comment")).cloned().unwrap_or_else(|| json!("")));
    put("Created", text("created"));
    put("Author", text("author"));
    put("Architecture", text("architecture"));
    if let Some(variant) = &image.platform.variant {
        put("Variant", json!(variant));
    }
    put("Os", text("os"));
    put("Size", json!(image.size));
    put("VirtualSize", json!(image.size));
    put("Config", config.get("config").cloned().unwrap_or_else(|| json!({})));
    put("RootFS", json!({ "Type": "layers", "Layers": diff_ids }));
    put("GraphDriver", json!({ "Name": "overlay", "Data": {} }));
    put("Labels", json!(image.labels));
    put("Digest", json!(image.manifest));
    put("History", config.get("history").cloned().unwrap_or_else(|| json!([])));
    Value::Object(document)
}

/// A name as people type it.
pub(in crate::engine) fn familiar(reference: &Reference) -> String {
    let mut text = reference.familiar_name();
    if let Some(tag) = reference.tag() {
        text = format!("{text}:{tag}");
    }
    if let Some(digest) = reference.digest() {
        text = format!("{text}@{digest}");
    }
    text
}
