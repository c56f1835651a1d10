//! Every input that is kept of the fuzz targets, put to them again: the seeds, and what once went wrong.

use std::path::Path;

use pybox_fuse_overlay_fuzz::targets;

fn replay(target: &str) {
    let (_, run) = targets::ALL.into_iter().find(|(name, _)| *name == target).expect("a target of that name");
    for kept in ["corpus", "findings"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kept).join(target);
        // A target of which nothing went wrong yet has no findings.
        for entry in std::fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("read");
            let done = std::panic::catch_unwind(|| run(&bytes));
            assert!(done.is_ok(), "again: scripts/fuzz.sh {target} {}", path.display());
        }
    }
}

#[test]
fn operations_once_found() {
    replay("operations");
}

#[test]
fn requests_once_found() {
    replay("requests");
}

#[test]
fn indexes_once_found() {
    replay("index");
}

#[test]
fn journals_once_found() {
    replay("journal");
}

#[test]
fn every_target_has_seeds() {
    for (target, _) in targets::ALL {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        assert!(std::fs::read_dir(&seeds).is_ok_and(|mut seeds| seeds.next().is_some()), "{}", seeds.display());
    }
}
