//! The uncompressed bytes of an archive, chunk by chunk.

use crate::snapshot::failure::Failure;

/// Size of a tar block.
pub(crate) const BLOCK: usize = 512;

/// Where the chunks come from.
pub(crate) trait Supply {
    /// The next chunk, never empty; `None` at the end. `spent` is the chunk
    /// before, to be filled again.
    fn next(&mut self, spent: Vec<u8>) -> Result<Option<Vec<u8>>, Failure>;
}

/// A position in the bytes that a [`Supply`] gives.
#[derive(Debug)]
pub(crate) struct Stream<S> {
    supply: S,
    chunk: Vec<u8>,
    at: usize,
    /// Bytes taken so far, for messages.
    position: u64,
}

impl<S: Supply> Stream<S> {
    pub(crate) fn new(supply: S) -> Self {
        Self { supply, chunk: Vec::new(), at: 0, position: 0 }
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// What gives the chunks.
    pub(crate) fn into_supply(self) -> S {
        self.supply
    }

    /// At least one byte and at most `most`; empty only at the end (or for 0).
    pub(crate) fn some(&mut self, most: u64) -> Result<&[u8], Failure> {
        if most > 0 && self.at >= self.chunk.len() {
            let spent = std::mem::take(&mut self.chunk);
            self.at = 0;
            if let Some(chunk) = self.supply.next(spent)? {
                self.chunk = chunk;
            }
        }
        let left = self.chunk.get(self.at..).unwrap_or_default();
        let length = left.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        self.at += length;
        self.position += length as u64;
        Ok(left.get(..length).unwrap_or_default())
    }

    /// Fills `block`; `false` if the stream ended before its first byte.
    pub(crate) fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Failure> {
        let mut rest = &mut block[..];
        while !rest.is_empty() {
            let bytes = self.some(rest.len() as u64)?;
            if bytes.is_empty() {
                if rest.len() == BLOCK {
                    return Ok(false);
                }
                return Err(ends_early());
            }
            let (head, tail) = rest.split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            rest = tail;
        }
        Ok(true)
    }

    /// Leaves out `count` bytes.
    pub(crate) fn skip(&mut self, mut count: u64) -> Result<(), Failure> {
        while count > 0 {
            match self.some(count)?.len() as u64 {
                0 => return Err(ends_early()),
                skipped => count -= skipped,
            }
        }
        Ok(())
    }
}

/// The archive is shorter than its headers say.
pub(crate) fn ends_early() -> Failure {
    Failure::corrupt("archive ends in the middle of an entry")
}
