//! The files of the image, as files: `--output`.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::{Made, Site};
use crate::engine::api::{BuildOutput, Failure, FailureKind};
use crate::engine::containers::bench::Ground;
use crate::engine::images::write_file;
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::worker::view::Dress;

impl Site<'_> {
    /// Writes the files of the image. In a directory they are the user's; what is there otherwise stays.
    pub(super) fn write_out(&self, made: &Made, output: &BuildOutput) -> Result<(), Failure> {
        match output {
            BuildOutput::Archive(Some(path)) => write_file(path, |file| {
                let copy = file.try_clone().map_err(|error| unwritable(path, &error))?;
                self.archive_of(made, copy.into())
            }),
            BuildOutput::Archive(None) => {
                let path = Path::new("standard output");
                let output = io::stdout().as_fd().try_clone_to_owned();
                self.archive_of(made, output.map_err(|error| unwritable(path, &error))?)
            }
            BuildOutput::Directory(path) => {
                let made_now = DirBuilder::new().recursive(true).mode(0o755).create(path);
                made_now.map_err(|error| unwritable(path, &error))?;
                let directory = File::open(path).map_err(|error| unwritable(path, &error))?;
                self.engine.extract_for_user(&directory, |writer| {
                    self.archive_of(made, writer)
                        .map_err(|failure| SnapshotError::Wire(io::Error::other(failure.message)))
                })
            }
        }
    }

    fn archive_of(&self, made: &Made, writer: OwnedFd) -> Result<(), Failure> {
        let config = made.config();
        let bench = self.engine.bench(self.store, Ground { layers: &made.layers, config: &config })?;
        let dress = Dress { without_root: true, ..Dress::default() };
        let worker = bench.archive((Path::new("/"), ""), (dress, &[]), &writer)?;
        drop(writer);
        worker.done()?;
        Ok(())
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::say(FailureKind::Invalid, format!("write --output {}: {error}", path.display()));
    failure.hint(format!("ls -ld {}", path.parent().unwrap_or(path).display()))
}
