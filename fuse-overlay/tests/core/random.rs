//! Random operations on an overlay and on a plain directory: both must look the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use pybox_fuse_overlay::filesystem::{Change, FileSystem as _, Move, kind};
use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;

use crate::bench::{Bench, View};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn path(&mut self) -> String {
        let depth = 1 + self.roll(3);
        (0..depth)
            .map(|_| ["a", "b", "c", "d"][usize::try_from(self.roll(4)).expect("small")])
            .collect::<Vec<_>>()
            .join("/")
    }
}

fn chmod(path: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

fn plain_error(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).expect("an errno")
}

/// What a tree looks like: kind, permissions, contents, and which names are one file.
type Picture = BTreeMap<String, (u32, String, Vec<String>)>;

fn picture_of_plain(root: &Path) -> Picture {
    fn walk(root: &Path, path: &str, picture: &mut Picture, files: &mut BTreeMap<u64, Vec<String>>) {
        for entry in std::fs::read_dir(root.join(path)).expect("list") {
            let entry = entry.expect("entry");
            let name = format!("{path}/{}", entry.file_name().to_string_lossy());
            let name = name.trim_start_matches('/').to_owned();
            let stat = entry.path().symlink_metadata().expect("stat");
            let contents = match stat.mode() & kind::MASK {
                kind::REGULAR => std::fs::read_to_string(entry.path()).expect("read"),
                kind::SYMLINK => std::fs::read_link(entry.path()).expect("readlink").to_string_lossy().into_owned(),
                _ => String::new(),
            };
            picture.insert(name.clone(), (stat.mode(), contents, Vec::new()));
            if stat.is_dir() {
                walk(root, &name, picture, files);
            } else {
                files.entry(stat.ino()).or_default().push(name);
            }
        }
    }
    let (mut picture, mut files) = (Picture::new(), BTreeMap::new());
    walk(root, "", &mut picture, &mut files);
    with_links(picture, files)
}

fn with_links(mut picture: Picture, files: BTreeMap<u64, Vec<String>>) -> Picture {
    for mut names in files.into_values() {
        names.sort();
        for name in &names {
            if let Some(entry) = picture.get_mut(name) {
                entry.2.clone_from(&names);
            }
        }
    }
    picture
}

fn picture_of_overlay(view: &View) -> Picture {
    fn walk(view: &View, path: &str, picture: &mut Picture, files: &mut BTreeMap<u64, Vec<String>>) {
        for name in view.list(path).expect("list") {
            let name = format!("{path}/{name}").trim_start_matches('/').to_owned();
            let found = view.find(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
            let contents = match found.kind() {
                kind::REGULAR => view.read(&name).expect("read"),
                kind::SYMLINK => String::from_utf8(view.overlay.read_link(found.ino).expect("readlink")).expect("text"),
                _ => String::new(),
            };
            picture.insert(name.clone(), (found.mode, contents, Vec::new()));
            if found.kind() == kind::DIRECTORY {
                walk(view, &name, picture, files);
            } else {
                files.entry(found.ino).or_default().push(name);
            }
        }
    }
    let (mut picture, mut files) = (Picture::new(), BTreeMap::new());
    walk(view, "", &mut picture, &mut files);
    for names in files.values() {
        let links = view.find(&names[0]).expect("find").links;
        assert_eq!(usize::try_from(links).expect("small"), names.len(), "links of {names:?}");
    }
    with_links(picture, files)
}

/// The same operation on both; the results.
fn act(dice: &mut Dice, view: &View, plain: &Path) -> (String, Result<(), Errno>, Result<(), Errno>) {
    let (one, two) = (dice.path(), dice.path());
    let at = |path: &str| -> PathBuf { plain.join(path) };
    let io = |result: std::io::Result<()>| result.map_err(|error| plain_error(&error));
    let parents = || -> Result<_, Errno> { Ok((view.parent(&one)?, view.parent(&two)?)) };
    match dice.roll(12) {
        0 | 1 => {
            let ours = view.make(&one, kind::REGULAR | 0o644).map(drop);
            (format!("create {one}"), ours, io(File::create_new(at(&one)).and_then(|_| chmod(&at(&one), 0o644))))
        }
        2 | 3 => {
            let ours = view.make(&one, kind::DIRECTORY | 0o755).map(drop);
            (format!("mkdir {one}"), ours, io(std::fs::create_dir(at(&one)).and_then(|()| chmod(&at(&one), 0o755))))
        }
        4 => {
            let text = format!("{}", dice.roll(1000));
            let ours = view.find(&one).and_then(|found| match found.kind() {
                kind::REGULAR => view.overlay.write(found.ino, 1, text.as_bytes(), false).map(drop),
                _ => Err(Errno::ISDIR),
            });
            let theirs = match at(&one).symlink_metadata() {
                Ok(stat) if stat.is_file() => File::options()
                    .write(true)
                    .open(at(&one))
                    .and_then(|file| std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 1)),
                Ok(_) => Err(Errno::ISDIR.into()),
                Err(error) => Err(error),
            };
            (format!("write {one}"), ours, io(theirs))
        }
        5 | 6 => (format!("unlink {one}"), view.unlink(&one), io(std::fs::remove_file(at(&one)))),
        7 => (format!("rmdir {one}"), view.rmdir(&one), io(std::fs::remove_dir(at(&one)))),
        8 | 9 => {
            let (how, flags) = [
                (Move::Replace, RenameFlags::empty()),
                (Move::KeepTarget, RenameFlags::NOREPLACE),
                (Move::Exchange, RenameFlags::EXCHANGE),
            ][usize::try_from(dice.roll(3)).expect("small")];
            // The kernel refuses to move a directory into itself before it asks.
            let inside = one.starts_with(&format!("{two}/")) || two.starts_with(&format!("{one}/"));
            if inside {
                return (String::new(), Ok(()), Ok(()));
            }
            let ours = parents().and_then(|(from, to)| view.overlay.rename(from, to, how));
            let theirs = rustix::fs::renameat_with(CWD, at(&one), CWD, at(&two), flags);
            (format!("rename {one} {two} {how:?}"), ours, theirs)
        }
        10 => {
            let theirs = rustix::fs::linkat(CWD, at(&one), CWD, at(&two), AtFlags::empty());
            (format!("link {one} {two}"), view.link(&one, &two), theirs)
        }
        _ => {
            let mode = 0o600 + u32::try_from(dice.roll(0o100)).expect("small");
            let change = Change { mode: Some(mode), ..Change::default() };
            let target = |found: u32| if found == kind::SYMLINK { Err(Errno::LOOP) } else { Ok(()) };
            let ours = view.find(&one).and_then(|found| {
                target(found.kind())?;
                view.overlay.change(found.ino, &change).map(drop)
            });
            (format!("chmod {one}"), ours, io(chmod(&at(&one), mode)))
        }
    }
}

fn fill(dice: &mut Dice, layer: &Path) {
    for _ in 0..40 {
        let path = layer.join(dice.path());
        match dice.roll(4) {
            0 | 1 => drop(std::fs::create_dir_all(&path)),
            2 => drop(std::fs::write(&path, format!("{}", dice.roll(100)))),
            _ => drop(std::fs::hard_link(layer.join(dice.path()), &path)),
        }
    }
}

fn run(seed: u64) {
    let mut dice = Dice(seed);
    let bench = Bench::new(3);
    for layer in 0..3 {
        fill(&mut dice, &bench.layer(layer));
    }
    let mut view = bench.open();
    let plain = bench.dir.path().join("plain");
    std::fs::create_dir(&plain).expect("mkdir");
    // The plain tree begins as what the overlay shows.
    let begin = picture_of_overlay(&view);
    for (path, (mode, contents, links)) in &begin {
        let at = plain.join(path);
        match links.first().filter(|first| *first != path) {
            Some(first) => std::fs::hard_link(plain.join(first), &at).expect("link"),
            None if mode & kind::MASK == kind::DIRECTORY => std::fs::create_dir(&at).expect("mkdir"),
            None => std::fs::write(&at, contents).expect("write"),
        }
        std::fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(*mode)).expect("chmod");
    }
    let mut log = Vec::new();
    for turn in 0..150 {
        let (what, ours, theirs) = act(&mut dice, &view, &plain);
        log.push(format!("{what}: {ours:?}"));
        // Of two paths that are wrong the kernel may look at the other one first.
        let alike = |result: Result<(), Errno>| {
            result.map_err(|error| if error == Errno::NOTDIR { Errno::NOENT } else { error })
        };
        assert_eq!(alike(ours), alike(theirs), "seed {seed}\n{}", log.join("\n"));
        if turn % 10 == 0 || std::env::var_os("RANDOM_SEED").is_some() {
            same(&view, &plain, &format!("seed {seed}\n{}", log.join("\n")));
        }
        if turn % 50 == 49 {
            drop(view);
            view = bench.open();
            log.push("mounted anew".into());
            same(&view, &plain, &format!("seed {seed}\n{}", log.join("\n")));
        }
    }
}

fn same(view: &View, plain: &Path, log: &str) {
    let (ours, theirs) = (picture_of_overlay(view), picture_of_plain(plain));
    let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        assert_eq!(ours.get(name), theirs.get(name), "{log}\n{name}: ours, plain");
    }
}

#[test]
fn random_operations_leave_the_same_tree() {
    let only = std::env::var("RANDOM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..20, |seed: u64| seed..seed + 1);
    for seed in seeds {
        run(seed);
    }
}
