//! Manifests and indexes that lie about what they are.

use pybox::model::digest::Digest;
use pybox::registry::RegistryError;

use super::evil_registry::{Body, EvilRegistry, Reply};
use super::image::{INDEX_TYPE, Image, MANIFEST_TYPE};
use super::{client, platform, reference, resolve};

/// Serves `bytes` for every manifest.
fn manifest_server(bytes: impl Into<Vec<u8>>, content_type: &'static str) -> EvilRegistry {
    let bytes = bytes.into();
    EvilRegistry::start(move |_| Reply::ok(bytes.clone()).with("Content-Type", content_type))
}

fn index_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entry = |(architecture, manifest): &(&str, &[u8])| {
        format!(
            r#"{{"mediaType":"{MANIFEST_TYPE}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
            Digest::of(manifest),
            manifest.len()
        )
    };
    let entries: Vec<String> = entries.iter().map(entry).collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX_TYPE}","manifests":[{}]}}"#, entries.join(",")).into_bytes()
}

#[tokio::test]
async fn an_index_leads_to_the_platforms_own_manifest() {
    let (amd64, arm64) = (Image::new("amd64", 10), Image::new("arm64", 11));
    let index = index_of(&[("arm64", &arm64.manifest), ("amd64", &amd64.manifest)]);
    let (index_served, amd64_served) = (index.clone(), amd64.clone());
    let registry = EvilRegistry::start(move |seen| {
        if seen.target.ends_with("/manifests/1") {
            Reply::ok(index_served.clone()).with("Content-Type", INDEX_TYPE)
        } else {
            amd64_served.serve(seen)
        }
    });
    let resolved = resolve(&client(), registry.address()).await.unwrap();
    assert_eq!(resolved.manifest, amd64.manifest);
    assert_eq!(resolved.index, Some((Digest::of(&index), index.clone().into())));
    assert_eq!(*resolved.digest(), Digest::of(&index));
    let missing = client()
        .manifest(&reference(&format!("{}/x/y:1", registry.address())), &platform("linux/s390x"))
        .await
        .expect_err("no s390x");
    let text = missing.to_string();
    assert!(text.contains("is not made for linux/s390x; it is for linux/amd64, linux/arm64"), "{text}");
}

#[tokio::test]
async fn a_member_of_an_index_must_be_the_one_named() {
    let (named, other) = (Image::new("amd64", 10), Image::new("amd64", 20));
    let index = index_of(&[("amd64", &named.manifest)]);
    let long = [named.manifest.clone(), b" ".to_vec()].concat();
    let flipped: Vec<u8> = named.manifest.iter().map(|byte| if *byte == b'1' { b'2' } else { *byte }).collect();
    for member in [other.manifest, long, flipped, index.clone()] {
        let index = index.clone();
        let registry = EvilRegistry::start(move |seen| {
            let first = seen.target.ends_with("/manifests/1");
            let (body, kind) = if first { (&index, INDEX_TYPE) } else { (&member, MANIFEST_TYPE) };
            Reply::ok(body.clone()).with("Content-Type", kind)
        });
        let error = resolve(&client(), registry.address()).await.expect_err("another manifest");
        let refused = matches!(
            error,
            RegistryError::WrongDigest { .. } | RegistryError::TooLarge { .. } | RegistryError::Truncated { .. }
        );
        assert!(refused, "{error}");
    }
}

#[tokio::test]
async fn a_lone_image_of_another_architecture_is_refused_unless_asked_for() {
    let image = Image::new("arm64", 10);
    let registry = EvilRegistry::start(move |seen| image.serve(seen));
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    let error = client.config(&resolved, &platform("linux/amd64")).await.expect_err("arm64");
    let RegistryError::PlatformMissing { available, .. } = &error else { panic!("{error}") };
    assert_eq!(available, &["linux/arm64"]);
    assert!(client.config(&resolved, &platform("linux/arm64")).await.is_ok());
}

#[tokio::test]
async fn pulled_by_digest_the_bytes_must_hash_to_it() {
    let image = Image::new("amd64", 10);
    let (right, wrong) = (Digest::of(&image.manifest), Digest::of(b"another"));
    let registry = EvilRegistry::start(move |seen| {
        // The header is the registry's word and worth nothing.
        image.serve(seen).with("Docker-Content-Digest", seen.target.rsplit('/').next().unwrap_or_default())
    });
    let client = client();
    let by = |digest: &Digest| reference(&format!("{}/x/y:1@{digest}", registry.address()));
    assert_eq!(client.manifest(&by(&right), &platform("linux/amd64")).await.unwrap().manifest_digest, right);
    let error = client.manifest(&by(&wrong), &platform("linux/amd64")).await.expect_err("other bytes");
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
    assert!(registry.log().iter().all(|seen| seen.target.contains("/manifests/sha256:")));
}

#[tokio::test]
async fn documents_that_lie_are_refused() {
    let image = Image::new("amd64", 10);
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    let layer = Digest::of(&image.layer).to_string();
    let cases = [
        (text.replace(r#""layers":["#, r#""manifests":[],"layers":["#), MANIFEST_TYPE, "at once"),
        (text.replace(r#""schemaVersion":2"#, r#""schemaVersion":1"#), MANIFEST_TYPE, "schema 1"),
        (text.replace(r#""schemaVersion":2"#, r#""schemaVersion":2,"schemaVersion":2"#), MANIFEST_TYPE, "twice"),
        (text.replace(&layer, "sha256:../../../../etc/passwd"), MANIFEST_TYPE, "invalid digest"),
        (text.replace(&layer, "sha256:"), MANIFEST_TYPE, "invalid digest"),
        (text.replace(&layer, &layer.to_uppercase()), MANIFEST_TYPE, "invalid digest"),
        (text.clone(), INDEX_TYPE, "says of itself"),
        ("<html>log in</html>".into(), "text/html", "expected value"),
        ("[".repeat(100_000), MANIFEST_TYPE, "deeper"),
    ];
    for (document, content_type, why) in cases {
        let registry = manifest_server(document, content_type);
        let error = resolve(&client(), registry.address()).await.expect_err(why);
        let RegistryError::InvalidManifest { why: found, .. } = &error else { panic!("{why}: {error}") };
        assert!(found.contains(why), "{found} / {why}");
        assert_eq!(registry.log().len(), 1, "{why}");
    }
}

#[tokio::test]
async fn layers_elsewhere_are_never_asked_for() {
    let elsewhere = EvilRegistry::start(|_| Reply::ok("secret"));
    let urls = format!(r#","urls":["http://{}/layer"]"#, elsewhere.address());
    let registry = manifest_server(Image::new("amd64", 10).manifest_with(&urls), MANIFEST_TYPE);
    let error = resolve(&client(), registry.address()).await.expect_err("a foreign layer");
    assert!(matches!(error, RegistryError::NonDistributable { .. }), "{error}");
    assert!(elsewhere.log().is_empty());
}

#[tokio::test]
async fn endless_documents_are_cut_off() {
    let bodies = [
        Body::Whole(vec![b' '; (4 << 20) + 1]),
        Body::Chunked(vec![b' '; (4 << 20) + 1]),
        Body::Cut { claimed: usize::MAX / 2, sent: Vec::new() },
    ];
    for body in bodies {
        let registry =
            EvilRegistry::start(move |_| Reply::ok("").with("Content-Type", MANIFEST_TYPE).body(body.clone()));
        let error = resolve(&client(), registry.address()).await.expect_err("too large");
        assert!(matches!(error, RegistryError::TooLarge { limit: 4_194_304, .. }), "{error}");
        assert_eq!(registry.log().len(), 1);
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_reached_is_said() {
    let registry = EvilRegistry::start(|_| Reply {
        status: 404,
        ..Reply::ok(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
    });
    let error = resolve(&client(), registry.address()).await.expect_err("404");
    assert_eq!(error.to_string(), format!("the registry {0} has no image {0}/x/y:1", registry.address()));
    assert!(error.hint().is_some_and(|hint| hint.contains("check the name")));
    assert_eq!(registry.log().len(), 1);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = resolve(&client(), &free.to_string()).await.expect_err("nobody listens");
    let RegistryError::Unreachable { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.to_string(), "connection refused");
    let unknown = resolve(&client(), "registry.invalid").await.expect_err("no such name");
    let RegistryError::Unreachable { source, .. } = &unknown else { panic!("{unknown}") };
    assert!(source.to_string().starts_with("the name registry.invalid has no address"), "{source}");
}

#[tokio::test]
async fn server_errors_are_retried_and_then_told() {
    let registry = EvilRegistry::start(|_| Reply {
        status: 503,
        ..Reply::ok("{\"errors\":[{\"code\":\"X\",\"message\":\"down\\u001b[31m\"}]}")
    });
    let error = resolve(&client(), registry.address()).await.expect_err("503");
    assert!(error.to_string().ends_with("it answers 503: down[31m"), "{error}");
    assert_eq!(registry.log().len(), 6);
}

#[tokio::test]
async fn mirrors_come_first_and_blocked_registries_never() {
    let image = Image::new("amd64", 10);
    let (main, mirror) = (
        EvilRegistry::start({
            let image = image.clone();
            move |seen| image.serve(seen)
        }),
        EvilRegistry::start(move |seen| image.serve(seen)),
    );
    let broken = EvilRegistry::start(|_| Reply::status(404));
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("registries.conf");
    let rule = |mirror: &str| {
        format!("[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{mirror}/cache\"\n", main.address())
    };
    let client_with = |text: &str| {
        std::fs::write(&conf, text).unwrap();
        pybox::registry::Client::new(pybox::registry::Options {
            registries_conf: vec![conf.clone()],
            ..super::options()
        })
        .unwrap()
    };
    let resolved = resolve(&client_with(&rule(mirror.address())), main.address()).await.unwrap();
    assert_eq!(resolved.source.registry(), mirror.address());
    assert!(main.log().is_empty() && mirror.seen("/v2/cache/x/y/manifests/1").len() == 1);
    let resolved = resolve(&client_with(&rule(broken.address())), main.address()).await.unwrap();
    assert_eq!(resolved.source.registry(), main.address());
    let blocked = client_with(&format!("[[registry]]\nlocation = \"{}\"\nblocked = true", mirror.address()));
    let before = mirror.log().len();
    let error = resolve(&blocked, mirror.address()).await.expect_err("blocked");
    assert!(matches!(error, RegistryError::Blocked { .. }), "{error}");
    assert_eq!(mirror.log().len(), before);
}
