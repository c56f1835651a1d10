//! Files in memory. The one place of the suite with `unsafe`: the mapping is of a file that
//! others may change at any time, so it is only ever copied from and to, byte by byte.
#![allow(unsafe_code)]

use std::os::fd::AsFd;

use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync as sync, munmap};

use super::{Command, Failure, Outcome, Words, World, ok};
use crate::text;

pub(super) const TABLE: &[(&str, Command)] =
    &[("map", map), ("mapread", map_read), ("mapwrite", map_write), ("msync", msync), ("unmap", unmap)];

/// A mapping, undone when dropped.
pub(crate) struct Map {
    start: *mut u8,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone; no reference into it leaves a method.
unsafe impl Send for Map {}

impl Map {
    pub(crate) fn new(file: impl AsFd, writes: ProtFlags, flags: MapFlags, length: usize) -> Result<Self, Failure> {
        // SAFETY: a new place is asked for, so no memory of ours is replaced.
        let start = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ | writes, flags, file, 0) }?;
        Ok(Self { start: start.cast(), length })
    }

    fn within(&self, offset: usize, length: usize) -> Result<*mut u8, Failure> {
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(Failure::Said("beyond the mapping".into()));
        }
        Ok(self.start.wrapping_add(offset))
    }

    pub(crate) fn read(&self, offset: usize, length: usize) -> Result<Vec<u8>, Failure> {
        let from = self.within(offset, length)?;
        let byte = |index| {
            // SAFETY: `within` has checked that the byte is of this mapping, which lives.
            unsafe { from.wrapping_add(index).read_volatile() }
        };
        Ok((0..length).map(byte).collect())
    }

    pub(crate) fn write(&self, offset: usize, content: &[u8]) -> Result<(), Failure> {
        let to = self.within(offset, content.len())?;
        for (index, byte) in content.iter().enumerate() {
            // SAFETY: as in `read`; the caller has mapped it for writing.
            unsafe { to.wrapping_add(index).write_volatile(*byte) };
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), Failure> {
        // SAFETY: the whole of a living mapping.
        unsafe { sync(self.start.cast(), self.length, MsyncFlags::SYNC) }?;
        Ok(())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the whole of a living mapping, to which nothing points any more.
        unsafe { munmap(self.start.cast(), self.length) }.ok();
    }
}

/// `map NAME @FILE shared|private|read LENGTH`
fn map(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let file = world.open_file(words.next()?)?;
    let (writes, flags) = match words.text()?.as_str() {
        "shared" => (ProtFlags::WRITE, MapFlags::SHARED),
        "private" => (ProtFlags::WRITE, MapFlags::PRIVATE),
        _ => (ProtFlags::empty(), MapFlags::SHARED),
    };
    let map = Map::new(file, writes, flags, words.count()?)?;
    world.maps.insert(name, map);
    ok()
}

fn mapped<'a>(world: &'a World, words: &mut Words<'_>) -> Result<&'a Map, Failure> {
    let name = words.text()?;
    world.maps.get(&name).ok_or_else(|| Failure::Said(format!("nothing is mapped as {name}")))
}

fn map_read(world: &mut World, words: &mut Words<'_>) -> Outcome {
    Ok(text::show(&mapped(world, words)?.read(words.count()?, words.count()?)?))
}

fn map_write(world: &mut World, words: &mut Words<'_>) -> Outcome {
    mapped(world, words)?.write(words.count()?, words.next()?)?;
    ok()
}

fn msync(world: &mut World, words: &mut Words<'_>) -> Outcome {
    mapped(world, words)?.sync()?;
    ok()
}

fn unmap(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    world.maps.remove(&name).ok_or(format!("nothing is mapped as {name}"))?;
    ok()
}
