//! Open files that are kept for the next request, a bounded number.
//!
//! The kernel does not say when a file is opened or closed (it was told not
//! to), so what is open here is a matter of use: second chance, then out.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A node in the upper directory.
    Upper(u64),
    /// A node of the layers, by its number.
    Lower(u64),
    /// A directory of the layers, and which layer's.
    LowerDirectory(u64, u8),
}

#[derive(Debug)]
struct Slot {
    fd: Arc<OwnedFd>,
    used: bool,
}

/// The kept descriptors.
#[derive(Debug)]
pub(super) struct Descriptors {
    slots: HashMap<Key, Slot>,
    queue: VecDeque<Key>,
    most: usize,
}

impl Descriptors {
    /// Keeps as many as `most`, and at least a few.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: HashMap::new(), queue: VecDeque::new(), most: most.max(8) }
    }

    /// The descriptor, if it is kept.
    pub(super) fn get(&mut self, key: Key) -> Option<Arc<OwnedFd>> {
        let slot = self.slots.get_mut(&key)?;
        slot.used = true;
        Some(Arc::clone(&slot.fd))
    }

    /// Keeps a descriptor, perhaps in the place of another.
    pub(super) fn put(&mut self, key: Key, fd: OwnedFd) -> Arc<OwnedFd> {
        if self.slots.len() >= self.most {
            self.evict();
        }
        let fd = Arc::new(fd);
        if self.slots.insert(key, Slot { fd: Arc::clone(&fd), used: false }).is_none() {
            self.queue.push_back(key);
        }
        fd
    }

    /// Lets go of a descriptor, which comes back if it was kept.
    pub(super) fn remove(&mut self, key: Key) -> Option<Arc<OwnedFd>> {
        let slot = self.slots.remove(&key);
        // Keys stay in the queue until their turn comes; many removals of what
        // was put in later must not make it grow without end.
        if self.queue.len() > 2 * self.most {
            let slots = &self.slots;
            self.queue.retain(|key| slots.contains_key(key));
        }
        slot.map(|slot| slot.fd)
    }

    fn evict(&mut self) {
        while let Some(key) = self.queue.pop_front() {
            match self.slots.get_mut(&key) {
                None => {}
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.queue.push_back(key);
                }
                Some(_) => {
                    self.slots.remove(&key);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").expect("open").into()
    }

    #[test]
    fn the_unused_go_first_and_the_number_is_bounded() {
        let mut kept = Descriptors::new(8);
        for ino in 0..8 {
            kept.put(Key::Upper(ino), fd());
        }
        assert!(kept.get(Key::Upper(0)).is_some());
        for ino in 8..12 {
            kept.put(Key::Upper(ino), fd());
        }
        assert_eq!(kept.slots.len(), 8);
        assert!(kept.slots.contains_key(&Key::Upper(0)), "used, so it got a second chance");
        assert!(!kept.slots.contains_key(&Key::Upper(1)));
    }

    #[test]
    fn removals_leave_no_endless_queue() {
        let mut kept = Descriptors::new(8);
        for ino in 0..1000 {
            kept.put(Key::Lower(ino), fd());
            kept.remove(Key::Lower(ino));
        }
        assert!(kept.queue.len() <= 17);
        assert!(kept.slots.is_empty());
    }
}
