//! Writes archives of layers: ustar headers, pax records where these have no room.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::entry::Attribute;

const BLOCK: u64 = 512;

/// The largest numbers of the header fields, and the longest names.
const MAX_ID: u32 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;
const MAX_NAME: usize = 100;

/// What an entry says of a file, its data aside.
#[derive(Clone, Debug)]
pub(crate) struct Meta<'m> {
    /// Relative; directories end with a slash.
    pub(crate) path: &'m [u8],
    pub(crate) kind: Written<'m>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: u64,
    pub(crate) attributes: &'m [Attribute],
}

/// What an entry makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Written<'m> {
    /// A file of this many bytes.
    File(u64),
    Directory,
    Symlink(&'m [u8]),
    Hardlink(&'m [u8]),
    Fifo,
    /// Major and minor number.
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
}

/// An archive being written.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output }
    }

    /// Writes an entry; a file's data comes from `data`, and has to be all there.
    pub(crate) fn entry(&mut self, meta: &Meta<'_>, data: &mut dyn Read) -> io::Result<()> {
        let records = records(meta);
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            header.set_path("PaxHeaders/entry")?;
            header.set_mode(0o644);
            header.set_size(records.len() as u64);
            self.block(&mut header)?;
            self.output.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        let size = if let Written::File(size) = meta.kind { size } else { 0 };
        self.block(&mut header(meta)?)?;
        let copied = io::copy(&mut data.take(size), &mut self.output)?;
        if copied != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        self.pad(size)
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK as usize])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn block(&mut self, header: &mut Header) -> io::Result<()> {
        header.set_cksum();
        self.output.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(size.wrapping_neg() % BLOCK), &mut self.output).map(drop)
    }
}

/// The header; what has no room in it is cut, and stands in [`records`].
fn header(meta: &Meta<'_>) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    let (kind, link, device) = match meta.kind {
        Written::File(_) => (EntryType::Regular, &b""[..], None),
        Written::Directory => (EntryType::Directory, &b""[..], None),
        Written::Symlink(target) => (EntryType::Symlink, target, None),
        Written::Hardlink(target) => (EntryType::Link, target, None),
        Written::Fifo => (EntryType::Fifo, &b""[..], None),
        Written::CharDevice(major, minor) => (EntryType::Char, &b""[..], Some((major, minor))),
        Written::BlockDevice(major, minor) => (EntryType::Block, &b""[..], Some((major, minor))),
    };
    header.set_entry_type(kind);
    let old = header.as_old_mut();
    old.name.iter_mut().zip(meta.path).for_each(|(field, byte)| *field = *byte);
    old.linkname.iter_mut().zip(link).for_each(|(field, byte)| *field = *byte);
    header.set_mode(meta.mode);
    header.set_uid(meta.uid.min(MAX_ID).into());
    header.set_gid(meta.gid.min(MAX_ID).into());
    header.set_mtime(meta.mtime.min(MAX_SIZE));
    header.set_size(if let Written::File(size) = meta.kind { size.min(MAX_SIZE) } else { 0 });
    let (major, minor) = device.unwrap_or_default();
    header.set_device_major(major)?;
    header.set_device_minor(minor)?;
    Ok(header)
}

/// The pax records that an entry needs.
fn records(meta: &Meta<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    if meta.path.len() > MAX_NAME {
        record(&mut records, b"path", meta.path);
    }
    match meta.kind {
        Written::Symlink(target) | Written::Hardlink(target) if target.len() > MAX_NAME => {
            record(&mut records, b"linkpath", target);
        }
        Written::File(size) if size > MAX_SIZE => record(&mut records, b"size", size.to_string().as_bytes()),
        _ => {}
    }
    for (key, id) in [(b"uid", meta.uid), (b"gid", meta.gid)] {
        if id > MAX_ID {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    for (name, value) in meta.attributes {
        record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// Adds `length key=value\n`, the length counting its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}
