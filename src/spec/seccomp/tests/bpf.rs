//! A reader of compiled filters: what classic BPF answers to a call, without a kernel.

/// The instructions of a filter.
pub(super) struct Program(Vec<(u16, u8, u8, u32)>);

impl Program {
    pub(super) fn new(bytes: &[u8]) -> Self {
        assert!(bytes.len().is_multiple_of(8));
        let one =
            |b: &[u8]| (u16::from_ne_bytes([b[0], b[1]]), b[2], b[3], u32::from_ne_bytes([b[4], b[5], b[6], b[7]]));
        Self(bytes.chunks_exact(8).map(one).collect())
    }

    /// How many instructions there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `None` if the call is allowed, else the negative errno.
    pub(super) fn answer(&self, arch: u32, number: u32, args: [u64; 6]) -> Option<i64> {
        let (action, _) = self.run(arch, number, args);
        match action & 0xffff_0000 {
            0x7fff_0000 => None,
            0x0005_0000 => Some(-i64::from(action & 0xffff)),
            other => panic!("action {other:#x} for arch {arch:#x} call {number}"),
        }
    }

    /// How many instructions a call costs.
    pub(super) fn cost(&self, arch: u32, number: u32, args: [u64; 6]) -> usize {
        self.run(arch, number, args).1
    }

    fn run(&self, arch: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
        let load = |offset: u32| match offset {
            0 => number,
            4 => arch,
            offset if (16..64).contains(&offset) && offset % 4 == 0 => {
                let arg = args[((offset - 16) / 8) as usize];
                // Little-endian: the low half first.
                if offset % 8 == 0 { arg as u32 } else { (arg >> 32) as u32 }
            }
            other => panic!("load of {other}"),
        };
        let (mut at, mut a, mut steps) = (0usize, 0u32, 0);
        loop {
            let (code, jt, jf, k) = self.0[at];
            at += 1;
            steps += 1;
            let jump = |taken: bool| usize::from(if taken { jt } else { jf });
            match code {
                0x20 => a = load(k),
                0x54 => a &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(a == k),
                0x25 => at += jump(a > k),
                0x35 => at += jump(a >= k),
                0x45 => at += jump(a & k != 0),
                0x06 => return (k, steps),
                other => panic!("instruction {other:#x}"),
            }
        }
    }
}
