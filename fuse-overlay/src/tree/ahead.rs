//! Reading ahead from one file to the next.
//!
//! Who reads a tree (tar, cp, grep) reads the small files of a directory one after the other, in the
//! order of its listing, and waits for each. The kernel reads ahead within a file, never from one to
//! the next. So once somebody was seen to do that, the thread that has answered reads the next file
//! while the caller works on the last one.
//!
//! Only files of the layers, which never change: what was read ahead cannot become wrong, and one
//! that is copied up meanwhile is not asked for here any more.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rustix::io::Errno;

use super::{Overlay, Tree};
use crate::filesystem::kind;
use crate::index::Position;

/// Larger files take several requests, and the kernel's own reading ahead.
const SMALL: u64 = 64 << 10;
/// So many right guesses, less the wrong ones, are believed.
const SURE: u8 = 2;
/// As sure as can be.
const CERTAIN: u8 = 8;
/// So many entries that are no files are passed over.
const PASSED: u32 = 8;

/// A file of the layers that one request reads whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Small {
    pub position: Position,
    /// Bytes.
    pub size: usize,
    /// Whether none stands before it in its directory: no guess could have named it.
    pub first: bool,
}

/// What is expected to be read next, and what has been read of it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    guess: Mutex<Guess>,
    /// Taken while `guess` is held, and kept while the disk works: who finds
    /// the file in `Guess::held` waits here for its contents.
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Guess {
    next: Option<Small>,
    held: Option<Position>,
    right: u8,
}

#[derive(Debug, Default)]
struct Contents {
    of: Option<Position>,
    bytes: Vec<u8>,
}

impl Guess {
    /// Learns from what was read. `next` is what would follow it.
    fn learn(&mut self, read: Small, next: Option<Small>) {
        if self.next.is_some_and(|next| next.position == read.position) {
            self.right = (self.right + 1).min(CERTAIN);
        } else if !read.first {
            self.right = self.right.saturating_sub(2);
        }
        self.next = next;
    }
}

impl Ahead {
    /// What was read ahead of `wanted`: copied, and how much it is. To be told of every small file that is read.
    pub(super) fn take(&self, wanted: Small, next: Option<Small>, into: &mut [u8]) -> Option<usize> {
        let held = {
            let mut guess = lock(&self.guess);
            guess.learn(wanted, next);
            guess.held == Some(wanted.position)
        };
        if !held {
            return None;
        }
        let contents = lock(&self.contents);
        let bytes = contents.bytes.get(..wanted.size).filter(|_| contents.of == Some(wanted.position))?;
        into.get_mut(..wanted.size)?.copy_from_slice(bytes);
        Some(wanted.size)
    }

    /// Reads what is expected next, and is not there yet, by `read`, which fills a buffer.
    pub(super) fn fill(&self, read: impl FnOnce(Small, &mut [u8]) -> Result<usize, Errno>) {
        let mut guess = lock(&self.guess);
        let Some(next) = guess.next.filter(|next| guess.right >= SURE && guess.held != Some(next.position)) else {
            return;
        };
        let mut contents = match self.contents.try_lock() {
            Ok(contents) => contents,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody is at it, or takes what is there.
            Err(TryLockError::WouldBlock) => return,
        };
        guess.held = Some(next.position);
        drop(guess);
        contents.of = None;
        contents.bytes.resize(next.size, 0);
        // What could not be read is read again by who asks for it, and who asks is told why.
        if read(next, &mut contents.bytes) == Ok(next.size) {
            contents.of = Some(next.position);
        }
    }
}

/// Nothing here is left half done by a thread that dies.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tree {
    /// The file at `position`, if it is a small one, and the one that follows it in its directory.
    pub(super) fn small(&self, position: Position) -> Result<Option<(Small, Option<Small>)>, Errno> {
        let siblings = self.index.children(&self.index.entry(self.index.parent(position)?)?);
        let Some(small) = self.small_at(position)? else { return Ok(None) };
        let small = Small { first: siblings.start == position.0, ..small };
        let behind = position.0 + 1;
        for number in behind..siblings.end.min(behind + PASSED) {
            let next = Position(number);
            if self.index.entry(next)?.kind() == kind::REGULAR {
                return Ok(Some((small, self.small_at(next)?)));
            }
        }
        Ok(Some((small, None)))
    }

    fn small_at(&self, position: Position) -> Result<Option<Small>, Errno> {
        let entry = self.index.entry(position)?;
        // Of several names one stands for the file; which comes next is another matter.
        let fits = entry.kind() == kind::REGULAR && (1..=SMALL).contains(&entry.size()) && !entry.is_linked();
        let size = usize::try_from(entry.size()).unwrap_or(usize::MAX);
        Ok(fits.then_some(Small { position, size, first: false }))
    }
}

impl Overlay {
    /// Reads the file that is expected to be asked for next.
    pub(super) fn read_next(&self) {
        self.ahead.fill(|next, into| {
            let file = {
                let mut tree = self.tree();
                if tree.place(next.position.ino())?.upper {
                    return Err(Errno::STALE);
                }
                tree.open_lower(next.position)?
            };
            super::contents::read_all(&file, 0, into)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(number: u32) -> Small {
        Small { position: Position(number), size: 3, first: false }
    }

    /// Reads file after file as a server does; says which were read ahead.
    fn walk(ahead: &Ahead, files: &[(u32, Option<u32>)]) -> Vec<bool> {
        let read = |next: Small, into: &mut [u8]| {
            into.fill(u8::try_from(next.position.0).expect("a small number"));
            Ok(next.size)
        };
        let mut into = [0; 8];
        let one = |&(number, next): &(u32, Option<u32>)| {
            let taken = ahead.take(small(number), next.map(small), &mut into);
            if taken.is_some() {
                assert_eq!(into.get(..3), Some([u8::try_from(number).expect("a small number"); 3].as_slice()));
            }
            ahead.fill(read);
            taken.is_some()
        };
        files.iter().map(one).collect()
    }

    #[test]
    fn files_in_order_are_read_ahead_once_that_is_believed() {
        let ahead = Ahead::default();
        let first: Vec<_> = (1..=12).map(|number| (number, (number < 12).then_some(number + 1))).collect();
        let taken = walk(&ahead, &first);
        assert_eq!(taken, [&[false; 3][..], &[true; 9]].concat());
        // Which directory comes next cannot be guessed, and a wrong one is forgiven.
        assert_eq!(walk(&ahead, &[(40, Some(41)), (41, Some(42)), (42, None)]), [false, true, true]);
    }

    #[test]
    fn the_first_of_a_directory_is_no_wrong_guess() {
        let ahead = Ahead::default();
        walk(&ahead, &[(1, Some(2)), (2, Some(3)), (3, None)]);
        let first = Small { first: true, ..small(20) };
        assert_eq!(ahead.take(first, Some(small(21)), &mut [0; 8]), None);
        assert_eq!(lock(&ahead.guess).right, 2);
    }

    #[test]
    fn files_out_of_order_are_not() {
        let ahead = Ahead::default();
        let random: Vec<_> = [9, 4, 7, 1, 5, 30, 2].map(|number| (number, Some(number + 1))).into();
        assert_eq!(walk(&ahead, &random), [false; 7]);
        assert_eq!(lock(&ahead.contents).of, None);
    }

    #[test]
    fn what_cannot_be_read_ahead_is_not_there() {
        let ahead = Ahead::default();
        let mut into = [0; 8];
        for number in 1..5 {
            assert_eq!(ahead.take(small(number), Some(small(number + 1)), &mut into), None);
            ahead.fill(|_, _| Err(Errno::IO));
        }
        assert_eq!(ahead.take(small(5), None, &mut into), None);
    }
}
