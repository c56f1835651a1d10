//! Makes OCI image layouts.

use std::io::Write as _;
use std::path::Path;

use pybox::model::digest::Digest;
use serde_json::{Value, json};

/// How a layer is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A tar archive of regular files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).expect("in memory");
    }
    archive.into_inner().expect("in memory")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("in memory")
}

/// An image layout being filled.
pub(crate) struct Layout<'p> {
    path: &'p Path,
    manifests: Vec<Value>,
}

impl<'p> Layout<'p> {
    pub(crate) fn new(path: &'p Path) -> Self {
        std::fs::create_dir_all(path.join("blobs/sha256")).expect("mkdir");
        Self { path, manifests: Vec::new() }
    }

    pub(crate) fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::write(self.path.join("blobs/sha256").join(digest.hex()), bytes).expect("write");
        digest
    }

    /// Adds an image of one file a layer; its configuration's digest.
    pub(crate) fn image(&mut self, name: Option<&str>, layers: &[(&str, &[u8])], packing: Packing) -> Digest {
        let (mut diff_ids, mut descriptors) = (Vec::new(), Vec::new());
        for layer in layers {
            let plain = tar(&[*layer]);
            let (bytes, suffix) = match packing {
                Packing::Plain => (plain.clone(), ""),
                Packing::Gzip => (gzip(&plain), "+gzip"),
                Packing::Zstd => (zstd(&plain), "+zstd"),
            };
            diff_ids.push(Digest::of(&plain));
            let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
            descriptors.push(json!({ "mediaType": media_type, "digest": self.blob(&bytes), "size": bytes.len() }));
        }
        let config = json!({
            "created": "2024-05-06T07:08:09Z", "architecture": "amd64", "os": "linux",
            "config": { "Cmd": ["sh"], "Env": ["A=b"], "Labels": { "tier": "web" } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": [{ "created_by": "a test", "comment": "made up" }],
        })
        .to_string();
        let id = self.blob(config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": id, "size": config.len() },
            "layers": descriptors,
        })
        .to_string();
        let digest = self.blob(manifest.as_bytes());
        let mut descriptor = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": manifest.len(),
        });
        if let Some(name) = name {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        self.manifests.push(descriptor);
        id
    }

    /// Writes the index and what marks the layout.
    pub(crate) fn finish(self) {
        let index = json!({ "schemaVersion": 2, "manifests": self.manifests }).to_string();
        std::fs::write(self.path.join("index.json"), index).expect("write");
        std::fs::write(self.path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("write");
    }
}

/// A layout with one image of two layers.
pub(crate) fn simple(path: &Path, name: Option<&str>, packing: Packing) -> Digest {
    let mut layout = Layout::new(path);
    let id = layout.image(name, &[("etc/base", b"base"), ("etc/top", b"top")], packing);
    layout.finish();
    id
}
