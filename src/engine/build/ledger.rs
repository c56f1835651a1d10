//! What the stages of a build have to know of each other while they are made side by side.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::engine::api::Failure;
use crate::engine::halt::Halt;
use crate::model::digest::Digest;
use crate::store::build_cache::CachedStep;

/// Steps by their keys; none for what somebody is doing.
type Steps = BTreeMap<Digest, Option<CachedStep>>;

/// One for a build. Any thread may write into it.
pub(super) struct Ledger {
    steps: Mutex<Steps>,
    /// A step was done, or given up, or nothing is to be done any more.
    changed: Condvar,
    brought: Mutex<Vec<Digest>>,
    unpacked: AtomicBool,
    begun: AtomicBool,
    halt: Halt,
}

/// Whose turn it is to do a step.
pub(super) enum Turn<'l> {
    /// Nobody's: another stage has done it.
    Done(CachedStep),
    /// Ours.
    Mine(Claim<'l>),
}

/// A step that is being done. Dropped, it is given up, and whoever waits for it does it.
pub(super) struct Claim<'l> {
    ledger: &'l Ledger,
    key: Digest,
}

impl Ledger {
    /// An empty one.
    ///
    /// # Errors
    /// What eventfd(2) says.
    pub(super) fn new() -> Result<Self, Failure> {
        let (steps, brought) = (Mutex::default(), Mutex::default());
        Ok(Self {
            steps,
            changed: Condvar::new(),
            brought,
            unpacked: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            halt: Halt::new()?,
        })
    }

    /// Waits until nobody does the step with this key.
    ///
    /// # Errors
    /// If the build is to end.
    pub(super) fn turn(&self, key: &Digest) -> Result<Turn<'_>, Failure> {
        let mut steps = self.steps();
        loop {
            self.halt.check()?;
            match steps.get(key) {
                Some(Some(cached)) => return Ok(Turn::Done(cached.clone())),
                Some(None) => steps = self.changed.wait(steps).unwrap_or_else(PoisonError::into_inner),
                None => break,
            }
        }
        steps.insert(key.clone(), None);
        Ok(Turn::Mine(Claim { ledger: self, key: key.clone() }))
    }

    /// Ends all work of the build.
    pub(super) fn stop(&self) {
        self.halt.ask();
        // Who was about to wait, waits by now, and hears of it.
        drop(self.steps());
        self.changed.notify_all();
    }

    /// What ends commands.
    pub(super) fn halt(&self) -> &Halt {
        &self.halt
    }

    /// Notes what comes into the store for this build.
    pub(super) fn bring(&self, digest: Digest) {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner).push(digest);
    }

    /// All that has come.
    pub(super) fn brought(&self) -> Vec<Digest> {
        std::mem::take(&mut *self.brought.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a layer was unpacked, which has to reach the disk.
    pub(super) fn unpacked(&self) {
        self.unpacked.store(true, Ordering::Relaxed);
    }

    /// Whether layers were unpacked.
    pub(super) fn has_unpacked(&self) -> bool {
        self.unpacked.load(Ordering::Relaxed)
    }

    /// Notes that a step is done and not found; whether it is the first one.
    pub(super) fn begins(&self) -> bool {
        !self.begun.swap(true, Ordering::Relaxed)
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// The step is done.
    pub(super) fn done(self, cached: CachedStep) {
        self.ledger.steps().insert(self.key.clone(), Some(cached));
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut steps = self.ledger.steps();
        if steps.get(&self.key) == Some(&None) {
            steps.remove(&self.key);
        }
        drop(steps);
        self.ledger.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::api::FailureKind;

    fn cached(step: &str) -> CachedStep {
        CachedStep { layer: None, created: 1, used: 1, step: step.into() }
    }

    #[test]
    fn a_step_that_two_want_is_done_once() {
        let ledger = Ledger::new().expect("a ledger");
        let key = Digest::of(b"key");
        let Turn::Mine(claim) = ledger.turn(&key).expect("a turn") else { panic!("nobody has done it") };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| match ledger.turn(&key).expect("a turn") {
                Turn::Done(cached) => cached.step,
                Turn::Mine(_) => "done twice".to_owned(),
            });
            assert!(matches!(ledger.turn(&Digest::of(b"other")).expect("a turn"), Turn::Mine(_)));
            claim.done(cached("by the first"));
            assert_eq!(other.join().expect("joined"), "by the first");
        });
    }

    #[test]
    fn who_waits_for_a_step_that_fails_does_it_and_who_waits_for_ever_is_told() {
        let ledger = Ledger::new().expect("a ledger");
        let key = Digest::of(b"key");
        let turn = || ledger.turn(&key).map(|turn| matches!(turn, Turn::Mine(_))).map_err(|failure| failure.kind);
        let first = ledger.turn(&key).expect("a turn");
        std::thread::scope(|scope| {
            let other = scope.spawn(turn);
            drop(first);
            assert_eq!(other.join().expect("joined"), Ok(true));
        });
        let _held = ledger.turn(&key).expect("a turn");
        std::thread::scope(|scope| {
            let other = scope.spawn(turn);
            ledger.stop();
            assert_eq!(other.join().expect("joined"), Err(FailureKind::Interrupted));
        });
    }
}
