//! The tables, and a test for each of them on each file system.

use std::collections::BTreeSet;

use crate::differences::DIFFERENCES;
use crate::script::{Case, parse};
use crate::systems::System;
use crate::trial::judge;

macro_rules! on {
    ($family:ident: $($test:ident $system:ident),*) => {
        mod $family {
            use super::{System, judge};
            pub(super) const TABLE: &str = include_str!(concat!("cases/", stringify!($family), ".cases"));
            $(
                #[test]
                fn $test() { judge(System::$system, TABLE); }
            )*
        }
    };
}

macro_rules! families {
    (layers: $($layers:ident),*; others: $($other:ident),* $(,)?) => {
        const TABLES: &[(&str, &str)] = &[
            ("readonly", readonly::TABLE),
            $((stringify!($layers), $layers::TABLE),)*
            $((stringify!($other), $other::TABLE),)*
        ];
        on!(readonly: on_fuse FuseReadOnly);
        $(on!($layers: on_ext4 Ext4, on_kernel Kernel, on_hybrid Hybrid, on_fuse Fuse, on_fuse_indexed FuseIndexed,
            on_fuse_named FuseNamed, on_fuse_xattr FuseXattr, on_fuse_recorded FuseRecorded, on_fuser Fuser, on_fuse3 Fuse3);)*
        $(on!($other: on_ext4 Ext4, on_kernel Kernel, on_hybrid Hybrid, on_fuse Fuse, on_fuse_indexed FuseIndexed,
            on_fuse_recorded FuseRecorded, on_fuser Fuser, on_fuse3 Fuse3);)*
    };
}

// The first depend on how layers say that something is not there.
families! {
    layers: copyup, create, lookup, readdir, rename, root, unlink;
    others: acls, attributes, crowds, io, limits, links, locks, maps, open, programs, races, xattrs
}

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
