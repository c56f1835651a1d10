//! Builds whose paths are swapped while they are looked at: a directory and a link to the host change places, over
//! and over, by rename-exchange. Nothing of the host is ever read, written, made or deleted.
//!
//! Rows of SECURITY.md, and what shows them:
//!
//! | row | here | elsewhere |
//! |---|---|---|
//! | CVE-2024-1753: the source of a mount is a link | `a_context_that_changes_…` (`--mount=src=`) | `build::mounts_stay_in_their_stage_and_leave_nothing` |
//! | CVE-2024-9407, 9675, 11218: propagation, ids of caches, stages that race | `caches_that_change_…`, `stages_that_share_a_cache_…` | `build::mounts_stay_…` (ids), `build::dockerfile` tests (propagation) |
//! | CVE-2024-23651, 23652: subdirectories of caches, places that were made to mount on | `caches_that_change_…`, `places_that_were_made_…` | `build::mounts_stay_…`, `snapshot::view::mountpoint` tests |
//! | CVE-2024-23653: rights that nobody has given | | `build::a_step_has_the_rights_of_a_container_and_none_of_the_environment` |
//! | CVE-2026-33747, 33748: paths of the client's, repositories | `a_context_that_changes_…` (`rootfs:`) | `build_copy::addresses_are_downloaded_once_a_version`, `build::bases_without_a_registry` |
//! | CVE-2026-44517, CVE-2020-10696: links of the context | `a_context_that_changes_…` | `build::links_of_the_context_lead_nowhere_else` |
//! | CVE-2021-3602, CVE-2020-14370: variables that leak | | `build::a_step_has_the_rights_…` |
//! | R11: what is removed is what was made | `caches_that_are_removed_…`, `places_that_were_made_…` | `build_cache` |
//!
//! `PYBOX_TEST_LONG=1` makes as many rounds as SECURITY.md wants.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags};

use crate::build::{build, context, says};
use crate::harness::{Live, Run, long};

/// What the host's file has, and nothing else in these tests.
const SECRET: &str = "c4n4ry-of-the-h0st";

fn rounds(usual: u64) -> u64 {
    if long() { 500 } else { usual }
}

/// A directory of the host that whoever builds may read and write, so that nothing but the build itself keeps it safe.
struct Canary {
    directory: PathBuf,
    before: Vec<String>,
}

impl Canary {
    fn new(live: &Live) -> Self {
        let directory = live.directory("host");
        for below in ["host/deep", "host/deep/er"] {
            let path = live.directory(below);
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("chmod");
        }
        for file in ["host/file", "host/deep/file", "host/a.tar"] {
            live.file(file, format!("{SECRET}\n"));
        }
        let before = facts(&directory);
        Self { directory, before }
    }

    /// Fails if anything there is other than it was, or of it is in the store.
    #[track_caller]
    fn is_untouched(&self, live: &Live, after: &str) {
        assert_eq!(facts(&self.directory), self.before, "after {after}");
        assert_eq!(leaked(live), "", "after {after}");
    }
}

/// Files of the store that have the secret.
fn leaked(live: &Live) -> String {
    let mut command = std::process::Command::new("grep");
    command.args(["-rlF", "--binary-files=text", SECRET]).arg(live.root()).arg(live.dir.join("tmp"));
    String::from_utf8_lossy(&command.output().expect("run grep").stdout).into_owned()
}

/// Each file with all that a change would show, but for the time of the last look.
fn facts(directory: &Path) -> Vec<String> {
    let (mut pending, mut all) = (vec![directory.to_owned()], Vec::new());
    while let Some(path) = pending.pop() {
        let facts = fs::symlink_metadata(&path).expect("look at a file of the host");
        let content = if facts.is_file() { fs::read_to_string(&path).expect("read") } else { String::new() };
        let (mode, owner) = (facts.mode(), facts.uid());
        let times = (facts.mtime(), facts.mtime_nsec(), facts.ctime(), facts.ctime_nsec());
        all.push(format!("{} {} {mode:o} {owner} {times:?} {content}", path.display(), facts.ino()));
        if facts.is_dir() {
            pending.extend(fs::read_dir(&path).expect("list").map(|entry| entry.expect("an entry").path()));
        }
    }
    all.sort();
    all
}

/// Has two names change places until it is dropped.
struct Racer {
    end: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let (end, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counted) = (Arc::clone(&end), Arc::clone(&swaps));
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                // Either may be gone for a moment, or for good.
                if rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                // Others have the processors, too: what is looked at is to see both.
                std::thread::sleep(std::time::Duration::from_micros(30));
            }
        });
        Self { end, swaps, thread: Some(thread) }
    }

    fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[test]
fn a_context_that_changes_while_it_is_read_is_all_that_is_read() {
    let Some(live) = Live::new() else { return };
    let (base, canary) = (live.image("busybox"), Canary::new(&live));
    let context = context(&live, "context", &[("swap/file", "inside\n"), ("swap/deep/file", "inside\n")]);
    let tar = Run::of({
        let mut command = live.command("tar");
        command.arg("-C").arg(context.join("swap")).arg("-cf").arg(context.join("swap/a.tar")).arg("deep");
        command
    });
    tar.ok();
    let copies = [
        "COPY swap/file /x",
        "COPY swap /d/",
        "COPY . /all/",
        "COPY sw*/*/f* /pattern/",
        "COPY --parents swap/./**/file /parents/",
        "ADD swap/a.tar /unpacked/",
        "RUN --mount=src=swap,dst=/in cp -a /in /kept",
        "RUN --mount=src=swap/deep/file,dst=/in cat /in > /read",
    ];
    for (name, link) in [("absolute", canary.directory.as_path()), ("relative", Path::new("../host"))] {
        let away = context.join("away");
        if away.is_dir() && !away.is_symlink() {
            rustix::fs::renameat_with(CWD, &away, CWD, context.join("swap"), RenameFlags::EXCHANGE).expect("swap");
        }
        fs::remove_file(&away).ok();
        symlink(link, &away).expect("a link");
        let racer = Racer::start(context.join("swap"), away);
        let mut done = 0;
        for round in 0..rounds(40) {
            let copy = copies[usize::try_from(round).expect("small") % copies.len()];
            live.file("context/Dockerfile", format!("FROM {base}\n{copy}\n"));
            let end = build(&live, &context, &["--no-cache", "-t", "raced"]).run();
            // What leads out at that moment is refused, and so is what changes meanwhile.
            assert!(matches!(end.code, Some(0 | 1)) && !end.stderr.contains("panicked"), "{end}");
            done += u64::from(end.code == Some(0));
        }
        live.file("context/boxfile.toml", "[box]\nbase = \"rootfs:swap\"\n");
        for _ in 0..rounds(40) / 8 {
            build(&live, &context, &["-f", &context.join("boxfile.toml").to_string_lossy(), "-t", "tree"]).run();
        }
        assert!(racer.swaps() > 100 && done > 0, "{name}: {} swaps, {done} builds", racer.swaps());
        drop(racer);
        canary.is_untouched(&live, name);
    }
    // It would be seen.
    live.file("host/Dockerfile", format!("FROM {base}\nCOPY deep/file /x\n"));
    build(&live, &canary.directory, &["-t", "leak"]).ok();
    assert_ne!(leaked(&live), "");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// The directory of the cache that has `file` in it.
fn cache_with(live: &Live, file: &str) -> PathBuf {
    let caches = fs::read_dir(live.root().join("cache/mounts")).expect("list the caches");
    let mut files = caches.map(|entry| entry.expect("an entry").path().join("files"));
    files.find(|files| files.join(file).exists()).expect("the cache")
}

#[test]
fn caches_that_change_while_they_are_mounted_lead_nowhere_else() {
    let Some(live) = Live::new() else { return };
    let (base, canary) = (live.image("busybox"), Canary::new(&live));
    let make =
        format!("FROM {base}\nRUN --mount=type=cache,id=a,target=/a mkdir -p /a/swap/deep && echo in > /a/swap/file\n");
    let context = context(&live, "context", &[("Dockerfile", &make)]);
    build(&live, &context, &["-t", "x"]).ok();
    let cache = cache_with(&live, "swap");
    symlink(&canary.directory, cache.join("away")).expect("a link");
    let racer = Racer::start(cache.join("swap"), cache.join("away"));
    // Below a cache something else is mounted, on what is there and on what has to be made.
    let steps = [
        "RUN --mount=type=cache,id=a,target=/a --mount=type=tmpfs,target=/a/swap/deep touch /a/swap/deep/written",
        "RUN --mount=type=cache,id=a,target=/a --mount=type=cache,id=b,target=/a/swap/new/er touch /a/swap/new/er/written",
        "RUN --mount=type=cache,id=a,target=/a --mount=type=secret,id=s,target=/a/swap/secret cat /a/swap/secret",
        "RUN --mount=type=cache,id=a,target=/a --mount=src=Dockerfile,dst=/a/swap/file cat /a/swap/file > /read",
        "RUN --mount=type=cache,id=a,target=/a cat /a/swap/file > /read; echo x > /a/swap/file; rm -rf /a/swap/new; mkdir -p /a/swap/deep",
    ];
    let secret = format!("id=s,src={}", live.file("secret", "s").display());
    for round in 0..rounds(15) {
        let step = steps[usize::try_from(round).expect("small") % steps.len()];
        live.file("context/Dockerfile", format!("FROM {base}\n{step}\n"));
        let end = build(&live, &context, &["--no-cache", "-t", "raced", "--secret", &secret]).run();
        assert!(end.code.is_some_and(|code| code <= 1) && !end.stderr.contains("panicked"), "{end}");
    }
    assert!(racer.swaps() > 100, "{} swaps", racer.swaps());
    drop(racer);
    canary.is_untouched(&live, "builds with a cache that changes");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// The same by the means of a step: it has the cache that another one mounts below.
#[test]
fn stages_that_share_a_cache_cannot_lead_each_other_away() {
    let Some(live) = Live::new() else { return };
    let (base, canary) = (live.image("busybox"), Canary::new(&live));
    let swap = format!(
        "mkdir -p /c/swap/deep; ln -sfn {} /c/away; i=0; while [ $i -lt 300 ] && ! [ -e /c/end ]; do \
         mv /c/swap /c/t; mv /c/away /c/swap; mv /c/swap /c/away; mv /c/t /c/swap; i=$((i+1)); done; : ",
        canary.directory.display()
    );
    let below = "--mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/swap/deep";
    let left = format!(
        "RUN mkdir -p /o/real && echo inside > /o/real/file && ln -s {} /o/away && \
         (while :; do mv /o/real /o/t; mv /o/away /o/real; mv /o/real /o/away; mv /o/t /o/real; done &) ; sleep 0.2\n",
        canary.directory.display()
    );
    let dockerfile = |round: u64| {
        format!(
            "FROM {base} AS racer\nRUN --mount=type=cache,id=c,target=/c rm -f /c/end; {swap} {round}\n\
             {left}\
             FROM {base} AS victim\nRUN {below} touch /c/swap/deep/x\nRUN {below} touch /c/swap/deep/y\n\
             RUN --mount=type=cache,id=c,target=/c touch /c/end\n\
             FROM {base}\nCOPY --from=racer /o /all\nCOPY --from=victim /bin/sh /x\n"
        )
    };
    let context = context(&live, "context", &[]);
    for round in 0..rounds(4) {
        live.file("context/Dockerfile", dockerfile(round));
        let end = build(&live, &context, &["--no-cache", "-t", "raced"]).run();
        assert!(matches!(end.code, Some(0 | 1)) && !end.stderr.contains("panicked"), "{end}");
        canary.is_untouched(&live, "stages that race");
    }
    // What a step leaves running is gone before anything of it is copied.
    let dockerfile = format!(
        "FROM {base} AS racer\n{left}\
         FROM {base}\nCOPY --from=racer /o /all\nCOPY --from=racer /o/*/fil[e] /files/\n"
    );
    live.file("context/Dockerfile", dockerfile);
    for _ in 0..rounds(3) {
        build(&live, &context, &["--no-cache", "-t", "left"]).ok();
        assert_eq!(says(&live, "left", "cat /files/file; cat /all/*/file 2>/dev/null"), "inside\ninside");
    }
    canary.is_untouched(&live, "a step that leaves something running");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn caches_that_are_removed_while_they_change_take_nothing_along() {
    let Some(live) = Live::new() else { return };
    let (base, canary) = (live.image("busybox"), Canary::new(&live));
    let make = "mkdir -p /c/swap && cd /c/swap && i=0; while [ $i -lt 60 ]; do mkdir -p d$i/deep/er; touch d$i/file \
                d$i/deep/file; i=$((i+1)); done; chown -R 1000:1000 /c";
    let dockerfile = format!("FROM {base}\nRUN --mount=type=cache,id=c,target=/c {make}\n");
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    for round in 0..rounds(8) {
        build(&live, &context, &["--no-cache", "-t", "x"]).ok();
        let cache = cache_with(&live, "swap");
        symlink(&canary.directory, cache.join("away")).expect("a link");
        let inner = cache.join("swap/d7");
        symlink(&canary.directory, cache.join("swap/away")).expect("a link");
        let racers = [
            Racer::start(cache.join("swap"), cache.join("away")),
            Racer::start(inner.join("deep"), cache.join("swap/away")),
        ];
        std::thread::sleep(std::time::Duration::from_millis(5));
        live.pybox(["builder", "prune", "-f", "--all"]).run();
        drop(racers);
        canary.is_untouched(&live, &format!("round {round} of builder prune"));
        live.pybox(["builder", "prune", "-f", "--all"]).run();
    }
    canary.is_untouched(&live, "builder prune");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// What was made to mount on is removed after the step, which may have put a link in its way.
#[test]
fn places_that_were_made_are_removed_where_they_were_made() {
    let Some(live) = Live::new() else { return };
    let (base, canary) = (live.image("busybox"), Canary::new(&live));
    let host = canary.directory.display();
    let context = context(&live, "context", &[]);
    for (target, script) in [
        // Empty directories and files of these names are there on the host.
        ("/t/deep/er", format!("mv /t /u && ln -s {host} /t")),
        ("/t/deep/er", format!("mv /t/deep /u && ln -s {host}/deep /t/deep")),
        ("/t/deep/er", "mv /t /u && ln -s ../../../../../../../../.. /t".to_owned()),
        (&format!("{host}/deep/er"), "true".to_owned()),
        (&format!("/up/../../../{host}/deep/er"), "true".to_owned()),
    ] {
        for mount in ["type=cache,id=c", "type=tmpfs", "type=secret,id=s"] {
            let dockerfile = format!("FROM {base}\nRUN --mount={mount},target={target} {script}\n");
            live.file("context/Dockerfile", dockerfile);
            let secret = format!("id=s,src={}", live.file("secret", "s").display());
            let end = build(&live, &context, &["--no-cache", "-t", "x", "--secret", &secret]).run();
            assert!(end.code.is_some_and(|code| code <= 1) && !end.stderr.contains("panicked"), "{end}");
            canary.is_untouched(&live, &format!("{mount} at {target}, {script}"));
        }
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
