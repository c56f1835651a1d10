//! Images that are what they say.

use pybox::engine::api::{Event, FailureKind, LayerProgress};
use pybox::model::container::PullPolicy;
use pybox::model::digest::Digest;

use super::evil_registry::EvilRegistry;
use super::layers::{Layer, LayeredImage};
use super::{Home, here, noise};

fn serve(image: &LayeredImage) -> EvilRegistry {
    let image = image.clone();
    EvilRegistry::start(move |seen| image.serve(seen))
}

fn three_layers() -> LayeredImage {
    let big = noise(3 << 20);
    LayeredImage::new(
        &here(),
        vec![
            Layer::of("gzip", &[("a", b"from gzip"), ("big", &big)]),
            Layer::of("zstd", &[("b", b"from zstd")]),
            Layer::of("tar", &[("c", b"from tar"), (".wh.a", b"")]),
        ],
    )
}

#[test]
fn an_image_comes_whole_and_once() {
    let (home, image) = (Home::new(), three_layers());
    let registry = serve(&image);
    let name = format!("{}/team/app:1", registry.address());
    let (pulled, events) = home.pull_as(&name, PullPolicy::Missing);
    let pulled = pulled.unwrap();
    assert_eq!(pulled.reference.to_string(), name);
    assert_eq!((pulled.digest.clone(), pulled.id), (Digest::of(&image.manifest), Digest::of(&image.config)));
    assert!(pulled.changed);
    for (layer, file, contents) in [(0, "a", "from gzip"), (1, "b", "from zstd"), (2, "c", "from tar")] {
        let path = home.layer(&image.layers[layer]).join(file);
        assert_eq!(std::fs::read_to_string(path).unwrap(), contents);
    }
    // The blobs are the bytes as they came.
    for layer in &image.layers {
        assert_eq!(home.store().read_blob(&layer.digest(), u64::MAX).unwrap(), layer.blob);
    }
    assert_eq!(home.store().find_image(&name).unwrap().layers.len(), 3);
    assert_eq!(home.in_the_making().len(), 3, "the layers, and nothing else: {:?}", home.in_the_making());
    assert!(matches!(events.first(), Some(Event::Resolving(_))) && events.last() == Some(&Event::Committing));
    let done = events.iter().filter(|event| matches!(event, Event::Layer { progress: LayerProgress::Done, .. }));
    assert_eq!(done.count(), 3);
    // Once more: the registry is asked what the name means, and for nothing else.
    let before = registry.log().len();
    assert!(!home.pull(&name).unwrap().changed);
    assert_eq!(registry.log().len(), before + 1);
    // By policy, or by a digest that is known: not even that.
    for (reference, policy) in [
        (name.clone(), PullPolicy::Missing),
        (name.clone(), PullPolicy::Never),
        (format!("{}/team/app@{}", registry.address(), pulled.digest), PullPolicy::Always),
    ] {
        let (again, _) = home.pull_as(&reference, policy);
        assert_eq!(again.unwrap().digest, pulled.digest, "{reference}");
    }
    assert_eq!(registry.log().len(), before + 1);
}

#[test]
fn layers_are_shared_between_images() {
    let (home, first) = (Home::new(), three_layers());
    let mut layers = first.layers.clone();
    layers.push(Layer::of("gzip", &[("d", b"one more")]));
    let second = LayeredImage::new(&here(), layers);
    let (one, two) = (serve(&first), serve(&second));
    home.pull(&format!("{}/x:1", one.address())).unwrap();
    home.pull(&format!("{}/x:2", two.address())).unwrap();
    let asked: Vec<_> = two.seen("/blobs/").into_iter().map(|seen| seen.target).collect();
    assert_eq!(asked.len(), 2, "the configuration and the new layer: {asked:?}");
    assert!(two.seen(second.layers[3].digest().hex()).len() == 1);
}

#[test]
fn one_layer_that_stands_twice_is_brought_once() {
    let home = Home::new();
    let layer = Layer::of("gzip", &[("a", b"twice")]);
    let image = LayeredImage::new(&here(), vec![layer.clone(), layer.clone()]);
    let registry = serve(&image);
    let name = format!("{}/x:1", registry.address());
    home.pull(&name).unwrap();
    assert_eq!(registry.seen(layer.digest().hex()).len(), 1);
    assert_eq!(home.store().find_image(&name).unwrap().layers.len(), 2);
}

#[test]
fn a_layer_that_got_lost_is_unpacked_again_from_its_blob() {
    let (home, image) = (Home::new(), three_layers());
    let registry = serve(&image);
    let name = format!("{}/x:1", registry.address());
    home.pull(&name).unwrap();
    let before = registry.log().len();
    let lost = home.store().layout().layer(&image.layers[0].diff_id);
    std::fs::remove_file(lost.join("complete")).unwrap();
    let (pulled, _) = home.pull_as(&name, PullPolicy::Missing);
    pulled.unwrap();
    assert_eq!(std::fs::read_to_string(home.layer(&image.layers[0]).join("a")).unwrap(), "from gzip");
    assert_eq!(registry.log().len(), before, "no registry is asked");
    assert_eq!(home.in_the_making().len(), 3, "{:?}", home.in_the_making());
}

#[test]
fn two_pulls_at_once_share_the_work() {
    let (home, image) = (Home::new(), three_layers());
    let registry = serve(&image);
    let name = format!("{}/x:1", registry.address());
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| home.pull(&name))).collect();
        for pull in pulls {
            pull.join().unwrap().unwrap();
        }
    });
    for layer in &image.layers {
        assert_eq!(registry.seen(layer.digest().hex()).len(), 1);
    }
    assert_eq!(home.in_the_making().len(), 3, "{:?}", home.in_the_making());
}

#[test]
fn never_means_never() {
    let (home, image) = (Home::new(), three_layers());
    let registry = serve(&image);
    let (outcome, _) = home.pull_as(&format!("{}/x:1", registry.address()), PullPolicy::Never);
    assert_eq!(outcome.expect_err("not here").kind, FailureKind::NotFound);
    assert!(registry.log().is_empty());
}

#[test]
fn a_layer_may_be_packed_in_another_way_than_its_media_type_says() {
    let of = |kind| Layer::of(kind, &[("a", kind.as_bytes())]);
    let media_types = ["tar", "gzip", "zstd"].map(|kind| of(kind).media_type);
    for kind in ["tar", "gzip", "zstd"] {
        for media_type in media_types {
            let home = Home::new();
            let image = LayeredImage::new(&here(), vec![Layer { media_type, ..of(kind) }]);
            home.pull(&format!("{}/x:1", serve(&image).address())).unwrap();
            assert_eq!(std::fs::read_to_string(home.layer(&image.layers[0]).join("a")).unwrap(), kind);
        }
    }
}
