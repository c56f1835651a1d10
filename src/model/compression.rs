//! How bytes of layers are compressed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a layer's bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// A plain archive.
    #[default]
    None,
    /// gzip (RFC 1952), one member or several.
    Gzip,
    /// Zstandard (RFC 8878), one frame or several.
    Zstd,
}

/// Why a word names no compression.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid compression {0:?}: expected gzip, zstd or none")]
pub struct InvalidCompression(String);

impl Compression {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What media types of layers have behind them (OCI image-spec 1.1, layer.md).
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "+gzip",
            Self::Zstd => "+zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = InvalidCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::None, Self::Gzip, Self::Zstd];
        all.into_iter().find(|known| known.name() == text).ok_or_else(|| InvalidCompression(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_compressions() {
        for known in [Compression::None, Compression::Gzip, Compression::Zstd] {
            assert_eq!(known.to_string().parse(), Ok(known));
        }
        for text in ["", "GZIP", "zstd:chunked", "xz"] {
            text.parse::<Compression>().expect_err(text);
        }
    }
}
