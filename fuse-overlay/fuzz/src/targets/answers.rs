//! What the kernel takes as an answer: whatever else it gets makes it drop the request, or the whole mount.

/// Bytes of the header of an answer.
const HEADER: usize = 16;
const ENTRY: usize = 128;
const ATTRIBUTES: usize = 104;
/// Of a directory entry without its name.
const LISTED: usize = 24;

/// A request that has to be answered.
#[derive(Debug)]
pub(super) struct Asked {
    operation: u32,
    unique: u64,
    body: Vec<u8>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

impl Asked {
    /// `None` for what has no answer: lookups taken back, and what is no request.
    pub(super) fn of(request: &[u8]) -> Option<Self> {
        let body = request.get(40..)?.to_vec();
        let whole = u32_at(request, 0)? as usize == request.len();
        let operation = u32_at(request, 4).filter(|operation| whole && !matches!(operation, 2 | 42))?;
        Some(Self { operation, unique: u64_at(request, 8)?, body })
    }

    /// Checks an answer; the number of a node that it tells of.
    pub(super) fn check(&self, answer: &[u8]) -> Option<u64> {
        let (length, error) = (u32_at(answer, 0).expect("a length"), u32_at(answer, 4).expect("an error"));
        assert_eq!(length as usize, answer.len(), "the length of an answer to {self:?}");
        assert_eq!(u64_at(answer, 8), Some(self.unique), "whom an answer is for: {self:?}");
        let error = error.cast_signed();
        assert!((-511..=0).contains(&error), "error {error} to {self:?}");
        let body = &answer[HEADER..];
        if error != 0 {
            assert!(body.is_empty(), "an error with contents to {self:?}");
            return None;
        }
        self.check_length(body.len());
        match self.operation {
            28 | 44 => self.check_listing(body),
            1 | 6 | 8 | 9 | 13 | 51 => return u64_at(body, 0).filter(|ino| *ino != 0),
            _ => {}
        }
        None
    }

    fn check_length(&self, length: usize) {
        let most = |at: usize| u32_at(&self.body, at).map_or(0, |size| size as usize);
        let fits = match self.operation {
            1 | 6 | 8 | 9 | 13 => length == ENTRY,
            51 => length == ENTRY + 16,
            3 | 4 => length == ATTRIBUTES,
            5 => length < 4096,
            15 | 28 | 44 => length <= most(16),
            16 | 46 | 47 | 53 => length == 8,
            17 => length == 80,
            22 | 23 if most(0) == 0 => length == 8,
            22 | 23 => length <= most(0),
            26 => length == 64 || length == 8,
            _ => length == 0,
        };
        assert!(fits, "{length} bytes to {self:?}");
    }

    /// Each entry is whole, and has a name that one can be called by.
    fn check_listing(&self, mut entries: &[u8]) {
        let plus = if self.operation == 44 { ENTRY } else { 0 };
        while !entries.is_empty() {
            let length = u32_at(entries, plus + 16).expect("the length of a name") as usize;
            let name = entries.get(plus + LISTED..plus + LISTED + length).expect("a whole name");
            assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0), "a name {name:?}");
            let next = u64_at(entries, plus + 8).expect("where it goes on");
            assert!(next != 0 && i64::try_from(next).is_ok(), "a listing goes on at {next}");
            let whole = plus + (LISTED + length).next_multiple_of(8);
            entries = entries.get(whole..).expect("padding");
        }
    }
}
