//! Compressed streams as layers come in, and what they may cost.
//!
//! Several gzip members or zstd frames in a row are one stream. Anything after
//! the last that is neither is an error, except zeros after gzip, which GNU gzip
//! takes too. Nothing is decompressed by another program.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::{Decompress, FlushDecompress, Status};

use super::failure::Failure;
use super::worker::{Compression, Limits};

/// Bytes read from the input at once.
const INPUT: usize = 256 << 10;

/// 2^27 bytes: the widest zstd window that is accepted (128 MiB).
const WINDOW_LOG: u32 = 27;

/// Uncompressed bytes of a layer, counted against its limits.
pub(crate) struct Decompressor {
    decoder: Decoder,
    compressed: Arc<AtomicU64>,
    limits: Limits,
    total: u64,
}

type Input = BufReader<Counted>;

enum Decoder {
    Plain(Input),
    Gzip(Gzip<Input>),
    Zstd(zstd::stream::read::Decoder<'static, Input>),
}

impl Decompressor {
    /// Reads `input`, which is compressed in the way named, within `limits`.
    pub(crate) fn new(input: Box<dyn Read + Send>, compression: Compression, limits: Limits) -> Result<Self, Failure> {
        let compressed = Arc::new(AtomicU64::new(0));
        let input = BufReader::with_capacity(INPUT, Counted { input, count: Arc::clone(&compressed) });
        let decoder = match compression {
            Compression::None => Decoder::Plain(input),
            Compression::Gzip => Decoder::Gzip(Gzip::new(input)),
            Compression::Zstd => Decoder::Zstd(zstd_decoder(input).map_err(|error| Failure::io("start zstd", &error))?),
        };
        Ok(Self { decoder, compressed, limits, total: 0 })
    }

    /// Fills `buffer` as far as there are bytes; the number of bytes, 0 at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = match &mut self.decoder {
                Decoder::Plain(input) => input.read(rest),
                Decoder::Gzip(gzip) => gzip.read(rest),
                Decoder::Zstd(zstd) => zstd.read(rest),
            };
            match read {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    self.count(count as u64)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error().is_some() => return Err(Failure::io("read the layer", &error)),
                Err(error) => return Err(Failure::corrupt(format!("compressed stream: {error}"))),
            }
        }
        if filled == 0 && self.compressed.load(Ordering::Relaxed) == 0 {
            return Err(Failure::corrupt("no data"));
        }
        Ok(filled)
    }

    fn count(&mut self, count: u64) -> Result<(), Failure> {
        let Limits { total, ratio, ratio_from, .. } = self.limits;
        self.total += count;
        if self.total > total {
            return Err(Failure::too_large(format!("more than {total} bytes uncompressed")));
        }
        // What is read ahead counts as compressed too: lenient by one buffer.
        let compressed = self.compressed.load(Ordering::Relaxed);
        if self.total > ratio_from && self.total > compressed.saturating_mul(ratio) {
            return Err(Failure::too_large(format!("expands to more than {ratio} times its size")));
        }
        Ok(())
    }
}

fn zstd_decoder(input: Input) -> io::Result<zstd::stream::read::Decoder<'static, Input>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(decoder)
}

/// Counts the bytes that come through.
struct Counted {
    input: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A gzip stream of one member or several.
struct Gzip<R> {
    input: R,
    state: State,
}

enum State {
    /// Inside of a member.
    Member(Box<Decompress>),
    /// Before the first member.
    Start,
    /// After a member.
    Between,
    /// In the zeros after the last member.
    Padding,
}

impl<R: BufRead> Gzip<R> {
    fn new(input: R) -> Self {
        Self { input, state: State::Start }
    }

    /// Looks at what follows a member; `false` at the end.
    fn begin(&mut self) -> io::Result<bool> {
        let next = self.input.fill_buf()?.first().copied();
        match (&self.state, next) {
            (State::Start, Some(_)) | (State::Between, Some(0x1f)) => {
                self.state = State::Member(Box::new(Decompress::new_gzip(15)));
                Ok(true)
            }
            (State::Start, None) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no data")),
            (_, None) => Ok(false),
            (_, Some(0)) => {
                self.state = State::Padding;
                let zeros = self.input.fill_buf()?.iter().take_while(|byte| **byte == 0).count();
                self.input.consume(zeros);
                Ok(true)
            }
            (_, Some(_)) => Err(io::Error::new(io::ErrorKind::InvalidData, "data after the end of the gzip stream")),
        }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let State::Member(decompress) = &mut self.state else {
                if buffer.is_empty() || !self.begin()? {
                    return Ok(0);
                }
                continue;
            };
            let input = self.input.fill_buf()?;
            let at_end = input.is_empty();
            let (before_in, before_out) = (decompress.total_in(), decompress.total_out());
            let flush = if at_end { FlushDecompress::Finish } else { FlushDecompress::None };
            let status = decompress.decompress(input, buffer, flush);
            let consumed = usize::try_from(decompress.total_in() - before_in).unwrap_or(0);
            let produced = usize::try_from(decompress.total_out() - before_out).unwrap_or(0);
            self.input.consume(consumed);
            match status {
                Ok(Status::StreamEnd) => self.state = State::Between,
                Ok(_) if produced == 0 && at_end => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "gzip stream ends early"));
                }
                Ok(_) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            if produced > 0 {
                return Ok(produced);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).expect("compress");
        encoder.finish().expect("compress")
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(data, 3).expect("compress")
    }

    /// Hands out a few bytes at a time, as a network does.
    struct Drip(io::Cursor<Vec<u8>>);

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(7);
            self.0.read(&mut buffer[..length])
        }
    }

    fn decompress(bytes: &[u8], compression: Compression, limits: Limits) -> Result<Vec<u8>, Failure> {
        let mut reader = Decompressor::new(Box::new(Drip(io::Cursor::new(bytes.to_vec()))), compression, limits)?;
        let mut all = Vec::new();
        let mut buffer = vec![0; 1000];
        loop {
            match reader.fill(&mut buffer)? {
                0 => return Ok(all),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn members_and_frames_are_one_stream() {
        let data: Vec<u8> = (0..100_000_u32).flat_map(|number| number.wrapping_mul(number).to_le_bytes()).collect();
        let (head, tail) = data.split_at(12_345);
        let empty = gzip(b"");
        let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), b"skip"].concat();
        let cases = [
            (data.clone(), Compression::None),
            (gzip(&data), Compression::Gzip),
            ([gzip(head), gzip(tail)].concat(), Compression::Gzip),
            ([gzip(head), empty.clone(), gzip(tail), empty].concat(), Compression::Gzip),
            ([gzip(&data), vec![0; 3000]].concat(), Compression::Gzip),
            (zstd(&data), Compression::Zstd),
            ([zstd(head), skippable, zstd(tail)].concat(), Compression::Zstd),
        ];
        for (bytes, compression) in cases {
            assert!(decompress(&bytes, compression, Limits::default()) == Ok(data.clone()), "{compression:?}");
        }
    }

    #[test]
    fn what_is_no_stream_to_its_end_is_corrupt() {
        let data = b"some data that is compressed".repeat(100);
        let (gz, zst) = (gzip(&data), zstd(&data));
        let mut flipped = gz.clone();
        let crc = flipped.len() - 6;
        flipped[crc] ^= 1;
        let cases = [
            ("empty", vec![], Compression::Gzip),
            ("empty", vec![], Compression::Zstd),
            ("empty", vec![], Compression::None),
            ("truncated", gz[..gz.len() - 1].to_vec(), Compression::Gzip),
            ("header only", gz[..5].to_vec(), Compression::Gzip),
            ("truncated", zst[..zst.len() - 1].to_vec(), Compression::Zstd),
            ("checksum", flipped, Compression::Gzip),
            ("trailing garbage", [&gz[..], b"garbage"].concat(), Compression::Gzip),
            ("garbage after zeros", [&gz[..], b"\0\0garbage"].concat(), Compression::Gzip),
            ("member after zeros", [&gz[..], b"\0\0", &gz[..]].concat(), Compression::Gzip),
            ("half a member", [&gz[..], &gz[..4]].concat(), Compression::Gzip),
            ("trailing garbage", [&zst[..], b"garbage"].concat(), Compression::Zstd),
            ("trailing zeros", [&zst[..], b"\0\0\0\0\0\0\0\0"].concat(), Compression::Zstd),
            ("not gzip", data.clone(), Compression::Gzip),
            ("not zstd", data, Compression::Zstd),
            ("xz", b"\xfd7zXZ\0\0\x04".to_vec(), Compression::Gzip),
        ];
        for (name, bytes, compression) in cases {
            let result = decompress(&bytes, compression, Limits::default());
            assert!(matches!(result, Err(Failure::Corrupt { .. })), "{name} {compression:?}: {result:?}");
        }
    }

    #[test]
    fn bombs_are_stopped() {
        let zeros = vec![0; 2 << 20];
        let limits = Limits { total: 1 << 20, ..Limits::default() };
        for (bytes, compression) in [(gzip(&zeros), Compression::Gzip), (zstd(&zeros), Compression::Zstd)] {
            let result = decompress(&bytes, compression, limits);
            assert!(matches!(result, Err(Failure::TooLarge { .. })), "{compression:?}");
            let ratio = Limits { ratio: 100, ratio_from: 1 << 20, ..Limits::default() };
            let result = decompress(&bytes, compression, ratio);
            assert!(matches!(result, Err(Failure::TooLarge { .. })), "{compression:?}");
        }
    }

    #[test]
    fn wide_zstd_windows_are_refused() {
        let window = |log: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3, 0x01, 0, 0][..]].concat();
        assert_eq!(decompress(&window(27), Compression::Zstd, Limits::default()), Ok(Vec::new()));
        let result = decompress(&window(28), Compression::Zstd, Limits::default());
        assert!(matches!(result, Err(Failure::Corrupt { .. })), "{result:?}");
    }
}
