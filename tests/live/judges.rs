//! podman reads what we have saved and pushed: images, files, owners, extended attributes, and its own of a list.
//!
//! It keeps what it reads in a directory of the test's own, copied layer by layer (`vfs`), and runs nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::build::build;
use crate::build_layers::telling;
use crate::fixture::registry::{self, Own};
use crate::fixture::{layout, tool};
use crate::harness::Live;
use crate::images::LISTING;

/// podman with a storage of its own; as root, who can mount it.
struct Podman {
    root: PathBuf,
}

impl Podman {
    /// An empty one; it takes no path of more than 50 characters.
    fn new(live: &Live) -> Self {
        let root = (0..).map(|number| live.dir.join(format!("p{number}"))).find(|root| !root.exists());
        let root = root.expect("a name");
        std::fs::create_dir(&root).expect("make a directory for podman");
        Self { root }
    }

    fn run(&self, words: &[&str]) -> String {
        let place = |name: &str| self.root.join(name).display().to_string();
        let own = ["--root", &place("s"), "--runroot", &place("r"), "--storage-driver", "vfs"];
        let own: Vec<&str> = own.into_iter().chain(["--log-level", "error"]).collect();
        tool("podman", &[&own[..], words].concat()).expect("podman")
    }

    /// One field of an image.
    fn inspected(&self, image: &str) -> Value {
        let text = self.run(&["image", "inspect", image]);
        serde_json::from_str::<Value>(&text).expect("JSON of podman")[0].clone()
    }

    /// Where its files are.
    fn mounted(&self, image: &str) -> PathBuf {
        self.run(&["image", "mount", image]).trim().into()
    }
}

fn listed(root: &Path) -> BTreeSet<String> {
    let text = tool("chroot", &[&root.to_string_lossy(), "/bin/sh", "-c", LISTING]).expect("chroot");
    text.lines().map(str::to_owned).collect()
}

/// What podman knows of the image is what we know.
#[track_caller]
fn is_told_the_same(live: &Live, ours: &str, podman: &Podman, theirs: &str) {
    let told = podman.inspected(theirs);
    let mine = live.pybox(["inspect", "--format", "{{json .}}", ours]).ok();
    let mine: Value = serde_json::from_str(&mine).expect("JSON");
    assert_eq!(told["RootFS"]["Layers"], mine["RootFS"]["Layers"], "{theirs}");
    let id = mine["Id"].as_str().expect("an id").trim_start_matches("sha256:").to_owned();
    assert_eq!(told["Id"].as_str(), Some(id.as_str()), "{theirs}");
    for field in ["Env", "Cmd", "Entrypoint", "Labels", "WorkingDir", "User", "Volumes", "StopSignal", "ExposedPorts"] {
        let (theirs, mine) = (&told["Config"][field], &mine["Config"][field]);
        let is_nothing = |value: &Value| value.is_null() || *value == "" || *value == serde_json::json!({});
        assert!(theirs == mine || is_nothing(theirs) && is_nothing(mine), "{field}: {theirs} and {mine}");
    }
}

/// The same, and all of its files are; where podman has them.
#[track_caller]
fn is_the_same(live: &Live, ours: &str, podman: &Podman, theirs: &str) -> PathBuf {
    is_told_the_same(live, ours, podman, theirs);
    let root = podman.mounted(theirs);
    let files: BTreeSet<String> =
        live.pybox(["run", "--rm", "--user", "0", ours, "sh", "-c", LISTING]).ok().lines().map(str::to_owned).collect();
    let there = listed(&root);
    let difference = files.symmetric_difference(&there).cloned();
    // Where no layer has the root itself, everybody thinks of a mode of his own.
    let difference: Vec<String> = difference.filter(|line| !line.starts_with(". dir ")).collect();
    assert!(difference.is_empty(), "{theirs}: {difference:?}");
    assert!(files.len() > 250, "all of busybox's names at least");
    root
}

/// Whether there is somebody to judge; podman without root keeps other owners than those of the image.
fn judges(live: &Live) -> bool {
    let there = live.user.judged_by_root() && Path::new("/usr/bin/podman").exists();
    if !there {
        crate::fixture::skip("podman needs root, and to be installed");
    }
    there
}

#[test]
fn podman_loads_and_pulls_what_was_built() {
    let Some(live) = Live::new() else { return };
    if !judges(&live) {
        return;
    }
    let context = telling(&live);
    let shelf = registry::own(&live.dir.join("registry"), &Own::default()).expect("a registry");
    // Each way to compress by each way to go, as far as they have to do with each other.
    for (format, kinds, is_pushed) in [
        ("none", &["docker-archive"] as &[&str], false),
        ("gzip", &["oci-archive"], true),
        ("zstd", &["docker-archive", "oci-archive"], true),
    ] {
        let name = format!("localhost/built-{format}:1");
        let flags = ["-q", "-t", &name, "--compression", format, "--label", "k=v"];
        build(&live, &context, &flags).ok();
        for kind in kinds {
            let podman = Podman::new(&live);
            let file = live.dir.join(format!("{format}-{kind}.tar"));
            let path = file.to_string_lossy();
            live.pybox(["save", "--format", kind, "-o", &path, &name]).ok();
            let said = podman.run(&["load", "-i", &path]);
            assert!(said.contains(&name), "{kind}: {said}");
            is_the_same(&live, &name, &podman, &name);
        }
        if is_pushed {
            let there = format!("{shelf}/built:{format}");
            live.pybox(["push", "-q", &name, &there]).ok();
            let podman = Podman::new(&live);
            podman.run(&["pull", "-q", "--tls-verify=false", &there]);
            is_the_same(&live, &name, &podman, &there);
        }
    }
    // Compressed on the way.
    let there = format!("{shelf}/sent:zstd");
    live.pybox(["push", "-q", "--compression-format", "zstd", "localhost/built-none:1", &there]).ok();
    let podman = Podman::new(&live);
    podman.run(&["pull", "-q", "--tls-verify=false", &there]);
    is_the_same(&live, "localhost/built-none:1", &podman, &there);
}

#[test]
fn podman_sees_each_rule_of_layers_and_every_attribute() {
    let Some(live) = Live::new() else { return };
    if !judges(&live) {
        return;
    }
    for (name, has_volumes) in [("layered", false), ("configured", true)] {
        let image = live.image(name);
        live.pybox(["pull", &image]).ok();
        let file = live.dir.join(format!("{name}.tar")).to_string_lossy().into_owned();
        live.pybox(["save", "--format", "oci-archive", "-o", &file, &image]).ok();
        let podman = Podman::new(&live);
        podman.run(&["load", "-i", &file]);
        if has_volumes {
            is_told_the_same(&live, &image, &podman, &image);
            continue;
        }
        let root = is_the_same(&live, &image, &podman, &image);
        let root = root.display();
        let note = tool("getfattr", &["--only-values", "-n", "user.note", &format!("{root}/noted")]);
        assert_eq!(note.expect("getfattr").as_bytes(), "\0binary\u{fffd}".as_bytes());
        let capable = tool("getcap", &[&format!("{root}/capable")]).expect("getcap");
        assert!(capable.contains("cap_net_bind_service=ep"), "{capable}");
    }
    // What a container has changed, with what it was committed for.
    let image = live.image("layered");
    let script =
        "rm /a/again; mkfifo -m 640 /pipe; chown 7:8 /noted; chmod 6755 /owned; mv /setuid /moved; echo x > /b/x";
    live.pybox(["run", "--name", "changed", &image, "sh", "-c", script]).ok();
    live.pybox(["commit", "-q", "--compression", "zstd", "--change", "USER app", "changed", "localhost/committed:1"])
        .ok();
    let file = live.dir.join("committed.tar").to_string_lossy().into_owned();
    live.pybox(["save", "-o", &file, "localhost/committed:1"]).ok();
    let podman = Podman::new(&live);
    podman.run(&["load", "-i", &file]);
    let root = is_the_same(&live, "localhost/committed:1", &podman, "localhost/committed:1");
    assert!(!root.join("a/again").exists() && root.join("moved").exists());
}

#[test]
fn podman_takes_its_own_of_a_list() {
    let Some(live) = Live::new() else { return };
    if !judges(&live) {
        return;
    }
    let shelf = registry::own(&live.dir.join("registry"), &Own::default()).expect("a registry");
    let (ours, foreign) = (live.image("busybox"), live.image("foreign"));
    for (image, platform) in [(&ours, layout::native()), (&foreign, layout::foreign())] {
        live.pybox(["pull", "--platform", &format!("linux/{platform}"), image]).ok();
    }
    let list = format!("{shelf}/app:1");
    live.pybox(["manifest", "create", &list, &ours, &foreign]).ok();
    live.pybox(["manifest", "push", &list]).ok();
    let podman = Podman::new(&live);
    podman.run(&["pull", "-q", "--tls-verify=false", &list]);
    is_the_same(&live, &ours, &podman, &list);
    podman.run(&["pull", "-q", "--tls-verify=false", "--arch", layout::foreign(), &list]);
    assert_eq!(podman.inspected(&list)["Architecture"], layout::foreign());
}
