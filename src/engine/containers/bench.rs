//! Where a step of a build is done: a bundle that has no row, and that nobody else sees.
//!
//! A command runs as any container does, with the same filter, masks and network. Files are laid over
//! the layers by a worker in that root. What comes of either is in the upper directory, which becomes
//! a layer as that of a container does in `commit`.

mod secret;

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;

use super::changes::open_upper;
use super::copy::{finish, pipe};
use super::volumes::Volumes;
use super::{cgroup, commit, create, limits, start};
use crate::cgroup::driver::Choice;
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::halt::Halt;
use crate::engine::images::pressing::Press;
use crate::engine::{Engine, host};
use crate::model::container::ContainerRequest;
use crate::model::digest::Digest;
use crate::model::host::HostFacts;
use crate::model::id::ContainerId;
use crate::model::limits::{CgroupRequest, Limits};
use crate::model::platform::Platform;
use crate::model::storage::StorageDriver;
use crate::model::supervision::LogDriver;
use crate::monitor::client::{Idle, Session};
use crate::monitor::protocol::{Control, Event as Told, StopWish, WireError};
use crate::monitor::record::{self, Exit};
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::layers::Layers;
use crate::snapshot::worker::view::{Dress, Looked, MountPoint, Owners, Stage, Stub, Task};
use crate::snapshot::worker::{Worker, WorkerProgram};
use crate::spec::user;
use crate::store::Store;
use crate::store::bundle::Bundle;
use crate::store::image::{Image, ImageLayer};
use crate::sys::failpoint;

pub(in crate::engine) use secret::Secret;

/// Bytes of all paths that fit a pattern.
const MOST_FOUND: u64 = 256 << 20;

/// What a step stands on.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Ground<'g> {
    /// The layers so far, the lowest first.
    pub(in crate::engine) layers: &'g [ImageLayer],
    /// The configuration so far, as an image would have it.
    pub(in crate::engine) config: &'g [u8],
}

/// Something that fits a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Found {
    /// Whether it is a directory.
    pub(in crate::engine) directory: bool,
    /// Its path from the pivot on.
    pub(in crate::engine) below: String,
    /// The last part of its path.
    pub(in crate::engine) name: String,
    /// Where it stands, links in last place followed.
    pub(in crate::engine) path: PathBuf,
}

/// A bundle for one step; gone with it.
pub(in crate::engine) struct Bench<'e> {
    engine: &'e Engine,
    store: &'e Store,
    id: ContainerId,
    bundle: Bundle,
    image: Image,
    config: Vec<u8>,
    /// Of work on its files; a command has its own.
    facts: HostFacts,
    /// Numbers of the directories that were made for mounts.
    made: usize,
}

impl Engine {
    /// A place to do a step in.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) fn bench<'e>(&'e self, store: &'e Store, ground: Ground<'_>) -> Result<Bench<'e>, Failure> {
        // First what may fail: nobody removes a bundle that has no bench.
        let facts = host::facts(&ContainerRequest::default())?;
        let id = create::new_id()?;
        let bundle = create::new_bundle(store, &id)?;
        let image = Image::unfinished(Digest::of(ground.config), Platform::host(), ground.layers.to_vec());
        let config = ground.config.to_vec();
        Ok(Bench { engine: self, store, id, bundle, image, config, facts, made: 0 })
    }
}

impl Engine {
    /// Refuses limits of a build's commands that nobody would keep, before any of them is begun. Where we are in the cgroup
    /// that theirs are made in, we leave it now: later, monitors of stages that are made side by side would be in it, too.
    ///
    /// # Errors
    /// As those of `run`.
    pub(in crate::engine) fn make_room_for_commands(
        &self,
        limits: &Limits,
        cgroup: CgroupRequest,
    ) -> Result<(), Failure> {
        let mut request = ContainerRequest { limits: limits.clone(), cgroup, ..ContainerRequest::default() };
        limits::find_devices(&mut request.limits)?;
        let choice = self.choose_cgroup(&request)?;
        cgroup::check(&request, &choice)?;
        if let Choice::Below(below) = choice {
            below.vacate(std::process::id(), !limits.is_empty());
        }
        Ok(())
    }
}

impl Bench<'_> {
    /// Runs a command to its end, and returns its exit code; what it says goes to `output`. It is given `secrets`, which
    /// are written to no disk.
    ///
    /// # Errors
    /// If it cannot be started, or somebody interrupts it.
    pub(in crate::engine) fn run(
        &mut self,
        (mut request, secrets): (ContainerRequest, &[Secret<'_>]),
        (output, halt): (BorrowedFd<'_>, &Halt),
        events: &mut dyn FnMut(Event),
    ) -> Result<i32, Failure> {
        let config = create::without_volumes(create::parse_config(&self.config, &self.image)?);
        request.remove = true;
        request.log.driver = LogDriver::None;
        limits::find_devices(&mut request.limits)?;
        let choice = self.engine.choose_cgroup(&request)?;
        let cgroups_path = cgroup::oci_path(&choice, (&self.id, &request));
        Engine::settle_network(&mut request, &config, events)?;
        let mut facts = host::facts(&request)?;
        let network = Engine::connection(self.store, &request, &[], &mut facts)?;
        let layers = self.layers(&request, &facts)?;
        let made = (&self.bundle, &Volumes::default(), layers);
        let monitor = Idle::spawn_with(Some(output))?;
        let pending = self.engine.begin_cgroup(choice, (&self.id, &request), monitor.pid());
        let subject = (&self.id, &request, cgroups_path.as_deref());
        let filter = create::fill(self.store, made, (subject, &self.image), (&config, &facts), events)?;
        let container = create::row(&self.id, request, &self.image);
        let described = (&config, self.config.as_slice());
        let mut told = self.engine.start_of(self.store, (&container, network), &facts, described)?;
        (told.health, told.attached, told.bound) = (None, true, true);
        told.finish.clear();
        told.cgroup = pending.finish((&self.id, &container.request), monitor.pid())?;
        let private = secret::memory(secrets, &mut told.private)?;
        let filter = filter.as_ref().map(OwnedFd::as_fd);
        let fds: Vec<_> =
            [self.bundle.as_fd()].into_iter().chain(filter).chain(private.as_ref().map(OwnedFd::as_fd)).collect();
        let session = monitor.start(&told, &fds, &[])?;
        failpoint::reach!("build.command_told");
        let ended = stay(&session, halt);
        // Its last word is said: it goes away by itself.
        let finished = session.finish();
        let code = ended?;
        finished.map_err(|error| Failure::say(FailureKind::Internal, format!("wait for the monitor: {error}")))?;
        Ok(code)
    }

    /// Whether the kernel has killed a process of the last command for want of memory.
    pub(in crate::engine) fn was_short_of_memory(&self) -> bool {
        let exit = record::read::<Exit>(self.bundle.as_fd(), record::EXIT).ok().flatten();
        exit.is_some_and(|exit| exit.oom_killed)
    }

    fn layers(&self, request: &ContainerRequest, facts: &HostFacts) -> Result<(StorageDriver, Layers), Failure> {
        self.engine.layers_for(self.store, (request, facts), &self.store.layer_dirs(&self.image)?)
    }

    /// A worker that sees what the layers have, without what every container is given; and the way there.
    fn plain_stage(&self) -> Result<(WorkerProgram, Stage), Failure> {
        let image = self.store.layer_dirs(&self.image)?;
        if image.is_empty() {
            return self.stage(true);
        }
        let request = ContainerRequest::default();
        let (driver, layers) = self.engine.layers_of(self.store, (&request, &self.facts), &image)?;
        let (writable, place) = (Some((self.bundle.upper(), self.bundle.work())), self.bundle.rootfs());
        let worker = self.engine.worker_for(&self.facts);
        Ok((worker, Stage::Mounted { driver, layers, writable, binds: Vec::new(), place }))
    }

    /// A worker in the root of this bench, and the way there.
    fn stage(&self, writable: bool) -> Result<(WorkerProgram, Stage), Failure> {
        let (driver, layers) = self.layers(&ContainerRequest::default(), &self.facts)?;
        let writable = writable.then(|| (self.bundle.upper(), self.bundle.work()));
        let place = self.bundle.rootfs();
        let worker = self.engine.worker_for(&self.facts);
        Ok((worker, Stage::Mounted { driver, layers, writable, binds: Vec::new(), place }))
    }

    /// What stands at `path`.
    ///
    /// # Errors
    /// What the worker says.
    pub(in crate::engine) fn look(&self, path: &str) -> Result<Looked, Failure> {
        let (worker, stage) = self.stage(true)?;
        Ok(worker.look(stage, path.into(), &[])?)
    }

    /// What stands at `path` of the layers alone: what [`Bench::archive`] would find.
    ///
    /// # Errors
    /// What the worker says.
    pub(in crate::engine) fn look_below(&self, path: &str) -> Result<Looked, Failure> {
        let (worker, stage) = self.plain_stage()?;
        Ok(worker.look(stage, path.into(), &[])?)
    }

    /// Makes the places that a command's mounts need, and remembers how they are: see [`Bench::pack`].
    ///
    /// # Errors
    /// What the worker says.
    pub(in crate::engine) fn prepare(&self, places: Vec<MountPoint>) -> Result<Vec<Stub>, Failure> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let (worker, stage) = self.stage(true)?;
        Ok(worker.prepare(stage, places)?)
    }

    /// Unpacks what `pack` writes in the directory `path`, which is made if it is not there.
    ///
    /// # Errors
    /// What either side says.
    pub(in crate::engine) fn place(
        &self,
        (path, owner): (&str, (u32, u32)),
        pack: impl FnOnce(OwnedFd) -> Result<(), SnapshotError>,
    ) -> Result<(), Failure> {
        let (worker, stage) = self.stage(true)?;
        let (reader, writer) = pipe()?;
        let worker = worker.view(stage, Task::Place { path: path.into(), owner }, &[reader.as_fd()])?;
        drop(reader);
        finish(pack(writer), worker)
    }

    /// What fits a pattern, as [`Task::Find`] tells it.
    ///
    /// # Errors
    /// What the worker says.
    pub(in crate::engine) fn find(
        &self,
        parts: &[String],
        (pivot, deep): (usize, bool),
    ) -> Result<Vec<Found>, Failure> {
        let (worker, stage) = self.plain_stage()?;
        let (reader, writer) = pipe()?;
        let worker = worker.view(stage, Task::Find { parts: parts.to_vec(), pivot, deep }, &[writer.as_fd()])?;
        drop(writer);
        let mut text = Vec::new();
        let read = std::fs::File::from(reader).take(MOST_FOUND).read_to_end(&mut text);
        worker.done()?;
        read.map_err(|error| Failure::say(FailureKind::Host, format!("hear what was found: {error}")))?;
        let text = String::from_utf8_lossy(&text);
        let fields: Vec<&str> = text.split_terminator('\0').collect();
        let found = |fields: &[&str]| match fields {
            [kind, before, path, resolved] => Some(Found {
                directory: *kind == "d",
                below: path.get(before.parse::<usize>().ok()?..)?.trim_start_matches('/').to_owned(),
                name: path.rsplit('/').next().unwrap_or_default().to_owned(),
                path: resolved.into(),
            }),
            _ => None,
        };
        Ok(fields.chunks(4).filter_map(found).collect())
    }

    /// Begins to write an archive of `path`, which is called `name` there, to `writer`, without what is excluded.
    ///
    /// # Errors
    /// What the worker says.
    pub(in crate::engine) fn archive(
        &self,
        (path, name): (&Path, &str),
        (dress, exclude): (Dress, &[String]),
        writer: &OwnedFd,
    ) -> Result<Worker, Failure> {
        let (worker, stage) = self.plain_stage()?;
        let (name, exclude) = (name.to_owned(), exclude.to_vec());
        let task = Task::Archive { path: path.into(), name, dress, follow: true, cross: false, exclude };
        Ok(worker.view(stage, task, &[writer.as_fd()])?)
    }

    /// A new directory with what `pack` writes, to be mounted.
    ///
    /// # Errors
    /// What either side says.
    pub(in crate::engine) fn input(
        &mut self,
        pack: impl FnOnce(OwnedFd) -> Result<(), SnapshotError>,
    ) -> Result<PathBuf, Failure> {
        let path = self.directory()?;
        self.fill(&path, pack)?;
        Ok(path)
    }

    /// A new, empty directory of the user's.
    ///
    /// # Errors
    /// What the file system says.
    pub(in crate::engine) fn directory(&mut self) -> Result<PathBuf, Failure> {
        self.made += 1;
        let path = self.bundle.path().join(format!("input-{}", self.made));
        let failed =
            |error: std::io::Error| Failure::say(FailureKind::Store, format!("make {}: {error}", path.display()));
        std::fs::create_dir(&path).map_err(failed)?;
        let mode = rustix::fs::chmod(&path, Mode::from_raw_mode(0o755));
        mode.map_err(|error| failed(error.into()))?;
        Ok(path)
    }

    /// A new socket to be mounted, and where it is: `owner`'s, as the container counts.
    ///
    /// # Errors
    /// What the file system says, or a worker that gives it to its owner.
    pub(in crate::engine) fn socket(
        &mut self,
        owner: (u32, u32),
        mode: u32,
    ) -> Result<(UnixListener, PathBuf), Failure> {
        const NAME: &str = "socket";
        let path = self.directory()?;
        let failed =
            |error: std::io::Error| Failure::say(FailureKind::Store, format!("make {}: {error}", path.display()));
        let directory = open_upper(&path)?;
        // By its descriptor: paths of sockets are short (unix(7): 108 bytes).
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd())).map_err(failed)?;
        let flags = rustix::fs::AtFlags::empty();
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::chmodat(&directory, NAME, mode, flags).map_err(|error| failed(error.into()))?;
        // Where there is one id, all processes have it.
        if owner != (0, 0) && !self.facts.pretends() {
            let task = Task::Give { path: NAME.into(), owner, mode: mode.as_raw_mode() };
            self.engine.worker_for(&self.facts).view(Stage::Directory, task, &[directory.as_fd()])?.done()?;
        }
        Ok((listener, path.join(NAME)))
    }

    /// Unpacks what `pack` writes in a new directory of the host's.
    ///
    /// # Errors
    /// What either side says.
    pub(in crate::engine) fn fill(
        &self,
        path: &Path,
        pack: impl FnOnce(OwnedFd) -> Result<(), SnapshotError>,
    ) -> Result<(), Failure> {
        let worker = self.engine.worker_for(&self.facts);
        let (directory, (reader, writer)) = (open_upper(path)?, pipe()?);
        let task = Task::Extract { path: "/".into(), owners: Owners::Archive, root: true };
        let worker = worker.view(Stage::Directory, task, &[directory.as_fd(), reader.as_fd()])?;
        drop(reader);
        finish(pack(writer), worker)
    }

    /// What nobody else is called.
    pub(in crate::engine) fn id(&self) -> &ContainerId {
        &self.id
    }

    /// A new file of the bundle, to be mounted.
    ///
    /// # Errors
    /// What the file system says.
    pub(in crate::engine) fn file(&mut self, bytes: &[u8], mode: u32) -> Result<PathBuf, Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        self.made += 1;
        let path = self.bundle.path().join(format!("input-{}", self.made));
        let failed =
            |error: std::io::Error| Failure::say(FailureKind::Store, format!("make {}: {error}", path.display()));
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|error| failed(error.into()))?;
        Ok(path)
    }

    /// Whose files `user[:group]` are, by the account files of the layers.
    ///
    /// # Errors
    /// If there is no such user.
    pub(in crate::engine) fn owner(&self, spec: &str) -> Result<(u32, u32), Failure> {
        let layers = self.store.layer_dirs(&self.image)?;
        let passwd = create::account_file(&layers, "etc/passwd")?;
        let group = create::account_file(&layers, "etc/group")?;
        let user = user::resolve(spec, user::AccountFiles { passwd: &passwd, group: &group }, &[])?;
        Ok((user.uid, user.gid))
    }

    /// Writes what has changed as the archive of a layer; false if nothing has. `stubs` that nobody has
    /// touched are no change.
    ///
    /// # Errors
    /// What the worker or the store says.
    pub(in crate::engine) fn pack(
        &self,
        latest: Option<u64>,
        stubs: Vec<Stub>,
        press: &mut Press,
    ) -> Result<bool, Failure> {
        let (_, layers) = self.layers(&ContainerRequest::default(), &self.facts)?;
        let recorded = layers.owners.are_recorded();
        let (upper, work) = (open_upper(&self.bundle.upper())?, open_upper(&self.bundle.work())?);
        let (reader, writer) = pipe()?;
        let work = recorded.then(|| work.as_fd());
        let fds: Vec<_> = [upper.as_fd()].into_iter().chain(work).chain([writer.as_fd()]).collect();
        let worker = self.engine.worker_for(&self.facts);
        let worker = worker.view(Stage::Directory, Task::Layer { recorded, latest, stubs }, &fds)?;
        drop(writer);
        // The root itself is always there.
        Ok(commit::receive(reader, worker, press)? > 1)
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is garbage for later: it has no row, and no lock when we are gone.
        if let Ok(foreign) = self.store.remove_bundle(&self.id) {
            let _ = self.engine.remove_foreign(&foreign);
        }
    }
}

/// Waits for the end. A command of a build that is to end is killed: as first process of a container it would not hear
/// of most signals.
fn stay(session: &Session, halt: &Halt) -> Result<i32, Failure> {
    let mut halted = false;
    loop {
        let (monitor, asked) = (session.as_fd(), halt.as_fd());
        // What has been heard would be heard again and again.
        let asked = PollFd::new(&asked, if halted { PollFlags::empty() } else { PollFlags::IN });
        let mut fds = [PollFd::new(&monitor, PollFlags::IN), asked];
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::say(FailureKind::Internal, format!("poll: {error}"))),
        }
        let [monitor, asked] = fds.map(|fd| !fd.revents().is_empty());
        if asked {
            halted = true;
            // One that has ended by itself does not hear it.
            let _ = session.control(&Control::Stop(StopWish { signal: Some(9), grace: Some(0) }));
        }
        if !monitor {
            continue;
        }
        match session.next() {
            Ok(Told::Exited { .. }) if halted => return Err(Halt::failure()),
            Ok(Told::Exited { exit_code }) => return Ok(exit_code),
            Ok(Told::Failed { message, hint, exit_code }) => return Err(start::failed(message, hint, exit_code)),
            Ok(_) | Err(WireError::Content(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
