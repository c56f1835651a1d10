//! What is in a file.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io;

use super::names::write_all;
use super::{Command, Failure, Outcome, Words, World, flags, octal, ok};
use crate::text;

pub(super) const TABLE: &[(&str, Command)] = &[
    ("open", open),
    ("close", close),
    ("flags", status_flags),
    ("cat", cat),
    ("write", write),
    ("append", append),
    ("quick-write", quick_write),
    ("quick-append", quick_append),
    ("quick-cat", quick_cat),
    ("read", read),
    ("pread", pread),
    ("put", put),
    ("pwrite", pwrite),
    ("seek", seek),
    ("fsync", fsync),
    ("fdatasync", fdatasync),
    ("syncfs", syncfs),
    ("fallocate", fallocate),
    ("copyrange", copy_range),
    ("clone", clone),
];

const OPEN_FLAGS: &[(&str, OFlags)] = &[
    ("rd", OFlags::RDONLY),
    ("wr", OFlags::WRONLY),
    ("rdwr", OFlags::RDWR),
    ("creat", OFlags::CREATE),
    ("excl", OFlags::EXCL),
    ("trunc", OFlags::TRUNC),
    ("append", OFlags::APPEND),
    ("nofollow", OFlags::NOFOLLOW),
    ("dir", OFlags::DIRECTORY),
    ("path", OFlags::PATH),
    ("tmp", OFlags::TMPFILE),
    ("direct", OFlags::DIRECT),
    ("sync", OFlags::SYNC),
    ("dsync", OFlags::DSYNC),
    ("noatime", OFlags::NOATIME),
    ("nonblock", OFlags::NONBLOCK),
];

/// `open NAME PATH FLAGS [MODE]`
fn open(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let (dir, path) = world.at(words.next()?)?;
    let flags = flags(&words.text()?, OPEN_FLAGS)?;
    let mode = words.optional_text().map_or(Ok(Mode::from_raw_mode(0o644)), |word| octal(&word))?;
    let flags = flags.into_iter().fold(OFlags::CLOEXEC, |all, one| all | one);
    let file = fs::openat(dir, path, flags, mode)?;
    world.files.insert(name, file);
    ok()
}

fn close(world: &mut World, words: &mut Words<'_>) -> Outcome {
    for word in std::iter::from_fn(|| words.optional_text()) {
        let name = word.trim_start_matches('@');
        world.files.remove(name).ok_or(format!("nothing is open as {name}"))?;
    }
    ok()
}

/// `flags @A FLAGS`: status flags of an open file.
fn status_flags(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    let flags = flags(&words.text()?, OPEN_FLAGS)?.into_iter().fold(OFlags::empty(), |all, one| all | one);
    fs::fcntl_setfl(file, flags)?;
    ok()
}

fn cat(world: &mut World, words: &mut Words<'_>) -> Outcome {
    cat_with(world, words, OFlags::empty())
}

fn cat_with(world: &World, words: &mut Words<'_>, how: OFlags) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let file = fs::openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC | how, Mode::empty())?;
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut content)?;
    Ok(text::show(&content))
}

fn put_in(world: &World, words: &mut Words<'_>, how: OFlags) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let content = words.optional().unwrap_or_default();
    let mode = words.optional_text().map_or(Ok(Mode::from_raw_mode(0o644)), |word| octal(&word))?;
    let file = fs::openat(dir, path, OFlags::WRONLY | OFlags::CLOEXEC | how, mode)?;
    write_all(&file, content)?;
    ok()
}

/// `write PATH CONTENT [MODE]`: as a shell's `>` does.
fn write(world: &mut World, words: &mut Words<'_>) -> Outcome {
    put_in(world, words, OFlags::CREATE | OFlags::TRUNC)
}

/// `append PATH CONTENT`: to what exists.
fn append(world: &mut World, words: &mut Words<'_>) -> Outcome {
    put_in(world, words, OFlags::APPEND)
}

/// As `write`, `append` and `cat`, but pipes are not waited for.
fn quick_write(world: &mut World, words: &mut Words<'_>) -> Outcome {
    put_in(world, words, OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK)
}

fn quick_append(world: &mut World, words: &mut Words<'_>) -> Outcome {
    put_in(world, words, OFlags::APPEND | OFlags::NONBLOCK)
}

fn quick_cat(world: &mut World, words: &mut Words<'_>) -> Outcome {
    cat_with(world, words, OFlags::NONBLOCK)
}

fn read(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    let mut buffer = vec![0; words.count()?];
    let got = io::read(file, &mut buffer)?;
    Ok(text::show(&buffer[..got]))
}

fn pread(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    let offset = words.size()?;
    let mut buffer = vec![0; words.count()?];
    let got = io::pread(file, &mut buffer, offset)?;
    Ok(text::show(&buffer[..got]))
}

fn put(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    Ok(io::write(file, words.next()?)?.to_string())
}

fn pwrite(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    let offset = words.size()?;
    Ok(io::pwrite(file, words.next()?, offset)?.to_string())
}

/// `seek @A set|cur|end|data|hole OFFSET`
fn seek(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    let how = words.text()?;
    let offset = words.number()?;
    let place = match how.as_str() {
        "set" => SeekFrom::Start(offset.cast_unsigned()),
        "cur" => SeekFrom::Current(offset),
        "end" => SeekFrom::End(offset),
        "data" => SeekFrom::Data(offset.cast_unsigned()),
        "hole" => SeekFrom::Hole(offset.cast_unsigned()),
        other => return Err(Failure::Said(format!("no place `{other}`"))),
    };
    Ok(fs::seek(file, place)?.to_string())
}

fn fsync(world: &mut World, words: &mut Words<'_>) -> Outcome {
    fs::fsync(world.open_file(words.next()?)?)?;
    ok()
}

fn fdatasync(world: &mut World, words: &mut Words<'_>) -> Outcome {
    fs::fdatasync(world.open_file(words.next()?)?)?;
    ok()
}

fn syncfs(world: &mut World, words: &mut Words<'_>) -> Outcome {
    fs::syncfs(world.open_file(words.next()?)?)?;
    ok()
}

/// `fallocate @A FLAGS OFFSET LENGTH`
fn fallocate(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    let known = [
        ("plain", FallocateFlags::empty()),
        ("keep", FallocateFlags::KEEP_SIZE),
        ("punch", FallocateFlags::PUNCH_HOLE),
        ("zero", FallocateFlags::ZERO_RANGE),
        ("collapse", FallocateFlags::COLLAPSE_RANGE),
        ("insert", FallocateFlags::INSERT_RANGE),
    ];
    let flags = flags(&words.text()?, &known)?.into_iter().fold(FallocateFlags::empty(), |all, one| all | one);
    fs::fallocate(file, flags, words.size()?, words.size()?)?;
    ok()
}

/// `copyrange @FROM OFFSET @TO OFFSET LENGTH`: how much was copied, over as many calls as it takes.
fn copy_range(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let from = world.open_file(words.next()?)?;
    let mut from_offset = words.size()?;
    let to = world.open_file(words.next()?)?;
    let mut to_offset = words.size()?;
    let mut left = words.count()?;
    let mut copied = 0;
    while left > 0 {
        let now = fs::copy_file_range(from, Some(&mut from_offset), to, Some(&mut to_offset), left)?;
        if now == 0 {
            break;
        }
        copied += now;
        left -= now;
    }
    Ok(copied.to_string())
}

/// `clone @FROM @TO`: FICLONE.
fn clone(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let from = world.open_file(words.next()?)?;
    let to = world.open_file(words.next()?)?;
    fs::ioctl_ficlone(to.as_fd(), from)?;
    ok()
}

/// A path of the case's directory.
pub(super) fn path(word: &[u8]) -> &std::path::Path {
    std::path::Path::new(OsStr::from_bytes(word))
}
