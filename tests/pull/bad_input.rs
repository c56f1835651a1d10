//! Images that are not: one sentence, and nothing half-made in the store.

use pybox::engine::api::{Failure, FailureKind};
use pybox::model::digest::Digest;
use pybox::store::image::Image;

use super::evil_registry::{Body, EvilRegistry, Reply};
use super::layers::{Layer, LayeredImage};
use super::{Home, here, names, noise};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Pulls `image`, its first layer being served by `reply`, and looks at what stays.
fn failure(image: &LayeredImage, reply: impl Fn(&Layer) -> Reply + Send + Sync + 'static) -> (Failure, Home) {
    let home = Home::new();
    let (served, first) = (image.clone(), image.layers[0].clone());
    let digest = first.digest().to_string();
    let registry = EvilRegistry::start(
        move |seen| if seen.target.ends_with(&digest) { reply(&first) } else { served.serve(seen) },
    );
    let name = format!("{}/x:1", registry.address());
    let failure = home.pull(&name).expect_err("a bad image");
    let store = home.store();
    assert!(store.list_images().unwrap().is_empty());
    let found: Result<Image, _> = store.find_image(&name);
    assert!(found.is_err());
    assert!(names(&store.layout().trash()).is_empty(), "{:?}", names(&store.layout().trash()));
    assert!(!store.has_layer(&image.layers[0].diff_id));
    (failure, home)
}

fn honest(layer: &Layer) -> Reply {
    Reply::ok(layer.blob.clone())
}

#[test]
fn wrong_bytes_are_told_from_a_bad_archive() {
    let image = LayeredImage::new(&here(), vec![Layer::of("gzip", &[("a", &noise(400_000))])]);
    // What is no gzip at all, and what breaks in the middle: the digest is to blame, not the archive.
    let middle = |layer: &Layer| {
        let mut bytes = layer.blob.clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 0xff;
        Reply::ok(bytes)
    };
    let all = |layer: &Layer| Reply::ok(vec![7; layer.blob.len()]);
    for reply in [middle as fn(&Layer) -> Reply, all] {
        let (failure, home) = failure(&image, reply);
        assert_eq!(failure.kind, FailureKind::Corrupt);
        assert!(failure.message.contains("its digest is sha256:"), "{}", failure.message);
        assert!(home.in_the_making().is_empty(), "{:?}", home.in_the_making());
        assert!(!home.store().has_blob(&image.layers[0].digest()));
    }
}

#[test]
fn archives_that_are_none_or_reach_out_are_refused() {
    let other_id = Layer { diff_id: Digest::of(b"another archive"), ..Layer::of("gzip", &[("a", b"x")]) };
    let mut trailing = Layer::of("gzip", &[("a", b"x")]);
    trailing.blob.extend_from_slice(b"after the end");
    for (layer, said) in [
        (Layer::of("gzip", &[("../../outside", b"x")]), "outside"),
        (Layer::of("gzip", &[("a/../../outside", b"x")]), "outside"),
        (other_id, "has the digest"),
        (trailing, "archive is damaged"),
        (Layer { media_type: GZIP, ..Layer::packed("tar", &[b'x'; 5000]) }, "archive is damaged"),
        (Layer::packed("gzip", &[b'x'; 5000]), "archive is damaged"),
    ] {
        let (failure, home) = failure(&LayeredImage::new(&here(), vec![layer.clone()]), honest);
        assert_eq!(failure.kind, FailureKind::Corrupt, "{}", failure.message);
        assert!(failure.message.contains(said), "{}", failure.message);
        assert!(failure.message.contains(layer.digest().short()), "{}", failure.message);
        assert!(home.in_the_making().is_empty(), "{:?}", home.in_the_making());
    }
}

#[test]
fn a_blob_of_another_size_is_refused() {
    let image = LayeredImage::new(&here(), vec![Layer::of("gzip", &[("a", &noise(100_000))])]);
    let (short, _) = failure(&image, |layer| Reply::ok(layer.blob[..layer.blob.len() - 1].to_vec()));
    assert!(short.message.contains("expected"), "{}", short.message);
    let (long, home) = failure(&image, |layer| Reply::ok([layer.blob.clone(), vec![0]].concat()));
    assert!(long.message.contains("larger than"), "{}", long.message);
    let (chunked, _) =
        failure(&image, |layer| Reply::ok("").body(Body::Chunked([layer.blob.clone(), vec![0]].concat())));
    assert!(chunked.message.contains("larger than"), "{}", chunked.message);
    assert!(home.in_the_making().is_empty(), "{:?}", home.in_the_making());
}

#[test]
fn an_unknown_image_and_another_architecture_are_told() {
    let home = Home::new();
    let registry = EvilRegistry::start(|_| Reply::status(404));
    let failure = home.pull(&format!("{}/x:1", registry.address())).expect_err("404");
    assert_eq!(failure.kind, FailureKind::NotFound);
    assert!(failure.hint.is_some());
    let image = LayeredImage::new("s390x", vec![Layer::of("gzip", &[("a", b"x")])]);
    let registry = EvilRegistry::start(move |seen| image.serve(seen));
    let failure = home.pull(&format!("{}/x:1", registry.address())).expect_err("another architecture");
    assert!(failure.message.contains("it is for linux/s390x"), "{}", failure.message);
    assert_eq!(failure.hint.as_deref(), Some("choose one of them with `--platform linux/s390x`"));
    assert_eq!(registry.seen("/blobs/").len(), 1, "only the configuration was asked for");
}

#[test]
fn a_registry_that_changes_its_mind_for_ever_is_given_up() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let image = LayeredImage::new(&here(), vec![Layer::of("gzip", &[("a", &noise(5000))])]);
    let count = AtomicUsize::new(0);
    let (failure, _) = failure(&image, move |layer| {
        let heads: [&[u8]; 3] = [b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08\x01", b"tar!"];
        let head = heads[count.fetch_add(1, Ordering::SeqCst) % heads.len()];
        Reply::ok([head, &layer.blob[4..]].concat())
    });
    assert_eq!(failure.kind, FailureKind::Corrupt, "{}", failure.message);
}
