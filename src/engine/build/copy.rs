//! Steps that bring files in, and where files come from.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde_json::json;

use super::context::Item;
use super::step::invalid;
use super::{Made, Site};
use crate::build::expand::Quotes;
use crate::build::graph::{Copy, Inline, Step};
use crate::build::plan::{self, Origin};
use crate::build::{key, pattern};
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::containers::bench::{Bench, Ground};
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::pack::{self, Style, Times};
use crate::snapshot::worker::view::{Dress, FileKind};

/// Where files come from: one file or directory.
pub(super) enum Source<'s> {
    /// The context.
    Context {
        /// What of it.
        item: Item,
    },
    /// A stage or an image.
    Made {
        /// It.
        made: &'s Made,
        /// The path there, links followed.
        path: PathBuf,
        /// Whether it is a directory.
        directory: bool,
    },
}

impl Source<'_> {
    pub(super) fn is_directory(&self) -> bool {
        match self {
            Self::Context { item } => item.directory,
            Self::Made { directory, .. } => *directory,
        }
    }

    pub(super) fn is_of_context(&self) -> bool {
        matches!(self, Self::Context { .. })
    }

    /// The last part of its path.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Context { item } => item.name.clone(),
            Self::Made { path, .. } => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

/// A copy with its variables replaced.
struct Wanted {
    sources: Vec<String>,
    to: String,
    into: bool,
    owner: Option<String>,
    inline: Vec<Inline>,
}

impl Site<'_> {
    pub(super) fn copy(
        &mut self,
        made: &mut Made,
        (index, step, copy): (usize, &Step, &Copy),
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        let wanted = wanted(made, copy)?;
        let from = copy.from.as_deref();
        self.bring(index, from, events)?;
        let mut digests: Vec<Digest> = wanted.inline.iter().map(|inline| Digest::of(inline.text.as_bytes())).collect();
        let mut names = Vec::new();
        if from.is_none() {
            for source in &wanted.sources {
                for item in self.context.find(source)? {
                    digests.push(self.context.digest(&item)?);
                    names.push(item.name);
                }
            }
        } else {
            digests.push(self.made((index, from))?.map(Made::parent).unwrap_or_else(|| Digest::of(b"")));
            names.clone_from(&wanted.sources);
        }
        let inline: Vec<&String> = wanted.inline.iter().map(|inline| &inline.name).collect();
        let recipe = json!({
            "copy": names, "inline": inline, "to": wanted.to, "into": wanted.into, "owner": wanted.owner,
            "mode": copy.mode, "unpack": copy.unpack, "epoch": self.build.epoch,
        });
        let mut key = key::of(&made.parent(), &recipe, &digests);
        // A stage that was made anew may have made the same files.
        let by_layers = (from.is_some() && self.known(&key)?.is_none()).then(|| key.clone());
        if by_layers.is_some() {
            let digests = self.content((index, from), &wanted.sources)?;
            key = key::of(&made.parent(), &(&recipe, "by content"), &digests);
        }
        let found = key.clone();
        let (config, layers) = (made.config(), made.layers.clone());
        self.cached(made, (key, step), events, |site, spool, _| {
            let mut bench = site.engine.bench(site.store, Ground { layers: &layers, config: &config })?;
            let owner = wanted.owner.as_deref().map(|owner| bench.owner(owner)).transpose()?;
            let dress = Dress { owner, mode: copy.mode, ..Dress::default() };
            let mut sources = Vec::new();
            for source in &wanted.sources {
                sources.extend(site.sources((index, from), source)?);
            }
            let into = wanted.into || sources.len() + wanted.inline.len() > 1;
            let target = Target { to: &wanted.to, into, dress };
            for source in &sources {
                site.lay(&bench, source, &target, copy.unpack)?;
            }
            for inline in &wanted.inline {
                lay_inline(&mut bench, inline, &target)?;
            }
            bench.pack(site.build.epoch, Vec::new(), spool)
        })?;
        // The next time they need not be read.
        if let (Some(by_layers), Some(cached)) = (by_layers, self.store.cached_step(&found)) {
            self.store.cache_step(&by_layers, &cached)?;
        }
        Ok(())
    }

    /// The digests of files of a stage or image: names, contents, permissions and owners, not times.
    fn content(&self, from: (usize, Option<&str>), paths: &[String]) -> Result<Vec<Digest>, Failure> {
        let mut digests = Vec::new();
        for path in paths {
            for source in self.sources(from, path)? {
                let dress = Dress { timeless: true, ..Dress::default() };
                let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
                    .map_err(|error| Failure::say(FailureKind::Host, format!("make a pipe: {error}")))?;
                let hashing = std::thread::spawn(move || hash(File::from(reader)));
                self.pack(&source, "x", dress, writer)?;
                let failed = || Failure::say(FailureKind::Host, format!("read {path:?} of a stage"));
                digests.push(hashing.join().ok().and_then(Result::ok).ok_or_else(failed)?);
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
    fn made(&self, (index, from): (usize, Option<&str>)) -> Result<Option<&Made>, Failure> {
        let Some(from) = from else { return Ok(None) };
        let made = match plan::origin(&self.graph.stages, index, from) {
            Origin::Stage(number) => self.stages.get(&number),
            Origin::Image(name) => self.images.get(&name),
        };
        made.map(Some).ok_or_else(|| Failure::say(FailureKind::Internal, format!("{from:?} was not made")))
    }

    /// What `path` means there; a pattern may mean several things.
    fn sources(&self, from: (usize, Option<&str>), path: &str) -> Result<Vec<Source<'_>>, Failure> {
        let Some(made) = self.made(from)? else {
            return Ok(self.context.find(path)?.into_iter().map(|item| Source::Context { item }).collect());
        };
        if pattern::is_pattern(path) {
            let failure =
                Failure::say(FailureKind::Invalid, format!("{path:?} is a pattern, which is for the context"));
            return Err(failure.hint("copy the directory that has the files".to_owned()));
        }
        let absolute = format!("/{}", path.trim_start_matches('/'));
        let looked =
            self.engine.bench(self.store, Ground { layers: &made.layers, config: &made.config() })?.look(&absolute)?;
        let Some(kind) = looked.kind else {
            let name = from.1.unwrap_or_default();
            let failure = Failure::say(FailureKind::NotFound, format!("{absolute:?} is not in {name}"));
            return Err(failure.hint("see what the stage makes: pybox build --target STAGE -t look .".to_owned()));
        };
        Ok(vec![Source::Made { made, path: looked.path, directory: kind == FileKind::Directory }])
    }

    /// The one thing that `path` means there.
    pub(super) fn source(&self, from: (usize, Option<&str>), path: &str) -> Result<Source<'_>, Failure> {
        let mut sources = self.sources(from, path)?;
        match (sources.pop(), sources.is_empty()) {
            (Some(source), true) => Ok(source),
            _ => Err(invalid(format!("{path:?} means several files"))),
        }
    }

    /// Writes a source as an archive, called `name` there; empty for what is in a directory.
    pub(super) fn pack(
        &self,
        source: &Source<'_>,
        name: &str,
        dress: Dress,
        writer: OwnedFd,
    ) -> Result<(), SnapshotError> {
        match source {
            Source::Context { item } => {
                let dress = Dress { owner: dress.owner.or(Some((0, 0))), ..dress };
                let output = std::io::BufWriter::with_capacity(256 << 10, File::from(writer));
                self.context.pack((item, name), dress, Times::Kept, output).map(drop)
            }
            Source::Made { made, path, .. } => {
                let failed = |failure: Failure| SnapshotError::Wire(std::io::Error::other(failure.message));
                let config = made.config();
                let ground = Ground { layers: &made.layers, config: &config };
                let bench = self.engine.bench(self.store, ground).map_err(failed)?;
                let worker = bench.archive((path, name), dress, &writer).map_err(failed)?;
                drop(writer);
                worker.done().map(drop)
            }
        }
    }

    fn lay(&self, bench: &Bench<'_>, source: &Source<'_>, target: &Target<'_>, unpack: bool) -> Result<(), Failure> {
        let dress = target.dress;
        let owner = dress.owner.unwrap_or((0, 0));
        if source.is_directory() {
            return bench.place((target.to, owner), |writer| self.pack(source, "", dress, writer)).map_err(blame);
        }
        if unpack && let Source::Context { item } = source {
            let file = self.context.read(item)?;
            if is_archive(&file) {
                return bench.place((target.to, owner), |writer| pour(file, writer)).map_err(blame);
            }
        }
        let (directory, name) = target.of_file(bench, &source.name())?;
        bench.place((&directory, owner), |writer| self.pack(source, &name, dress, writer)).map_err(blame)
    }
}

/// Where files go.
struct Target<'t> {
    to: &'t str,
    /// Whether it is a directory, there or not.
    into: bool,
    dress: Dress,
}

impl Target<'_> {
    /// The directory of a file called `name`, and what it is called there.
    fn of_file(&self, bench: &Bench<'_>, name: &str) -> Result<(String, String), Failure> {
        if self.into || self.to == "/" || bench.look(self.to)?.kind == Some(FileKind::Directory) {
            return Ok((self.to.to_owned(), name.to_owned()));
        }
        let (directory, name) = self.to.rsplit_once('/').unwrap_or(("", self.to));
        Ok((if directory.is_empty() { "/".to_owned() } else { directory.to_owned() }, name.to_owned()))
    }
}

fn wanted(made: &Made, copy: &Copy) -> Result<Wanted, Failure> {
    let expand = |text: &String| made.state.expand(text).map_err(invalid);
    let to = expand(&copy.to)?;
    let into = to.ends_with('/') || matches!(to.as_str(), "." | "..") || to.ends_with("/.");
    let inline = |inline: &Inline| {
        let text = if inline.expand {
            made.state.expand_as(&inline.text, Quotes::Plain).map_err(invalid)?
        } else {
            inline.text.clone()
        };
        Ok(Inline { name: inline.name.clone(), text, expand: false })
    };
    Ok(Wanted {
        sources: copy.sources.iter().map(expand).collect::<Result<_, _>>()?,
        to: made.state.absolute(&to),
        into,
        owner: copy.owner.as_ref().map(expand).transpose()?,
        inline: copy.inline.iter().map(inline).collect::<Result<_, Failure>>()?,
    })
}

fn lay_inline(bench: &mut Bench<'_>, inline: &Inline, target: &Target<'_>) -> Result<(), Failure> {
    let staged = bench.file(inline.text.as_bytes(), 0o644)?;
    let (directory, name) = target.of_file(bench, &inline.name)?;
    let owner = target.dress.owner.unwrap_or((0, 0));
    bench
        .place((&directory, owner), |writer| {
            let failed = |error: rustix::io::Errno| SnapshotError::Io {
                operation: format!("read {}", staged.display()),
                source: error.into(),
            };
            let parent = staged.parent().unwrap_or(&staged);
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            let root = rustix::fs::open(parent, flags, rustix::fs::Mode::empty()).map_err(failed)?;
            let start = staged.file_name().unwrap_or_default().as_encoded_bytes();
            let style =
                Style { name: name.as_bytes(), owner: Some(owner), mode: target.dress.mode, ..Style::default() };
            pack::pack_below(root, start, style, File::from(writer)).map(drop)
        })
        .map_err(blame)
}

fn hash(mut input: File) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// By its first bytes: gzip, zstd, or an archive as it is.
fn is_archive(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut head = [0; 262];
    let Ok(length) = file.read_at(&mut head, 0) else { return false };
    let head = head.get(..length).unwrap_or_default();
    matches!(head, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..]) || head.get(257..262) == Some(b"ustar")
}

fn pour(mut file: File, writer: OwnedFd) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::Io { operation: "unpack the archive".to_owned(), source };
    let mut writer = File::from(writer);
    std::io::copy(&mut file, &mut writer).map_err(failed)?;
    writer.flush().map_err(failed)
}

/// What cannot be copied is the file's mistake, or that of the files.
fn blame(mut failure: Failure) -> Failure {
    if matches!(failure.kind, FailureKind::Store | FailureKind::Corrupt) {
        failure.kind = FailureKind::Invalid;
        failure.hint = Some("see what stands in the way in the image and in the context".to_owned());
    }
    failure
}
