//! What comes by standard input: the file, or the context as an archive.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::copy::{HEAD, is_archive};
use super::file::{self, BuildFile, LIMIT, NAMES};
use super::step::invalid;
use crate::engine::Engine;
use crate::engine::api::{Build, BuildInput, Failure, FailureKind};
use crate::engine::containers::bench::{Bench, Ground};
use crate::engine::halt;
use crate::engine::images::foreign_compression;
use crate::snapshot::failure::SnapshotError;
use crate::store::Store;
use crate::sys::path::RootFd;

/// What a build reads.
pub(super) struct Input<'e> {
    /// The file.
    pub(super) file: BuildFile,
    /// The directory of the context.
    pub(super) context: PathBuf,
    /// Where that is, if it has come as an archive.
    _bench: Option<Bench<'e>>,
}

/// Reads what there is to read before anything can be said of the build.
///
/// # Errors
/// If there is no file, or what comes is neither a file nor an archive.
pub(super) fn receive<'e>(engine: &'e Engine, store: Option<&'e Store>, build: &Build) -> Result<Input<'e>, Failure> {
    let context = build.context.clone();
    match (build.standard, store) {
        (None, _) => Ok(Input { file: file::find(build)?, context, _bench: None }),
        (Some(BuildInput::File), _) => {
            let file = halt::listening(|halt| text_of(halt.heed(standard()?)?))?;
            Ok(Input { file, context, _bench: None })
        }
        (Some(BuildInput::Context), None) => Err(Failure::say(FailureKind::Internal, "no store for the context")),
        (Some(BuildInput::Context), Some(store)) => {
            let mut bench = engine.bench(store, Ground { layers: &[], config: b"{}" })?;
            let directory = bench.directory()?;
            let file = halt::listening(|halt| {
                let mut input = halt.heed(standard()?)?;
                let mut head = Vec::new();
                input.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(|error| unreadable(&error))?;
                let is_archive = is_readable_archive(&head)?;
                let mut input = io::Cursor::new(head).chain(input);
                if !is_archive {
                    return text_of(input);
                }
                let into = File::open(&directory).map_err(|error| unreadable(&error))?;
                engine.extract_for_user(&into, |writer| {
                    let copied = io::copy(&mut input, &mut File::from(writer));
                    copied.map(drop).map_err(|source| SnapshotError::Io { operation: "read".to_owned(), source })
                })?;
                named(&directory, build.file.as_deref())
            })?;
            Ok(Input { file, context: directory, _bench: Some(bench) })
        }
    }
}

fn standard() -> Result<File, Failure> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::say(FailureKind::Invalid, format!("read standard input: {error}"))
}

/// Whether these are the first bytes of an archive; one that cannot be read is refused.
fn is_readable_archive(head: &[u8]) -> Result<bool, Failure> {
    let Some(packed) = foreign_compression(head) else { return Ok(is_archive(head)) };
    let sentence = format!("the context is compressed with {packed}; it may be plain, gzip or zstd");
    Err(invalid(sentence).hint(format!("{packed} -dc CONTEXT | pybox build -t NAME -")))
}

fn text_of(input: impl Read) -> Result<BuildFile, Failure> {
    let mut bytes = Vec::new();
    input.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    let wrong = |why: &str| {
        let failure = invalid(format!("standard input is no build file: {why}"));
        failure.hint("pybox build -t NAME -f - . < Dockerfile".to_owned())
    };
    if bytes.len() as u64 > LIMIT {
        return Err(wrong("it has more than 4 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is no UTF-8"))?;
    if text.trim().is_empty() {
        return Err(wrong("it is empty"));
    }
    Ok(BuildFile::of_text("standard input", text))
}

/// The file in a context that anybody may have packed: no link in it leads out.
fn named(context: &Path, asked: Option<&Path>) -> Result<BuildFile, Failure> {
    let root = RootFd::open_trusted(context).map_err(|error| unreadable(&error.into()))?;
    let names: Vec<&Path> = asked.map_or_else(|| NAMES.iter().map(Path::new).collect(), |path| vec![path]);
    for name in &names {
        let file = match root.open_file(name, LIMIT) {
            Err(rustix::io::Errno::NOENT) => continue,
            other => other.map_err(|error| unreadable(&error.into()))?,
        };
        let text = io::read_to_string(file).map_err(|error| unreadable(&error))?;
        return Ok(BuildFile::of_text(&name.to_string_lossy(), text));
    }
    let names: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
    let failure = Failure::say(FailureKind::NotFound, format!("the context has no {}", names.join(", no ")));
    Err(failure.hint("name another file of the context: pybox build -f FILE -".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_files() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, expected) in [
            (b"FROM scratch\n".as_slice(), Some(false)),
            (b"", Some(false)),
            (&[0x1f, 0x8b, 8], Some(true)),
            (&[0x28, 0xb5, 0x2f, 0xfd], Some(true)),
            (&tar, Some(true)),
            (b"BZh9", None),
            (b"\xfd7zXZ\0", None),
        ] {
            assert_eq!(is_readable_archive(head).ok(), expected, "{head:?}");
        }
    }

    #[test]
    fn what_is_no_file_is_said() {
        assert!(text_of(b"FROM a\n".as_slice()).is_ok());
        for bytes in [b" \n".as_slice(), b"\xff"] {
            assert!(text_of(bytes).err().expect("refused").message.starts_with("standard input is no build file"));
        }
    }
}
