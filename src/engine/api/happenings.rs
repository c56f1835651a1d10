//! `events`: what happened, in portions.

use serde::{Deserialize, Serialize};

use crate::model::event::{Happening, Kind};

/// Reads what happened, and waits for more if there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadHappenings {
    /// Where to go on.
    pub from: ReadFrom,
    /// Leaves out what was before this time.
    pub since: Option<i64>,
    /// Leaves out what was after this time.
    pub until: Option<i64>,
    /// All of these have to hold, where those of one kind are alternatives (labels are not).
    pub filters: Vec<HappeningFilter>,
    /// How many milliseconds to wait for something to happen.
    pub wait: u64,
}

/// Where to begin to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadFrom {
    /// With the oldest that is kept.
    Oldest,
    /// With what happens from now on.
    #[default]
    Now,
    /// Behind what an earlier answer told.
    Behind(Position),
}

/// A place among the happenings: a file, and how much of it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file's inode; 0 for a file that did not exist.
    pub file: u64,
    /// Bytes of it.
    pub offset: u64,
}

/// Some of what happened, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happenings {
    /// What happened.
    pub list: Vec<Happening>,
    /// Where to go on.
    pub position: Position,
}

/// One `--filter` of `events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HappeningFilter {
    /// To an object of this kind.
    Kind(Kind),
    /// The action, or what it says before a colon.
    Action(String),
    /// To a container with this name, or an id that starts so.
    Container(String),
    /// To an image with this name or id, or to a container of it.
    Image(String),
    /// To this volume.
    Volume(String),
    /// To an object with the label, with the value if one is given.
    Label {
        /// The label.
        key: String,
        /// Its value.
        value: Option<String>,
    },
}
