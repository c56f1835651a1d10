//! Images in archives: loaded, saved and judged by skopeo and umoci. Layers are
//! unpacked by the real worker, so these tests need id ranges, or root.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::type_complexity,
    reason = "all of this is test code"
)]

mod hostile;
mod layout;
mod round_trip;
mod verbs;

use std::path::{Path, PathBuf};

use pybox::engine::Engine;
use pybox::engine::api::{Call, Event, Failure, Imported, Load, Reply, Settings, Source};

/// A directory with a store in it, and the engine over that store.
struct Bench {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = Settings {
            root: dir.path().join("root"),
            program: PathBuf::from(env!("CARGO_BIN_EXE_pybox")),
            ..Settings::default()
        };
        Self { dir, engine: Engine::new(settings) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn call<C: Call>(&self, request: C) -> Result<C::Answer, Failure> {
        self.hear(request).0
    }

    fn hear<C: Call>(&self, request: C) -> (Result<C::Answer, Failure>, Vec<Event>) {
        let mut events = Vec::new();
        let reply: Result<Reply, Failure> = self.engine.call(request.into(), &mut |event| events.push(event));
        (reply.and_then(C::Answer::try_from), events)
    }

    fn load(&self, path: &Path) -> Result<Vec<Imported>, Failure> {
        self.call(Load { source: Source::Path(path.into()), force: false })
    }

    /// What the store holds besides its database, as sorted relative paths.
    fn files(&self) -> Vec<String> {
        let root = self.path("root/images");
        let mut files = Vec::new();
        for part in ["blobs/sha256", "ingest", "layers"] {
            for entry in std::fs::read_dir(root.join(part)).expect("the store") {
                files.push(format!("{part}/{}", entry.expect("an entry").file_name().to_string_lossy()));
            }
        }
        files.sort();
        files
    }
}

/// Runs a judge; what it prints.
fn judge(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().expect(program);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}
