//! The Tab key: what is installed for a shell, and the words it is offered.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::harness::{TestEnvironment, assert_shows};

/// The words that a shell is offered for a line whose last word is being written.
fn offered(environment: &TestEnvironment, line: &[&str]) -> Vec<String> {
    let mut command = environment.command(&["--", "pybox"]);
    command.args(line).env("_PYBOX_COMPLETE", "bash").env("_CLAP_IFS", "\n");
    let output = command.env("_CLAP_COMPLETE_INDEX", line.len().to_string()).output().expect("pybox starts");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{line:?}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// A root file system with one file, as an archive.
fn archive(environment: &TestEnvironment) -> String {
    let files = environment.path().join("files");
    std::fs::create_dir(&files).expect("made");
    std::fs::write(files.join("a"), "a").expect("written");
    let path = environment.path().join("rootfs.tar");
    let status = Command::new("tar").arg("-cf").arg(&path).arg("-C").arg(&files).arg(".").status().expect("tar");
    assert!(status.success());
    path.display().to_string()
}

#[test]
fn verbs_and_flags_are_offered_and_nothing_is_made() {
    let environment = TestEnvironment::new();
    assert_eq!(offered(&environment, &["unp"]), ["unpause"]);
    assert_eq!(offered(&environment, &["volume", "cr"]), ["create"]);
    assert_eq!(offered(&environment, &["ps", "--no-t"]), ["--no-trunc"]);
    for line in [&["stop", "a"][..], &["rmi", "a"], &["volume", "rm", "a"], &["exec", "a"], &["run", "a"]] {
        assert_eq!(offered(&environment, line), [""; 0], "{line:?}");
    }
    assert!(!environment.path().join("root").exists(), "a key that is pressed makes no store");
}

#[test]
fn problems_are_silent() {
    let environment = TestEnvironment::new().with("PYBOX_ROOT", "relative");
    assert_eq!(offered(&environment, &["rm", "a"]), [""; 0]);
    let unknown = environment.command(&["--", "pybox", ""]).env("_PYBOX_COMPLETE", "tcsh").output().expect("starts");
    assert_eq!((unknown.status.code(), unknown.stdout.len(), unknown.stderr.len()), (Some(0), 0, 0));
}

#[test]
fn volumes_are_offered() {
    let environment = TestEnvironment::new();
    assert_shows(&environment, &[("volume create data", "data\n"), ("volume create dark", "dark\n")]);
    let mut words = offered(&environment, &["volume", "rm", "da"]);
    words.sort();
    assert_eq!(words, ["dark", "data"]);
    assert_eq!(offered(&environment, &["volume", "inspect", "dat"]), ["data"]);
}

#[test]
fn what_is_written_for_each_shell() {
    let environment = TestEnvironment::new();
    assert_shows(
        &environment,
        &[
            (
                "--install-completion bash",
                "wrote $DIR/home/.local/share/bash-completion/completions/pybox: \
                open a new terminal (needs the package bash-completion)\n",
            ),
            (
                "--install-completion zsh",
                "wrote $DIR/home/.local/share/zsh/site-functions/_pybox: \
                put fpath=($DIR/home/.local/share/zsh/site-functions $fpath) before compinit in ~/.zshrc, \
                and open a new terminal\n",
            ),
            ("--install-completion fish", "wrote $DIR/home/.config/fish/completions/pybox.fish: open a new terminal\n"),
        ],
    );
    let refused = environment.show(&["--install-completion", "tcsh"]);
    assert!(refused.contains("invalid value 'tcsh'"), "{refused}");
    let fish = std::fs::read_to_string(environment.path().join("home/.config/fish/completions/pybox.fish"));
    assert!(fish.expect("written").contains("_PYBOX_COMPLETE=fish pybox"));
}

#[test]
fn bash_completes_by_what_was_installed() {
    let environment = TestEnvironment::new();
    environment.show(&["--install-completion", "bash"]);
    let archive = archive(&environment);
    let imported = environment.show(&["import", &archive, "tab-test:1"]);
    assert!(imported.starts_with("sha256:") && !imported.contains("exit "), "{imported}");
    let programs = environment.path().join("bin");
    std::fs::create_dir(&programs).expect("made");
    symlink(env!("CARGO_BIN_EXE_pybox"), programs.join("pybox")).expect("linked");
    let script = "source \"$HOME/.local/share/bash-completion/completions/pybox\"\n\
        COMP_WORDS=(pybox rmi tab) COMP_CWORD=2 COMP_TYPE=9\n\
        complete -p pybox >/dev/null || exit 1\n\
        _clap_complete_pybox pybox tab rmi; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script]).env_clear().env("HOME", environment.path().join("home"));
    bash.env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .env("PYBOX_ROOT", environment.path().join("root"));
    let output = bash.output().expect("bash");
    assert_eq!(environment.shown(&output), "tab-test:1\n");
}
