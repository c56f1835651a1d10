//! Makes archives that no honest program makes: every field of every header may
//! be set by hand, and nothing is checked.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

/// An archive being written.
#[derive(Clone, Default)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

/// A header block, and the data after it.
#[derive(Clone)]
pub(crate) struct Entry {
    name: Vec<u8>,
    flag: u8,
    mode: Vec<u8>,
    uid: Vec<u8>,
    gid: Vec<u8>,
    mtime: Vec<u8>,
    size: Option<Vec<u8>>,
    link: Vec<u8>,
    magic: Vec<u8>,
    device: (Vec<u8>, Vec<u8>),
    prefix: Vec<u8>,
    patches: Vec<(usize, Vec<u8>)>,
    broken_sum: bool,
    body: Vec<u8>,
    padded: bool,
}

/// `value` as an octal field of `width` bytes, NUL at the end.
pub(crate) fn octal(value: u64, width: usize) -> Vec<u8> {
    format!("{value:0digits$o}\0", digits = width - 1).into_bytes()
}

/// `value` in GNU's base-256 form.
pub(crate) fn base256(value: u64, width: usize) -> Vec<u8> {
    let mut field = vec![0; width];
    field[width - 8..].copy_from_slice(&value.to_be_bytes());
    field[0] |= 0x80;
    field
}

/// One record of a pax header.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

impl Entry {
    /// An entry of the type `flag`.
    pub(crate) fn new(name: impl AsRef<[u8]>, flag: u8) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            flag,
            mode: octal(if flag == b'5' { 0o755 } else { 0o644 }, 8),
            uid: octal(0, 8),
            gid: octal(0, 8),
            mtime: octal(1_000_000_000, 12),
            size: None,
            link: Vec::new(),
            magic: b"ustar\x0000".to_vec(),
            device: (octal(0, 8), octal(0, 8)),
            prefix: Vec::new(),
            patches: Vec::new(),
            broken_sum: false,
            body: Vec::new(),
            padded: true,
        }
    }

    pub(crate) fn file(name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        Self::new(name, b'0').body(body)
    }

    pub(crate) fn dir(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, b'5')
    }

    pub(crate) fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(name, b'2').link(target)
    }

    pub(crate) fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(name, b'1').link(target)
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// No padding after the data.
    pub(crate) fn unpadded(mut self) -> Self {
        self.padded = false;
        self
    }

    pub(crate) fn link(mut self, link: impl AsRef<[u8]>) -> Self {
        self.link = link.as_ref().to_vec();
        self
    }

    pub(crate) fn mode(mut self, mode: u64) -> Self {
        self.mode = octal(mode, 8);
        self
    }

    pub(crate) fn owner(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (octal(uid, 8), octal(gid, 8));
        self
    }

    pub(crate) fn raw_mode(mut self, field: &[u8]) -> Self {
        self.mode = field.to_vec();
        self
    }

    pub(crate) fn raw_uid(mut self, field: &[u8]) -> Self {
        self.uid = field.to_vec();
        self
    }

    pub(crate) fn raw_mtime(mut self, field: &[u8]) -> Self {
        self.mtime = field.to_vec();
        self
    }

    /// What the header says of the size, whatever the data has.
    pub(crate) fn raw_size(mut self, field: impl AsRef<[u8]>) -> Self {
        self.size = Some(field.as_ref().to_vec());
        self
    }

    pub(crate) fn size(self, size: u64) -> Self {
        self.raw_size(octal(size, 12))
    }

    pub(crate) fn magic(mut self, magic: &[u8; 8]) -> Self {
        self.magic = magic.to_vec();
        self
    }

    pub(crate) fn gnu(self) -> Self {
        self.magic(b"ustar  \0")
    }

    pub(crate) fn device(mut self, major: u64, minor: u64) -> Self {
        self.device = (octal(major, 8), octal(minor, 8));
        self
    }

    pub(crate) fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.prefix = prefix.as_ref().to_vec();
        self
    }

    /// Overwrites bytes of the header block before its checksum is made.
    pub(crate) fn patch(mut self, at: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.patches.push((at, bytes.as_ref().to_vec()));
        self
    }

    pub(crate) fn broken_sum(mut self) -> Self {
        self.broken_sum = true;
        self
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut block = [0_u8; 512];
        let size = self.size.clone().unwrap_or_else(|| octal(self.body.len() as u64, 12));
        let fields: [(usize, usize, &[u8]); 12] = [
            (0, 100, &self.name),
            (100, 8, &self.mode),
            (108, 8, &self.uid),
            (116, 8, &self.gid),
            (124, 12, &size),
            (136, 12, &self.mtime),
            (156, 1, &[self.flag]),
            (157, 100, &self.link),
            (257, 8, &self.magic),
            (329, 8, &self.device.0),
            (337, 8, &self.device.1),
            (345, 155, &self.prefix),
        ];
        for (at, width, bytes) in fields {
            let length = bytes.len().min(width);
            block[at..at + length].copy_from_slice(&bytes[..length]);
        }
        for (at, bytes) in &self.patches {
            block[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() + u64::from(self.broken_sum);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(&self.body);
        if self.padded {
            out.resize(out.len().next_multiple_of(512), 0);
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, flag, mode, uid, gid, link, body, .. } = self;
        let [name, mode, uid, gid, link] = [name, mode, uid, gid, link].map(|bytes| bytes.escape_ascii().to_string());
        write!(f, "{:?} {name} -> {link} {mode} {uid}:{gid} {} bytes", char::from(*flag), body.len())
    }
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(mut self, entry: Entry) -> Self {
        entry.write(&mut self.bytes);
        self
    }

    pub(crate) fn all(self, entries: impl IntoIterator<Item = Entry>) -> Self {
        entries.into_iter().fold(self, Self::add)
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        self.add(Entry::file(name, body))
    }

    pub(crate) fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.add(Entry::dir(name))
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.add(Entry::symlink(name, target))
    }

    pub(crate) fn hardlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.add(Entry::hardlink(name, target))
    }

    /// A pax header with these records for the entry after it.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.add(Entry::new("PaxHeaders/x", b'x').body(body))
    }

    /// A pax header with this text.
    pub(crate) fn raw_pax(self, text: impl AsRef<[u8]>) -> Self {
        self.add(Entry::new("PaxHeaders/x", b'x').body(text))
    }

    /// A global pax header.
    pub(crate) fn global(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.add(Entry::new("pax_global_header", b'g').body(body))
    }

    /// GNU's long name (`L`) or long link (`K`) for the entry after it.
    pub(crate) fn long(self, flag: u8, name: impl AsRef<[u8]>) -> Self {
        let body = [name.as_ref(), b"\0"].concat();
        self.add(Entry::new("././@LongLink", flag).gnu().body(body))
    }

    /// Bytes as they are.
    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// The archive with its two blocks of zeros.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }

    /// The archive without an end.
    pub(crate) fn open_end(self) -> Vec<u8> {
        self.bytes
    }
}
