//! Maps of sparse files: where in a file its data belongs.

use super::number;
use crate::snapshot::failure::Failure;

/// Most regions of one file.
pub(crate) const MAX_REGIONS: usize = 64 << 10;
/// Most bytes of a map that is written as text.
pub(crate) const MAX_MAP: u64 = 1 << 20;

/// A stretch of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Where in the file it begins.
    pub(crate) offset: u64,
    /// How many bytes of data it has.
    pub(crate) length: u64,
}

/// A checked map: regions in order, none overlapping, none beyond the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SparseMap {
    pub(crate) regions: Vec<Region>,
    /// Size of the file with its holes.
    pub(crate) real_size: u64,
}

impl SparseMap {
    /// Checks `regions` against each other, against the file's size, and that
    /// they hold `data` bytes together.
    pub(crate) fn check(regions: Vec<Region>, real_size: u64, data: u64) -> Result<Self, Failure> {
        let bad = |reason: &str| Err(Failure::corrupt(format!("sparse map: {reason}")));
        if regions.len() > MAX_REGIONS {
            return bad("more than 65536 regions");
        }
        let mut end = 0_u64;
        let mut total = 0_u64;
        for region in &regions {
            if region.offset < end {
                return bad("regions out of order or overlapping");
            }
            let Some(next) = region.offset.checked_add(region.length) else {
                return bad("region beyond any file");
            };
            end = next;
            total = total.saturating_add(region.length);
        }
        if end > real_size {
            return bad("region beyond the end of the file");
        }
        if total != data {
            return bad("regions and data differ in size");
        }
        Ok(Self { regions, real_size })
    }
}

/// Reads the numbers of sparse format 0.1, `offset,length,offset,length…`.
pub(crate) fn parse_list(text: &[u8]) -> Option<Vec<Region>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut numbers = text.split(|byte| *byte == b',');
    let mut regions = Vec::new();
    while let Some(offset) = numbers.next() {
        let region = Region { offset: number::decimal(offset)?, length: number::decimal(numbers.next()?)? };
        regions.push(region);
        if regions.len() > MAX_REGIONS {
            return None;
        }
    }
    Some(regions)
}

/// Reads the map of sparse format 1.0, which stands before the data: a count,
/// then an offset and a length for each region, each number on its line.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// How many numbers are still to come; `None` before the count.
    missing: Option<usize>,
    offset: Option<u64>,
    regions: Vec<Region>,
}

impl Lines {
    /// Takes the next block of the map; true when the map is complete (what is
    /// left of the block is padding).
    pub(crate) fn feed(&mut self, block: &[u8]) -> Result<bool, Failure> {
        for byte in block {
            if *byte == b'\n' {
                let value = number::decimal(&self.line).ok_or_else(bad_map)?;
                self.line.clear();
                if self.number(value)? {
                    return Ok(true);
                }
            } else if self.line.len() < 20 {
                self.line.push(*byte);
            } else {
                return Err(bad_map());
            }
        }
        Ok(false)
    }

    /// The regions, once [`Lines::feed`] has said true.
    pub(crate) fn regions(self) -> Vec<Region> {
        self.regions
    }

    fn number(&mut self, value: u64) -> Result<bool, Failure> {
        let missing = match self.missing {
            None => {
                let count = usize::try_from(value).ok().filter(|count| *count <= MAX_REGIONS);
                count.ok_or_else(bad_map)? * 2
            }
            Some(missing) => {
                match self.offset.take() {
                    None => self.offset = Some(value),
                    Some(offset) => self.regions.push(Region { offset, length: value }),
                }
                missing.saturating_sub(1)
            }
        };
        self.missing = Some(missing);
        Ok(missing == 0)
    }
}

fn bad_map() -> Failure {
    Failure::corrupt("sparse map: not a list of numbers, or more than 65536 regions")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(numbers: &[(u64, u64)]) -> Vec<Region> {
        numbers.iter().map(|(offset, length)| Region { offset: *offset, length: *length }).collect()
    }

    #[test]
    fn maps_are_checked() {
        let check = |numbers: &[(u64, u64)], size, data| SparseMap::check(regions(numbers), size, data).is_ok();
        assert!(check(&[(0, 512), (1024, 10), (4096, 0)], 4096, 522));
        assert!(check(&[], 1 << 40, 0));
        assert!(!check(&[(1024, 10), (0, 512)], 4096, 522), "out of order");
        assert!(!check(&[(0, 512), (511, 10)], 4096, 522), "overlap");
        assert!(!check(&[(0, 512), (4095, 2)], 4096, 514), "beyond the end");
        assert!(!check(&[(u64::MAX, 2)], u64::MAX, 2), "overflow");
        assert!(!check(&[(0, 512)], 4096, 511), "data differ");
        assert!(!check(&vec![(0, 0); MAX_REGIONS + 1], 4096, 0), "too many");
    }

    #[test]
    fn lists_of_format_0_1() {
        assert_eq!(parse_list(b"0,512,1024,10"), Some(regions(&[(0, 512), (1024, 10)])));
        assert_eq!(parse_list(b""), Some(Vec::new()));
        for bad in [&b"0"[..], b"0,1,2", b"0,,1", b"0,-1", b"0,1,", b"a,b"] {
            assert_eq!(parse_list(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn lines_of_format_1_0() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"2\n0\n51"), Ok(false));
        assert_eq!(lines.feed(b"2\n1024\n10\n\0\0\0"), Ok(true));
        assert_eq!(lines.regions(), regions(&[(0, 512), (1024, 10)]));
        assert_eq!(Lines::default().feed(b"0\n\0\0"), Ok(true));
        for bad in [&b"65537\n"[..], b"x\n", b"\n", b"1\n-5\n", b"123456789012345678901"] {
            assert!(Lines::default().feed(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
