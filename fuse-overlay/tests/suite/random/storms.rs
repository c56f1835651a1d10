//! Storms of threads (`storm` of the steps) from other seeds than those of the table, on layers
//! chosen at random: whatever happened, the next mount shows the same tree.

use std::fmt::Write as _;

use pybox_fuse_overlay_fuzz::choices::Seeded;

use super::{Sequence, seed, wrong};
use crate::systems::System;
use crate::trial::{cannot, long};

fn storms(system: System) {
    if cannot(system) {
        return;
    }
    let mut table = String::new();
    for number in 0..3 * long() as u64 {
        let seed = seed() + number;
        let layers = Sequence::choose(String::new(), &mut Seeded(seed), system.rules(), 0).layers;
        writeln!(table, "== seed {seed}\n1: mkdir s").expect("write to a string");
        for (layer, path, what) in layers {
            writeln!(table, "{layer}: {}", what.line(&path)).expect("write to a string");
        }
        for phase in 0..3 {
            let tree = format!("{seed}.{phase}");
            table += &format!("storm . 5 120 {}\nsavetree {tree} .\nsametree {tree} . => yes\n", seed * 3 + phase);
            table += &format!("remount\nsametree {tree} . => yes\n");
        }
        table += "sh \"rm -r ./*\" => 0\nremount\nls . => empty\n";
    }
    let answers = wrong(system, &table);
    assert!(answers.is_empty(), "{}", answers.join("\n"));
}

/// The kernel puts a listing together from several answers, and keeps it; a directory that is moved
/// in between is another one to the overlay, with the same entries.
fn listings(system: System) {
    if cannot(system) {
        return;
    }
    let count = 100 * long();
    let mut table = "== moved while listed\n1: mkdir d\n".to_owned();
    for number in 0..count {
        writeln!(table, "1: mkdir d/{number}").expect("write to a string");
        for name in ["a", "b", "c"] {
            writeln!(table, "1: file d/{number}/{name} {name}").expect("write to a string");
        }
    }
    writeln!(table, "race-listing d => {count} times each once").expect("write to a string");
    let answers = wrong(system, &table);
    assert!(answers.is_empty(), "{}", answers.join("\n"));
}

macro_rules! on {
    ($($name:ident: $system:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn storms() { super::storms(super::System::$system); }
            #[test]
            fn listings() { super::listings(super::System::$system); }
        }
    )*};
}

on!(on_ext4: Ext4, on_kernel: Kernel, on_hybrid: Hybrid, on_fuse: Fuse, on_fuse_recorded: FuseRecorded, on_fuser: Fuser, on_fuse3: Fuse3);
