//! The invariants of the store, looked at one by one; what does not hold is found, and
//! put right where that loses nothing.
//!
//! A process that lives may be between two steps: what it holds a lock of is passed over.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use pybox_fuse_overlay::index::Index;
use sha2::Digest as _;

use super::lock::{Attempt, Lock, is_abandoned};
use super::{Durability, Store, StoreError, bundle, gc, trash};
use crate::model::digest::{Algorithm, Digest};
use crate::model::id::ContainerId;
use crate::store::image::CONFIG_LIMIT;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Names, sizes, references.
    Quick,
    /// The bytes of every blob, too.
    Full,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: a path, an image, a container.
    pub subject: String,
    /// What is wrong.
    pub what: String,
    /// What puts it right.
    pub remedy: Remedy,
}

/// What puts a finding right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing here can; this command can.
    Command(String),
    /// The file or directory is removed: nothing refers to it, or it can be had again.
    Discard(PathBuf),
    /// The files of a container without a row are removed.
    DiscardBundle(ContainerId),
    /// The row of a container without files is removed.
    ForgetContainer(ContainerId),
}

impl Store {
    /// Looks at everything but the database itself, see [`Store::damage`].
    ///
    /// # Errors
    /// If it cannot be looked at: that is no finding.
    pub fn check(&self, depth: Depth) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        self.check_images(&mut findings)?;
        self.check_names_of_blobs(depth, &mut findings)?;
        self.check_layers(&mut findings)?;
        self.check_containers(&mut findings)?;
        self.check_temporary(&mut findings)?;
        Ok(findings)
    }

    /// Puts one finding right. Returns what belongs to other ids and is left, for the worker.
    ///
    /// # Errors
    /// What the file system or the database says.
    pub fn remedy(&self, finding: &Finding) -> Result<Vec<PathBuf>, StoreError> {
        match &finding.remedy {
            Remedy::Command(_) => Ok(Vec::new()),
            Remedy::Discard(path) => {
                let discarded = if path.starts_with(self.layout.trash()) {
                    Some(path.clone())
                } else {
                    trash::discard(&self.layout, path)?
                };
                Ok(trash::delete(discarded.into_iter()))
            }
            Remedy::DiscardBundle(id) => self.remove_bundle(id),
            Remedy::ForgetContainer(id) => {
                self.remove_container(id, Durability::Durable)?;
                Ok(Vec::new())
            }
        }
    }

    /// I1: what is wrong with the database, line by line.
    pub(super) fn check_database(&self) -> Result<Vec<String>, StoreError> {
        self.db.read(|db| {
            let mut check = db.prepare("PRAGMA integrity_check")?;
            let mut lines: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            lines.retain(|line| line != "ok");
            let mut check = db.prepare("PRAGMA foreign_key_check")?;
            let tables = check.query_map([], |row| row.get::<_, String>(0))?;
            for table in tables {
                lines.push(format!("a row of table {} refers to nothing", table?));
            }
            Ok(lines)
        })
    }

    /// I3: what an image refers to is here.
    fn check_images(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        for summary in self.list_images()? {
            let image = match self.find_image(&summary.id.to_string()) {
                Err(StoreError::NoSuchImage(_)) => continue,
                other => other?,
            };
            let name = summary.names.tags.first().map(|tag| tag.reference.to_string());
            let pull = name
                .clone()
                .map_or_else(|| format!("pybox rmi {}", image.id.short()), |name| format!("pybox pull {name}"));
            let subject = name.unwrap_or_else(|| image.id.short().to_owned());
            let mut find = |what: String| {
                let remedy = Remedy::Command(pull.clone());
                findings.push(Finding { subject: subject.clone(), what, remedy });
            };
            for document in [&image.id, &image.manifest] {
                if let Err(error) = self.read_blob(document, CONFIG_LIMIT) {
                    find(error.to_string());
                }
            }
            for layer in &image.layers {
                let there = self.has_layer(&layer.diff_id);
                let size = self.open_blob(&layer.blob).and_then(|file| {
                    file.metadata().map_err(StoreError::io("look at", &self.layout.blob(&layer.blob)))
                });
                match size.map(|file| file.len()) {
                    Ok(size) if size != layer.size => {
                        find(format!("layer {} has {size} bytes instead of {}", layer.blob.short(), layer.size));
                    }
                    Err(StoreError::MissingBlob(_)) if there => {}
                    Err(error) => find(error.to_string()),
                    Ok(_) if !there => find(format!("layer {} is not unpacked", layer.diff_id.short())),
                    Ok(_) => {}
                }
            }
        }
        Ok(())
    }

    /// I2: a blob is what its name says.
    fn check_names_of_blobs(&self, depth: Depth, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let directory = self.layout.blobs(algorithm);
            for name in gc::names(&directory)? {
                let path = directory.join(&name);
                let digest = format!("{}:{name}", algorithm.name()).parse::<Digest>();
                let what = match digest {
                    Err(_) => "is no name of a blob",
                    Ok(digest) if depth == Depth::Full && !is_whole(&path, &digest)? => "is damaged",
                    Ok(_) => continue,
                };
                findings.push(discard(path, what));
            }
        }
        Ok(())
    }

    /// I4: an unpacked layer is whole.
    fn check_layers(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        let layers = self.layout.layers();
        for name in gc::names(&layers)? {
            let path = layers.join(&name);
            if let Some((hex, _)) = name.split_once(".partial-") {
                // Whoever unpacks it holds its lock.
                if let Attempt::Held(_lock) = Lock::attempt(&self.layout.locks().join(format!("layer-{hex}")))?
                    && super::layers::is_left(&path)
                {
                    findings.push(discard(path, "was left by an unpacking that was interrupted"));
                }
            } else if !super::layers::complete(&path).exists() {
                findings.push(discard(path, "is a layer that was not finished"));
            } else {
                check_indices(&path, findings)?;
            }
        }
        Ok(())
    }

    /// I5 and I6: rows have bundles, and bundles rows.
    fn check_containers(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        let rows = self.list_containers()?;
        for row in &rows {
            if !self.layout.container(&row.id).is_dir() {
                let (subject, what) = (format!("container {}", row.name), "has lost its files".to_owned());
                findings.push(Finding { subject, what, remedy: Remedy::ForgetContainer(row.id.clone()) });
            }
        }
        let containers = self.layout.containers();
        for name in gc::names(&containers)? {
            let path = containers.join(&name);
            let Ok(id) = name.parse::<ContainerId>() else {
                findings.push(discard(path, "belongs to no container"));
                continue;
            };
            // A bundle is locked before there is a row.
            if rows.iter().all(|row| row.id != id)
                && bundle::is_free(&path)
                && self.find_container(id.as_str()).is_err()
            {
                let subject = path.display().to_string();
                let what = "belongs to a container that does not exist".to_owned();
                findings.push(Finding { subject, what, remedy: Remedy::DiscardBundle(id) });
            }
        }
        Ok(())
    }

    /// I5: nothing temporary is left by whoever is gone.
    fn check_temporary(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        let ingests = self.layout.ingests();
        for name in gc::names(&ingests)?.into_iter().filter(|name| name.contains(".partial-")) {
            if is_abandoned(&ingests.join(&name)) {
                findings.push(discard(ingests.join(&name), "was left by a download that was interrupted"));
            }
        }
        let locks = gc::locks(&self.layout)?.into_iter().filter(|lock| is_abandoned(lock));
        findings.extend(locks.map(|lock| discard(lock, "is a lock that nobody holds")));
        for name in gc::names(&self.layout.trash())? {
            findings.push(discard(self.layout.trash().join(name), "waits to be deleted"));
        }
        let volumes = self.layout.volumes();
        for name in gc::names(&volumes)? {
            let path = volumes.join(&name);
            if let Some(rest) = name.strip_prefix(".new-") {
                let maker = rest.split('-').next().unwrap_or_default();
                if !Path::new("/proc").join(maker).exists() {
                    findings.push(discard(path, "was left by the making of a volume"));
                }
            } else if !path.join("_data").is_dir() {
                let remedy = Remedy::Command(format!("pybox volume rm {name}"));
                let what = "has lost its files".to_owned();
                findings.push(Finding { subject: format!("volume {name}"), what, remedy });
            }
        }
        self.check_networks(findings)
    }

    /// A network is whole or not there.
    fn check_networks(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        let networks = self.layout.networks();
        if !networks.is_dir() {
            return Ok(());
        }
        // Nobody makes one meanwhile.
        let _making = self.make_networks()?;
        for path in gc::names(&networks)?.into_iter().map(|name| networks.join(name)).filter(|path| path.is_dir()) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with(".new-") {
                findings.push(discard(path, "was left by the making of a network"));
            } else if name.parse().is_ok_and(|name| self.network(&name).is_none()) {
                let remedy = Remedy::Command(format!("rm -r {}; pybox network create {name}", path.display()));
                let what = "cannot be read".to_owned();
                findings.push(Finding { subject: format!("network {name}"), what, remedy });
            }
        }
        Ok(())
    }
}

/// The indices beside a layer can be made again: a damaged one goes.
fn check_indices(layer: &Path, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    for name in gc::names(layer)?.into_iter().filter(|name| name.starts_with("index-")) {
        let path = layer.join(&name);
        if name.contains(".partial-") {
            if is_abandoned(&path) {
                findings.push(discard(path, "was left by an indexing that was interrupted"));
            }
        } else if std::fs::File::open(&path).and_then(|file| Index::open(&file)).is_err() {
            findings.push(discard(path, "is a damaged index of an image's files"));
        }
    }
    Ok(())
}

fn discard(path: PathBuf, what: &str) -> Finding {
    Finding { subject: path.display().to_string(), what: what.to_owned(), remedy: Remedy::Discard(path) }
}

fn is_whole(path: &Path, digest: &Digest) -> Result<bool, StoreError> {
    let mut file = std::fs::File::open(path).map_err(StoreError::io("open", path))?;
    let mut buffer = vec![0; CHUNK];
    let (mut short, mut long) = (sha2::Sha256::new(), sha2::Sha512::new());
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StoreError::io("read", path)(error)),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        match digest.algorithm() {
            Algorithm::Sha256 => short.update(bytes),
            Algorithm::Sha512 => long.update(bytes),
        }
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let found = match digest.algorithm() {
        Algorithm::Sha256 => hex(&short.finalize()),
        Algorithm::Sha512 => hex(&long.finalize()),
    };
    Ok(found == digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    #[test]
    fn what_is_left_lying_about_is_found_and_put_right() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let store = Store::open(&dir.path().join("root"), Access::Write).expect("a store");
        assert_eq!(store.check(Depth::Full).expect("checked"), []);
        let layout = store.layout();
        let hex = "ab".repeat(32);
        let text = b"a blob";
        store.put_blob(&Digest::of(text), text).expect("put");
        std::fs::write(layout.blobs(Algorithm::Sha256).join(&hex), "not what the name says").expect("write");
        std::fs::write(layout.blobs(Algorithm::Sha256).join("junk"), "x").expect("write");
        std::fs::create_dir_all(layout.layers().join(&hex).join("diff")).expect("mkdir");
        std::fs::create_dir_all(layout.layers().join(format!("{hex}.partial-1"))).expect("mkdir");
        std::fs::create_dir_all(layout.containers().join(&hex).join("upper")).expect("mkdir");
        std::fs::create_dir_all(layout.volumes().join(".new-4194304-x")).expect("mkdir");
        std::fs::create_dir_all(layout.trash().join("old")).expect("mkdir");
        assert_eq!(store.check(Depth::Quick).expect("checked").len(), 6);
        let findings = store.check(Depth::Full).expect("checked");
        assert_eq!(findings.len(), 7, "{findings:?}");
        for finding in &findings {
            assert_eq!(store.remedy(finding).expect("put right"), Vec::<PathBuf>::new(), "{finding:?}");
        }
        assert_eq!(store.check(Depth::Full).expect("checked"), []);
        assert!(store.has_blob(&Digest::of(text)), "nothing else is lost");
    }

    #[test]
    fn what_somebody_works_on_is_no_finding() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let store = Store::open(&dir.path().join("root"), Access::Write).expect("a store");
        let id = ContainerId::from_random(&[7; 32]);
        let bundle = store.create_bundle(&id).expect("a bundle");
        rustix::fs::flock(&bundle, rustix::fs::FlockOperation::LockExclusive).expect("lock");
        assert_eq!(store.check(Depth::Quick).expect("checked"), []);
        drop(bundle);
        let findings = store.check(Depth::Quick).expect("checked");
        assert!(matches!(findings.as_slice(), [Finding { remedy: Remedy::DiscardBundle(found), .. }] if *found == id));
    }
}
