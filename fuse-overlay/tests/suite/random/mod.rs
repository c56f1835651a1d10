//! Random operations against a model. What fails is made shorter, and printed as a case that
//! can stand in a table.

mod data;
mod shrink;
mod storms;

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use pybox_fuse_overlay_fuzz::choices::{Bytes, Seeded};
use pybox_fuse_overlay_fuzz::sequence::Sequence;

use crate::systems::System;
use crate::trial::{Trial, cannot, long};
use shrink::shrink;

/// What a file system answers otherwise than the model; only entries of a tree that differ are told.
fn wrong(system: System, table: &str) -> Vec<String> {
    Trial::new(system, table).run()
}

/// Leaves out operations and then parts of layers while it still fails.
fn shorter(sequence: &Sequence, system: System) -> Sequence {
    let mut best = sequence.clone();
    let fails = |sequence: &Sequence| !wrong(system, &sequence.case(system.rules())).is_empty();
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
                Sequence::choose(format!("seed {seed}"), &mut Seeded(seed), system.rules(), 180)
            })
            .collect();
        let table: String = sequences.iter().map(|sequence| sequence.case(system.rules())).collect();
        let answers = wrong(system, &table);
        let Some(first) = answers.first() else { continue };
        let name = first.split(": ").next().unwrap_or_default();
        let sequence = sequences.iter().find(|sequence| sequence.name == name).expect("a sequence of that name");
        let short = shorter(sequence, system).case(system.rules());
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

/// Operations decoded from bytes as by the fuzz target of that name. That one calls the core; here the kernel
/// stands between, and each sequence needs a mount, so it is proptest that finds the bytes and makes them fewer.
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
        let sequence = Sequence::choose("fuzzed".into(), &mut Bytes(&bytes), system.rules(), bytes.len() / 3);
        let case = sequence.case(system.rules());
        let answers = wrong(system, &case);
        if answers.is_empty() { Ok(()) } else { Err(TestCaseError::fail(format!("{case}\n{}", answers.join("\n")))) }
    };
    if let Err(error) = TestRunner::new(config).run(&bytes, run) {
        panic!("{error}");
    }
}

#[test]
fn the_same_seed_makes_the_same_case() {
    let case =
        |seed| Sequence::choose("x".into(), &mut Seeded(seed), System::Fuse.rules(), 100).case(System::Fuse.rules());
    assert_eq!(case(7), case(7));
    assert_ne!(case(7), case(8));
    assert!(case(7).lines().count() > 80, "{}", case(7));
}
