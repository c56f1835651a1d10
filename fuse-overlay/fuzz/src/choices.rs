//! Where choices come from.

/// A generator, or the bytes of a fuzzer.
pub trait Choices {
    /// A number less than `limit`.
    fn below(&mut self, limit: usize) -> usize;
}

/// SplitMix64: the same numbers from the same seed, on every machine.
pub struct Seeded(pub u64);

impl Choices for Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}

/// Bytes; when they are used up, each choice is the last, which is to be the one that does least.
pub struct Bytes<'a>(pub &'a [u8]);

impl Choices for Bytes<'_> {
    fn below(&mut self, limit: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return limit.saturating_sub(1) };
        self.0 = rest;
        usize::from(*first) % limit.max(1)
    }
}
