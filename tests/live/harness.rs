//! One test's world: a store of its own under a directory of the test user, the
//! program run as that user, its output captured, its end awaited with a limit.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::fixture::cache::{at, lock, reachable};
use crate::fixture::user::User;
use crate::fixture::{Result, debian, registry, skip};

/// Whether the numbers of SECURITY.md are wanted in full, which takes long.
pub(crate) fn long() -> bool {
    std::env::var_os("PYBOX_TEST_LONG").is_some_and(|value| value == "1")
}

/// The world of one test; removed when dropped.
pub(crate) struct Live {
    pub(crate) user: User,
    /// Of the test user, and not for others.
    pub(crate) dir: PathBuf,
    /// `PYBOX_ROOT`, in that directory unless a test has it elsewhere.
    pub(crate) store: PathBuf,
    /// `PYBOX_STORAGE_DRIVER` as the tests were given it: they hold for every driver. None where a test is about the
    /// choice itself.
    pub(crate) driver: Option<OsString>,
    registry: &'static str,
}

impl Live {
    /// Makes the world, or says why it cannot and skips the test.
    pub(crate) fn new() -> Option<Self> {
        User::find().and_then(Self::make).map_err(|why| skip(&why)).ok()
    }

    /// The world of a user who has no range of ids.
    pub(crate) fn plain() -> Option<Self> {
        User::plain().and_then(Self::make).map_err(|why| skip(&why)).ok()
    }

    fn make(user: User) -> Result<Self> {
        let registry = registry::address()?;
        let base = reachable()?;
        let dir = tempfile::Builder::new().prefix("t.").tempdir_in(&base).map_err(at(&base))?.keep();
        let store = dir.join("root");
        let driver = std::env::var_os("PYBOX_STORAGE_DRIVER");
        let live = Self { user, dir, store, driver, registry };
        for name in ["", "home", "run", "tmp"] {
            let path = live.dir.join(name);
            fs::create_dir_all(&path).map_err(at(&path))?;
            live.user.owns(&path, 0o700)?;
        }
        // A name of its own for the program: who runs it can then be found in /proc.
        let built = std::env::var_os("PYBOX_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_pybox").into());
        let program = live.program();
        fs::hard_link(copied(Path::new(&built), &base.join("program"))?, &program).map_err(at(&program))?;
        Ok(live)
    }

    /// What the root of a container is mounted as.
    pub(crate) fn root_kind(&self) -> &'static str {
        if self.driver.as_ref().is_some_and(|driver| driver == "fuse") { "fuse.overlay" } else { "overlay" }
    }

    /// The program under test.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.join("pybox")
    }

    /// `PYBOX_ROOT`.
    pub(crate) fn root(&self) -> PathBuf {
        self.store.clone()
    }

    /// `127.0.0.1:PORT/NAME`.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry)
    }

    /// The Debian image of the version that this machine has.
    pub(crate) fn debian(&self) -> String {
        let (_, version) = debian::archive().expect("made before the registry was filled");
        self.image(&format!("debian:{version}"))
    }

    /// A command of the test user in an environment that has nothing else in it.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(&self.dir);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.dir.join("home")).env("USER", &self.user.name).env("TERM", "xterm");
        command.env("XDG_RUNTIME_DIR", self.dir.join("run")).env("TMPDIR", self.dir.join("tmp"));
        command.env("PYBOX_ROOT", self.root());
        // Most tests are about something else, and a network takes time and a process.
        command.env("PYBOX_NETWORK", "none");
        if let Some(driver) = &self.driver {
            command.env("PYBOX_STORAGE_DRIVER", driver);
        }
        self.user.runs(&mut command);
        command
    }

    /// The same with the rights of the tests themselves: for scripts that mount something and then become the test user.
    pub(crate) fn privileged(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command(program);
        command.uid(nix::unistd::getuid().as_raw()).gid(nix::unistd::getgid().as_raw());
        command
    }

    /// `pybox ARGUMENTS…`, to be run.
    pub(crate) fn pybox<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let mut command = self.command(self.program());
        command.args(arguments);
        Run::of(command)
    }

    /// `pybox run --rm FLAGS… busybox sh -c SCRIPT`, to be run.
    pub(crate) fn sh(&self, flags: &[&str], script: &str) -> Run {
        let image = self.image("busybox");
        let flags = ["run", "--rm"].iter().chain(flags).copied();
        self.pybox(flags.chain([image.as_str(), "sh", "-c", script]))
    }

    /// A directory or file's parent of the test user for volumes and the like.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).expect("make a directory of the test");
        self.user.owns(&path, 0o755).expect("give it to the test user");
        path
    }

    /// A file of the test user.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, content).expect("write a file of the test");
        self.user.owns(&path, 0o644).expect("give it to the test user");
        path
    }

    /// Waits until a container has made `path`.
    pub(crate) fn awaits(&self, path: &Path, running: &mut Running) {
        let started = Instant::now();
        while !path.exists() {
            let ended = running.child.try_wait().expect("wait for a child");
            let late = started.elapsed() > Duration::from_secs(20);
            assert!(ended.is_none() && !late, "{} does not come: {}\n  {ended:?}", path.display(), running.line);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What of this test is still there: processes, mounts, containers' directories.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        // The program's last process may be about to end when the command returns.
        let started = Instant::now();
        loop {
            let mut left: Vec<_> = processes_of(&self.dir, &self.store).into_iter().map(|(_, what)| what).collect();
            left.extend(
                fs::read_dir(self.root().join("containers"))
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| format!("directory {}", entry.path().display())),
            );
            if left.is_empty() || started.elapsed() > Duration::from_secs(3) {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("PYBOX_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.dir.display());
            return;
        }
        // Detached containers of a test that has failed.
        for (pid, _) in processes_of(&self.dir, &self.store) {
            nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
        }
        if let Err(error) = self.user.removes(&self.dir) {
            eprintln!("remove {}: {error}", self.dir.display());
        }
    }
}

/// A command with what it reads and how long it may take.
pub(crate) struct Run {
    command: Command,
    stdin: Option<Vec<u8>>,
    typed: bool,
    limit: Duration,
}

impl Run {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Its input stays open, for [`Running::types`].
    pub(crate) fn typed(mut self) -> Self {
        self.typed = true;
        self
    }

    /// More than the minute that is usual.
    pub(crate) fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Any command of the test user.
    pub(crate) fn of(command: Command) -> Self {
        Self { command, stdin: None, typed: false, limit: Duration::from_secs(60) }
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Outcome {
        self.start().wait()
    }

    /// Runs to the end, which must be success; standard output without its last newline.
    pub(crate) fn ok(self) -> String {
        self.run().exits(0).text()
    }

    /// Starts in a process group of its own.
    pub(crate) fn start(mut self) -> Running {
        let line = format!("{:?}", self.command);
        let input = if self.stdin.is_some() || self.typed { Stdio::piped() } else { Stdio::null() };
        self.command.process_group(0).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        if let Some(bytes) = self.stdin
            && let Some(mut pipe) = child.stdin.take()
        {
            // A program that does not read its input is free to do so.
            std::thread::spawn(move || pipe.write_all(&bytes).ok());
        }
        let (shown, told) = (Arc::default(), Arc::default());
        let stdout = drain(child.stdout.take(), Arc::clone(&shown));
        let stderr = drain(child.stderr.take(), Arc::clone(&told));
        Running { child, line, shown, told, stdout, stderr, end: Instant::now() + self.limit }
    }
}

/// A command that has been started.
pub(crate) struct Running {
    child: Child,
    line: String,
    shown: Arc<Mutex<Vec<u8>>>,
    told: Arc<Mutex<Vec<u8>>>,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
    end: Instant,
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Sends a signal to the program alone.
    pub(crate) fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("send a signal");
    }

    /// Sends it a signal for the container; false if it has ended.
    pub(crate) fn passes_on(&mut self, signal: Signal) -> bool {
        let lives = self.child.try_wait().expect("wait for a child").is_none();
        if lives {
            self.signal(signal);
        }
        lives
    }

    /// Types into a command that is [`Run::typed`].
    pub(crate) fn types(&mut self, text: &str) {
        let pipe = self.child.stdin.as_mut().expect("input that is open");
        pipe.write_all(text.as_bytes()).expect("type");
    }

    /// Whether standard output has `words` by now.
    pub(crate) fn has_shown(&self, words: &str) -> bool {
        has(&self.shown, words)
    }

    /// Waits until standard output has `words`.
    #[track_caller]
    pub(crate) fn shows(&self, words: &str) {
        self.comes_in(&self.shown, words);
    }

    /// Waits until standard error has `words`.
    #[track_caller]
    pub(crate) fn tells(&self, words: &str) {
        self.comes_in(&self.told, words);
    }

    #[track_caller]
    fn comes_in(&self, output: &Mutex<Vec<u8>>, words: &str) {
        while !has(output, words) {
            let so_far = || String::from_utf8_lossy(&output.lock().expect("output")).into_owned();
            assert!(Instant::now() < self.end, "{}\n  never showed \"{words}\"; it showed\n{}", self.line, so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end; a command over its limit is killed and fails the test.
    pub(crate) fn wait(mut self) -> Outcome {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for a child") {
                break Some(status);
            }
            if Instant::now() > self.end {
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        if status.is_none() {
            killpg(self.pid(), Signal::SIGKILL).ok();
            self.child.wait().ok();
        }
        let line = self.line;
        let collect = |from: &mpsc::Receiver<Vec<u8>>| from.recv_timeout(Duration::from_secs(5));
        let (stdout, stderr) = (collect(&self.stdout), collect(&self.stderr));
        let said = String::from_utf8_lossy(stderr.as_deref().unwrap_or_default()).into_owned();
        let status = status.unwrap_or_else(|| panic!("{line}\n  took too long; standard error so far:\n{said}"));
        let stdout = stdout.unwrap_or_else(|_| panic!("{line}\n  ended, and somebody still holds its standard output"));
        Outcome { line, code: status.code(), signal: status.signal(), stdout, stderr: said }
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Outcome {
    line: String,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that standard error has `words`, letter case aside.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.to_lowercase().contains(&words.to_lowercase()),
            "no \"{words}\" in the standard error of {self}"
        );
        self
    }

    /// Asserts a clean refusal: the exit code, `words` in it, a hint, and neither panic nor a half-made store.
    #[track_caller]
    pub(crate) fn refuses(self, code: i32, words: &str) -> Self {
        let said = self.exits(code).says(words);
        assert!(!said.stderr.contains("panicked"), "{said}");
        assert!(said.stderr.to_lowercase().contains("hint:"), "a refusal without a hint: {said}");
        said
    }

    /// Standard output as text, without its last newline.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.stdout);
        text.strip_suffix('\n').unwrap_or(&text).to_owned()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.code.map_or_else(|| format!("signal {:?}", self.signal), |code| format!("code {code}"));
        let out = String::from_utf8_lossy(&self.stdout);
        write!(f, "{}\n  ended with {end}\n--- stdout\n{out}\n--- stderr\n{}\n---", self.line, self.stderr)
    }
}

fn has(output: &Mutex<Vec<u8>>, words: &str) -> bool {
    String::from_utf8_lossy(&output.lock().expect("output")).contains(words)
}

fn drain(pipe: Option<impl Read + Send + 'static>, shown: Arc<Mutex<Vec<u8>>>) -> mpsc::Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut part = vec![0; 64 * 1024];
        if let Some(mut pipe) = pipe {
            while let Ok(count @ 1..) = pipe.read(&mut part) {
                shown.lock().expect("output").extend_from_slice(&part[..count]);
            }
        }
        tell.send(std::mem::take(&mut *shown.lock().expect("output"))).ok();
    });
    told
}

/// How old a copy of the program is that nobody is about to link to.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// A program, in `place`, where the test user can reach it: the checkout may lie under /root.
pub(crate) fn copied(built: &Path, place: &Path) -> Result<PathBuf> {
    let facts = fs::metadata(built).map_err(at(built))?;
    let changed = facts.modified().map_err(at(built))?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let name = format!("{}-{}", facts.len(), changed.as_nanos());
    fs::create_dir_all(place).map_err(at(place))?;
    let _held = lock(&place.with_extension("lock"))?;
    for entry in fs::read_dir(place).map_err(at(place))?.flatten() {
        // Of an earlier build; tests that still run it have links of their own. One that is young
        // may be another checkout's, whose tests are about to make theirs.
        let age = entry.metadata().ok().and_then(|facts| facts.modified().ok()?.elapsed().ok()).unwrap_or_default();
        if age > FORGOTTEN && !entry.file_name().to_string_lossy().starts_with(&name) {
            fs::remove_file(entry.path()).map_err(at(place))?;
        }
    }
    let copy = place.join(&name);
    if !copy.exists() {
        let partial = place.join(format!("{name}.new"));
        fs::copy(built, &partial).map_err(at(&partial))?;
        fs::set_permissions(&partial, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(at(&partial))?;
        fs::rename(&partial, &copy).map_err(at(&copy))?;
    }
    Ok(copy)
}

/// Processes that run the test's program or have mounts of the test's directory.
pub(crate) fn processes_of(dir: &Path, store: &Path) -> Vec<(u32, String)> {
    let marker = dir.to_string_lossy().into_owned();
    // A store elsewhere may be mounted itself; a container is an overlay over it.
    let upper = format!("upperdir={}", store.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let mounts = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        // A monitor is executed from memory; its working directory is the bundle.
        let place = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let ours = program.starts_with(dir) || place.starts_with(dir) || place.starts_with(store);
        if ours || mounts.contains(&marker) || mounts.contains(&upper) {
            found.push((pid, format!("process {pid} ({})", program.display())));
        }
    }
    found
}
