//! Writing a tar archive: regular files and directories, always the same bytes
//! for the same content.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

const BLOCK: u64 = 512;

/// An archive being written.
pub(crate) struct TarWriter<W> {
    output: W,
    written: u64,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output, written: 0 }
    }

    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(name, EntryType::Directory, 0)
    }

    pub(crate) fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.stream(name, bytes.len() as u64, &mut &*bytes)
    }

    /// Writes a file of `size` bytes; `input` having fewer is an error, more are left in it.
    pub(crate) fn stream(&mut self, name: &str, size: u64, input: &mut dyn Read) -> io::Result<()> {
        self.header(name, EntryType::Regular, size)?;
        let copied = io::copy(&mut input.take(size), &mut self.output)?;
        if copied != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} is shorter than {size} bytes")));
        }
        self.written += copied;
        let padding = copied.next_multiple_of(BLOCK) - copied;
        self.zeros(padding)
    }

    /// Ends the archive, and tells how many bytes it has.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        self.zeros(2 * BLOCK)?;
        self.output.flush()?;
        Ok((self.output, self.written))
    }

    fn header(&mut self, name: &str, kind: EntryType, size: u64) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        // No time and no owner: they would only tell who saved it and when.
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_cksum();
        self.output.write_all(header.as_bytes())?;
        self.written += BLOCK;
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.written += io::copy(&mut io::repeat(0).take(count), &mut self.output)?;
        Ok(())
    }
}
