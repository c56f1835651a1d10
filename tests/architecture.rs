//! The rules of the house that a machine can keep: which room may know which,
//! where `unsafe`, async and printing may stand, how long a file may grow.
//! docs/ARCHITECTURE.md says why.
#![allow(clippy::expect_used, reason = "a test that cannot read the tree fails")]

mod architecture {
    pub(crate) mod rules;
    pub(crate) mod source;
}

use architecture::rules;
use architecture::source::Tree;

/// Fails with every breach of one rule at once, each with its file and line.
fn assert_kept(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}\n  {}\n", breaches.join("\n  "));
}

fn tree() -> Tree {
    Tree::read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn every_room_has_a_floor() {
    assert_kept(
        "a room (a file or directory right under src/) needs a line in FLOORS of tests/architecture/rules.rs",
        &rules::rooms_without_floor(&tree()),
    );
}

#[test]
fn arrows_point_down() {
    assert_kept(
        "a room uses only rooms of lower floors; rooms of one floor do not know each other (model and sys: model alone is free to all)",
        &rules::upward_arrows(&tree()),
    );
}

#[test]
fn rooms_form_no_circle() {
    assert_kept("rooms must not depend on each other in a circle", &rules::circles(&tree()));
}

#[test]
fn unsafe_stands_in_sys_alone() {
    assert_kept(
        "`unsafe` stands in src/sys alone: give what you need a safe door there",
        &rules::stray_unsafe(&tree()),
    );
}

#[test]
fn async_stands_where_it_is_needed() {
    assert_kept(
        "tokio and async stand in engine, registry, cli, daemon and monitor/client.rs alone",
        &rules::stray_async(&tree()),
    );
}

#[test]
fn the_library_does_not_print() {
    assert_kept(
        "printing is for src/cli and src/main.rs alone: return data or an error",
        &rules::stray_printing(&tree()),
    );
}

#[test]
fn the_library_reads_no_environment() {
    assert_kept(
        "the environment is read in src/cli and src/main.rs alone: take facts as arguments",
        &rules::stray_environment(&tree()),
    );
}

#[test]
fn files_stay_short() {
    assert_kept(
        "a file has at most 500 lines: cut it along a seam of docs/ARCHITECTURE.md",
        &rules::long_files(&tree()),
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    assert_kept("a file opens with `//!`: what it is for, what it does not do", &rules::silent_modules(&tree()));
}

#[test]
fn every_failpoint_is_used_by_a_test() {
    let tests = rules::text_of(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults"));
    let names = rules::failpoints(&tree());
    assert!(names.len() >= 40, "the sources have {} failpoints", names.len());
    let unused: Vec<_> = names.into_iter().filter(|name| !tests.contains(name.as_str())).collect();
    assert_kept("a failpoint is there for a test in tests/faults", &unused);
}

/// The program as it is shipped, where the tests are given it; else this build's, unless that was built to have them.
#[test]
fn what_is_shipped_has_no_failpoints() {
    let shipped = std::env::var_os("PYBOX_TEST_BINARY").filter(|_| !cfg!(feature = "failpoints"));
    let built = (!cfg!(feature = "failpoints")).then(|| env!("CARGO_BIN_EXE_pybox").into());
    let Some(program) = shipped.or(built) else { return };
    let names = rules::failpoints(&tree()).into_iter().chain(["PYBOX_FAILPOINT".to_owned()]);
    assert!(!rules::found_in(&program, ["pybox".to_owned()]).is_empty(), "what is looked at is no pybox");
    assert_kept("no release has failpoints (src/sys/failpoint.rs)", &rules::found_in(&program, names));
}

#[test]
fn no_drawer_for_odds_and_ends() {
    assert_kept(
        "names are words of the domain; utils, common, helpers, misc and manager are none",
        &rules::drawers(&tree()),
    );
}
