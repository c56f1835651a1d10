//! Who makes root file systems.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who makes root file systems, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageDriver {
    /// The kernel's overlay, mounted in the container's user namespace.
    Overlay,
    /// The kernel's overlay over the merged layers as our server shows them, with other
    /// owners than they have on disk.
    Hybrid,
    /// Our server alone.
    Fuse,
}

impl StorageDriver {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Overlay, Self::Hybrid, Self::Fuse];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Hybrid => "hybrid",
            Self::Fuse => "fuse",
        }
    }
}

impl fmt::Display for StorageDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StorageDriver {
    type Err = UnknownDriver;

    fn from_str(text: &str) -> Result<Self, UnknownDriver> {
        let known = Self::ALL.into_iter().find(|driver| driver.name() == text);
        // As other engines call them.
        let known = known.or(match text {
            "overlay2" => Some(Self::Overlay),
            "fuse-overlayfs" => Some(Self::Fuse),
            _ => None,
        });
        known.ok_or_else(|| UnknownDriver(text.to_owned()))
    }
}

/// A name that no driver has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no storage driver is called {0:?}: there are overlay, hybrid and fuse")]
pub struct UnknownDriver(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for driver in StorageDriver::ALL {
            assert_eq!(driver.to_string().parse(), Ok(driver));
        }
        assert_eq!("fuse-overlayfs".parse(), Ok(StorageDriver::Fuse));
        assert_eq!("zfs".parse::<StorageDriver>(), Err(UnknownDriver("zfs".into())));
    }
}
