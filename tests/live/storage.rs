//! Storage drivers: each makes the same root file system, the fastest that works is chosen, and
//! what does not work is explained.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::guest::{Guest, awaits};
use crate::harness::{Live, Run};

const SERVED: [&str; 2] = ["fuse", "hybrid"];

/// Bytes that a directory takes on disk.
fn room(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| {
        let facts = entry.metadata().map_or(0, |facts| facts.blocks() * 512);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) { facts + room(&entry.path()) } else { facts }
    };
    entries.map(of).sum()
}

/// The process that serves the files of the test's one container.
fn server(live: &Live) -> Pid {
    let pid = live.pybox(["inspect", "--format", "{{.State.Pid}}", "guest"]).ok();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let monitor = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).expect("a parent").to_owned();
    let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).expect("children");
    let is_server = |pid: &&str| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pybox-overlay")
    };
    let found = children.split_whitespace().find(is_server).expect("a server");
    Pid::from_raw(found.parse().expect("a pid"))
}

#[test]
fn every_driver_shows_changes_and_keeps_them() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    for driver in ["overlay", "fuse", "hybrid"] {
        let pybox = |words: &[&str]| live.pybox(["--storage-driver", driver].iter().chain(words).copied());
        let script = "rm -r /etc/group /home; mkdir /home; echo new > /home/file; echo more >> /etc/passwd; \
                      ln -s file /home/link; ln /home/file /home/second; mkdir /home/dir; mv /root /moved; sync; ls -d /moved; ls -d /root";
        let said = pybox(&["run", "--name", driver, &image, "sh", "-c", script]).run();
        assert_eq!(said.text(), "/moved", "{driver}: {said}");
        let changed = live.pybox(["diff", driver]).ok();
        for line in ["D /etc/group", "A /home/file", "A /home/link", "C /etc/passwd", "A /moved", "D /root"] {
            assert!(changed.lines().any(|known| known == line), "{driver}: no {line} in\n{changed}");
        }
        // Another start, another server, the same files.
        live.pybox(["start", "--attach", driver]).run();
        let copied = live.dir.join(format!("tmp/{driver}"));
        live.pybox(["cp", &format!("{driver}:/home/second"), copied.to_str().expect("a path")]).ok();
        assert_eq!(std::fs::read_to_string(&copied).expect("a copy"), "new\n");
        let listed = format!("{}/pybox export {driver} | tar t", live.dir.display());
        let mut tar = live.command("sh");
        tar.args(["-c", &listed]);
        let listed = Run::of(tar).ok();
        assert!(listed.lines().any(|line| line == "home/link") && !listed.lines().any(|line| line == "etc/group"));
        live.pybox(["commit", driver, &format!("of-{driver}")]).ok();
        let again =
            ["run", "--rm", &format!("of-{driver}"), "sh", "-c", "cat /home/second; test ! -e /etc/group && id -u"];
        assert_eq!(live.pybox(again).ok(), "new\n0", "{driver}");
        live.pybox(["rm", driver]).ok();
    }
    live.pybox(["check"]).run().exits(0);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn ids_are_shifted_without_a_copy_of_the_image() {
    let Some(mut live) = Live::new() else { return };
    live.driver = None;
    let image = live.image("busybox");
    live.sh(&[], "true").ok();
    let before = room(&live.root().join("images/layers"));
    let script = "stat -c '%u %g' /etc/passwd /bin/busybox; touch /tmp/mine; stat -c %u /tmp/mine; mount";
    for (flags, own) in [(["--userns=keep-id:uid=1000,gid=1000"], "1000"), (["--userns=keep-id:uid=7,gid=7"], "7")] {
        let said = live.sh(&flags, script).ok();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..3], ["0 0", "0 0", own], "{said}");
        assert!(lines[3].starts_with("overlay on / "), "{said}");
    }
    // The index is all that came; it is some kilobytes for an image of this size.
    let grown = room(&live.root().join("images/layers")) - before;
    assert!(grown < 256 << 10, "{grown} bytes more");
    let refused = ["--storage-driver", "overlay", "run", "--rm", "--userns=keep-id:uid=5,gid=5", &image, "true"];
    live.pybox(refused).run().refuses(125, "storage driver overlay").says("pybox info");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_driver_is_chosen_by_name_or_refused() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["--storage-driver", "zfs", "run", "--rm", &image, "true"]).run().refuses(125, "zfs");
    live.sh(&[], "true").env("PYBOX_STORAGE_DRIVER", "zfs").run().refuses(125, "PYBOX_STORAGE_DRIVER");
    let kind = "awk '$2 == \"/\" { print $3 }' /proc/mounts";
    for (driver, shown) in [("overlay", "overlay"), ("hybrid", "overlay"), ("fuse", "fuse.overlay")] {
        assert_eq!(live.sh(&[], kind).env("PYBOX_STORAGE_DRIVER", driver).ok(), shown, "{driver}");
    }
    let info = live.pybox(["info"]).ok();
    for line in ["storage overlay  ready", "storage hybrid   ready", "storage fuse     ready"] {
        assert!(info.contains(line), "no {line} in\n{info}");
    }
    // Without a word, what was found is used, and found again on another kernel or disk.
    let cached = live.root().join("cache");
    let mut files = std::fs::read_dir(&cached).expect("a cache").flatten().map(|entry| entry.path());
    let finding = files.find(|path| path.extension().is_some_and(|end| end == "json")).expect("a finding");
    let text = std::fs::read_to_string(&finding).expect("a finding");
    let elsewhere = text.replace("\"overlay\":null", "\"overlay\":\"not here\"");
    assert_ne!(text, elsewhere);
    std::fs::write(&finding, &elsewhere).expect("write");
    // An empty variable is none, whatever the tests are run with.
    let chosen = || live.sh(&[], kind).env("PYBOX_STORAGE_DRIVER", "").ok();
    assert_eq!(chosen(), "fuse.overlay");
    std::fs::write(&finding, elsewhere.replace("\"device\":", "\"device\":1")).expect("write");
    assert_eq!(chosen(), "overlay");
    assert_eq!(std::fs::read_to_string(&finding).expect("a finding"), text);
}

#[test]
fn without_fuse_the_reason_is_told() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return crate::fixture::skip("hiding /dev/fuse needs root");
    }
    let image = live.image("busybox");
    live.sh(&[], "true").ok();
    let script = "mount --bind /dev/null /dev/fuse && exec setpriv --reuid pyboxtest --regid pyboxtest --init-groups \
                  \"$0\" --storage-driver fuse run --rm \"$1\" true";
    let mut command = live.privileged("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(live.program()).arg(&image);
    Run::of(command).run().refuses(125, "storage driver fuse does not work here");
}

#[test]
fn a_server_that_is_lost_ends_its_container_and_loses_nothing() {
    let Some(live) = Live::new() else { return };
    for driver in SERVED {
        let script =
            "echo kept > /kept; sync; touch /tmp/ready; while :; do date > /tmp/busy; ls -R /bin > /dev/null; done";
        let guest = Guest::runs(&live, &["--storage-driver", driver], script);
        kill(server(&live), Signal::SIGKILL).expect("kill the server");
        let begun = Instant::now();
        awaits(|| live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok() == "exited");
        assert!(begun.elapsed() < Duration::from_secs(10), "{driver}: {:?}", begun.elapsed());
        let told = live.pybox(["inspect", "--format", "{{.State.ExitCode}} {{.State.Error}}", "guest"]).ok();
        // SIGBUS, or SIGKILL: what is mapped and what is read may be missed first.
        let killed = told.starts_with("135 ") || told.starts_with("137 ");
        assert!(killed && told.contains("server of its file system was lost"), "{driver}: {told}");
        let kept = live.dir.join("tmp/kept");
        live.pybox(["cp", "guest:/kept", kept.to_str().expect("a path")]).ok();
        assert_eq!(std::fs::read_to_string(&kept).expect("a copy"), "kept\n");
        std::fs::remove_file(&kept).expect("remove the copy");
        live.pybox(["start", "guest"]).ok();
        drop(guest);
        live.pybox(["check"]).run().exits(0);
        assert_eq!(live.leftovers(), Vec::<String>::new(), "{driver}");
    }
}

/// The indices of layers that the store has.
fn indices(live: &Live) -> Vec<PathBuf> {
    let layers = std::fs::read_dir(live.root().join("images/layers")).expect("layers").flatten();
    let files = layers.flat_map(|layer| std::fs::read_dir(layer.path()).into_iter().flatten().flatten());
    let mut found: Vec<_> = files.map(|entry| entry.path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("index-")));
    found
}

#[test]
fn layers_are_indexed_as_they_come_where_a_driver_needs_it() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let pull = |driver: &str| live.pybox(["pull", &image]).env("PYBOX_STORAGE_DRIVER", driver).ok();
    pull("overlay");
    assert_eq!(indices(&live), Vec::<PathBuf>::new());
    live.pybox(["rmi", &image]).ok();
    pull("fuse");
    let made = indices(&live);
    assert_eq!(made.len(), 1);
    live.sh(&[], "true").env("PYBOX_STORAGE_DRIVER", "fuse").ok();
    assert_eq!(indices(&live), made);
}

#[test]
fn a_lost_index_is_made_again() {
    let Some(live) = Live::new() else { return };
    live.sh(&["--userns=keep-id"], "true").ok();
    let indices = || indices(&live);
    assert_eq!(indices().len(), 1);
    live.pybox(["check"]).run().exits(0);
    std::fs::remove_file(&indices()[0]).expect("remove it");
    live.sh(&["--userns=keep-id"], "ls /bin > /dev/null").ok();
    // A damaged one is told of, and not used in silence.
    let index = indices().remove(0);
    let mut bytes = std::fs::read(&index).expect("the index");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&index, &bytes).expect("write");
    live.sh(&["--userns=keep-id"], "true")
        .run()
        .refuses(125, "serve the container's files")
        .says("pybox check --repair");
    live.pybox(["check"]).run().exits(1);
    live.pybox(["check", "--repair"]).run();
    live.pybox(["check"]).run().exits(0);
    live.sh(&["--userns=keep-id"], "ls -l /bin > /dev/null").ok();
}
