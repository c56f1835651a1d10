//! `save`: an archive with every blob as it came, byte for byte.
//!
//! A docker-archive is written as docker does since version 25: an OCI layout
//! with `manifest.json` beside its index, so that readers of either kind find
//! what they know. Layers stay compressed; docker, podman and skopeo look at
//! the first bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use super::archive::{IMAGE_NAME, REF_NAME, TarWriter, blob_name, media};
use super::inspect::familiar;
use crate::engine::Engine;
use crate::engine::api::{ArchiveFormat, Failure, FailureKind, Save, Saved, Source};
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::model::reference::Reference;
use crate::store::image::Image;
use crate::store::{Access, Store, StoreError};

/// An image to be written, with the names it was asked for by.
struct Chosen {
    image: Image,
    names: Vec<Reference>,
}

impl Engine {
    /// Writes images to an archive.
    ///
    /// # Errors
    /// If an image is not there or damaged, or the archive cannot be written; a file is then left as it was.
    pub(in crate::engine) fn save_images(&self, save: &Save) -> Result<Saved, Failure> {
        let store = self.store(Access::Read)?;
        let chosen = choose(&store, &save.images)?;
        let blobs = blobs(&store, &chosen)?;
        let write = |output: &mut dyn Write| write(&store, (&chosen, &blobs), save.format, output);
        let bytes = match &save.target {
            Source::Standard => {
                let output =
                    io::stdout().as_fd().try_clone_to_owned().map_err(|error| failed("standard output", &error))?;
                write(&mut File::from(output))?
            }
            Source::Path(path) => write_file(path, |file| write(file))?,
        };
        for Chosen { image, names } in &chosen {
            self.tell_image("save", &image.id.to_string(), names.first());
        }
        Ok(Saved { bytes })
    }
}

/// Finds the images; one that is asked for by several names is written once.
fn choose(store: &Store, names: &[String]) -> Result<Vec<Chosen>, Failure> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for text in names {
        let image = store.find_image(text)?;
        if image.is_list() {
            let message = format!("{text} is a list of images, and an archive holds images");
            let hint = format!("pybox manifest push {text} REGISTRY/NAME:TAG");
            return Err(Failure::say(FailureKind::Invalid, message).hint(hint));
        }
        let name = match text.parse::<Reference>() {
            Ok(name) if name.digest().is_none() && store.tag_owner(&name)?.as_ref() == Some(&image.id) => Some(name),
            _ => None,
        };
        match chosen.iter_mut().find(|known| known.image.manifest == image.manifest) {
            Some(known) => known.names.extend(name),
            None => chosen.push(Chosen { image, names: name.into_iter().collect() }),
        }
    }
    Ok(chosen)
}

/// All blobs with their sizes; looked at before the first byte is written.
fn blobs(store: &Store, chosen: &[Chosen]) -> Result<BTreeMap<Digest, u64>, Failure> {
    let mut blobs = BTreeMap::new();
    for Chosen { image, .. } in chosen {
        let layers = image.layers.iter().map(|layer| &layer.blob);
        for digest in [&image.manifest, &image.id].into_iter().chain(layers) {
            let file = store.open_blob(digest)?;
            let path = store.layout().blob(digest);
            let size = file.metadata().map_err(StoreError::io("look at", &path))?.len();
            blobs.insert(digest.clone(), size);
        }
        for layer in &image.layers {
            if blobs.get(&layer.blob) != Some(&layer.size) {
                return Err(StoreError::DamagedBlob(layer.blob.clone()).into());
            }
        }
    }
    Ok(blobs)
}

fn write(
    store: &Store,
    (chosen, blobs): (&[Chosen], &BTreeMap<Digest, u64>),
    format: ArchiveFormat,
    output: &mut dyn Write,
) -> Result<u64, Failure> {
    let failed = |error: io::Error| failed("the archive", &error);
    let mut archive = TarWriter::new(BufWriter::with_capacity(256 << 10, output));
    // Documents first: who reads from a pipe knows early what is coming.
    archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(failed)?;
    archive.file("index.json", index(chosen, blobs).to_string().as_bytes()).map_err(failed)?;
    if format == ArchiveFormat::DockerArchive {
        archive.file("manifest.json", manifest(chosen).to_string().as_bytes()).map_err(failed)?;
    }
    archive.directory("blobs/").map_err(failed)?;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        if blobs.keys().any(|digest| digest.algorithm() == algorithm) {
            archive.directory(&format!("blobs/{}/", algorithm.name())).map_err(failed)?;
        }
    }
    for (digest, size) in blobs {
        let mut blob = Checked { input: store.open_blob(digest)?, hasher: Hasher::new(digest.algorithm()) };
        archive.stream(&blob_name(digest), *size, &mut blob).map_err(failed)?;
        if blob.hasher.finish() != *digest {
            return Err(StoreError::DamagedBlob(digest.clone()).into());
        }
    }
    archive.finish().map(|(_, bytes)| bytes).map_err(failed)
}

fn index(chosen: &[Chosen], blobs: &BTreeMap<Digest, u64>) -> Value {
    let descriptor = |image: &Image, name: Option<&Reference>| {
        let platform = &image.platform;
        let mut runs_on = Map::new();
        runs_on.insert("architecture".into(), json!(platform.architecture));
        runs_on.insert("os".into(), json!(platform.os));
        runs_on.extend(platform.variant.iter().map(|variant| ("variant".to_owned(), json!(variant))));
        let mut descriptor = Map::new();
        descriptor.insert("mediaType".into(), json!(image.manifest_type));
        descriptor.insert("digest".into(), json!(image.manifest));
        descriptor.insert("size".into(), json!(blobs.get(&image.manifest)));
        descriptor.insert("platform".into(), Value::Object(runs_on));
        let annotations = name.map(|name| json!({ REF_NAME: name, IMAGE_NAME: name }));
        descriptor.extend(annotations.map(|annotations| ("annotations".to_owned(), annotations)));
        Value::Object(descriptor)
    };
    let mut manifests = Vec::new();
    for Chosen { image, names } in chosen {
        manifests.extend(names.iter().map(|name| descriptor(image, Some(name))));
        if names.is_empty() {
            manifests.push(descriptor(image, None));
        }
    }
    json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests })
}

fn manifest(chosen: &[Chosen]) -> Value {
    let entry = |Chosen { image, names }: &Chosen| {
        let layers: Vec<_> = image.layers.iter().map(|layer| blob_name(&layer.blob)).collect();
        let tags: Vec<_> = names.iter().map(familiar).collect();
        json!({ "Config": blob_name(&image.id), "RepoTags": tags, "Layers": layers })
    };
    chosen.iter().map(entry).collect()
}

/// Writes beside `path` and renames at the end. What is there and no regular
/// file (`/dev/null`, a fifo) is written to, not replaced.
///
/// # Errors
/// If it cannot be written; what was there stays then.
pub(in crate::engine) fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error: io::Error| failed(&path.display().to_string(), &error);
    if std::fs::metadata(path).is_ok_and(|target| !target.is_file()) {
        let mut file = File::options().write(true).open(path).map_err(failed)?;
        return write(&mut file);
    }
    let temporary = temporary(path).map_err(failed)?;
    let (mut file, is_named) = begin(&temporary).map_err(failed)?;
    let written = write(&mut file).and_then(|bytes| {
        let named = || if is_named { Ok(()) } else { name(&file, &temporary) };
        let done = file.sync_data().and_then(|()| named()).and_then(|()| std::fs::rename(&temporary, path));
        done.map(|()| bytes).map_err(failed)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn temporary(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    Ok(path.with_file_name(name))
}

/// A file where `temporary` will be, which has no name yet and is gone if we are; and whether it has one after all, as on
/// file systems that have no such files.
fn begin(temporary: &Path) -> io::Result<(File, bool)> {
    let directory = temporary.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => Ok((file.into(), false)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let file = File::options().write(true).create(true).truncate(true).open(temporary)?;
            Ok((file, true))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a file its name; one that a killed process of our number has left makes room.
fn name(file: &File, temporary: &Path) -> io::Result<()> {
    let _ = std::fs::remove_file(temporary);
    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, nameless, CWD, temporary, AtFlags::SYMLINK_FOLLOW)?)
}

fn failed(target: &str, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::NoSpace,
        _ => FailureKind::Invalid,
    };
    let parent = Path::new(target).parent().filter(|_| target.starts_with('/'));
    let hint = parent.map(|parent| match error.kind() {
        io::ErrorKind::NotFound => format!("mkdir -p {}", parent.display()),
        _ => format!("ls -ld {} shows who may write there", parent.display()),
    });
    Failure::say(kind, format!("write {target}: {error}")).hint(hint)
}

/// A reader that hashes what comes through: what was damaged on disk is not passed on unnoticed.
struct Checked {
    input: File,
    hasher: Hasher,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("a directory").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_there_when_it_is_whole() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("out.tar");
        std::fs::write(&path, b"before").expect("write");
        let left = temporary(&path).expect("a name");
        std::fs::write(&left, b"of a killed process").expect("write");
        let write = |file: &mut File| file.write_all(b"after").map_err(|error| failed("out.tar", &error));
        write_file(&path, write).expect("written");
        assert_eq!(
            (std::fs::read(&path).expect("read"), names(place.path())),
            (b"after".to_vec(), vec!["out.tar".into()])
        );
        // Whoever ends in the middle, however he does, leaves nothing.
        let (mut file, is_named) = begin(&left).expect("begun");
        file.write_all(b"half").expect("write");
        assert_eq!(names(place.path()).len(), 1 + usize::from(is_named));
        drop(file);
        let failed = write_file(&path, |_| Err::<(), _>(Failure::say(FailureKind::Invalid, "no")));
        assert!(failed.is_err() && names(place.path()) == ["out.tar"]);
        let nowhere = write_file(&place.path().join("none/out.tar"), |_| Ok(())).expect_err("no directory");
        assert_eq!(nowhere.hint.as_deref(), Some(&*format!("mkdir -p {}", place.path().join("none").display())));
    }
}
