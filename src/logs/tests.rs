//! Written and read again: exactly, torn, rotated, from the end.

use std::fs::File;
use std::os::fd::AsFd as _;

use crate::logs::format::Channel::{self, Error, Output};
use crate::logs::format::{HEAD, TAIL};
use crate::logs::reader::Reader;
use crate::logs::writer::Writer;
use crate::model::supervision::LogRequest;

struct Log {
    place: tempfile::TempDir,
    directory: File,
}

impl Log {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let directory = File::open(place.path()).expect("open");
        Self { place, directory }
    }

    fn writer(&self, max_size: Option<u64>, max_file: Option<u32>) -> Writer {
        Writer::new(self.directory.as_fd(), &LogRequest { max_size, max_file, ..LogRequest::default() }).expect("dup")
    }

    fn reader(&self) -> Reader {
        Reader::open(self.directory.as_fd()).expect("open")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.place.path()).expect("list");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("entry").file_name().into_string().expect("utf-8")).collect();
        names.sort();
        names
    }
}

fn write(writer: &mut Writer, channel: Channel, mut output: &[u8]) {
    while !output.is_empty() {
        output = &output[writer.append(channel, 7, output).expect("append")..];
    }
}

fn rest(reader: &mut Reader) -> (Vec<u8>, Vec<u8>) {
    let (mut output, mut error) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.read().expect("read") {
        if entry.channel == Output { &mut output } else { &mut error }.extend_from_slice(entry.output);
    }
    (output, error)
}

fn text(reader: &mut Reader) -> String {
    let mut text = String::new();
    while let Some(entry) = reader.read().expect("read") {
        text.push_str(std::str::from_utf8(entry.output).expect("utf-8"));
    }
    text
}

#[test]
fn bytes_are_kept_as_they_were() {
    let log = Log::new();
    assert_eq!(rest(&mut log.reader()), (vec![], vec![]));
    let noise: Vec<u8> = (0..=255_u8).cycle().take(5_000_000).collect();
    let mut writer = log.writer(None, None);
    write(&mut writer, Output, b"no newline, \0 and \xff");
    write(&mut writer, Error, b"apart\n");
    write(&mut writer, Output, &noise);
    let (output, error) = rest(&mut log.reader());
    assert_eq!(&output[..20], b"no newline, \0 and \xff\x00");
    assert!(output[19..] == noise && error == b"apart\n");
    // A writer that comes later goes on where the last one ended.
    drop(writer);
    write(&mut log.writer(None, None), Error, b"later");
    assert_eq!(rest(&mut log.reader()).1, b"apart\nlater");
}

#[test]
fn a_reader_goes_on_when_more_has_come() {
    let log = Log::new();
    let (mut writer, mut reader) = (log.writer(None, None), log.reader());
    assert_eq!(text(&mut reader), "");
    for words in ["one\n", "two ", "three"] {
        write(&mut writer, Output, words.as_bytes());
        assert_eq!(text(&mut reader), words);
        assert_eq!(text(&mut reader), "");
    }
}

#[test]
fn a_torn_end_is_passed_over_and_written_over() {
    let whole = "first\nsecond\n";
    for cut in 1..(HEAD + TAIL + 6) {
        let log = Log::new();
        let mut writer = log.writer(None, None);
        write(&mut writer, Output, whole.as_bytes());
        write(&mut writer, Output, b"third\n");
        drop(writer);
        let file = File::options().write(true).open(log.place.path().join("log")).expect("open");
        let size = file.metadata().expect("stat").len();
        file.set_len(size - cut as u64).expect("cut");
        // As a power cut may leave it: the size is there, the bytes are not.
        if cut % 2 == 0 {
            file.set_len(size).expect("grow");
        }
        assert_eq!(text(&mut log.reader()), whole, "{cut}");
        let mut last = log.reader();
        last.keep_last(1).expect("search");
        assert_eq!(text(&mut last), "second\n", "{cut}");
        write(&mut log.writer(None, None), Output, b"fourth\n");
        assert_eq!(text(&mut log.reader()), format!("{whole}fourth\n"), "{cut}");
    }
}

#[test]
fn the_last_lines_are_found_from_the_end() {
    let log = Log::new();
    let mut writer = log.writer(Some(2048), Some(4));
    let lines: Vec<String> = (0..60).map(|number| format!("line {number} {}\n", "x".repeat(60))).collect();
    for pair in lines.chunks(2) {
        write(&mut writer, Output, pair.concat().as_bytes());
    }
    write(&mut writer, Error, b"without end");
    assert!(log.names().len() > 2, "{:?}", log.names());
    let all = text(&mut log.reader());
    assert!(all.ends_with("without end") && all.lines().count() > 40);
    for count in [0, 1, 2, 3, 10, 25, 1000] {
        let mut reader = log.reader();
        reader.keep_last(count).expect("search");
        let lines: Vec<&str> = all.split_inclusive('\n').collect();
        let from = lines.len().saturating_sub(usize::try_from(count).expect("small"));
        assert_eq!(text(&mut reader), lines[from..].concat(), "{count}");
    }
}

#[test]
fn rotation_bounds_what_is_kept() {
    let log = Log::new();
    let mut writer = log.writer(Some(4096), Some(3));
    let line = |number: u32| format!("{number:099}\n");
    for number in 0..2000 {
        write(&mut writer, Output, line(number).as_bytes());
    }
    assert_eq!(log.names(), ["log", "log.1", "log.2"]);
    let sizes = |name: &str| std::fs::metadata(log.place.path().join(name)).expect("stat").len();
    assert!(log.names().iter().all(|name| sizes(name) <= 4096));
    let kept = text(&mut log.reader());
    assert!(kept.ends_with(&line(1999)));
    let first: u32 = kept.lines().next().expect("a line").parse().expect("a number");
    assert_eq!(kept.lines().count(), usize::try_from(2000 - first).expect("small"));
    // Much at once is cut into records that fit.
    write(&mut writer, Output, &vec![b'z'; 100_000]);
    assert!(log.names().iter().all(|name| sizes(name) <= 4096));
    // One file only: it begins anew.
    let log = Log::new();
    let mut writer = log.writer(Some(1024), None);
    (0..100).for_each(|number| write(&mut writer, Output, line(number).as_bytes()));
    assert_eq!(log.names(), ["log"]);
    assert!(text(&mut log.reader()).ends_with(&line(99)));
}

#[test]
fn a_reader_follows_through_rotations() {
    let log = Log::new();
    let mut writer = log.writer(Some(2000), Some(50));
    let mut reader = log.reader();
    let (mut expected, mut got) = (String::new(), String::new());
    for number in 0..500 {
        let line = format!("{number:040}\n");
        write(&mut writer, Output, line.as_bytes());
        expected.push_str(&line);
        // Sometimes soon, sometimes several files later.
        if number % 7 == 0 || number > 400 && number % 97 == 0 {
            got.push_str(&text(&mut reader));
            assert_eq!(got, expected);
        }
    }
    got.push_str(&text(&mut reader));
    assert_eq!(got, expected);
}

#[test]
fn a_file_that_is_being_renamed_is_not_missed() {
    let log = Log::new();
    let mut writer = log.writer(Some(1024), Some(9));
    (0..60).for_each(|number| write(&mut writer, Output, format!("{number:099}\n").as_bytes()));
    let all = text(&mut log.reader());
    assert_eq!(all.lines().count(), 60);
    // Midway through a rotation, as the writer leaves it between two renames.
    for hole in (1..log.names().len()).rev() {
        let name = |number: usize| log.place.path().join(format!("log.{number}"));
        std::fs::rename(name(hole), name(hole + 1)).expect("rename");
        assert!(text(&mut log.reader()) == all, "without log.{hole}");
    }
}

#[test]
fn damage_hides_nothing_that_follows() {
    let log = Log::new();
    let mut writer = log.writer(None, None);
    write(&mut writer, Output, b"first\n");
    write(&mut writer, Output, b"second\n");
    write(&mut writer, Output, &vec![b'x'; 3_000_000]);
    write(&mut writer, Output, b"third\n");
    let file = File::options().read(true).write(true).open(log.place.path().join("log")).expect("open");
    let second = (HEAD + 6 + TAIL) as u64;
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4], second + 4).expect("damage");
    let mut reader = log.reader();
    let got = text(&mut reader);
    assert!(got.starts_with("first\nxxx") && got.ends_with("xthird\n") && got.len() == 3_000_012, "{}", got.len());
    assert_eq!(reader.damaged(), (HEAD + 7 + TAIL) as u64);
    // With a torn end too, what is whole is not cut away by the next writer.
    drop(writer);
    file.set_len(file.metadata().expect("stat").len() - 3).expect("tear");
    write(&mut log.writer(None, None), Output, b"fourth\n");
    let got = text(&mut log.reader());
    assert!(got.starts_with("first\nxxx") && got.ends_with("xfourth\n") && got.len() == 3_000_013, "{}", got.len());
}
