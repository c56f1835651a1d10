//! Standard streams that are full, closed, or nobody reads; colours.

use std::process::Stdio;

use crate::harness::{TestEnvironment, assert_shows};

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let environment = TestEnvironment::new();
    for verb in [&["version"][..], &["info"], &["images"], &["--help"], &["run", "--help"], &["-v"], &[]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = environment.command(verb).stdout(Stdio::from(writer)).output().expect("pybox starts");
        assert_eq!(environment.shown(&output), "", "{verb:?}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let environment = TestEnvironment::new();
    for verb in ["version", "images", "info"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let output = environment.command(&[verb]).stdout(Stdio::from(full)).output().expect("pybox starts");
        let expected = "! pybox: write standard output: No space left on device\nexit 1\n";
        assert_eq!(environment.shown(&output), expected, "{verb}");
    }
}

#[test]
fn closed_streams_are_replaced() {
    let pybox = env!("CARGO_BIN_EXE_pybox");
    for (redirections, shown) in
        [("<&- >&- 2>&-", ""), ("<&-", "Version:"), ("2>&-", "Version:"), ("<&- 2>&-", "Version:")]
    {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &format!("exec \"$0\" version {redirections}"), pybox]).env_clear();
        let output = shell.output().expect("a shell starts");
        assert!(output.status.success() && output.stderr.is_empty(), "{redirections}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(shown), "{redirections}: {output:?}");
    }
}

#[test]
fn colours_only_where_they_are_wanted() {
    let plain = "! pybox: no image is given\n! hint: pybox run --rm -it debian:12 bash\nexit 125\n";
    let bold = "! pybox: no image is given\n! \u{1b}[1mhint:\u{1b}[0m pybox run --rm -it debian:12 bash\nexit 125\n";
    for (variables, shown) in [
        (&[("TERM", "xterm")][..], plain),
        (&[("CLICOLOR_FORCE", "1")], bold),
        (&[("CLICOLOR_FORCE", "0")], plain),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], plain),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")], bold),
    ] {
        let with = |environment: TestEnvironment, (name, value): &(&str, &str)| environment.with(name, value);
        assert_shows(&variables.iter().fold(TestEnvironment::new(), with), &[("run", shown)]);
    }
}

#[test]
fn archives_do_not_come_from_nothing() {
    let environment = TestEnvironment::new();
    let shown = environment.show(&["load"]);
    assert!(shown.starts_with("! pybox: ") && shown.ends_with("exit 1\n"), "{shown}");
}
