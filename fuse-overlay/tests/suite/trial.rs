//! One test: layers made, mounted, all steps run inside, the answers held against the table.

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User, getuid};

use crate::inside::{Told, again};
use crate::script::{Case, parse};
use crate::systems::{Place, System, enter, lacks_front, namespace, why_not};

/// Directories of one test, removed when dropped.
pub(crate) struct Trial {
    pub(crate) told: Told,
    cases: Vec<Case>,
}

/// Says that a test is skipped and why; with `CI=true` nothing may be skipped.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "nothing may be skipped in CI: {why}");
    eprintln!("SKIPPED: {why}");
}

/// Whether a file system is not to be had; says why.
pub(crate) fn cannot(system: System) -> bool {
    if lacks_front(system) {
        // Not a lack of this machine: the example was built without it.
        eprintln!("built without the front end of {}", system.name());
        return true;
    }
    let why = why_not(system);
    if let Some(why) = &why {
        skip(why);
    }
    why.is_some()
}

/// How many times as long the random tests are to run.
pub(crate) fn long() -> usize {
    std::env::var("PYBOX_SUITE_LONG").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Whether the cases of a table hold on a file system.
pub(crate) fn judge(system: System, table: &str) {
    if cannot(system) {
        return;
    }
    let wrong = Trial::new(system, &chosen(table)).run();
    assert!(
        wrong.is_empty(),
        "{} answers on {} that are not the table's:\n{}",
        wrong.len(),
        system.name(),
        wrong.iter().take(30).map(String::as_str).collect::<Vec<_>>().join("\n")
    );
}

impl Trial {
    /// Makes the layers.
    pub(crate) fn new(system: System, table: &str) -> Self {
        let base = reachable();
        let dir = tempfile::Builder::new().prefix("suite.").tempdir_in(base).expect("a directory").keep();
        owned(&dir);
        let told = Told { place: Place { dir }, system, phase: 0 };
        std::fs::write(told.cases(), table).expect("write the cases");
        let trial = Self { told, cases: parse(table).expect("a table") };
        trial.part("prepare", &namespace(system));
        trial
    }

    /// One mount after the other; what was answered otherwise than the table says.
    pub(crate) fn run(mut self) -> Vec<String> {
        let phases = self.cases.iter().map(|case| case.phases.len()).max().unwrap_or(0);
        let mut wrong = Vec::new();
        for phase in 0..phases {
            self.told.phase = phase;
            let prefix = enter(self.told.system, &self.told.place);
            self.part("run", &prefix);
            wrong.extend(self.wrong());
        }
        wrong
    }

    /// A command line of the test user that begins with `prefix`.
    pub(crate) fn command(&self, prefix: &[std::ffi::OsString], command: &Command) -> Command {
        let mut whole = Command::new(&prefix[0]);
        whole.args(&prefix[1..]).arg(command.get_program()).args(command.get_args());
        whole.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        whole.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        whole.env("HOME", &self.told.place.dir).current_dir(&self.told.place.dir).stdin(Stdio::null());
        self.told.tell(&mut whole);
        as_user(&mut whole);
        whole
    }

    /// This program in a part, awaited.
    fn part(&self, role: &str, prefix: &[std::ffi::OsString]) {
        let part = again(role).expect("this program");
        let (status, said) = awaited(&mut self.command(prefix, &part), Duration::from_secs(240));
        let answered = role == "run" && self.told.answers().exists();
        assert!(status.success() || answered, "{role} on {}: {status}\n{said}", self.told.system.name());
        if !status.success() {
            eprintln!("{role} on {}: {status}\n{said}", self.told.system.name());
        }
    }

    fn wrong(&self) -> Vec<String> {
        let answers = std::fs::read_to_string(self.told.answers()).expect("the answers");
        let mut given = answers.lines().map(|line| {
            let mut parts = line.splitn(3, '\t');
            let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok()).expect("a number");
            (number(), number(), line.splitn(3, '\t').nth(2).unwrap_or_default())
        });
        let mut wrong = Vec::new();
        let system = self.told.system;
        for (number, case) in self.cases.iter().enumerate().filter(|(_, case)| !case.skips(system)) {
            for (index, step) in case.phases.get(self.told.phase).into_iter().flatten().enumerate() {
                let answer = given.next().filter(|given| (given.0, given.1) == (number, index));
                let answer = answer.map_or("nothing: the program ended", |(_, _, answer)| answer);
                let expected = step.expected(system);
                if answer != expected {
                    let (expected, answer) = what_differs(expected, answer);
                    wrong.push(format!("{}: {} => {expected}\n    but got: {answer}", case.name, step.line));
                }
                if answer.starts_with("no answer") {
                    break;
                }
            }
        }
        wrong
    }
}

/// Of two trees, only the entries that are not in both.
fn what_differs(expected: &str, answer: &str) -> (String, String) {
    if !expected.starts_with(".|dir") || !answer.starts_with(".|dir") {
        return (expected.into(), answer.into());
    }
    let only = |these: &str, others: &str| {
        let others: Vec<_> = others.split(' ').collect();
        let each: Vec<_> = these.split(' ').filter(|entry| !others.contains(entry)).collect();
        format!("… {}", each.join(" "))
    };
    (only(expected, answer), only(answer, expected))
}

impl Drop for Trial {
    fn drop(&mut self) {
        let dir = &self.told.place.dir;
        if std::thread::panicking() && std::env::var_os("PYBOX_TEST_KEEP").is_some() {
            eprintln!("kept: {}", dir.display());
            return;
        }
        // Files of the user's other ids first; the directory itself is in one of the tests.
        let system = self.told.system;
        let mut remove = Command::new("find");
        remove.arg(dir).args(["-mindepth", "1", "-delete"]);
        self.command(&namespace(system), &remove).current_dir("/").status().ok();
        std::fs::remove_dir_all(dir).ok();
    }
}

/// The cases that somebody has asked for, or all.
fn chosen(table: &str) -> String {
    let Ok(part) = std::env::var("PYBOX_SUITE_CASE") else { return table.into() };
    let mut chosen = String::new();
    for case in table.split("\n== ").skip(usize::from(!table.starts_with("== "))) {
        let case = case.trim_start_matches("== ");
        if case.lines().next().is_some_and(|name| name.contains(&part)) {
            writeln!(chosen, "== {case}").expect("write to a string");
        }
    }
    chosen
}

/// A directory that the test user can reach; the same as for pybox's live tests.
pub(crate) fn reachable() -> PathBuf {
    let base = std::env::var_os("PYBOX_TEST_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let dir = base.join(format!("pybox-tests-{}", getuid()));
    std::fs::create_dir_all(&dir).expect("make the directory of tests");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("open it for walking through");
    dir
}

fn account() -> Option<User> {
    getuid().is_root().then(|| User::from_name("pyboxtest").ok().flatten().expect("run scripts/test-user.sh"))
}

fn owned(dir: &Path) {
    if let Some(user) = account() {
        chown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("give it to the test user");
    }
}

fn as_user(command: &mut Command) {
    if let Some(user) = account() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
}

/// Runs in a process group of its own, which does not outlive the limit.
pub(crate) fn awaited(command: &mut Command, limit: Duration) -> (ExitStatus, String) {
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start a program");
    let mut readers = Vec::new();
    let pipes: [Option<Box<dyn Read + Send>>; 2] =
        [child.stdout.take().map(|pipe| Box::new(pipe) as _), child.stderr.take().map(|pipe| Box::new(pipe) as _)];
    for mut pipe in pipes.into_iter().flatten() {
        readers.push(std::thread::spawn(move || {
            let mut said = Vec::new();
            pipe.read_to_end(&mut said).ok();
            String::from_utf8_lossy(&said).into_owned()
        }));
    }
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait for a program") {
            break status;
        }
        if started.elapsed() > limit {
            killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).ok();
            break child.wait().expect("wait for a program");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let said: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap_or_default()).collect();
    (status, said.join("\n"))
}
