//! Pulling: each form in which a registry has an image, and what is shown of it afterwards.

use crate::fixture::{layout, registry, tool};
use crate::harness::Live;

/// `cat /etc/os-release` in the image.
fn release_of(live: &Live, image: &str) -> String {
    live.pybox(["run", "--rm", "--pull", "never", image, "cat", "/etc/os-release"]).ok()
}

#[test]
fn every_form_of_an_image_is_pulled_and_runs() {
    let Some(live) = Live::new() else { return };
    for name in ["busybox", "busybox-zstd", "busybox-schema2", "busybox-multi"] {
        let image = live.image(name);
        live.pybox(["pull", &image]).ok();
        assert!(release_of(&live, &image).contains("ID=busybox"), "{name}");
    }
}

#[test]
fn a_real_distribution_runs() {
    let Some(live) = Live::new() else { return };
    let image = live.debian();
    let (_, version) = image.rsplit_once(':').expect("a tag");
    live.pybox(["pull", &image]).within(120).ok();
    let said = release_of(&live, &image);
    assert!(said.contains("ID=debian") && said.contains(&format!("VERSION_ID=\"{version}\"")), "{said}");
    let installed = live.pybox(["run", "--rm", &image, "bash", "-c", "dpkg -l | grep -c ^ii"]).ok();
    assert!(installed.parse::<u32>().expect("a number") > 50, "{installed}");
    // The layer on top: one file added, one removed.
    let script = "cat /etc/motd; ls /etc/issue.net 2>/dev/null || echo gone";
    assert_eq!(live.pybox(["run", "--rm", &image, "sh", "-c", script]).ok(), "made for tests\ngone");
}

#[test]
fn a_digest_names_an_image() {
    let Some(live) = Live::new() else { return };
    let tagged = live.image("busybox");
    let digest =
        tool("skopeo", &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{tagged}")]);
    let digest = digest.expect("skopeo inspect").trim().to_owned();
    let image = format!("{tagged}@{digest}");
    live.pybox(["pull", &image]).ok();
    assert!(release_of(&live, &image).contains("ID=busybox"));

    let wrong = format!("{tagged}@sha256:{}", "0".repeat(64));
    live.pybox(["pull", &wrong]).run().refuses(1, "no image");
}

#[test]
fn pulling_again_downloads_nothing() {
    let Some(live) = Live::new() else { return };
    let image = live.image("layered");
    live.pybox(["pull", &image]).ok();
    let before = blobs(&live);
    live.pybox(["pull", &image]).ok();
    assert_eq!(before, blobs(&live));
}

/// Names and inodes of the blobs: a blob fetched again would be another inode.
fn blobs(live: &Live) -> Vec<(String, u64)> {
    use std::os::unix::fs::MetadataExt;
    let directory = live.root().join("images/blobs/sha256");
    let entries = std::fs::read_dir(&directory).expect("the store's blobs").flatten();
    let mut found: Vec<_> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().expect("stat").ino()))
        .collect();
    found.sort();
    found
}

#[test]
fn blobs_are_kept_as_they_came() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", &live.image("layered")]).ok();
    let kept = blobs(&live).into_iter().map(|(name, _)| name);
    for name in kept.clone() {
        let bytes = std::fs::read(live.root().join("images/blobs/sha256").join(&name)).expect("read a blob");
        assert_eq!(layout::sha256(&bytes), name);
    }
    let made = registry::layout_of("layered").expect("the layout").join("blobs/sha256");
    let made = std::fs::read_dir(made).expect("list the layout").flatten();
    let mut made: Vec<_> = made.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    made.sort();
    assert_eq!(kept.collect::<Vec<_>>(), made);
}

#[test]
fn an_index_offers_the_platform_that_was_asked_for() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox-multi");
    live.pybox(["pull", "--platform", &format!("linux/{}", layout::foreign()), &image]).ok();
    let shown = live.pybox(["inspect", "--format", "{{.Architecture}}", &image]).ok();
    assert_eq!(shown, layout::foreign());
}

#[test]
fn a_short_name_is_taken_from_the_store_first() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    live.pybox(["tag", &image, "here:1"]).ok();
    assert_eq!(live.pybox(["run", "--rm", "here:1", "echo", "yes"]).ok(), "yes");
}

#[test]
fn a_pull_killed_in_the_middle_leaves_a_whole_store() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    for milliseconds in [5, 20, 40, 60, 90, 130] {
        let running = live.pybox(["pull", &image]).start();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        nix::sys::signal::killpg(running.pid(), nix::sys::signal::Signal::SIGKILL).ok();
        running.wait();
        live.pybox(["images"]).ok();
    }
    live.pybox(["pull", &image]).ok();
    assert!(release_of(&live, &image).contains("ID=busybox"));
    let partial = std::fs::read_dir(live.root().join("images/ingest")).into_iter().flatten().flatten();
    let partial: Vec<_> = partial.filter(|entry| entry.metadata().is_ok_and(|facts| facts.len() > 0)).collect();
    assert!(partial.is_empty(), "left over: {partial:?}");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn many_pulls_of_one_image_at_once_all_succeed() {
    let Some(live) = Live::new() else { return };
    let image = live.image("layered");
    let running: Vec<_> = (0..16).map(|_| live.pybox(["pull", &image]).start()).collect();
    for pull in running {
        pull.wait().exits(0);
    }
    assert!(release_of(&live, &image).contains("ID=busybox"));
}

#[test]
fn a_cache_of_blobs_serves_several_stores() {
    let Some(mut live) = Live::new() else { return };
    let image = live.image("layered");
    let cache = live.directory("cache");
    live.pybox(["pull", &image]).env("PYBOX_BLOB_CACHE", &cache).ok();
    let kept = std::fs::read_dir(cache.join("blobs/sha256")).expect("what is kept").count();
    assert_eq!(kept, 3, "the layers");
    live.store = live.dir.join("second");
    let second = live.pybox(["--debug", "pull", &image]).env("PYBOX_BLOB_CACHE", &cache).run().exits(0);
    let asked = second.stderr.lines().filter(|line| line.contains("/blobs/")).count();
    assert_eq!(asked, 1, "the configuration alone: {second}");
    assert!(release_of(&live, &image).contains("ID=busybox"));
    // A damaged one does no harm.
    for entry in std::fs::read_dir(cache.join("blobs/sha256")).expect("what is kept").flatten() {
        std::fs::write(entry.path(), "damaged").expect("damage it");
    }
    live.store = live.dir.join("third");
    live.pybox(["pull", &image]).env("PYBOX_BLOB_CACHE", &cache).ok();
    assert!(release_of(&live, &image).contains("ID=busybox"));
}
