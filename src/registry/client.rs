//! The client: a reference in, checked documents and streams out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;

use super::authorize::Authorizer;
use super::blob::BlobStream;
use super::document::{self, Descriptor, Document, Entry, LayerDescriptor, MAX_CONFIG, MAX_MANIFEST, Manifest};
use super::error::RegistryError;
use super::fetch::{Answer, Question};
use super::mirror::BlobCache;
use super::registries::{Endpoint, Registries};
use super::target::Target;
use super::tls::Trust;
use super::transport::Transport;
use super::upload::CHUNK;
use super::verify::{self, Verifier};
use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::model::reference::Reference;

/// What a client is made of. All paths may be missing on disk.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `auth.json` and `config.json` files, the one that counts most first.
    pub auth_files: Vec<PathBuf>,
    /// registries.conf files and `registries.conf.d` directories; later ones win.
    pub registries_conf: Vec<PathBuf>,
    /// Directories with one directory of certificates a host.
    pub certs_dirs: Vec<PathBuf>,
    /// The directories of PATH, where credential helpers are looked for; relative ones are passed over.
    pub helper_dirs: Vec<PathBuf>,
    /// Hosts of token servers that may have the credentials of any registry.
    pub allow_realm: Vec<String>,
    /// `User-Agent`, as in `pybox/0.1.0`.
    pub user_agent: String,
    /// Proxies; never used for loopback.
    pub proxies: Proxies,
    /// Patience.
    pub timing: Timing,
    /// Directories of blobs that are looked into before a registry is asked ([`BlobCache`]).
    pub blob_caches: Vec<PathBuf>,
    /// How many bytes of a large blob are sent at once; [`super::upload::CHUNK`] if none.
    pub chunk: Option<u64>,
}

/// Proxy settings as they stand in the environment. They may have passwords in
/// them, so they are not shown.
#[derive(Clone, Default)]
pub struct Proxies {
    /// `https_proxy`: the proxy for https registries.
    pub https: Option<String>,
    /// `http_proxy`.
    pub http: Option<String>,
    /// `no_proxy`: hosts that are reached directly.
    pub except: Option<String>,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For a connection.
    pub connect: Duration,
    /// For an answer, and for the next [`super::blob::PROGRESS`] bytes of a body.
    pub stall: Duration,
    /// About how long before the first retry; each further one waits twice as long.
    pub pause: Duration,
    /// The longest pause; a server that asks for a longer one is an error.
    pub longest_pause: Duration,
    /// How often a failure without progress is retried.
    pub retries: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            pause: Duration::from_millis(300),
            longest_pause: Duration::from_secs(60),
            retries: 5,
        }
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

impl Proxies {
    /// The names of the proxies' own hosts.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let urls = [&self.https, &self.http].into_iter().flatten();
        // A proxy may stand without scheme, as in `proxy.example:3128`.
        let parse = |text: &String| {
            Url::parse(text).ok().filter(Url::has_host).or_else(|| Url::parse(&format!("http://{text}")).ok())
        };
        urls.filter_map(|text| parse(text)?.host_str().map(str::to_owned)).collect()
    }

    pub(crate) fn make(&self) -> Result<Vec<reqwest::Proxy>, reqwest::Error> {
        let except = self.except.as_deref().and_then(reqwest::NoProxy::from_string);
        let https = self.https.as_deref().filter(|url| !url.is_empty()).map(reqwest::Proxy::https);
        let http = self.http.as_deref().filter(|url| !url.is_empty()).map(reqwest::Proxy::http);
        [https, http].into_iter().flatten().map(|proxy| Ok(proxy?.no_proxy(except.clone()))).collect()
    }
}

/// The place that answered for an image: its blobs are asked for there, and then
/// at those that would have been asked next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub(crate) endpoint: Endpoint,
    pub(crate) others: Vec<Endpoint>,
}

impl Source {
    /// Host and port, as messages call it.
    pub fn registry(&self) -> &str {
        &self.endpoint.authority
    }
}

/// An image, found and checked as far as documents go.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What was asked for.
    pub reference: Reference,
    /// Where it was found.
    pub source: Source,
    /// The index that led to the manifest, as it came.
    pub index: Option<(Digest, Bytes)>,
    /// Digest of the manifest.
    pub manifest_digest: Digest,
    /// The manifest, as it came.
    pub manifest: Bytes,
    /// Media type of the manifest.
    pub media_type: &'static str,
    /// The image configuration: to be had with [`Client::config`].
    pub config: Descriptor,
    /// The layers, base first: to be had with [`Client::blob`].
    pub layers: Vec<LayerDescriptor>,
}

impl Resolved {
    /// What the reference itself names: the index if there is one, else the manifest.
    pub fn digest(&self) -> &Digest {
        self.index.as_ref().map_or(&self.manifest_digest, |(digest, _)| digest)
    }
}

/// A client of registries. Cheap where nothing is asked: connections,
/// certificates and the resolver are made when first needed.
#[derive(Debug)]
pub struct Client {
    pub(crate) registries: Registries,
    pub(crate) transport: Transport,
    pub(crate) authorizer: Authorizer,
    /// How each host is spoken to, once that is known.
    pub(crate) bases: Mutex<HashMap<String, (Url, Trust)>>,
    /// Hosts that answered at least once: a refused connection there is worth a retry.
    pub(crate) answered: Mutex<HashSet<String>>,
    pub(crate) chunk: u64,
    pub(crate) cache: BlobCache,
}

impl Client {
    /// Makes a client and reads registries.conf.
    ///
    /// # Errors
    /// [`RegistryError::Configuration`].
    pub fn new(options: Options) -> Result<Self, RegistryError> {
        let Options { auth_files, registries_conf, certs_dirs, helper_dirs, allow_realm, user_agent, proxies, .. } =
            options;
        let (timing, chunk) = (options.timing, options.chunk.unwrap_or(CHUNK).max(1));
        let cache = BlobCache::new(options.blob_caches);
        Ok(Self {
            registries: Registries::read(&registries_conf)?,
            transport: Transport::new(certs_dirs, user_agent, proxies, timing),
            authorizer: Authorizer::new(auth_files, helper_dirs, allow_realm),
            bases: Mutex::default(),
            answered: Mutex::default(),
            chunk,
            cache,
        })
    }

    /// Finds the image that `reference` names for `platform`: mirrors first,
    /// then the registry itself, whose error is the one that is returned.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn manifest(&self, reference: &Reference, platform: &Platform) -> Result<Resolved, RegistryError> {
        let mut endpoints = VecDeque::from(self.registries.endpoints(reference)?);
        while let Some(endpoint) = endpoints.pop_front() {
            let name = endpoint.authority.clone();
            let source = Source { endpoint, others: endpoints.iter().cloned().collect() };
            match self.resolve(reference, source, platform).await {
                // The registry itself comes last, and its word is final.
                Err(error) if !endpoints.is_empty() => {
                    tracing::warn!(mirror = name, %error, "the mirror does not serve the image");
                }
                outcome => return outcome,
            }
        }
        let (registry, what) = (reference.registry().to_owned(), format!("image {reference}"));
        Err(RegistryError::NotFound { registry, what })
    }

    /// The configuration of `resolved`, checked to be for `platform`.
    ///
    /// # Errors
    /// [`RegistryError`]; `PlatformMissing` for a lone image of another platform.
    pub async fn config(&self, resolved: &Resolved, platform: &Platform) -> Result<Bytes, RegistryError> {
        let Descriptor { digest, size, .. } = &resolved.config;
        if *size > MAX_CONFIG {
            let what = format!("the configuration of {}", resolved.reference);
            return Err(RegistryError::TooLarge { what, limit: MAX_CONFIG });
        }
        let mut stream = self.blob(&resolved.source, Verifier::new(digest.clone(), *size));
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next_bytes().await? {
            bytes.extend_from_slice(&chunk);
        }
        document::check_config(&bytes, platform, &resolved.reference.to_string())?;
        Ok(bytes.into())
    }

    /// The manifest or index that `reference` names, as it comes; a digest in the name is held to.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn named_document(&self, reference: &Reference) -> Result<Bytes, RegistryError> {
        let Target(endpoint) = self.target(reference)?;
        let answer = self.document(&endpoint, &name_of(reference), &format!("image {reference}")).await?;
        if let Some(digest) = reference.digest() {
            verify::check(&answer.body, digest, &format!("the manifest of {reference}"))?;
        }
        Ok(answer.body)
    }

    /// The blob that `verifier` watches for, from the first byte that it has
    /// not seen. Nothing is asked before the first [`BlobStream::next`].
    pub fn blob(&self, source: &Source, verifier: Verifier) -> BlobStream<'_> {
        BlobStream::new(self, source.clone(), verifier)
    }

    /// The blobs that are kept beside the store.
    pub fn cache(&self) -> &BlobCache {
        &self.cache
    }

    async fn resolve(
        &self,
        reference: &Reference,
        source: Source,
        platform: &Platform,
    ) -> Result<Resolved, RegistryError> {
        let image = reference.to_string();
        let endpoint = &source.endpoint;
        let answer = self.document(endpoint, &name_of(reference), &format!("image {image}")).await?;
        let digest = match reference.digest() {
            Some(digest) => {
                verify::check(&answer.body, digest, &format!("the manifest of {image}"))?;
                digest.clone()
            }
            None => Digest::of(&answer.body),
        };
        let (index, manifest_digest, body, manifest) =
            match Document::parse(&answer.body, answer.content_type.as_deref(), &image)? {
                Document::Manifest(manifest) => (None, digest, answer.body, manifest),
                Document::Index(entries) => {
                    let entry = document::choose(&entries, platform, &image)?;
                    let (body, manifest) = self.member(endpoint, entry, &image).await?;
                    (Some((digest, answer.body)), entry.manifest.digest.clone(), body, manifest)
                }
            };
        let Manifest { media_type, config, layers } = manifest;
        let reference = reference.clone();
        Ok(Resolved { reference, source, index, manifest_digest, manifest: body, media_type, config, layers })
    }

    /// The manifest that an index entry names.
    async fn member(
        &self,
        endpoint: &Endpoint,
        entry: &Entry,
        image: &str,
    ) -> Result<(Bytes, Manifest), RegistryError> {
        let Descriptor { media_type, digest, size } = &entry.manifest;
        let what = format!("the manifest {} of {image}", digest.short());
        if *size > MAX_MANIFEST {
            return Err(RegistryError::TooLarge { what, limit: MAX_MANIFEST });
        }
        let answer = self.document(endpoint, &digest.to_string(), &what).await?;
        let mut verifier = Verifier::new(digest.clone(), *size);
        verifier.update(&answer.body)?;
        verifier.finish()?;
        match Document::parse(&answer.body, answer.content_type.as_deref(), image)? {
            Document::Manifest(manifest) if manifest.media_type == media_type => Ok((answer.body, manifest)),
            _ => {
                let why = format!("the index promises {} as {media_type:?}, and it is something else", digest.short());
                Err(RegistryError::InvalidManifest { image: image.to_owned(), why })
            }
        }
    }

    async fn document(&self, endpoint: &Endpoint, name: &str, what: &str) -> Result<Answer, RegistryError> {
        let accept = [document::OCI_INDEX, document::OCI_MANIFEST, document::DOCKER_LIST, document::DOCKER_MANIFEST];
        let question = Question {
            endpoint,
            path: format!("manifests/{name}"),
            what: what.to_owned(),
            accept: Some(accept.join(", ")),
            from: 0,
        };
        self.ask_for_all(&question, MAX_MANIFEST).await
    }
}

/// What a registry calls it: a digest says more than a tag.
fn name_of(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_known_by_their_hosts() {
        let proxies = |https: &str| Proxies { https: Some(https.into()), ..Proxies::default() };
        for (text, host) in [
            ("http://proxy.example:3128", "proxy.example"),
            ("http://user:password@proxy.example:3128/", "proxy.example"),
            ("proxy.example:3128", "proxy.example"),
            ("localhost:3128", "localhost"),
        ] {
            assert_eq!(proxies(text).hosts(), [host], "{text}");
            assert_eq!(proxies(text).make().unwrap().len(), 1, "{text}");
        }
        assert!(proxies("").make().unwrap().is_empty());
        assert!(Proxies::default().hosts().is_empty());
    }
}
