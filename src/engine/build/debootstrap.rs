//! Bases that mmdebstrap makes: Debian's packages of a suite.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use super::Site;
use super::ledger::Turn;
use crate::build::key;
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::images::receive_archive;
use crate::engine::{Engine, host};
use crate::model::digest::{self, Digest};
use crate::model::platform::Platform;
use crate::monitor::record;
use crate::snapshot::remove;
use crate::store::Spool;
use crate::store::build_cache::CachedStep;
use crate::store::image::ImageLayer;

/// Where mmdebstrap works: the ids that it takes may enter, and a whole system has room.
const SCRATCH: &str = "/var/tmp";
/// How long mmdebstrap may tidy up where only it knows what it has mounted.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long processes that are killed may take to be gone from their directory.
const GONE: Duration = Duration::from_secs(1);

impl Site<'_> {
    /// Debian's packages of a suite, by mmdebstrap, which makes a user namespace of its own.
    pub(super) fn debootstrap(&mut self, suite: &str, events: &mut dyn FnMut(Event)) -> Result<ImageLayer, Failure> {
        let recipe = json!({ "debootstrap": suite, "epoch": self.build.epoch, "platform": Platform::host() });
        let key = key::of(&Digest::of(b""), &recipe, []);
        if !self.build.pull
            && let Some(layer) = self.known(&key)?.and_then(|cached| cached.layer)
        {
            return Ok(layer);
        }
        let claim = match self.ledger.turn(&key)? {
            Turn::Done(CachedStep { layer: Some(layer), .. }) => return Ok(layer),
            Turn::Done(_) => return Err(Failure::say(FailureKind::Internal, "the suite has no layer")),
            Turn::Mine(claim) => claim,
        };
        let spool = self.made_by_mmdebstrap(suite)?;
        let layer = self.imported(spool, events)?;
        let (created, step) = (record::now(), format!("debootstrap:{suite}"));
        let cached = CachedStep { layer: Some(layer.clone()), created, used: created, step };
        self.store.cache_step(&key, &cached)?;
        claim.done(cached);
        Ok(layer)
    }

    /// The archive that it writes.
    fn made_by_mmdebstrap(&self, suite: &str) -> Result<Spool, Failure> {
        let directories = self.engine.settings.helper_dirs.iter();
        let program = directories.map(|directory| directory.join("mmdebstrap")).find(|path| path.is_file());
        let program = program.ok_or_else(|| {
            let sentence = "the base is made by mmdebstrap, which is not installed";
            Failure::say(FailureKind::Host, sentence).hint(host::install("mmdebstrap"))
        })?;
        let failed = |error: io::Error| Failure::say(FailureKind::Host, format!("run {}: {error}", program.display()));
        let scratch = Scratch::new(self.engine)?;
        let mut spool = self.store.spool()?;
        let mut running = Running::start(self.command(suite, &program, &scratch)?).map_err(failed)?;
        let received = match running.child.stdout.take() {
            Some(output) => {
                let output = self.ledger.halt().heed(File::from(OwnedFd::from(output)));
                output.and_then(|output| receive_archive(output, &program, &mut spool))
            }
            None => Ok(()),
        };
        self.ledger.halt().check()?;
        let status = running.wait().map_err(failed)?;
        if !status.success() {
            let failure = Failure::say(FailureKind::Host, format!("mmdebstrap could not make {suite}: {status}"));
            return Err(failure.hint(format!("see what it says: mmdebstrap --variant=minbase {suite} /dev/null")));
        }
        received.map(|()| spool)
    }

    fn command(&self, suite: &str, program: &Path, scratch: &Scratch<'_>) -> Result<Command, Failure> {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("TMPDIR", &scratch.path);
        command.envs(self.build.proxies.iter().map(|(name, value)| (name, value)));
        if let Some(seconds) = self.build.epoch {
            command.env("SOURCE_DATE_EPOCH", seconds.to_string());
        }
        let mode = if is_root() { "root" } else { "unshare" };
        command.args(["--variant=minbase", "--format=tar", "--skip=output/dev", "--quiet"]);
        command.arg(format!("--mode={mode}")).args([suite, "-"]).args(sources_of(suite));
        let said = self.output.try_clone();
        let said = said.map_err(|error| Failure::say(FailureKind::Host, format!("copy a descriptor: {error}")))?;
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said);
        Ok(command)
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// mmdebstrap and all that it starts; ended when dropped.
struct Running {
    child: Child,
}

impl Running {
    /// In a group of its own: whoever presses ^C ends the build, and the build ends this.
    fn start(mut command: Command) -> io::Result<Self> {
        command.process_group(0).spawn().map(|child| Self { child })
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let group = Pid::from_child(&self.child);
        if is_root() {
            // It has mounted things in this machine's own directories, and takes them away if it is asked.
            let _ = kill_process_group(group, Signal::INT);
            let asked = Instant::now();
            while asked.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Who made a user namespace may signal all in it, whoever they are there.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A directory for it to work in; gone, with all in it, when dropped.
struct Scratch<'e> {
    engine: &'e Engine,
    path: PathBuf,
}

impl<'e> Scratch<'e> {
    fn new(engine: &'e Engine) -> Result<Self, Failure> {
        let mut bytes = [0; 8];
        let named = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        let path = Path::new(SCRATCH).join(format!("pybox-debootstrap-{}", digest::hex(&bytes)));
        let failed =
            |error: io::Error| Failure::say(FailureKind::Host, format!("make {} to work in: {error}", path.display()));
        named.map_err(|error| failed(error.into()))?;
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let scratch = Self { engine, path: path.clone() };
        // Its root is another id, who goes through and need not see what there is.
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o711)).map_err(|error| failed(error.into()))?;
        Ok(scratch)
    }

    /// Whether something is mounted in it, so that what is there may be another's.
    fn has_mounts(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let path = self.path.to_string_lossy();
        mounts.lines().any(|line| line.contains(&*path))
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let Ok(worker) = self.engine.worker() else { return };
        let begun = Instant::now();
        // What is left after that the system sweeps one day; there is nobody to tell.
        while !self.has_mounts() && remove::remove(&self.path, &worker).is_err() && begun.elapsed() < GONE {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Where packages of a suite come from: where this machine has its own from, if that is the suite.
fn sources_of(suite: &str) -> Option<String> {
    let files = ["/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"];
    files.into_iter().find_map(|path| {
        let text = std::fs::read_to_string(path).ok()?;
        let words = |line: &str| line.split_whitespace().any(|word| word == suite);
        let named = text.lines().filter(|line| !line.trim_start().starts_with('#')).any(words);
        named.then(|| path.to_owned())
    })
}
