//! What a command of `exec` may do: what the container's first process may, and nothing that
//! we have. The rows of SECURITY.md on exec.

use crate::exec::{Guest, awaits};
use crate::fixture::layout;
use crate::harness::{Live, Run};

/// Everything of a process that the kernel knows and that must not differ.
const FACTS: &str = "grep -E '^(Uid|Gid|Groups|Umask|Cap|NoNewPrivs|Seccomp|Speculation)' /proc/self/status; \
    for n in user mnt pid ipc uts net cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/oom_score_adj; \
    cat /proc/self/cgroup /proc/self/limits; grep -v mount /proc/self/mountinfo | wc -l; cat /proc/self/attr/current 2>&1; \
    readlink /proc/self/root; pwd; env | grep -vE '^(SHLVL|_|PWD|OLDPWD)=' | sort";

#[test]
fn it_has_what_the_first_process_has() {
    let Some(live) = Live::new() else { return };
    let user = format!("{}", nix::unistd::geteuid());
    for flags in [
        &[] as &[&str],
        &["--init"],
        &["-u", "1000"],
        &["-u", "app", "--cap-add", "NET_RAW", "--group-add", "4242"],
        &["--cap-drop", "ALL"],
        &["--cap-add", "SYS_ADMIN", "--cap-drop", "KILL"],
        &["--read-only", "--tmpfs", "/tmp"],
        &["--security-opt", "no-new-privileges"],
        &["--security-opt", "seccomp=unconfined"],
        &["--privileged"],
        &["--network", "host"],
        &["--userns", "keep-id"],
        &["--userns", "keep-id:uid=7,gid=8", "--init"],
        &["--ulimit", "nofile=100:200", "--ulimit", "core=0", "-w", "/srv/x"],
    ] {
        let script = format!("({FACTS}) > /tmp/first; touch /tmp/ready; exec sleep 300");
        let guest = Guest::runs(&live, flags, &script);
        let first = guest.exec(&[], &["cat", "/tmp/first"]).ok();
        let joined = guest.sh(&[], FACTS).ok();
        assert_eq!(joined, first, "{flags:?} (tests run as {user})");
        assert!(first.lines().count() > 40, "{first}");
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

fn status(guest: &Guest<'_>, flags: &[&str], field: &str) -> String {
    let status = guest.exec(flags, &["cat", "/proc/self/status"]).ok();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
}

#[test]
fn other_users_have_no_capabilities_and_nobody_inherits_any() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    let none = "0000000000000000";
    for (flags, permitted) in [
        (&[] as &[&str], "00000000800405fb"),
        (&["-u", "root"], "00000000800405fb"),
        (&["-u", "1000"], none),
        (&["-u", "svc"], none),
        (&["-u", "1000", "--privileged"], none),
    ] {
        assert_eq!(status(&guest, flags, "CapPrm"), permitted, "{flags:?}");
        assert_eq!(status(&guest, flags, "CapEff"), permitted, "{flags:?}");
        assert_eq!(status(&guest, flags, "CapInh"), none, "{flags:?}");
        assert_eq!(status(&guest, flags, "CapAmb"), none, "{flags:?}");
        assert_eq!(status(&guest, flags, "Seccomp"), if flags.contains(&"--privileged") { "0" } else { "2" });
    }
    let bounding = |flags: &[&str]| u64::from_str_radix(&status(&guest, flags, "CapBnd"), 16).expect("a mask");
    assert_eq!(bounding(&["-u", "1000"]), 0x8004_05fb);
    assert!(bounding(&["--privileged"]).count_ones() >= 38);
    assert_eq!(status(&guest, &["--privileged"], "CapEff"), status(&guest, &["--privileged"], "CapBnd"));
    // It is the container's user namespace that it is privileged in.
    let user = |flags: &[&str]| guest.exec(flags, &["readlink", "/proc/self/ns/user"]).ok();
    assert_eq!(user(&["--privileged"]), user(&[]));
}

#[test]
fn nothing_but_the_three_streams_is_open() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    // What a careless caller has open must not come in, nor anything of the monitor's.
    let script =
        format!("exec 3</ 4</etc 5</ 9</; exec '{}' exec guest sh -c 'ls /proc/$$/fd; true'", live.program().display());
    let mut command = live.command("bash");
    command.args(["-c", &script]);
    let said = Run::of(command).ok();
    assert_eq!(said, "0\n1\n2");
    // None of them is one of ours.
    let kinds = guest.sh(&["-i"], "for n in 0 1 2; do readlink /proc/$$/fd/$n | cut -d: -f1; done").stdin("").ok();
    assert_eq!(kinds, "pipe\npipe\npipe");
    assert_eq!(guest.exec(&[], &["readlink", "/proc/self/fd/0"]).ok(), "/dev/null");
}

#[test]
fn the_working_directory_is_never_on_the_host() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    for number in 0..40 {
        for process in ["self", "thread-self", "1"] {
            let place = format!("/proc/{process}/fd/{number}");
            let script = format!(
                "exec 3</ 4</etc 5</ 6</proc 7</ 8</ 9</; exec '{}' exec -w {place} guest sh -c 'pwd -P; ls ../../../../..'",
                live.program().display(),
            );
            let mut command = live.command("bash");
            command.args(["-c", &script]);
            let end = Run::of(command).run();
            assert!(matches!(end.code, Some(125..=127)), "{place}: {end}");
        }
    }
    for place in ["/proc/self/cwd", "/proc/self/root", "/proc/1/root", "/proc/1/cwd"] {
        let end = guest.exec(&["-w", place], &["true"]).run();
        assert!(matches!(end.code, Some(125..=127)), "{place}: {end}");
    }
    guest.sh(&[], "ln -s ../../../../../../.. /tmp/up; ln -s /proc/self/root /tmp/magic").ok();
    assert!(guest.sh(&["-w", "/tmp/up"], "pwd -P; ls").ok().starts_with("/\nbin\n"));
    assert_ne!(guest.exec(&["-w", "/tmp/magic"], &["true"]).run().code, Some(0));
}

#[test]
fn the_program_cannot_be_reached_from_inside() {
    let Some(live) = Live::new() else { return };
    let digest = |live: &Live| layout::sha256(&std::fs::read(live.program()).expect("read the program"));
    let before = digest(&live);
    live.pybox(["pull", &live.image("evil-self-exe")]).ok();
    // Root inside, with the right to trace, tries every process that comes by.
    let hunt = "touch /tmp/ready; while :; do for p in /proc/[0-9]*; do \
        (echo overwritten > $p/exe) 2>/dev/null && readlink $p/exe >> /tmp/opened; \
        readlink $p/exe $p/cwd $p/root $p/fd/* 2>/dev/null >> /tmp/links; done; done";
    for flags in [&["--cap-add", "SYS_PTRACE"] as &[&str], &["--privileged", "--init"]] {
        let guest = Guest::of_image(&live, "evil-self-exe", flags, hunt);
        for _ in 0..60 {
            guest.exec(&[], &["true"]).run().exits(0);
            // The kernel runs /proc/self/exe as the interpreter: ours, if it were still there to be found.
            let end = guest.exec(&[], &["/entry"]).run();
            assert!(end.code != Some(0) && end.code != Some(101), "{end}");
            guest.exec(&[], &["/proc/self/exe", "--version"]).run();
        }
        // A number of links of each process is its own; none may lead to what is not inside.
        let links = guest.sh(&[], "sort -u /tmp/links").ok();
        let stray: Vec<&str> = links
            .lines()
            .filter(|link| link.contains("memfd") || link.contains("pybox") || link.contains("socket:"))
            .collect();
        assert_eq!(stray, Vec::<&str>::new(), "{flags:?}");
        let opened = guest.sh(&[], "touch /tmp/opened; grep -v /bin/busybox /tmp/opened; true").ok();
        assert_eq!(opened, "", "{flags:?}");
    }
    assert_eq!(digest(&live), before);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_container_that_stops_whoever_comes_does_not_stop_its_monitor() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &[], "while :; do kill -STOP -1; done");
    let stuck: Vec<_> = (0..20).map(|_| guest.exec(&[], &["true"]).start()).collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    // Whatever became of those: the monitor answers.
    live.pybox(["kill", "guest"]).within(20).ok();
    for stuck in stuck {
        let end = stuck.wait();
        assert!(matches!(end.code, Some(0 | 125 | 137)), "{end}");
    }
    awaits(|| live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok() == "exited");
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
