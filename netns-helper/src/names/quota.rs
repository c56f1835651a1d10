//! How much one asker may have under way, and all of them: whoever asks too
//! much waits for itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places of which each asker gets a part.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    all: usize,
    each: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    asker: IpAddr,
    taken: Arc<Mutex<Taken>>,
}

impl Quota {
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { all, each, taken: Arc::default() }
    }

    /// A place for an asker, unless it has its part or there is none left.
    pub(super) fn take(&self, asker: IpAddr) -> Option<Place> {
        let mut taken = locked(&self.taken);
        let own = taken.by.get(&asker).copied().unwrap_or(0);
        if own >= self.each || taken.all >= self.all {
            return None;
        }
        taken.all += 1;
        taken.by.insert(asker, own + 1);
        Some(Place { asker, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        match taken.by.get_mut(&self.asker) {
            Some(own) if *own > 1 => *own -= 1,
            // Nothing is kept of who asks nothing: a forger of addresses must not make the table grow.
            _ => drop(taken.by.remove(&self.asker)),
        }
    }
}

/// The counts are whole numbers, right at every moment; a thread that died beside them has spoilt nothing.
fn locked(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_part_and_all_have_an_end() {
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let quota = Quota::new(3, 2);
        let first = quota.take(one).unwrap();
        let _second = quota.take(one).unwrap();
        assert!(quota.take(one).is_none());
        let third = quota.take(two).unwrap();
        assert!(quota.take(two).is_none(), "there are three places");
        drop(first);
        assert!(quota.take(two).is_some());
        drop(third);
        assert_eq!(locked(&quota.taken).by.len(), 1);
        assert_eq!(locked(&quota.taken).all, 1);
    }
}
