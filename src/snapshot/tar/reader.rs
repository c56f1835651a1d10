//! Headers of an archive, one entry after the other.

use tar::{GnuHeader, Header};

use super::entry::{Entry, EntryPath, Kind, MAX_NAME, Time};
use super::number;
use super::pax::{self, Records};
use super::sparse::{Lines, MAX_MAP, Region, SparseMap};
use super::stream::{BLOCK, Stream, Supply, ends_early};
use crate::snapshot::failure::Failure;

/// Most bytes of a GNU long name, its NUL included.
const MAX_LONG_NAME: u64 = MAX_NAME as u64 + 1;

/// Regions in a header block and in each block that continues it (old GNU format).
const SPARSE_RECORD: usize = 24;
const EXTENDED_FLAG: usize = 504;

/// An archive being read.
#[derive(Debug)]
pub(crate) struct Archive<S> {
    stream: Stream<S>,
    /// Data of the current entry not read yet, and the padding after it.
    left: u64,
    padding: u64,
}

/// Which of the three layouts the fields after the link name have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Gnu,
}

/// What earlier headers say of the entry to come.
#[derive(Debug, Default)]
struct Pending {
    records: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<S: Supply> Archive<S> {
    pub(crate) fn new(supply: S) -> Self {
        Self { stream: Stream::new(supply), left: 0, padding: 0 }
    }

    /// The next entry; data of the one before that was not read is left out.
    /// `None` at the end of the archive, when everything after it was found to
    /// be zeros.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        self.stream.skip(self.left)?;
        self.stream.skip(self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut pending = Pending::default();
        loop {
            let mut block = [0; BLOCK];
            let begun = pending.records.is_some() || pending.long_name.is_some() || pending.long_link.is_some();
            if !self.stream.block(&mut block)? {
                // GNU tar takes an end without the two blocks of zeros as well.
                return if begun || self.stream.position() == 0 { Err(ends_early()) } else { Ok(None) };
            }
            if is_zero(&block) {
                return if begun { Err(ends_early()) } else { self.rest_is_zero().map(|()| None) };
            }
            check_sum(&block).ok_or_else(|| self.corrupt("header with a wrong checksum"))?;
            let header = Header::from_byte_slice(&block);
            if !self.extension(header, &mut pending)? {
                return self.entry(header, pending).map(Some);
            }
        }
    }

    /// The next bytes of the current entry's data; empty when all are read.
    pub(crate) fn data(&mut self, most: u64) -> Result<&[u8], Failure> {
        let most = most.min(self.left);
        let bytes = self.stream.some(most)?;
        if bytes.is_empty() && most > 0 {
            return Err(ends_early());
        }
        self.left -= bytes.len() as u64;
        Ok(bytes)
    }

    /// What gives the bytes, to ask it what it saw.
    pub(crate) fn into_supply(self) -> S {
        self.stream.into_supply()
    }

    fn corrupt(&self, reason: &str) -> Failure {
        let at = self.stream.position().saturating_sub(BLOCK as u64);
        Failure::corrupt(format!("{reason} (at byte {at} of the archive)"))
    }

    /// After one block of zeros: another must follow, then nothing but zeros.
    /// Some readers go on after a lone one, so data there would be seen by some.
    fn rest_is_zero(&mut self) -> Result<(), Failure> {
        loop {
            let bytes = self.stream.some(u64::MAX)?;
            if bytes.is_empty() {
                return Ok(());
            }
            if !is_zero(bytes) {
                return Err(Failure::corrupt("data after the end of the archive"));
            }
        }
    }

    /// Takes a header that only says something of the entry after it; `false` for any other.
    fn extension(&mut self, header: &Header, pending: &mut Pending) -> Result<bool, Failure> {
        let bytes = header.as_bytes();
        match typeflag(bytes) {
            b'x' => {
                let records = pax::parse(&self.extension_data(bytes, pax::MAX_HEADER)?)?;
                // Readers differ in whether a second one adds or replaces.
                self.once(pending.records.replace(records).is_none())?;
            }
            b'g' => pax::parse_global(&self.extension_data(bytes, pax::MAX_HEADER)?)?,
            b'L' => {
                let name = self.long_name(bytes)?;
                self.once(pending.long_name.replace(name).is_none())?;
            }
            b'K' => {
                let name = self.long_name(bytes)?;
                self.once(pending.long_link.replace(name).is_none())?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn once(&self, first: bool) -> Result<(), Failure> {
        if first { Ok(()) } else { Err(self.corrupt("two extended headers of one kind for one entry")) }
    }

    fn long_name(&mut self, header: &[u8; BLOCK]) -> Result<Vec<u8>, Failure> {
        let mut name = self.extension_data(header, MAX_LONG_NAME)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        if name.get(end..).is_some_and(|rest| !is_zero(rest)) || end == 0 {
            return Err(self.corrupt("malformed long name"));
        }
        name.truncate(end);
        Ok(name)
    }

    /// The data of an extension header, of at most `most` bytes.
    fn extension_data(&mut self, header: &[u8; BLOCK], most: u64) -> Result<Vec<u8>, Failure> {
        let size = self.header_size(header)?;
        if size > most {
            return Err(Failure::too_large(format!("extended header of {size} bytes")));
        }
        let mut data = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        while (data.len() as u64) < size {
            let bytes = self.stream.some(size - data.len() as u64)?;
            if bytes.is_empty() {
                return Err(ends_early());
            }
            data.extend_from_slice(bytes);
        }
        self.stream.skip(padding(size))?;
        Ok(data)
    }

    fn header_size(&self, header: &[u8; BLOCK]) -> Result<u64, Failure> {
        let size = number::field(&Header::from_byte_slice(header).as_old().size);
        // Leaves room for the padding in every sum that follows.
        size.filter(|size| *size < 1 << 62).ok_or_else(|| self.corrupt("header with an unreadable size"))
    }

    fn entry(&mut self, header: &Header, pending: Pending) -> Result<Entry, Failure> {
        let bytes = header.as_bytes();
        let format = format(header).ok_or_else(|| self.corrupt("header of an unknown format"))?;
        let Pending { records, long_name, long_link } = pending;
        let records = records.unwrap_or_default();
        if (long_name.is_some() && (records.path.is_some() || records.sparse.name.is_some()))
            || (long_link.is_some() && records.link.is_some())
        {
            return Err(self.corrupt("an entry with two long names"));
        }
        let old = header.as_old();
        let number = |field: &[u8], what: &str| {
            number::field(field).ok_or_else(|| self.corrupt(&format!("header with an unreadable {what}")))
        };
        let id = |record: Option<u64>, field: &[u8], what: &str| -> Result<u32, Failure> {
            let value = record.map_or_else(|| number(field, what), Ok)?;
            // The last id means "none" to the kernel.
            u32::try_from(value).ok().filter(|id| *id != u32::MAX).ok_or_else(|| self.corrupt(what))
        };
        let (uid, gid) = (id(records.uid, &old.uid, "owner")?, id(records.gid, &old.gid, "group")?);
        let mode = u32::try_from(number(&old.mode, "mode")? & 0o7777).unwrap_or(0);
        let mtime = match records.mtime {
            Some(time) => time,
            None => (number::time_field(&old.mtime).ok_or_else(|| self.corrupt("header with an unreadable time"))?, 0),
        };
        let name = match records.sparse.name.as_ref().or(records.path.as_ref()).or(long_name.as_ref()) {
            Some(name) => name.clone(),
            None => short_name(header, format),
        };
        let path = EntryPath::parse(&name)?;
        let link = records.link.clone().or(long_link).unwrap_or_else(|| until_nul(&old.linkname).to_vec());
        self.left = records.size.map_or_else(|| self.header_size(bytes), Ok)?;
        if self.left >= 1 << 62 {
            return Err(Failure::too_large(format!("entry of {} bytes", self.left)));
        }
        self.padding = padding(self.left);
        let kind = self.kind(header, format, &records, Names { name: &name, link })?;
        let size = self.left;
        if size > 0 && !matches!(kind, Kind::File | Kind::Sparse(_)) {
            // Readers disagree on whether the bytes are there.
            return Err(Failure::refused(&name, "has data, and is no regular file"));
        }
        let mtime = Time::clamped(mtime.0, mtime.1);
        Ok(Entry { path, kind, mode, uid, gid, mtime, size, attributes: records.attributes })
    }

    fn kind(&mut self, header: &Header, format: Format, records: &Records, names: Names<'_>) -> Result<Kind, Failure> {
        let Names { name, link } = names;
        let refuse = |reason: &str| Err(Failure::refused(name, reason));
        let flag = typeflag(header.as_bytes());
        let directory_name = name.last() == Some(&b'/');
        if records.sparse.is_present() && !matches!(flag, b'0' | 0) {
            return refuse("has a sparse map, and is no regular file");
        }
        let kind = match flag {
            0 if directory_name => Kind::Directory,
            b'0' | b'7' if directory_name => return refuse("is a file with the name of a directory"),
            b'0' | 0 if records.sparse.is_present() => self.pax_sparse(records)?,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::Hardlink(EntryPath::parse(&link)?),
            b'2' if link.is_empty() || link.contains(&0) => return refuse("is a symbolic link to nothing"),
            b'2' if link.len() >= MAX_NAME => return refuse("is a symbolic link to a name of more than 4095 bytes"),
            b'2' => Kind::Symlink(link),
            b'3' | b'4' => self.device(header, flag)?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => self.old_sparse(header, format, records)?,
            other => return refuse(&format!("has the unknown type {:?}", char::from(other))),
        };
        match kind {
            Kind::Directory => Ok(kind),
            Kind::Hardlink(ref target) if target.is_root() => refuse("is a hard link to the root"),
            _ if name.split(|byte| *byte == b'/').all(|part| matches!(part, b"" | b".")) => {
                refuse("has no name, and is no directory")
            }
            kind => Ok(kind),
        }
    }

    fn device(&self, header: &Header, flag: u8) -> Result<Kind, Failure> {
        // Both later formats have the numbers at the same place.
        let ustar = header.as_ustar().map(|ustar| (ustar.dev_major, ustar.dev_minor));
        let gnu = header.as_gnu().map(|gnu| (gnu.dev_major, gnu.dev_minor));
        let (major, minor) = ustar.or(gnu).ok_or_else(|| self.corrupt("device without numbers"))?;
        let number = |field: &[u8]| number::field(field).and_then(|value| u32::try_from(value).ok());
        let (Some(major), Some(minor)) = (number(&major), number(&minor)) else {
            return Err(self.corrupt("device with unreadable numbers"));
        };
        Ok(if flag == b'3' { Kind::CharDevice(major, minor) } else { Kind::BlockDevice(major, minor) })
    }

    fn pax_sparse(&mut self, records: &Records) -> Result<Kind, Failure> {
        let sparse = &records.sparse;
        let (regions, real_size) = match (sparse.major, sparse.minor) {
            (Some(1), Some(0)) if sparse.regions.is_none() => (self.sparse_lines()?, sparse.real_size),
            (None, None) | (Some(0), Some(0 | 1)) => (sparse.regions.clone().unwrap_or_default(), sparse.size),
            _ => return Err(self.corrupt("sparse file of an unknown format")),
        };
        let real_size = real_size.ok_or_else(|| self.corrupt("sparse file without a size"))?;
        SparseMap::check(regions, real_size, self.left).map(Kind::Sparse)
    }

    /// Reads the map that stands before the data (sparse format 1.0).
    fn sparse_lines(&mut self) -> Result<Vec<Region>, Failure> {
        let mut lines = Lines::default();
        let mut read = 0;
        loop {
            let mut block = [0; BLOCK];
            read += BLOCK as u64;
            if self.left < BLOCK as u64 || read > MAX_MAP || !self.stream.block(&mut block)? {
                return Err(self.corrupt("sparse map longer than its entry or than 1 MiB"));
            }
            self.left -= BLOCK as u64;
            if lines.feed(&block)? {
                return Ok(lines.regions());
            }
        }
    }

    /// The map in the header and in the blocks after it (old GNU format).
    fn old_sparse(&mut self, header: &Header, format: Format, records: &Records) -> Result<Kind, Failure> {
        let Some(gnu) = header.as_gnu().filter(|_| format == Format::Gnu && records.size.is_none()) else {
            return Err(self.corrupt("sparse file of an unknown format"));
        };
        let &GnuHeader { ref realsize, isextended: [mut extended], .. } = gnu;
        let real_size = number::field(realsize).ok_or_else(|| self.corrupt("sparse file without a size"))?;
        let mut regions = Vec::new();
        let records = gnu.sparse.iter().map(|record| (&record.offset[..], &record.numbytes[..]));
        let mut complete = old_regions(records, &mut regions)?;
        while extended != 0 {
            let mut block = [0; BLOCK];
            // A map that has ended goes on nowhere.
            if complete || !self.stream.block(&mut block)? {
                return Err(self.corrupt("malformed sparse map"));
            }
            extended = block.get(EXTENDED_FLAG).copied().unwrap_or(0);
            let records = block.chunks_exact(SPARSE_RECORD).take(EXTENDED_FLAG / SPARSE_RECORD);
            let records = records.filter_map(|record| record.split_at_checked(SPARSE_RECORD / 2));
            complete = old_regions(records, &mut regions)?;
        }
        SparseMap::check(regions, real_size, self.left).map(Kind::Sparse)
    }
}

/// The name and the link of an entry, as the archive has them.
struct Names<'a> {
    name: &'a [u8],
    link: Vec<u8>,
}

/// Adds the regions of one block of an old GNU map; true when the map ends in it.
fn old_regions<'a>(
    records: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    regions: &mut Vec<Region>,
) -> Result<bool, Failure> {
    let bad = || Failure::corrupt("sparse map: unreadable numbers, or more than 65536 regions");
    for (offset, length) in records {
        match (offset.first(), length.first()) {
            (Some(0), Some(0)) => return Ok(true),
            // Readers look at one or the other to find the end.
            (Some(0), _) | (_, Some(0)) => return Err(bad()),
            _ => {}
        }
        let (Some(offset), Some(length)) = (number::field(offset), number::field(length)) else { return Err(bad()) };
        regions.push(Region { offset, length });
        if regions.len() > super::sparse::MAX_REGIONS {
            return Err(bad());
        }
    }
    Ok(false)
}

fn typeflag(header: &[u8; BLOCK]) -> u8 {
    let [flag] = Header::from_byte_slice(header).as_old().linkflag;
    flag
}

fn format(header: &Header) -> Option<Format> {
    if header.as_gnu().is_some() {
        return Some(Format::Gnu);
    }
    if header.as_ustar().is_some() {
        return Some(Format::Ustar);
    }
    // A magic that is nearly right is read in as many ways as there are readers.
    header.as_bytes().get(257..265).is_some_and(is_zero).then_some(Format::V7)
}

fn short_name(header: &Header, format: Format) -> Vec<u8> {
    let name = until_nul(&header.as_old().name);
    let prefix = match header.as_ustar() {
        Some(ustar) if format == Format::Ustar => until_nul(&ustar.prefix),
        _ => b"",
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Compares the header's checksum, in which its own field counts as blanks. Old
/// programs summed signed bytes.
fn check_sum(block: &[u8; BLOCK]) -> Option<()> {
    let expected = number::field(&Header::from_byte_slice(block).as_old().cksum)?;
    let (mut unsigned, mut signed) = (0_u64, 0_i64);
    for (index, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&index) { b' ' } else { *byte };
        unsigned += u64::from(byte);
        signed += i64::from(i8::from_ne_bytes([byte]));
    }
    (unsigned == expected || u64::try_from(signed) == Ok(expected)).then_some(())
}
