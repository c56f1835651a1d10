//! One environment a test: a home directory and a root of its own, and no
//! variable of the machine that runs the tests.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Where a test's pybox lives.
pub(crate) struct TestEnvironment {
    directory: TempDir,
    variables: Vec<(String, Option<String>)>,
    uid: Option<u32>,
}

impl TestEnvironment {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("home")).expect("a home");
        Self { directory, variables: Vec::new(), uid: None }
    }

    /// The same, with a variable set; it may name `$DIR`.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let value = value.replace("$DIR", &self.path().display().to_string());
        self.variables.push((name.to_owned(), Some(value)));
        self
    }

    /// The same, without a variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.push((name.to_owned(), None));
        self
    }

    /// The same as another user, which only root can be; none otherwise.
    pub(crate) fn run_as(mut self, uid: u32) -> Option<Self> {
        self.uid = Some(uid);
        rustix::process::geteuid().is_root().then_some(self)
    }

    /// The directory of the test.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file in the directory of the test.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// A pybox that is ready to start.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pybox"));
        command.args(arguments).env_clear().current_dir(self.path()).stdin(Stdio::null());
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.path().join("home")).env("TERM", "dumb");
        command.env("PYBOX_ROOT", self.path().join("root"));
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid).current_dir("/");
        }
        command
    }

    /// What `pybox ARGUMENTS` shows: standard output as it is, lines of
    /// standard error after `! `, and the exit code unless it is 0. The
    /// directory of the test reads `$DIR`.
    pub(crate) fn show(&self, arguments: &[&str]) -> String {
        self.shown(&self.command(arguments).output().expect("pybox starts"))
    }

    /// The same of a pybox that has ended.
    pub(crate) fn shown(&self, output: &Output) -> String {
        let mut text = String::from_utf8(output.stdout.clone()).expect("text");
        for line in String::from_utf8(output.stderr.clone()).expect("text").lines() {
            text.push_str(&format!("! {line}\n"));
        }
        match output.status.code() {
            Some(0) => {}
            Some(code) => text.push_str(&format!("exit {code}\n")),
            None => text.push_str(&format!("{}\n", output.status)),
        }
        text.replace(&self.path().display().to_string(), "$DIR")
    }
}

/// Compares what each line of words shows with what is expected.
pub(crate) fn assert_shows(environment: &TestEnvironment, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let shown = environment.show(&words);
        assert_eq!(shown, *expected, "\n$ pybox {line}\n{shown}");
    }
}
