//! Many at once: what has to hold whatever the order.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Command, Failure, Outcome, Words, World, data};

pub(super) const TABLE: &[(&str, Command)] = &[
    ("race-create", race_create),
    ("race-mkdir", race_mkdir),
    ("race-unlink", race_unlink),
    ("race-rename", race_rename),
    ("race-copy-up", race_copy_up),
    ("race-append", race_append),
    ("read-while-creating", read_while_creating),
    ("read-while-deleting", read_while_deleting),
    ("exchange-while-looking", exchange_while_looking),
];

/// How many of `threads` at once succeed with each of `names`; all others have to get `loser`.
fn winners(
    words: &mut Words<'_>,
    losers: &[Errno],
    act: impl Fn(&std::path::Path, usize) -> Result<(), Errno> + Sync,
) -> Outcome {
    let dir = data::path(words.next()?);
    let threads = words.count()?;
    let names = words.count()?;
    let barrier = Barrier::new(threads);
    let won: Vec<AtomicUsize> = (0..names).map(|_| AtomicUsize::new(0)).collect();
    let others = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..threads {
            let (barrier, won, others, act) = (&barrier, &won, &others, &act);
            scope.spawn(move || {
                for (index, won) in won.iter().enumerate() {
                    barrier.wait();
                    match act(&dir.join(format!("n{index:03}")), number) {
                        Ok(()) => won.fetch_add(1, Ordering::Relaxed),
                        Err(errno) if losers.contains(&errno) => 0,
                        Err(_) => others.fetch_add(1, Ordering::Relaxed),
                    };
                }
            });
        }
    });
    let once = won.iter().filter(|won| won.load(Ordering::Relaxed) == 1).count();
    Ok(format!("{once} of {names} once, {} other errors", others.load(Ordering::Relaxed)))
}

fn race_create(_: &mut World, words: &mut Words<'_>) -> Outcome {
    winners(words, &[Errno::EXIST], |path, _| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map(drop)
    })
}

fn race_mkdir(_: &mut World, words: &mut Words<'_>) -> Outcome {
    winners(words, &[Errno::EXIST], |path, _| fs::mkdir(path, Mode::from_raw_mode(0o755)))
}

fn race_unlink(_: &mut World, words: &mut Words<'_>) -> Outcome {
    winners(words, &[Errno::NOENT], |path, _| fs::unlink(path))
}

/// Each thread moves the file to a name of its own: one finds it.
fn race_rename(_: &mut World, words: &mut Words<'_>) -> Outcome {
    winners(words, &[Errno::NOENT], |path, number| fs::rename(path, path.with_extension(number.to_string())))
}

/// `race-copy-up PATH THREADS`: each writes a byte of its own into the same lower file at once.
fn race_copy_up(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let path = data::path(words.next()?);
    let threads = words.count()?;
    let barrier = Barrier::new(threads);
    let write = |number: usize| -> Result<usize, Errno> {
        barrier.wait();
        let file = fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::pwrite(&file, b"X", number as u64)
    };
    let errors = thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|number| scope.spawn(move || write(number))).collect();
        all.into_iter()
            .filter(|_| true)
            .map(thread::ScopedJoinHandle::join)
            .filter(|end| !matches!(end, Ok(Ok(1))))
            .count()
    });
    Ok(format!("{errors} errors"))
}

/// `race-append PATH THREADS TIMES`: whole records, none lost or torn.
fn race_append(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let path = data::path(words.next()?);
    let (threads, times) = (words.count()?, words.count()?);
    let write = |number: usize| -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        let file = fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644))?;
        for time in 0..times {
            rustix::io::write(&file, format!("{number:03} {time:05}\n").as_bytes())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|number| scope.spawn(move || write(number))).collect();
        all.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Errno::IO)))
    })?;
    let content = std::fs::read_to_string(path)?;
    let records: BTreeSet<_> = content.lines().filter(|line| line.len() == 9).collect();
    Ok(format!("{} records, {} bytes", records.len(), content.len()))
}

/// Reads a directory again and again while `change` runs; names of `steady` are in each listing, once.
fn while_changing(dir: &std::path::Path, steady: usize, change: impl FnOnce() -> Result<(), Errno> + Send) -> Outcome {
    let done = AtomicBool::new(false);
    let (listings, wrong) = thread::scope(|scope| {
        let changer = scope.spawn(|| {
            let end = change();
            done.store(true, Ordering::Release);
            end
        });
        let (mut listings, mut wrong) = (0, Vec::new());
        loop {
            let last = done.load(Ordering::Acquire);
            match steady_names(dir) {
                Ok((names, twice)) if names == steady && twice == 0 => listings += 1,
                Ok((names, twice)) => wrong.push(format!("{names} of {steady} steady names, {twice} twice")),
                Err(error) => wrong.push(error.to_string()),
            }
            if last {
                break;
            }
        }
        if !matches!(changer.join(), Ok(Ok(()))) {
            wrong.push("the other thread could not change the directory".into());
        }
        (listings, wrong)
    });
    match wrong.first() {
        Some(first) => {
            Err(Failure::Said(format!("{first} (in {} of {} listings)", wrong.len(), listings + wrong.len())))
        }
        None => Ok("steady".into()),
    }
}

/// How many names begin with `f`, and how many of all come twice.
fn steady_names(dir: &std::path::Path) -> std::io::Result<(usize, usize)> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        names.push(entry?.file_name());
    }
    let steady = names.iter().filter(|name| name.as_bytes().starts_with(b"f")).count();
    let different: BTreeSet<_> = names.iter().collect();
    Ok((steady, names.len() - different.len()))
}

/// `read-while-creating DIRECTORY STEADY NEW`
fn read_while_creating(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let dir = data::path(words.next()?);
    let (steady, new) = (words.count()?, words.count()?);
    while_changing(dir, steady, || {
        for number in 0..new {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            fs::openat(CWD, dir.join(format!("n{number:05}")), flags, Mode::from_raw_mode(0o644))?;
        }
        Ok(())
    })
}

/// `read-while-deleting DIRECTORY STEADY OLD`: removes `n00000` and so on.
fn read_while_deleting(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let dir = data::path(words.next()?);
    let (steady, old) = (words.count()?, words.count()?);
    while_changing(dir, steady, || (0..old).try_for_each(|number| fs::unlink(dir.join(format!("n{number:05}")))))
}

/// `exchange-while-looking A B TIMES`: a name that is exchanged is there at every moment.
fn exchange_while_looking(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let (a, b) = (data::path(words.next()?), data::path(words.next()?));
    let times = words.count()?;
    let done = AtomicBool::new(false);
    let missing = thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut missing = 0;
            while !done.load(Ordering::Acquire) {
                missing += usize::from(fs::statat(CWD, a, AtFlags::empty()).is_err());
            }
            missing
        });
        let end = (0..times).try_for_each(|_| fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE));
        done.store(true, Ordering::Release);
        let missing = looker.join().map_err(|_| Failure::Said("the thread that looks has died".into()))?;
        end?;
        Ok::<_, Failure>(missing)
    })?;
    Ok(format!("{missing} times missing"))
}
