//! What cannot work: one sentence, a hint, the right code, nothing half-made.

use std::collections::BTreeSet;
use std::path::Path;

use crate::fixture::user::User;
use crate::harness::{Live, Outcome};

/// Waits until the layers pulled before are noted as written to disk, which happens behind the command's back.
fn settled(live: &Live) {
    let layers = std::fs::read_dir(live.root().join("images/layers"));
    let markers: Vec<_> = layers.into_iter().flatten().flatten().map(|layer| layer.path().join("complete")).collect();
    for _ in 0..1000 {
        let waits = |marker: &std::path::PathBuf| {
            std::fs::read_to_string(marker).is_ok_and(|text| text.contains("\"boot\":\""))
        };
        if !markers.iter().any(waits) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the layers do not settle");
}

/// Everything under `images/` and `containers/` by name.
fn kept(live: &Live) -> BTreeSet<String> {
    fn walk(path: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            // Locks may stay: they say nothing about what is there.
            if entry.path().extension().is_none_or(|extension| extension != "lock") {
                found.insert(entry.path().display().to_string());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !entry.path().ends_with("diff") {
                walk(&entry.path(), found);
            }
        }
    }
    settled(live);
    let mut found = BTreeSet::new();
    for name in ["images/blobs", "images/ingest", "images/layers", "containers", "volumes"] {
        walk(&live.root().join(name), &mut found);
    }
    found
}

/// Runs what must be refused in a store that has an image, and looks whether the store changed.
#[track_caller]
fn refused(live: &Live, arguments: &[&str], words: &str) {
    let before = kept(live);
    let end = live.pybox(arguments.iter().copied()).run();
    is_refusal(&end, words);
    assert_eq!(kept(live), before, "{end}");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[track_caller]
fn is_refusal(end: &Outcome, words: &str) {
    assert!(matches!(end.code, Some(1 | 2 | 125)), "{end}");
    let said = end.stderr.to_lowercase();
    assert!(said.contains(&words.to_lowercase()), "no \"{words}\": {end}");
    assert!(said.contains("hint:"), "no hint: {end}");
    assert!(!said.contains("panicked"), "{end}");
    // One sentence and a hint, not a page.
    let lines = said.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 6, "{lines} lines: {end}");
    assert!(end.stdout.is_empty(), "{end}");
}

#[test]
fn images_that_are_not_to_be_had() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", &live.image("busybox")]).ok();
    let absent = live.image("nosuchimage");
    refused(&live, &["pull", &absent], "nosuchimage");
    refused(&live, &["run", "--rm", &absent, "true"], "nosuchimage");
    refused(&live, &["pull", &live.image("busybox:nosuchtag")], "nosuchtag");
    refused(&live, &["run", "--rm", "--pull=never", "absent:1", "true"], "absent:1");
    // Nobody listens on port 1.
    refused(&live, &["pull", "127.0.0.1:1/busybox"], "127.0.0.1:1");
    refused(&live, &["run", "--rm", "127.0.0.1:1/busybox", "true"], "127.0.0.1:1");
    let foreign = live.image("foreign");
    refused(&live, &["pull", &foreign], crate::fixture::layout::foreign());
    refused(&live, &["pull", "--platform", "linux/riscv64", &live.image("busybox-multi")], "riscv64");
}

#[test]
fn references_that_are_none() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", &live.image("busybox")]).ok();
    for (reference, words) in [
        ("UPPER/case", "UPPER/case"),
        ("name:tag:tag", "name:tag:tag"),
        ("name@sha256:1234", "sha256:1234"),
        ("name@md5:d41d8cd98f00b204e9800998ecf8427e", "md5"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("name:../x", "name:../x"),
        (" ", "reference"),
    ] {
        refused(&live, &["pull", reference], words);
    }
}

#[test]
fn bytes_that_are_not_what_they_claim() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", &live.image("layered")]).ok();
    for (name, words) in [("truncated", "bytes"), ("flipped", "digest")] {
        let before = kept(&live);
        let end = live.pybox(["pull", &live.image(name)]).within(120).run();
        is_refusal(&end, words);
        // A partial download that can go on may stay; a layer or a blob that is wrong may not.
        let new: Vec<_> = kept(&live).difference(&before).cloned().collect();
        let wrong = new.iter().filter(|path| path.contains("/layers/"));
        assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&String>::new());
        for blob in new.iter().filter(|path| path.contains("/blobs/") && Path::new(path).is_file()) {
            let bytes = std::fs::read(blob).expect("read a blob");
            assert!(blob.ends_with(&crate::fixture::layout::sha256(&bytes)), "{blob}");
        }
        let end = live.pybox(["run", "--rm", "--pull=never", &live.image(name), "true"]).run();
        is_refusal(&end, name);
    }
}

#[test]
fn flags_that_make_no_sense() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    for (flags, words) in [
        (&["--memory", "lots"] as &[&str], "lots"),
        (&["--memory", "1k"], "1k"),
        (&["--cpus", "-1"], "-1"),
        (&["--cpus", "many"], "many"),
        (&["--pids-limit", "0x"], "0x"),
        (&["-v", "relative/path:/x"], "relative/path"),
        (&["-v", "/tmp:relative"], "relative"),
        (&["-v", "/tmp:/x:nosuch"], "nosuch"),
        (&["--mount", "type=nosuch,target=/x"], "nosuch"),
        (&["--mount", "target=/x,nosuch=1,type=tmpfs"], "nosuch"),
        (&["-e", "=value"], "=value"),
        (&["--env-file", "/no/such/file"], "/no/such/file"),
        (&["--stop-signal", "SIGNOSUCH"], "SIGNOSUCH"),
        (&["--platform", "nonsense"], "nonsense"),
        (&["--pull", "sometimes"], "sometimes"),
        (&["--userns", "nosuch"], "nosuch"),
        (&["--security-opt", "nosuch=1"], "nosuch"),
        (&["--security-opt", "seccomp=/no/such/profile"], "/no/such/profile"),
        (&["--label", "=x"], "=x"),
        (&["--sysctl", "nonsense"], "nonsense"),
    ] {
        let before = kept(&live);
        let start = ["run", "--rm"].iter().chain(flags).copied();
        let end = live.pybox(start.chain([image.as_str(), "true"])).run();
        assert_eq!(end.code, Some(125), "{end}");
        is_refusal(&end, words);
        assert_eq!(kept(&live), before, "{end}");
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn archives_that_are_none() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", &live.image("busybox")]).ok();
    let noise = live.file("noise", [0xa5; 4096]);
    let empty = live.file("empty", "");
    for path in [&noise, &empty, &live.dir.join("absent")] {
        let path = path.to_string_lossy();
        refused(&live, &["load", "-i", &path], &path);
        refused(&live, &["import", &path, "x:1"], &path);
    }
}

#[test]
fn no_space_is_said_and_nothing_half_stays() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return crate::fixture::skip("a small file system for the store needs root to mount it");
    }
    // A store on a file system too small for the image, in a mount namespace of the command's own.
    let root = live.directory("root");
    let image = live.image("layered");
    let script = "mount -t tmpfs -o size=2m,uid=$1,mode=700 t \"$2\" && shift 2 && \
                  setpriv --reuid pyboxtest --regid pyboxtest --init-groups \"$0\" pull \"$1\"; code=$?; \
                  setpriv --reuid pyboxtest --regid pyboxtest --init-groups \"$0\" images -q; \
                  find \"$PYBOX_ROOT\" -path '*/layers/*' -name complete; exit $code";
    let mut command = live.privileged("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(live.program());
    command.arg(live.user.uid.to_string()).arg(&root).arg(&image);
    let end = crate::harness::Run::of(command).run();
    is_refusal(&end, "space");
}

#[test]
fn a_store_that_is_not_ours_is_refused() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return crate::fixture::skip("a directory of somebody else needs root to make it");
    }
    let image = live.image("busybox");
    let theirs = live.dir.join("theirs");
    std::fs::create_dir(&theirs).expect("make a directory of root");
    let at = theirs.to_string_lossy().into_owned();
    for verb in [&["pull", &image] as &[&str], &["images"], &["ps", "-a"], &["run", "--rm", &image, "true"]] {
        let end = live.pybox(["--root", &at].iter().chain(verb).copied()).run();
        is_refusal(&end, &at);
    }
    let file = live.file("file", "");
    let end = live.pybox(["--root", &file.to_string_lossy(), "images"]).run();
    is_refusal(&end, "file");
    // Open to others: repaired or refused, never used as it is.
    let open = live.directory("open");
    live.pybox(["--root", &open.to_string_lossy(), "images"]).run();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&open).expect("stat").permissions());
    assert!(mode & 0o077 == 0 || std::fs::read_dir(&open).expect("list").count() == 0, "{mode:o}");
}

#[test]
fn the_store_is_for_its_owner_alone() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", &live.image("busybox")]).ok();
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect("stat").permissions()) & 0o7777
    };
    for name in ["", "images", "containers", "locks"] {
        assert_eq!(mode(&live.root().join(name)), 0o700, "{name}");
    }
}

#[test]
fn a_user_without_ranges_is_told_what_to_add() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return crate::fixture::skip("other versions of /etc/subuid need root to be mounted");
    }
    let image = live.image("busybox");
    let empty = live.file("empty", "");
    let hide = |what: &str, words: &[&str]| {
        let script = format!(
            "mount --bind \"$1\" {what} && exec setpriv --reuid pyboxtest --regid pyboxtest --init-groups \"$0\" run --rm \"$2\" id -u"
        );
        let mut command = live.privileged("unshare");
        command.env("PYBOX_ROOT", live.dir.join(what.replace('/', "-")));
        command.args(["--mount", "sh", "-c", &script]).arg(live.program()).arg(&empty).arg(&image);
        let mut end = crate::harness::Run::of(command).run().exits(0);
        assert_eq!(end.text(), "0");
        for word in words {
            end = end.says(word);
        }
    };
    let name = User::find().expect("the user").name;
    hide("/etc/subuid", &["/etc/subuid", &format!("{name}:"), "usermod --add-subuids"]);
    hide("/etc/subgid", &["/etc/subgid", "usermod --add-subgids"]);
    hide("/usr/bin/newuidmap", &["newuidmap", "uidmap"]);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_kernel_without_user_namespaces_is_named() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    // In a user namespace in which no further one may be made.
    let mut command = live.command("bwrap");
    command.args(["--unshare-user", "--disable-userns", "--bind", "/", "/", "--dev-bind", "/dev", "/dev"]);
    command.arg(live.program()).args(["run", "--rm", &image, "true"]);
    let end = crate::harness::Run::of(command).run();
    is_refusal(&end, "user.max_user_namespaces");
}

#[test]
fn words_that_are_no_verbs() {
    let Some(live) = Live::new() else { return };
    for arguments in [&["nosuchverb"] as &[&str], &["run"], &["pull"], &["rm"], &["images", "--nosuchflag"]] {
        let end = live.pybox(arguments.iter().copied()).run();
        assert!(matches!(end.code, Some(1 | 2 | 125)), "{end}");
        assert!(end.stderr.contains("Usage") || end.stderr.to_lowercase().contains("hint:"), "{end}");
    }
    let absent = live.pybox(["rm", "nosuchcontainer"]).run();
    is_refusal(&absent, "nosuchcontainer");
    let absent = live.pybox(["rmi", "nosuchimage"]).run();
    is_refusal(&absent, "nosuchimage");
}

#[test]
fn a_root_that_no_overlay_can_use_is_refused_at_once() {
    let Some(live) = Live::new() else { return };
    for name in ["co:lon", "com,ma", "back\\slash", "new\nline"] {
        let root = live.directory(name);
        let run = live.pybox(["pull", "-q", &live.image("busybox")]).env("PYBOX_ROOT", &root).run();
        run.refuses(1, "cannot hold containers");
        assert_eq!(std::fs::read_dir(&root).expect("list").count(), 0, "{name}");
    }
}

#[test]
fn names_that_are_no_images_are_told_so() {
    let Some(live) = Live::new() else { return };
    for name in [":", "UPPER", "a/b:tag@sha256:00"] {
        live.pybox(["run", "--rm", name, "true"]).run().refuses(125, "invalid image reference");
    }
    live.pybox(["run", "--rm", "--pull", "never", &live.image("busybox"), ""]).run().refuses(125, "no such image");
    live.pybox(["run", "--rm", &live.image("busybox"), ""]).run().refuses(125, "first word is empty");
}

#[test]
fn steps_that_fail_for_what_was_asked_have_a_hint() {
    let Some(live) = Live::new() else { return };
    let refuses = |flags: &[&str], words: &str| {
        live.sh(flags, "true").run().refuses(125, words);
    };
    refuses(&["-w", "/etc/passwd"], "open the working directory /etc/passwd");
    refuses(&["--sysctl", "net.ipv4.no_such_thing=1"], "set net.ipv4.no_such_thing");
    refuses(&["-v", "/proc/nothing:/x"], "make the bind source");
    refuses(&["--add-host", "up:host-gateway"], "no way to the host");
}
