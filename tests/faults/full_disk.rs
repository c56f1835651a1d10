//! T8: no room is left, at any moment. It is said, with how much there is; what was begun is taken back; removing
//! works with nothing left at all, and nothing that was acknowledged is lost.

use crate::aftermath::{armed, faulty, field, gone, ordinary, whole, with_busybox};
use crate::guest::awaits;
use crate::small_disk::SmallDisk;

const STEADY: &str = "trap 'exit 3' TERM; echo begun; touch /dev/shm/ready; while :; do sleep 0.05; done";

#[test]
fn an_image_that_does_not_fit_leaves_nothing() {
    let Some(disk) = SmallDisk::new(40) else { return };
    let live = &disk.live;
    with_busybox(live);
    let before = disk.free();
    let end = live.pybox(["pull", "-q", &live.debian()]).run();
    assert!(end.code != Some(0), "{end}");
    let end = end.says("no space").says("hint:");
    assert!(!end.stderr.contains("panicked"), "{end}");
    whole(live, "a pull without room");
    assert!(before - disk.free() < 1 << 20, "{} bytes are left over: {end}", before - disk.free());
    let image = live.image("busybox");
    assert_eq!(ordinary(live, ["run", "--rm", &image, "echo", "fine"]).exits(0).text(), "fine");
    gone(live, "a pull without room");
}

#[test]
fn a_container_that_fills_the_disk_ends_with_its_own_code() {
    let Some(disk) = SmallDisk::new(24) else { return };
    let live = &disk.live;
    let image = with_busybox(live);
    let script = "dd if=/dev/zero of=/big bs=64k 2>/dev/null; dd if=/dev/zero bs=512 2>/dev/null >>/big; exit 5";
    ordinary(live, ["run", "--name", "full", &image, "sh", "-c", script]).exits(5);
    assert_eq!(disk.free(), 0);
    assert_eq!(field(live, "full", "printf \"%v %s\" .State.ExitCode .State.Error").as_deref(), Some("5 "));
    ordinary(live, ["ps", "-a"]).exits(0);
    ordinary(live, ["images"]).exits(0);
    ordinary(live, ["rm", "full"]).exits(0);
    assert!(disk.free() > 1 << 20);
    gone(live, "a full disk");
}

#[test]
fn with_nothing_left_all_is_said_and_removing_works() {
    let Some(disk) = SmallDisk::new(24) else { return };
    let live = &disk.live;
    let image = with_busybox(live);
    for name in ["steady", "idle", "forced"] {
        ordinary(live, ["run", "-d", "--name", name, &image, "sh", "-c", STEADY]).exits(0);
    }
    awaits(|| ordinary(live, ["exec", "steady", "test", "-e", "/dev/shm/ready"]).code == Some(0));
    ordinary(live, ["stop", "idle"]).exits(0);
    let filler = disk.fill(0);
    assert_eq!(disk.free(), 0);
    for words in [
        &["ps", "-a"] as &[&str],
        &["images"],
        &["logs", "steady"],
        &["inspect", "steady"],
        &["exec", "steady", "true"],
    ] {
        ordinary(live, words.iter().copied()).exits(0);
    }
    for words in [&["run", "--rm", &image, "true"] as &[&str], &["run", "-d", &image, "true"], &["create", &image]] {
        let end = ordinary(live, words.iter().copied());
        assert!(!matches!(end.code, Some(0) | None), "{end}");
        end.says("no space").says("hint:");
    }
    // This needs no more room than it has; if it does not work, it says so.
    let end = ordinary(live, ["start", "idle"]);
    assert!(end.code == Some(0) || end.stderr.contains("hint:"), "{end}");
    ordinary(live, ["pause", "steady"]).exits(0);
    ordinary(live, ["unpause", "steady"]).exits(0);
    ordinary(live, ["restart", "-t", "5", "steady"]).exits(0);
    awaits(|| ordinary(live, ["exec", "steady", "test", "-e", "/dev/shm/ready"]).code == Some(0));
    ordinary(live, ["stop", "-t", "5", "idle"]).exits(0);
    // The exit code is kept.
    ordinary(live, ["stop", "-t", "5", "steady"]).exits(0);
    assert_eq!(field(live, "steady", "printf \"%v %s\" .State.ExitCode .State.Error").as_deref(), Some("3 "));
    assert!(ordinary(live, ["logs", "idle"]).text().starts_with("begun"));
    ordinary(live, ["rm", "-f", "forced"]).exits(0);
    let _second = disk.fill(0);
    ordinary(live, ["rm", "idle"]).exits(0);
    drop(_second);
    let _third = disk.fill(0);
    ordinary(live, ["container", "prune", "-f"]).exits(0);
    ordinary(live, ["system", "prune", "-af"]).exits(0);
    drop((_third, filler));
    ordinary(live, ["run", "--rm", &image, "true"]).exits(0);
    gone(live, "a disk without a byte");
}

#[test]
fn output_waits_for_room_and_is_not_lost() {
    let Some(disk) = SmallDisk::new(24) else { return };
    let live = &disk.live;
    let image = with_busybox(live);
    let script = "until test -e /dev/shm/go; do sleep 0.05; done; seq 1 20000; touch /dev/shm/done; sleep 300";
    ordinary(live, ["run", "-d", "--name", "writer", &image, "sh", "-c", script]).exits(0);
    let filler = disk.fill(0);
    ordinary(live, ["exec", "writer", "touch", "/dev/shm/go"]).exits(0);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    drop(filler);
    awaits(|| ordinary(live, ["exec", "writer", "test", "-e", "/dev/shm/done"]).code == Some(0));
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    awaits(|| ordinary(live, ["logs", "writer"]).stdout.len() >= expected.len());
    assert!(ordinary(live, ["logs", "writer"]).stdout == expected.as_bytes());
    ordinary(live, ["rm", "-f", "writer"]).exits(0);
    gone(live, "a log without room");
}

#[test]
fn a_commit_without_room_leaves_nothing() {
    let Some(disk) = SmallDisk::new(40) else { return };
    let live = &disk.live;
    let image = with_busybox(live);
    let script = format!("dd if=/dev/urandom of=/big bs=64k count=128; {STEADY}");
    ordinary(live, ["run", "-d", "--name", "large", &image, "sh", "-c", &script]).exits(0);
    awaits(|| ordinary(live, ["exec", "large", "test", "-e", "/dev/shm/ready"]).code == Some(0));
    for left in [0, 4 << 20, 12 << 20] {
        let filler = disk.fill(left);
        let before = disk.free();
        let end = ordinary(live, ["commit", "-q", "large", "kept:1"]);
        assert!(!matches!(end.code, Some(0) | None), "{end}");
        end.says("no space").says("hint:");
        assert_eq!(field(live, "large", ".State.Status").as_deref(), Some("running"));
        assert!(before.saturating_sub(disk.free()) < 1 << 20, "{} bytes are left over", before - disk.free());
        drop(filler);
        whole(live, "a commit without room");
    }
    ordinary(live, ["rm", "-f", "large"]).exits(0);
    gone(live, "commits without room");
}

#[test]
fn errors_of_the_disk_are_errors_of_the_command() {
    let Some(live) = armed() else { return };
    let image = live.image("busybox");
    for point in ["blob.write:fail=ENOSPC", "blob.sync:fail=EIO", "blob.sync@2:fail=ENOSPC"] {
        let end = faulty(&live, point, ["pull", "-q", &image]).run();
        assert!(!matches!(end.code, Some(0) | None) && !end.stderr.contains("panicked"), "{point}: {end}");
        whole(&live, point);
    }
    with_busybox(&live);
    let failing =
        ["create.files:fail=ENOSPC", "create.files:fail=EIO", "record.write:fail=ENOSPC", "record.write:fail=EIO"];
    for point in failing {
        for flags in [&["--rm"] as &[&str], &["-d", "--rm"]] {
            let words = ["run"].into_iter().chain(flags.iter().copied()).chain([image.as_str(), "sleep", "300"]);
            let end = faulty(&live, point, words).run();
            assert_eq!(end.code, Some(125), "{point}: {end}");
            gone(&live, point);
        }
    }
    // The end can be written at the third attempt.
    let points = "record.write@2:fail=ENOSPC,record.write@3:fail=ENOSPC";
    faulty(&live, points, ["run", "-d", "--name", "late", &image, "sh", "-c", "sleep 0.1; exit 6"]).run().exits(0);
    assert_eq!(ordinary(&live, ["wait", "late"]).text(), "6");
    assert_eq!(field(&live, "late", ".State.ExitCode").as_deref(), Some("6"));
    ordinary(&live, ["run", "-d", "--name", "source", &image, "sleep", "300"]).exits(0);
    let end = faulty(&live, "commit.spooled:fail=ENOSPC", ["commit", "-q", "source", "kept:1"]).run();
    assert!(end.code != Some(0), "{end}");
    whole(&live, "a commit that failed");
    ordinary(&live, ["rm", "-f", "source", "late"]).exits(0);
    gone(&live, "errors of the disk");
}
