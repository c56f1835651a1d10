//! Bodies of requests: bytes in memory, or a part of a file that is read as it goes.
//!
//! A body can be made as often as it is wanted, because a request may have to be
//! sent again: to another place, or with another token.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;

/// Bytes that are read of a file at once.
const PIECE: usize = 64 << 10;

/// What is sent.
#[derive(Clone, Debug, Default)]
pub(crate) enum Content {
    /// No bytes.
    #[default]
    Nothing,
    /// These.
    Whole(Bytes),
    /// Some of a file's.
    Part {
        /// The file.
        file: Arc<File>,
        /// The first byte.
        from: u64,
        /// How many.
        length: u64,
    },
}

impl Content {
    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Part { length, .. } => *length,
        }
    }

    /// The body, which adds to `sent` what has gone.
    pub(crate) fn body(&self, sent: &Arc<AtomicU64>) -> Option<Body> {
        match self {
            Self::Nothing => None,
            Self::Whole(bytes) => {
                sent.store(bytes.len() as u64, Ordering::Relaxed);
                Some(bytes.clone().into())
            }
            Self::Part { file, from, length } => {
                let start = (Arc::clone(file), *from, from.saturating_add(*length), Arc::clone(sent));
                Some(Body::wrap_stream(stream::try_unfold(start, |(file, at, end, sent)| async move {
                    let bytes = piece(&file, at, end)?;
                    let next = at.saturating_add(bytes.len() as u64);
                    sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    Ok::<_, io::Error>((!bytes.is_empty()).then_some((bytes, (file, next, end, sent))))
                })))
            }
        }
    }
}

/// The next bytes from `at`; none at `end`.
fn piece(file: &File, at: u64, end: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(end.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
    let mut buffer = vec![0; wanted];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(filled as u64)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob is shorter than it was")),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_the_part_ends() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &vec![7; PIECE + 10]).unwrap();
        let all = (PIECE + 10) as u64;
        assert_eq!(piece(&file, 0, all).unwrap().len(), PIECE);
        assert_eq!(piece(&file, PIECE as u64, all).unwrap().len(), 10);
        assert_eq!(piece(&file, 3, 5).unwrap().len(), 2);
        assert!(piece(&file, all, all).unwrap().is_empty());
        assert!(piece(&file, 0, 1).is_ok() && piece(&file, all - 1, all + 1).is_err());
    }
}
