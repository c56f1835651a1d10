//! Layers that are made here, compressed on several processors.
//!
//! The same bytes become the same bytes, however many processors there are and however they come in pieces: a layer is
//! known by its digest. What is foreign is decompressed by [`super::decompress`], in a worker; what is compressed here is
//! our own, so it needs none.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::thread::JoinHandle;

use flate2::{Compress, Crc, FlushCompress};

use crate::model::compression::Compression;

/// Bytes that one thread compresses at a time as gzip.
const BLOCK: usize = 1 << 20;
/// The level of each format that its own programs choose.
const GZIP_LEVEL: u32 = 6;
/// The same.
const ZSTD_LEVEL: i32 = 3;
/// More than this do not pay: the bytes come from one thread.
const MOST_THREADS: usize = 8;
/// RFC 1952: magic, deflate, no flags, no time, no extra flags, an unknown system.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// RFC 1951: a last block with nothing in it.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compresses what is written to it, and writes that on.
pub struct Compressor<W: Write> {
    inner: Inner<W>,
}

enum Inner<W: Write> {
    Plain(W),
    Gzip(Gzip<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// Compresses to `output`, on as many processors as there are.
    ///
    /// # Errors
    /// What zstd says when it begins.
    pub fn new(compression: Compression, output: W) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_THREADS);
        Self::on(threads, compression, output)
    }

    fn on(threads: usize, compression: Compression, output: W) -> io::Result<Self> {
        let inner = match compression {
            Compression::None => Inner::Plain(output),
            Compression::Gzip => Inner::Gzip(Gzip::new(threads, output)?),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(output, ZSTD_LEVEL)?;
                // One worker at least: what none makes is another stream.
                encoder.multithread(u32::try_from(threads.max(1)).unwrap_or(1))?;
                Inner::Zstd(encoder)
            }
        };
        Ok(Self { inner })
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        match self.inner {
            Inner::Plain(output) => Ok(output),
            Inner::Gzip(gzip) => gzip.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Plain(output) => output.write(bytes),
            Inner::Gzip(gzip) => gzip.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing to a compressed stream: what is flushed in the middle would be another one.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Inner::Plain(output) => output.flush(),
            Inner::Gzip(_) | Inner::Zstd(_) => Ok(()),
        }
    }
}

/// One gzip member of blocks that know nothing of each other.
struct Gzip<W> {
    output: W,
    block: Vec<u8>,
    /// The oldest first.
    under_way: VecDeque<JoinHandle<io::Result<Block>>>,
    threads: usize,
    crc: Crc,
}

/// A block as it stands in the stream, and the checksum of what is in it.
struct Block {
    bytes: Vec<u8>,
    crc: Crc,
}

impl<W: Write> Gzip<W> {
    fn new(threads: usize, mut output: W) -> io::Result<Self> {
        output.write_all(&GZIP_HEAD)?;
        let (block, under_way) = (Vec::with_capacity(BLOCK), VecDeque::with_capacity(threads));
        Ok(Self { output, block, under_way, threads, crc: Crc::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
        self.block.extend_from_slice(now);
        if self.block.len() == BLOCK {
            self.begin()?;
        }
        Ok(now.len())
    }

    /// Has a block compressed. A thread for each: making one takes a thousandth of its work.
    fn begin(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        while self.under_way.len() >= self.threads.max(1) {
            self.take()?;
        }
        let thread = std::thread::Builder::new().name("pybox-gzip".to_owned());
        self.under_way.push_back(thread.spawn(move || deflate(&block))?);
        Ok(())
    }

    /// Writes the oldest block, once it is there.
    fn take(&mut self) -> io::Result<()> {
        let Some(thread) = self.under_way.pop_front() else { return Ok(()) };
        let block = thread.join().map_err(|_| io::Error::other("a thread that compresses has ended early"))??;
        self.crc.combine(&block.crc);
        self.output.write_all(&block.bytes)
    }

    fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() {
            self.begin()?;
        }
        while !self.under_way.is_empty() {
            self.take()?;
        }
        self.output.write_all(&LAST_BLOCK)?;
        self.output.write_all(&self.crc.sum().to_le_bytes())?;
        // The length without its upper half, as the format has it.
        self.output.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.output)
    }
}

/// Compresses a block up to the edge of a byte, where another one can follow.
fn deflate(block: &[u8]) -> io::Result<Block> {
    let mut compress = Compress::new(flate2::Compression::new(GZIP_LEVEL), false);
    let mut bytes = Vec::with_capacity(block.len() / 2 + 64);
    loop {
        let rest = block.get(usize::try_from(compress.total_in()).unwrap_or(usize::MAX)..).unwrap_or_default();
        compress.compress_vec(rest, &mut bytes, FlushCompress::Sync).map_err(io::Error::other)?;
        // Room that is left says that there is no more to come (zlib.h, deflate).
        if bytes.len() < bytes.capacity() {
            break;
        }
        bytes.reserve(BLOCK / 4);
    }
    let mut crc = Crc::new();
    crc.update(block);
    Ok(Block { bytes, crc })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::snapshot::decompress::Decompressor;
    use crate::snapshot::worker::Limits;

    /// Text, zeros and noise, as layers have them.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let byte = |index: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match index / 70_000 % 3 {
                0 => b"layers of images\n"[index % 17],
                1 => 0,
                _ => (state >> 56) as u8,
            }
        };
        (0..length).map(byte).collect()
    }

    fn compressed(threads: usize, compression: Compression, (bytes, piece): (&[u8], usize)) -> Vec<u8> {
        let mut compressor = Compressor::on(threads, compression, Vec::new()).expect("begin");
        for piece in bytes.chunks(piece) {
            compressor.write_all(piece).expect("write");
            compressor.flush().expect("flush");
        }
        compressor.finish().expect("finish")
    }

    #[test]
    fn what_is_compressed_comes_out_again_and_is_always_the_same() {
        for length in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 12_345] {
            let bytes = sample(length);
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let first = compressed(1, compression, (&bytes, 1 << 16));
                for (threads, piece) in [(2, 1 << 16), (5, 7919), (3, usize::MAX)] {
                    let other = compressed(threads, compression, (&bytes, piece));
                    assert!(other == first, "{compression} {length} {threads} {piece}");
                }
                // No archive is of no bytes, and none is taken.
                if length == 0 {
                    continue;
                }
                let input = Box::new(io::Cursor::new(first.clone()));
                let mut decompressor = Decompressor::new(input, compression, Limits::default()).expect("begin");
                let mut back = vec![0; length + 1];
                let count = decompressor.fill(&mut back).expect("fill");
                assert!(back[..count] == bytes[..], "{compression} {length}");
            }
        }
    }

    /// Others than ourselves read it.
    #[test]
    fn gzip_is_one_member_with_a_checksum() {
        let bytes = sample(2 * BLOCK + 1);
        let packed = compressed(4, Compression::Gzip, (&bytes, 100_000));
        assert!(packed.len() < bytes.len() / 2);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut back).expect("read");
        assert!(back == bytes, "one member has all");
        let mut damaged = packed;
        let place = damaged.len() - 6;
        damaged[place] ^= 1;
        flate2::read::GzDecoder::new(damaged.as_slice()).read_to_end(&mut Vec::new()).expect_err("a wrong checksum");
    }
}
