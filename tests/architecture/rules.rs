//! The rules themselves: each reads the tree and answers with its breaches,
//! one line each, `src/file:line: what`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Tree};

/// Rooms and their floors. A room may use those of lower floors only.
const FLOORS: &[(&str, u8)] = &[
    ("model", 1),
    ("sys", 1),
    ("build", 2),
    ("spec", 2),
    ("launch", 2),
    ("store", 2),
    ("registry", 2),
    ("snapshot", 2),
    ("logs", 2),
    ("network", 2),
    ("emulation", 2),
    ("cgroup", 2),
    ("units", 2),
    ("monitor", 3),
    ("engine", 4),
    ("daemon", 5),
    ("cli", 6),
    ("lib", 7),
    ("main", 7),
    ("bin", 7),
];

/// Arrows on one floor that are meant: a kernel door may speak the plain data of `model`.
const LEVEL_ARROWS: &[(&str, &str)] = &[("sys", "model")];

/// `launch` is to know a spec and file descriptors, nothing of ours above them.
const FORBIDDEN_ARROWS: &[(&str, &str)] = &[("launch", "model")];

const LONGEST_FILE: usize = 500;

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

fn outside<'a>(tree: &'a Tree, rooms: &'a [&str]) -> impl Iterator<Item = &'a Source> {
    tree.files.iter().filter(|file| !file.is_test() && !rooms.contains(&file.room().as_str()))
}

pub(crate) fn rooms_without_floor(tree: &Tree) -> Vec<String> {
    let unknown = tree.files.iter().filter(|file| floor(&file.room()).is_none());
    unknown.map(|file| format!("src/{}: room `{}`", file.path.display(), file.room())).collect()
}

pub(crate) fn upward_arrows(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in &tree.files {
        let room = file.room();
        for (line, used) in file.rooms_used() {
            let (Some(from), Some(to)) = (floor(&room), floor(&used)) else { continue };
            let arrow = (room.as_str(), used.as_str());
            let level = from == to && !LEVEL_ARROWS.contains(&arrow);
            if room != used && (to > from || level || FORBIDDEN_ARROWS.contains(&arrow)) {
                breaches.push(format!(
                    "src/{}:{line}: {room} (floor {from}) uses {used} (floor {to})",
                    file.path.display()
                ));
            }
        }
    }
    breaches
}

pub(crate) fn circles(tree: &Tree) -> Vec<String> {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in &tree.files {
        let room = file.room();
        let used = file.rooms_used().into_iter().map(|(_, used)| used);
        let used = used.filter(|used| *used != room && floor(used).is_some());
        arrows.entry(room.clone()).or_default().extend(used);
    }
    // Rooms that nothing (left) depends on fall away; what stays forms circles.
    loop {
        let used: BTreeSet<String> = arrows.values().flatten().cloned().collect();
        let before = arrows.len();
        arrows.retain(|room, _| used.contains(room));
        if arrows.len() == before {
            break;
        }
    }
    let targets: BTreeSet<&String> = arrows.keys().collect();
    let inside = arrows.iter().filter(|(_, used)| used.iter().any(|room| targets.contains(room)));
    inside.map(|(room, used)| format!("{room} -> {}", used.iter().cloned().collect::<Vec<_>>().join(", "))).collect()
}

pub(crate) fn stray_unsafe(tree: &Tree) -> Vec<String> {
    outside(tree, &["sys"]).flat_map(|file| file.mentions(&["unsafe"])).collect()
}

pub(crate) fn stray_async(tree: &Tree) -> Vec<String> {
    let allowed = |file: &&Source| !file.path.ends_with("monitor/client.rs");
    let files = outside(tree, &["engine", "registry", "cli", "daemon"]).filter(allowed);
    files.flat_map(|file| file.mentions(&["tokio", "async", "await"])).collect()
}

pub(crate) fn stray_printing(tree: &Tree) -> Vec<String> {
    let words = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    outside(tree, &["cli", "main", "bin"]).flat_map(|file| file.mentions(&words)).collect()
}

pub(crate) fn stray_environment(tree: &Tree) -> Vec<String> {
    let words = ["env::var", "env::var_os", "env::vars", "env::vars_os", "env::home_dir", "env::args", "env::args_os"];
    outside(tree, &["cli", "main", "bin"]).flat_map(|file| file.mentions(&words)).collect()
}

pub(crate) fn long_files(tree: &Tree) -> Vec<String> {
    let length = |file: &Source| file.text.lines().count();
    let long = tree.files.iter().filter(|file| length(file) > LONGEST_FILE);
    long.map(|file| format!("src/{}: {} lines", file.path.display(), length(file))).collect()
}

pub(crate) fn silent_modules(tree: &Tree) -> Vec<String> {
    let silent = tree.files.iter().filter(|file| !file.is_test() && !file.text.starts_with("//!"));
    silent.map(|file| format!("src/{}", file.path.display())).collect()
}

pub(crate) fn drawers(tree: &Tree) -> Vec<String> {
    let words = ["util", "utils", "common", "helper", "helpers", "misc", "manager"];
    let named = |file: &&Source| {
        file.path.components().any(|part| words.contains(&part.as_os_str().to_string_lossy().trim_end_matches(".rs")))
    };
    tree.files.iter().filter(named).map(|file| format!("src/{}", file.path.display())).collect()
}

/// The names of all failpoints, sorted.
pub(crate) fn failpoints(tree: &Tree) -> Vec<String> {
    let mut names = BTreeSet::new();
    for file in &tree.files {
        for macro_of in ["failpoint::reach!(\"", "failpoint::fails!(\""] {
            let found = file
                .text
                .match_indices(macro_of)
                .filter_map(|(at, _)| file.text[at + macro_of.len()..].split('"').next());
            names.extend(found.map(str::to_owned));
        }
    }
    names.into_iter().collect()
}

/// What stands in the files of a directory.
pub(crate) fn text_of(directory: &std::path::Path) -> String {
    let entries = std::fs::read_dir(directory).expect("read a directory of tests").flatten();
    entries.map(|entry| std::fs::read_to_string(entry.path()).expect("read a test")).collect()
}

/// Which of `texts` stand in a file, however large; grep is quicker than a debug build.
pub(crate) fn found_in(file: impl AsRef<std::ffi::OsStr>, texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut grep = std::process::Command::new("grep");
    grep.args(["--text", "--only-matching", "--fixed-strings"]).env("LC_ALL", "C");
    for text in texts {
        grep.args(["-e", &text]);
    }
    let output = grep.arg("--").arg(file).output().expect("grep");
    let found: BTreeSet<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    found.into_iter().collect()
}
