//! Programs of others that try hard: stress-ng's file stressors and fio's verification, inside
//! the mount. They judge themselves; what is asserted is that they end well and in time.

use std::process::Command;
use std::time::Duration;

use crate::systems::{System, enter};
use crate::trial::{Trial, awaited, cannot, long, skip};

/// A lower tree that some of them find below their own files.
const LAYERS: &str = "== stress\n1: mkdir d\n1: many d 50\n2: file f \"a\"*100000\n";

/// Run at once, one process each.
const STRESSORS: &[&str] = &[
    "access",
    "chdir",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "fallocate",
    "fcntl",
    "file-ioctl",
    "flock",
    "fpunch",
    "fstat",
    "getdent",
    "hdd",
    "inotify",
    "iomix",
    "link",
    "lockf",
    "lockofd",
    "locka",
    "mmap",
    "msync",
    "open",
    "readahead",
    "rename",
    "seek",
    "sendfile",
    "symlink",
    "sync-file",
    "touch",
    "unlink",
    "utime",
    "xattr",
    "filename",
    "lease",
    "mknod",
    "splice",
    "revio",
    "metamix",
];

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs a program in the mount; its exit code has to be 0.
fn run(trial: &Trial, command: &Command, limit: Duration) {
    let prefix = enter(trial.told.system, &trial.told.place);
    let (status, said) = awaited(&mut trial.command(&prefix, command), limit);
    let last: Vec<_> = said.lines().rev().take(60).collect();
    let last: Vec<_> = last.into_iter().rev().collect();
    assert!(status.success(), "{command:?} on {}: {status}\n{}", trial.told.system.name(), last.join("\n"));
}

/// Those of the list that this version of stress-ng knows.
fn known() -> Vec<&'static str> {
    let Ok(output) = Command::new("stress-ng").arg("--stressors").output() else { return Vec::new() };
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    let all: Vec<_> = all.split_whitespace().collect();
    STRESSORS.iter().copied().filter(|stressor| all.contains(stressor)).collect()
}

fn stressors(system: System) {
    if cannot(system) {
        return;
    }
    if !installed("stress-ng") {
        return skip("no stress-ng (scripts/install-packages.sh test)");
    }
    let trial = Trial::new(system, LAYERS);
    let known = known();
    assert!(known.len() > 30, "stress-ng knows only {known:?}");
    // Some at a time: all of them would wait for each other and not for the file system.
    for some in known.chunks(14) {
        let mut command = Command::new("stress-ng");
        command.arg("--temp-path").arg(trial.told.place.mounted().join("c0000"));
        command.args(["--verify", "--oomable", "--timeout", &format!("{}s", 2 * long())]);
        command.args(["--hdd-bytes", "4m", "--iomix-bytes", "4m", "--fallocate-bytes", "4m"]);
        command.args([
            "--dirdeep-inodes",
            "500",
            "--readahead-bytes",
            "4m",
            "--revio-bytes",
            "4m",
            "--seek-size",
            "4m",
        ]);
        for stressor in some {
            command.args([format!("--{stressor}"), "1".into()]);
        }
        run(&trial, &command, Duration::from_secs(60 + 10 * long() as u64));
    }
}

fn verified(system: System) {
    if cannot(system) {
        return;
    }
    if !installed("fio") {
        return skip("no fio (scripts/install-packages.sh test)");
    }
    let trial = Trial::new(system, LAYERS);
    for (engine, way, sizes) in
        [("psync", "randwrite", "512-64k"), ("mmap", "randwrite", "4k-64k"), ("psync", "readwrite", "4k-128k")]
    {
        let mut command = Command::new("fio");
        command.args(["--name=verified", "--size=6m", "--verify=crc32c", "--verify_fatal=1"]);
        command.args(["--numjobs=2", "--fsync=64", "--do_verify=1", "--verify_backlog=512", "--minimal"]);
        command.arg(format!("--ioengine={engine}")).arg(format!("--rw={way}")).arg(format!("--bsrange={sizes}"));
        command.arg(format!("--loops={}", long()));
        command.arg(format!("--directory={}", trial.told.place.mounted().join("c0000").display()));
        run(&trial, &command, Duration::from_secs(60 + 10 * long() as u64));
    }
}

macro_rules! on {
    ($($name:ident: $system:ident),* $(,)?) => {$(
        mod $name {
            use super::{System, stressors, verified};
            #[test]
            fn all_stressors() { stressors(System::$system); }
            #[test]
            fn fio_finds_what_it_wrote() { verified(System::$system); }
        }
    )*};
}

on!(on_ext4: Ext4, on_hybrid: Hybrid, on_fuse: Fuse, on_fuser: Fuser, on_fuse3: Fuse3);
