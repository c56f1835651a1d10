//! Images found, named, renamed and removed.

use super::*;

#[test]
fn images_are_found_as_docker_finds_them() {
    let (_dir, store) = store();
    let image = put(&store, "127.0.0.1:5000/a:1");
    let index = Digest::of(b"index");
    let names = ImageNames {
        tags: vec![TagName { reference: reference("debian:12"), target: Some(index.clone()) }],
        digests: vec![reference("debian").with_digest(index.clone())],
    };
    store.put_image(&image, &names).expect("more names");
    let hex = image.id.hex();
    for text in [
        "127.0.0.1:5000/a:1",
        "debian:12",
        "docker.io/library/debian:12",
        &format!("debian@{index}"),
        &format!("debian:whatever@{index}"),
        hex,
        &image.id.to_string(),
        &hex[..12],
        &hex[..2],
        &format!("sha256:{}", &hex[..7]),
        &image.manifest.to_string(),
    ] {
        let found = store.find_image(text).expect(text);
        assert_eq!((&found.id, &found.manifest, &found.layers), (&image.id, &image.manifest, &image.layers), "{text}");
        assert_eq!(found.size, ("base".len() + "127.0.0.1:5000/a:1".len()) as u64);
    }
    let none = format!("debian@{}", Digest::of(b"none"));
    for text in ["debian", "debian:13", "a:1", "zz", "sha256:", "", "../x", "sha256:xyz", &none] {
        assert!(matches!(store.find_image(text), Err(StoreError::NoSuchImage(_))), "{text:?}");
    }
    assert!(store.find_reference(&reference("debian:12")).expect("an answer").is_some());
    assert!(store.find_reference(&reference("debian:13")).expect("an answer").is_none());
}

#[test]
fn a_name_wins_over_an_id_and_ids_may_be_ambiguous() {
    let (_dir, store) = store();
    let ids: Vec<_> = (0..20).map(|n| put(&store, &format!("i{n}")).id).collect();
    let by_digit = |digit: char| ids.iter().filter(move |id| id.hex().starts_with(digit));
    let digit = ('a'..='f').chain('0'..='9').find(|digit| by_digit(*digit).count() > 1).expect("20 ids, 16 digits");
    match store.find_image(&digit.to_string()).expect_err("more than one") {
        StoreError::AmbiguousImage { candidates, .. } => {
            assert_eq!(candidates.len(), by_digit(digit).count());
        }
        other => panic!("{other:?}"),
    }
    store.tag_image("i7", &reference(&digit.to_string()), Force::No).expect("a name");
    assert_eq!(store.find_image(&digit.to_string()).expect("by name").id, ids[7]);
}

#[test]
fn nothing_is_put_before_all_of_it_is_here() {
    let (_dir, store) = store();
    let image = prepare(&store, &["base"], "x");
    let layer = &image.layers[0];
    std::fs::rename(store.layout().layer(&layer.diff_id), store.layout().layers().join("away")).expect("rename");
    assert!(matches!(store.put_image(&image, &tagged("x")), Err(StoreError::MissingLayer(_))));
    std::fs::rename(store.layout().layers().join("away"), store.layout().layer(&layer.diff_id)).expect("rename");
    std::fs::write(store.layout().blob(&layer.blob), "longer than before").expect("damage");
    assert!(matches!(store.put_image(&image, &tagged("x")), Err(StoreError::DamagedBlob(_))));
    std::fs::remove_file(store.layout().blob(&layer.blob)).expect("unlink");
    assert!(matches!(store.put_image(&image, &tagged("x")), Err(StoreError::MissingBlob(_))));
    assert_eq!(store.list_images().expect("a list"), []);
}

#[test]
fn a_tag_moves_and_the_old_image_stays_without_name() {
    let (_dir, store) = store();
    let old = put(&store, "old");
    store.tag_image("old", &reference("app:1"), Force::No).expect("a name");
    let new = prepare(&store, &["base", "new"], "new");
    let moved = store.put_image(&new, &tagged("app:1")).expect("an image");
    assert_eq!(moved, [(reference("app:1"), old.id.clone())]);
    assert_eq!(store.tag_owner(&reference("app:1")).expect("an answer"), Some(new.id.clone()));
    let again = store.put_image(&new, &tagged("app:1")).expect("the same image");
    assert_eq!(again, []);

    let error = store.tag_image("old", &reference("app:1"), Force::No).expect_err("in use");
    assert_eq!(error.to_string(), format!("docker.io/library/app:1 is the name of another image ({})", new.id.short()));
    let (id, before) = store.tag_image("old", &reference("app:1"), Force::Yes).expect("forced");
    assert_eq!((id, before), (old.id, Some(new.id.clone())));
    let list = store.list_images().expect("a list");
    let nameless = list.iter().find(|image| image.id == new.id).expect("still there");
    assert_eq!(nameless.names, ImageNames::default());
}

#[test]
fn lists_show_names_labels_and_containers() {
    let (_dir, store) = store();
    let image = put(&store, "b:1");
    store.tag_image("b:1", &reference("a:1"), Force::No).expect("a name");
    store.insert_container(&container(&image, "one"), Durability::Throwaway).expect("a container");
    let [only] = store.list_images().expect("a list").try_into().expect("one image");
    let names: Vec<_> = only.names.tags.iter().map(|tag| tag.reference.familiar_name()).collect();
    assert_eq!((names, only.containers), (vec!["a".to_owned(), "b".to_owned()], 1));
    assert_eq!(only.labels.get("l").map(String::as_str), Some("b:1"));
    assert_eq!(only.created, Some(1_704_067_200_000));
}

#[test]
fn removing_takes_names_first() {
    let (_dir, store) = store();
    let image = put(&store, "app:1");
    let digest = reference("app").with_digest(image.manifest.clone());
    let names = ImageNames { tags: tagged("app:2").tags, digests: vec![digest.clone()] };
    store.put_image(&image, &names).expect("more names");
    let other = put(&store, "other");

    match store.remove_image(image.id.hex(), Force::No).expect_err("two names") {
        StoreError::SeveralNames { names, .. } => {
            assert_eq!(names, ["docker.io/library/app:1", "docker.io/library/app:2"]);
        }
        error => panic!("{error:?}"),
    }
    let removed = store.remove_image("app:1", Force::No).expect("a name");
    assert_eq!((removed.untagged, removed.deleted, removed.freed), (vec![reference("app:1")], None, 0));
    let removed = store.remove_image("app:2", Force::No).expect("the last name");
    assert_eq!((removed.untagged, removed.deleted), (vec![reference("app:2"), digest], Some(image.id.clone())));
    assert!(removed.freed > 0);
    assert!(!store.has_blob(&image.id) && !store.has_blob(&image.manifest) && !store.has_blob(&image.layers[1].blob));
    assert!(!store.layout().layer(&image.layers[1].diff_id).exists());
    assert!(store.has_blob(&image.layers[0].blob) && store.has_layer(&image.layers[0].diff_id), "shared");
    assert!(matches!(store.remove_image("app:2", Force::No), Err(StoreError::NoSuchImage(_))));

    let removed = store.remove_image(&other.id.short()[..8], Force::No).expect("by id");
    assert_eq!((removed.untagged, removed.deleted), (vec![reference("other")], Some(other.id)));
    assert_eq!(std::fs::read_dir(store.layout().layers()).expect("list").count(), 0);
    assert_eq!(std::fs::read_dir(store.layout().trash()).expect("list").count(), 0);
}

#[test]
fn containers_keep_their_image() {
    let (_dir, store) = store();
    let image = put(&store, "app");
    let stopped = container(&image, "stopped");
    store.insert_container(&stopped, Durability::Durable).expect("a container");
    let error = store.remove_image("app", Force::No).expect_err("in use");
    assert_eq!(error.to_string(), format!("image app is used by container stopped ({})", stopped.id.short()));
    assert_eq!(error.hint().as_deref(), Some("pybox rm stopped"));
    store.tag_image("app", &reference("second"), Force::No).expect("a name");
    store.remove_image("second", Force::No).expect("one of two names");

    store.change_lifecycle(&stopped.id, Durability::Durable, |_| Some(running())).expect("it runs");
    let error = store.remove_image("app", Force::Yes).expect_err("running");
    assert!(matches!(error, StoreError::ImageInUse { running: true, .. }), "{error:?}");
    store.change_lifecycle(&stopped.id, Durability::Durable, |_| Some(Lifecycle::Created)).expect("it does not");
    let removed = store.remove_image("app", Force::Yes).expect("forced");
    assert_eq!((removed.untagged, removed.deleted), (vec![reference("app")], None));
    let kept = store.image_of_manifest(&image.id, &image.manifest).expect("for the container");
    assert_eq!(store.layer_dirs(&kept).expect("its layers").len(), 2);

    store.remove_container(&stopped.id, Durability::Durable).expect("the container");
    assert_eq!(store.remove_image(image.id.hex(), Force::No).expect("unused").deleted, Some(image.id));
}
