//! Each kind of thing renamed to each kind of thing, with each flag: the cases are made here
//! from what POSIX says, and then run as those of the tables are.

use std::fmt::Write as _;

use crate::systems::System;
use crate::trial::judge;

/// What a name can be. `{p}` is the name itself.
struct Thing {
    name: &'static str,
    /// In the lowest layer.
    lower: &'static [&'static str],
    /// Done before the rename.
    inside: &'static [&'static str],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Plain(&'static str),
    Directory { full: bool },
}

const FULL: Kind = Kind::Directory { full: true };
const EMPTY: Kind = Kind::Directory { full: false };

#[rustfmt::skip]
const THINGS: &[Thing] = &[
    Thing { name: "nothing", lower: &[], inside: &[], kind: Kind::Nothing },
    Thing { name: "removed file", lower: &["file {p} old"], inside: &["unlink {p}"], kind: Kind::Nothing },
    Thing { name: "removed directory", lower: &["mkdir {p}", "file {p}/old old"], inside: &["unlink {p}/old", "rmdir {p}"], kind: Kind::Nothing },
    Thing { name: "lower file", lower: &["file {p} {p}"], inside: &[], kind: Kind::Plain("file") },
    Thing { name: "copied-up file", lower: &["file {p} {p}"], inside: &["chmod {p} 0644"], kind: Kind::Plain("file") },
    Thing { name: "upper file", lower: &[], inside: &["write {p} {p}"], kind: Kind::Plain("file") },
    Thing { name: "lower symlink", lower: &["symlink {p} {p}"], inside: &[], kind: Kind::Plain("link") },
    Thing { name: "upper symlink", lower: &[], inside: &["symlink {p} {p}"], kind: Kind::Plain("link") },
    Thing { name: "lower pipe", lower: &["mknod {p} fifo"], inside: &[], kind: Kind::Plain("fifo") },
    Thing { name: "lower directory", lower: &["mkdir {p}", "file {p}/{p} x"], inside: &[], kind: FULL },
    Thing { name: "merged directory", lower: &["mkdir {p}", "file {p}/old x"], inside: &["write {p}/{p} x", "unlink {p}/old"], kind: FULL },
    Thing { name: "upper directory", lower: &[], inside: &["mkdir {p}", "write {p}/{p} x"], kind: FULL },
    Thing { name: "directory made again", lower: &["mkdir {p}", "file {p}/old x"], inside: &["unlink {p}/old", "rmdir {p}", "mkdir {p}", "write {p}/{p} x"], kind: FULL },
    Thing { name: "empty lower directory", lower: &["mkdir {p}"], inside: &[], kind: EMPTY },
    Thing { name: "emptied directory", lower: &["mkdir {p}", "file {p}/old x"], inside: &["unlink {p}/old"], kind: EMPTY },
    Thing { name: "empty upper directory", lower: &[], inside: &["mkdir {p}"], kind: EMPTY },
];

impl Thing {
    /// A directory of which a lower layer has a part, so that the kernel will not move it.
    fn is_rooted_below(&self) -> bool {
        let directory = matches!(self.kind, Kind::Directory { .. });
        directory && !self.lower.is_empty() && !self.inside.contains(&"rmdir {p}")
    }

    fn exists(&self) -> bool {
        self.kind != Kind::Nothing
    }

    /// What is seen at `path` when the thing that was made as `name` is there.
    fn seen(&self, path: &str, name: &str) -> String {
        match self.kind {
            Kind::Nothing => format!("stat {path} => ENOENT\n"),
            Kind::Plain("file") => format!("cat {path} => \"{name}\"\n"),
            Kind::Plain("link") => format!("readlink {path} => \"{name}\"\n"),
            Kind::Plain(kind) => format!("stat {path} type => {kind}\n"),
            Kind::Directory { full: true } => format!("ls {path} => {name}\n"),
            Kind::Directory { full: false } => format!("ls {path} => empty\n"),
        }
    }
}

/// What the rename answers.
fn answer(source: &Thing, target: &Thing, flag: &str) -> &'static str {
    let directory = |thing: &Thing| matches!(thing.kind, Kind::Directory { .. });
    match flag {
        _ if !source.exists() => "ENOENT",
        "noreplace" if target.exists() => "EEXIST",
        "exchange" if !target.exists() => "ENOENT",
        "exchange" => "ok",
        _ if !target.exists() => "ok",
        _ if directory(source) && !directory(target) => "ENOTDIR",
        _ if !directory(source) && directory(target) => "EISDIR",
        _ if target.kind == FULL => "ENOTEMPTY",
        _ => "ok",
    }
}

fn case(source: &Thing, target: &Thing, flag: &str, system: System) -> String {
    let overlay = system.is("overlay");
    let mut case = format!("== {} to {} {flag}\n", source.name, target.name);
    for (thing, name) in [(source, "s"), (target, "t")] {
        thing.lower.iter().for_each(|step| case += &format!("1: {}\n", step.replace("{p}", name)));
        thing.inside.iter().for_each(|step| case += &format!("{}\n", step.replace("{p}", name)));
    }
    let mut answer = answer(source, target, flag);
    let moved_below = source.is_rooted_below() || flag == "exchange" && target.is_rooted_below();
    if overlay && moved_below && matches!(answer, "ok" | "ENOTEMPTY") {
        // See `lower-directory` in `differences.rs`.
        answer = "EXDEV";
    }
    writeln!(case, "rename s t {flag} => {answer}").expect("write to a string");
    let after = match (answer, flag) {
        ("ok", "exchange") => source.seen("t", "s") + &target.seen("s", "t"),
        ("ok", _) => source.seen("t", "s") + "stat s => ENOENT\n",
        _ => source.seen("s", "s") + &target.seen("t", "t"),
    };
    let numbers = match system {
        // See `devices` in `differences.rs`.
        System::Hybrid => String::new(),
        _ => format!("lsinos . => {} agree\n", count(source, target, answer, flag)),
    };
    case + &after + &numbers + "remount\n" + &after
}

fn count(source: &Thing, target: &Thing, answer: &str, flag: &str) -> usize {
    let both = usize::from(source.exists()) + usize::from(target.exists());
    if answer == "ok" && flag != "exchange" { 1 } else { both }
}

fn matrix(system: System, flag: &str) {
    let mut table = String::new();
    for source in THINGS {
        for target in THINGS {
            table += &case(source, target, flag, system);
        }
    }
    judge(system, &table);
}

macro_rules! on {
    ($($name:ident: $system:ident),* $(,)?) => {$(
        mod $name {
            use super::{System, matrix};
            #[test]
            fn replacing() { matrix(System::$system, ""); }
            #[test]
            fn not_replacing() { matrix(System::$system, "noreplace"); }
            #[test]
            fn exchanging() { matrix(System::$system, "exchange"); }
        }
    )*};
}

on!(on_ext4: Ext4, on_kernel: Kernel, on_hybrid: Hybrid, on_fuse: Fuse, on_fuser: Fuser, on_fuse3: Fuse3);
