//! The tables, and a test for each of them on each file system.

use std::collections::BTreeSet;

use crate::differences::DIFFERENCES;
use crate::script::{Case, parse};
use crate::systems::System;
use crate::trial::judge;

macro_rules! families {
    ($($family:ident),* $(,)?) => {
        const TABLES: &[(&str, &str)] = &[$((stringify!($family), include_str!(concat!("cases/", stringify!($family), ".cases")))),*];

        $(mod $family {
            use super::{System, judge};
            const TABLE: &str = include_str!(concat!("cases/", stringify!($family), ".cases"));

            #[test]
            fn on_ext4() { judge(System::Ext4, TABLE); }
            #[test]
            fn on_kernel() { judge(System::Kernel, TABLE); }
            #[test]
            fn on_hybrid() { judge(System::Hybrid, TABLE); }
            #[test]
            fn on_fuser() { judge(System::Fuser, TABLE); }
            #[test]
            fn on_fuser_with_named_whiteouts() { judge(System::FuserNamed, TABLE); }
            #[test]
            fn on_fuser_with_whiteouts_in_attributes() { judge(System::FuserXattr, TABLE); }
            #[test]
            fn on_fuse3() { judge(System::Fuse3, TABLE); }
        })*
    };
}

families!(
    acls, attributes, copyup, create, io, limits, links, locks, lookup, maps, open, programs, readdir, rename, unlink,
    xattrs,
);

fn all() -> Vec<(&'static str, Vec<Case>)> {
    TABLES.iter().map(|(family, text)| (*family, parse(text).unwrap_or_else(|why| panic!("{family}: {why}")))).collect()
}

#[test]
fn each_exception_has_a_reason_and_each_reason_is_used() {
    let mut used = BTreeSet::new();
    for (family, cases) in all() {
        for case in &cases {
            let steps = case.phases.iter().flatten().flat_map(|step| &step.exceptions);
            for exception in case.skipped.iter().chain(steps) {
                let unknown: Vec<_> = exception.systems.iter().filter(|name| !System::is_name(name)).collect();
                assert!(unknown.is_empty(), "{family}: {}: no file system {unknown:?}", case.name);
                used.insert(exception.reason.clone());
            }
        }
    }
    let known: BTreeSet<_> = DIFFERENCES.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(used, known);
}

#[test]
fn names_of_cases_are_told_apart() {
    let mut seen = BTreeSet::new();
    for (family, cases) in all() {
        for case in cases {
            assert!(seen.insert((family, case.name.clone())), "{family}: `{}` twice", case.name);
        }
    }
    assert!(seen.len() >= 200, "{} cases", seen.len());
}
