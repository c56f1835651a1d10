//! Images that try to get out. Each either runs with its trick inside the
//! container, or is refused; the canary on the host stays as it was.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use crate::fixture::{layout, registry};
use crate::harness::{Live, Outcome};

/// What a file is, in every respect that an intruder could change.
type Facts = (u32, u32, u32, i64, i64, u64, Vec<u8>);

/// The canary's tree, before and after.
struct Canary(BTreeMap<String, Facts>);

impl Canary {
    fn look() -> Self {
        let mut seen = BTreeMap::new();
        Self::walk(&registry::canary().expect("the canary"), &mut seen);
        Self(seen)
    }

    fn walk(path: &Path, seen: &mut BTreeMap<String, Facts>) {
        let facts = std::fs::symlink_metadata(path).expect("stat the canary");
        let content = if facts.is_file() { std::fs::read(path).expect("read the canary") } else { Vec::new() };
        let times = (facts.mtime(), facts.ctime());
        let known = (facts.mode(), facts.uid(), facts.gid(), times.0, times.1, facts.ino(), content);
        seen.insert(path.display().to_string(), known);
        if facts.is_dir() {
            for entry in std::fs::read_dir(path).expect("list the canary").flatten() {
                Self::walk(&entry.path(), seen);
            }
        }
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(self.0, Self::look().0);
    }
}

/// Pulls the image, which is well-formed, and runs a script in it.
fn run(live: &Live, image: &str, flags: &[&str], script: &str) -> Outcome {
    let image = live.image(image);
    live.pybox(["pull", &image]).within(30).ok();
    let start = ["run", "--rm"].iter().chain(flags).copied();
    live.pybox(start.chain([image.as_str(), "sh", "-c", script])).within(30).run()
}

/// Refused, or run; in neither case with a crash.
#[track_caller]
fn is_clean(end: &Outcome) {
    assert!(matches!(end.code, Some(0 | 125)), "{end}");
    assert!(!end.stderr.contains("panicked"), "{end}");
}

#[test]
fn links_where_we_mount_are_hidden_or_refused() {
    let Some(live) = Live::new() else { return };
    let canary = Canary::look();
    for image in ["evil-dev-link", "evil-dev-link-up", "evil-proc-link", "evil-sys-link", "evil-dev-null"] {
        let script = "stat -c %t:%T /dev/null; grep -c . /proc/self/status > /dev/null && ls -d /proc/1 && stat -f -c %t /proc /sys";
        let end = run(&live, image, &[], script);
        is_clean(&end);
        if end.code == Some(0) {
            assert_eq!(end.text(), "1:3\n/proc/1\n9fa0\n62656572", "{image}");
        }
        canary.is_untouched();
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn files_that_we_write_land_in_the_container() {
    let Some(live) = Live::new() else { return };
    let canary = Canary::look();
    for image in ["evil-etc-files", "evil-run-link"] {
        let end = run(
            &live,
            image,
            &["--hostname", "inside"],
            "cat /etc/hostname; echo x >> /etc/hosts; echo y >> /etc/resolv.conf",
        );
        is_clean(&end);
        if end.code == Some(0) {
            assert_eq!(end.text(), "inside", "{image}");
        }
        canary.is_untouched();
    }
}

#[test]
fn mount_targets_are_resolved_inside() {
    let Some(live) = Live::new() else { return };
    let canary = Canary::look();
    let file = live.file("given", "given\n");
    for target in ["/work/new", "/work/a/b/c", "/work"] {
        let end = run(&live, "evil-work-link", &["-v", &format!("{}:{target}", file.display())], "true");
        is_clean(&end);
        canary.is_untouched();
    }
    is_clean(&run(&live, "evil-work-link", &["-w", "/work/made"], "pwd"));
    is_clean(&run(&live, "evil-work-link", &["--tmpfs", "/work/made"], "true"));
    canary.is_untouched();
}

#[test]
fn layers_that_leave_the_root_are_refused() {
    let Some(live) = Live::new() else { return };
    let canary = Canary::look();
    for image in ["evil-dotdot", "evil-dotdot-inside", "evil-hardlink-up", "evil-hardlink-absolute"] {
        let name = live.image(image);
        let end = live.pybox(["pull", &name]).run();
        assert!(end.code.is_some_and(|code| code != 0), "{image}: {end}");
        assert!(end.stderr.to_lowercase().contains("hint:") && !end.stderr.contains("panicked"), "{end}");
        assert_eq!(live.pybox(["images", "-q"]).ok(), "", "{image}");
        canary.is_untouched();
    }
    let layers = std::fs::read_dir(live.root().join("images/layers")).into_iter().flatten().flatten();
    let marked = layers.filter(|entry| entry.path().join("complete").exists()).count();
    assert!(marked <= 1, "only the layer that all of them share is whole");
}

#[test]
fn writing_through_a_link_stays_inside() {
    let Some(live) = Live::new() else { return };
    let canary = Canary::look();
    // Such a link resolves inside of the layer, where there is nothing: refused, or a directory of its own.
    for image in ["evil-write-through", "evil-mode-through"] {
        let name = live.image(image);
        let pulled = live.pybox(["pull", &name]).run();
        if pulled.code == Some(0) {
            assert_eq!(live.pybox(["run", "--rm", &name, "true"]).run().code, Some(0), "{image}");
        } else {
            assert!(pulled.stderr.contains("hint:") && pulled.stderr.contains("door"), "{pulled}");
        }
        canary.is_untouched();
    }
}

#[test]
fn account_files_that_are_none_are_refused_quickly() {
    let Some(live) = Live::new() else { return };
    for image in ["evil-passwd-fifo", "evil-passwd-zero", "evil-passwd-giant", "evil-passwd-host"] {
        live.pybox(["pull", &live.image(image)]).within(30).ok();
        let started = Instant::now();
        let end = run(&live, image, &["-u", "somebody"], "true");
        assert_eq!(end.code, Some(125), "{image}: {end}");
        let by_number = run(&live, image, &["-u", "0"], "true");
        is_clean(&by_number);
        assert!(started.elapsed().as_secs() < 4, "{image} took {:?}", started.elapsed());
        // A link that climbs out ends at the image's root, where there is no such user.
        let own = run(&live, image, &["-u", &live.user.name], "true");
        assert_eq!(own.code, Some(125), "{image}: {own}");
    }
}

#[test]
fn an_images_configuration_gives_no_rights() {
    let Some(live) = Live::new() else { return };
    let volume = run(&live, "evil-volume-proc", &[], "cat /proc/1/comm");
    is_clean(&volume);
    assert!(volume.code == Some(125) || volume.text() == "sh", "{volume}");
    let up = run(&live, "evil-volume-up", &[], "cat /etc/passwd");
    is_clean(&up);
    let host = std::fs::read_to_string("/etc/passwd").expect("read passwd");
    assert!(!host.contains(up.text().as_str()) || up.text().is_empty(), "the host's accounts are inside: {up}");
    let user = run(&live, "evil-user", &[], "id -u");
    assert_eq!(user.code, Some(125), "{user}");
    let labels = run(&live, "evil-labels", &[], "echo $$; ls /proc/1/exe > /dev/null; ls /");
    assert!(labels.code == Some(0) && labels.text().starts_with("1\n") && !labels.text().contains("boot"), "{labels}");
}

#[test]
fn no_variable_of_the_host_comes_in() {
    let Some(live) = Live::new() else { return };
    let image = live.image("evil-env");
    live.pybox(["pull", &image]).ok();
    let end = live.pybox(["run", "--rm", &image, "env"]).env("SECRET_X", "1").env("NOVALUE", "leaked").run();
    is_clean(&end);
    assert!(!end.text().contains("SECRET_X") && !end.text().contains("leaked"), "{end}");
}

#[test]
fn the_working_directory_is_never_on_the_host() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", &live.image("busybox")]).ok();
    for number in 0..32 {
        let place = format!("/proc/self/fd/{number}");
        // Open directories of the host, as a careless caller might have.
        let script = format!(
            "exec 3</ 4</etc 5</ 6</proc 7</ 8</ 9</; exec '{}' run --rm -w {place} {} sh -c 'pwd -P; ls ../../../../..'",
            live.program().display(),
            live.image("busybox")
        );
        let mut command = live.command("bash");
        command.args(["-c", &script]);
        let end = crate::harness::Run::of(command).run();
        assert!(end.code != Some(0) || end.text().contains("home\n") && !end.text().contains("boot"), "{place}: {end}");
    }
    let end = run(&live, "evil-workdir", &[], "pwd -P; ls ../../../../..");
    assert!(end.code != Some(0) || !end.text().contains("boot"), "{end}");
}

#[test]
fn forged_overlay_marks_are_stripped() {
    let Some(live) = Live::new() else { return };
    let end = run(&live, "evil-forged-overlay", &[], "cat /shown/file; ls -A /redirected");
    assert_eq!(end.text(), "still here", "{end}");
}

#[test]
fn the_program_cannot_be_overwritten_from_inside() {
    let Some(live) = Live::new() else { return };
    let digest = |live: &Live| layout::sha256(&std::fs::read(live.program()).expect("read the program"));
    let before = digest(&live);
    let image = live.image("evil-self-exe");
    live.pybox(["pull", &image]).ok();
    // The kernel runs /proc/self/exe as the interpreter: our own image, if it were still there to be found.
    let end = live.pybox(["run", "--rm", "--entrypoint", "/entry", &image]).within(30).run();
    assert_ne!(end.code, Some(101), "{end}");
    let script = "for i in 1 2 3 4 5 6 7 8 9; do for e in /proc/[0-9]*/exe; do (echo overwritten > $e) 2>/dev/null && echo opened $(readlink $e); done; done; true";
    for init in [&[] as &[&str], &["--init"]] {
        let end = run(&live, "evil-self-exe", init, script);
        let ours = end.text().lines().filter(|line| !line.contains("/bin/busybox")).count();
        assert_eq!(ours, 0, "{end}");
    }
    assert_eq!(digest(&live), before);
}
