//! `cp`: files between a container and the host.
//!
//! One side writes an archive into a pipe, the other unpacks it. The container's side is a
//! worker within the container's root; the host's side, where files are written, is a worker
//! whose root is the directory they go to. What a container answers can so change nothing
//! but what was asked for.

mod target;

use std::io::IsTerminal as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use self::target::{Found, Target};
use super::view::{Purpose, View};
use crate::engine::Engine;
use crate::engine::api::{Copied, CopyFiles, Failure, FailureKind, Place};
use crate::engine::host;
use crate::model::container::UserNamespace;
use crate::model::host::IdMap;
use crate::snapshot::failure::{Failure as Job, SnapshotError};
use crate::snapshot::pack::{self, Style};
use crate::snapshot::worker::view::{Dress, FileKind, Owners, Stage, Task};
use crate::snapshot::worker::{Ids, Worker, WorkerProgram};
use crate::store::{Access, Store};

/// One end, looked at.
enum End {
    Container(Box<View>),
    Host,
}

impl Engine {
    pub(in crate::engine) fn copy_files(&self, copy: &CopyFiles) -> Result<Copied, Failure> {
        let store = self.store(Access::Read)?;
        match (&copy.from, &copy.to) {
            (Place::Standard, Place::Container { name, path }) => self.unpack_standard(&store, name, path),
            (Place::Container { name, path }, Place::Standard) => self.pack_standard(&store, (name, path), copy.follow),
            (Place::Standard, _) | (_, Place::Standard) | (Place::Host(_), Place::Host(_)) => {
                let sentence = "one of source and destination has to be in a container";
                Err(Failure::say(FailureKind::Invalid, sentence).hint("pybox cp web:/etc/hostname .".to_owned()))
            }
            (from, to) => self.copy_between(&store, (from, to), copy),
        }
        .map(|()| Copied {})
    }

    /// Unpacks what `pack` writes in a directory of the host's, as the user, whose all files are then.
    ///
    /// # Errors
    /// What either side says.
    pub(in crate::engine) fn extract_for_user(
        &self,
        into: &std::fs::File,
        pack: impl FnOnce(OwnedFd) -> Result<(), SnapshotError>,
    ) -> Result<(), Failure> {
        let (reader, writer) = pipe()?;
        let task = Task::Extract { path: "/".into(), owners: Owners::Root, root: false };
        let worker = self.worker_of_user().view(Stage::Directory, task, &[into.as_fd(), reader.as_fd()])?;
        drop(reader);
        finish(pack(writer), worker)
    }

    fn copy_between(&self, store: &Store, (from, to): (&Place, &Place), copy: &CopyFiles) -> Result<(), Failure> {
        let (source_end, source) = self.find(store, from, Purpose::Read, copy.follow)?;
        let (target_end, target) = self.find(store, to, Purpose::Write, true)?;
        let Target { directory, name } = target::choose(&source, &target)?;
        let (reader, writer) = pipe()?;
        let owners = if copy.archive { Owners::Archive } else { Owners::Root };
        let extract = match &target_end {
            End::Container(view) => {
                let task = Task::Extract { path: directory, owners, root: false };
                view.start(task, &[reader.as_fd()])?
            }
            End::Host => {
                let into = open_directory(&directory)?;
                let task = Task::Extract { path: "/".into(), owners: Owners::Root, root: false };
                self.worker_of_user().view(Stage::Directory, task, &[into.as_fd(), reader.as_fd()])?
            }
        };
        drop(reader);
        let packed = match &source_end {
            End::Container(view) => {
                let task = Task::Archive {
                    path: source.path.clone(),
                    name,
                    dress: Dress::default(),
                    follow: false,
                    cross: true,
                    exclude: Vec::new(),
                };
                let archive = view.start(task, &[writer.as_fd()])?;
                drop(writer);
                archive.done().map(drop)
            }
            End::Host => {
                let map = copy.archive.then(|| host::id_map(&UserNamespace::Default)).transpose()?.flatten();
                pack_host(&source.path, &name, map.as_ref(), writer)
            }
        };
        finish(packed, extract).map_err(|mut failure| {
            failure.kind = FailureKind::Invalid;
            let place = target.path.parent().unwrap_or(Path::new("/")).display();
            let hint = target.container.as_ref().map(|name| format!("pybox exec {name} ls -la {place}"));
            failure.hint(hint.unwrap_or_else(|| format!("ls -la {place}")))
        })
    }

    /// Looks at one end.
    fn find(&self, store: &Store, place: &Place, purpose: Purpose, follow: bool) -> Result<(End, Found), Failure> {
        match place {
            Place::Container { name, path } => {
                let container = self.find_container(store, name)?;
                let view = self.view(store, &container, purpose)?;
                let looked = view.look(Path::new(path)).map_err(|error| in_container(name, error))?;
                let found = Found::new(path, looked, follow, Some(name.clone()));
                Ok((End::Container(Box::new(view)), found))
            }
            Place::Host(path) => Ok((End::Host, target::on_host(path, follow)?)),
            Place::Standard => Err(Failure::say(FailureKind::Internal, "a stream has no path")),
        }
    }

    fn unpack_standard(&self, store: &Store, name: &str, path: &str) -> Result<(), Failure> {
        let container = self.find_container(store, name)?;
        let view = self.view(store, &container, Purpose::Write)?;
        let looked = view.look(Path::new(path)).map_err(|error| in_container(name, error))?;
        if looked.kind != Some(FileKind::Directory) {
            let sentence = format!("{name}:{path} is no directory, which an archive is unpacked in");
            return Err(Failure::say(FailureKind::Invalid, sentence).hint(format!("pybox exec {name} mkdir -p {path}")));
        }
        let task = Task::Extract { path: looked.path, owners: Owners::Archive, root: false };
        let unpacked = view.start(task, &[rustix::stdio::stdin()])?.done();
        unpacked.map(drop).map_err(|error| match error {
            error @ SnapshotError::Job(Job::Corrupt { .. }) => Failure::new(FailureKind::Invalid, &error)
                .hint(format!("it takes what tar writes, as in: tar c FILE | pybox cp - {name}:{path}")),
            error => in_container(name, error),
        })
    }

    fn pack_standard(&self, store: &Store, (name, path): (&str, &str), follow: bool) -> Result<(), Failure> {
        if std::io::stdout().is_terminal() {
            let sentence = "standard output is a terminal, which an archive would garble";
            let failure = Failure::say(FailureKind::Invalid, sentence);
            return Err(failure.hint(format!("pybox cp {name}:{path} - > FILE.tar")));
        }
        let container = self.find_container(store, name)?;
        let view = self.view(store, &container, Purpose::Read)?;
        let looked = view.look(Path::new(path)).map_err(|error| in_container(name, error))?;
        let found = Found::new(path, looked, follow, Some(name.to_owned()));
        found.require()?;
        let task = Task::Archive {
            path: found.path.clone(),
            name: found.name(),
            dress: Dress::default(),
            follow: false,
            cross: true,
            exclude: Vec::new(),
        };
        match view.start(task, &[rustix::stdio::stdout()])?.done() {
            // Who has read enough goes away; that is no fault.
            Err(error) if is_broken_pipe(&error) => Ok(()),
            other => other.map(drop).map_err(|error| in_container(name, error)),
        }
    }

    /// Workers that are the user, and nobody else.
    pub(super) fn worker_of_user(&self) -> WorkerProgram {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if uid.is_root() {
            return WorkerProgram::new(self.settings.program.clone(), Ids::Own);
        }
        let map = IdMap::of_one(uid.as_raw(), gid.as_raw());
        WorkerProgram::new(self.settings.program.clone(), Ids::mapped(map))
    }
}

/// What came of both sides: the failure that was there first.
pub(super) fn finish(packed: Result<(), SnapshotError>, extract: Worker) -> Result<(), Failure> {
    let extracted = extract.done().map(drop);
    match (packed, extracted) {
        // Writing failed because the reader had failed.
        (Err(error), Err(cause)) if is_broken_pipe(&error) => Err(cause.into()),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error.into()),
        (Ok(()), Ok(())) => Ok(()),
    }
}

fn is_broken_pipe(error: &SnapshotError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("Broken pipe") {
            return true;
        }
        cause = error.source();
    }
    false
}

fn in_container(name: &str, error: SnapshotError) -> Failure {
    let mut failure = Failure::from(error);
    failure.message = format!("container {name}: {}", failure.message);
    failure.kind = FailureKind::Invalid;
    failure.hint(format!("pybox exec {name} ls -la"))
}

fn pack_host(path: &Path, name: &str, map: Option<&IdMap>, writer: OwnedFd) -> Result<(), SnapshotError> {
    let (directory, start) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(last)) if !name.is_empty() => (parent, last.as_bytes()),
        _ => (path, &b""[..]),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty());
    let opened = opened.map_err(|error| SnapshotError::Io {
        operation: format!("open {}", directory.display()),
        source: error.into(),
    })?;
    let style = Style { name: name.as_bytes(), map, cross: true, ..Style::default() };
    let output = std::io::BufWriter::with_capacity(256 << 10, std::fs::File::from(writer));
    pack::pack_below(opened, start, style, output).map(drop)
}

pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|error| Failure::say(FailureKind::Host, format!("make a pipe: {error}")))
}

fn open_directory(path: &PathBuf) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| Failure::say(FailureKind::Invalid, format!("open {}: {error}", path.display())))
}
