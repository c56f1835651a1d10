//! Random reads and writes of a few files, by every way that data takes: calls, memory,
//! holes, copies between files, and the next mount. Each file is a vector in memory.

use std::fmt::Write as _;

use pybox_fuse_overlay_fuzz::choices::{Choices, Seeded};

use super::{seed, shrink::shrink, wrong};
use crate::systems::System;
use crate::text::show;
use crate::trial::{cannot, long};

const FILES: [&str; 3] = ["f", "g", "h"];
/// Of the files when they begin: one of a layer, one of another, one made here.
const BEGINNING: [&str; 2] = ["1: file f \"L\"*30000", "2: file g \"\""];
const FARTHEST: usize = 70_000;

#[derive(Clone, Debug)]
enum Operation {
    Write(usize, usize, Vec<u8>),
    Append(usize, Vec<u8>),
    Read(usize, usize, usize),
    Truncate(usize, usize),
    MapWrite(usize, usize, Vec<u8>),
    MapRead(usize, usize, usize),
    Allocate(usize, &'static str, usize, usize),
    Copy(usize, usize, usize, usize, usize),
    Sync(usize),
    Reopen(usize),
    Size(usize),
    Remount,
}

fn choose(choices: &mut impl Choices, number: usize) -> Operation {
    let file = choices.below(FILES.len());
    let (offset, length) = (choices.below(FARTHEST), 1 + choices.below(20_000));
    let offset = if choices.below(3) == 0 { offset / 4096 * 4096 } else { offset };
    let letter = b'a' + u8::try_from(choices.below(26)).unwrap_or(0);
    let content = vec![letter; length];
    if number % 100 == 99 {
        return Operation::Remount;
    }
    match choices.below(20) {
        0..=3 => Operation::Write(file, offset, content),
        4 => Operation::Append(file, content),
        5..=8 => Operation::Read(file, offset, length),
        9..=10 => Operation::Truncate(file, offset),
        11..=12 => Operation::MapWrite(file, offset, content),
        13..=14 => Operation::MapRead(file, offset, length),
        15 => Operation::Allocate(file, ["plain", "keep"][choices.below(2)], offset, length),
        16 => Operation::Allocate(file, ["punch|keep", "zero"][choices.below(2)], offset, length),
        17 => Operation::Copy(file, offset, (file + 1) % FILES.len(), choices.below(FARTHEST), length),
        18 => [Operation::Sync(file), Operation::Reopen(file)][choices.below(2)].clone(),
        _ => Operation::Size(file),
    }
}

/// The files in memory, and the lines that do the same to real ones.
struct Writer {
    files: [Vec<u8>; 3],
    case: String,
}

impl Writer {
    fn line(&mut self, line: &str, answer: &str) {
        writeln!(self.case, "{line} => {answer}").expect("write to a string");
    }

    fn open(&mut self) {
        for name in FILES {
            let flags = if name == "h" { "rdwr|creat" } else { "rdwr" };
            self.line(&format!("open {name} {name} {flags}"), "ok");
        }
    }

    fn put(&mut self, file: usize, offset: usize, content: &[u8]) {
        let data = &mut self.files[file];
        let end = offset + content.len();
        data.resize(data.len().max(end), 0);
        data[offset..end].copy_from_slice(content);
    }

    fn part(&self, file: usize, offset: usize, length: usize) -> Vec<u8> {
        let data = &self.files[file];
        data.get(offset..data.len().min(offset + length)).unwrap_or_default().to_vec()
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Write(file, offset, content) => {
                self.put(*file, *offset, content);
                let line = format!("pwrite @{} {offset} {}", FILES[*file], show(content));
                self.line(&line, &content.len().to_string());
            }
            Operation::Append(file, content) => {
                self.put(*file, self.files[*file].len(), content);
                self.line(&format!("append {} {}", FILES[*file], show(content)), "ok");
            }
            Operation::Read(file, offset, length) => {
                let answer = show(&self.part(*file, *offset, *length));
                self.line(&format!("pread @{} {offset} {length}", FILES[*file]), &answer);
            }
            Operation::Truncate(file, size) => {
                self.files[*file].resize(*size, 0);
                self.line(&format!("truncate @{} {size}", FILES[*file]), "ok");
            }
            Operation::MapWrite(file, offset, content) => self.map(*file, *offset, content.len(), Some(content)),
            Operation::MapRead(file, offset, length) => self.map(*file, *offset, *length, None),
            Operation::Allocate(file, how, offset, length) => self.allocate(*file, how, *offset, *length),
            Operation::Copy(from, from_offset, to, to_offset, length) => {
                let part = self.part(*from, *from_offset, *length);
                if !part.is_empty() {
                    self.put(*to, *to_offset, &part);
                }
                let (from, to) = (FILES[*from], FILES[*to]);
                let line = format!("copyrange @{from} {from_offset} @{to} {to_offset} {length}");
                self.line(&line, &part.len().to_string());
            }
            Operation::Sync(file) => self.line(&format!("fsync @{}", FILES[*file]), "ok"),
            Operation::Reopen(file) => {
                let name = FILES[*file];
                self.line(&format!("close {name}"), "ok");
                self.line(&format!("open {name} {name} rdwr"), "ok");
            }
            Operation::Size(file) => {
                let answer = self.files[*file].len().to_string();
                self.line(&format!("stat {} size", FILES[*file]), &answer);
            }
            Operation::Remount => {
                self.whole();
                self.case += "remount\n";
                self.whole();
                self.open();
            }
        }
    }

    fn whole(&mut self) {
        for (file, name) in FILES.iter().enumerate() {
            let answer = show(&self.files[file]);
            self.line(&format!("cat {name}"), &answer);
        }
    }

    fn map(&mut self, file: usize, offset: usize, length: usize, content: Option<&Vec<u8>>) {
        let size = self.files[file].len();
        let end = size.min(offset + length);
        if offset >= end {
            return;
        }
        let name = FILES[file];
        self.line(&format!("map M @{name} shared {size}"), "ok");
        if let Some(content) = content {
            let content = &content[..end - offset];
            self.put(file, offset, content);
            self.line(&format!("mapwrite M {offset} {}", show(content)), "ok");
        } else {
            let answer = show(&self.part(file, offset, length));
            self.line(&format!("mapread M {offset} {}", end - offset), &answer);
        }
        self.line("unmap M", "ok");
    }

    fn allocate(&mut self, file: usize, how: &str, offset: usize, length: usize) {
        let data = &mut self.files[file];
        let end = offset + length;
        if matches!(how, "plain" | "zero") {
            data.resize(data.len().max(end), 0);
        }
        if matches!(how, "punch|keep" | "zero") {
            let end = end.min(data.len());
            data.get_mut(offset..end).unwrap_or_default().fill(0);
        }
        self.line(&format!("fallocate @{} {how} {offset} {length}", FILES[file]), "ok");
    }
}

fn case(name: &str, operations: &[Operation]) -> String {
    let files = [vec![b'L'; 30_000], Vec::new(), Vec::new()];
    let case = format!("== {name}\n{}\n", BEGINNING.join("\n"));
    let mut writer = Writer { files, case };
    writer.open();
    operations.iter().for_each(|operation| writer.apply(operation));
    writer.apply(&Operation::Remount);
    writer.case
}

fn check(system: System) {
    if cannot(system) {
        return;
    }
    for round in 0..8 * long() {
        let seed = seed() + round as u64;
        let mut choices = Seeded(seed);
        let operations: Vec<_> = (0..450).map(|number| choose(&mut choices, number)).collect();
        let name = format!("seed {seed}");
        let answers = wrong(system, &case(&name, &operations));
        if let Some(first) = answers.first() {
            let short = shrink(&operations, |operations| !wrong(system, &case(&name, operations)).is_empty());
            let short = case(&name, &short);
            let now = wrong(system, &short).join("\n");
            panic!("{} wrong answers; first {first}\nmade shorter:\n{short}\n{now}", answers.len());
        }
    }
}

macro_rules! on {
    ($($name:ident: $system:ident),* $(,)?) => {$(
        #[test]
        fn $name() { check(System::$system); }
    )*};
}

on!(on_ext4: Ext4, on_kernel: Kernel, on_hybrid: Hybrid, on_fuse: Fuse, on_fuser: Fuser, on_fuse3: Fuse3);
