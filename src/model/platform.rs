//! Platforms: operating system, processor architecture, variant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image is built for, in Go's words (`linux`, `amd64`, `arm64`, `v8`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, `linux`.
    pub os: String,
    /// The architecture, `amd64`.
    pub architecture: String,
    /// The architecture's variant, `v7` of `arm`.
    pub variant: Option<String>,
}

/// Why a string is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid platform {0:?}: expected os/architecture or os/architecture/variant, as in linux/arm64")]
pub struct InvalidPlatform(String);

impl Platform {
    /// The platform this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.map(Into::into) }
    }

    /// Whether an image built for `offered` serves a user who asked for `self`.
    pub fn accepts(&self, offered: &Self) -> bool {
        let variant = |platform: &Self| match (platform.architecture.as_str(), platform.variant.as_deref()) {
            ("arm64", None) => Some("v8".to_owned()),
            ("amd64", Some("v1")) => None,
            (_, variant) => variant.map(ToOwned::to_owned),
        };
        self.os == offered.os
            && self.architecture == offered.architecture
            && (self.variant.is_none() || variant(self) == variant(offered))
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || b == b'-')
        };
        let parts: Vec<&str> = text.split('/').collect();
        if text.len() > 100 || !parts.iter().all(|part| word(part)) {
            return Err(InvalidPlatform(text.chars().take(80).collect()));
        }
        let architecture = |name: &str| match name.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            "i386" | "i686" | "x86" => "386".to_owned(),
            other => other.to_owned(),
        };
        match parts.as_slice() {
            [arch] => Ok(Self { os: "linux".into(), architecture: architecture(arch), variant: None }),
            [os, arch] => Ok(Self { os: os.to_ascii_lowercase(), architecture: architecture(arch), variant: None }),
            [os, arch, variant] => Ok(Self {
                os: os.to_ascii_lowercase(),
                architecture: architecture(arch),
                variant: Some(variant.to_ascii_lowercase()),
            }),
            _ => Err(InvalidPlatform(text.into())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        for (text, printed) in
            [("linux/arm64", "linux/arm64"), ("x86_64", "linux/amd64"), ("linux/arm/v7", "linux/arm/v7")]
        {
            assert_eq!(text.parse::<Platform>().map(|p| p.to_string()).as_deref(), Ok(printed));
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux/\n"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn arm64_without_variant_is_v8() {
        let offered = |text: &str| text.parse::<Platform>().unwrap_or_else(|_| Platform::host());
        assert!(offered("linux/arm64/v8").accepts(&offered("linux/arm64")));
        assert!(!offered("linux/arm/v6").accepts(&offered("linux/arm/v7")));
        assert!(!offered("linux/amd64").accepts(&offered("linux/arm64")));
    }
}
