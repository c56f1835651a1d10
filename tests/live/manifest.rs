//! Lists of images: made here, read by others, run where they were made.

use crate::fixture::registry::{self, Own};
use crate::fixture::{layout, tool};
use crate::harness::Live;

fn raw(image: &str) -> String {
    tool("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{image}")]).expect("skopeo inspect")
}

/// The platforms of a list that is here.
fn platforms(live: &Live, list: &str) -> Vec<String> {
    let shown = live.pybox(["manifest", "inspect", list]).ok();
    let document: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let entries = document["manifests"].as_array().expect("manifests").iter();
    entries.map(|entry| entry["platform"]["architecture"].as_str().expect("an architecture").to_owned()).collect()
}

fn count(live: &Live) -> usize {
    live.pybox(["images", "-aq", "--no-trunc"]).ok().lines().collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn a_list_is_made_pushed_and_run() {
    let Some(live) = Live::new() else { return };
    let shelf = registry::own(&live.dir.join("registry"), &Own::default()).expect("a registry");
    let (ours, foreign) = (live.image("busybox"), live.image("foreign"));
    for image in [&ours, &foreign] {
        let platform = if *image == ours { layout::native() } else { layout::foreign() };
        live.pybox(["pull", "--platform", &format!("linux/{platform}"), image]).ok();
    }
    let list = format!("{shelf}/app:1");
    let made = live.pybox(["manifest", "create", &list, &ours, &foreign]).ok();
    assert!(made.starts_with("sha256:"), "{made}");
    assert_eq!(platforms(&live, &list), [layout::native(), layout::foreign()]);
    assert_eq!(live.pybox(["run", "--rm", "--pull", "never", &list, "echo", "ours"]).ok(), "ours");
    live.pybox(["manifest", "push", &list]).ok();
    assert_eq!(format!("sha256:{}", layout::sha256(raw(&list).as_bytes())), made);
    let copy = format!("dir:{}", live.dir.join("copy").display());
    let source = format!("docker://{list}");
    tool("skopeo", &["copy", "-q", "--all", "--insecure-policy", "--src-tls-verify=false", &source, &copy])
        .expect("skopeo copies all of it");
    // What was pushed is there: nothing goes again, under another name it is mounted.
    let again = live.pybox(["--debug", "push", &list, &format!("{shelf}/app:2")]).run().exits(0);
    assert!(!again.stderr.contains("POST 127"), "{again}");
    let mut other = Live::new().expect("another world");
    other.store = other.dir.join("other");
    other.pybox(["pull", &list]).ok();
    assert_eq!(other.pybox(["run", "--rm", &list, "cat", "/etc/os-release"]).ok().lines().next(), Some("ID=busybox"));
    // Asked of the registry, as it is not here.
    assert_eq!(platforms(&other, &format!("{shelf}/app:2")).len(), 2);
    assert_eq!(live.pybox(["check"]).run().exits(0).code, Some(0));
}

#[test]
fn a_list_grows_and_shrinks_and_keeps_its_images() {
    let Some(live) = Live::new() else { return };
    let shelf = registry::own(&live.dir.join("registry"), &Own::default()).expect("a registry");
    let list = format!("{shelf}/grown:1");
    live.pybox(["manifest", "create", &list]).ok();
    live.pybox(["manifest", "create", &list]).run().refuses(1, "already");
    assert_eq!(platforms(&live, &list), Vec::<String>::new());
    // Both platforms of one name, one after the other, pulled as they are asked for.
    let image = live.image("busybox-multi");
    live.pybox(["manifest", "add", "--arch", layout::foreign(), &list, &image]).ok();
    live.pybox(["manifest", "add", &list, &format!("docker://{image}"), "--arch", layout::native(), "--variant", "v9"])
        .run()
        .refuses(1, "is not made for");
    live.pybox(["manifest", "add", &list, &image, "--arch", layout::native()]).ok();
    assert_eq!(platforms(&live, &list), [layout::foreign(), layout::native()]);
    live.pybox(["manifest", "annotate", "--variant", "v7", "--annotation", "a=b", &list, &image]).ok();
    let shown = live.pybox(["manifest", "inspect", &list]).ok();
    assert!(shown.contains("\"variant\": \"v7\"") && shown.contains("\"a\": \"b\""), "{shown}");
    // Without names of their own, the list keeps them.
    live.pybox(["rmi", &image]).ok();
    live.pybox(["image", "prune", "--force"]).ok();
    let before = live.pybox(["manifest", "inspect", &list]).ok();
    live.pybox(["manifest", "push", &list]).ok();
    let pushed: serde_json::Value = serde_json::from_str(&raw(&list)).expect("JSON");
    assert_eq!(pushed, serde_json::from_str::<serde_json::Value>(&before).expect("JSON"));
    let first = pushed["manifests"][0]["digest"].as_str().expect("a digest").to_owned();
    live.pybox(["manifest", "remove", &list, &first]).ok();
    assert_eq!(platforms(&live, &list), [layout::native()]);
    live.pybox(["manifest", "remove", &list, &first]).run().refuses(1, "has no image");
    assert_eq!(count(&live), 2, "the list and one image");
    assert_eq!(live.pybox(["manifest", "rm", &list]).ok(), list);
    assert_eq!(count(&live), 0, "{}", live.pybox(["images", "-a", "--digests"]).ok());
    // The index that the images came with, which nothing names any more.
    live.pybox(["system", "prune", "--force"]).ok();
    let blobs = std::fs::read_dir(live.root().join("images/blobs/sha256")).expect("blobs").count();
    assert_eq!(blobs, 0);
}

#[test]
fn what_is_no_list_is_told_apart() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    live.pybox(["manifest", "rm", &image]).run().refuses(1, "is an image and no list");
    live.pybox(["manifest", "add", &image, &image]).run().refuses(1, "is an image and no list");
    live.pybox(["manifest", "add", "nosuch", &image]).run().refuses(1, "no list named");
    live.pybox(["manifest", "create", "--amend", &image]).run().refuses(1, "already");
    live.pybox(["manifest", "create", "l:1", &image]).ok();
    live.pybox(["manifest", "create", "--amend", "l:1", &image]).ok();
    live.pybox(["manifest", "annotate", "l:1", "nosuch:1", "--arch", "arm"]).run().refuses(1, "has no image nosuch:1");
    live.pybox(["save", "-o", "x.tar", "l:1"]).run().refuses(1, "is a list of images");
    live.pybox(["manifest", "inspect", "127.0.0.1:1/x"]).run().refuses(1, "reach the registry");
    assert!(live.pybox(["manifest", "inspect", &image]).ok().contains("layers"));
    // Verbs about images take it for one.
    for verb in
        ["system df -v", "history l:1", "inspect l:1", "images --digests", "tag l:1 l:2", "image inspect l:2", "check"]
    {
        live.pybox(verb.split(' ')).ok();
    }
    live.pybox(["rmi", "l:1"]).ok();
    assert_eq!(platforms(&live, "l:2").len(), 1);
    // Two at once both stay.
    let foreign = live.image("foreign");
    live.pybox(["pull", "--platform", &format!("linux/{}", layout::foreign()), &foreign]).ok();
    live.pybox(["manifest", "create", "both"]).ok();
    let adds = [&image, &foreign].map(|image| live.pybox(["manifest", "add", "both", image]).start());
    for add in adds {
        add.wait().exits(0);
    }
    assert_eq!(platforms(&live, "both").len(), 2);
    live.pybox(["rmi", "both"]).ok();
    assert!(live.pybox(["run", "--rm", &image, "true"]).run().exits(0).stderr.is_empty());
}
