//! Many threads that do whatever they like to one tree: no answer of theirs is looked at, but
//! what is left has to be a tree, the same one in the next mount.

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use rustix::fs::{self, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Command, Failure, Outcome, Words, World, data, ok};

pub(super) const TABLE: &[(&str, Command)] = &[
    ("storm", storm),
    ("race-cycle", race_cycle),
    ("race-listing", race_listing),
    ("savetree", save_tree),
    ("sametree", same_tree),
    ("savestat", save_stat),
    ("samestat", same_stat),
];

/// `storm DIRECTORY THREADS OPERATIONS SEED`
fn storm(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let dir = data::path(words.next()?);
    let (threads, operations, seed) = (words.count()?, words.count()?, words.size()?);
    let run = |number: usize| {
        let mut state = seed.wrapping_mul(1000).wrapping_add(number as u64 + 1);
        let mut below = move |limit: usize| {
            // Xorshift: any sequence will do.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % limit as u64).unwrap_or(0)
        };
        for _ in 0..operations {
            act(dir, &mut below).ok();
        }
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|number| scope.spawn(move || run(number))).collect();
        all.into_iter().try_for_each(|thread| thread.join().map_err(|_| Failure::Said("a thread has died".into())))
    })?;
    ok()
}

fn act(dir: &Path, below: &mut impl FnMut(usize) -> usize) -> Result<(), Errno> {
    let mut path = || -> PathBuf {
        let mut path = dir.to_path_buf();
        for _ in 0..=below(3) {
            path.push(["a", "b", "c", "d"][below(4)]);
        }
        path
    };
    let (one, two) = (path(), path());
    let open = |flags: OFlags| fs::openat(CWD, &one, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::RWXU);
    match below(16) {
        0..=1 => fs::mkdir(&one, Mode::RWXU),
        2 => fs::rmdir(&one),
        3..=4 => fs::unlink(&one),
        5..=7 => fs::rename(&one, &two),
        8 => fs::renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE),
        9 => fs::link(&one, &two),
        10 => fs::symlink("a/b", &one),
        11..=12 => rustix::io::write(open(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?, b"storm").map(drop),
        13 => rustix::io::write(open(OFlags::WRONLY | OFlags::APPEND)?, &[b'x'; 5000]).map(drop),
        14 => fs::chmod(&one, Mode::from_raw_mode(0o700 | u32::try_from(below(8)).unwrap_or(0))),
        _ => {
            std::fs::read_dir(&one).into_iter().flatten().for_each(drop);
            Ok(())
        }
    }
}

/// `race-cycle DIRECTORY TIMES`: two directories are moved into each other at once; one move of
/// each pair is done, or there would be a ring that nobody can reach.
fn race_cycle(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let dir = data::path(words.next()?);
    let times = words.count()?;
    let [a, b] = ["a", "b"].map(|name| dir.join(name));
    for _ in 0..times {
        fs::mkdir(&a, Mode::RWXU)?;
        fs::mkdir(&b, Mode::RWXU)?;
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| fs::rename(&a, b.join("a")));
            let second = fs::rename(&b, a.join("b"));
            (first.join().unwrap_or(Err(Errno::IO)), second)
        });
        if first.is_ok() == second.is_ok() {
            return Ok(format!("{first:?} and {second:?}"));
        }
        let (outer, inner) = if first.is_ok() { (&b, "a") } else { (&a, "b") };
        fs::rmdir(outer.join(inner))?;
        fs::rmdir(outer)?;
    }
    Ok(format!("{times} times one"))
}

/// `race-listing DIRECTORY`: each directory in it is moved while it is listed; the listings of what
/// came of them have each name once.
fn race_listing(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let dir = data::path(words.next()?);
    let list = |path: &Path| -> std::io::Result<Vec<_>> {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let all = list(dir)?;
    for name in &all {
        let from = dir.join(name);
        let mut moved = name.clone();
        moved.push(".moved");
        let to = dir.join(moved);
        let before = Barrier::new(2);
        let (listed, renamed) = thread::scope(|scope| {
            let lister = scope.spawn(|| {
                let opened = std::fs::read_dir(&from);
                before.wait();
                opened.map(|entries| entries.flatten().count())
            });
            before.wait();
            let renamed = fs::rename(&from, &to);
            (lister.join().unwrap_or(Ok(0)), renamed)
        });
        let mut names = list(if renamed.is_ok() { &to } else { &from })?;
        let found = names.len();
        names.sort();
        names.dedup();
        if names.len() != found || !listed.as_ref().is_ok_and(|count| *count == found) {
            return Ok(format!("{}: {listed:?} listed meanwhile, {found} then, {} names", name.display(), names.len()));
        }
    }
    Ok(format!("{} times each once", all.len()))
}

fn kept(name: &str) -> Result<PathBuf, Failure> {
    Ok(crate::inside::directory().ok_or("the test has no directory".to_owned())?.join(format!("tree.{name}")))
}

/// `savetree NAME PATH`: keeps the tree for a later mount.
fn save_tree(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = kept(&words.text()?)?;
    std::fs::write(file, super::tree::tree(world, words)?)?;
    ok()
}

/// `sametree NAME PATH`: yes, or an entry that is not as it was.
fn same_tree(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let before = std::fs::read_to_string(kept(&words.text()?)?)?;
    let now = super::tree::tree(world, words)?;
    let known: Vec<_> = before.split(' ').collect();
    let other = now.split(' ').find(|entry| !known.contains(entry));
    let fewer = now.split(' ').count() < known.len();
    Ok(other.map_or(if fewer { "entries are missing".into() } else { "yes".into() }, |entry| format!("now {entry}")))
}

/// `savestat NAME PATH FIELDS`: as `keep`, for a later mount.
fn save_stat(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = kept(&words.text()?)?;
    std::fs::write(file, super::attributes::stat(world, words)?)?;
    ok()
}

/// `samestat NAME PATH FIELDS`
fn same_stat(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let before = std::fs::read_to_string(kept(&words.text()?)?)?;
    Ok(if super::attributes::stat(world, words)? == before { "yes".into() } else { "no".into() })
}
