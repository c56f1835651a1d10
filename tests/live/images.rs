//! Images in the store: lists, names, removal, archives in both directions.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::fixture::{registry, tool};
use crate::harness::Live;

fn listed(live: &Live) -> Vec<String> {
    let text = live.pybox(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn skopeo_inspect(source: &str) -> Value {
    let text = tool("skopeo", &["inspect", "--tls-verify=false", source]).expect("skopeo inspect");
    serde_json::from_str(&text).expect("JSON of skopeo")
}

#[test]
fn an_image_has_names_and_goes_with_the_last_one() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    live.pybox(["tag", &image, "other:v1"]).ok();
    assert_eq!(listed(&live).len(), 2);
    let ids = live.pybox(["images", "-q"]).ok();
    let first = ids.lines().next().expect("an id");
    assert!(ids.lines().all(|id| id == first), "{ids}");
    live.pybox(["rmi", &image]).ok();
    assert_eq!(live.pybox(["run", "--rm", "--pull=never", "other:v1", "echo", "still"]).ok(), "still");
    live.pybox(["rmi", first]).ok();
    assert_eq!(listed(&live), Vec::<String>::new());
    live.pybox(["run", "--rm", "--pull=never", "other:v1", "true"]).run().refuses(125, "other:v1");
}

#[test]
fn an_image_in_use_stays() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["run", "--name", "user", &image, "true"]).ok();
    let refused = live.pybox(["rmi", &image]).run();
    assert_ne!(refused.code, Some(0), "{refused}");
    refused.says("user");
    live.pybox(["rm", "user"]).ok();
    live.pybox(["rmi", &image]).ok();
    assert_eq!(listed(&live), Vec::<String>::new());
}

#[test]
fn inspect_agrees_with_skopeo() {
    let Some(live) = Live::new() else { return };
    let image = live.image("configured");
    live.pybox(["pull", &image]).ok();
    let ours: Value = serde_json::from_str(&live.pybox(["inspect", &image]).ok()).expect("JSON");
    let ours = &ours[0];
    let theirs = skopeo_inspect(&format!("docker://{image}"));
    assert_eq!(ours["Architecture"], theirs["Architecture"]);
    assert_eq!(ours["Config"]["Env"], theirs["Env"]);
    assert_eq!(ours["Config"]["Labels"], theirs["Labels"]);
    assert_eq!(ours["Config"]["User"], "app");
    let digest = theirs["Digest"].as_str().expect("a digest");
    let digests = ours["RepoDigests"].as_array().expect("a list");
    assert!(digests.iter().any(|known| known.as_str().is_some_and(|known| known.ends_with(digest))), "{digests:?}");
}

/// The digests of an archive's layers, as skopeo reads them.
fn layers(source: &str) -> Value {
    skopeo_inspect(source)["Layers"].clone()
}

#[test]
fn what_is_saved_can_be_loaded() {
    let Some(live) = Live::new() else { return };
    let image = live.image("layered");
    live.pybox(["pull", &image]).ok();
    for format in ["oci-archive", "docker-archive"] {
        let archive = live.dir.join(format!("{format}.tar"));
        let path = archive.to_string_lossy().into_owned();
        live.pybox(["save", "--format", format, "-o", &path, &image]).ok();
        let judged = layers(&format!("{format}:{path}"));
        assert_eq!(judged.as_array().map(Vec::len), Some(3), "{format}");
        if format == "oci-archive" {
            // The very bytes that the registry gave us.
            assert_eq!(judged, layers(&format!("docker://{image}")), "{format}");
        }
        let tree = tree_of(&live, &image);
        let id = live.pybox(["images", "-q", "--no-trunc"]).ok();
        live.pybox(["rmi", &image]).ok();
        live.pybox(["load", "-i", &path]).ok();
        assert_eq!(live.pybox(["images", "-q", "--no-trunc"]).ok(), id, "{format}");
        assert_eq!(tree_of(&live, &image), tree, "{format}");
    }
}

#[test]
fn archives_of_others_are_loaded() {
    let Some(live) = Live::new() else { return };
    let layout = registry::layout_of("layered").expect("a layout");
    for format in ["oci-archive", "docker-archive"] {
        let made = live.dir.join(format!("made-{format}.tar"));
        let target = format!("{format}:{}:name.example/loaded:{format}", made.display());
        tool("skopeo", &["copy", "-q", "--insecure-policy", &format!("oci:{}:latest", layout.display()), &target])
            .expect("skopeo copy");
        live.user.owns(&made, 0o644).expect("give the archive away");
        let said = live.pybox(["load", "-i", &made.to_string_lossy()]).ok();
        assert!(said.contains("loaded"), "{said}");
        let image = format!("name.example/loaded:{format}");
        assert!(tree_of(&live, &image).contains("was-file/inside"), "{format}");
        // From standard input as well.
        live.pybox(["rmi", &image]).ok();
        live.pybox(["load"]).stdin(std::fs::read(&made).expect("read the archive")).ok();
        assert!(live.pybox(["images"]).ok().contains("name.example/loaded"));
    }
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let Some(live) = Live::new() else { return };
    let busybox = live.image("busybox");
    // A tar archive made inside, from the image that we know.
    let tar = live.sh(&[], "tar c bin etc tmp home").run().exits(0).stdout;
    let archive = live.file("rootfs.tar", &tar);
    live.pybox(["import", &archive.to_string_lossy(), "mine:1"]).ok();
    assert_eq!(live.pybox(["run", "--rm", "mine:1", "cat", "/etc/os-release"]).ok(), "ID=busybox\nPRETTY_NAME=busybox");
    live.pybox(["import", "-", "mine:2"]).stdin(tar).ok();
    assert_eq!(live.pybox(["run", "--rm", "mine:2", "echo", "two"]).ok(), "two");
    // A directory: files of the user are root's inside.
    let tree = live.directory("tree");
    let mut command = live.command("tar");
    command.arg("xf").arg(&archive).arg("-C").arg(&tree).arg("--no-same-owner");
    crate::harness::Run::of(command).ok();
    live.pybox(["import", &tree.to_string_lossy(), "mine:3"]).ok();
    assert_eq!(live.pybox(["run", "--rm", "mine:3", "stat", "-c", "%u:%g", "/etc/passwd"]).ok(), "0:0");
    assert!(live.pybox(["images"]).ok().contains("mine"));
    live.pybox(["rmi", "mine:1", "mine:2", "mine:3"]).ok();
    assert!(!listed(&live).iter().any(|name| name.contains("mine")));
    assert_eq!(listed(&live).len(), 1, "{busybox} stays");
}

#[test]
fn the_tree_is_the_one_that_umoci_unpacks() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return crate::fixture::skip("umoci needs root to give files their owners");
    }
    let image = live.image("layered");
    live.pybox(["pull", &image]).ok();
    let layout = registry::layout_of("layered").expect("a layout");
    let judged = live.dir.join("judged");
    tool("umoci", &["unpack", "--image", &format!("{}:latest", layout.display()), &judged.to_string_lossy()])
        .expect("umoci");
    let rootfs = judged.join("rootfs");
    let theirs = tool("chroot", &[&rootfs.to_string_lossy(), "/bin/sh", "-c", LISTING]).expect("chroot");
    let ours = tree_of(&live, &image);
    let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (ours.lines().collect(), theirs.lines().collect());
    // What either has and the other has not.
    assert_eq!(ours.symmetric_difference(&theirs).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(ours.len() > 300, "all of busybox's names at least");
    let of = |root: &Path, name: &str| tool("getcap", &[&root.join(name).to_string_lossy()]).expect("getcap");
    assert!(of(&rootfs, "capable").contains("cap_net_bind_service=ep"));
    // The capability is bound to the container's root user, as only that one may use it.
    let layer = layer_with(&live, "capable");
    let ours = tool("getcap", &["-n", &layer.join("capable").to_string_lossy()]).expect("getcap");
    assert!(ours.contains(&format!("cap_net_bind_service=ep [rootid={}]", live.user.uid)), "{ours}");
    let note =
        tool("getfattr", &["-n", "user.note", "-e", "hex", "--absolute-names", &layer.join("noted").to_string_lossy()]);
    assert!(note.expect("getfattr").contains("0x0062696e617279ff"));
}

/// The unpacked layer that has `name` at its top.
fn layer_with(live: &Live, name: &str) -> std::path::PathBuf {
    let layers = std::fs::read_dir(live.root().join("images/layers")).expect("the store's layers").flatten();
    let mut found = layers.map(|entry| entry.path().join("diff")).filter(|diff| diff.join(name).exists());
    found.next().expect("a layer with that file")
}

/// Name, type, mode, owner, links, size, target and content of everything but what a runtime adds.
pub(crate) const LISTING: &str = "cd / && find . -xdev \\( -path ./dev -o -path ./proc -o -path ./sys -o -path ./run -o -path ./.dockerenv -o -path ./etc/mtab -o -path ./etc/hosts \
    -o -path ./etc/hostname -o -path ./etc/resolv.conf \\) -prune -o -print | sort | while read -r f; do \
    if [ -L \"$f\" ]; then echo \"$f link $(stat -c '%u:%g %Y' \"$f\") $(readlink \"$f\")\"; \
    elif [ -d \"$f\" ]; then echo \"$f dir $(stat -c '%a %u:%g' \"$f\")\"; \
    elif [ -f \"$f\" ]; then echo \"$f file $(stat -c '%a %u:%g %h %s %Y' \"$f\") $(md5sum < \"$f\")\"; \
    else echo \"$f $(stat -c '%F %a %u:%g %Y' \"$f\")\"; fi; done";

pub(crate) fn tree_of(live: &Live, image: &str) -> String {
    live.pybox(["run", "--rm", "--pull=never", image, "sh", "-c", LISTING]).ok()
}
