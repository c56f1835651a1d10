//! Under which name the layer of a step is kept: `sha256(step + parent + content)`.

use serde::Serialize;

use crate::model::digest::{Algorithm, Digest, Hasher};

/// Raised when the same step would make another layer.
const VERSION: &[u8] = b"pybox build 2\0";

/// The key of a step on top of `parent`, with the digests of all that it reads.
pub fn of<'c>(parent: &Digest, step: &impl Serialize, content: impl IntoIterator<Item = &'c Digest>) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(VERSION);
    // Maps are sorted, so the same step has the same text. What cannot be written is a step like no other.
    let text = serde_json::to_vec(step).unwrap_or_default();
    for part in [parent.to_string().as_bytes(), &text] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    for digest in content {
        hasher.update(digest.to_string().as_bytes());
        hasher.update(b"\0");
    }
    hasher.finish()
}

/// What layers on top of each other are called, the lowest first.
pub fn of_layers<'l>(layers: impl IntoIterator<Item = &'l Digest>) -> Digest {
    let nothing = Digest::of(b"");
    layers.into_iter().fold(nothing, |below, layer| of(&below, layer, []))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_another_has_another_key() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let keys = [
            of(&one, &"make", []),
            of(&two, &"make", []),
            of(&one, &"mak", [&Digest::of(b"e")]),
            of(&one, &"make", [&one]),
            of(&one, &"make", [&one, &two]),
            of(&one, &"make", [&two, &one]),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().filter(|other| *other == key).count(), 1, "{index}");
        }
        assert_eq!(of(&one, &("make", 1), [&two]), of(&one, &("make", 1), [&two]));
        assert_ne!(of_layers([&one, &two]), of_layers([&two, &one]));
        assert_eq!(of_layers([]), Digest::of(b""));
    }
}
