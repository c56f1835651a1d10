//! Parts that run in a process of their own: started by other tests, told by
//! the environment where the store is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Store;
use crate::store::Access;

const ROOT: &str = "PYBOX_TEST_STORE";
const EXTRA: &str = "PYBOX_TEST_EXTRA";

/// The command that runs the ignored test `name` of this room on the store at `root`.
pub(super) fn command(name: &str, root: &Path, extra: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    arguments(&mut command, name).env(ROOT, root).env(EXTRA, extra).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same in a mount namespace where `script` has run before, with `$ROOT` in it.
pub(super) fn command_after(script: &str, name: &str, root: &Path) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-ec", &format!("ROOT=${ROOT}; {script}; exec \"$@\""), "sh"]);
    command.arg(std::env::current_exe().expect("this program"));
    arguments(&mut command, name).env(ROOT, root).env(EXTRA, "").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn arguments<'c>(command: &'c mut Command, name: &str) -> &'c mut Command {
    command.args(["--exact", &format!("store::tests::{name}"), "--ignored", "--nocapture", "--test-threads=1"])
}

/// Runs to the end and must succeed.
pub(super) fn succeed(mut command: Command) {
    let output = command.output().expect("a child");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "no such test: {}", text(&output.stdout));
}

/// In the child: where the store is.
pub(super) fn root() -> PathBuf {
    std::env::var_os(ROOT).expect("started by another test").into()
}

/// In the child: what the parent wants to say besides.
pub(super) fn extra() -> String {
    std::env::var(EXTRA).expect("started by another test")
}

/// In the child: the store.
pub(super) fn store() -> Store {
    Store::open(&root(), Access::Write).expect("the store")
}
