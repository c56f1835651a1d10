//! https: whose certificates are taken, and that nothing leads away from it.

use std::path::Path;
use std::sync::Arc;

use pybox::registry::{Client, Options, RegistryError};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::evil_registry::{EvilRegistry, Reply, Seen};
use super::image::Image;
use super::{layer, options, resolve};

/// An authority that signs certificates for 127.0.0.1.
struct Authority {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
    params: rcgen::CertificateParams,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key, params }
    }

    /// A server over TLS whose certificate this authority signed.
    fn serve(&self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> EvilRegistry {
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let settings = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let settings = Arc::new(settings);
        let dress = move |stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&settings)).ok()?;
            Some(rustls::StreamOwned::new(connection, stream))
        };
        EvilRegistry::start_over(dress, script)
    }

    /// Writes the certificate to `certs_dir` for `host`.
    fn install(&self, certs_dir: &Path, host: &str) {
        std::fs::create_dir_all(certs_dir.join(host)).unwrap();
        std::fs::write(certs_dir.join(host).join("ca.crt"), self.certificate.pem()).unwrap();
    }
}

fn client_with(certs_dir: &Path) -> Client {
    Client::new(Options { certs_dirs: vec![certs_dir.to_owned()], ..options() }).unwrap()
}

#[tokio::test]
async fn a_certificate_in_certs_d_makes_it_https() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let image = Image::new("amd64", 50_000);
    let served = image.clone();
    let registry = authority.serve(move |seen| served.serve(seen));
    authority.install(dir.path(), registry.address());
    let client = client_with(dir.path());
    let resolved = resolve(&client, registry.address()).await.unwrap();
    assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (authority, other, dir) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let registry = authority.serve(|_| Reply::status(500));
    other.install(dir.path(), registry.address());
    let error = resolve(&client_with(dir.path()), registry.address()).await.expect_err("another authority");
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("ca.crt")), "{:?}", error.hint());
    assert!(registry.log().is_empty());
}

#[tokio::test]
async fn insecure_takes_any_certificate_or_none() {
    let image = Image::new("amd64", 100);
    let (one, two) = (image.clone(), image);
    let registries =
        [Authority::new().serve(move |seen| one.serve(seen)), EvilRegistry::start(move |seen| two.serve(seen))];
    for registry in registries {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("registries.conf");
        std::fs::write(&conf, format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address()))
            .unwrap();
        let client = Client::new(Options { registries_conf: vec![conf], ..options() }).unwrap();
        assert!(resolve(&client, registry.address()).await.is_ok());
    }
}

#[tokio::test]
async fn nothing_leads_from_https_to_http() {
    let image = Image::new("amd64", 100);
    let plain = EvilRegistry::start(move |seen| image.serve(seen));
    let place = format!("http://{}", plain.address());
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let target = place.clone();
    let redirecting =
        authority.serve(move |seen| Reply::status(307).with("Location", format!("{target}{}", seen.target)));
    let challenging = authority
        .serve(move |_| Reply::status(401).with("WWW-Authenticate", format!("Bearer realm=\"{place}/token\"")));
    authority.install(dir.path(), redirecting.address());
    authority.install(dir.path(), challenging.address());
    let client = client_with(dir.path());
    let error = resolve(&client, redirecting.address()).await.expect_err("a redirect to http");
    assert!(matches!(error, RegistryError::RedirectRefused { .. }), "{error}");
    let error = resolve(&client, challenging.address()).await.expect_err("a token over http");
    assert!(matches!(error, RegistryError::RealmRefused { .. }), "{error}");
    assert!(plain.log().is_empty());
}
