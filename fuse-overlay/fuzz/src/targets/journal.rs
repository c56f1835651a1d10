//! Records of owners: texts of others, and the journal of an overlay after a crash.
//!
//! The first byte chooses between both. For the journal five bytes say what becomes of its file: where it is cut off,
//! and which byte is damaged how. Those behind are entries, four bytes each.

use std::collections::HashMap;
use std::fs::File;

use pybox_fuse_overlay::record::{JOURNAL, Journal, Owners, Record};

use crate::bench;

/// Bytes of a record in a journal, and of what stands before the first.
const SIZE: usize = 32;

/// Records of owners.
///
/// # Panics
/// If what is read is not what was written, as far as that is whole.
pub fn journal(bytes: &[u8]) {
    match bytes.split_first_chunk::<6>() {
        Some(([how, damage @ ..], entries)) if how & 1 == 0 => crash(*damage, entries),
        _ => texts(bytes.get(1..).unwrap_or_default()),
    }
}

fn texts(bytes: &[u8]) {
    if let Some(record) = Record::parse(bytes) {
        assert_eq!(Record::parse(record.text().as_bytes()), Some(record));
    }
    if let Some(owners) = Owners::parse(bytes) {
        assert_eq!(Owners::parse(&owners.bytes()), Some(owners));
    }
    let _ = Journal::parse(bytes);
}

fn crash([cut_low, cut_high, at_low, at_high, flip]: [u8; 5], entries: &[u8]) {
    let dir = bench::directory();
    let work = File::open(dir.path()).expect("open");
    let expected = write(&work, entries);
    let path = dir.path().join(JOURNAL);
    let mut bytes = std::fs::read(&path).expect("read");
    let whole = Journal::parse(&bytes).expect("a journal").0;
    assert_eq!(whole, expected, "what was written");

    bytes.truncate(usize::from(u16::from_le_bytes([cut_low, cut_high])).min(bytes.len()));
    let at = usize::from(u16::from_le_bytes([at_low, at_high]));
    let mut good = bytes.len() / SIZE;
    if let Some(byte) = bytes.get_mut(at).filter(|_| flip != 0) {
        *byte ^= flip;
        good = good.min(at / SIZE);
    }
    std::fs::write(&path, &bytes).expect("write");
    let left = match good {
        // What is too short to be one is begun anew.
        0 if bytes.len() < SIZE => HashMap::new(),
        0 => {
            assert!(Journal::open(&work).is_err(), "it does not begin as a journal");
            return;
        }
        good => Journal::parse(&bytes[..good * SIZE]).expect("the beginning of a journal").0,
    };
    again(&work, left);
}

/// Writes entries; what has to be there then.
fn write(work: &File, entries: &[u8]) -> HashMap<u64, Record> {
    let mut journal = Journal::open(work).expect("begin");
    let mut expected = HashMap::new();
    for [ino, times, uid, mode] in entries.as_chunks::<4>().0 {
        let ino = u64::from(*ino);
        for turn in 0..=u32::from(*times) {
            let record = Record { uid: u32::from(*uid) + turn, gid: turn, mode: u32::from(*mode), rdev: 0 };
            let record = (*mode != 0).then_some(record);
            journal.set(work, ino, record).expect("set");
            match record {
                Some(record) => expected.insert(ino, record),
                None => expected.remove(&ino),
            };
            assert_eq!(journal.get(ino), record);
        }
    }
    expected
}

/// The next server finds what is left, and goes on behind it.
fn again(work: &File, mut left: HashMap<u64, Record>) {
    let added = Record { uid: 1, gid: 2, mode: 3, rdev: 4 };
    let mut journal = Journal::open(work).expect("open again");
    assert!((0..256).all(|ino| journal.get(ino) == left.get(&ino).copied()), "what is left");
    journal.set(work, 300, Some(added)).expect("set");
    left.insert(300, added);
    drop(journal);
    let journal = Journal::open(work).expect("open a third time");
    assert!((0..=300).all(|ino| journal.get(ino) == left.get(&ino).copied()), "what was added");
}
