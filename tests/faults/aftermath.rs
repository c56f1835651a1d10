//! The program with failpoints, and what has to hold after each fault.

use std::fs;
use std::path::PathBuf;

use crate::fixture::cache::{at, reachable};
use crate::fixture::{Result, skip};
pub(crate) use crate::harness::long;
use crate::harness::{Live, Outcome, Run, copied, processes_of};

/// No command takes longer, whatever has happened before it.
pub(crate) const PATIENCE: u64 = 10;

/// The world of a test with the program that has failpoints; the reason is told where there is none.
pub(crate) fn armed() -> Option<Live> {
    let live = Live::new()?;
    let linked = program().and_then(|built| {
        let copy = copied(&built, &reachable()?.join("faulty"))?;
        fs::hard_link(copy, faulty_program(&live)).map_err(at(&live.dir))
    });
    linked.map_err(|why| skip(&why)).ok().map(|()| live)
}

fn program() -> Result<PathBuf> {
    let built = || cfg!(feature = "failpoints").then(|| PathBuf::from(env!("CARGO_BIN_EXE_pybox")));
    let named = std::env::var_os("PYBOX_FAULTY_BINARY").map(PathBuf::from);
    named.or_else(built).ok_or_else(|| {
        "no program with failpoints: PYBOX_FAULTY_BINARY=$(scripts/build-faulty.sh | tail -n 1), \
         or run the tests with --features failpoints"
            .to_owned()
    })
}

fn faulty_program(live: &Live) -> PathBuf {
    live.dir.join("pybox-faulty")
}

/// `pybox ARGUMENTS…` with these failpoints armed.
pub(crate) fn faulty<'a>(live: &Live, points: &str, arguments: impl IntoIterator<Item = &'a str>) -> Run {
    let mut command = live.command(faulty_program(live));
    command.args(arguments).env("PYBOX_FAILPOINT", points);
    Run::of(command).within(PATIENCE)
}

/// An ordinary command, which must work now, in good time.
pub(crate) fn ordinary<'a>(live: &Live, arguments: impl IntoIterator<Item = &'a str>) -> Outcome {
    live.pybox(arguments).within(PATIENCE).run()
}

/// The images that a test needs, so that pulling is no part of it.
pub(crate) fn with_busybox(live: &Live) -> String {
    let image = live.image("busybox");
    live.pybox(["pull", "-q", &image]).ok();
    image
}

/// A field of `inspect`, if there is such a container.
pub(crate) fn field(live: &Live, name: &str, field: &str) -> Option<String> {
    let format = format!("{{{{{field}}}}}");
    let end = ordinary(live, ["inspect", "--type", "container", "--format", &format, name]);
    (end.code == Some(0)).then(|| end.text())
}

/// The invariants hold, after one repair at most, and nothing temporary lies about. Containers may run.
#[track_caller]
pub(crate) fn whole(live: &Live, after: &str) {
    let first = live.pybox(["check"]).within(30).run();
    if first.code != Some(0) {
        let repair = live.pybox(["check", "--repair"]).within(30).run();
        assert_eq!(repair.code, Some(0), "after {after}: {repair}");
    }
    let second = live.pybox(["check", "--full"]).within(60).run();
    assert!(second.code == Some(0) && second.stdout.is_empty(), "after {after}: {second}");
    assert_eq!(temporary(live), Vec::<PathBuf>::new(), "after {after}");
    assert_eq!(mounts(live), Vec::<String>::new(), "after {after}");
}

/// The same, and there is no container: no process, no directory is left of any.
#[track_caller]
pub(crate) fn gone(live: &Live, after: &str) {
    assert_eq!(ordinary(live, ["ps", "-aq"]).exits(0).text(), "", "after {after}");
    assert_eq!(live.leftovers(), Vec::<String>::new(), "after {after}");
    whole(live, after);
}

/// Nothing temporary lies about.
#[track_caller]
pub(crate) fn temporary_free(live: &Live, after: &str) {
    assert_eq!(temporary(live), Vec::<PathBuf>::new(), "after {after}");
}

/// Locks, and what is on its way to a place of its own.
fn temporary(live: &Live) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let root = live.root();
    let places = ["locks", "trash", "images/ingest", "images/layers", "images/blobs/sha256", "volumes", "containers"];
    for entry in places.iter().flat_map(|place| fs::read_dir(root.join(place)).into_iter().flatten().flatten()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let of_locks = entry.path().parent().is_some_and(|place| place.ends_with("locks") || place.ends_with("trash"));
        if of_locks || name.contains(".partial-") || name.ends_with(".lock") || name.starts_with(".new-") {
            found.push(entry.path());
        }
    }
    found.extend(fs::read_dir(live.dir.join("tmp")).into_iter().flatten().flatten().map(|entry| entry.path()));
    found.extend(fs::read_dir(live.dir.join("run")).into_iter().flatten().flatten().map(|entry| entry.path()));
    found
}

/// What is mounted in the test's directory, for all to see.
fn mounts(live: &Live) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let root = live.dir.display().to_string();
    text.lines().filter(|line| line.contains(&root)).map(str::to_owned).collect()
}

/// Processes of this test: the program's, and those in containers.
pub(crate) fn processes(live: &Live) -> Vec<u32> {
    processes_of(&live.dir, &live.store).into_iter().map(|(pid, _)| pid).collect()
}
