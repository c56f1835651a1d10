//! What a mount shows: names, attributes, and all of it as one line.

use std::collections::BTreeMap;

use pybox_fuse_overlay::Ids;
use pybox_fuse_overlay::filesystem::{Attributes, FileSystem as _, ROOT, kind};
use rustix::io::Errno;

use super::{Answer, Player};
use crate::bench::{Found, me};
use crate::text;

/// Links and names of each file.
type Names = BTreeMap<u64, (u32, Vec<String>)>;

impl Player {
    /// A listing, each entry as a lookup finds it.
    fn entries(&mut self, ino: u64) -> Result<Vec<(String, Attributes)>, Errno> {
        let mut entries = Vec::new();
        for Found { name, attributes: of_list, known } in self.view().entries(ino, true)? {
            if known {
                self.counted(of_list);
            }
            let found = self.lookup(ino, &name)?;
            assert_eq!((of_list.ino, of_list.kind()), (found.ino, found.kind()), "`{name}` as listed, as looked up");
            if known {
                assert_eq!(of_list, found, "`{name}` as listed, as looked up");
            }
            entries.push((name, found));
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(entries)
    }

    pub(super) fn list(&mut self, path: &str) -> Answer {
        let found = self.node(path, true)?;
        let names: Vec<_> = self.entries(found.ino)?.into_iter().map(|(name, _)| name).collect();
        Ok(if names.is_empty() { "empty".into() } else { names.join(" ") })
    }

    /// Who the model's user is, is whoever runs this.
    fn owner(&self, found: &Attributes) -> Result<(u32, u32), Errno> {
        let mut owner = (found.uid, found.gid);
        if self.bench.ids != Ids::Real {
            let truth = self.view().truth(found.ino)?;
            if self.bench.ids == Ids::Recorded {
                assert_eq!((truth.uid, truth.gid), owner, "the true owner, the one shown");
            }
            owner = (truth.uid, truth.gid);
        }
        let own = |id: u32, me: u32| if id == me { 0 } else { id };
        Ok((own(owner.0, me().uid), own(owner.1, me().gid)))
    }

    pub(super) fn stat(&mut self, path: &str) -> Answer {
        let found = self.node(path, false)?;
        let (uid, gid) = self.owner(&found)?;
        Ok(format!("{} {:04o} {uid} {gid}", kind_name(found.kind()), found.mode & 0o7777))
    }

    pub(super) fn tree(&mut self) -> Answer {
        let root = self.view().overlay.attributes(ROOT)?;
        let mut lines = Vec::new();
        let mut names = Names::new();
        self.dump(&root, ".", (&mut lines, &mut names))?;
        for (links, names) in names.values() {
            assert_eq!(*links as usize, names.len(), "links of {names:?}");
        }
        Ok(lines.join(" "))
    }

    fn dump(
        &mut self,
        found: &Attributes,
        path: &str,
        (lines, names): (&mut Vec<String>, &mut Names),
    ) -> Result<(), Errno> {
        let mut inside = Vec::new();
        let content = match found.kind() {
            kind::REGULAR => {
                let content = self.read(found.ino, 0, 1 << 16)?;
                assert_eq!(content.len() as u64, found.size, "bytes of {path}");
                format!("{}:{:x}:{}", content.len(), text::sum(&content), found.links)
            }
            kind::SYMLINK => format!("{}:{}", self.target(found.ino)?, found.links),
            kind::DIRECTORY => {
                inside = self.entries(found.ino)?;
                inside.len().to_string()
            }
            _ => found.links.to_string(),
        };
        let (uid, gid) = self.owner(found)?;
        let (kind, mode) = (kind_name(found.kind()), found.mode & 0o7777);
        lines.push(format!("{path}|{kind}|{mode:04o}|{uid}:{gid}|{content}|{}", self.attributes(found)?));
        if found.kind() != kind::DIRECTORY {
            names.entry(found.ino).or_insert((found.links, Vec::new())).1.push(path.into());
        }
        for (name, found) in inside {
            self.dump(&found, &format!("{path}/{name}"), (lines, names))?;
        }
        Ok(())
    }

    fn attributes(&self, found: &Attributes) -> Answer {
        if !matches!(found.kind(), kind::REGULAR | kind::DIRECTORY) {
            return Ok(String::new());
        }
        let overlay = &self.view().overlay;
        let mut attributes = Vec::new();
        for name in overlay.xattr_names(found.ino)?.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let value = overlay.xattr(found.ino, name)?;
            attributes.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(&value)));
        }
        attributes.sort();
        Ok(attributes.join(","))
    }
}

fn kind_name(kind: u32) -> &'static str {
    match kind {
        kind::REGULAR => "file",
        kind::DIRECTORY => "dir",
        kind::SYMLINK => "link",
        kind::FIFO => "fifo",
        _ => "other",
    }
}
