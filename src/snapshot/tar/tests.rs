//! The reader against bytes that nobody has thought of.

use proptest::prelude::*;

use super::entry::{Entry, Kind};
use super::number;
use super::pax;
use super::reader::Archive;
use super::stream::Supply;
use super::writer::{Meta, Writer, Written};
use crate::snapshot::failure::Failure;

/// Bytes in memory, handed out in chunks of a given size.
struct Memory {
    bytes: Vec<u8>,
    chunk: usize,
}

impl Supply for Memory {
    fn next(&mut self, _spent: Vec<u8>) -> Result<Option<Vec<u8>>, Failure> {
        let rest = self.bytes.split_off(self.chunk.min(self.bytes.len()));
        let chunk = std::mem::replace(&mut self.bytes, rest);
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}

/// All entries and their data.
fn read(bytes: &[u8], chunk: usize) -> Result<Vec<(Entry, Vec<u8>)>, Failure> {
    let mut archive = Archive::new(Memory { bytes: bytes.to_vec(), chunk });
    let mut entries = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut data = Vec::new();
        loop {
            let bytes = archive.data(u64::MAX)?;
            if bytes.is_empty() {
                break;
            }
            data.extend_from_slice(bytes);
        }
        entries.push((entry, data));
    }
    Ok(entries)
}

/// An archive that the `tar` crate wrote, with long names among the entries.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        builder.append_data(&mut header, name, &data[..]).expect("in memory");
    }
    builder.into_inner().expect("in memory")
}

fn files() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof!["[a-z]{1,5}", "[a-z]{1,8}(/[a-z]{60,80}){1,4}"];
    prop::collection::vec((name, prop::collection::vec(any::<u8>(), 0..2000)), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read_however_it_arrives(files in files(), chunk in 1_usize..3000) {
        let entries = read(&archive(&files), chunk).expect("accepted");
        prop_assert_eq!(entries.len(), files.len());
        for ((entry, data), (name, expected)) in entries.iter().zip(&files) {
            prop_assert_eq!(entry.path.as_bytes(), name.as_bytes());
            prop_assert_eq!(&entry.kind, &Kind::File);
            prop_assert_eq!(data, expected);
        }
    }

    #[test]
    fn damaged_archives_are_errors_or_archives(
        files in files(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = archive(&files);
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let whole = read(&bytes, usize::MAX);
        prop_assert_eq!(whole.is_ok(), read(&bytes, 100).is_ok(), "chunks do not matter");
        let accepted = whole.unwrap_or_default();
        prop_assert!(accepted.iter().map(|(_, data)| data.len()).sum::<usize>() <= bytes.len());
    }

    #[test]
    fn headers_of_any_bytes_are_errors_or_entries(mut block in prop::collection::vec(any::<u8>(), 512), rest in prop::collection::vec(any::<u8>(), 0..2048)) {
        block[257..265].copy_from_slice(if rest.len() % 2 == 0 { b"ustar  \0" } else { b"ustar\x0000" });
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.extend(rest);
        for (entry, _) in read(&block, 512).unwrap_or_default() {
            prop_assert!(entry.path.as_bytes().split(|byte| *byte == b'/').all(|part| part != b".."));
            prop_assert!(entry.mode <= 0o7777);
        }
    }

    #[test]
    fn pax_records_of_any_bytes_are_errors_or_records(bytes in prop::collection::vec(any::<u8>(), 0..500), key in "[a-zA-Z.]{1,20}") {
        let _ = pax::parse(&bytes);
        let body = [key.as_bytes(), b"=", &bytes, b"\n"].concat();
        let length = (body.len() + 1..).find(|length| length.to_string().len() + 1 + body.len() == *length).expect("a length");
        let _ = pax::parse(&[length.to_string().as_bytes(), b" ", &body].concat());
        prop_assert!(pax::parse_global(&[length.to_string().as_bytes(), b" ", &body].concat()).is_err() || key == "comment");
    }

    #[test]
    fn numbers_that_were_written_are_read(value in 0_u64..1 << 33) {
        prop_assert_eq!(number::field(format!("{value:011o}\0").as_bytes()), Some(value));
        prop_assert_eq!(number::decimal(value.to_string().as_bytes()), Some(value));
        let mut field = [0_u8; 12];
        field[4..].copy_from_slice(&value.to_be_bytes());
        field[0] = 0x80;
        prop_assert_eq!(number::field(&field), Some(value));
    }

    #[test]
    fn fields_of_any_bytes_are_numbers_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        let _ = (number::field(&bytes), number::time_field(&bytes), number::decimal(&bytes), number::pax_time(&bytes));
    }
}

fn written() -> impl Strategy<Value = (Vec<u8>, u64, u32, Vec<u8>)> {
    let name = prop_oneof!["[a-z]{1,5}", "[a-z]{1,8}(/[a-z]{60,80}){1,4}", "[a-z]{90,99}"];
    (name, any::<u64>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..1100))
        .prop_map(|(name, mtime, id, value)| (name.into_bytes(), mtime % (1 << 33), id.min(u32::MAX - 1), value))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_write_we_read(files in prop::collection::vec(written(), 1..5)) {
        let mut writer = Writer::new(Vec::new());
        for (name, mtime, id, value) in &files {
            let attributes = [(b"user.a=b".to_vec(), value.clone())];
            let attributes = if value.is_empty() { &[][..] } else { &attributes };
            let meta = Meta { path: name, kind: Written::File(3), mode: 0o640, uid: *id, gid: 0, mtime: *mtime, attributes };
            writer.entry(&meta, &mut &b"abc"[..]).expect("in memory");
            let link = Meta { kind: Written::Hardlink(name), path: b"link", ..meta };
            writer.entry(&Meta { attributes: &[], ..link }, &mut &b""[..]).expect("in memory");
        }
        let entries = read(&writer.finish().expect("in memory"), 512).expect("accepted");
        for (pair, (name, mtime, id, value)) in entries.chunks(2).zip(&files) {
            let [(file, data), (link, _)] = pair else { panic!("two entries a file") };
            prop_assert_eq!((file.path.as_bytes(), &data[..]), (&name[..], &b"abc"[..]));
            prop_assert_eq!((file.uid, file.gid, file.mode), (*id, 0, 0o640));
            prop_assert_eq!(file.mtime.seconds.cast_unsigned(), *mtime);
            // A record's key ends at the first equals sign.
            let expected = (!value.is_empty()).then(|| (b"user.a".to_vec(), [b"b=", &value[..]].concat()));
            prop_assert_eq!(&file.attributes, &expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(&link.kind, &Kind::Hardlink(file.path.clone()));
        }
    }
}
