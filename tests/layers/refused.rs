//! Archives that must be refused, and what must not happen while they are.

use pybox::model::digest::Digest;
use pybox::snapshot::failure::{Failure, SnapshotError};
use pybox::snapshot::worker::{Compression, Limits, Unpack};

use crate::bench::{Bench, small};
use crate::evil_tar::{Entry, Tar, base256, octal, record};

/// Kind of a failure, as the tables below name it.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Corrupt,
    Unsafe,
    TooLarge,
    Mismatch,
    Other,
}

fn kind(failure: &Failure) -> Kind {
    match failure {
        Failure::Corrupt { .. } => Kind::Corrupt,
        Failure::Unsafe { .. } => Kind::Unsafe,
        Failure::TooLarge { .. } => Kind::TooLarge,
        Failure::DiffIdMismatch { .. } => Kind::Mismatch,
        Failure::NoSpace { .. } | Failure::Io { .. } => Kind::Other,
    }
}

fn check(cases: Vec<(&str, Kind, Vec<u8>)>) {
    let bench = Bench::new();
    for (name, expected, archive) in cases {
        let failure = bench.refuse(&archive);
        assert_eq!(kind(&failure), expected, "{name}: {failure}");
        assert!(failure.to_string().len() < 500, "{name}");
    }
}

#[test]
fn names_that_leave_the_layer() {
    let deep = "d/".repeat(300);
    let cases = vec![
        ("parent", Kind::Unsafe, Tar::new().file("../secret", "x").end()),
        ("parent inside", Kind::Unsafe, Tar::new().dir("a").file("a/../../secret", "x").end()),
        ("parent that stays", Kind::Unsafe, Tar::new().file("a/../b", "x").end()),
        ("parent at the end", Kind::Unsafe, Tar::new().dir("a/..").end()),
        ("parent alone", Kind::Unsafe, Tar::new().dir("..").end()),
        ("parent after a slash", Kind::Unsafe, Tar::new().file("/../secret", "x").end()),
        ("parent in the prefix", Kind::Unsafe, Tar::new().add(Entry::file("secret", "x").prefix("..")).end()),
        ("parent in pax", Kind::Unsafe, Tar::new().pax(&[("path", b"../secret")]).file("a", "x").end()),
        ("parent in a long name", Kind::Unsafe, Tar::new().long(b'L', "../secret").file("a", "x").end()),
        ("parent in a whiteout", Kind::Unsafe, Tar::new().file("../.wh.secret", "").end()),
        ("parent of an opaque mark", Kind::Unsafe, Tar::new().file("../.wh..wh..opq", "").end()),
        ("directory", Kind::Unsafe, Tar::new().add(Entry::dir("../canary").mode(0o777)).end()),
        ("long component", Kind::Unsafe, Tar::new().pax(&[("path", &[b'a'; 256])]).file("a", "").end()),
        ("long name", Kind::Unsafe, Tar::new().pax(&[("path", "a/".repeat(2049).as_bytes())]).file("a", "").end()),
        ("deep name", Kind::Unsafe, Tar::new().pax(&[("path", deep.as_bytes())]).dir("a").end()),
        ("NUL in pax", Kind::Corrupt, Tar::new().pax(&[("path", b"a\0b")]).file("a", "x").end()),
        ("empty pax path", Kind::Corrupt, Tar::new().pax(&[("path", b"")]).file("a", "x").end()),
        ("file without name", Kind::Unsafe, Tar::new().file("", "x").end()),
        ("file named as the root", Kind::Unsafe, Tar::new().file("./.", "x").end()),
        ("link named as the root", Kind::Unsafe, Tar::new().symlink("/", "canary").end()),
        ("file named as a directory", Kind::Unsafe, Tar::new().file("a/", "x").end()),
        ("garbage in a long name", Kind::Corrupt, {
            Tar::new().add(Entry::new("././@LongLink", b'L').gnu().body("a\0b\0")).file("a", "").end()
        }),
        ("giant long name", Kind::TooLarge, Tar::new().long(b'L', "a".repeat(1 << 20)).file("a", "").end()),
    ];
    check(cases);
}

#[test]
fn links_that_leave_the_layer() {
    let cases = vec![
        ("hard link out", Kind::Unsafe, Tar::new().hardlink("a", "../secret").end()),
        ("hard link to the host's", Kind::Unsafe, Tar::new().hardlink("a", "/etc/passwd").end()),
        ("hard link to the directory of the process", Kind::Unsafe, Tar::new().hardlink("a", "secret").end()),
        ("hard link to nothing", Kind::Unsafe, Tar::new().hardlink("a", "b").end()),
        ("hard link forward", Kind::Unsafe, Tar::new().hardlink("a", "b").file("b", "").end()),
        ("hard link without target", Kind::Unsafe, Tar::new().hardlink("a", "").end()),
        ("hard link to the root", Kind::Unsafe, Tar::new().hardlink("a", "/").end()),
        ("hard link to a directory", Kind::Unsafe, Tar::new().dir("d").hardlink("a", "d").end()),
        ("hard link to a link", Kind::Unsafe, {
            let hardlink = Entry::hardlink("a", "l").mode(0o777);
            Tar::new().symlink("l", "/etc/passwd").add(hardlink).end()
        }),
        ("hard link through a link", Kind::Unsafe, {
            Tar::new().symlink("l", "../../canary").hardlink("a", "l/secret").end()
        }),
        ("hard link through an absolute link", Kind::Unsafe, {
            Tar::new().symlink("l", "/etc").hardlink("a", "l/passwd").end()
        }),
        ("hard link to a whiteout", Kind::Unsafe, Tar::new().file(".wh.w", "").hardlink("a", "w").end()),
        ("hard link to a fifo", Kind::Unsafe, Tar::new().add(Entry::new("p", b'6')).hardlink("a", "p").end()),
        ("hard link over its own directory", Kind::Unsafe, {
            Tar::new().dir("d").file("d/f", "x").hardlink("d", "d/f").end()
        }),
        ("hard link with data", Kind::Unsafe, {
            Tar::new().file("a", "x").add(Entry::hardlink("b", "a").body("smuggled")).end()
        }),
        ("link to nothing", Kind::Unsafe, Tar::new().symlink("l", "").end()),
        ("link to a giant name", Kind::Unsafe, {
            Tar::new().pax(&[("linkpath", &[b'a'; 4096])]).symlink("l", "x").end()
        }),
        ("link with NUL", Kind::Corrupt, Tar::new().pax(&[("linkpath", b"a\0b")]).symlink("l", "x").end()),
        ("link with data", Kind::Unsafe, Tar::new().add(Entry::symlink("l", "a").body("x")).end()),
        ("links in a circle", Kind::Unsafe, { Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "").end() }),
        ("links that multiply", Kind::Unsafe, {
            let step = "a/../".repeat(60) + "l1";
            let links = (0..40).map(|n| Entry::symlink(format!("l{n}"), step.replace("l1", &format!("l{}", n + 1))));
            let tar = Tar::new().dir("a");
            // Long targets need pax headers: made by hand for each.
            let tar = links.fold(tar, |tar, link| tar.pax(&[("linkpath", "a/../".repeat(200).as_bytes())]).add(link));
            tar.symlink("last", "l0/l1/l2/l3/l4/l5/l6/l7/l8/l9/l10/l11/l12/l13").file("last/x", "").end()
        }),
        ("file beneath a file", Kind::Unsafe, Tar::new().file("f", "").file("f/x", "").end()),
        ("file beneath a fifo", Kind::Unsafe, Tar::new().add(Entry::new("p", b'6')).file("p/x", "").end()),
        ("link to a file as parent", Kind::Unsafe, Tar::new().file("f", "").symlink("l", "f").file("l/x", "").end()),
    ];
    check(cases);
}

#[test]
fn headers_that_readers_would_read_differently() {
    let file = || Entry::file("a", "x");
    let text = |text: &[u8]| Tar::new().raw_pax(text).file("a", "x").end();
    let cases = vec![
        ("wrong checksum", Kind::Corrupt, Tar::new().add(file().broken_sum()).end()),
        ("unknown magic", Kind::Corrupt, Tar::new().add(file().magic(b"ustar\0 \0")).end()),
        ("mixed magic", Kind::Corrupt, Tar::new().add(file().magic(b"ustar 00")).end()),
        ("unknown type", Kind::Unsafe, Tar::new().add(Entry::new("a", b'Z')).end()),
        ("socket", Kind::Unsafe, Tar::new().add(Entry::new("a", b's')).end()),
        ("GNU dump directory", Kind::Unsafe, Tar::new().add(Entry::new("a", b'D').gnu()).end()),
        ("GNU volume", Kind::Unsafe, Tar::new().add(Entry::new("a", b'V').gnu()).end()),
        ("GNU continuation", Kind::Unsafe, Tar::new().add(Entry::new("a", b'M').gnu()).end()),
        ("Solaris header", Kind::Unsafe, Tar::new().add(Entry::new("a", b'X')).end()),
        ("negative size", Kind::Corrupt, Tar::new().add(file().raw_size([0xff; 12])).end()),
        ("size with a sign", Kind::Corrupt, Tar::new().add(file().raw_size("-0000000001\0")).end()),
        ("size in base 64", Kind::Corrupt, Tar::new().add(file().raw_size("+AAAAAAAAAB\0")).end()),
        ("hexadecimal size", Kind::Corrupt, Tar::new().add(file().raw_size("0x000000001\0")).end()),
        ("blank size", Kind::Corrupt, Tar::new().add(file().raw_size([b' '; 12])).end()),
        ("size and more", Kind::Corrupt, Tar::new().add(file().raw_size("1\x001024      \0")).end()),
        ("size of 2^63", Kind::Corrupt, Tar::new().add(file().raw_size(base256(1 << 63, 12))).end()),
        ("size beyond 64 bits", Kind::Corrupt, {
            Tar::new().add(file().raw_size(b"\x80\0\0\x01\0\0\0\0\0\0\0\0")).end()
        }),
        ("negative owner", Kind::Corrupt, Tar::new().add(file().raw_uid(&[0xff; 8])).end()),
        ("owner of 2^32", Kind::Corrupt, Tar::new().add(file().raw_uid(&base256(1 << 32, 8))).end()),
        ("owner of no one", Kind::Corrupt, Tar::new().add(file().raw_uid(&base256(u32::MAX.into(), 8))).end()),
        ("owner of 2^32 in pax", Kind::Corrupt, text(&record("uid", b"4294967296"))),
        ("negative owner in pax", Kind::Corrupt, text(&record("uid", b"-1"))),
        ("negative size in pax", Kind::Corrupt, text(&record("size", b"-1"))),
        ("size of 2^64 in pax", Kind::Corrupt, text(&record("size", b"18446744073709551616"))),
        ("size of 2^63 in pax", Kind::TooLarge, text(&record("size", b"9223372036854775808"))),
        ("fraction as size", Kind::Corrupt, text(&record("size", b"1.5"))),
        ("unreadable mode", Kind::Corrupt, Tar::new().add(file().raw_mode(b"rw-r--r-")).end()),
        ("unreadable time", Kind::Corrupt, Tar::new().add(file().raw_mtime(b"yesterday\0\0\0")).end()),
        ("unreadable time in pax", Kind::Corrupt, text(&record("mtime", b"1e9"))),
        ("pax record without length", Kind::Corrupt, text(b"path=b\n")),
        ("pax record of length 0", Kind::Corrupt, text(b"0 path=b\n")),
        ("pax record that is too long", Kind::Corrupt, text(b"99 path=b\n")),
        ("pax record that is too short", Kind::Corrupt, text(b"8 path=b\n")),
        ("pax record without line end", Kind::Corrupt, text(b"9 path=bc")),
        ("pax record without value", Kind::Corrupt, text(b"7 path\n")),
        ("pax record without key", Kind::Corrupt, text(b"5 =b\n")),
        ("pax record of giant length", Kind::Corrupt, text(b"99999999999999999999 a=b\n")),
        ("pax for the file and for its long name", Kind::Corrupt, {
            Tar::new().pax(&[("path", b"b")]).long(b'L', "c").file("a", "x").end()
        }),
        ("two pax headers", Kind::Corrupt, {
            Tar::new().pax(&[("path", b"b")]).pax(&[("size", b"1")]).file("a", "x").end()
        }),
        ("two long names", Kind::Corrupt, Tar::new().long(b'L', "b").long(b'L', "c").file("a", "x").end()),
        ("two long links", Kind::Corrupt, Tar::new().long(b'K', "b").long(b'K', "c").symlink("a", "x").end()),
        ("global path", Kind::Corrupt, Tar::new().global(&[("path", b"b")]).file("a", "x").end()),
        ("global size", Kind::Corrupt, Tar::new().global(&[("size", b"512")]).file("a", "x").end()),
        ("giant pax header", Kind::TooLarge, {
            Tar::new().pax(&[("comment", &vec![b'x'; 1 << 20])]).file("a", "x").end()
        }),
        ("pax header with a giant size", Kind::TooLarge, {
            Tar::new().add(Entry::new("x", b'x').size(8_589_934_591)).file("a", "x").end()
        }),
        ("pax header at the end", Kind::Corrupt, Tar::new().pax(&[("path", b"b")]).end()),
        ("long name at the end", Kind::Corrupt, Tar::new().long(b'L', "b").open_end()),
        ("directory with data", Kind::Unsafe, Tar::new().add(Entry::dir("a").body("smuggled")).end()),
        ("fifo with data", Kind::Unsafe, Tar::new().add(Entry::new("a", b'6').body("smuggled")).end()),
        ("directory with a size in pax", Kind::Unsafe, Tar::new().pax(&[("size", b"512")]).dir("a").end()),
        ("device with unreadable numbers", Kind::Corrupt, {
            Tar::new().add(Entry::new("a", b'3').patch(329, b"xxxxxxx\0")).end()
        }),
        ("device in the old format", Kind::Corrupt, Tar::new().add(Entry::new("a", b'3').magic(&[0; 8])).end()),
        ("whiteout of no name", Kind::Unsafe, Tar::new().file(".wh.", "").end()),
        ("whiteout of the directory", Kind::Unsafe, Tar::new().dir("a").file("a/.wh..", "").end()),
        ("whiteout of the parent", Kind::Unsafe, Tar::new().dir("a").file("a/.wh...", "").end()),
        ("file beneath a whiteout", Kind::Unsafe, Tar::new().file(".wh.a/b", "").end()),
    ];
    check(cases);
}

#[test]
fn archives_that_end_wrongly() {
    let whole = Tar::new().file("a", "x").end();
    let cases = vec![
        ("nothing", Kind::Corrupt, Vec::new()),
        ("no archive", Kind::Corrupt, b"#!/bin/sh\n".to_vec()),
        ("block of text", Kind::Corrupt, vec![b'x'; 10_240]),
        ("half a header", Kind::Corrupt, whole[..300].to_vec()),
        ("half a body", Kind::Corrupt, whole[..600].to_vec()),
        ("missing body", Kind::Corrupt, whole[..512].to_vec()),
        ("missing padding", Kind::Corrupt, Tar::new().add(Entry::file("a", "x").unpadded()).open_end()),
        ("shifted by a missing padding", Kind::Corrupt, {
            Tar::new().add(Entry::file("a", "x").unpadded()).file("b", "y").end()
        }),
        ("data after the end", Kind::Corrupt, [&whole[..], b"#!/bin/sh\n"].concat()),
        ("archive after the end", Kind::Corrupt, [&whole[..], &whole].concat()),
        ("lone block of zeros", Kind::Corrupt, Tar::new().file("a", "x").raw([0; 512]).file("b", "y").end()),
        ("smuggled by a size in pax", Kind::Corrupt, {
            // The header says that no data follows, pax that a block does; who
            // believes the header reads the block as an entry of its own.
            let inner = Tar::new().file("smuggled", "").open_end();
            Tar::new().pax(&[("size", b"1024")]).add(Entry::file("a", "").size(0)).raw(inner).end()[..2048].to_vec()
        }),
    ];
    check(cases);
}

#[test]
fn sparse_maps_that_lie() {
    let gnu = |regions: &[(u64, u64)], real: u64, extended: bool| {
        let mut entry = Entry::new("s", b'S').gnu().body([b'x'; 512]).patch(483, octal(real, 12));
        for (index, (offset, length)) in regions.iter().enumerate() {
            entry = entry.patch(386 + 24 * index, octal(*offset, 12)).patch(398 + 24 * index, octal(*length, 12));
        }
        if extended { entry.patch(482, [1]) } else { entry }
    };
    let pax = |records: &[(&str, &[u8])]| Tar::new().pax(records).file("s", [b'x'; 512]).end();
    let lines = |map: &str| {
        let mut body = map.as_bytes().to_vec();
        body.resize(512, 0);
        let records: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"4096")];
        Tar::new().pax(&records).file("s", body).end()
    };
    let many: String = (0..65_537).map(|n| format!("{n},0,")).collect::<String>() + "65537,512";
    let cases = vec![
        ("overlapping", Kind::Corrupt, Tar::new().add(gnu(&[(0, 256), (255, 256)], 4096, false)).end()),
        ("out of order", Kind::Corrupt, Tar::new().add(gnu(&[(1024, 256), (0, 256)], 4096, false)).end()),
        ("beyond the end", Kind::Corrupt, Tar::new().add(gnu(&[(4000, 512)], 4096, false)).end()),
        ("more than there is", Kind::Corrupt, Tar::new().add(gnu(&[(0, 1024)], 4096, false)).end()),
        ("less than there is", Kind::Corrupt, Tar::new().add(gnu(&[(0, 256)], 4096, false)).end()),
        ("map that goes on after its end", Kind::Corrupt, Tar::new().add(gnu(&[(0, 512)], 4096, true)).end()),
        ("map that ends in data", Kind::Corrupt, {
            let full = [(0, 128), (512, 128), (1024, 128), (2048, 128)];
            Tar::new().add(gnu(&full, 4096, true)).open_end()[..512].to_vec()
        }),
        ("old sparse without its magic", Kind::Corrupt, Tar::new().add(Entry::new("s", b'S')).end()),
        ("old sparse with a size in pax", Kind::Corrupt, {
            Tar::new().pax(&[("size", b"512")]).add(gnu(&[(0, 512)], 4096, false)).end()
        }),
        (
            "giant file",
            Kind::TooLarge,
            Tar::new().add(gnu(&[(0, 512)], 1 << 35, false).patch(483, base256(1 << 62, 12))).end(),
        ),
        ("0.1 with half a region", Kind::Corrupt, pax(&[("GNU.sparse.map", b"0,512,9"), ("GNU.sparse.size", b"4096")])),
        ("0.1 with too many regions", Kind::Corrupt, {
            pax(&[("GNU.sparse.map", many.as_bytes()), ("GNU.sparse.size", b"1000000")])
        }),
        ("0.1 without a size", Kind::Corrupt, pax(&[("GNU.sparse.map", b"0,512")])),
        ("0.0 without an offset", Kind::Corrupt, pax(&[("GNU.sparse.numbytes", b"1"), ("GNU.sparse.size", b"4096")])),
        ("0.0 with two offsets", Kind::Corrupt, {
            pax(&[("GNU.sparse.offset", b"1"), ("GNU.sparse.offset", b"2"), ("GNU.sparse.size", b"4096")])
        }),
        ("0.0 and 0.1", Kind::Corrupt, {
            let both: [(&str, &[u8]); 4] = [
                ("GNU.sparse.offset", b"0"),
                ("GNU.sparse.numbytes", b"512"),
                ("GNU.sparse.map", b"0,512"),
                ("GNU.sparse.size", b"4096"),
            ];
            pax(&both)
        }),
        ("1.0 with a map without end", Kind::Corrupt, lines("3\n0\n1\n")),
        ("1.0 with a giant count", Kind::Corrupt, lines("99999999\n")),
        ("1.0 with a negative number", Kind::Corrupt, lines("1\n-1\n0\n")),
        ("unknown format", Kind::Corrupt, pax(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")])),
        ("unknown key", Kind::Corrupt, pax(&[("GNU.sparse.evil", b"2")])),
        ("name that leaves", Kind::Unsafe, {
            let records: [(&str, &[u8]); 3] =
                [("GNU.sparse.name", b"../secret"), ("GNU.sparse.map", b"0,512"), ("GNU.sparse.size", b"4096")];
            pax(&records)
        }),
        ("sparse directory", Kind::Unsafe, Tar::new().pax(&[("GNU.sparse.map", b"")]).dir("d").end()),
    ];
    check(cases);
}

#[test]
fn more_than_the_limits_allow() {
    let bench = Bench::new();
    let run = |limits: Limits, compression, bytes: &[u8]| {
        let job = Unpack { compression, diff_id: None, limits };
        let error = bench.run(&job, bytes).expect_err("must be refused");
        bench.check_canary();
        match error {
            SnapshotError::Job(failure) => kind(&failure),
            other => panic!("{other}"),
        }
    };
    let padding = [Tar::new().file("a", "x").end(), vec![0; 8 << 20]].concat();
    let limits = Limits { total: 1 << 20, ..small() };
    assert_eq!(run(limits, Compression::None, &padding), Kind::TooLarge, "padding");
    let gzipped = gzip(&[padding.clone(), vec![0; 120 << 20]].concat());
    assert_eq!(run(small(), Compression::Gzip, &gzipped), Kind::TooLarge, "gzip bomb");
    let attributes: Vec<_> = (0..5).map(|n| (format!("SCHILY.xattr.user.{n}"), vec![b'x'; 16_000])).collect();
    let attributes: Vec<_> = attributes.iter().map(|(key, value)| (key.as_str(), &value[..])).collect();
    let archive = Tar::new().pax(&attributes).file("a", "x").end();
    assert_eq!(run(small(), Compression::None, &archive), Kind::TooLarge, "attributes");
    let names: Vec<_> = (0..300).map(|n| (format!("SCHILY.xattr.user.{n}"), Vec::new())).collect();
    let names: Vec<_> = names.iter().map(|(key, value): &(String, Vec<u8>)| (key.as_str(), &value[..])).collect();
    let archive = Tar::new().pax(&names).file("a", "x").end();
    assert_eq!(run(small(), Compression::None, &archive), Kind::TooLarge, "number of attributes");
    let entries = Tar::new().all((0..11).map(|n| Entry::dir(format!("d{n}")))).end();
    let limits = Limits { entries: 10, ..small() };
    assert_eq!(run(limits, Compression::None, &entries), Kind::TooLarge, "entries");
    let limits = Limits { reserve: u64::MAX, ..small() };
    assert_ne!(run(limits, Compression::None, b"garbage"), Kind::Other, "2 % of the disk are enough");
}

#[test]
fn streams_with_something_after_them() {
    let bench = Bench::new();
    let archive = Tar::new().file("a", "x").end();
    let gz = gzip(&archive);
    let zst = zstd::stream::encode_all(&archive[..], 3).expect("compress");
    let cases = [
        ("gzip and garbage", Compression::Gzip, [&gz[..], b"garbage"].concat()),
        ("gzip cut short", Compression::Gzip, gz[..gz.len() - 4].to_vec()),
        ("zstd and garbage", Compression::Zstd, [&zst[..], b"garbage"].concat()),
        ("zstd cut short", Compression::Zstd, zst[..zst.len() - 1].to_vec()),
        ("gzip named zstd", Compression::Zstd, gz.clone()),
        ("archive named gzip", Compression::Gzip, archive.clone()),
    ];
    for (name, compression, bytes) in cases {
        let job = Unpack { compression, diff_id: Some(Digest::of(&archive)), limits: small() };
        let error = bench.run(&job, &bytes).expect_err(name);
        assert!(matches!(error, SnapshotError::Job(Failure::Corrupt { .. })), "{name}: {error}");
    }
}

#[test]
fn a_stream_that_is_another_one() {
    let bench = Bench::new();
    let archive = Tar::new().file("a", "x").end();
    let expected = Digest::of(b"something else");
    let job = Unpack { compression: Compression::None, diff_id: Some(expected.clone()), limits: small() };
    let error = bench.run(&job, &archive).expect_err("another digest");
    let SnapshotError::Job(failure) = error else { panic!("{error}") };
    assert_eq!(failure, Failure::DiffIdMismatch { expected, found: Digest::of(&archive) });
    assert_eq!(kind(&failure), Kind::Mismatch);
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, data).expect("compress");
    encoder.finish().expect("compress")
}
