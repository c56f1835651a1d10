//! Stores on odd file systems: small, without inodes, without extended attributes, with long names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::fixture::skip;
use crate::harness::{Live, Run};
use crate::one_id::powerless;

const NOTHING: Option<&str> = None;

/// A store on a file system that a test has mounted, in a mount namespace of its thread.
struct Odd {
    live: Live,
    place: PathBuf,
}

impl Odd {
    /// A world whose `PYBOX_ROOT` is what `mounted` has mounted on a directory.
    fn new(mounted: impl FnOnce(&Live, &Path)) -> Option<Self> {
        let mut live = Live::new()?;
        if !live.user.judged_by_root() {
            skip("only root can mount a file system for a test");
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).expect("our own mounts");
        let place = live.directory("odd");
        mounted(&live, &place);
        live.store = place.join("root");
        // What such a place leaves to choose from is what is looked at.
        live.driver = None;
        Some(Self { live, place })
    }

    fn tmpfs(megabytes: u32) -> Option<Self> {
        Self::new(|live, place| {
            let options = format!("size={megabytes}m,mode=700,uid={},gid={}", live.user.uid, live.user.gid);
            mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).expect("a tmpfs");
        })
    }

    /// ext4 in a file.
    fn ext4(megabytes: u32, inodes: u32) -> Option<Self> {
        Self::new(|live, place| {
            let image = live.dir.join("disk");
            fs::File::create(&image).and_then(|file| file.set_len(u64::from(megabytes) << 20)).expect("a disk");
            let owner = format!("root_owner={}:{}", live.user.uid, live.user.gid);
            let inodes = inodes.to_string();
            done(Command::new("mkfs.ext4").args(["-q", "-N", &inodes, "-E", &owner]).arg(&image));
            done(Command::new("mount").args(["-o", "loop"]).args([&image, place]));
        })
    }

    /// A file system that belongs to the test user alone, who can give no file of it away.
    fn of_one_user() -> Option<Self> {
        Self::new(|live, place| {
            let behind = live.directory("behind");
            let mut command = live.command("bindfs");
            command.args(["--no-allow-other", "--xattr-none"]).args([&behind, place]);
            Run::of(command).ok();
        })
    }

    /// A FUSE file system of root's over a directory of the disk, for all users.
    fn bindfs(options: &[&str]) -> Option<Self> {
        Self::new(|live, place| {
            let behind = live.directory("behind");
            done(Command::new("bindfs").args(options).args(["-o", "allow_other"]).args([&behind, place]));
        })
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        umount2(&self.place, MntFlags::MNT_DETACH).ok();
    }
}

#[track_caller]
fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A life of two containers: what they change is shown, kept, copied, committed and removed. Returns the type of their
/// root file system.
#[track_caller]
fn lives_on(live: &Live) -> String {
    let image = live.image("busybox");
    let script = "rm -r /etc/group /home; mkdir /home; echo new > /home/file; echo more >> /etc/passwd; \
                  ln /home/file /home/second; ln -s file /home/link; chown 5:6 /home/second; chmod 4755 /home/file; \
                  mkdir /var/d; rm -r /var/d; sync; stat -c '%u %g %a' /home/file";
    assert_eq!(live.pybox(["run", "--name", "first", &image, "sh", "-c", script]).ok(), "5 6 4755");
    let changed = live.pybox(["diff", "first"]).ok();
    for line in ["D /etc/group", "A /home/file", "C /etc/passwd"] {
        assert!(changed.lines().any(|known| known == line), "no {line} in\n{changed}");
    }
    live.pybox(["commit", "first", "second"]).ok();
    live.pybox(["run", "-d", "--name", "guest", "second", "sleep", "100"]).ok();
    let read = "cat /home/link; test ! -e /etc/group; stat -c '%u %g %a' /home/second";
    assert_eq!(live.pybox(["exec", "guest", "sh", "-c", read]).ok(), "new\n5 6 4755");
    // Another user than root, whose rights are looked at.
    assert_eq!(live.pybox(["exec", "--user", "5:6", "guest", "cat", "/home/second"]).ok(), "new");
    let copy = live.dir.join("tmp/copy");
    live.pybox(["cp", "guest:/home/second", copy.to_str().expect("a path")]).ok();
    assert_eq!(fs::read_to_string(&copy).expect("a copy"), "new\n");
    fs::remove_file(&copy).expect("remove the copy");
    let kind = live.pybox(["exec", "guest", "awk", "$2 == \"/\" { print $3 }", "/proc/mounts"]).ok();
    live.pybox(["rm", "-f", "first", "guest"]).ok();
    live.pybox(["rmi", "second"]).ok();
    live.pybox(["check"]).run().exits(0);
    let mut left = live.leftovers();
    left.retain(|what| !what.ends_with("bindfs)"));
    assert_eq!(left, Vec::<String>::new());
    kind
}

#[test]
fn a_small_disk_in_memory() {
    let Some(odd) = Odd::tmpfs(64) else { return };
    assert_eq!(lives_on(&odd.live), "overlay");
}

#[test]
fn a_path_with_spaces_and_two_hundred_characters() {
    let Some(mut live) = Live::new() else { return };
    let name = format!("a store  of \"mine\" {}", "é".repeat(95));
    assert!(name.len() >= 200);
    live.store = live.directory(&name).join("root and more");
    assert_eq!(lives_on(&live), live.root_kind());
}

#[test]
fn no_extended_attributes() {
    let Some(odd) = Odd::bindfs(&["--xattr-none"]) else { return };
    let live = &odd.live;
    assert_eq!(lives_on(live), "fuse.overlay");
    let info = live.pybox(["info"]).ok();
    let line = info
        .lines()
        .find(|line| line.trim_start().starts_with("storage overlay"))
        .unwrap_or_else(|| panic!("no line in\n{info}"));
    assert!(line.contains("unfit"), "{line}");
    let image = live.image("busybox");
    live.pybox(["--storage-driver", "overlay", "run", "--rm", &image, "true"])
        .run()
        .refuses(125, "the storage driver overlay does not work here");
}

#[test]
fn no_inodes_left() {
    let Some(odd) = Odd::ext4(256, 1000) else { return };
    let live = &odd.live;
    assert_eq!(lives_on(live), "overlay");
    // A layer that has more files than there is room for.
    live.pybox(["pull", &live.debian()]).run().refuses(1, "no space left").says("no inodes left");
    live.pybox(["check"]).run().exits(0);
    assert_eq!(lives_on(live), "overlay");
    // A container that takes them all hears of it, and can be removed.
    let script = "mkdir /many; cd /many; i=0; while touch $i; do i=$((i + 1)); done 2> /told; tail -n 1 /told";
    let said = live.pybox(["run", "--name", "greedy", &live.image("busybox"), "sh", "-c", script]).run();
    assert!(said.text().contains("No space left"), "{said}");
    live.pybox(["rm", "greedy"]).ok();
    live.pybox(["check"]).run().exits(0);
    assert_eq!(lives_on(live), "overlay");
}

/// As on network file systems, which know nothing of the user's other ids.
#[test]
fn files_that_cannot_be_given_away() {
    let Some(odd) = Odd::of_one_user() else { return };
    let live = &odd.live;
    // Who has one id gives nothing away, and finds nothing out for who gets more.
    powerless(live, &["run", "--rm", &live.image("busybox"), "true"]).ok();
    assert_eq!(lives_on(live), "fuse.overlay");
    let info = live.pybox(["info"]).ok();
    assert!(info.contains("owners of files are recorded here: give a file away"), "{info}");
    // They are shown to the kernel too: rights hold as ever.
    let script = "echo x > /f; chmod 600 /f; chown 5 /f; stat -c %u /f; echo 'ann:x:9:9::/:/bin/sh' >> /etc/passwd; su ann -c 'cat /f 2> /dev/null || echo shut'";
    assert_eq!(live.sh(&[], script).ok(), "5\nshut");
}
