//! Files of containers: copied both ways, compared with the image, kept as an image.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::exec::Guest;
use crate::harness::{Live, Run};

const STEADY: &str = "touch /tmp/ready; trap 'exit 0' TERM; while :; do sleep 0.1; done";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[test]
fn files_go_in_and_out_of_a_running_container() {
    let Some(live) = Live::new() else { return };
    let volume = live.directory("volume");
    let flag = format!("{}:/vol", text(&volume));
    let guest = Guest::runs(&live, &["-v", &flag, "--tmpfs", "/fast"], STEADY);
    let source = live.directory("source");
    fs::create_dir(source.join("deep")).expect("mkdir");
    fs::write(source.join("deep/file"), "content").expect("write");
    fs::set_permissions(source.join("deep/file"), fs::Permissions::from_mode(0o644)).expect("chmod");
    symlink("deep/file", source.join("link")).expect("symlink");
    fs::hard_link(source.join("deep/file"), source.join("again")).expect("link");
    let here = text(&source);

    live.pybox(["cp", here, "guest:/new"]).ok();
    let listed = guest.sh(&[], "cd /new; stat -c '%a %u:%g %h %n' deep/file again; readlink link; cat link").ok();
    assert_eq!(listed, "644 0:0 2 deep/file\n644 0:0 2 again\ndeep/file\ncontent");
    // A directory that is there takes it in; its contents alone go into it.
    live.pybox(["cp", here, "guest:/tmp"]).ok();
    live.pybox(["cp", &format!("{here}/."), "guest:/fast"]).ok();
    assert_eq!(guest.sh(&[], "cat /tmp/source/link /fast/link").ok(), "contentcontent");
    // What is mounted is seen, from both sides.
    live.pybox(["cp", &format!("{here}/link"), "guest:/vol/", "-L"]).ok();
    assert_eq!(fs::read_to_string(volume.join("link")).expect("read"), "content");
    guest.sh(&[], "echo inside > /fast/own; chown 1000:50 /fast/own; chmod 604 /fast/own").ok();

    let target = live.directory("target");
    live.pybox(["cp", "guest:/fast", text(&target)]).ok();
    let own = fs::metadata(target.join("fast/own")).expect("stat");
    assert_eq!((own.mode() & 0o777, own.uid()), (0o604, live.user.uid));
    assert_eq!(fs::metadata(target.join("fast/again")).expect("stat").nlink(), 2);
    assert_eq!(fs::read_link(target.join("fast/link")).expect("a link"), Path::new("deep/file"));
    live.pybox(["cp", "guest:/fast/own", &format!("{}/renamed", text(&target))]).ok();
    assert_eq!(fs::read_to_string(target.join("renamed")).expect("read"), "inside\n");
    // What is there is replaced, its directory kept.
    fs::write(source.join("own"), "newer").expect("write");
    live.pybox(["cp", &format!("{here}/own"), "guest:/fast/own"]).ok();
    assert_eq!(guest.exec(&[], &["cat", "/fast/own"]).ok(), "newer");
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn archives_go_through_pipes() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &[], STEADY);
    guest.sh(&[], "mkdir /d; echo x > /d/f; chown 1000:50 /d/f").ok();
    let archive = live.pybox(["cp", "guest:/d", "-"]).run().exits(0).stdout;
    let mut command = live.command("tar");
    command.args(["tvf", "-", "--numeric-owner"]);
    let listed = Run::of(command).stdin(archive.clone()).ok();
    assert!(listed.contains("d/\n") && listed.contains("1000/50") && listed.contains("d/f"), "{listed}");
    guest.sh(&[], "mkdir /into").ok();
    live.pybox(["cp", "-", "guest:/into"]).stdin(archive).ok();
    assert_eq!(guest.sh(&[], "stat -c '%u:%g' /into/d/f; cat /into/d/f").ok(), "1000:50\nx");
    live.pybox(["cp", "-", "guest:/into/d/f"]).stdin("x").run().refuses(1, "is no directory");
    live.pybox(["cp", "-", "guest:/into"]).stdin("no archive at all, but long enough").run().refuses(1, "archive");
}

#[test]
fn a_container_that_does_not_run_is_reached_as_well() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let volume = live.directory("volume");
    fs::write(volume.join("there"), "volume").expect("write");
    let flag = format!("{}:/vol", text(&volume));
    live.pybox(["create", "--name", "fresh", "-v", &flag, &image, "sh", "-c", "cat /etc/settings /vol/there"]).ok();
    let settings = live.file("settings", "set\n");
    live.pybox(["cp", text(&settings), "fresh:/etc/settings"]).ok();
    let target = live.directory("target");
    live.pybox(["cp", "fresh:/vol/there", text(&target)]).ok();
    assert_eq!(fs::read_to_string(target.join("there")).expect("read"), "volume");
    assert_eq!(live.pybox(["start", "-a", "fresh"]).ok(), "set\nvolume");
    assert_eq!(live.pybox(["diff", "fresh"]).ok(), "C /etc\nA /etc/settings");
    // Between containers, too.
    live.pybox(["create", "--name", "other", &image, "cat", "/settings"]).ok();
    live.pybox(["cp", "fresh:/etc/settings", "other:/"]).ok();
    assert_eq!(live.pybox(["start", "-a", "other"]).ok(), "set");
    live.pybox(["rm", "fresh", "other"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn links_lead_nowhere_out_of_the_container() {
    let Some(live) = Live::new() else { return };
    let canary = live.directory("canary");
    fs::write(canary.join("secret"), "host").expect("write");
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o777)).expect("chmod");
    let host = text(&canary);
    let guest = Guest::runs(&live, &[], STEADY);
    let script = format!(
        "mkdir -p /up; ln -s {host} /up/absolute; ln -s ../../../../../..{host} /up/relative; \
        ln -s /proc/1/root{host} /up/magic; ln -s {host}/secret /up/file"
    );
    guest.sh(&[], &script).ok();
    let file = live.file("file", "planted");
    for link in ["absolute", "relative", "magic"] {
        let end = live.pybox(["cp", &format!("guest:/up/{link}/secret"), text(&live.directory("out"))]).run();
        assert!(end.code == Some(1) && end.stderr.contains("hint:"), "{link}: {end}");
        let end = live.pybox(["cp", text(&file), &format!("guest:/up/{link}/planted")]).run();
        assert_ne!(end.code, Some(0), "{link}: {end}");
    }
    // A link that is copied stays one; what it names is not followed on the host either.
    let out = live.directory("links");
    live.pybox(["cp", "guest:/up/.", text(&out)]).ok();
    assert_eq!(fs::read_link(out.join("file")).expect("a link"), canary.join("secret"));
    // The directory of the host has links of its own, which a container cannot make use of.
    symlink(&canary, out.join("trap")).expect("symlink");
    guest.sh(&[], "mkdir -p /up2/trap; echo planted > /up2/trap/secret").ok();
    let end = live.pybox(["cp", "guest:/up2/.", text(&out)]).run();
    assert_ne!(end.code, Some(0), "{end}");
    let names: Vec<_> = fs::read_dir(&canary).expect("list").map(|entry| entry.expect("entry").file_name()).collect();
    assert_eq!((names.len(), fs::read_to_string(canary.join("secret")).expect("read")), (1, "host".to_owned()));
}

#[test]
fn a_container_that_swaps_names_gains_nothing() {
    let Some(live) = Live::new() else { return };
    let canary = live.directory("canary");
    fs::write(canary.join("file"), "host").expect("write");
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o777)).expect("chmod");
    let script = format!(
        "mkdir -p /w/d /w/e; echo own > /w/d/file; ln -s {} /w/l; touch /tmp/ready; \
         while :; do mv /w/d /w/x; mv /w/l /w/d; mv /w/d /w/l; mv /w/x /w/d; done",
        text(&canary)
    );
    let guest = Guest::runs(&live, &[], &script);
    let (planted, out) = (live.file("planted", "planted"), live.directory("out"));
    for _ in 0..40 {
        let _ = live.pybox(["cp", text(&planted), "guest:/w/d/file"]).run();
        let _ = live.pybox(["cp", "guest:/w/d/file", text(&out)]).run();
        if let Ok(found) = fs::read_to_string(out.join("file")) {
            assert_ne!(found, "host");
        }
    }
    assert_eq!(fs::read_to_string(canary.join("file")).expect("read"), "host");
    drop(guest);
}

#[test]
fn copies_that_make_no_sense_are_refused() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &[], STEADY);
    let file = live.file("file", "x");
    let (file, directory) = (text(&file).to_owned(), text(&live.directory("directory")).to_owned());
    for (from, to, said) in [
        ("guest:/nosuch", directory.as_str(), "there is no guest:/nosuch"),
        ("guest:/etc/passwd/", &directory, "is no directory"),
        (&file, "guest:/nosuch/place", "/nosuch"),
        (&file, "guest:/new/", "there is no directory"),
        (&directory, "guest:/etc/passwd", "is a directory"),
        (&file, &directory, "in a container"),
        ("nosuch:/etc", &directory, "nosuch"),
    ] {
        let end = live.pybox(["cp", from, to]).run().refuses(1, said);
        assert!(end.stderr.contains("hint:"), "{from} {to}: {end}");
    }
    // A directory is never replaced by a file.
    guest.sh(&[], "mkdir -p /keep/file/in").ok();
    live.pybox(["cp", &file, "guest:/keep"]).run().refuses(1, "directory");
    assert_eq!(guest.exec(&[], &["ls", "/keep/file"]).ok(), "in");
}

#[test]
fn changes_are_told_and_kept_as_an_image() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let script = "echo new > /etc/new; rm /etc/group; mkdir -p /a/b; touch /a/b/c; chown 1000:50 /a/b/c; \
        rm -r /var; mkdir -p /var/other; chmod 700 /root; mkdir /tmp/gone && rmdir /tmp/gone";
    live.pybox(["run", "--name", "maker", "-e", "KEPT=yes", "-w", "/a", &image, "sh", "-c", script]).ok();
    let changes = live.pybox(["diff", "maker"]).ok();
    for line in
        ["C /etc", "A /etc/new", "D /etc/group", "A /a", "A /a/b", "A /a/b/c", "C /var", "A /var/other", "C /root"]
    {
        assert!(changes.lines().any(|known| known == line), "{line} is not in\n{changes}");
    }
    assert!(!changes.contains("gone") && !changes.contains("/etc/passwd"), "{changes}");

    let change = ["-c", "CMD [\"cat\", \"/etc/new\"]", "-c", "LABEL made=here", "-c", "ENV MORE=1"];
    let words = ["commit", "-q", "-a", "somebody", "-m", "tuned"].iter().chain(&change).chain(&["maker", "made:1"]);
    let id = live.pybox(words.copied()).ok();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(live.pybox(["run", "--rm", "made:1"]).ok(), "new");
    let look = "stat -c '%u:%g' /a/b/c; stat -c %a /root; ls -A /var; test ! -e /etc/group; echo $? $KEPT $MORE; pwd";
    assert_eq!(live.pybox(["run", "--rm", "made:1", "sh", "-c", look]).ok(), "1000:50\n700\nother\n0 yes 1\n/a");
    let label = live.pybox(["image", "inspect", "--format", "{{.Config.Labels.made}} {{.Author}}", "made:1"]).ok();
    assert_eq!(label, "here somebody");
    let history = live.pybox(["history", "--format", "{{.ID}} {{.Comment}}", "--no-trunc", "made:1"]).ok();
    assert_eq!(history.lines().next(), Some(format!("{id} tuned").as_str()));
    assert_eq!(live.pybox(["history", "-q", "made:1"]).ok().lines().next(), Some(&id[7..19]));
    live.pybox(["rm", "maker"]).ok();
    live.pybox(["rmi", "made:1"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_running_container_is_paused_while_it_is_kept() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &[], STEADY);
    guest.sh(&[], "echo kept > /kept").ok();
    live.pybox(["commit", "-q", "guest", "kept:1"]).ok();
    let told = live.pybox(["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]).ok();
    let told: Vec<&str> = told.lines().collect();
    assert!(told.windows(2).any(|pair| pair == ["pause", "unpause"]), "{told:?}");
    assert_eq!(live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok(), "running");
    assert_eq!(live.pybox(["run", "--rm", "kept:1", "cat", "/kept"]).ok(), "kept");
    live.pybox(["commit", "--change", "COLOUR red", "guest", "kept:2"]).run().refuses(1, "COLOUR red");
    assert_eq!(live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok(), "running", "after a mistake");
    drop(guest);
    live.pybox(["rmi", "kept:1"]).ok();
}

#[test]
fn what_is_exported_can_be_imported() {
    let Some(live) = Live::new() else { return };
    let volume = live.directory("volume");
    fs::write(volume.join("private"), "x").expect("write");
    let flag = format!("{}:/vol", text(&volume));
    let guest = Guest::runs(&live, &["-v", &flag], STEADY);
    guest.sh(&[], "echo kept > /kept; chown 1000:50 /kept; ln -s kept /link").ok();
    let archive = live.directory("exported").join("export.tar");
    live.pybox(["export", "-o", text(&archive), "guest"]).ok();
    let mut command = live.command("tar");
    command.args(["tf", text(&archive)]);
    let names = Run::of(command).ok();
    assert!(names.lines().any(|name| name == "vol/") && !names.contains("private"), "{names}");
    assert!(!names.lines().any(|name| name.starts_with("proc/") && name != "proc/"), "{names}");
    live.pybox(["import", text(&archive), "again:1"]).run().exits(0);
    let look = "cat /link; stat -c '%u:%g' /kept";
    assert_eq!(live.pybox(["run", "--rm", "again:1", "sh", "-c", look]).ok(), "kept\n1000:50");
    drop(guest);
    // One that does not run gives the same.
    live.pybox(["rmi", "again:1"]).ok();
}
