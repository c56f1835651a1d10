//! Operations chosen by numbers, as lines of a table and on the model.

use crate::choices::Choices;
use crate::model::{Answer, Model};
use crate::text::show;

/// What a layer can have at a path.
#[derive(Clone, Debug)]
pub enum Laid {
    /// A directory with these permissions.
    Directory(u32),
    /// A file: contents and permissions.
    File(Vec<u8>, u32),
    /// A symbolic link to this.
    Link(String),
    /// A named pipe.
    Pipe,
    /// Another name of a file of the same layer.
    Same(String),
    /// What is below is deleted.
    Whiteout,
    /// What is below in this directory is deleted.
    Opaque,
}

impl Laid {
    /// As it stands in a table.
    #[must_use]
    pub fn line(&self, path: &str) -> String {
        match self {
            Self::Directory(mode) => format!("mkdir {path} {mode:o}"),
            Self::File(content, mode) => format!("file {path} {} {mode:o}", show(content)),
            Self::Link(target) => format!("symlink {target} {path}"),
            Self::Pipe => format!("mknod {path} fifo 600"),
            Self::Same(other) => format!("link {other} {path}"),
            Self::Whiteout => format!("whiteout {path}"),
            Self::Opaque => format!("opaque {path}"),
        }
    }
}

/// One operation inside the mount.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Makes a directory.
    Mkdir(String, u32),
    /// Removes a directory.
    Rmdir(String),
    /// Removes a name.
    Unlink(String),
    /// Moves a name to another; with a flag.
    Rename(String, String, &'static str),
    /// Gives a file one more name.
    Link(String, String),
    /// Makes a link, target first.
    Symlink(String, String),
    /// Makes a pipe.
    Pipe(String),
    /// Replaces what is in a file, which is made if there is none.
    Write(String, Vec<u8>),
    /// Writes behind the end of a file.
    Append(String, Vec<u8>),
    /// Gives a file this size.
    Truncate(String, usize),
    /// Reads all of a file.
    Cat(String),
    /// Opens a file under a name.
    Open(String, String),
    /// Writes into an open file.
    Pwrite(String, usize, Vec<u8>),
    /// Reads from an open file.
    Pread(String, usize, usize),
    /// Closes it.
    Close(String),
    /// Sets permissions.
    Chmod(String, u32),
    /// Sets owner and group.
    Chown(String, u32, u32),
    /// Sets an extended attribute.
    SetAttribute(String, &'static str, String),
    /// Removes one.
    RemoveAttribute(String, &'static str),
    /// Names in a directory.
    List(String),
    /// What is known of a file.
    Stat(String),
    /// All that is there.
    Tree,
    /// The next mount.
    Remount,
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const ATTRIBUTES: [&str; 2] = ["user.a", "user.b"];

pub(crate) fn content(choices: &mut impl Choices) -> Vec<u8> {
    let letter = b'A' + u8::try_from(choices.below(26)).unwrap_or(0);
    let length = [0, 1, 5, 100, 4096, 5000][choices.below(6)];
    vec![letter; length]
}

/// A path: often one that exists, or one just beside it.
fn path(choices: &mut impl Choices, model: &Model) -> String {
    let existing = model.paths();
    let name = NAMES[choices.below(NAMES.len())];
    if existing.is_empty() {
        return name.into();
    }
    let known = &existing[choices.below(existing.len())];
    match choices.below(8) {
        0..=4 => known.clone(),
        5 => format!("{known}/{name}"),
        6 => known.rsplit_once('/').map_or(name.into(), |(parent, _)| format!("{parent}/{name}")),
        _ => name.into(),
    }
}

/// A path and sometimes an open file, for calls that take both.
fn place(choices: &mut impl Choices, model: &Model) -> String {
    let open = model.opened();
    if !open.is_empty() && choices.below(4) == 0 {
        return format!("@{}", open[choices.below(open.len())]);
    }
    path(choices, model)
}

fn mode(choices: &mut impl Choices) -> u32 {
    [0o644, 0o600, 0o755, 0o700, 0o777, 0o640][choices.below(6)]
}

impl Operation {
    pub(crate) fn choose(choices: &mut impl Choices, model: &Model) -> Self {
        match choices.below(40) {
            0..=3 => Self::Mkdir(path(choices, model), mode(choices)),
            4..=5 => Self::Rmdir(path(choices, model)),
            6..=8 => Self::Unlink(path(choices, model)),
            9..=14 => {
                let flag = ["", "", "", "noreplace", "exchange", "exchange"][choices.below(6)];
                Self::Rename(path(choices, model), path(choices, model), flag)
            }
            15..=16 => Self::Link(path(choices, model), path(choices, model)),
            17 => {
                let target = ["a", "b/c", "b/../a", "none", "d"][choices.below(5)];
                Self::Symlink(target.into(), path(choices, model))
            }
            18 => Self::Pipe(path(choices, model)),
            19..=22 => Self::Write(path(choices, model), content(choices)),
            23..=24 => Self::Append(path(choices, model), content(choices)),
            25 => Self::Truncate(place(choices, model), [0, 1, 50, 4096, 9000][choices.below(5)]),
            26..=27 => Self::Cat(path(choices, model)),
            28..=33 => Self::choose_open(choices, model),
            34 => Self::Chmod(place(choices, model), mode(choices)),
            35 => Self::Chown(place(choices, model), choices.below(3) as u32, choices.below(3) as u32),
            36 => {
                let value = ["1", "two", "3333333333"][choices.below(3)];
                Self::SetAttribute(place(choices, model), ATTRIBUTES[choices.below(2)], value.into())
            }
            37 => Self::RemoveAttribute(place(choices, model), ATTRIBUTES[choices.below(2)]),
            38 => Self::List(path(choices, model)),
            _ => Self::Stat(place(choices, model)),
        }
    }

    fn choose_open(choices: &mut impl Choices, model: &Model) -> Self {
        let open = model.opened();
        let name = ["A", "B", "C"][choices.below(3)].to_owned();
        let offset = [0, 3, 4095, 8000][choices.below(4)];
        match choices.below(4) {
            _ if !open.contains(&name) => Self::Open(name, path(choices, model)),
            0..=1 => Self::Pwrite(name, offset, content(choices)),
            2 => Self::Pread(name, offset, 5000),
            _ => Self::Close(name),
        }
    }

    /// As it stands in a table.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Mkdir(path, mode) => format!("mkdir {path} {mode:o}"),
            Self::Rmdir(path) => format!("rmdir {path}"),
            Self::Unlink(path) => format!("unlink {path}"),
            Self::Rename(from, to, flag) => format!("rename {from} {to} {flag}"),
            Self::Link(from, to) => format!("link {from} {to}"),
            Self::Symlink(target, path) => format!("symlink {target} {path}"),
            Self::Pipe(path) => format!("mknod {path} fifo 600"),
            Self::Write(path, content) => format!("quick-write {path} {}", show(content)),
            Self::Append(path, content) => format!("quick-append {path} {}", show(content)),
            Self::Truncate(path, size) => format!("truncate {path} {size}"),
            Self::Cat(path) => format!("quick-cat {path}"),
            Self::Open(name, path) => format!("open {name} {path} rdwr"),
            Self::Pwrite(name, offset, content) => format!("pwrite @{name} {offset} {}", show(content)),
            Self::Pread(name, offset, length) => format!("pread @{name} {offset} {length}"),
            Self::Close(name) => format!("close {name}"),
            Self::Chmod(path, mode) => format!("chmod {path} {mode:o}"),
            Self::Chown(path, uid, gid) => format!("chown {path} {uid} {gid}"),
            Self::SetAttribute(path, name, value) => format!("setxattr {path} {name} {value}"),
            Self::RemoveAttribute(path, name) => format!("removexattr {path} {name}"),
            Self::List(path) => format!("ls {path}"),
            Self::Stat(path) => format!("stat {path} type,mode,uid,gid"),
            Self::Tree => "tree .".into(),
            Self::Remount => "remount".into(),
        }
    }

    /// Whether it can be done at all once operations before it were left out.
    pub(crate) fn makes_sense(&self, model: &Model) -> bool {
        let is_open = |name: &str| model.opened().iter().any(|open| open == name);
        match self {
            Self::Pwrite(name, ..) | Self::Pread(name, ..) | Self::Close(name) => is_open(name),
            Self::Open(name, path) => !is_open(name) && !model.is_pipe(path),
            Self::Rename(from, to, _) => !model.is_kernels_trouble(from, to),
            Self::Truncate(path, _)
            | Self::Chmod(path, _)
            | Self::Chown(path, ..)
            | Self::SetAttribute(path, ..)
            | Self::RemoveAttribute(path, _)
            | Self::Stat(path) => path.strip_prefix('@').is_none_or(is_open),
            _ => true,
        }
    }

    pub(crate) fn apply(&self, model: &mut Model) -> Answer {
        match self {
            Self::Mkdir(path, mode) => model.mkdir(path, *mode),
            Self::Rmdir(path) => model.rmdir(path),
            Self::Unlink(path) => model.unlink(path),
            Self::Rename(from, to, flag) => model.rename(from, to, flag),
            Self::Link(from, to) => model.link(from, to),
            Self::Symlink(target, path) => model.symlink(target, path),
            Self::Pipe(path) => model.pipe(path),
            Self::Write(path, content) => model.write(path, content),
            Self::Append(path, content) => model.append(path, content),
            Self::Truncate(path, size) => model.truncate(path, *size),
            Self::Cat(path) => model.cat(path),
            Self::Open(name, path) => model.open(name, path),
            Self::Pwrite(name, offset, content) => model.pwrite(name, *offset, content),
            Self::Pread(name, offset, length) => model.pread(name, *offset, *length),
            Self::Close(name) => model.close(name),
            Self::Chmod(path, mode) => model.chmod(path, *mode),
            Self::Chown(path, uid, gid) => model.chown(path, *uid, *gid),
            Self::SetAttribute(path, name, value) => model.set_attribute(path, name, value),
            Self::RemoveAttribute(path, name) => model.remove_attribute(path, name),
            Self::List(path) => model.ls(path),
            Self::Stat(path) => model.stat(path),
            Self::Tree => Ok(model.tree()),
            Self::Remount => {
                model.closes_all();
                Ok("ok".into())
            }
        }
    }
}
