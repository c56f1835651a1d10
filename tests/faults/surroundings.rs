//! T10: what is around the program is not as it should be: read-only, missing, or poorer than usual.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::aftermath::{armed, faulty, gone, ordinary, whole, with_busybox};
use crate::harness::{Live, Run};
use crate::small_disk::SmallDisk;

fn mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn without(live: &Live, variables: &[&str], words: &[&str]) -> Run {
    let mut command = live.command(live.program());
    for variable in variables {
        command.env_remove(variable);
    }
    command.args(words);
    Run::of(command).within(10)
}

#[test]
fn a_home_that_cannot_be_written_is_said_and_looking_works() {
    let Some(live) = Live::new() else { return };
    let home = live.dir.join("home");
    mode(&home, 0o555);
    let image = live.image("busybox");
    for words in [&["ps", "-a"] as &[&str], &["images"], &["check"], &["volume", "ls"]] {
        without(&live, &["PYBOX_ROOT"], words).run().exits(0);
    }
    for words in [&["pull", image.as_str()] as &[&str], &["run", "--rm", &image, "true"]] {
        let end = without(&live, &["PYBOX_ROOT"], words).run();
        assert!(end.code != Some(0), "{end}");
        end.says(&home.display().to_string()).says("hint:").says("PYBOX_ROOT");
    }
    // A home for nothing but credentials may be as it is.
    ordinary(&live, ["run", "--rm", &image, "true"]).exits(0);
    mode(&home, 0o000);
    ordinary(&live, ["run", "--rm", &image, "true"]).exits(0);
    mode(&home, 0o700);
    gone(&live, "a read-only home");
}

#[test]
fn no_home_and_no_place_for_the_session() {
    let Some(live) = Live::new() else { return };
    let image = with_busybox(&live);
    let run = ["run", "--rm", image.as_str(), "true"];
    without(&live, &["HOME", "USER", "XDG_RUNTIME_DIR", "TERM", "TMPDIR", "PATH"], &run).run().exits(0);
    mode(&live.dir.join("run"), 0o555);
    ordinary(&live, run).exits(0);
    ordinary(&live, ["run", "-d", "--name", "steady", &image, "sleep", "300"]).exits(0);
    ordinary(&live, ["exec", "steady", "true"]).exits(0);
    ordinary(&live, ["rm", "-f", "steady"]).exits(0);
    fs::remove_dir(live.dir.join("run")).expect("rmdir");
    ordinary(&live, run).exits(0);
    gone(&live, "no session");
}

#[test]
fn a_store_that_cannot_be_written_can_be_looked_at() {
    let Some(disk) = SmallDisk::new(24) else { return };
    let live = &disk.live;
    let image = with_busybox(live);
    ordinary(live, ["run", "--name", "kept", &image, "echo", "written"]).exits(0);
    disk.read_only(true);
    assert_eq!(ordinary(live, ["ps", "-a", "--format", "{{.Names}}"]).exits(0).text(), "kept");
    assert!(ordinary(live, ["images"]).exits(0).text().contains("busybox"));
    assert_eq!(ordinary(live, ["logs", "kept"]).exits(0).text(), "written");
    for words in [&["inspect", "kept"] as &[&str], &["inspect", &image], &["check"], &["system", "df"], &["info"]] {
        ordinary(live, words.iter().copied()).exits(0);
    }
    for words in [&["run", "--rm", &image, "true"] as &[&str], &["start", "kept"], &["rm", "kept"]] {
        let end = ordinary(live, words.iter().copied());
        assert!(end.code != Some(0), "{end}");
        end.says("read-only").says("hint:");
    }
    disk.read_only(false);
    ordinary(live, ["rm", "kept"]).exits(0);
    gone(live, "a read-only store");
}

#[test]
fn a_file_system_without_locks_is_said() {
    let Some(live) = armed() else { return };
    let image = live.image("busybox");
    // ENOLCK, as NFS without its lock daemon.
    let end = faulty(&live, "lock.flock:fail=37", ["pull", "-q", &image]).run();
    assert!(end.code != Some(0), "{end}");
    let end = end.says("lock").says("hint:");
    assert!(!end.stderr.contains("panicked"), "{end}");
    with_busybox(&live);
    for words in [&["ps", "-a"] as &[&str], &["images"], &["inspect", &image]] {
        faulty(&live, "lock.flock:fail=37", words.iter().copied()).run().exits(0);
    }
    whole(&live, "no locks");
}
