//! `diff` and `export`: what a container's root file system has become.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags};

use super::made::Made;
use super::view::{self, Purpose};
use crate::engine::Engine;
use crate::engine::api::{ChangeKind, Changed, Export, Exported, Failure, FailureKind, ListChanges, Source};
use crate::engine::happenings;
use crate::engine::images::write_file;
use crate::snapshot::recipe::Layered;
use crate::snapshot::worker::view::{Change, Dress, Stage, Task};
use crate::store::Access;

impl Engine {
    pub(in crate::engine) fn list_changes(&self, list: &ListChanges) -> Result<Vec<Changed>, Failure> {
        let store = self.store(Access::Read)?;
        let container = self.find_container(&store, &list.name)?;
        let bundle = store.open_bundle(&container.id)?;
        let made = Made::read(&container, &bundle)?;
        let (driver, Layered { layers, upper, .. }) = view::layered(&container, &made)?;
        let program = self.worker_of(made.map());
        let (upper, mut told) = (open_upper(&upper)?, memory()?);
        program.view(Stage::Directory, Task::Changes, &[upper.as_fd(), told.as_fd()])?.done()?;
        let text = contents(&mut told)?;
        let changes: Vec<(bool, &[u8])> = text.split(|byte| *byte == 0).filter_map(change).collect();

        let (mut asked, mut answers) = (memory()?, memory()?);
        for (_, path) in &changes {
            asked.write_all(path).and_then(|()| asked.write_all(&[0])).map_err(|error| in_memory(&error))?;
        }
        asked.rewind().map_err(|error| in_memory(&error))?;
        let stage = Stage::Mounted { driver, layers, writable: None, binds: Vec::new(), place: bundle.rootfs() };
        program.view(stage, Task::Present, &[asked.as_fd(), answers.as_fd()])?.done()?;
        let present = contents(&mut answers)?;
        let kind = |gone: bool, present: u8| match (gone, present == b'1') {
            (true, true) => Some(ChangeKind::Deleted),
            // Made and deleted again: nothing to tell.
            (true, false) => None,
            (false, true) => Some(ChangeKind::Changed),
            (false, false) => Some(ChangeKind::Added),
        };
        let told = changes.iter().zip(present).filter_map(|((gone, path), present)| {
            let path = String::from_utf8_lossy(path).into_owned();
            kind(*gone, present).map(|kind| Changed { kind, path })
        });
        // Places that were made to mount on are no doing of the container's.
        let mounted: BTreeSet<&Path> = made.mounted_on().collect();
        let own = |changed: &Changed| changed.kind != ChangeKind::Added || !mounted.contains(Path::new(&changed.path));
        let mut told: Vec<Changed> = told.filter(own).collect();
        told.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(told)
    }

    pub(in crate::engine) fn export_container(&self, export: &Export) -> Result<Exported, Failure> {
        let store = self.store(Access::Read)?;
        let container = self.find_container(&store, &export.name)?;
        let name = &container.name;
        if export.target == Source::Standard && std::io::stdout().is_terminal() {
            let sentence = "standard output is a terminal, which an archive would garble";
            let failure = Failure::say(FailureKind::Invalid, sentence);
            return Err(failure.hint(format!("pybox export --output FILE {name}")));
        }
        let view = self.view(&store, &container, Purpose::ReadOwn)?;
        let write = |output: BorrowedFd<'_>| -> Result<(), Failure> {
            let task = Task::Archive {
                path: "/".into(),
                name: String::new(),
                dress: Dress::default(),
                follow: false,
                cross: false,
                exclude: Vec::new(),
            };
            Ok(view.start(task, &[output])?.done().map(drop)?)
        };
        match &export.target {
            // Who has read enough goes away; that is no fault.
            Source::Standard => match write(rustix::stdio::stdout()) {
                Err(failure) if failure.message.contains("Broken pipe") => {}
                other => other?,
            },
            Source::Path(path) => write_file(path, |file| write(file.as_fd()))?,
        }
        happenings::of_container(&store, "export", &container);
        Ok(Exported {})
    }
}

/// Reads one line of what a worker tells of an upper directory.
fn change(line: &[u8]) -> Option<(bool, &[u8])> {
    let (kind, path) = line.split_first()?;
    Some((*kind == Change::Gone as u8, path))
}

pub(super) fn open_upper(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| Failure::say(FailureKind::Store, format!("open {}: {error}", path.display())))
}

fn memory() -> Result<File, Failure> {
    let file = rustix::fs::memfd_create(c"changes", MemfdFlags::CLOEXEC);
    file.map(File::from).map_err(|error| in_memory(&error.into()))
}

fn contents(file: &mut File) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut text)).map_err(|error| in_memory(&error))?;
    Ok(text)
}

fn in_memory(error: &std::io::Error) -> Failure {
    Failure::say(FailureKind::Internal, format!("write to memory: {error}"))
}
