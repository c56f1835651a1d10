//! Layers that are made here, compressed: always the same, and read by others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::build::{build, context, says};
use crate::fixture::registry::{self, Own};
use crate::fixture::tool;
use crate::harness::Live;
use crate::images::{LISTING, tree_of};

const FORMATS: [(&str, &str); 3] = [("none", "tar"), ("gzip", "tar+gzip"), ("zstd", "tar+zstd")];

/// Owners, modes, links, times, deleted files, a replaced directory, a name that needs an extended header.
pub(crate) fn telling(live: &Live) -> PathBuf {
    let dockerfile = format!(
        "FROM {}\nRUN mkdir -p /d/sub /gone && head -c 3000000 /dev/zero > /d/zeros && ln /d/zeros /d/hard && \
         ln -s ../d/sub /d/soft && chown app:staff /d/sub && chmod 2751 /d/sub && touch /gone/x && rm /bin/arping && \
         touch /d/$(printf '%0120d' 7)\nRUN rm -r /gone && mkdir /gone && touch /gone/y && chmod 4755 /bin/busybox\n\
         COPY --chown=svc:www src /src\n",
        live.image("busybox")
    );
    let files = [("Dockerfile", dockerfile.as_str()), ("src/a", "a"), ("src/sub/b", "b")];
    context(live, "telling", &files)
}

/// The manifest of an archive or a registry, as skopeo reads it.
fn manifest(source: &str) -> Value {
    let text = tool("skopeo", &["inspect", "--raw", "--tls-verify=false", source]).expect("skopeo inspect");
    serde_json::from_str(&text).expect("JSON of skopeo")
}

/// Kinds of the layers that were made here.
fn kinds(manifest: &Value) -> BTreeSet<String> {
    let layers = manifest["layers"].as_array().expect("layers");
    let kind = |layer: &Value| layer["mediaType"].as_str().unwrap_or_default().rsplit('.').next().map(str::to_owned);
    layers.iter().rev().take(3).filter_map(kind).collect()
}

/// Saves an image; where it is.
fn saved(live: &Live, image: &str) -> String {
    let archive = live.dir.join(format!("saved-{image}.tar"));
    live.pybox(["save", "--format", "oci-archive", "-o", &archive.to_string_lossy(), image]).ok();
    format!("oci-archive:{}", archive.display())
}

/// What is in an image, after skopeo has copied and umoci unpacked it.
fn unpacked(source: &str, place: &Path) -> BTreeSet<String> {
    let layout = format!("{}:latest", place.join("layout").display());
    let flags = ["copy", "-q", "--insecure-policy", "--src-tls-verify=false", source];
    tool("skopeo", &[&flags[..], &[&format!("oci:{layout}")]].concat()).expect("skopeo copy");
    let bundle = place.join("bundle").display().to_string();
    tool("umoci", &["unpack", "--image", &layout, &bundle]).expect("umoci unpack");
    let listed = tool("chroot", &[&format!("{bundle}/rootfs"), "/bin/sh", "-c", LISTING]).expect("chroot");
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn compressed_layers_are_the_same_each_time() {
    let Some(live) = Live::new() else { return };
    let context = telling(&live);
    let mut ids = BTreeSet::new();
    for (format, kind) in FORMATS {
        let made = |flags: &[&str]| {
            let flags = [&["-q", "-t", format, "--compression", format], flags].concat();
            ids.insert(build(&live, &context, &flags).env("SOURCE_DATE_EPOCH", "1700000000").ok());
            manifest(&saved(&live, format))
        };
        let mut made = made;
        let first = made(&["--no-cache"]);
        assert_eq!(kinds(&first), [kind.to_owned()].into(), "{first}");
        assert_eq!(made(&["--no-cache"]), first, "{format}");
        // Layers that were kept by a build that wanted them otherwise.
        assert_eq!(made(&[]), first, "{format}");
        let other = if format == "zstd" { "gzip" } else { "zstd" };
        let flags = ["-q", "-t", "other", "--compression", other];
        build(&live, &context, &flags).env("SOURCE_DATE_EPOCH", "1700000000").ok();
        assert_ne!(manifest(&saved(&live, "other")), first);
        assert_eq!(made(&[]), first, "{format} after {other}");
    }
    assert_eq!(ids.len(), 1, "the image is the same: {ids:?}");
    // A tag means the manifest that was made last, though the image is the same.
    for (format, _) in FORMATS {
        let flags = ["-q", "-t", "last", "--compression", format];
        build(&live, &context, &flags).env("SOURCE_DATE_EPOCH", "1700000000").ok();
        assert_eq!(manifest(&saved(&live, "last")), manifest(&saved(&live, format)), "{format}");
    }
    assert_eq!(
        says(&live, "zstd", "stat -c '%a %U:%G' /d/sub; ls /gone; ls /bin/arping 2>&1 | grep -c No"),
        "2751 app:staff\ny\n1"
    );
    live.pybox(["check"]).ok();
    build(&live, &context, &["--compression", "xz"]).run().refuses(125, "expected gzip, zstd or none");
}

#[test]
fn others_unpack_what_was_built() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return crate::fixture::skip("umoci needs root to give files their owners");
    }
    let context = telling(&live);
    let shelf = registry::own(&live.dir.join("registry"), &Own::default()).expect("a registry");
    let mut judged = 0;
    for (format, _) in FORMATS {
        build(&live, &context, &["-q", "-t", format, "--compression", format]).ok();
        let there = format!("{shelf}/built:{format}");
        live.pybox(["push", "-q", format, &there]).ok();
        let ours: BTreeSet<String> = tree_of(&live, format).lines().map(str::to_owned).collect();
        assert!(ours.iter().any(|line| line.contains("/d/hard")), "{ours:?}");
        for (source, name) in [(saved(&live, format), "saved"), (format!("docker://{there}"), "pushed")] {
            let place = live.dir.join(format!("{format}-{name}"));
            fs::create_dir(&place).expect("a directory");
            if format == "zstd" {
                // umoci reads it from 0.5 on; skopeo checks each digest.
                let copy = format!("dir:{}", place.display());
                let flags = ["copy", "-q", "--insecure-policy", "--src-tls-verify=false", &source, &copy];
                tool("skopeo", &flags).expect("skopeo copy");
                continue;
            }
            let theirs = unpacked(&source, &place);
            assert_eq!(
                ours.symmetric_difference(&theirs).collect::<Vec<_>>(),
                Vec::<&String>::new(),
                "{format} {name}"
            );
            judged += 1;
        }
    }
    assert_eq!(judged, 4);
}

#[test]
fn a_push_compresses_what_is_not() {
    let Some(live) = Live::new() else { return };
    let context = telling(&live);
    let shelf = registry::own(&live.dir.join("registry"), &Own::default()).expect("a registry");
    build(&live, &context, &["-q", "-t", "plain", "--annotation", "org.example.kept=here and there"]).ok();
    let plain = manifest(&saved(&live, "plain"));
    assert_eq!(plain["annotations"]["org.example.kept"], "here and there");
    for (format, kind) in FORMATS.into_iter().skip(1) {
        let there = format!("{shelf}/{format}:1");
        let push = |name: &str| live.pybox(["push", "--compression-format", format, "plain", name]).run().exits(0);
        let sent = push(&there);
        assert!(sent.stderr.contains("status: pushed"), "{sent}");
        let first = manifest(&format!("docker://{there}"));
        assert_eq!(kinds(&first), [kind.to_owned()].into());
        assert_eq!(first["annotations"], plain["annotations"], "{format}");
        assert_eq!((&first["config"], &first["layers"][0]), (&plain["config"], &plain["layers"][0]), "{format}");
        // What was compressed for it is not kept, and still known.
        let again = push(&there);
        assert!(again.stderr.contains("all layers were there"), "{again}");
        assert_eq!(manifest(&format!("docker://{there}")), first);
        let elsewhere = format!("{shelf}/other-{format}:1");
        push(&elsewhere);
        assert_eq!(manifest(&format!("docker://{elsewhere}")), first);
        let other = Live::new().expect("another world");
        other.pybox(["pull", "-q", &there]).ok();
        assert_eq!(tree_of(&other, &there), tree_of(&live, "plain"), "{format}");
    }
    assert_eq!(manifest(&saved(&live, "plain")), plain, "here it is as it was");
    live.pybox(["check"]).ok();
    let container = live.pybox(["create", "plain", "true"]).ok();
    live.pybox(["commit", "-q", "--compression", "zstd", &container, "committed"]).ok();
    let committed = manifest(&saved(&live, "committed"));
    let last = committed["layers"].as_array().and_then(|layers| layers.last()).expect("a layer").clone();
    assert_eq!(last["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(tree_of(&live, "committed"), tree_of(&live, "plain"));
}
