//! Images with real layers: archives, compressed, under a manifest.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test says no by panicking")]

use std::io::Write as _;

use pybox::model::digest::Digest;

use super::evil_registry::{Reply, Seen};
use super::image::{MANIFEST_TYPE, ranged};

/// A layer in both its forms.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) media_type: &'static str,
    pub(crate) blob: Vec<u8>,
    pub(crate) diff_id: Digest,
}

impl Layer {
    /// A tar of `files` (name and contents), packed as `kind` says: `tar`, `gzip` or `zstd`.
    pub(crate) fn of(kind: &str, files: &[(&str, &[u8])]) -> Self {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, contents) in files {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            archive.append(&header, *contents).unwrap();
        }
        Self::packed(kind, &archive.into_inner().unwrap())
    }

    /// `archive`, packed as `kind` says.
    pub(crate) fn packed(kind: &str, archive: &[u8]) -> Self {
        let (media_type, blob) = match kind {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(archive).unwrap();
                ("application/vnd.oci.image.layer.v1.tar+gzip", encoder.finish().unwrap())
            }
            "zstd" => ("application/vnd.oci.image.layer.v1.tar+zstd", zstd::encode_all(archive, 1).unwrap()),
            _ => ("application/vnd.oci.image.layer.v1.tar", archive.to_vec()),
        };
        Self { media_type, blob, diff_id: Digest::of(archive) }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.blob)
    }
}

/// An image as a registry serves it.
#[derive(Clone, Debug)]
pub(crate) struct LayeredImage {
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl LayeredImage {
    /// For linux and `architecture`.
    pub(crate) fn new(architecture: &str, layers: Vec<Layer>) -> Self {
        let ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", layer.diff_id)).collect();
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            ids.join(",")
        )
        .into_bytes();
        let descriptor = |media_type: &str, blob: &[u8]| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#, Digest::of(blob), blob.len())
        };
        let described: Vec<String> = layers.iter().map(|layer| descriptor(layer.media_type, &layer.blob)).collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", &config),
            described.join(",")
        )
        .into_bytes();
        Self { layers, config, manifest }
    }

    /// What an honest registry answers to `seen`; ranges are served.
    pub(crate) fn serve(&self, seen: &Seen) -> Reply {
        if seen.target.contains("/manifests/") {
            return Reply::ok(self.manifest.clone()).with("Content-Type", MANIFEST_TYPE);
        }
        let mut blobs = self.layers.iter().map(|layer| &layer.blob).chain([&self.config]);
        match blobs.find(|blob| seen.target.ends_with(&Digest::of(blob).to_string())) {
            Some(blob) => ranged(blob, seen),
            None => Reply::status(404),
        }
    }
}
