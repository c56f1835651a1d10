use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::super::reader::Reader;
use super::super::writer::Writer;
use super::entry::fields;
use super::*;
use crate::model::supervision::LogRequest;

const SUBJECT: Subject<'_> = Subject { id: "0123456789abcdef", name: "web", image: "debian:12", tag: None };

fn journal(path: &Path, subject: Subject<'_>) -> Journal {
    let sender = Sender::to(path, Some(Duration::from_millis(10))).expect("a socket");
    Journal::with(sender, subject, [("TIER", "front")], false).expect("a journal")
}

fn of(entry: &[String], name: &str) -> String {
    let found = entry.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    found.unwrap_or_default()
}

fn told(listener: &UnixDatagram) -> Vec<Vec<String>> {
    listener.set_nonblocking(true).expect("a flag");
    let mut buffer = vec![0; 64 << 10];
    std::iter::from_fn(|| listener.recv(&mut buffer).ok().map(|count| fields(&buffer[..count]))).collect()
}

#[test]
fn lines_become_entries() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("socket");
    let listener = UnixDatagram::bind(&path).expect("bind");
    let mut journal = journal(&path, SUBJECT);
    for (channel, output) in [
        (Channel::Output, b"one\ntw".as_slice()),
        (Channel::Error, b"oh\n"),
        (Channel::Output, b"o\n\n"),
        (Channel::Output, &[[b'x'; LONGEST + 3].as_slice(), b"\n"].concat()),
        (Channel::Output, &[[b'y'; LONGEST].as_slice(), b"\n"].concat()),
        (Channel::Error, b"last"),
    ] {
        assert_eq!(journal.take(channel, 17, output), output.len());
    }
    assert!(journal.end(Channel::Output, 18) && journal.end(Channel::Error, 18));
    let told = told(&listener);
    let all = |name: &str| told.iter().map(|entry| of(entry, name)).collect::<Vec<_>>();
    let lines: Vec<String> = all("MESSAGE").iter().map(|line| line.chars().take(5).collect()).collect();
    assert_eq!(lines, ["one", "oh", "two", "", "xxxxx", "xxx", "yyyyy", "last"]);
    assert_eq!(all("PRIORITY"), ["6", "3", "6", "6", "6", "6", "6", "3"]);
    assert_eq!(all(PARTIAL), ["", "", "", "", "true", "", "", "true"]);
    assert_eq!(all(TIME), ["17", "17", "17", "17", "17", "17", "17", "18"]);
    let first: Vec<String> = ["CONTAINER_ID", CONTAINER, "CONTAINER_NAME", "CONTAINER_TAG", "IMAGE_NAME", "TIER"]
        .map(|name| of(&told[0], name))
        .into();
    assert_eq!(first, ["0123456789ab", SUBJECT.id, "web", "0123456789ab", "debian:12", "front"]);
    assert_eq!(of(&told[0], "SYSLOG_IDENTIFIER"), "web");
}

#[test]
fn what_is_not_taken_stays_with_whoever_asked() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("socket");
    let mut journal = journal(&path, SUBJECT);
    assert_eq!(journal.take(Channel::Output, 1, b"beg"), 3);
    assert_eq!(journal.take(Channel::Output, 1, b"un\nnext\n"), 0);
    assert_eq!(journal.begun(Channel::Output), b"beg");
    assert!(!journal.end(Channel::Output, 1));
    let listener = UnixDatagram::bind(&path).expect("bind");
    assert_eq!(journal.take(Channel::Output, 1, b"un\nnext\n"), 8);
    assert_eq!(told(&listener).iter().map(|entry| of(entry, "MESSAGE")).collect::<Vec<_>>(), ["begun", "next"]);
    // A journal that hangs is waited for once.
    let started = std::time::Instant::now();
    let mut count = 0;
    while journal.take(Channel::Output, 1, b"x\n") == 2 {
        count += 1;
    }
    assert!(count > 0, "{count}");
    for _ in 0..1000 {
        assert_eq!(journal.take(Channel::Output, 1, b"x\n"), 0);
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn tags_have_words() {
    for (tag, expected) in [
        ("plain", "plain"),
        ("{{.Name}}/{{.ID}}", "web/0123456789ab"),
        ("{{ .ImageName }}-{{.FullID}}", "debian:12-0123456789abcdef"),
        ("{{.Name", "{{.Name"),
    ] {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("socket");
        let listener = UnixDatagram::bind(&path).expect("bind");
        journal(&path, Subject { tag: Some(tag), ..SUBJECT }).take(Channel::Output, 1, b"x\n");
        let told = told(&listener);
        assert_eq!(
            (of(&told[0], "CONTAINER_TAG"), of(&told[0], "SYSLOG_IDENTIFIER")),
            (expected.into(), expected.into())
        );
    }
}

#[test]
fn who_may_read_it_again() {
    let (persistent, volatile) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let readable = |uid| is_readable_in(persistent.path(), volatile.path(), uid, "m");
    assert!(readable(0) && !readable(1000) && !readable(999));
    std::fs::create_dir(persistent.path().join("m")).expect("a directory");
    assert!(readable(1000) && !readable(999) && !readable(65534));
    std::fs::create_dir(volatile.path().join("m")).expect("a directory");
    std::fs::write(volatile.path().join("m/system.journal"), "").expect("a file");
    assert!(readable(999));
}

/// A log in a directory of its own: what the journal at `path` does not take is in the file.
fn log(path: &Path, is_kept: bool) -> (tempfile::TempDir, std::os::fd::OwnedFd, Writer) {
    let bundle = tempfile::tempdir().expect("a directory");
    let directory = std::os::fd::OwnedFd::from(std::fs::File::open(bundle.path()).expect("open"));
    let sender = Sender::to(path, Some(Duration::from_millis(10))).expect("a socket");
    let journal = Journal::with(sender, SUBJECT, [], is_kept).expect("a journal");
    let writer = Writer::new(std::os::fd::AsFd::as_fd(&directory), &LogRequest::default()).expect("a log");
    (bundle, directory, writer.telling(Some(journal)))
}

fn append(log: &mut Writer, mut output: &[u8]) {
    while !output.is_empty() {
        let count = log.append(Channel::Output, 1, output).expect("appended");
        output = &output[count..];
    }
}

fn kept(directory: &std::os::fd::OwnedFd) -> String {
    let mut reader = Reader::open(std::os::fd::AsFd::as_fd(directory)).expect("open");
    let mut text = Vec::new();
    while let Some(entry) = reader.read().expect("a record") {
        text.extend_from_slice(entry.output);
    }
    String::from_utf8(text).expect("text")
}

#[test]
fn the_file_has_what_the_journal_did_not_take() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("socket");
    let messages =
        |listener: &UnixDatagram| -> Vec<String> { told(listener).iter().map(|entry| of(entry, "MESSAGE")).collect() };
    let listener = UnixDatagram::bind(&path).expect("bind");
    let (_bundle, directory, mut writer) = log(&path, false);
    append(&mut writer, b"one\ntw");
    assert_eq!((messages(&listener), kept(&directory).as_str()), (vec!["one".to_owned()], ""));
    // The journal goes away within a line, and comes back within another.
    drop(listener);
    std::fs::remove_file(&path).expect("removed");
    append(&mut writer, b"o\nthree\nfo");
    assert_eq!(kept(&directory), "two\nthree\n");
    let listener = UnixDatagram::bind(&path).expect("bind");
    append(&mut writer, b"ur\nend");
    drop(writer);
    let told = told(&listener);
    assert_eq!(told.iter().map(|entry| of(entry, "MESSAGE")).collect::<Vec<_>>(), ["four", "end"]);
    assert_eq!(told.iter().map(|entry| of(entry, PARTIAL)).collect::<Vec<_>>(), ["", "true"]);
    assert_eq!(kept(&directory), "two\nthree\n");
}

#[test]
fn the_last_words_are_kept_without_a_journal() {
    let place = tempfile::tempdir().expect("a directory");
    let (_bundle, directory, mut writer) = log(&place.path().join("socket"), false);
    append(&mut writer, b"no end");
    assert_eq!(kept(&directory), "");
    drop(writer);
    assert_eq!(kept(&directory), "no end");
}

#[test]
fn what_cannot_be_read_again_is_in_both() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("socket");
    let listener = UnixDatagram::bind(&path).expect("bind");
    let (_bundle, directory, mut writer) = log(&path, true);
    append(&mut writer, b"one\ntwo\n");
    assert_eq!(kept(&directory), "one\ntwo\n");
    let told = told(&listener);
    assert_eq!(told.iter().map(|entry| of(entry, KEPT)).collect::<Vec<_>>(), ["1", "1"]);
}
