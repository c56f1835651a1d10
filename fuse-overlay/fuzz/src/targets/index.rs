//! Index files that somebody forged, by themselves and below an overlay.
//!
//! The first byte says whether what follows is a file as it stands, one that gets the right checksum, or changes of a
//! real index: four bytes each, of them two for the place. And whether an overlay is made of it.

use std::fs::File;
use std::io::Write as _;

use pybox_fuse_overlay::filesystem::{Change, FileSystem, Listed, Listing, Move, New, ROOT, SetXattr, kind};
use pybox_fuse_overlay::index::{Index, testing};
use pybox_fuse_overlay::{Ids, Overlay};
use rustix::fs::MemfdFlags;

use crate::bench::{Bench, me};
use crate::forging::{built, look_everywhere, sample};

const OVERLAID: u8 = 4;
const RECORDED: u8 = 8;
/// As many nodes as are looked at from above: a forged tree may have more ways than nodes.
const MOST: usize = 300;

/// Forged index files.
///
/// # Panics
/// If anything inside does; a file that is refused is none.
pub fn index(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    let bytes = match how & 3 {
        0 => rest.to_vec(),
        1 => testing::sealed(rest.to_vec()),
        _ => testing::sealed(forged(rest)),
    };
    let file = in_memory(&bytes);
    let Ok(index) = Index::open(&file) else { return };
    look_everywhere(&index);
    if how & OVERLAID != 0 {
        let mut bench = sample();
        bench.ids = if how & RECORDED == 0 { Ids::Real } else { Ids::Recorded };
        serve(&bench, &file);
    }
}

fn forged(changes: &[u8]) -> Vec<u8> {
    thread_local!(static REAL: Vec<u8> = built(&sample(), None));
    let mut bytes = REAL.with(Clone::clone);
    for [low, high, way, value] in changes.as_chunks::<4>().0 {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
        let end = bytes.len().min(at + 4);
        match way & 3 {
            0 => bytes[at] = *value,
            1 => bytes[at] ^= *value,
            2 => bytes[at..end].copy_from_slice(&u32::from(*value).to_le_bytes()[..end - at]),
            _ => bytes[at..end].copy_from_slice(&(u32::MAX - u32::from(*value)).to_le_bytes()[..end - at]),
        }
    }
    bytes
}

fn in_memory(bytes: &[u8]) -> File {
    let mut file = File::from(rustix::fs::memfd_create(c"index", MemfdFlags::CLOEXEC).expect("a file in memory"));
    file.write_all(bytes).expect("write");
    file
}

/// An overlay answers something to everything, twice.
fn serve(bench: &Bench, file: &File) {
    for _ in 0..2 {
        let mut config = bench.config(true);
        config.index = Some(file.try_clone().expect("a descriptor"));
        let Ok(overlay) = Overlay::open(config) else { return };
        let seen = walk(&overlay);
        change(&overlay, &seen);
        walk(&overlay);
    }
}

/// A name, and what a lookup of it found.
struct Name {
    parent: u64,
    name: Vec<u8>,
    ino: u64,
    kind: u32,
}

struct Names(Vec<(Vec<u8>, u64)>);

impl Listing for Names {
    fn wants_attributes(&self) -> bool {
        true
    }

    fn take(&mut self, entry: &Listed<'_>) -> bool {
        self.0.push((entry.name.to_vec(), entry.next));
        self.0.len() < MOST
    }

    fn room(&self) -> usize {
        4096
    }
}

fn walk(overlay: &Overlay) -> Vec<Name> {
    let mut seen: Vec<Name> = Vec::new();
    let mut pending = vec![ROOT];
    while let Some(directory) = pending.pop() {
        let mut names = Names(Vec::new());
        let _ = overlay.list(directory, 0, &mut names);
        for (name, _) in names.0 {
            let Ok(found) = overlay.lookup(directory, &name) else { continue };
            let is_new = seen.iter().all(|known| known.ino != found.ino);
            if found.kind() == kind::DIRECTORY && is_new && name != b"." && name != b".." {
                pending.push(found.ino);
            }
            look(overlay, found.ino);
            seen.push(Name { parent: directory, name, ino: found.ino, kind: found.kind() });
            if seen.len() >= MOST {
                return seen;
            }
        }
    }
    seen
}

fn look(overlay: &Overlay, ino: u64) {
    let _ = (overlay.attributes(ino), overlay.read(ino, 0, &mut [0; 64]), overlay.read_link(ino));
    for name in overlay.xattr_names(ino).unwrap_or_default().split(|byte| *byte == 0) {
        let _ = overlay.xattr(ino, name);
    }
}

/// One thing after the other is copied up, moved, linked and removed.
fn change(overlay: &Overlay, seen: &[Name]) {
    let new = New { mode: kind::REGULAR | 0o644, mask: 0, rdev: 0, target: b"" };
    for (number, name) in seen.iter().take(40).enumerate() {
        let place = (name.parent, name.name.as_slice());
        let fresh = format!("n{number}").into_bytes();
        let _ = match number % 8 {
            0 => overlay.write(name.ino, 1, b"x", true).map(drop),
            1 => overlay.rename(place, (ROOT, &fresh), Move::Replace),
            2 => overlay.link(name.ino, ROOT, &fresh).map(drop),
            3 if name.kind == kind::DIRECTORY => overlay.make(name.ino, &fresh, &new, me()).map(drop),
            3 => overlay.unlink(name.parent, &name.name),
            4 => overlay.set_xattr(name.ino, b"user.x", b"y", SetXattr::default()),
            5 => overlay.change(name.ino, &Change { size: Some(3), mode: Some(0o700), ..Change::default() }).map(drop),
            6 => overlay.rename(place, (ROOT, b"etc"), Move::Exchange),
            _ => overlay.rmdir(name.parent, &name.name),
        };
        overlay.forget(name.ino, 1);
    }
}
