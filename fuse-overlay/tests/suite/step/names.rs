//! What makes, moves and removes names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};

use super::{Command, Failure, Outcome, Words, World, flags, octal, ok};
use crate::text;

pub(super) const TABLE: &[(&str, Command)] = &[
    ("mkdir", mkdir),
    ("rmdir", rmdir),
    ("unlink", unlink),
    ("rename", rename),
    ("link", link),
    ("symlink", symlink),
    ("readlink", readlink),
    ("mknod", mknod),
    ("file", file),
    ("many", many),
];

fn mkdir(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let mode = words.optional_text().map_or(Ok(Mode::from_raw_mode(0o755)), |word| octal(&word))?;
    fs::mkdirat(dir, path, mode)?;
    ok()
}

fn rmdir(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    fs::unlinkat(dir, path, AtFlags::REMOVEDIR)?;
    ok()
}

fn unlink(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    fs::unlinkat(dir, path, AtFlags::empty())?;
    ok()
}

fn rename(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (from_dir, from) = world.at(words.next()?)?;
    let (to_dir, to) = world.at(words.next()?)?;
    let known = [
        ("noreplace", RenameFlags::NOREPLACE),
        ("exchange", RenameFlags::EXCHANGE),
        ("whiteout", RenameFlags::WHITEOUT),
        ("unknown", RenameFlags::from_bits_retain(0x8000)),
    ];
    let flags = flags(&words.optional_text().unwrap_or_default(), &known)?;
    fs::renameat_with(from_dir, from, to_dir, to, flags.into_iter().fold(RenameFlags::empty(), |all, one| all | one))?;
    ok()
}

fn link(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (from_dir, from) = world.at(words.next()?)?;
    let (to_dir, to) = world.at(words.next()?)?;
    let flags = match words.optional_text().as_deref() {
        Some("follow") => AtFlags::SYMLINK_FOLLOW,
        _ if from.is_empty() => AtFlags::EMPTY_PATH,
        _ => AtFlags::empty(),
    };
    fs::linkat(from_dir, from, to_dir, to, flags)?;
    ok()
}

fn symlink(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let target = words.next()?;
    let (dir, path) = world.at(words.next()?)?;
    fs::symlinkat(target, dir, path)?;
    ok()
}

fn readlink(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    Ok(text::show(fs::readlinkat(dir, path, Vec::new())?.as_bytes()))
}

/// `mknod PATH fifo|sock|file|char|block [MODE [MAJOR MINOR]]`
fn mknod(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let kind = match words.text()?.as_str() {
        "fifo" => FileType::Fifo,
        "sock" => FileType::Socket,
        "file" => FileType::RegularFile,
        "char" => FileType::CharacterDevice,
        "block" => FileType::BlockDevice,
        other => return Err(Failure::Said(format!("no kind `{other}`"))),
    };
    let mode = words.optional_text().map_or(Ok(Mode::from_raw_mode(0o644)), |word| octal(&word))?;
    let major = words.number().unwrap_or(0);
    let minor = words.number().unwrap_or(0);
    let numbers = (u32::try_from(major).unwrap_or(0), u32::try_from(minor).unwrap_or(0));
    fs::mknodat(dir, path, kind, mode, fs::makedev(numbers.0, numbers.1))?;
    ok()
}

/// `file PATH CONTENT [MODE [UID GID]]`: a file that was not there, with exactly this mode.
fn file(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let content = words.optional().unwrap_or_default();
    let mode = words.optional_text().map_or(Ok(Mode::from_raw_mode(0o644)), |word| octal(&word))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = fs::openat(dir, path, flags, Mode::RUSR | Mode::WUSR)?;
    write_all(&file, content)?;
    if let Some(uid) = words.optional_text() {
        let owner = super::attributes::ids(&uid, &words.text()?)?;
        fs::fchown(&file, owner.0, owner.1)?;
    }
    fs::fchmod(&file, mode)?;
    ok()
}

pub(super) fn write_all(file: impl std::os::fd::AsFd, content: &[u8]) -> Result<(), Failure> {
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// `many DIRECTORY COUNT`: files `f00000`, `f00001`, … each holding nothing.
fn many(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let dir = OsStr::from_bytes(words.next()?);
    for number in 0..words.size()? {
        let path = std::path::Path::new(dir).join(format!("f{number:05}"));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644))?;
    }
    ok()
}
