//! A real index to forge others from, and looking at all of one.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;

use pybox_fuse_overlay::index::{self, Index, Position};
use pybox_fuse_overlay::record::Owners;

use crate::bench::{Bench, set_xattr};

/// Two layers with a bit of everything that an index can say.
#[must_use]
pub fn sample() -> Bench {
    let bench = Bench::new(2);
    bench.lower(0, "etc/passwd", "root");
    bench.lower(1, "etc/group", "wheel");
    bench.lower(1, "bin/tool", "#!");
    std::fs::hard_link(bench.layer(1).join("bin/tool"), bench.layer(1).join("bin/alias")).expect("link");
    std::os::unix::fs::symlink("../bin/tool", bench.layer(0).join("etc/link")).expect("symlink");
    set_xattr(&bench.layer(1).join("bin/tool"), "user.note", b"value");
    set_xattr(&bench.layer(1).join("bin/tool"), "user.overlay.origin", b"hidden");
    bench
}

/// The bytes of an index of the layers of a bench, with ids shifted by 7 and 8.
#[must_use]
pub fn built(bench: &Bench, owners: Option<&Owners>) -> Vec<u8> {
    let mut file = tempfile::tempfile().expect("a file");
    let open: Vec<File> = (0..bench.layers).map(|layer| File::open(bench.layer(layer)).expect("open")).collect();
    let layers: Vec<_> = open.iter().map(|layer| index::Layer { directory: layer.as_fd(), owners }).collect();
    index::build(&layers, &|uid, gid| (uid + 7, gid + 8), &file).expect("an index");
    let mut bytes = Vec::new();
    file.rewind().expect("rewind");
    file.read_to_end(&mut bytes).expect("read");
    bytes
}

/// Whatever an index says, looking at all of it ends and does not panic.
pub fn look_everywhere(index: &Index) {
    for number in 0..u64::from(index.len()) {
        let Some(position) = index.position(number + 1) else { continue };
        let Ok(entry) = index.entry(position) else { continue };
        let _ = (index.path(position), index.attributes(&entry), index.target(&entry), index.first_link(&entry));
        let _ = (index.xattrs(&entry).count(), index.links(&entry).count(), index.children(&entry).count());
        let _ = (index.find(position, b"tool"), index.find(position, b""), index.find(Position::ROOT, entry.name));
    }
}
