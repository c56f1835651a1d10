//! Records of files that cannot carry an extended attribute.
//!
//! A file of fixed records that only grows: inode number, record, checksum. The
//! last record of an inode counts. What a crash tore at the end is cut off; when
//! most of it is history the file is written anew beside it and renamed.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Mode, OFlags};

use super::Record;

/// The journal's name in the work directory of an overlay.
pub const NAME: &str = "owners";
const NEW_NAME: &str = "owners.new";
const MAGIC: [u8; SIZE] = *b"PYBOXOWN\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const SIZE: usize = 32;
/// As much history as is kept whatever the number of files.
const SLACK: usize = 1024;

/// The records of an upper directory, by inode number on disk.
#[derive(Debug)]
pub struct Journal {
    file: File,
    records: HashMap<u64, Record>,
    written: usize,
}

impl Journal {
    /// Opens the journal in an overlay's work directory, or begins one.
    ///
    /// # Errors
    /// What the disk says; `InvalidData` for a file that is no journal.
    pub fn open(work: impl AsFd) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(work, NAME, flags, Mode::RUSR | Mode::WUSR)?);
        let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if length < SIZE {
            file.set_len(0)?;
            file.write_all_at(&MAGIC, 0)?;
            return Ok(Self { file, records: HashMap::new(), written: 0 });
        }
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        let (records, written) = Self::parse(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        file.set_len(((written + 1) * SIZE) as u64)?;
        Ok(Self { file, records, written })
    }

    /// Reads a journal's bytes: the records that count, and how many there are
    /// with the history; `None` for what is no journal.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(HashMap<u64, Record>, usize)> {
        let (head, body) = bytes.split_first_chunk::<SIZE>()?;
        if *head != MAGIC {
            return None;
        }
        let mut records = HashMap::new();
        let mut written = 0;
        for piece in body.as_chunks::<SIZE>().0 {
            let Some((ino, record)) = decode(piece) else { break };
            match record {
                Some(record) => records.insert(ino, record),
                None => records.remove(&ino),
            };
            written += 1;
        }
        Some((records, written))
    }

    /// What is recorded of an inode.
    #[must_use]
    pub fn get(&self, ino: u64) -> Option<Record> {
        self.records.get(&ino).copied()
    }

    /// Records what an inode is, or that there is nothing to say of it.
    ///
    /// # Errors
    /// What the disk says; then nothing has changed.
    pub fn set(&mut self, work: impl AsFd, ino: u64, record: Option<Record>) -> io::Result<()> {
        if self.get(ino) == record {
            return Ok(());
        }
        self.file.write_all_at(&encode(ino, record), ((self.written + 1) * SIZE) as u64)?;
        self.written += 1;
        match record {
            Some(record) => self.records.insert(ino, record),
            None => self.records.remove(&ino),
        };
        if self.written > 2 * self.records.len() + SLACK {
            // It is recorded; a disk that has no room for all of it anew is asked again with the next one.
            let _ = self.rewrite(work);
        }
        Ok(())
    }

    fn rewrite(&mut self, work: impl AsFd) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for (ino, record) in &self.records {
            bytes.extend_from_slice(&encode(*ino, Some(*record)));
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&work, NEW_NAME, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        rustix::fs::renameat(&work, NEW_NAME, &work, NAME)?;
        self.file = file;
        self.written = self.records.len();
        Ok(())
    }
}

fn encode(ino: u64, record: Option<Record>) -> [u8; SIZE] {
    let Record { uid, gid, mode, rdev } = record.unwrap_or(Record { uid: 0, gid: 0, mode: 0, rdev: 0 });
    let mut bytes = Vec::with_capacity(SIZE);
    bytes.extend_from_slice(&ino.to_le_bytes());
    for field in [uid, gid, mode, rdev, u32::from(record.is_some())] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
    bytes.try_into().unwrap_or([0; SIZE])
}

fn decode(bytes: &[u8; SIZE]) -> Option<(u64, Option<Record>)> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != checksum(body) {
        return None;
    }
    let (ino, fields) = body.split_first_chunk::<8>()?;
    let [uid, gid, mode, rdev, present] =
        <[[u8; 4]; 5]>::try_from(fields.as_chunks::<4>().0).ok()?.map(u32::from_le_bytes);
    Some((u64::from_le_bytes(*ino), (present == 1).then_some(Record { uid, gid, mode, rdev })))
}

/// FNV-1a: so few bytes need nothing better.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: u32) -> Record {
        Record { uid, gid: 1, mode: 0o120_777, rdev: 0 }
    }

    #[test]
    fn records_survive_and_the_last_counts() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let work = File::open(dir.path()).expect("open");
        let mut journal = Journal::open(&work).expect("begin");
        for uid in 0..10 {
            journal.set(&work, u64::from(uid % 3), Some(record(uid))).expect("set");
        }
        journal.set(&work, 1, None).expect("set");
        drop(journal);
        let journal = Journal::open(&work).expect("open");
        assert_eq!((journal.get(0), journal.get(1), journal.get(2)), (Some(record(9)), None, Some(record(8))));
        assert_eq!(journal.written, 11);
    }

    #[test]
    fn a_torn_tail_is_cut_off() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let work = File::open(dir.path()).expect("open");
        let mut journal = Journal::open(&work).expect("begin");
        journal.set(&work, 1, Some(record(1))).expect("set");
        journal.set(&work, 2, Some(record(2))).expect("set");
        drop(journal);
        let path = dir.path().join(NAME);
        let mut bytes = std::fs::read(&path).expect("read");
        bytes.truncate(bytes.len() - 3);
        bytes.extend_from_slice(&[0xff; 40]);
        std::fs::write(&path, &bytes).expect("write");
        let mut journal = Journal::open(&work).expect("open");
        assert_eq!((journal.get(1), journal.get(2)), (Some(record(1)), None));
        journal.set(&work, 3, Some(record(3))).expect("set");
        drop(journal);
        assert_eq!(Journal::open(&work).expect("open").get(3), Some(record(3)));
    }

    #[test]
    fn history_does_not_grow_without_end() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let work = File::open(dir.path()).expect("open");
        let mut journal = Journal::open(&work).expect("begin");
        for turn in 0..5000 {
            journal.set(&work, 7, Some(record(turn))).expect("set");
        }
        assert!(std::fs::metadata(dir.path().join(NAME)).expect("stat").len() < 40_000);
        assert_eq!(Journal::open(&work).expect("open").get(7), Some(record(4999)));
    }

    #[test]
    fn other_files_are_no_journals() {
        assert!(Journal::parse(b"").is_none());
        assert!(Journal::parse(&[7; 64]).is_none());
        assert_eq!(Journal::parse(&MAGIC).map(|(_, written)| written), Some(0));
    }

    #[test]
    fn what_cannot_be_written_anew_is_recorded_all_the_same() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        std::fs::create_dir(dir.path().join(NEW_NAME)).expect("mkdir");
        let work = File::open(dir.path()).expect("open");
        let mut journal = Journal::open(&work).expect("begin");
        for uid in 0..u32::try_from(SLACK).expect("few") + 10 {
            journal.set(&work, 1, Some(record(uid))).expect("set");
        }
        std::fs::remove_dir(dir.path().join(NEW_NAME)).expect("rmdir");
        journal.set(&work, 1, Some(record(5))).expect("set");
        assert_eq!(journal.written, 1);
        drop(journal);
        assert_eq!(Journal::open(&work).expect("open").get(1), Some(record(5)));
    }
}
