//! An image made of a container: its image, and one layer more.

use serde_json::{Map, Value, json};

use super::archive::media;
use super::changes;
use super::pressing::Press;
use crate::engine::Engine;
use crate::engine::api::{Commit, Event, Failure, FailureKind};
use crate::model::compression::Compression;
use crate::model::container::ContainerRequest;
use crate::model::digest::Digest;
use crate::store::containers::Container;
use crate::store::image::{CONFIG_LIMIT, ImageLayer, ImageNames, NewImage, TagName};
use crate::store::{Lease, Store};
use crate::sys::failpoint;

impl Engine {
    /// Makes an image of `container`, whose changes `fill` writes as the archive of a layer.
    ///
    /// # Errors
    /// If a change makes no sense, or what `fill` or the store says; nothing is left behind then.
    pub(in crate::engine) fn commit_image(
        &self,
        store: &Store,
        (container, commit): (&Container, &Commit),
        fill: impl FnOnce(&mut Press) -> Result<(), Failure>,
        events: &mut dyn FnMut(Event),
    ) -> Result<Digest, Failure> {
        let changed = changes::config(&commit.changes)?;
        let lease = store.lease([])?;
        let mut brought = Vec::new();
        let made = (|| {
            let layer = receive((store, &lease, &mut brought), commit.compression, fill)?;
            failpoint::reach!("commit.blob_kept");
            self.finish_commit((store, &lease, &mut brought), (container, commit), (&changed, layer), events)
        })();
        store.release(lease)?;
        match &made {
            Ok(id) => self.tell_image("commit", &id.to_string(), commit.reference.as_ref()),
            Err(_) => {
                let swept = store.discard_unused(brought)?;
                self.remove_foreign(&swept.leftovers)?;
            }
        }
        made
    }

    fn finish_commit(
        &self,
        (store, lease, brought): (&Store, &Lease, &mut Vec<Digest>),
        (container, commit): (&Container, &Commit),
        (changed, layer): (&Value, ImageLayer),
        events: &mut dyn FnMut(Event),
    ) -> Result<Digest, Failure> {
        let base = store.find_image(&container.image.to_string())?;
        let text = store.read_blob(&base.id, CONFIG_LIMIT)?;
        let damaged = |error: serde_json::Error| {
            Failure::say(FailureKind::Corrupt, format!("read the configuration of image {}: {error}", base.id.short()))
        };
        let mut document: Map<String, Value> = serde_json::from_slice(&text).map_err(damaged)?;
        self.unpack_layers(store, std::slice::from_ref(&layer), events)?;
        events(Event::Committing);
        describe(&mut document, (container, commit), changed, &layer)?;
        let config = Value::Object(document).to_string().into_bytes();
        let manifest = manifest(base.layers.iter().chain([&layer]), &config).to_string().into_bytes();
        let (id, name) = (Digest::of(&config), Digest::of(&manifest));
        for (digest, bytes) in [(&id, &config), (&name, &manifest)] {
            store.extend_lease(lease, [digest])?;
            brought.push(digest.clone());
            store.put_blob(digest, bytes)?;
        }
        failpoint::reach!("commit.documents_put");
        let image = NewImage::describe(&name, &manifest, &config)?;
        let tags = commit.reference.iter().map(|reference| TagName { reference: reference.clone(), target: None });
        for (reference, before) in store.put_image(&image, &ImageNames { tags: tags.collect(), digests: vec![] })? {
            let sentence = format!("{reference} was the name of image {} until now", before.short());
            events(Event::Warning(sentence));
        }
        failpoint::reach!("commit.row_put");
        store.settle_layers()?;
        Ok(id)
    }
}

/// The new layer, as a blob.
fn receive(
    (store, lease, brought): (&Store, &Lease, &mut Vec<Digest>),
    compression: Compression,
    fill: impl FnOnce(&mut Press) -> Result<(), Failure>,
) -> Result<ImageLayer, Failure> {
    let mut press = Press::new(store, compression)?;
    fill(&mut press)?;
    let pressed = press.finish()?;
    failpoint::fails!("commit.spooled").map_err(crate::store::StoreError::errno("write", store.layout().root()))?;
    pressed.keep(store, lease, &mut |digest| brought.push(digest))
}

/// Makes the base's configuration that of the new image (OCI image-spec 1.1, config.md).
fn describe(
    document: &mut Map<String, Value>,
    (container, commit): (&Container, &Commit),
    changed: &Value,
    layer: &ImageLayer,
) -> Result<(), Failure> {
    let created = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339);
    let created = created.map_err(|error| Failure::new(FailureKind::Internal, &error))?;
    let request = &container.request;
    let command: Vec<&String> = request.entrypoint.iter().flatten().chain(&request.command).collect();
    let command = command.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ");
    let mut entry = json!({ "created": created, "created_by": command });
    let more = [("author", &commit.author), ("comment", &commit.message)];
    for (key, value) in more.into_iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value))) {
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(key.to_owned(), json!(value));
        }
    }
    document.insert("created".to_owned(), json!(created));
    if let Some(author) = &commit.author {
        document.insert("author".to_owned(), json!(author));
    }
    push(document, "history", entry);
    let rootfs = document.entry("rootfs").or_insert_with(|| json!({ "type": "layers" }));
    if let Some(rootfs) = rootfs.as_object_mut() {
        push(rootfs, "diff_ids", json!(layer.diff_id));
    }
    let config = document.entry("config").or_insert_with(|| json!({}));
    if !config.is_object() {
        *config = json!({});
    }
    if let Some(config) = config.as_object_mut() {
        as_it_ran(config, request);
        merge(config, changed);
    }
    Ok(())
}

fn push(object: &mut Map<String, Value>, key: &str, value: Value) {
    match object.get_mut(key).and_then(Value::as_array_mut) {
        Some(list) => list.push(value),
        None => drop(object.insert(key.to_owned(), json!([value]))),
    }
}

/// As docker has it, the image starts as the container was started.
fn as_it_ran(config: &mut Map<String, Value>, request: &ContainerRequest) {
    let mut put = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
    if let Some(entrypoint) = &request.entrypoint {
        put("Entrypoint", json!(entrypoint));
        put("Cmd", json!(request.command));
    } else if !request.command.is_empty() {
        put("Cmd", json!(request.command));
    }
    for (key, value) in [("User", &request.user), ("WorkingDir", &request.workdir)] {
        if let Some(value) = value {
            put(key, json!(value));
        }
    }
    let env: Vec<String> = request.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let labels: Map<String, Value> = request.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    merge(config, &json!({ "Env": env, "Labels": labels }));
}

/// Lays `changed` over `config`: variables and members are added, all else is replaced.
fn merge(config: &mut Map<String, Value>, changed: &Value) {
    for (key, value) in changed.as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("Env", Value::Array(added)) => {
                let name = |entry: &Value| entry.as_str().and_then(|text| text.split('=').next()).map(str::to_owned);
                let mut all = config.get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
                for entry in added {
                    all.retain(|known| name(known) != name(entry));
                    all.push(entry.clone());
                }
                config.insert(key.clone(), Value::Array(all));
            }
            (_, Value::Object(added)) => {
                let known = config.entry(key.clone()).or_insert_with(|| json!({}));
                if !known.is_object() {
                    *known = json!({});
                }
                if let Some(known) = known.as_object_mut() {
                    known.extend(added.clone());
                }
            }
            _ => drop(config.insert(key.clone(), value.clone())),
        }
    }
}

/// An OCI manifest, whatever the base's is.
pub(in crate::engine) fn manifest<'l>(layers: impl Iterator<Item = &'l ImageLayer>, config: &[u8]) -> Value {
    let oci = |kind: &str| match kind {
        "application/vnd.docker.image.rootfs.diff.tar" => media::OCI_LAYER.to_owned(),
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => format!("{}+gzip", media::OCI_LAYER),
        other => other.to_owned(),
    };
    let layers = layers.map(|of| json!({ "mediaType": oci(&of.media_type), "digest": of.blob, "size": of.size }));
    json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": { "mediaType": media::OCI_CONFIG, "digest": Digest::of(config), "size": config.len() },
        "layers": layers.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_lie_over_what_was_there() {
        let mut config = json!({
            "Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "Labels": null, "User": "app", "ExposedPorts": { "80/tcp": {} },
        });
        let changed =
            json!({ "Env": ["A=2", "B=3"], "Cmd": ["x"], "Labels": { "k": "v" }, "ExposedPorts": { "81/tcp": {} } });
        merge(config.as_object_mut().expect("an object"), &changed);
        let expected = json!({
            "Env": ["PATH=/bin", "A=2", "B=3"], "Cmd": ["x"], "Labels": { "k": "v" }, "User": "app",
            "ExposedPorts": { "80/tcp": {}, "81/tcp": {} },
        });
        assert_eq!(config, expected);
    }
}
