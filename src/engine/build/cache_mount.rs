//! Directories that steps of builds share, from build to build.
//!
//! One belongs to all whom it says that it belongs to: what it is called on disk is the hash of its id, and of how
//! a new one is made where the file says so; thus nobody finds another owner, or other files, than he asked for.
//! Who uses one has it locked, so that nobody empties it meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode};
use rustix::io::Errno;
use serde_json::json;

use super::Site;
use super::step::invalid;
use crate::build::graph::{Cache, Mount, Sharing};
use crate::engine::api::{Failure, FailureKind};
use crate::engine::containers::bench::Bench;
use crate::model::permissions::Permissions;
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::pack::{self, Style};
use crate::snapshot::worker::view::Dress;

/// What a cache's files are in, in its directory: theirs who own them, so that we may not even look into it.
const FILES: &str = "files";
/// How often somebody looks whether it is his turn.
const PAUSE: Duration = Duration::from_millis(50);

/// A cache that a step has.
pub(super) struct Held {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Open as long as the step lasts: the lock is the directory's own.
    _directory: File,
}

impl Site<'_> {
    /// The caches of a step by their names, all in one order: two steps that want the same ones do not wait for each
    /// other for ever.
    pub(super) fn caches(
        &self,
        (index, bench): (usize, &Bench<'_>),
        mounts: &[Mount],
    ) -> Result<BTreeMap<String, Held>, Failure> {
        let mut wanted = BTreeMap::new();
        for mount in mounts {
            let Mount::Cache(cache) = mount else { continue };
            // One that is mounted twice is locked once, as strictly as either says.
            let known = wanted.entry(self.cache_name(index, cache)?).or_insert(cache);
            if known.sharing == Sharing::Shared {
                *known = cache;
            }
        }
        let mut held = BTreeMap::new();
        for (name, cache) in wanted {
            let one = self.hold((index, bench), cache, &name)?;
            held.insert(name, one);
        }
        Ok(held)
    }

    /// A cache, made if it is not there; waits for those whom it is not shared with.
    fn hold(&self, (index, bench): (usize, &Bench<'_>), cache: &Cache, name: &str) -> Result<Held, Failure> {
        for number in 0.. {
            // The first one is the one that all others have.
            let name = if number == 0 { name.to_owned() } else { format!("{name}\0private {number}") };
            loop {
                self.ledger.halt().check()?;
                let place = self.store.build_mount(&name)?;
                let Some(directory) = open(&place)? else { continue };
                let wanted = match cache.sharing {
                    Sharing::Shared => FlockOperation::NonBlockingLockShared,
                    Sharing::Private | Sharing::Locked => FlockOperation::NonBlockingLockExclusive,
                };
                match rustix::fs::flock(&directory, wanted) {
                    // Whoever has removed it a moment ago has left nothing to lock.
                    Ok(()) if is_at(&directory, &place) => {
                        let path = place.join(FILES);
                        if !path.is_dir() {
                            self.make_cache((index, bench), cache, &path)?;
                        }
                        return Ok(Held { path, _directory: directory });
                    }
                    Ok(()) => {}
                    Err(Errno::WOULDBLOCK) if cache.sharing == Sharing::Private => break,
                    Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(PAUSE),
                    Err(error) => return Err(failed("lock", &place)(error)),
                }
            }
        }
        Err(Failure::say(FailureKind::Internal, "no cache is free"))
    }

    /// What a cache is called, before that is hashed.
    pub(super) fn cache_name(&self, index: usize, cache: &Cache) -> Result<String, Failure> {
        if cache.from.is_none() && cache.owner == (0, 0) && cache.mode.is_none() {
            return Ok(cache.id.clone());
        }
        let from = self.made((index, cache.from.as_deref()))?.map(super::Made::parent);
        let source = from.as_ref().map(|_| &cache.source);
        let made = json!({ "from": from, "source": source, "owner": cache.owner, "mode": cache.mode });
        Ok(format!("{}\0{made}", cache.id))
    }

    /// Makes a new one: beside its place, so that nobody sees half of it. A directory that is not ours can get another
    /// name where it is, and cannot be moved.
    fn make_cache(&self, (index, bench): (usize, &Bench<'_>), cache: &Cache, path: &Path) -> Result<(), Failure> {
        let source = cache.from.as_deref().map(|from| self.source((index, Some(from)), &cache.source)).transpose()?;
        if source.as_ref().is_some_and(|source| !source.directory) {
            return Err(invalid(format!("{:?} is no directory to make a cache of", cache.source)));
        }
        let place = path.with_file_name(format!("new-{}", bench.id().as_str()));
        std::fs::create_dir(&place)
            .map_err(|error| Failure::say(FailureKind::Store, format!("create {}: {error}", place.display())))?;
        rustix::fs::chmod(&place, Mode::from_raw_mode(0o755)).map_err(failed("make", &place))?;
        let directory = open(&place)?;
        let made = bench.fill(&place, |writer| match (&source, &directory) {
            (Some(source), _) => self.pack(source, "", Dress::default(), writer).map(drop),
            (None, Some(nothing)) => {
                let (owner, mode) = (Some(cache.owner), Some(Permissions::of(cache.mode.unwrap_or(0o755))));
                let nothing = rustix::io::fcntl_dupfd_cloexec(nothing, 3).map_err(|error| SnapshotError::Io {
                    operation: "open a new cache".to_owned(),
                    source: error.into(),
                })?;
                pack::pack_below(nothing, b"", Style { owner, mode, ..Style::default() }, File::from(writer)).map(drop)
            }
            (None, None) => Ok(()),
        });
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        let named =
            made.and_then(|()| rustix::fs::renameat_with(CWD, &place, CWD, path, flags).map_err(failed("make", path)));
        if named.is_err() {
            if let Some(directory) = &directory {
                let _ = self.engine.worker().and_then(|worker| Ok(worker.empty(directory.as_fd())?));
            }
            let _ = std::fs::remove_dir(&place);
        }
        // Another step may have been faster.
        if path.is_dir() { Ok(()) } else { named }
    }
}

fn open(path: &Path) -> Result<Option<File>, Failure> {
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(|fd| Some(File::from(fd))).map_err(failed("open", path)),
    }
}

/// Whether the directory is still what stands at `path`.
fn is_at(directory: &File, path: &Path) -> bool {
    let numbers = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let ours = rustix::fs::fstat(directory.as_fd()).map(numbers);
    ours.is_ok() && ours == rustix::fs::lstat(path).map(numbers)
}

fn failed(what: &'static str, path: &Path) -> impl Fn(Errno) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::say(FailureKind::Store, format!("{what} the cache {path}: {error}"))
}
