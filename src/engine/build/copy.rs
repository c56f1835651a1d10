//! Steps that bring files in.
//!
//! The key of such a step is made of what its sources are now, and they are read again when they are copied. What
//! is noted is the key of what was copied: somebody may have saved a file between the two.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use serde_json::json;

use super::context::Asked;
use super::remote::{self, Remote};
use super::source::{Place, Source};
use super::step::invalid;
use super::{Made, Site};
use crate::build::expand::Quotes;
use crate::build::graph::{Copy, Inline, Step};
use crate::build::key;
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::containers::bench::{Bench, Ground};
use crate::engine::images::foreign_compression;
use crate::model::digest::Digest;
use crate::model::permissions::Permissions;
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::pack::{self, Style};
use crate::snapshot::witness::Witness;
use crate::snapshot::worker::view::{Dress, FileKind};
use crate::sys::failpoint;

/// A copy with its variables replaced.
struct Wanted {
    sources: Vec<String>,
    addresses: Vec<String>,
    checksum: Option<Digest>,
    to: String,
    into: bool,
    parents: bool,
    exclude: Vec<String>,
    owner: Option<String>,
    inline: Vec<Inline>,
}

impl Wanted {
    fn asked(&self) -> Vec<Asked<'_>> {
        self.sources.iter().map(|path| Asked { path, deep: self.parents, exclude: &self.exclude }).collect()
    }
}

impl Site<'_> {
    pub(super) fn copy(
        &mut self,
        made: &mut Made,
        (index, step, copy): (usize, &Step, &Copy),
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        let wanted = wanted(made, copy)?;
        let from = (index, copy.from.as_deref());
        self.bring(index, from.1, events)?;
        let mut items = Vec::new();
        if from.1.is_none() {
            for asked in wanted.asked() {
                items.extend(self.context.find(&asked)?);
            }
        }
        let mut remotes = self.remotes(&wanted.addresses, wanted.checksum.as_ref())?;
        let names: Vec<_> = items.iter().map(|item| (&item.name, &item.below, item.directory)).collect();
        let inline: Vec<&String> = wanted.inline.iter().map(|inline| &inline.name).collect();
        let recipe = json!({
            "copy": names, "from": from.1.map(|_| &wanted.sources), "inline": inline, "to": wanted.to,
            "into": wanted.into, "owner": wanted.owner, "mode": copy.mode, "unpack": copy.unpack,
            "parents": wanted.parents, "exclude": wanted.exclude, "epoch": self.build.epoch,
            "remote": remotes.iter().map(|remote| &remote.name).collect::<Vec<_>>(),
        });
        let parent = made.parent();
        let texts: Vec<Digest> = wanted.inline.iter().map(|inline| Digest::of(inline.text.as_bytes())).collect();
        let key_of = |read: &[Digest]| key::of(&parent, &recipe, read.iter().chain(&texts));
        let mut read = Vec::new();
        for item in &items {
            read.push(self.context.digest(item, &wanted.exclude)?);
        }
        read.extend(remotes.iter().map(|remote| remote.digest.clone()));
        read.extend(self.made(from)?.map(Made::parent));
        failpoint::reach!("build.context_read");
        let mut key = key_of(&read);
        // A stage that was made anew may have made the same files.
        let by_layers = (from.1.is_some() && self.known(&key)?.is_none()).then(|| key.clone());
        if by_layers.is_some() {
            key = key::of(&parent, &(&recipe, "by content"), &self.content(from, &wanted.asked())?);
        }
        let found = key.clone();
        let (config, layers) = (made.config(), made.layers.clone());
        let noted = self.cached_as(made, (&key, step), events, |site, spool, _| {
            let mut bench = site.engine.bench(site.store, Ground { layers: &layers, config: &config })?;
            let owner = wanted.owner.as_deref().map(|owner| bench.owner(owner)).transpose()?;
            let dress = Dress { owner, mode: copy.mode, ..Dress::default() };
            let mut sources: Vec<Source<'_>> =
                items.iter().map(|item| Source::of_context(item.clone(), &wanted.exclude)).collect();
            if from.1.is_some() {
                for asked in wanted.asked() {
                    sources.extend(site.sources(from, &asked)?);
                }
            }
            let into = wanted.into || sources.len() + wanted.inline.len() + remotes.len() > 1;
            let target = Target { to: &wanted.to, into, parents: wanted.parents, dress };
            let mut read = Vec::new();
            for source in &sources {
                read.extend(site.lay(&bench, source, &target, copy.unpack)?);
            }
            for remote in &mut remotes {
                read.push(site.lay_remote(&bench, remote, &target)?);
            }
            for inline in &wanted.inline {
                lay_inline(&mut bench, inline, &target)?;
            }
            let changed = bench.pack(site.build.epoch, Vec::new(), spool)?;
            // What has changed since the key was made belongs under the key of what it is now.
            Ok((changed, if from.1.is_some() { found } else { key_of(&read) }))
        })?;
        // The next time they need not be read.
        if let (Some(by_layers), Some(cached)) = (by_layers, self.store.cached_step(&noted)) {
            self.store.cache_step(&by_layers, &cached)?;
        }
        Ok(())
    }

    /// Lays a source over the layers; of the context, it tells the digest of what was read.
    fn lay(
        &self,
        bench: &Bench<'_>,
        source: &Source<'_>,
        target: &Target<'_>,
        unpack: bool,
    ) -> Result<Option<Digest>, Failure> {
        let (dress, mut read) = (target.dress, None);
        let owner = dress.owner.unwrap_or((0, 0));
        if source.directory {
            let to = target.directory(&source.below);
            let pack = |writer| self.pack(source, "", dress, writer).map(|digest| read = digest);
            bench.place((&to, owner), pack).map_err(blame)?;
            return Ok(read);
        }
        if unpack && let Place::Context(item) = &source.place {
            let file = self.context.read(item)?;
            let head = head(&file);
            refuse_unknown(&head, &source.name)?;
            if is_archive(&head) {
                let pour = |writer| pour(file, writer).map(|digest| read = Some(digest));
                bench.place((target.to, owner), pour).map_err(blame)?;
                return Ok(read);
            }
        }
        let (directory, name) = match source.below.rsplit_once('/') {
            _ if !target.parents => target.of_file(bench, &source.name)?,
            Some((above, _)) => (target.directory(above), source.name.clone()),
            None => (target.to.to_owned(), source.name.clone()),
        };
        let pack = |writer| self.pack(source, &name, dress, writer).map(|digest| read = digest);
        bench.place((&directory, owner), pack).map_err(blame)?;
        Ok(read)
    }

    /// Lays a file that was downloaded over the layers; tells the digest of what it is now.
    fn lay_remote(&self, bench: &Bench<'_>, remote: &mut Remote, target: &Target<'_>) -> Result<Digest, Failure> {
        let digest = self.fetched(remote)?;
        let name = match (&remote.name, target.into) {
            (Some(name), _) => name.clone(),
            (None, false) => String::new(),
            (None, true) => return Err(invalid(format!("the address {:?} names no file", remote.address))),
        };
        let (directory, name) = target.of_file(bench, &name)?;
        let owner = target.dress.owner.unwrap_or((0, 0));
        let style = Style {
            name: name.as_bytes(),
            owner: Some(owner),
            // Nobody else may read what was downloaded, unless that is said.
            mode: Some(Permissions::of(target.dress.mode.map_or(0o600, |mode| mode.of_file(0o600, false)))),
            times: pack::Times::Fixed(remote.modified()),
            ..Style::default()
        };
        let Some(path) = remote.path() else {
            return Err(Failure::say(FailureKind::Internal, "the file was not downloaded"));
        };
        bench.place((&directory, owner), |writer| pack_file(&path, style, writer)).map_err(blame)?;
        Ok(digest)
    }
}

/// Where files go.
struct Target<'t> {
    to: &'t str,
    /// Whether it is a directory, there or not.
    into: bool,
    /// Whether directories above what is copied are made, too.
    parents: bool,
    dress: Dress,
}

impl Target<'_> {
    /// Where what is in a directory goes, which is `below` the pivot.
    fn directory(&self, below: &str) -> String {
        if self.parents { format!("{}/{below}", self.to.trim_end_matches('/')) } else { self.to.to_owned() }
    }

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
    let sources = copy.sources.iter().map(expand).collect::<Result<Vec<_>, _>>()?;
    let is_address = |text: &String| copy.addresses && remote::is_address(text);
    let (addresses, sources): (Vec<_>, Vec<_>) = sources.into_iter().partition(is_address);
    addresses.iter().try_for_each(|address| remote::refuse_repository(address))?;
    let checksum = copy.checksum.as_ref().map(expand).transpose()?.map(|text| text.parse::<Digest>());
    let checksum = checksum.transpose().map_err(|error| invalid(format!("checksum: {error}")))?;
    if checksum.is_some() && (addresses.len() != 1 || !sources.is_empty()) {
        return Err(invalid("a checksum is for one address alone".to_owned()));
    }
    Ok(Wanted {
        sources,
        addresses,
        checksum,
        to: made.state.absolute(&to),
        into,
        parents: copy.parents,
        exclude: copy.exclude.iter().map(expand).collect::<Result<_, _>>()?,
        owner: copy.owner.as_ref().map(expand).transpose()?,
        inline: copy.inline.iter().map(inline).collect::<Result<_, Failure>>()?,
    })
}

fn lay_inline(bench: &mut Bench<'_>, inline: &Inline, target: &Target<'_>) -> Result<(), Failure> {
    let staged = bench.file(inline.text.as_bytes(), 0o644)?;
    let (directory, name) = target.of_file(bench, &inline.name)?;
    let owner = target.dress.owner.unwrap_or((0, 0));
    let style = Style { name: name.as_bytes(), owner: Some(owner), mode: target.dress.mode, ..Style::default() };
    bench.place((&directory, owner), |writer| pack_file(&staged, style, writer)).map_err(blame)
}

/// Packs a file of ours.
fn pack_file(path: &std::path::Path, style: Style<'_>, writer: OwnedFd) -> Result<(), SnapshotError> {
    let failed = |error: rustix::io::Errno| SnapshotError::Io {
        operation: format!("read {}", path.display()),
        source: error.into(),
    };
    let parent = path.parent().unwrap_or(path);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let root = rustix::fs::open(parent, flags, rustix::fs::Mode::empty()).map_err(failed)?;
    let start = path.file_name().unwrap_or_default().as_encoded_bytes();
    let output = std::io::BufWriter::with_capacity(256 << 10, File::from(writer));
    pack::pack_below(root, start, style, output).map(drop)
}

/// As many bytes as tell that a file is an archive.
pub(super) const HEAD: usize = 262;

/// The first bytes of a file; none if it cannot be read.
fn head(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let mut head = vec![0; HEAD];
    let length = file.read_at(&mut head, 0).unwrap_or(0);
    head.truncate(length);
    head
}

/// By its first bytes: gzip, zstd, or an archive as it is.
pub(super) fn is_archive(head: &[u8]) -> bool {
    matches!(head, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..]) || head.get(257..262) == Some(b"ustar")
}

/// An archive that is compressed as nothing here can read is none to copy silently: whoever adds it has it unpacked
/// elsewhere. One file that is compressed so, and is no archive, is copied.
fn refuse_unknown(head: &[u8], name: &str) -> Result<(), Failure> {
    let Some(program) = foreign_compression(head) else { return Ok(()) };
    let ends: &[&str] = match program {
        "xz" => &[".tar.xz", ".txz"],
        "bzip2" => &[".tar.bz2", ".tbz", ".tbz2"],
        _ => &[],
    };
    let Some(stem) = ends.iter().find_map(|end| name.strip_suffix(end)) else { return Ok(()) };
    let sentence = format!("{name} is compressed with {program}, and what is unpacked is plain, gzip or zstd");
    Err(invalid(sentence).hint(format!("{program} -dc {name} > {stem}.tar, and ADD {stem}.tar")))
}

/// Hands on an archive as it is; tells the digest of what was read, as of a file that is copied.
fn pour(mut file: File, writer: OwnedFd) -> Result<Digest, SnapshotError> {
    let failed = |source| SnapshotError::Io { operation: "unpack the archive".to_owned(), source };
    let witness = Witness::default();
    let mut writer = File::from(writer);
    std::io::copy(&mut pack::witnessed(&mut file, &witness)?, &mut writer).map_err(failed)?;
    writer.flush().map_err(failed)?;
    Ok(witness.digest())
}

/// What cannot be copied is the file's mistake, or that of the files.
fn blame(mut failure: Failure) -> Failure {
    if matches!(failure.kind, FailureKind::Store | FailureKind::Corrupt) {
        failure.kind = FailureKind::Invalid;
        failure.hint = Some("see what stands in the way in the image and in the context".to_owned());
    }
    failure
}
