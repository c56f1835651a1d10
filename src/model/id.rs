//! Container identifiers and names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A container's identifier: 64 lower-case hexadecimal digits, chosen at random.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// A container's name: a letter or digit, then up to 127 of letters, digits, `_`, `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// Why a string is no identifier or name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidId {
    /// Not 64 lower-case hexadecimal digits.
    #[error("invalid container id {0:?}: expected 64 hexadecimal digits")]
    Id(String),
    /// Not a name.
    #[error("invalid name {0:?}: use up to 128 letters, digits, '_', '.' and '-', starting with a letter or digit")]
    Name(String),
}

impl ContainerId {
    /// The identifier made of these random bytes.
    pub fn from_random(bytes: &[u8; 32]) -> Self {
        Self(super::digest::hex(bytes))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as `pybox ps` shows them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(lower_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::Id(text.chars().take(80).collect()))
        }
    }
}

impl ContainerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name of the form `adjective_noun`, chosen by `seed`.
    pub fn generate(seed: u64) -> Self {
        let adjective = ADJECTIVES[(seed % ADJECTIVES.len() as u64) as usize];
        let noun = NOUNS[((seed >> 32) % NOUNS.len() as u64) as usize];
        Self(format!("{adjective}_{noun}"))
    }
}

impl FromStr for ContainerName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tail = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if starts_well && text.len() <= 128 && text.bytes().all(tail) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::Name(text.chars().take(140).collect()))
        }
    }
}

macro_rules! string_like {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_like!(ContainerId);
string_like!(ContainerName);

const ADJECTIVES: [&str; 48] = [
    "able", "amber", "apt", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "crisp", "deft",
    "eager", "early", "fair", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "happy", "hardy",
    "honest", "jolly", "keen", "kind", "light", "lively", "lucid", "mellow", "merry", "mild", "neat", "noble", "quick",
    "quiet", "rapid", "ready", "sharp", "steady", "sunny", "swift", "tidy", "warm",
];

const NOUNS: [&str; 48] = [
    "acorn", "anchor", "badger", "beacon", "birch", "bramble", "brook", "canyon", "cedar", "clover", "comet", "coral",
    "crane", "delta", "ember", "falcon", "fern", "finch", "fjord", "glade", "harbor", "hazel", "heron", "island",
    "ivy", "juniper", "lagoon", "lantern", "lark", "maple", "marten", "meadow", "otter", "pebble", "pine", "plover",
    "quartz", "raven", "reef", "river", "robin", "saddle", "spruce", "summit", "thicket", "tundra", "willow", "wren",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "web-1", "0x.y_z", &"n".repeat(128)] {
            assert_eq!(good.parse::<ContainerName>().map(String::from).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "_a", ".hidden", "a b", "a/b", "é", "a\n", &"n".repeat(129)] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn generated_names_are_names() {
        for seed in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let name = ContainerName::generate(seed);
            assert_eq!(name.as_str().parse(), Ok(name));
        }
    }
}
