//! Random operations against a model. What fails is made shorter, and printed as a case that
//! can stand in a table.

mod data;
mod model;
mod operations;
mod shrink;
mod storms;

use std::fmt::Write as _;

use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::systems::System;
use crate::trial::{Trial, cannot, long};
use model::Model;
use operations::{Bytes, Choices, Laid, Operation, Seeded};
use shrink::shrink;

/// What is done, before it is known what has to come of it.
#[derive(Clone, Debug)]
struct Sequence {
    name: String,
    layers: Vec<(u8, String, Laid)>,
    operations: Vec<Operation>,
}

impl Sequence {
    fn choose(name: String, choices: &mut impl Choices, system: System, length: usize) -> Self {
        let mut model = Model::new(system);
        let mut sequence = Self { name, layers: Vec::new(), operations: Vec::new() };
        for layer in 1..=3 {
            let mut laid = Vec::new();
            lay(choices, &mut model, system, "", &mut laid);
            sequence.layers.extend(laid.into_iter().map(|(path, what)| (layer, path, what)));
        }
        for number in 0..length {
            let operation = match number {
                _ if number % 60 == 59 => Operation::Remount,
                _ if number % 30 == 29 => Operation::Tree,
                _ => Operation::choose(choices, &model),
            };
            if operation.makes_sense(&model) {
                operation.apply(&mut model).ok();
                sequence.operations.push(operation);
            }
        }
        sequence
    }

    /// As a case, with what the model answers.
    fn case(&self, system: System) -> String {
        let mut model = Model::new(system);
        let mut case = format!("== {}\n", self.name);
        if let Some((name, value)) = model::marked(system) {
            for layer in 1..=3 {
                writeln!(case, "{layer}: setxattr . {name} {value}").expect("write to a string");
            }
        }
        for (layer, path, what) in &self.layers {
            if model.lay(path, what).is_ok() {
                writeln!(case, "{layer}: {}", what.line(path)).expect("write to a string");
            }
        }
        let end = [Operation::Tree, Operation::Remount, Operation::Tree];
        for operation in self.operations.iter().chain(&end) {
            if operation.makes_sense(&model) {
                let answer = operation.apply(&mut model).unwrap_or_else(str::to_owned);
                match operation {
                    Operation::Remount => case += "remount\n",
                    other => writeln!(case, "{} => {answer}", other.line()).expect("write to a string"),
                }
            }
        }
        case
    }
}

/// What one layer has in a directory; the model sees it above what lower layers have.
fn lay(choices: &mut impl Choices, model: &mut Model, system: System, dir: &str, laid: &mut Vec<(String, Laid)>) {
    let mut files: Vec<String> = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let there = model.stat(&path).ok();
        let deep = dir.matches('/').count() >= 1;
        let what = match choices.below(16) {
            0..=3 if !deep => Laid::Directory([0o755, 0o700][choices.below(2)]),
            4..=6 => Laid::File(operations::content(choices), [0o644, 0o600][choices.below(2)]),
            7 => Laid::Link(["a", "b/c", "none"][choices.below(3)].into()),
            8 => Laid::Pipe,
            9 if !files.is_empty() && !system.is("overlay") => Laid::Same(files[choices.below(files.len())].clone()),
            10..=11 if there.is_some() => Laid::Whiteout,
            _ => continue,
        };
        model.lay(&path, &what).ok();
        laid.push((path.clone(), what.clone()));
        match what {
            Laid::Directory(_) => {
                if there.is_some_and(|there| there.starts_with("dir")) && choices.below(4) == 0 {
                    model.lay(&path, &Laid::Opaque).ok();
                    laid.push((path.clone(), Laid::Opaque));
                }
                lay(choices, model, system, &path, laid);
            }
            Laid::File(..) => files.push(path),
            _ => {}
        }
    }
}

/// What a file system answers otherwise than the model; only entries of a tree that differ are told.
fn wrong(system: System, table: &str) -> Vec<String> {
    Trial::new(system, table).run()
}

/// Leaves out operations and then parts of layers while it still fails.
fn shorter(sequence: &Sequence, system: System) -> Sequence {
    let mut best = sequence.clone();
    let fails = |sequence: &Sequence| !wrong(system, &sequence.case(system)).is_empty();
    best.operations = shrink(&best.operations, |left| fails(&Sequence { operations: left.to_vec(), ..best.clone() }));
    best.layers = shrink(&best.layers, |left| fails(&Sequence { layers: left.to_vec(), ..best.clone() }));
    best
}

fn seed() -> u64 {
    let told = std::env::var("PYBOX_SUITE_SEED").ok().and_then(|seed| seed.parse().ok());
    told.unwrap_or_else(|| if long() > 1 { rand_seed() } else { 20_260_101 })
}

fn rand_seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_secs())
}

fn against_the_model(system: System) {
    if cannot(system) {
        return;
    }
    let seed = seed();
    for round in 0..long() {
        let sequences: Vec<_> = (0..40)
            .map(|number| {
                let seed = seed + (round * 40 + number) as u64;
                Sequence::choose(format!("seed {seed}"), &mut Seeded(seed), system, 180)
            })
            .collect();
        let table: String = sequences.iter().map(|sequence| sequence.case(system)).collect();
        let answers = wrong(system, &table);
        let Some(first) = answers.first() else { continue };
        let name = first.split(": ").next().unwrap_or_default();
        let sequence = sequences.iter().find(|sequence| sequence.name == name).expect("a sequence of that name");
        let short = shorter(sequence, system).case(system);
        let now = wrong(system, &short).join("\n");
        panic!("{} wrong answers; first {first}\nmade shorter:\n{short}\n{now}", answers.len());
    }
}

macro_rules! on {
    ($($name:ident: $system:ident),* $(,)?) => {$(
        #[test]
        fn $name() { against_the_model(System::$system); }
    )*};
}

on!(
    on_ext4: Ext4, on_kernel: Kernel, on_hybrid: Hybrid, on_fuse: Fuse, on_fuse_indexed: FuseIndexed,
    on_fuse_named: FuseNamed, on_fuse_xattr: FuseXattr,
    on_fuse_recorded: FuseRecorded, on_fuser: Fuser, on_fuse3: Fuse3,
);

/// The fuzz target: operations decoded from bytes. It needs a mount each, so it is proptest that
/// finds the bytes and makes them fewer, and not a fuzzer that looks into the kernel.
#[test]
fn fuzzed_operations() {
    let system = System::Fuse;
    if cannot(system) {
        return;
    }
    let cases = u32::try_from(12 * long()).expect("a count");
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 50..600);
    let run = |bytes: Vec<u8>| {
        let sequence = Sequence::choose("fuzzed".into(), &mut Bytes(&bytes), system, bytes.len() / 3);
        let case = sequence.case(system);
        let answers = wrong(system, &case);
        if answers.is_empty() { Ok(()) } else { Err(TestCaseError::fail(format!("{case}\n{}", answers.join("\n")))) }
    };
    if let Err(error) = TestRunner::new(config).run(&bytes, run) {
        panic!("{error}");
    }
}

#[test]
fn the_same_seed_makes_the_same_case() {
    let case = |seed| Sequence::choose("x".into(), &mut Seeded(seed), System::Fuse, 100).case(System::Fuse);
    assert_eq!(case(7), case(7));
    assert_ne!(case(7), case(8));
    assert!(case(7).lines().count() > 80, "{}", case(7));
}
