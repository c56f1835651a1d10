//! `pull` into a store of its own: what comes is kept once and whole, and what
//! must not come leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says no by panicking")]

#[path = "support/evil_registry.rs"]
mod evil_registry;
#[path = "support/image.rs"]
mod image;
#[path = "support/layers.rs"]
mod layers;

#[path = "pull/bad_input.rs"]
mod bad_input;
#[path = "pull/good_input.rs"]
mod good_input;
#[path = "pull/interrupted.rs"]
mod interrupted;

use std::path::{Path, PathBuf};

use pybox::engine::Engine;
use pybox::engine::api::{Event, Failure, Pull, Pulled, Reply, Request, Settings};
use pybox::model::container::PullPolicy;
use pybox::model::digest::Digest;
use pybox::store::{Access, Store};

use layers::Layer;

/// A store in a directory of its own, and an engine over it.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn engine(&self) -> Engine {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_pybox"));
        Engine::new(Settings { root: self.root(), program, ..Settings::default() })
    }

    fn pull(&self, reference: &str) -> Result<Pulled, Failure> {
        self.pull_as(reference, PullPolicy::Always).0
    }

    fn pull_as(&self, reference: &str, policy: PullPolicy) -> (Result<Pulled, Failure>, Vec<Event>) {
        let mut events = Vec::new();
        let reference = reference.parse().unwrap();
        let request = Request::Pull(Box::new(Pull { reference, platform: None, policy }));
        let reply = self.engine().call(request, &mut |event| events.push(event));
        let pulled = reply.map(|reply| match reply {
            Reply::Pulled(pulled) => *pulled,
            other => panic!("{other:?}"),
        });
        (pulled, events)
    }

    fn store(&self) -> Store {
        Store::open(&self.root(), Access::Read).unwrap()
    }

    fn layer(&self, layer: &Layer) -> PathBuf {
        self.store().layout().layer_diff(&layer.diff_id)
    }

    fn partial(&self, blob: &Digest) -> PathBuf {
        self.store().layout().ingest(blob)
    }

    /// The names of what is in the directories for layers, ingests and trash.
    fn in_the_making(&self) -> Vec<String> {
        let store = self.store();
        let layout = store.layout();
        let places = [layout.layers(), layout.ingests(), layout.trash()];
        places.iter().flat_map(|place| names(place)).collect()
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The architecture that images of these tests are for.
fn here() -> String {
    pybox::model::platform::Platform::host().architecture
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
