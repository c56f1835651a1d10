use pybox::engine::api::{FailureKind, ImageRemoval, Inspect, ListImages, ObjectKind, Pull, RemoveImage, Tag};
use pybox::model::container::PullPolicy;

use super::Bench;
use super::layout::{self, Packing};

#[test]
fn images_are_listed_named_inspected_and_removed() {
    let bench = Bench::new();
    assert_eq!(bench.call(ListImages {}).expect("an empty list"), []);
    let id = layout::simple(&bench.path("layout"), Some("127.0.0.1:5000/app:1"), Packing::Gzip);
    bench.load(&bench.path("layout")).expect("a layout");
    let tag = |image: &str, name: &str| bench.call(Tag { image: image.into(), reference: name.parse().expect(name) });
    assert_eq!(tag(id.short(), "app").expect("a name").id, id);
    assert_eq!(tag("none", "app").expect_err("no image").kind, FailureKind::NotFound);
    assert_eq!(tag("app", &format!("x@{id}")).expect_err("a digest").kind, FailureKind::Invalid);

    let [image] = bench.call(ListImages {}).expect("a list").try_into().expect("one image");
    let names: Vec<_> = image.names.iter().map(|name| name.reference.to_string()).collect();
    assert_eq!(names, ["127.0.0.1:5000/app:1", "docker.io/library/app:latest"]);
    assert_eq!((image.id.clone(), image.size, image.created), (id.clone(), 7, Some(1_714_979_289_000)));
    assert_eq!(image.labels.get("tier").map(String::as_str), Some("web"));

    let kind = Some(ObjectKind::Image);
    let document = bench.call(Inspect { name: "app".into(), kind, sizes: false }).expect("a document");
    for (pointer, value) in [
        ("/Id", serde_json::json!(id)),
        ("/RepoTags", serde_json::json!(["127.0.0.1:5000/app:1", "app:latest"])),
        ("/Created", serde_json::json!("2024-05-06T07:08:09Z")),
        ("/Architecture", serde_json::json!("amd64")),
        ("/Os", serde_json::json!("linux")),
        ("/Size", serde_json::json!(7)),
        ("/Comment", serde_json::json!("made up")),
        ("/Config/Cmd/0", serde_json::json!("sh")),
        ("/Config/Env", serde_json::json!(["A=b"])),
        ("/RootFS/Type", serde_json::json!("layers")),
    ] {
        assert_eq!(document.pointer(pointer), Some(&value), "{pointer}");
    }
    assert_eq!(document.pointer("/RootFS/Layers").and_then(|layers| layers.as_array()).map(Vec::len), Some(2));

    let remove = |name: &str, force| bench.call(RemoveImage { name: name.into(), force });
    assert_eq!(remove(id.hex(), false).expect_err("two names").kind, FailureKind::Conflict);
    assert_eq!(remove("app", false).expect("a name"), [ImageRemoval::Untagged("app".parse().expect("a name"))]);
    assert_eq!(
        remove("127.0.0.1:5000/app:1", false).expect("the last name"),
        [ImageRemoval::Untagged("127.0.0.1:5000/app:1".parse().expect("a name")), ImageRemoval::Deleted(id)]
    );
    assert_eq!(bench.files(), Vec::<String>::new());
    assert_eq!(remove("app", false).expect_err("gone").kind, FailureKind::NotFound);
}

/// Waits for a count in the database to become `wanted`.
fn await_count(db: &rusqlite::Connection, query: &str, wanted: i64) {
    for _ in 0..500 {
        if db.query_row(query, [], |row| row.get(0)) == Ok(wanted) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{query} does not become {wanted}");
}

#[test]
fn layers_settle_by_themselves_and_doubtful_ones_are_unpacked_again() {
    let bench = Bench::new();
    layout::simple(&bench.path("layout"), Some("app:1"), Packing::Gzip);
    bench.load(&bench.path("layout")).expect("a layout");
    let db = rusqlite::Connection::open(bench.path("root/pybox.db")).expect("the database");
    db.busy_timeout(std::time::Duration::from_secs(10)).expect("patience");
    let unsettled = "SELECT count(*) FROM layers WHERE boot IS NOT NULL";
    await_count(&db, unsettled, 0);

    // As a power cut would leave it: the mark of another boot, and files that were never written.
    db.execute("UPDATE layers SET boot = 'another'", []).expect("another boot");
    for layer in std::fs::read_dir(bench.path("root/images/layers")).expect("layers") {
        let layer = layer.expect("a layer").path();
        std::fs::write(layer.join("complete"), r#"{"bytes":1,"entries":1,"boot":"another"}"#).expect("write");
        std::fs::remove_dir_all(layer.join("diff/etc")).expect("lost");
    }
    let pull = Pull { reference: "app:1".parse().expect("a name"), platform: None, policy: PullPolicy::Missing };
    assert!(!bench.call(pull).expect("no registry is asked").changed);
    let names = ["diff/etc/base", "diff/etc/top"];
    let layers = || std::fs::read_dir(bench.path("root/images/layers")).expect("layers").flatten();
    assert!(names.iter().all(|name| layers().any(|layer| layer.path().join(name).exists())));
    await_count(&db, unsettled, 0);
}
