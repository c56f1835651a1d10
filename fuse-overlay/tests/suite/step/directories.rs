//! Listings: whole, in pieces, and from a remembered place.

use std::mem::MaybeUninit;

use rustix::fs::{self, FileType, Mode, OFlags, RawDir, SeekFrom};

use super::{Command, Failure, Outcome, Words, World, ok};
use crate::text;

pub(super) const TABLE: &[(&str, Command)] = &[
    ("ls", ls),
    ("lstypes", ls_types),
    ("lsinos", ls_inos),
    ("lscount", ls_count),
    ("opendir", opendir),
    ("next", next),
    ("rest", rest),
    ("left", left),
    ("tell", tell),
    ("seekdir", seekdir),
    ("rewind", rewind),
    ("closedir", closedir),
];

/// A name with what its entry said.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    kind: FileType,
    ino: u64,
}

/// A directory being read, one entry after another; the file's own offset is not trusted
/// to be where the last shown entry is, so the place is set before each call.
pub(super) struct Listing {
    file: std::os::fd::OwnedFd,
    place: u64,
}

impl Listing {
    fn open(world: &World, word: &[u8]) -> Result<Self, Failure> {
        let (dir, path) = world.at(word)?;
        let path = if path.is_empty() { b"." } else { path };
        let file = fs::openat(dir, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { file, place: 0 })
    }

    /// Entries from here on, at most `limit`, `.` and `..` included.
    fn take(&mut self, limit: usize) -> Result<Vec<Entry>, Failure> {
        fs::seek(&self.file, SeekFrom::Start(self.place))?;
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        let mut raw = RawDir::new(&self.file, &mut buffer);
        let mut entries = Vec::new();
        while entries.len() < limit {
            let Some(entry) = raw.next() else { break };
            let entry = entry?;
            let name = entry.file_name().to_bytes().to_vec();
            entries.push(Entry { name, kind: entry.file_type(), ino: entry.ino() });
            self.place = entry.next_entry_cookie();
        }
        Ok(entries)
    }
}

/// All entries but `.` and `..`, sorted by name.
pub(super) fn entries(world: &World, word: &[u8]) -> Result<Vec<Entry>, Failure> {
    let mut entries = Listing::open(world, word)?.take(usize::MAX)?;
    let dots = entries.iter().filter(|entry| matches!(entry.name.as_slice(), b"." | b"..")).count();
    if dots != 2 {
        return Err(Failure::Said(format!("{dots} of . and ..")));
    }
    entries.retain(|entry| !matches!(entry.name.as_slice(), b"." | b".."));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn joined(each: impl Iterator<Item = String>) -> String {
    let all = each.collect::<Vec<_>>().join(" ");
    if all.is_empty() { "empty".into() } else { all }
}

fn ls(world: &mut World, words: &mut Words<'_>) -> Outcome {
    Ok(joined(entries(world, words.next()?)?.iter().map(|entry| text::name(&entry.name))))
}

/// `NAME:TYPE` as the listing itself says it.
fn ls_types(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let kind = |entry: &Entry| super::attributes::kind(u16::try_from(entry.kind.as_raw_mode()).unwrap_or(0));
    let found = entries(world, words.next()?)?;
    Ok(joined(found.iter().map(|entry| format!("{}:{}", text::name(&entry.name), kind(entry)))))
}

/// Whether each entry's inode number is the one that stat tells.
fn ls_inos(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let word = words.next()?;
    let found = entries(world, word)?;
    let dir = Listing::open(world, word)?.file;
    let mut wrong = Vec::new();
    for entry in &found {
        let stat = fs::statat(&dir, entry.name.as_slice(), fs::AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_ino != entry.ino {
            wrong.push(text::name(&entry.name));
        }
    }
    Ok(if wrong.is_empty() { format!("{} agree", found.len()) } else { format!("other numbers: {}", wrong.join(" ")) })
}

fn ls_count(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let found = entries(world, words.next()?)?;
    let mut names: Vec<_> = found.iter().map(|entry| &entry.name).collect();
    names.dedup();
    Ok(if names.len() == found.len() { found.len().to_string() } else { "a name twice".into() })
}

/// `opendir NAME PATH`
fn opendir(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let listing = Listing::open(world, words.next()?)?;
    world.listings.insert(name, listing);
    ok()
}

fn listing<'a>(world: &'a mut World, words: &mut Words<'_>) -> Result<&'a mut Listing, Failure> {
    let name = words.text()?;
    world.listings.get_mut(&name).ok_or_else(|| Failure::Said(format!("no directory is read as {name}")))
}

/// `next NAME COUNT [KEPT]`: reads on by that many entries; how many came. Their names are kept.
fn next(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let found = listing(world, words)?.take(words.count()?)?;
    if let Some(kept) = words.optional_text() {
        world.kept.insert(kept, joined(found.iter().map(|entry| text::name(&entry.name))));
    }
    Ok(found.len().to_string())
}

/// `rest NAME [KEPT…]`: reads to the end; with kept lists, all names of both together, each once.
fn rest(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let found = listing(world, words)?.take(usize::MAX)?;
    let mut names: Vec<_> = found.iter().map(|entry| text::name(&entry.name)).collect();
    for kept in std::iter::from_fn(|| words.optional_text()) {
        let before = world.kept.get(&kept).ok_or(format!("nothing is kept as {kept}"))?;
        names.extend(before.split(' ').map(str::to_owned));
    }
    names.retain(|name| !matches!(name.as_str(), "." | ".."));
    names.sort();
    let count = names.len();
    names.dedup();
    if names.len() != count {
        return Err(Failure::Said(format!("{} names came twice", count - names.len())));
    }
    Ok(if count > 20 { count.to_string() } else { joined(names.into_iter()) })
}

/// `left NAME PATH KEPT`: reads to the end; whether each name that is there now has come, now or before.
fn left(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let found = listing(world, words)?.take(usize::MAX)?;
    let mut names: Vec<_> = found.iter().map(|entry| text::name(&entry.name)).collect();
    let there = entries(world, words.next()?)?;
    let kept = words.text()?;
    let before = world.kept.get(&kept).ok_or(format!("nothing is kept as {kept}"))?;
    names.extend(before.split(' ').map(str::to_owned));
    let missing: Vec<_> =
        there.iter().map(|entry| text::name(&entry.name)).filter(|name| !names.contains(name)).collect();
    Ok(if missing.is_empty() { "all".into() } else { format!("without {}", missing.join(" ")) })
}

/// `tell NAME KEPT`: remembers the place.
fn tell(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let place = listing(world, words)?.place;
    world.kept.insert(words.text()?, place.to_string());
    ok()
}

fn seekdir(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let kept = words.text()?;
    let place = world.kept.get(&kept).and_then(|place| place.parse().ok()).ok_or(format!("no place {kept}"))?;
    let listing = world.listings.get_mut(&name).ok_or(format!("no directory is read as {name}"))?;
    listing.place = place;
    ok()
}

fn rewind(world: &mut World, words: &mut Words<'_>) -> Outcome {
    listing(world, words)?.place = 0;
    ok()
}

fn closedir(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    world.listings.remove(&name).ok_or(format!("no directory is read as {name}"))?;
    ok()
}
