//! Where files come from: the context, a stage or an image.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::context::{Asked, Item, Looks};
use super::step::invalid;
use super::{Made, Site};
use crate::build::plan::{self, Origin};
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::containers::bench::Ground;
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::pack::Times;
use crate::snapshot::worker::view::{Dress, FileKind};

/// One file or directory.
pub(super) struct Source<'s> {
    /// Where it is.
    pub(super) place: Place<'s>,
    /// Whether it is a directory.
    pub(super) directory: bool,
    /// The last part of the path that was asked for, whatever links lead on from there.
    pub(super) name: String,
    /// That path, from the pivot on.
    pub(super) below: String,
    /// Patterns of what is left out.
    exclude: Vec<String>,
}

/// Where a source is.
pub(super) enum Place<'s> {
    /// In the context.
    Context(Item),
    /// In a stage or an image: the path there, links in last place followed.
    Made(&'s Made, PathBuf),
}

impl Source<'_> {
    /// Something of the context.
    pub(super) fn of_context(item: Item, exclude: &[String]) -> Self {
        let (directory, name, below) = (item.directory, item.name.clone(), item.below.clone());
        Self { place: Place::Context(item), directory, name, below, exclude: exclude.to_vec() }
    }

    pub(super) fn is_of_context(&self) -> bool {
        matches!(self.place, Place::Context(_))
    }
}

impl Site<'_> {
    /// The digests of files of a stage or image: names, contents, permissions and owners, not times.
    pub(super) fn content(&self, from: (usize, Option<&str>), asked: &[Asked<'_>]) -> Result<Vec<Digest>, Failure> {
        let mut digests = Vec::new();
        for asked in asked {
            for source in self.sources(from, asked)? {
                let dress = Dress { timeless: true, ..Dress::default() };
                let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
                    .map_err(|error| Failure::say(FailureKind::Host, format!("make a pipe: {error}")))?;
                let hashing = std::thread::spawn(move || hash(File::from(reader)));
                self.pack(&source, "x", dress, writer)?;
                let failed = || Failure::say(FailureKind::Host, format!("read {:?} of a stage", asked.path));
                digests.push(hashing.join().ok().and_then(Result::ok).ok_or_else(failed)?);
                // What it becomes depends on these, too.
                digests.push(Digest::of(format!("{} {}", source.directory, source.below).as_bytes()));
            }
        }
        Ok(digests)
    }

    /// Sees to it that the image that files come from is here.
    pub(super) fn bring(
        &mut self,
        index: usize,
        from: Option<&str>,
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        let Some(from) = from else { return Ok(()) };
        if let Origin::Image(name) = plan::origin(&self.graph.stages, index, from)
            && !self.images.contains_key(&name)
        {
            let image = self.image(&name, self.build.platform.clone(), events)?;
            self.images.insert(name, image);
        }
        Ok(())
    }

    /// The stage or image that `from` means; none for the context.
    pub(super) fn made(&self, (index, from): (usize, Option<&str>)) -> Result<Option<&Made>, Failure> {
        let Some(from) = from else { return Ok(None) };
        let made = match plan::origin(&self.graph.stages, index, from) {
            Origin::Stage(number) => self.stages.get(&number),
            Origin::Image(name) => self.images.get(&name),
        };
        made.map(Some).ok_or_else(|| {
            // Of the file's own steps all is made before; what a base brings along nobody knew of.
            let failure = Failure::say(FailureKind::Invalid, format!("the stage {from:?} is not made before this one"));
            failure.hint(format!("let a step of this stage copy from {from:?}, too"))
        })
    }

    /// What is asked for there; a pattern may mean several things.
    pub(super) fn sources(&self, from: (usize, Option<&str>), asked: &Asked<'_>) -> Result<Vec<Source<'_>>, Failure> {
        let Some(made) = self.made(from)? else {
            let items = self.context.find(asked)?.into_iter();
            return Ok(items.map(|item| Source::of_context(item, asked.exclude)).collect());
        };
        let exclude = asked.exclude.to_vec();
        let bench = self.engine.bench(self.store, Ground { layers: &made.layers, config: &made.config() })?;
        let missing = |what: &str| {
            let name = from.1.unwrap_or_default();
            let failure = Failure::say(FailureKind::NotFound, format!("{what:?} is not in {name}"));
            Err(failure.hint("see what the stage makes: pybox build --target STAGE -t look .".to_owned()))
        };
        if !asked.is_pattern() && !asked.deep {
            let absolute = format!("/{}", asked.parts().join("/"));
            let looked = bench.look_below(&absolute)?;
            let Some(kind) = looked.kind else { return missing(&absolute) };
            let name = absolute.rsplit('/').next().unwrap_or_default().to_owned();
            let (place, directory) = (Place::Made(made, looked.path), kind == FileKind::Directory);
            return Ok(vec![Source { place, directory, below: name.clone(), name, exclude }]);
        }
        let found = bench.find(&asked.parts(), (asked.pivot(), asked.deep))?;
        let left_out = crate::model::ignore::Ignore::of(&exclude);
        let is_there = |name: &str| left_out.fate(name) != crate::model::ignore::Fate::Gone;
        if found.is_empty() {
            return missing(asked.path);
        }
        let found = found.into_iter().filter(|found| found.directory || is_there(&found.name));
        let source = |found: crate::engine::containers::bench::Found| Source {
            place: Place::Made(made, found.path),
            directory: found.directory,
            name: found.name,
            below: found.below,
            exclude: exclude.clone(),
        };
        Ok(found.map(source).collect())
    }

    /// The one thing that `path` means there.
    pub(super) fn source(&self, from: (usize, Option<&str>), path: &str) -> Result<Source<'_>, Failure> {
        let mut sources = self.sources(from, &Asked::path(path))?;
        match (sources.pop(), sources.is_empty()) {
            (Some(source), true) => Ok(source),
            _ => Err(invalid(format!("{path:?} means several files"))),
        }
    }

    /// Writes a source as an archive, called `name` there; empty for what is in a directory. Of what may change,
    /// the context, it tells the digest of what was read.
    pub(super) fn pack(
        &self,
        source: &Source<'_>,
        name: &str,
        dress: Dress,
        writer: OwnedFd,
    ) -> Result<Option<Digest>, SnapshotError> {
        match &source.place {
            Place::Context(item) => {
                let output = std::io::BufWriter::with_capacity(256 << 10, File::from(writer));
                let looks = Looks { name, dress, times: Times::Kept, exclude: &source.exclude };
                self.context.pack(item, looks, output).map(Some)
            }
            Place::Made(made, path) => {
                let failed = |failure: Failure| SnapshotError::Wire(std::io::Error::other(failure.message));
                let config = made.config();
                let ground = Ground { layers: &made.layers, config: &config };
                let bench = self.engine.bench(self.store, ground).map_err(failed)?;
                let worker = bench.archive((path, name), (dress, &source.exclude), &writer).map_err(failed)?;
                drop(writer);
                worker.done().map(|_| None)
            }
        }
    }
}

fn hash(mut input: File) -> std::io::Result<Digest> {
    use std::io::Read as _;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}
