//! A small image in parts, as a registry serves it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use pybox::model::digest::Digest;

use super::evil_registry::{Reply, Seen};

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// One layer, a configuration and a manifest that name each other rightly.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) layer: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Image {
    /// For `architecture`, with a layer of `size` bytes that are no tar.
    pub(crate) fn new(architecture: &str, size: usize) -> Self {
        let layer: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        Self::with_layer(architecture, layer)
    }

    /// For `architecture`, with the bytes of a layer.
    pub(crate) fn with_layer(architecture: &str, layer: Vec<u8>) -> Self {
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}},"config":{{}}}}"#,
            Digest::of(&layer)
        )
        .into_bytes();
        let mut image = Self { layer, config, manifest: Vec::new() };
        image.manifest = image.manifest_with("");
        image
    }

    /// The manifest, with `extra` members in its layer descriptor (`,"urls":[…]`).
    pub(crate) fn manifest_with(&self, extra: &str) -> Vec<u8> {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}{extra}}}]}}"#,
            Digest::of(&self.config),
            self.config.len(),
            Digest::of(&self.layer),
            self.layer.len()
        )
        .into_bytes()
    }

    /// What an honest registry answers to `seen`; ranges are served.
    pub(crate) fn serve(&self, seen: &Seen) -> Reply {
        let (_, name) = seen.target.rsplit_once('/').expect("a path");
        if seen.target.contains("/manifests/") {
            return Reply::ok(self.manifest.clone()).with("Content-Type", MANIFEST_TYPE);
        }
        let blobs = [&self.layer, &self.config];
        match blobs.into_iter().find(|blob| Digest::of(blob).to_string() == name) {
            Some(blob) => ranged(blob, seen),
            None => Reply::status(404),
        }
    }
}

/// `bytes`, or the part of them that the request's Range header asks for.
pub(crate) fn ranged(bytes: &[u8], seen: &Seen) -> Reply {
    let from = seen.header("range").and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match from {
        None | Some(0) => Reply::ok(bytes),
        Some(from) if from < bytes.len() => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            Reply { status: 206, ..Reply::ok(&bytes[from..]) }.with("Content-Range", range)
        }
        Some(_) => Reply::status(416),
    }
}
