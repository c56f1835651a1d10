//! The bytes of a log file: records one after another, nothing else.
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 4 | how many bytes of output follow the head, little endian as all numbers |
//! | 4 | 3 | `pxl` |
//! | 7 | 1 | 1 standard output (and a terminal), 2 standard error |
//! | 8 | 8 | when it was read from the program, nanoseconds since the epoch |
//! | 16 | n | the output, as it came: many lines, or part of one |
//! | 16+n | 4 | the length once more, with all bits turned around |
//!
//! A record holds what one read has brought, so that a line costs next to nothing; a
//! line that does not end in its record goes on in the next one of its channel. The
//! length at the end lets readers walk backwards and tells a record that was torn by a
//! power cut from a whole one.

/// Size of what comes before the output.
pub const HEAD: usize = 16;
/// Size of what comes behind it.
pub const TAIL: usize = 4;
/// Most output of one record.
pub const MOST: usize = 1 << 20;

const MAGIC: [u8; 3] = *b"pxl";

/// Where the program has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Error,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many bytes of output it has.
    pub length: usize,
    /// Where the program has written them.
    pub channel: Channel,
    /// Nanoseconds since the epoch.
    pub time: i64,
}

impl Head {
    /// Size of the whole record.
    pub fn record(&self) -> u64 {
        (HEAD + self.length + TAIL) as u64
    }

    /// What is written before the output.
    pub fn bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let channel = match self.channel {
            Channel::Output => 1,
            Channel::Error => 2,
        };
        let parts = self.short().to_le_bytes().into_iter().chain(MAGIC).chain([channel]).chain(self.time.to_le_bytes());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        bytes
    }

    /// What is written behind the output.
    pub fn tail(&self) -> [u8; TAIL] {
        (!self.short()).to_le_bytes()
    }

    fn short(&self) -> u32 {
        u32::try_from(self.length).unwrap_or(u32::MAX)
    }

    /// Reads it; none if this is no head.
    pub fn read(bytes: [u8; HEAD]) -> Option<Self> {
        let [a, b, c, d, magic @ .., channel, t0, t1, t2, t3, t4, t5, t6, t7] = bytes;
        let channel = match channel {
            1 => Channel::Output,
            2 => Channel::Error,
            _ => return None,
        };
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
        let time = i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        (magic == MAGIC && (1..=MOST).contains(&length)).then_some(Self { length, channel, time })
    }
}

/// The length that the end of a record tells; none if it cannot be one.
pub fn length_of_tail(tail: [u8; TAIL]) -> Option<usize> {
    let length = usize::try_from(!u32::from_le_bytes(tail)).ok()?;
    (1..=MOST).contains(&length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_were_written() {
        for (length, channel, time) in
            [(1, Channel::Output, 0), (MOST, Channel::Error, i64::MAX), (77, Channel::Output, -5)]
        {
            let head = Head { length, channel, time };
            assert_eq!(Head::read(head.bytes()), Some(head));
            assert_eq!(length_of_tail(head.tail()), Some(length));
            assert_eq!(head.record(), length as u64 + 20);
        }
    }

    #[test]
    fn what_is_no_head_is_none() {
        let head = Head { length: 5, channel: Channel::Output, time: 1 };
        assert_eq!(Head::read([0; HEAD]), None);
        for (at, value) in [(3, 1), (4, b'x'), (6, 0), (7, 0), (7, 3)] {
            let mut bytes = head.bytes();
            bytes[at] = value;
            assert_eq!(Head::read(bytes), None, "byte {at}");
        }
        assert_eq!(Head::read(Head { length: 0, ..head }.bytes()), None);
        assert_eq!((length_of_tail([0; TAIL]), length_of_tail([0xff; TAIL])), (None, None));
    }
}
