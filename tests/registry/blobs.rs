//! Streams: what comes is what was named, or an error; breaks are mended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pybox::registry::{RegistryError, Verifier};

use super::evil_registry::{Body, EvilRegistry, Reply, Seen};
use super::image::{Image, ranged};
use super::{client, download, layer, resolve};

const SIZE: usize = 100_000;

/// A registry that serves `image`, and the layer by `script(count, request)`.
fn layer_script(script: impl Fn(usize, &Seen, &Image) -> Reply + Send + Sync + 'static) -> (EvilRegistry, Image) {
    let image = Image::new("amd64", SIZE);
    let (served, count) = (image.clone(), AtomicUsize::new(0));
    let layer = pybox::model::digest::Digest::of(&image.layer).to_string();
    let registry = EvilRegistry::start(move |seen| {
        if seen.target.ends_with(&layer) {
            script(count.fetch_add(1, Ordering::SeqCst), seen, &served)
        } else {
            served.serve(seen)
        }
    });
    (registry, image)
}

#[tokio::test]
async fn an_honest_registry_serves_the_image() {
    let (registry, image) = layer_script(|_, seen, image| image.serve(seen));
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    assert_eq!(resolved.manifest, image.manifest);
    assert_eq!(client.config(&resolved, &super::platform("linux/amd64")).await.unwrap(), image.config);
    assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
    assert!(registry.log().iter().all(|seen| seen.method == "GET" && seen.header("authorization").is_none()));
    assert!(registry.log().iter().all(|seen| seen.header("user-agent") == Some("pybox-test")));
}

#[tokio::test]
async fn wrong_bytes_are_an_error_and_not_asked_for_again() {
    let (registry, _) = layer_script(|_, _, image| {
        let mut bytes = image.layer.clone();
        bytes[SIZE / 2] ^= 1;
        Reply::ok(bytes)
    });
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    let error = layer(&client, &resolved).await.expect_err("one bit differs");
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
    assert_eq!(registry.seen("/blobs/").len(), 1);
}

#[tokio::test]
async fn a_shorter_or_longer_blob_is_an_error() {
    type Send = fn(&Image) -> Body;
    let replies: [(&str, Send); 4] = [
        ("short", |image| Body::Whole(image.layer[..SIZE - 1].to_vec())),
        ("short", |image| Body::Chunked(image.layer[..SIZE - 1].to_vec())),
        ("long", |image| Body::Whole([image.layer.clone(), vec![0]].concat())),
        ("long", |image| Body::Chunked([image.layer.clone(), vec![0]].concat())),
    ];
    for (kind, body) in replies {
        let (registry, _) = layer_script(move |_, _, image| Reply::ok("").body(body(image)));
        let client = client();
        let resolved = resolve(&client, registry.address()).await.unwrap();
        match (kind, layer(&client, &resolved).await.expect_err(kind)) {
            ("short", RegistryError::Truncated { expected, actual, .. }) => {
                assert_eq!((expected, actual), (SIZE as u64, SIZE as u64 - 1));
            }
            ("long", RegistryError::TooLarge { limit, .. }) => assert_eq!(limit, SIZE as u64),
            (_, other) => panic!("{kind}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_gone_on_from_by_range() {
    let (registry, image) = layer_script(|count, seen, image| match count {
        0 => Reply::ok("").body(Body::Cut { claimed: SIZE, sent: image.layer[..40_000].to_vec() }),
        1 => Reply::status(503),
        2 => Reply::status(500),
        _ => ranged(&image.layer, seen),
    });
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
    let ranges: Vec<_> = registry.seen("/blobs/").iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    let resumed = Some("bytes=40000-".to_owned());
    assert_eq!(ranges, [None, resumed.clone(), resumed.clone(), resumed]);
}

#[tokio::test]
async fn a_download_that_always_breaks_at_the_same_place_ends() {
    let (registry, _) = layer_script(|_, _, image| {
        Reply::ok("").body(Body::Cut { claimed: SIZE, sent: image.layer[..10_000].to_vec() })
    });
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    let error = layer(&client, &resolved).await.expect_err("never whole");
    assert!(matches!(error, RegistryError::Unreachable { .. } | RegistryError::Truncated { .. }), "{error}");
    assert_eq!(registry.seen("/blobs/").len(), 6);
}

#[tokio::test]
async fn answers_to_a_range_that_do_not_fit_lead_back_to_the_start() {
    type Answer = fn(&Image) -> Reply;
    let answers: [(&str, Answer); 6] = [
        ("ignored", |image| Reply::ok(image.layer.clone())),
        ("416", |_| Reply::status(416)),
        ("another start", |image| {
            Reply { status: 206, ..Reply::ok(&image.layer[50_000..]) }.with("Content-Range", "bytes 50000-99999/100000")
        }),
        ("another total", |image| {
            Reply { status: 206, ..Reply::ok(&image.layer[40_000..]) }.with("Content-Range", "bytes 40000-99999/200000")
        }),
        ("no range", |image| Reply { status: 206, ..Reply::ok(&image.layer[40_000..]) }),
        ("garbage", |image| {
            Reply { status: 206, ..Reply::ok(&image.layer[40_000..]) }.with("Content-Range", "bytes x-y/z")
        }),
    ];
    for (name, answer) in answers {
        let (registry, image) = layer_script(move |count, seen, image| match count {
            0 => Reply::ok("").body(Body::Cut { claimed: SIZE, sent: image.layer[..40_000].to_vec() }),
            _ if seen.header("range").is_some() => answer(image),
            _ => Reply::ok(image.layer.clone()),
        });
        let client = client();
        let resolved = resolve(&client, registry.address()).await.unwrap();
        assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer, "{name}");
    }
}

#[tokio::test]
async fn what_another_process_left_is_gone_on_from() {
    let (registry, image) = layer_script(|_, seen, image| image.serve(seen));
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    let digest = resolved.layers[0].digest.clone();
    let mut verifier = Verifier::new(digest.clone(), SIZE as u64);
    verifier.update(&image.layer[..30_000]).unwrap();
    assert_eq!(download(&client, &resolved, verifier).await.unwrap(), image.layer[30_000..]);
    assert_eq!(registry.seen("/blobs/")[0].header("range"), Some("bytes=30000-"));
    // A prefix of other bytes is found out by the digest of the whole.
    let mut wrong = Verifier::new(digest.clone(), SIZE as u64);
    wrong.update(&[7; 30_000]).unwrap();
    let error = download(&client, &resolved, wrong).await.expect_err("another prefix");
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
    // All there already: nothing is asked.
    let before = registry.log().len();
    let mut whole = Verifier::new(digest, SIZE as u64);
    whole.update(&image.layer).unwrap();
    assert!(download(&client, &resolved, whole).await.unwrap().is_empty());
    assert_eq!(registry.log().len(), before);
}

#[tokio::test]
async fn silence_and_dripping_are_given_up_and_mended() {
    let bodies: [fn(&Image) -> Body; 3] = [
        |image| Body::Stalled { claimed: SIZE, sent: image.layer[..20_000].to_vec() },
        |image| Body::Dripping(image.layer.clone(), Duration::from_millis(30)),
        |_| Body::Silence,
    ];
    for body in bodies {
        let (registry, image) = layer_script(move |count, seen, image| match count {
            0 => Reply::ok("").body(body(image)),
            _ => ranged(&image.layer, seen),
        });
        let client = client();
        let resolved = resolve(&client, registry.address()).await.unwrap();
        let began = Instant::now();
        assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
        assert!(began.elapsed() >= Duration::from_millis(400) && began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_slow_consumer_is_not_the_servers_fault() {
    let (registry, image) = layer_script(|_, seen, image| image.serve(seen));
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    let mut stream = client.blob(&resolved.source, Verifier::new(resolved.layers[0].digest.clone(), SIZE as u64));
    let mut bytes = stream.next_bytes().await.unwrap().expect("a first chunk").to_vec();
    tokio::time::sleep(Duration::from_millis(600)).await;
    while let Some(chunk) = stream.next_bytes().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes, image.layer);
    assert_eq!(registry.seen("/blobs/").len(), 1);
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_a_point() {
    let (registry, image) = layer_script(|count, seen, image| match count {
        0 => Reply::status(429).with("Retry-After", "1"),
        _ => ranged(&image.layer, seen),
    });
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    let began = Instant::now();
    assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
    assert!(began.elapsed() >= Duration::from_secs(1));
    for header in ["3600", "99999999999999999999", "Fri, 31 Dec 2999 23:59:59 GMT"] {
        let (registry, _) = layer_script(move |_, _, _| Reply::status(429).with("Retry-After", header));
        let resolved = resolve(&client, registry.address()).await.unwrap();
        let error = layer(&client, &resolved).await.expect_err("too long a pause");
        assert!(matches!(error, RegistryError::RateLimited { retry_after: Some(_), .. }), "{error}");
        assert_eq!(registry.seen("/blobs/").len(), 1);
    }
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_not_asked_for_again() {
    let (registry, _) = layer_script(|_, _, _| Reply::status(404));
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    let error = layer(&client, &resolved).await.expect_err("404");
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    assert_eq!(registry.seen("/blobs/").len(), 1);
}

/// A client that asks `mirror` before it asks `main`.
fn mirrored(main: &EvilRegistry, mirror: &EvilRegistry) -> (pybox::registry::Client, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("registries.conf");
    let (main, mirror) = (main.address(), mirror.address());
    std::fs::write(
        &conf,
        format!("[[registry]]\nlocation = \"{main}\"\n[[registry.mirror]]\nlocation = \"{mirror}\"\n"),
    )
    .unwrap();
    let options = pybox::registry::Options { registries_conf: vec![conf], ..super::options() };
    (pybox::registry::Client::new(options).unwrap(), dir)
}

#[tokio::test]
async fn a_mirror_without_the_blob_is_no_end() {
    let cases: [fn(usize, &Seen, &Image) -> Reply; 3] = [
        |_, _, _| Reply::status(404),
        |_, _, _| Reply::status(500),
        // Half of it comes, and then nothing more.
        |count, _, image| match count {
            0 => Reply::ok("").body(Body::Cut { claimed: SIZE, sent: image.layer[..SIZE / 2].to_vec() }),
            _ => Reply::status(404),
        },
    ];
    for script in cases {
        let (mirror, image) = layer_script(script);
        let (main, _) = layer_script(|_, seen, image| image.serve(seen));
        let (client, _dir) = mirrored(&main, &mirror);
        let resolved = resolve(&client, main.address()).await.unwrap();
        assert_eq!(resolved.source.registry(), mirror.address());
        assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
        assert_eq!(main.log().len(), 1, "the layer alone");
    }
}

#[tokio::test]
async fn a_cached_blob_is_not_asked_for() {
    let (registry, image) = layer_script(|_, seen, image| image.serve(seen));
    let dir = tempfile::tempdir().unwrap();
    let (empty, full) = (dir.path().join("empty"), dir.path().join("full"));
    let client = || {
        let blob_caches = vec![empty.clone(), full.clone()];
        pybox::registry::Client::new(pybox::registry::Options { blob_caches, ..super::options() }).unwrap()
    };
    let digest = pybox::model::digest::Digest::of(&image.layer);
    let place = full.join("blobs/sha256").join(digest.hex());
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    for (bytes, asked) in [(image.layer.clone(), 0), (vec![7; SIZE], 1), (image.layer[..SIZE - 1].to_vec(), 2)] {
        std::fs::write(&place, bytes).unwrap();
        let client = client();
        let resolved = resolve(&client, registry.address()).await.unwrap();
        assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
        assert_eq!(registry.seen(&digest.to_string()).len(), asked);
    }
    // What a caller keeps is found by the next one.
    let came = dir.path().join("came");
    std::fs::write(&came, &image.layer).unwrap();
    client().cache().keep(&digest, &came);
    assert!(empty.join("blobs/sha256").join(digest.hex()).exists());
}
