//! What a container is given by default, as its own first process sees it
//! (SECURITY.md, the hardening baseline).

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::harness::{Live, Run};

/// `/proc/self/status` of the first process, as a table.
fn status(live: &Live, flags: &[&str]) -> BTreeMap<String, String> {
    let text = live.sh(flags, "exec cat /proc/self/status").ok();
    let pairs = text.lines().filter_map(|line| line.split_once(":\t"));
    pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

/// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP.
const ELEVEN: &str = "00000000800405fb";
const NONE: &str = "0000000000000000";

#[test]
fn capabilities_are_the_eleven() {
    let Some(live) = Live::new() else { return };
    let with = |flags: &[&str]| {
        let status = status(&live, flags);
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|key| status[key].clone())
    };
    assert_eq!(with(&[]), [NONE, ELEVEN, ELEVEN, ELEVEN, NONE]);
    assert_eq!(with(&["-u", "1000"]), [NONE, NONE, NONE, ELEVEN, NONE]);
    assert_eq!(with(&["--cap-drop", "ALL"]), [NONE; 5]);
    let bind = "0000000000000400";
    assert_eq!(with(&["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"]), [NONE, bind, bind, bind, NONE]);
    assert_eq!(with(&["--cap-drop", "all", "--cap-add", "cap_net_bind_service"]), [NONE, bind, bind, bind, NONE]);
    let more = "00000000800425fb";
    assert_eq!(with(&["--cap-add", "NET_RAW"]), [NONE, more, more, more, NONE]);
    // A capability for a user who is not root: the sets that survive execve, and only that one.
    let added = with(&["-u", "1000", "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"]);
    assert_eq!(added, [bind; 5]);
    live.sh(&["--cap-add", "NO_SUCH"], "true").run().refuses(125, "NO_SUCH");
}

#[test]
fn the_system_call_filter_is_on() {
    let Some(live) = Live::new() else { return };
    let by_default = status(&live, &[]);
    assert_eq!((by_default["Seccomp"].as_str(), by_default["NoNewPrivs"].as_str()), ("2", "0"));
    let strict = status(&live, &["--security-opt", "no-new-privileges"]);
    assert_eq!((strict["Seccomp"].as_str(), strict["NoNewPrivs"].as_str()), ("2", "1"));
    let open = status(&live, &["--security-opt", "seccomp=unconfined"]);
    assert_eq!(open["Seccomp"], "0");
    for refused in ["unshare -U true", "unshare -m true", "mount -t tmpfs t /tmp", "umount /proc", "dmesg"] {
        let run = live.sh(&[], refused).run();
        assert_ne!(run.code, Some(0), "{run}");
    }
}

#[test]
fn every_namespace_is_its_own() {
    let Some(live) = Live::new() else { return };
    let names = ["user", "mnt", "pid", "ipc", "uts", "net", "cgroup"];
    let script = format!("for n in {}; do readlink /proc/self/ns/$n; done", names.join(" "));
    let inside = live.sh(&[], &script).ok();
    for (name, inside) in names.iter().zip(inside.lines()) {
        let outside = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("read a namespace link");
        assert_ne!(outside.to_string_lossy(), inside, "{name}");
    }
    assert_eq!(inside.lines().count(), names.len());
    assert_eq!(live.sh(&[], "cat /proc/self/cgroup | tail -n 1").ok(), "0::/");
}

#[test]
fn nothing_but_the_three_streams_is_open() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", &live.image("busybox")]).ok();
    // The caller's own descriptors must not be passed on either.
    let script = format!(
        "exec 7</ 9</etc/passwd; exec '{}' run --rm {} ls /proc/self/fd",
        live.program().display(),
        live.image("busybox")
    );
    let mut command = live.command("bash");
    command.args(["-c", &script]);
    // 3 is the directory that ls itself reads.
    assert_eq!(crate::harness::Run::of(command).ok().split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

#[test]
fn sensitive_paths_are_masked() {
    let Some(live) = Live::new() else { return };
    let script = "for p in /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug \
                  /proc/scsi /proc/timer_list /proc/timer_stats /sys/firmware /sys/fs/selinux /sys/devices/virtual/powercap; do \
                  if [ -d $p ]; then ls -A $p | sed \"s|^|$p/|\"; elif [ -e $p ]; then \
                  [ \"$(stat -c %t:%T $p)\" = 1:3 ] || echo open $p; fi; done";
    assert_eq!(live.sh(&[], script).ok(), "");
}

#[test]
fn kernel_settings_cannot_be_written() {
    let Some(live) = Live::new() else { return };
    let script = "for p in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/vm/overcommit_memory /proc/irq/default_smp_affinity \
                  /sys/kernel/uevent_helper /sys/fs/cgroup/cgroup.procs; do \
                  [ ! -e $p ] || [ \"$(stat -c %t:%T $p)\" = 1:3 ] || { (echo 0 > $p) 2>/dev/null && echo written $p; }; done; \
                  for d in /proc/sys /proc/bus /proc/fs /sys /sys/fs/cgroup; do mkdir $d/x 2>/dev/null && echo made $d/x; done; true";
    assert_eq!(live.sh(&[], script).ok(), "");
}

#[test]
fn dev_has_what_programs_need_and_no_more() {
    let Some(live) = Live::new() else { return };
    let listed = live.sh(&[], "ls -A /dev").ok();
    let expected = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), expected);
    let numbers = live.sh(&[], "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty").ok();
    assert_eq!(numbers, "null 1:3\nzero 1:5\nfull 1:7\nrandom 1:8\nurandom 1:9\ntty 5:0");
    let links = live.sh(&[], "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done").ok();
    let links: Vec<_> = links.lines().collect();
    assert_eq!(links[..4], ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"]);
    assert!(["pts/ptmx", "/dev/pts/ptmx"].contains(&links[4]), "{links:?}");
    // They work, too.
    let script = "head -c 3 /dev/zero | wc -c; echo x > /dev/null; head -c 4 /dev/urandom | wc -c; (echo x > /dev/full) 2>/dev/null || echo full";
    assert_eq!(live.sh(&[], script).ok(), "3\n4\nfull");
}

#[test]
fn mounts_have_the_flags_of_the_baseline() {
    let Some(live) = Live::new() else { return };
    let table = live.sh(&[], "cat /proc/self/mounts").ok();
    let mounts: BTreeMap<&str, (&str, Vec<&str>)> = table
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .map(|words| (words[1], (words[2], words[3].split(',').collect())))
        .collect();
    for (target, kind, flags) in [
        ("/", live.root_kind(), &["rw"] as &[&str]),
        ("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        ("/dev", "tmpfs", &["nosuid"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["ro", "nosuid", "noexec", "nodev"]),
        ("/sys/fs/cgroup", "cgroup2", &["ro", "nosuid", "noexec", "nodev"]),
    ] {
        let Some((found, options)) = mounts.get(target) else { panic!("no mount at {target}:\n{table}") };
        assert_eq!(*found, kind, "{target}");
        for flag in flags {
            assert!(options.contains(flag), "{target} lacks {flag}: {options:?}");
        }
    }
    // Nothing says where on the host the store is, except what the kernel shows of the root itself.
    let elsewhere = table.lines().filter(|line| line.split(' ').nth(1) != Some("/"));
    assert!(!elsewhere.clone().any(|line| line.contains("pybox-tests")), "{table}");
}

#[test]
fn umask_session_and_signals_are_fresh() {
    let Some(live) = Live::new() else { return };
    assert_eq!(live.sh(&[], "umask").ok(), "0022");
    let status = status(&live, &[]);
    for key in ["SigBlk", "SigIgn"] {
        assert_eq!(status[key], NONE, "{key}");
    }
    // Fields 5 and 6 of stat: process group and session, both the container's own.
    assert_eq!(live.sh(&[], "cut -d' ' -f 5,6 /proc/1/stat").ok(), "1 1");
}

#[test]
fn privileged_gives_what_the_user_has_and_not_more() {
    let Some(live) = Live::new() else { return };
    let status = status(&live, &["--privileged"]);
    assert_eq!(status["Seccomp"], "0");
    assert_ne!(status["CapEff"], ELEVEN);
    // Root of a user namespace still is nobody to the host.
    let written = live.sh(&["--privileged"], "echo x > /proc/sys/kernel/core_pattern").run();
    assert_ne!(written.code, Some(0), "{written}");
}

#[test]
fn masks_can_be_changed_by_the_user() {
    let Some(live) = Live::new() else { return };
    let shown = |flags: &[&str]| live.sh(flags, "stat -c %t:%T /proc/timer_list; ls -A /etc | wc -l").ok();
    assert!(shown(&[]).starts_with("1:3"), "masked by default");
    assert!(shown(&["--security-opt", "unmask=/proc/timer_list"]).starts_with("0:0"));
    assert!(shown(&["--security-opt", "mask=/etc"]).ends_with("\n0"));
}

#[test]
fn what_root_does_to_devices_happens_to_the_containers() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return crate::fixture::skip("a container without a user namespace needs root");
    }
    let stat = |path: &str| std::fs::metadata(path).map(|is| (is.uid(), is.mode(), is.ino())).expect("a device");
    let before = ["/dev/full", "/dev/null"].map(stat);
    let script = "chown 5:6 /dev/full; chmod 600 /dev/full; chown 7 /proc/self/fd/0; chmod 600 /proc/self/fd/0; \
                  stat -c '%u %g %a %t %T' /dev/full /dev/null; stat -L -c '%u %a' /proc/self/fd/0; echo > /dev/full || echo full";
    let mut command = live.privileged(live.program());
    command.env("PYBOX_ROOT", live.dir.join("admin")).env_remove("XDG_RUNTIME_DIR");
    command.args(["run", "--rm", &live.image("busybox"), "sh", "-c", script]);
    let said = Run::of(command).run();
    let after = ["/dev/full", "/dev/null"].map(stat);
    for (path, (uid, mode, _)) in ["/dev/full", "/dev/null"].into_iter().zip(before) {
        // Whatever has come of it: others need these.
        std::os::unix::fs::chown(path, Some(uid), None).expect("given back");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o7777)).expect("opened again");
    }
    assert_eq!(said.exits(0).text(), "5 6 600 1 7\n7 0 600 1 3\n7 600\nfull");
    assert_eq!(after, before);
}
