//! The nodes that are known, and how often the kernel has looked each up.
//!
//! A node of the layers that nobody has touched needs no state: its number is
//! its place in the index. Only a counter stands here, four bytes that exist
//! once they are used. What was copied up, made or removed has a [`Node`].

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::filesystem::kind;
use crate::index::Position;
use crate::record::Record;

/// Numbers of nodes that the upper directory has given begin here, and fit in
/// 32 bits as long as those of its file system do.
const UPPER: u64 = 1 << 31;
/// Where numbers begin that do not fit.
const FAR_UPPER: u64 = 1 << 48;

/// The number under which a file is shown that was made in the upper directory.
pub(super) fn upper_number(ino: u64) -> u64 {
    if ino < UPPER { UPPER | ino } else { FAR_UPPER.wrapping_add(ino) }
}

/// A name in the upper directory: its directory, and the entry there.
pub(super) type Name = (u64, Box<[u8]>);

/// A node that is not only what the index says.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// File type bits.
    pub kind: u32,
    /// Of a directory: what it shows of the layers. Of others: where in the
    /// index they come from.
    pub lower: Option<Position>,
    /// Inode number in the upper directory, if it is there.
    pub upper: Option<u64>,
    /// Names by which it can be reached in the upper directory: parent and entry.
    pub names: Vec<Name>,
    /// Holds what has no name any more.
    pub pinned: Option<Arc<OwnedFd>>,
    /// No name of it is left, and it was never copied up.
    pub gone: bool,
    /// What is recorded of it, once that was read.
    pub record: Kept,
    /// How often it was looked up; for numbers of the index see `Nodes::counts`.
    pub lookups: u64,
}

/// A record as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was not looked for.
    #[default]
    Unread,
    /// There is none: the disk tells the truth.
    Absent,
    /// This one.
    Is(Record),
}

impl From<Option<Record>> for Kept {
    fn from(record: Option<Record>) -> Self {
        record.map_or(Self::Absent, Self::Is)
    }
}

/// What became of a node that was to be let go.
#[derive(Debug)]
pub(super) enum Released {
    /// It is still needed.
    Stays,
    /// Nothing is known of it any more; what was.
    Gone(Option<Node>),
}

/// All of them.
#[derive(Debug)]
pub(super) struct Nodes {
    known: HashMap<u64, Node>,
    by_upper: HashMap<u64, u64>,
    /// How many names of nodes each directory has. As long as there is one the directory stays known: the kernel
    /// may have come to the node by another name, and forget this one's directory.
    named_in: HashMap<u64, usize>,
    counts: Vec<u32>,
}

impl Nodes {
    /// For an index of `length` nodes.
    pub(super) fn new(length: u32) -> Self {
        Self {
            known: HashMap::new(),
            by_upper: HashMap::new(),
            named_in: HashMap::new(),
            counts: vec![0; length as usize],
        }
    }

    pub(super) fn get(&self, ino: u64) -> Option<&Node> {
        self.known.get(&ino)
    }

    pub(super) fn get_mut(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.known.get_mut(&ino).ok_or(Errno::STALE)
    }

    /// The node, made from nothing if only the index has it.
    pub(super) fn touch(&mut self, ino: u64) -> &mut Node {
        self.known.entry(ino).or_default()
    }

    /// Which node the file with this number in the upper directory is.
    pub(super) fn of_upper(&self, upper: u64) -> Option<u64> {
        self.by_upper.get(&upper).copied()
    }

    /// Puts a node in, or in the place of what was known of it.
    pub(super) fn put(&mut self, ino: u64, node: Node) {
        if let Some(upper) = node.upper {
            self.by_upper.insert(upper, ino);
        }
        self.enter(&node.names);
        if let Some(before) = self.known.insert(ino, node) {
            self.leave(&before.names);
        }
    }

    fn enter(&mut self, names: &[Name]) {
        for (directory, _) in names {
            *self.named_in.entry(*directory).or_default() += 1;
        }
    }

    fn leave(&mut self, names: &[Name]) {
        for (directory, _) in names {
            if let Some(count) = self.named_in.get_mut(directory) {
                *count -= 1;
                if *count == 0 {
                    self.named_in.remove(directory);
                }
            }
        }
    }

    /// Notes that the upper directory has the node now.
    pub(super) fn raise(&mut self, ino: u64, kind: u32, upper: u64) -> &mut Node {
        self.by_upper.insert(upper, ino);
        let node = self.known.entry(ino).or_default();
        node.kind = kind;
        node.upper = Some(upper);
        node.gone = false;
        node
    }

    /// Notes one more name.
    pub(super) fn add_name(&mut self, ino: u64, parent: u64, name: &[u8]) {
        if let Some(node) = self.known.get_mut(&ino)
            && !node.names.iter().any(|(directory, entry)| *directory == parent && **entry == *name)
        {
            node.names.push((parent, name.into()));
            *self.named_in.entry(parent).or_default() += 1;
        }
    }

    /// Notes the name of a directory, which has one. The one that was known may be of a directory above that was
    /// moved, and got another number when the kernel had forgotten it.
    pub(super) fn only_name(&mut self, ino: u64, parent: u64, name: &[u8]) {
        if let Some(node) = self.known.get_mut(&ino)
            && !matches!(node.names.as_slice(), [(directory, entry)] if *directory == parent && **entry == *name)
        {
            let before = std::mem::replace(&mut node.names, vec![(parent, name.into())]);
            *self.named_in.entry(parent).or_default() += 1;
            self.leave(&before);
        }
    }

    /// Notes that a name is gone.
    pub(super) fn drop_name(&mut self, ino: u64, parent: u64, name: &[u8]) {
        let Some(node) = self.known.get_mut(&ino) else { return };
        let is_it = |(directory, entry): &mut Name| *directory == parent && **entry == *name;
        let dropped: Vec<Name> = node.names.extract_if(.., is_it).collect();
        self.leave(&dropped);
    }

    /// How often the node was looked up and not forgotten.
    pub(super) fn lookups(&self, ino: u64) -> u64 {
        match self.counter(ino) {
            Some(count) => u64::from(count),
            None => self.known.get(&ino).map_or(0, |node| node.lookups),
        }
    }

    fn counter(&self, ino: u64) -> Option<u32> {
        self.counts.get(usize::try_from(ino.checked_sub(1)?).ok()?).copied()
    }

    fn counter_mut(&mut self, ino: u64) -> Option<&mut u32> {
        self.counts.get_mut(usize::try_from(ino.checked_sub(1)?).ok()?)
    }

    /// Counts one lookup.
    pub(super) fn count(&mut self, ino: u64) {
        if let Some(count) = self.counter_mut(ino) {
            *count = count.saturating_add(1);
        } else if let Some(node) = self.known.get_mut(&ino) {
            node.lookups = node.lookups.saturating_add(1);
        }
    }

    /// Takes lookups back; `true` once nobody knows the number.
    pub(super) fn forget(&mut self, ino: u64, times: u64) -> bool {
        if let Some(count) = self.counter_mut(ino) {
            // A full counter has lost count, and is never empty again.
            if *count != u32::MAX {
                *count = u32::try_from(u64::from(*count).saturating_sub(times)).unwrap_or(0);
            }
            return *count == 0;
        }
        match self.known.get_mut(&ino) {
            Some(node) => {
                node.lookups = node.lookups.saturating_sub(times);
                node.lookups == 0
            }
            None => true,
        }
    }

    /// Lets go of a node that nobody has looked up; the disk knows the rest.
    /// The root stays, and so does what the disk would not give its number back.
    pub(super) fn release(&mut self, ino: u64) -> Released {
        let Some(node) = self.known.get(&ino) else { return Released::Gone(None) };
        let lasting = node.lower.is_some() && !matches!(node.kind, kind::REGULAR | kind::DIRECTORY);
        let named = !node.names.is_empty();
        let needed = self.lookups(ino) > 0 || self.named_in.contains_key(&ino);
        if ino == crate::filesystem::ROOT || (lasting && named) || needed {
            return Released::Stays;
        }
        let node = self.known.remove(&ino);
        if let Some(node) = &node {
            self.leave(&node.names);
            if let Some(upper) = node.upper.filter(|upper| self.by_upper.get(upper) == Some(&ino)) {
                self.by_upper.remove(&upper);
            }
        }
        Released::Gone(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_upper_directory_do_not_meet_those_of_the_index() {
        assert_eq!(upper_number(12), (1 << 31) + 12);
        assert_eq!(upper_number((1 << 31) - 1), (1 << 32) - 1);
        assert!(upper_number(1 << 31) > 1 << 48);
        assert_eq!(upper_number(u64::MAX), (1 << 48) - 1);
    }

    #[test]
    fn counters_of_the_index_and_of_nodes() {
        let mut nodes = Nodes::new(3);
        nodes.count(2);
        nodes.count(2);
        assert_eq!(nodes.lookups(2), 2);
        assert!(!nodes.forget(2, 1));
        assert!(nodes.forget(2, 5));
        let made = upper_number(9);
        nodes.put(made, Node { kind: kind::REGULAR, upper: Some(9), ..Node::default() });
        nodes.count(made);
        assert_eq!(nodes.of_upper(9), Some(made));
        assert!(matches!(nodes.release(made), Released::Stays));
        assert!(nodes.forget(made, 1));
        assert!(matches!(nodes.release(made), Released::Gone(Some(_))));
        assert_eq!(nodes.of_upper(9), None);
    }

    #[test]
    fn a_directory_stays_as_long_as_something_is_named_in_it() {
        let mut nodes = Nodes::new(1);
        let (directory, file) = (upper_number(8), upper_number(9));
        nodes.put(directory, Node { kind: kind::DIRECTORY, upper: Some(8), ..Node::default() });
        nodes.put(file, Node { kind: kind::REGULAR, upper: Some(9), ..Node::default() });
        nodes.add_name(file, directory, b"a");
        nodes.add_name(file, directory, b"b");
        nodes.drop_name(file, directory, b"a");
        assert!(matches!(nodes.release(directory), Released::Stays));
        assert!(matches!(nodes.release(file), Released::Gone(Some(_))));
        assert!(matches!(nodes.release(directory), Released::Gone(Some(_))));
        assert!(nodes.named_in.is_empty());
    }

    #[test]
    fn names_come_and_go() {
        let mut nodes = Nodes::new(1);
        nodes.raise(5, kind::REGULAR, 70);
        nodes.add_name(5, 1, b"a");
        nodes.add_name(5, 1, b"a");
        nodes.add_name(5, 1, b"b");
        assert_eq!(nodes.get(5).map(|node| node.names.len()), Some(2));
        nodes.drop_name(5, 1, b"a");
        assert_eq!(nodes.get(5).map(|node| node.names.len()), Some(1));
    }
}
