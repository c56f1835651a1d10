//! The threads that have asked, and who each takes itself for.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::person::Person;
use super::target::Target;

/// Threads kept, each with a descriptor, before those that have ended are looked for.
const MANY: usize = 512;
/// How far up a thread's ancestors are asked.
const MOST_ANCESTORS: u32 = 64;

/// A thread that has asked.
#[derive(Debug)]
pub(super) struct Known {
    pub target: Target,
    pub person: Person,
}

/// All of them, by their number in our pid namespace.
#[derive(Debug, Default)]
pub(super) struct People {
    all: HashMap<u32, Known>,
}

impl People {
    /// The thread `pid`. One that is new is who its process, or its parent, takes itself for, as fork(2)
    /// would have it; without one that is known, `first`.
    pub(super) fn find(&mut self, proc: BorrowedFd<'_>, pid: u32, first: &Person) -> Result<&mut Known, Errno> {
        if !self.all.get(&pid).is_some_and(|known| known.target.lives()) {
            self.all.remove(&pid);
            if self.all.len() >= MANY {
                self.all.retain(|_, known| known.target.lives());
            }
            let target = Target::open(proc, pid)?;
            let person = self.inherited(proc, &target, pid).unwrap_or_else(|| first.clone());
            self.all.insert(pid, Known { target, person });
        }
        self.all.get_mut(&pid).ok_or(Errno::SRCH)
    }

    /// Notes who those are that have not asked yet and take after `pid`: its children, and before it becomes
    /// somebody else its other threads. Later, who they ask after would be another one, or another one's child.
    pub(super) fn settle(&mut self, proc: BorrowedFd<'_>, pid: u32, threads: bool, first: &Person) {
        let Ok(target) = Target::open(proc, pid) else { return };
        let siblings = target.threads().unwrap_or_default();
        let children: Vec<u32> = siblings.iter().flat_map(|thread| target.children_of(*thread)).collect();
        for kin in siblings.into_iter().filter(|_| threads).chain(children) {
            // One that ends meanwhile needs no name any more.
            let _ = self.find(proc, kin, first);
        }
    }

    fn inherited(&self, proc: BorrowedFd<'_>, target: &Target, pid: u32) -> Option<Person> {
        let known = |pid: u32| self.all.get(&pid).filter(|known| known.target.lives());
        let mut status = target.status().ok()?;
        let mut pid = pid;
        for _ in 0..MOST_ANCESTORS {
            let above = if status.leader == pid { status.parent } else { status.leader };
            if above <= 1 {
                return None;
            }
            if let Some(known) = known(above) {
                return Some(known.person.clone());
            }
            pid = above;
            status = Target::open(proc, above).and_then(|target| target.status()).ok()?;
        }
        None
    }
}
