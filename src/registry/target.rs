//! Where images are sent: a repository of a registry, and the documents in it.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::authorize::Rights;
use super::client::Client;
use super::content::Content;
use super::document;
use super::errand::{Errand, Place};
use super::error::RegistryError;
use super::registries::Endpoint;
use crate::model::digest::Digest;
use crate::model::reference::Reference;

/// A repository that images are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(pub(crate) Endpoint);

impl Target {
    /// Host and port, as messages call it.
    pub fn registry(&self) -> &str {
        &self.0.authority
    }

    /// The repository there.
    pub fn repository(&self) -> &str {
        &self.0.repository
    }
}

/// A manifest or an index, to be sent byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Its media type.
    pub media_type: &'a str,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Client {
    /// Where `reference` is sent to: the registry that registries.conf says, never a mirror.
    ///
    /// # Errors
    /// [`RegistryError::Blocked`], or [`RegistryError::Configuration`].
    pub fn target(&self, reference: &Reference) -> Result<Target, RegistryError> {
        let last = self.registries.endpoints(reference)?.pop();
        last.map(Target).ok_or_else(|| RegistryError::NotFound {
            registry: reference.registry().to_owned(),
            what: format!("repository {}", reference.repository()),
        })
    }

    /// Whether the repository has the blob.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn has_blob(&self, target: &Target, digest: &Digest) -> Result<bool, RegistryError> {
        let what = format!("blob {}", digest.short());
        self.has(target, format!("blobs/{digest}"), &what).await
    }

    /// Whether the repository has the manifest or index.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn has_manifest(&self, target: &Target, digest: &Digest) -> Result<bool, RegistryError> {
        let what = format!("manifest {}", digest.short());
        self.has(target, format!("manifests/{digest}"), &what).await
    }

    async fn has(&self, target: &Target, path: String, what: &str) -> Result<bool, RegistryError> {
        let accept = [document::OCI_INDEX, document::OCI_MANIFEST, document::DOCKER_LIST, document::DOCKER_MANIFEST];
        let mut headers = HeaderMap::new();
        if let (true, Ok(accept)) = (path.starts_with("manifests/"), HeaderValue::from_str(&accept.join(", "))) {
            headers.insert(ACCEPT, accept);
        }
        let asked = self
            .insist(&Errand {
                endpoint: &target.0,
                rights: &Rights::Push,
                method: Method::HEAD,
                place: Place::Path(path),
                what,
                headers,
                content: Content::Nothing,
                tell: &|_| {},
            })
            .await;
        match asked {
            Ok(_) => Ok(true),
            // 405: it does not answer such questions, and will say when the blob itself comes.
            Err(RegistryError::Rejected { status: 404 | 405 | 410, .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Puts a manifest or an index down under `name`, a tag or a digest. All that it names has to be there.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn send_manifest(
        &self,
        target: &Target,
        name: &str,
        manifest: &Manifest<'_>,
    ) -> Result<(), RegistryError> {
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_str(manifest.media_type)
            .map_err(|error| RegistryError::Setup { registry: target.registry().to_owned(), source: error.into() })?;
        headers.insert(CONTENT_TYPE, media_type);
        self.insist(&Errand {
            endpoint: &target.0,
            rights: &Rights::Push,
            method: Method::PUT,
            place: Place::Path(format!("manifests/{name}")),
            what: &format!("the manifest of {}:{}", target.repository(), name.strip_prefix("sha256:").unwrap_or(name)),
            headers,
            content: Content::Whole(manifest.bytes.clone()),
            tell: &|_| {},
        })
        .await
        .map(drop)
    }
}
