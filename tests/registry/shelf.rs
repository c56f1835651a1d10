//! A registry that takes uploads by the book and keeps them in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use pybox::model::digest::Digest;

use super::evil_registry::{Reply, Seen};

/// What a registry has; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// By repository and digest.
    blobs: HashMap<(String, String), Vec<u8>>,
    uploads: HashMap<String, Vec<u8>>,
    manifests: HashMap<String, Vec<u8>>,
    begun: usize,
}

impl Shelf {
    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) {
        let key = (repository.to_owned(), Digest::of(bytes).to_string());
        self.0.lock().unwrap().blobs.insert(key, bytes.to_vec());
    }

    pub(crate) fn has(&self, repository: &str, bytes: &[u8]) -> bool {
        let key = (repository.to_owned(), Digest::of(bytes).to_string());
        self.0.lock().unwrap().blobs.get(&key).is_some_and(|kept| kept == bytes)
    }

    pub(crate) fn manifest(&self, path: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().manifests.get(path).cloned()
    }

    /// How many uploads were begun.
    pub(crate) fn begun(&self) -> usize {
        self.0.lock().unwrap().begun
    }

    /// Forgets all uploads.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap().uploads.clear();
    }

    /// What the book says.
    pub(crate) fn serve(&self, seen: &Seen) -> Reply {
        let mut kept = self.0.lock().unwrap();
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let parameter = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/")).next()
        };
        let path = path.strip_prefix("/v2/").unwrap();
        let (repository, place) = ["/blobs/", "/manifests/"]
            .iter()
            .find_map(|kind| path.find(kind).map(|at| (&path[..at], &path[at + 1..])))
            .unwrap();
        let upload = place.strip_prefix("blobs/uploads/").map(str::to_owned);
        match (seen.method.as_str(), upload) {
            ("POST", Some(_)) => {
                if let (Some(digest), Some(from)) = (parameter("mount"), parameter("from"))
                    && let Some(bytes) = kept.blobs.get(&(from, digest.clone())).cloned()
                {
                    kept.blobs.insert((repository.to_owned(), digest), bytes);
                    return Reply::status(201);
                }
                kept.begun += 1;
                let id = format!("u{}", kept.begun);
                kept.uploads.insert(id.clone(), Vec::new());
                Reply::status(202).with("Location", format!("/v2/{repository}/blobs/uploads/{id}?state=0"))
            }
            (method, Some(id)) => {
                let Some(bytes) = kept.uploads.get_mut(&id) else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
                let first = seen.header("content-range").map(|range| range.split_once('-').unwrap().0.to_owned());
                if first.is_some_and(|first| first.parse() != Ok(bytes.len())) {
                    return error(416, "RANGE_INVALID");
                }
                bytes.extend_from_slice(&seen.bytes);
                if method == "PUT" {
                    let bytes = kept.uploads.remove(&id).unwrap();
                    let digest = parameter("digest").unwrap();
                    if Digest::of(&bytes).to_string() != digest {
                        return error(400, "DIGEST_INVALID");
                    }
                    kept.blobs.insert((repository.to_owned(), digest), bytes);
                    return Reply::status(201);
                }
                let (last, length) = (bytes.len().saturating_sub(1), bytes.len());
                Reply::status(if method == "GET" { 204 } else { 202 })
                    .with("Location", format!("/v2/{repository}/blobs/uploads/{id}?state={length}"))
                    .with("Range", format!("0-{last}"))
            }
            ("PUT", None) => {
                kept.manifests.insert(path.to_owned(), seen.bytes.clone());
                Reply::status(201)
            }
            (_, None) => {
                let digest = place.strip_prefix("blobs/").unwrap_or_default().to_owned();
                let there =
                    kept.blobs.contains_key(&(repository.to_owned(), digest)) || kept.manifests.contains_key(path);
                Reply::status(if there { 200 } else { 404 })
            }
        }
    }
}

/// An error document with one code.
pub(crate) fn error(status: u16, code: &str) -> Reply {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"words of {code}"}}]}}"#);
    Reply { status, ..Reply::ok(body) }
}
