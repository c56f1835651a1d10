//! Counting and hashing while bytes pass.

use sha2::Digest as _;

use super::error::RegistryError;
use crate::model::digest::{Algorithm, Digest};

/// Watches one blob go by: refuses the first byte too many, and tells at the
/// end whether it was the blob that the digest names.
///
/// Where a download goes on after another process began it, feed the bytes
/// that are there already first: the hash is always made of what is on disk,
/// never carried over.
#[derive(Clone, Debug)]
pub struct Verifier {
    digest: Digest,
    size: u64,
    seen: u64,
    hasher: Hasher,
}

#[derive(Clone, Debug)]
enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    /// The consumer hashes.
    Absent,
}

impl Verifier {
    /// For the blob `digest` of `size` bytes.
    pub fn new(digest: Digest, size: u64) -> Self {
        let hasher = match digest.algorithm() {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        };
        Self { digest, size, seen: 0, hasher }
    }

    /// Counts only, from `seen` bytes on: for a consumer that hashes what it
    /// keeps, as the store's ingest does, and believes nothing before it has.
    pub fn counting(digest: Digest, size: u64, seen: u64) -> Self {
        Self { digest, size, seen, hasher: Hasher::Absent }
    }

    /// The digest that is expected.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The size that is expected, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes went by.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`] if they go beyond the size; none of them is counted then.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        let seen = self.seen.saturating_add(bytes.len() as u64);
        if seen > self.size {
            return Err(RegistryError::TooLarge { what: self.what(), limit: self.size });
        }
        self.seen = seen;
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
            Hasher::Absent => {}
        }
        Ok(())
    }

    /// The verdict on all that went by.
    ///
    /// # Errors
    /// [`RegistryError::Truncated`] or [`RegistryError::WrongDigest`].
    pub fn finish(&self) -> Result<(), RegistryError> {
        if self.seen < self.size {
            return Err(RegistryError::Truncated { what: self.what(), expected: self.size, actual: self.seen });
        }
        let actual = match self.hasher.clone() {
            Hasher::Sha256(hasher) => Digest::sha256(&hasher.finalize().into()),
            Hasher::Sha512(hasher) => Digest::sha512(&hasher.finalize().into()),
            Hasher::Absent => return Ok(()),
        };
        if actual == self.digest {
            Ok(())
        } else {
            Err(RegistryError::WrongDigest { what: self.what(), expected: self.digest.clone(), actual })
        }
    }

    /// The blob as a noun for messages.
    pub(crate) fn what(&self) -> String {
        format!("blob {}", self.digest.short())
    }
}

/// Checks `bytes` that are in memory already.
///
/// # Errors
/// As [`Verifier::finish`].
pub(crate) fn check(bytes: &[u8], digest: &Digest, what: &str) -> Result<(), RegistryError> {
    let mut verifier = Verifier::new(digest.clone(), bytes.len() as u64);
    verifier.update(bytes)?;
    verifier.finish().map_err(|error| match error {
        RegistryError::WrongDigest { expected, actual, .. } => {
            RegistryError::WrongDigest { what: what.to_owned(), expected, actual }
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(text: &[u8]) -> Verifier {
        Verifier::new(Digest::of(text), text.len() as u64)
    }

    #[test]
    fn the_right_bytes_pass_in_any_pieces() {
        let mut whole = verifier(b"hello world");
        whole.update(b"hello").unwrap();
        whole.update(b"").unwrap();
        whole.update(b" world").unwrap();
        assert_eq!(whole.seen(), 11);
        assert!(whole.finish().is_ok());
        assert!(verifier(b"").finish().is_ok());
    }

    #[test]
    fn other_bytes_do_not() {
        let mut short = verifier(b"hello");
        short.update(b"hell").unwrap();
        assert!(matches!(short.finish(), Err(RegistryError::Truncated { expected: 5, actual: 4, .. })));
        assert!(matches!(short.update(b"oo"), Err(RegistryError::TooLarge { limit: 5, .. })));
        short.update(b"O").unwrap();
        assert!(matches!(short.finish(), Err(RegistryError::WrongDigest { .. })));
    }

    #[test]
    fn counting_looks_at_the_size_alone() {
        let mut counting = Verifier::counting(Digest::of(b"hello"), 5, 2);
        assert!(matches!(counting.update(b"abcd"), Err(RegistryError::TooLarge { limit: 5, .. })));
        counting.update(b"abc").unwrap();
        assert!(counting.finish().is_ok());
    }

    #[test]
    fn sha512_is_known_too() {
        let text = b"abc";
        let digest = Digest::sha512(&sha2::Sha512::digest(text).into());
        assert!(check(text, &digest, "x").is_ok());
        assert!(matches!(check(b"abd", &digest, "x"), Err(RegistryError::WrongDigest { .. })));
    }
}
