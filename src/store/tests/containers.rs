//! Rows and bundles of containers, with many writers at once.

use super::*;

#[test]
fn containers_are_found_by_id_name_or_prefix() {
    let (_dir, store) = store();
    let image = put(&store, "app");
    let make = |name: &str, id: &str| Container {
        id: format!("{id}{}", "0".repeat(64 - id.len())).parse().expect("an id"),
        ..container(&image, name)
    };
    let [one, two, three] = [make("one", "aa1"), make("two", "aa2"), make("beef", "cc")];
    for container in [&one, &two, &three] {
        store.insert_container(container, Durability::Throwaway).expect("a container");
    }
    for (text, found) in
        [("one", &one), ("/one", &one), (two.id.as_str(), &two), ("aa2", &two), ("beef", &three), ("c", &three)]
    {
        assert_eq!(store.find_container(text).expect(text), *found, "{text}");
    }
    match store.find_container("aa").expect_err("two of them") {
        StoreError::AmbiguousContainer { candidates, .. } => assert_eq!(candidates, [one.id.clone(), two.id.clone()]),
        error => panic!("{error:?}"),
    }
    for text in ["", "on", "AA1", "dd", "../x", "%"] {
        assert!(matches!(store.find_container(text), Err(StoreError::NoSuchContainer(_))), "{text:?}");
    }
    assert_eq!(store.list_containers().expect("a list").len(), 3);
    assert_eq!(store.containers_of_image(&image.id).expect("a list").len(), 3);
}

#[test]
fn states_change_by_what_they_were() {
    let (_dir, store) = store();
    let image = put(&store, "app");
    let one = container(&image, "one");
    store.insert_container(&one, Durability::Durable).expect("a container");
    let change = |next: Lifecycle| {
        store
            .change_lifecycle(&one.id, Durability::Throwaway, |now| (!now.is_alive()).then_some(next))
            .expect("a state")
    };
    assert_eq!(change(running()), running());
    assert_eq!(change(Lifecycle::Created), running(), "it stays");
    assert_eq!(store.find_container("one").expect("it").lifecycle, running());
    store.remove_container(&one.id, Durability::Durable).expect("gone");
    store.remove_container(&one.id, Durability::Durable).expect("gone already");
    let error = store.change_lifecycle(&one.id, Durability::Durable, |_| None).expect_err("gone");
    assert!(matches!(error, StoreError::NoSuchContainer(_)), "{error:?}");
}

#[test]
fn a_container_needs_its_image_at_the_moment_it_is_added() {
    let (_dir, store) = store();
    let image = put(&store, "app");
    store.remove_image("app", Force::No).expect("the image");
    let error = store.insert_container(&container(&image, "one"), Durability::Throwaway).expect_err("gone");
    assert!(matches!(error, StoreError::NoSuchImage(_)), "{error:?}");
}

#[test]
fn of_fifty_processes_one_gets_the_name() {
    let (dir, store) = store();
    let root = dir.path().join("root");
    put(&store, "app");
    let children: Vec<_> =
        (0..50).map(|_| child::command("containers::takes_the_name", &root, "").spawn().expect("a child")).collect();
    let ended: Vec<_> = children.into_iter().map(|child| child.wait_with_output().expect("its end")).collect();
    let outputs: Vec<_> = ended.iter().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).collect();
    assert!(ended.iter().all(|output| output.status.success()), "{outputs:#?}");
    let [only] = store.list_containers().expect("a list").try_into().expect("one container");
    let sentence = format!("the container name same is in use by container {}", only.id.short());
    assert_eq!(outputs.iter().filter(|text| text.contains("got it")).count(), 1);
    assert_eq!(outputs.iter().filter(|text| text.contains(&sentence)).count(), 49);
}

#[test]
#[ignore = "a child of of_fifty_processes_one_gets_the_name"]
fn takes_the_name() {
    let store = child::store();
    let image = store.find_image("app").expect("the image");
    let new = super::NewImage {
        id: image.id,
        manifest: image.manifest,
        manifest_type: image.manifest_type,
        platform: image.platform,
        created: None,
        labels: image.labels,
        layers: image.layers,
    };
    match store.insert_container(&container(&new, "same"), Durability::Durable) {
        Ok(()) => println!("got it"),
        Err(error @ StoreError::NameInUse { .. }) => println!("{error}"),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn sixteen_writers_are_never_told_to_come_back() {
    let (dir, store) = store();
    let root = dir.path().join("root");
    put(&store, "app");
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let root = &root;
            scope.spawn(move || child::succeed(child::command("containers::writes", root, &writer.to_string())));
        }
    });
    assert_eq!(store.list_containers().expect("a list").len(), 16 * 20);
    assert_whole(&root);
}

#[test]
#[ignore = "a child of sixteen_writers_are_never_told_to_come_back"]
fn writes() {
    let id = child::store().find_image("app").expect("the image");
    let store = child::store();
    for n in 0..40 {
        // As a verb does: a store of its own, several writes, the row of every second container goes.
        let store =
            if n % 4 == 0 { child::store() } else { Store::open(store.layout().root(), Access::Write).expect("it") };
        let durability = if n % 8 == 0 { Durability::Durable } else { Durability::Throwaway };
        let new = Container {
            image: id.id.clone(),
            manifest: id.manifest.clone(),
            name: format!("w{}-{n}", child::extra()).parse().expect("a name"),
            ..container(&prepare_none(&id), "x")
        };
        store.insert_container(&new, durability).expect("no busy database");
        store.change_lifecycle(&new.id, durability, |_| Some(running())).expect("no busy database");
        assert_eq!(store.find_container(new.name.as_str()).expect("no busy database").id, new.id);
        if n % 2 == 0 {
            store.remove_container(&new.id, durability).expect("no busy database");
        }
    }
}

fn prepare_none(image: &super::super::image::Image) -> NewImage {
    NewImage {
        id: image.id.clone(),
        manifest: image.manifest.clone(),
        manifest_type: String::new(),
        platform: image.platform.clone(),
        created: None,
        labels: Default::default(),
        layers: vec![],
    }
}

#[test]
fn bundles_are_cheap_and_go_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, store) = store();
    let image = put(&store, "app");
    let one = container(&image, "one");
    let bundle = store.create_bundle(&one.id).expect("a bundle");
    assert!(matches!(store.create_bundle(&one.id), Err(StoreError::Io { .. })), "taken");
    for (file, mode) in [(BundleFile::Config, 0o600), (BundleFile::Hosts, 0o644)] {
        for (text, durability) in
            [("one", Durability::Throwaway), ("two", Durability::Throwaway), ("3", Durability::Durable)]
        {
            bundle.write(file, text.as_bytes(), durability).expect("a file");
            assert_eq!(std::fs::read_to_string(bundle.file(file)).expect("it"), text);
        }
        let metadata = std::fs::metadata(bundle.file(file)).expect("it");
        assert_eq!(metadata.permissions().mode() & 0o7777, mode);
    }
    let mode = |path| std::fs::metadata(path).expect("it").permissions().mode() & 0o7777;
    assert_eq!((mode(bundle.path().to_path_buf()), mode(bundle.upper())), (0o700, 0o755));
    std::fs::create_dir_all(bundle.upper().join("a/b")).expect("files of the container");
    std::fs::create_dir(bundle.work().join("work")).expect("what overlayfs leaves");
    std::fs::set_permissions(bundle.work().join("work"), std::fs::Permissions::from_mode(0o000)).expect("chmod");
    assert_eq!(store.open_bundle(&one.id).expect("it").path(), bundle.path());
    assert_eq!(store.remove_bundle(&one.id).expect("gone"), Vec::<std::path::PathBuf>::new());
    assert!(!bundle.path().exists());
    assert_eq!(store.remove_bundle(&one.id).expect("gone already"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_container_has_one_lock() {
    let (_dir, store) = store();
    let id = ContainerId::from_random(&[7; 32]);
    let lock = store.lock_container(&id, Wait::No).expect("free");
    let error = store.lock_container(&id, Wait::No).expect_err("held");
    assert_eq!(error.to_string(), format!("container 070707070707 is in use by process {}", std::process::id()));
    drop(lock);
    drop(store.lock_container(&id, Wait::No).expect("free again"));
}
