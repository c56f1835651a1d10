//! Volumes, tmpfs and read-only roots.

use crate::harness::Live;

#[test]
fn a_bind_is_the_hosts_directory() {
    let Some(live) = Live::new() else { return };
    let shared = live.directory("shared");
    std::fs::write(shared.join("from-host"), "hello\n").expect("write");
    let volume = format!("{}:/shared", shared.display());
    assert_eq!(live.sh(&["-v", &volume], "cat /shared/from-host; echo back > /shared/from-container").ok(), "hello");
    assert_eq!(std::fs::read_to_string(shared.join("from-container")).expect("read"), "back\n");
    let mount = format!("type=bind,source={},target=/m", shared.display());
    assert_eq!(live.sh(&["--mount", &mount], "cat /m/from-container").ok(), "back");
}

#[test]
fn a_file_can_be_bound() {
    let Some(live) = Live::new() else { return };
    let file = live.file("one", "content\n");
    let volume = format!("{}:/a/new/place:ro", file.display());
    assert_eq!(live.sh(&["-v", &volume], "cat /a/new/place").ok(), "content");
    // A symlink among the parents is the image's own affair (/var/run -> /run is everywhere).
    let volume = format!("{}:/var/run/one", file.display());
    assert_eq!(live.sh(&["-v", &volume], "cat /var/run/one /run/one").ok(), "content\ncontent");
}

#[test]
fn read_only_is_read_only_all_the_way_down() {
    let Some(live) = Live::new() else { return };
    let shared = live.directory("shared");
    live.directory("shared/sub");
    let path = shared.display();
    for flags in [
        vec!["-v".to_owned(), format!("{path}:/s:ro")],
        vec!["--mount".to_owned(), format!("type=bind,src={path},dst=/s,readonly")],
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let said = live.sh(&flags, "for d in /s /s/sub; do touch $d/x 2>&1 | grep -o 'Read-only'; done").ok();
        assert_eq!(said, "Read-only\nRead-only", "{flags:?}");
        let remount = live.sh(&flags, "mount -o remount,rw /s").run();
        assert_ne!(remount.code, Some(0), "{remount}");
    }
}

#[test]
fn a_missing_source_is_made_by_v_and_refused_by_mount() {
    let Some(live) = Live::new() else { return };
    let missing = live.dir.join("missing");
    let mount = format!("type=bind,source={},target=/m", missing.display());
    live.sh(&["--mount", &mount], "true").run().refuses(125, "missing");
    assert!(!missing.exists());
    let volume = format!("{}:/m", missing.display());
    live.sh(&["-v", &volume], "touch /m/x").ok();
    assert!(missing.join("x").exists());
}

#[test]
fn a_named_volume_outlives_the_container() {
    let Some(live) = Live::new() else { return };
    live.sh(&["-v", "data:/data"], "echo kept > /data/file").ok();
    assert_eq!(live.sh(&["-v", "data:/data"], "cat /data/file").ok(), "kept");
    live.sh(&["-v", "bad/name:/data"], "true").run().refuses(125, "bad/name");
}

#[test]
fn a_named_volume_keeps_what_was_written() {
    let Some(live) = Live::new() else { return };
    let image = live.image("configured");
    let cat = |flags: &[&str], script: &str| {
        let start = ["run", "--rm", "-u", "0", "--entrypoint", "/bin/sh"].iter().chain(flags).copied();
        live.pybox(start.chain([image.as_str(), "-c", script])).ok()
    };
    // It begins with what the image has there, and has what was written from then on.
    assert_eq!(cat(&["-v", "kept:/data"], "ls -A /data; echo mine > /data/file; rm /data/seed"), "seed");
    assert_eq!(cat(&["-v", "kept:/data"], "cat /data/file; ls -A /data"), "mine\nfile");
    assert_eq!(cat(&["-v", "other:/data:nocopy"], "ls -A /data"), "");
    // Without a volume the image's own files are there.
    assert_eq!(cat(&[], "cat /data/seed"), "from the image");
    // A host directory is never filled.
    let bound = live.directory("bound");
    assert_eq!(cat(&["-v", &format!("{}:/data", bound.display())], "ls -A /data"), "");
}

#[test]
fn tmpfs_is_empty_and_gone_afterwards() {
    let Some(live) = Live::new() else { return };
    let said = live
        .sh(
            &["--tmpfs", "/etc:size=1m,mode=700"],
            "ls -A /etc | grep -v -e hosts -e hostname -e resolv.conf; stat -c %a /etc; \
        head -c 2000000 /dev/zero > /etc/big 2>/dev/null || echo full",
        )
        .ok();
    assert_eq!(said, "700\nfull");
    let said =
        live.sh(&["--mount", "type=tmpfs,target=/t,tmpfs-size=65536"], "df -k /t | tail -n 1 | awk '{print $2}'").ok();
    assert_eq!(said, "64");
    live.sh(&["--tmpfs", "/t:nosuchoption"], "true").run().refuses(125, "nosuchoption");
}

#[test]
fn a_read_only_root_keeps_its_writable_places() {
    let Some(live) = Live::new() else { return };
    let said = live.sh(&["--read-only"], "touch /x 2>&1 | grep -o Read-only; touch /dev/shm/x && echo shm").ok();
    assert_eq!(said, "Read-only\nshm");
    assert_eq!(live.sh(&["--read-only", "--tmpfs", "/tmp"], "touch /tmp/x && echo tmp").ok(), "tmp");
}

#[test]
fn shared_memory_has_the_size_that_was_asked_for() {
    let Some(live) = Live::new() else { return };
    let size = "df -k /dev/shm | tail -n 1 | awk '{print $2}'";
    assert_eq!(live.sh(&[], size).ok(), "65536");
    assert_eq!(live.sh(&["--shm-size", "1m"], size).ok(), "1024");
    live.sh(&["--shm-size", "lots"], "true").run().refuses(125, "lots");
    live.sh(&["--shm-size", "-1"], "true").run().exits(125);
}

#[test]
fn reserved_places_cannot_be_mounted_over() {
    let Some(live) = Live::new() else { return };
    for target in ["/proc", "/proc/self/attr", "/sys", "/dev", "/", "/proc/../proc"] {
        let volume = format!("vol:{target}");
        let run = live.sh(&["-v", &volume], "true").run();
        assert_eq!(run.code, Some(125), "{target}: {run}");
    }
    // Inside of /dev a user may put things, as with docker.
    let file = live.file("device", "not a device\n");
    assert_eq!(live.sh(&["-v", &format!("{}:/dev/mine", file.display())], "cat /dev/mine").ok(), "not a device");
}

#[test]
fn a_device_is_passed_and_others_are_not() {
    let Some(live) = Live::new() else { return };
    assert_eq!(live.sh(&["--device", "/dev/full:/dev/again"], "stat -c %t:%T /dev/again").ok(), "1:7");
    live.sh(&["--device", "/dev/nosuch"], "true").run().refuses(125, "/dev/nosuch");
    live.sh(&["--device", "/etc/passwd"], "true").run().refuses(125, "/etc/passwd");
}

#[test]
fn what_a_container_writes_stays_in_it() {
    let Some(live) = Live::new() else { return };
    live.sh(&[], "rm -r /home; echo changed > /etc/os-release; mkdir /new").ok();
    assert_eq!(
        live.sh(&[], "ls -d /home; cat /etc/os-release; ls -d /new 2>/dev/null").run().text(),
        "/home\nID=busybox\nPRETTY_NAME=busybox"
    );
}
