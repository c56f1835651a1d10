//! What is fuzzed: functions of bytes that panic where something is wrong.

mod answers;
mod index;
mod journal;
mod operations;
mod requests;

pub use index::index;
pub use journal::journal;
pub use operations::operations;
pub use requests::requests;

/// A target: its name, which is that of its directories in `corpus/` and `findings/`, and itself.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 4] =
    [("operations", operations), ("requests", requests), ("index", index), ("journal", journal)];
