//! The registry client against a registry that lies, breaks off, redirects and
//! asks for passwords: the Registry rows of SECURITY.md section 1 and T23.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says no by panicking")]

#[path = "support/evil_registry.rs"]
mod evil_registry;
#[path = "support/image.rs"]
mod image;

#[path = "registry/blobs.rs"]
mod blobs;
#[path = "registry/documents.rs"]
mod documents;
#[path = "registry/logins.rs"]
mod logins;
#[path = "registry/pushes.rs"]
mod pushes;
#[path = "registry/redirects.rs"]
mod redirects;
#[path = "registry/shelf.rs"]
mod shelf;
#[path = "registry/tls.rs"]
mod tls;

use std::time::Duration;

use pybox::model::platform::Platform;
use pybox::model::reference::Reference;
use pybox::registry::{Client, Options, RegistryError, Resolved, Timing, Verifier};

/// Options with little patience, so that failures are quick.
fn options() -> Options {
    let millis = Duration::from_millis;
    let timing =
        Timing { connect: millis(2000), stall: millis(400), pause: millis(2), longest_pause: millis(1500), retries: 5 };
    Options { user_agent: "pybox-test".into(), timing, ..Options::default() }
}

fn client() -> Client {
    Client::new(options()).expect("a client without files")
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

fn platform(text: &str) -> Platform {
    text.parse().expect("a platform")
}

/// Resolves `x/y:1` at `address` for linux/amd64.
async fn resolve(client: &Client, address: &str) -> Result<Resolved, RegistryError> {
    client.manifest(&reference(&format!("{address}/x/y:1")), &platform("linux/amd64")).await
}

/// Downloads the only layer.
async fn layer(client: &Client, resolved: &Resolved) -> Result<Vec<u8>, RegistryError> {
    let layer = resolved.layers.first().expect("a layer");
    download(client, resolved, Verifier::new(layer.digest.clone(), layer.size)).await
}

async fn download(client: &Client, resolved: &Resolved, verifier: Verifier) -> Result<Vec<u8>, RegistryError> {
    let mut stream = client.blob(&resolved.source, verifier);
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next_bytes().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
