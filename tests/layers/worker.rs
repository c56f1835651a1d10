//! The worker as a process: what it may do, what it says, how it dies.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::Command;

use pybox::snapshot::failure::{Failure, SnapshotError};
use pybox::snapshot::remove;
use pybox::snapshot::worker::{Compression, Ids, Unpack, WorkerProgram};

use crate::bench::{Bench, is_root, small};
use crate::evil_tar::{Entry, Tar};

fn job() -> Unpack {
    Unpack { compression: Compression::None, diff_id: None, limits: small() }
}

/// A worker that waits for the rest of its input.
fn waiting(bench: &Bench) -> (pybox::snapshot::worker::Worker, std::io::PipeWriter) {
    let layer = std::fs::File::open(bench.layer()).expect("open");
    let (reader, writer) = std::io::pipe().expect("pipe");
    let worker = bench.program().unpack(&job(), layer.as_fd(), reader.as_fd()).expect("a worker");
    (worker, writer)
}

/// The pid of the one child of this process that is a worker.
fn worker_pid() -> u32 {
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent == Some(own.as_str()) {
            return entry.file_name().to_string_lossy().parse().expect("a pid");
        }
    }
    panic!("no worker");
}

#[test]
fn a_worker_has_given_up_what_it_does_not_need() {
    let bench = Bench::new();
    let (worker, mut writer) = waiting(&bench);
    writer.write_all(&Tar::new().file("first", "x").open_end()).expect("write");
    let pid = worker_pid();
    // Its second thread comes after everything else.
    for _ in 0..1000 {
        if std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count) == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_once(':').expect("a field").1.trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    // CHOWN DAC_OVERRIDE FOWNER FSETID MKNOD SETFCAP
    let expected = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 27 | 1_u64 << 31;
    assert_eq!(field("CapEff"), format!("{expected:016x}"));
    assert_eq!(field("CapPrm"), format!("{expected:016x}"));
    assert_eq!(field("CapInh"), format!("{:016x}", 0));
    assert_eq!(field("CapAmb"), format!("{:016x}", 0));
    if is_root() {
        let outside = bench.map().uids[0].outside;
        assert!(field("Uid").split_whitespace().all(|id| id == outside.to_string()));
        assert_eq!(field("Groups"), "");
        let root = std::fs::read_link(format!("/proc/{pid}/root")).expect("root");
        assert_eq!(root, bench.layer());
        for (namespace, path) in ["user", "mnt", "net", "ipc", "uts", "cgroup"].map(|name| (name, format!("ns/{name}")))
        {
            let theirs = std::fs::read_link(format!("/proc/{pid}/{path}")).expect(namespace);
            assert_ne!(theirs, std::fs::read_link(format!("/proc/self/{path}")).expect(namespace));
        }
    }
    drop(writer);
    assert!(worker.wait().is_ok(), "an archive may end without zeros");
}

#[test]
fn a_killed_worker_is_an_error_that_says_so() {
    let bench = Bench::new();
    let (worker, writer) = waiting(&bench);
    let pid = rustix::process::Pid::from_raw(worker_pid().try_into().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    let error = worker.wait().expect_err("killed");
    assert!(matches!(&error, SnapshotError::Lost(how) if how == "killed by signal 9"), "{error:?}");
    drop(writer);
}

#[test]
fn a_dropped_worker_is_gone() {
    let bench = Bench::new();
    let (worker, writer) = waiting(&bench);
    let pid = worker_pid();
    drop(worker);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    drop(writer);
}

#[test]
fn a_failed_worker_ends_the_stream() {
    let bench = Bench::new();
    let (worker, mut writer) = waiting(&bench);
    let written = (0..1000).try_for_each(|_| writer.write_all(&[b'x'; 65536]));
    assert_eq!(written.map_err(|error| error.kind()), Err(std::io::ErrorKind::BrokenPipe));
    assert!(matches!(worker.wait(), Err(SnapshotError::Job(Failure::Corrupt { .. }))));
}

#[test]
fn a_program_that_is_no_worker_is_an_error() {
    let bench = Bench::new();
    let layer = std::fs::File::open(bench.layer()).expect("open");
    let (ids, _) = crate::bench::ids();
    let run =
        |exe: &str| WorkerProgram::new(exe.into(), ids.clone()).unpack(&job(), layer.as_fd(), layer.as_fd()).map(drop);
    assert!(matches!(run("/nonexistent"), Err(SnapshotError::Spawn(_))));
    assert!(matches!(run("/bin/true"), Err(SnapshotError::Lost(how)) if how == "exit status 0"));
}

#[test]
fn removes_what_other_ids_own() {
    let bench = Bench::new();
    let locked = Entry::dir("locked").mode(0o700).owner(33, 33);
    let inner = Entry::file("locked/file", "x").mode(0).owner(34, 34);
    bench.accept(&Tar::new().add(locked).add(inner).dir("own").file(".wh.a", "").end());
    let layer = std::fs::File::open(bench.layer()).expect("open");
    bench.program().empty(layer.as_fd()).expect("emptied");
    assert_eq!(std::fs::read_dir(bench.layer()).expect("readable").count(), 0);
    bench.accept(&Tar::new().add(Entry::dir("locked").mode(0o700).owner(33, 33)).file("locked/in", "").end());
    remove::remove(&bench.layer(), &bench.program()).expect("removed");
    assert!(!bench.layer().exists());
}

#[test]
fn root_needs_no_user_namespace() {
    if !is_root() {
        // Not root: the kernel refuses the namespaces, and that is what is said.
        let bench = Bench::new();
        let layer = std::fs::File::open(bench.layer()).expect("open");
        let error = WorkerProgram::new(crate::bench::exe(), Ids::Own).empty(layer.as_fd()).expect_err("refused");
        assert!(matches!(error, SnapshotError::Namespaces(_)), "{error:?}");
        return;
    }
    let bench = Bench::with_ids(Ids::Own, pybox::model::host::IdMap::default());
    let device = Entry::new("null", b'3').device(1, 3).mode(0o666);
    bench.accept(&Tar::new().add(Entry::file("f", "x").owner(100_000, 7)).add(device).end());
    assert_eq!((bench.node("f").uid, bench.node("f").gid), (100_000, 7));
    assert_eq!(bench.node("null").kind, "file", "no device is made from an archive, not even for root");
}

#[test]
fn one_id_is_enough() {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let map = pybox::model::host::IdMap::of_one(uid, gid);
    let bench = Bench::with_ids(Ids::Mapped { map: map.clone(), helpers: None }, map);
    let archive = Tar::new()
        .add(Entry::file("f", "x").owner(33, 34).mode(0o4755))
        .add(Entry::hardlink("same", "f").owner(33, 34))
        .add(Entry::dir("d").owner(33, 0).mode(0o2755))
        .add(Entry::symlink("l", "f").owner(33, 33))
        .add(Entry::new("null", b'3').device(1, 3).mode(0o666))
        .add(Entry::file("twice", "x").owner(5, 5))
        .file("twice", "")
        .file("own", "");
    let unpacked = bench.accept(&archive.end());
    assert!(unpacked.warnings.is_empty(), "{:?}", unpacked.warnings);
    for path in ["f", "same", "d", "l", "null", "own"] {
        let node = bench.node(path);
        assert_eq!((node.uid, node.gid), (0, 0), "{path}");
        assert!(!node.attributes.contains_key(std::ffi::OsStr::new("user.pybox.override_stat")), "{path}");
    }
    assert_eq!((bench.node("f").mode, bench.node("d").mode), (0o4755, 0o2755));
    let noted = bench.owners();
    let record = |path: &str| noted.of(path.as_bytes()).map(|record| record.text());
    for (path, text) in [
        ("f", Some("33:34:104755")),
        ("same", Some("33:34:104755")),
        ("d", Some("33:0:42755")),
        ("l", Some("33:33:120777")),
        ("null", Some("0:0:20666:c-1-3")),
        ("twice", None),
        ("own", None),
    ] {
        assert_eq!(record(path).as_deref(), text, "{path}");
    }
}

/// Runs the tests of this file once more, as an ordinary user.
#[test]
fn all_of_this_as_an_ordinary_user() {
    if !is_root() {
        return;
    }
    let user = ["pyboxtest", "tester"].into_iter().find(|user| {
        let known = Command::new("getent").args(["passwd", user]).output().expect("getent").status.success();
        let subuid = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
        known && subuid.contains(&format!("{user}:"))
    });
    let user = user.expect("a user pyboxtest with a range in /etc/subuid: see CONTRIBUTING.md");
    let test = std::env::current_exe().expect("this program");
    let output = Command::new("setpriv")
        .args(["--reuid", user, "--regid", user, "--init-groups"])
        .arg(test)
        .args(["--test-threads", "1", "--skip", "all_of_this_as", "--skip", "random"])
        .current_dir("/")
        .output()
        .expect("setpriv");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("one_id_is_enough ... ok"), "{said}");
}
