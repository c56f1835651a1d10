//! Redirects: followed where a registry may send us, with nothing of the user's.

use pybox::registry::{Client, Options, RegistryError};

use super::evil_registry::{EvilRegistry, Reply};
use super::image::Image;
use super::{client, layer, options, resolve};

#[tokio::test]
async fn a_redirect_to_another_origin_bears_no_authorization() {
    let image = Image::new("amd64", 5000);
    let served = image.clone();
    let storage = EvilRegistry::start(move |_| Reply::ok(served.layer.clone()));
    let (served, place) = (image.clone(), storage.address().to_owned());
    let registry = EvilRegistry::start(move |seen| match seen.header("authorization") {
        None => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) if seen.target.ends_with(&pybox::model::digest::Digest::of(&served.layer).to_string()) => {
            Reply::status(307).with("Location", format!("http://{place}/store?signature=1"))
        }
        Some(_) => served.serve(seen),
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, registry.address())).unwrap();
    let client = Client::new(Options { auth_files: vec![path], ..options() }).unwrap();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
    assert_eq!(registry.seen("/blobs/")[0].header("authorization"), Some("Basic dTpw"));
    let hops = storage.log();
    assert_eq!(hops.len(), 1);
    assert!(hops.iter().all(|seen| seen.header("authorization").is_none() && seen.header("cookie").is_none()));
}

#[tokio::test]
async fn a_login_asked_for_behind_a_redirect_gets_nothing() {
    let image = Image::new("amd64", 10);
    let thief = EvilRegistry::start(|_| Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""));
    let place = thief.address().to_owned();
    let registry = EvilRegistry::start(move |seen| {
        if seen.target.contains("/blobs/") {
            Reply::status(302).with("Location", format!("http://{place}/store"))
        } else {
            image.serve(seen)
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.json");
    let auths = format!(r#""{}":{{"auth":"dTpw"}},"{}":{{"auth":"dTpw"}}"#, registry.address(), thief.address());
    std::fs::write(&path, format!(r#"{{"auths":{{{auths}}}}}"#)).unwrap();
    let client = Client::new(Options { auth_files: vec![path], ..options() }).unwrap();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    let error = layer(&client, &resolved).await.expect_err("a login elsewhere");
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    assert!(thief.log().iter().chain(&registry.log()).all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn five_redirects_are_followed_and_no_more() {
    for (hops, works) in [(5, true), (6, false), (usize::MAX, false)] {
        let image = Image::new("amd64", 10);
        let registry = EvilRegistry::start(move |seen| {
            let done: usize = seen.target.rsplit_once("?n=").and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
            if done < hops {
                Reply::status(302).with("Location", format!("/v2/x/y/manifests/1?n={}", done + 1))
            } else {
                image.serve(seen)
            }
        });
        let outcome = resolve(&client(), registry.address()).await;
        assert_eq!(outcome.is_ok(), works, "{hops} hops");
        assert!(registry.log().len() <= 6);
        if let Err(error) = outcome {
            assert!(matches!(error, RegistryError::RedirectRefused { .. }), "{error}");
        }
    }
}

#[tokio::test]
async fn places_that_a_registry_may_not_name() {
    for location in [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fe80::1]/x",
        "http://0.0.0.0:1/x",
        "http://elsewhere.example/x",
        "https://user:password@127.0.0.1/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "http://",
    ] {
        let registry = EvilRegistry::start(move |_| Reply::status(307).with("Location", location));
        let error = resolve(&client(), registry.address()).await.expect_err(location);
        assert!(matches!(error, RegistryError::RedirectRefused { .. }), "{location}: {error}");
        assert_eq!(registry.log().len(), 1, "{location}");
    }
    let registry = EvilRegistry::start(|_| Reply::status(307));
    assert!(matches!(resolve(&client(), registry.address()).await, Err(RegistryError::RedirectRefused { .. })));
}
