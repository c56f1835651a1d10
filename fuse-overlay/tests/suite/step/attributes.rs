//! What a file is: stat and what changes it.

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, Statx, StatxFlags, Timespec, Timestamps, Uid};
use rustix::process::umask as set_umask;

use super::{Command, Failure, Outcome, Words, World, ok};

pub(super) const TABLE: &[(&str, Command)] = &[
    ("stat", stat),
    ("statf", stat_followed),
    ("keep", keep),
    ("same", same),
    ("later", later),
    ("chmod", chmod),
    ("chown", chown),
    ("times", times),
    ("access", access),
    ("umask", umask),
    ("statfs", statfs),
    ("truncate", truncate),
    ("getflags", get_flags),
];

fn fields(world: &World, words: &mut Words<'_>, follow: AtFlags) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let empty = if path.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    let found = fs::statx(dir, path, follow | empty, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    let wanted = words.optional_text().unwrap_or_else(|| "type".into());
    let each: Result<Vec<_>, _> = wanted.split(',').map(|name| field(&found, name)).collect();
    Ok(each?.join(" "))
}

fn field(found: &Statx, name: &str) -> Outcome {
    let time = |time: rustix::fs::StatxTimestamp| format!("{}.{:09}", time.tv_sec, time.tv_nsec);
    Ok(match name {
        "type" => kind(found.stx_mode).into(),
        "mode" => format!("{:04o}", found.stx_mode & 0o7777),
        "uid" => found.stx_uid.to_string(),
        "gid" => found.stx_gid.to_string(),
        "nlink" => found.stx_nlink.to_string(),
        "size" => found.stx_size.to_string(),
        // What is allocated differs by a metadata block from system to system.
        "sparse" => if found.stx_blocks * 512 < found.stx_size { "sparse" } else { "full" }.into(),
        "blocks" => found.stx_blocks.to_string(),
        "rdev" => format!("{}:{}", found.stx_rdev_major, found.stx_rdev_minor),
        "ino" => found.stx_ino.to_string(),
        "dev" => format!("{}:{}", found.stx_dev_major, found.stx_dev_minor),
        "blksize" => found.stx_blksize.to_string(),
        "mtime" => time(found.stx_mtime),
        "atime" => time(found.stx_atime),
        "ctime" => time(found.stx_ctime),
        other => return Err(Failure::Said(format!("no field `{other}`"))),
    })
}

pub(super) fn kind(mode: u16) -> &'static str {
    match FileType::from_raw_mode(mode.into()) {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::Socket => "sock",
        FileType::CharacterDevice => "char",
        FileType::BlockDevice => "block",
        _ => "unknown",
    }
}

/// `stat PATH FIELD,FIELD…`, of the link itself.
pub(super) fn stat(world: &mut World, words: &mut Words<'_>) -> Outcome {
    fields(world, words, AtFlags::SYMLINK_NOFOLLOW)
}

fn stat_followed(world: &mut World, words: &mut Words<'_>) -> Outcome {
    fields(world, words, AtFlags::empty())
}

/// `keep NAME PATH FIELDS`: for a later `same` or `later`.
fn keep(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let found = fields(world, words, AtFlags::SYMLINK_NOFOLLOW)?;
    world.kept.insert(name, found);
    ok()
}

/// `same NAME PATH FIELDS`: yes, or both values.
fn same(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let found = fields(world, words, AtFlags::SYMLINK_NOFOLLOW)?;
    let kept = world.kept.get(&name).ok_or(format!("nothing is kept as {name}"))?;
    Ok(if *kept == found { "yes".into() } else { "no".into() })
}

/// `later NAME PATH FIELD`: whether a time is later than the kept one.
fn later(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let found = fields(world, words, AtFlags::SYMLINK_NOFOLLOW)?;
    let kept = world.kept.get(&name).ok_or(format!("nothing is kept as {name}"))?;
    let parts = |time: &str| time.split_once('.').map(|(s, ns)| (s.parse::<i64>().ok(), ns.parse::<i64>().ok()));
    Ok(if parts(&found) > parts(kept) { "yes".into() } else { "no".into() })
}

fn chmod(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let mode = words.mode()?;
    if path.is_empty() {
        fs::fchmod(dir, mode)?;
    } else {
        fs::chmodat(dir, path, mode, AtFlags::empty())?;
    }
    ok()
}

/// Two ids; `-` leaves one as it is.
pub(super) fn ids(uid: &str, gid: &str) -> Result<(Option<Uid>, Option<Gid>), Failure> {
    let id = |word: &str| match word {
        "-" => Ok(None),
        other => other.parse::<u32>().map(Some).map_err(|_| Failure::Said(format!("`{other}` is no id"))),
    };
    Ok((id(uid)?.map(Uid::from_raw), id(gid)?.map(Gid::from_raw)))
}

/// `chown PATH UID GID`, of the link itself.
fn chown(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let (uid, gid) = ids(&words.text()?, &words.text()?)?;
    if path.is_empty() {
        fs::fchown(dir, uid, gid)?;
    } else {
        fs::chownat(dir, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    ok()
}

/// `times PATH ATIME MTIME`: each `now`, `omit` or `SECONDS.NANOSECONDS`; of the link itself.
fn times(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let times = Timestamps { last_access: time(&words.text()?)?, last_modification: time(&words.text()?)? };
    if path.is_empty() {
        fs::futimens(dir, &times)?;
    } else {
        fs::utimensat(dir, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    ok()
}

fn time(word: &str) -> Result<Timespec, Failure> {
    let (tv_sec, tv_nsec) = match word {
        "now" => (0, fs::UTIME_NOW),
        "omit" => (0, fs::UTIME_OMIT),
        other => {
            let (seconds, rest) = other.split_once('.').unwrap_or((other, "0"));
            let number = |text: &str| text.parse::<i64>().map_err(|_| Failure::Said(format!("`{other}` is no time")));
            (number(seconds)?, number(&format!("{rest:0<9}"))?)
        }
    };
    Ok(Timespec { tv_sec, tv_nsec })
}

/// `access PATH rwx`, by the real ids.
fn access(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let mut wanted = fs::Access::EXISTS;
    for letter in words.text()?.chars() {
        wanted |= match letter {
            'r' => fs::Access::READ_OK,
            'w' => fs::Access::WRITE_OK,
            'x' => fs::Access::EXEC_OK,
            _ => fs::Access::EXISTS,
        };
    }
    fs::accessat(dir, path, wanted, AtFlags::empty())?;
    ok()
}

fn umask(_: &mut World, words: &mut Words<'_>) -> Outcome {
    set_umask(words.mode()? & Mode::from_raw_mode(0o777));
    ok()
}

/// `statfs PATH FIELDS`: what can be said of any file system.
fn statfs(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let file = fs::openat(dir, path, fs::OFlags::PATH | fs::OFlags::CLOEXEC, Mode::empty())?;
    let found = fs::fstatfs(&file)?;
    let sane = |right: bool| if right { "sane" } else { "not sane" };
    let wanted = words.text()?;
    let each = wanted.split(',').map(|name| match name {
        "type" => format!("{:x}", found.f_type),
        "namelen" => found.f_namelen.to_string(),
        "blocks" => {
            sane(found.f_blocks > 0 && found.f_bfree <= found.f_blocks && found.f_bavail <= found.f_bfree).into()
        }
        "files" => sane(found.f_files > 0 && found.f_ffree <= found.f_files).into(),
        "bsize" => sane(found.f_bsize >= 512 && found.f_bsize.cast_unsigned().is_power_of_two()).into(),
        other => format!("no field `{other}`"),
    });
    Ok(each.collect::<Vec<_>>().join(" "))
}

fn truncate(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let place = words.next()?;
    let size = words.number()?;
    if place.starts_with(b"@") {
        fs::ftruncate(world.open_file(place)?, size.cast_unsigned())?;
    } else {
        nix::unistd::truncate(place, size)?;
    }
    ok()
}

/// Whether the flags of `chattr` are to be had.
fn get_flags(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let file = fs::openat(dir, path, fs::OFlags::RDONLY | fs::OFlags::CLOEXEC, Mode::empty())?;
    fs::ioctl_getflags(&file)?;
    ok()
}
