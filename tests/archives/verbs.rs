use pybox::engine::api::{FailureKind, ImageRemoval, Inspect, ListImages, ObjectKind, RemoveImage, Tag};

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
    let document = bench.call(Inspect { name: "app".into(), kind }).expect("a document");
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
