//! Sequences of calls on an overlay, each answered as a model answers it.
//!
//! The first byte says how owners are kept, how the layers hide names, whether the whole tree is looked at after
//! each operation, and whether the kernel forgets everything between two. The second says how many bytes
//! choose what the layers hold; those behind choose operations.

use std::fmt::Write as _;

use pybox_fuse_overlay::Ids;

use crate::bench::Bench;
use crate::choices::{Bytes, Choices as _};
use crate::laying::{self, Whiteouts};
use crate::model::Model;
use crate::operations::Operation;
use crate::player::{Player, name_of};
use crate::rules::Rules;
use crate::sequence::lay_all;

/// As long as a sequence may get.
const MOST: usize = 100;

struct Setting {
    ids: Ids,
    whiteouts: Whiteouts,
    watchful: bool,
    forgetful: bool,
}

impl Setting {
    fn of(byte: u8) -> Self {
        Self {
            ids: [Ids::Real, Ids::Recorded, Ids::Hidden, Ids::Real][usize::from(byte & 3)],
            whiteouts: [Whiteouts::Devices, Whiteouts::Names, Whiteouts::Attributes, Whiteouts::Devices]
                [usize::from(byte >> 2 & 3)],
            watchful: byte & 16 != 0,
            forgetful: byte & 32 != 0,
        }
    }
}

/// What happens between a program and the overlay.
enum Step {
    Do(Operation),
    Forget,
    /// Reads a piece of a listing, or begins with this directory.
    ReadOn(String),
}

/// Sequences of operations, on an overlay and on a model.
///
/// # Panics
/// If an answer or a tree is another than the model's. The message is a case for `tests/suite/cases`.
pub fn operations(bytes: &[u8]) {
    let Some(([setting, split], rest)) = bytes.split_first_chunk::<2>() else { return };
    let (layers, operations) = rest.split_at(rest.len().min(usize::from(*split)));
    let mut trial = Trial::begin(&Setting::of(*setting), layers);
    let mut choices = Bytes(operations);
    for _ in 0..MOST {
        if choices.0.is_empty() {
            break;
        }
        match choose(&mut choices, &trial.model) {
            Step::Do(operation) => trial.put(&operation),
            Step::Forget => trial.forget(),
            Step::ReadOn(path) => {
                trial.read_on(&path);
            }
        }
    }
    trial.end();
}

fn choose(choices: &mut Bytes<'_>, model: &Model) -> Step {
    match choices.below(64) {
        0 | 1 => Step::Do(Operation::Tree),
        2 => Step::Do(Operation::Remount),
        3 | 4 => Step::Forget,
        60..=63 => Step::ReadOn(choose_directory(choices, model)),
        _ => Step::Do(Operation::choose(choices, model)),
    }
}

fn choose_directory(choices: &mut Bytes<'_>, model: &Model) -> String {
    let paths = model.paths();
    if paths.is_empty() { ".".into() } else { paths[choices.below(paths.len())].clone() }
}

struct Trial {
    model: Model,
    player: Player,
    ids: Ids,
    watchful: bool,
    forgetful: bool,
    log: String,
}

impl Trial {
    fn begin(setting: &Setting, choices: &[u8]) -> Self {
        let rules = Rules { overlay: false, has_ids: true, marked: false };
        let mut bench = Bench::new(3);
        bench.ids = setting.ids;
        let chosen = lay_all(&mut Bytes(choices), &mut Model::new(rules), rules);
        let mut model = Model::new(rules);
        let mut log = format!("{:?}, whiteouts are {:?}\n== fuzzed\n", setting.ids, setting.whiteouts);
        for (layer, path, what) in &chosen {
            if model.lay(path, what).is_ok() {
                laying::lay(&bench.layer(3 - usize::from(*layer)), path, what, setting.whiteouts);
                writeln!(log, "{layer}: {}", what.line(path)).expect("write to a string");
            }
        }
        let player = Player::new(bench);
        let (watchful, forgetful) = (setting.watchful, setting.forgetful);
        let mut trial = Self { model, player, ids: setting.ids, watchful, forgetful, log };
        trial.put(&Operation::Tree);
        trial
    }

    /// Without rights, files of others and directories that are closed to their owner are no matter of the overlay's.
    fn possible(&self, operation: &Operation) -> Option<Operation> {
        if rustix::process::geteuid().is_root() {
            return Some(operation.clone());
        }
        match operation {
            Operation::Mkdir(path, mode) => Some(Operation::Mkdir(path.clone(), mode | 0o700)),
            Operation::Chmod(path, mode) => Some(Operation::Chmod(path.clone(), mode | 0o700)),
            Operation::Chown(..) if self.ids == Ids::Real => None,
            other => Some(other.clone()),
        }
    }

    fn put(&mut self, operation: &Operation) {
        let Some(operation) = self.possible(operation).filter(|operation| operation.makes_sense(&self.model)) else {
            return;
        };
        let expected = operation.apply(&mut self.model).unwrap_or_else(str::to_owned);
        let line = operation.line();
        writeln!(self.log, "{line} => {expected}").expect("write to a string");
        // What panics inside is to be seen with what came before it.
        let answer = self.told(|player| player.act(&operation)).unwrap_or_else(name_of);
        assert_eq!(answer, expected, "an answer, the model's\n{}", self.log);
        self.told(Player::watch_reading).expect("a listing");
        if self.forgetful {
            self.forget();
        }
        if self.watchful && !matches!(operation, Operation::Tree) {
            self.put(&Operation::Tree);
        }
    }

    /// Tells what has been done if doing more panics.
    fn told<T>(&mut self, act: impl FnOnce(&mut Player) -> T) -> T {
        struct Told<'a>(&'a str);
        impl Drop for Told<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    tell(self.0);
                }
            }
        }
        let told = Told(&self.log);
        let answer = act(&mut self.player);
        std::mem::forget(told);
        answer
    }

    /// Whether there is more to read.
    fn read_on(&mut self, path: &str) -> bool {
        writeln!(self.log, "# a listing of {path}, or the next piece of the one under way").expect("write to a string");
        match self.told(|player| player.read_on(path)) {
            Ok(more) => more,
            Err(wrong) => panic!("{wrong}, and was there all the time\n{}", self.log),
        }
    }

    fn forget(&mut self) {
        self.log += "# the kernel forgets what is not open\n";
        self.told(Player::forget);
    }

    /// The next mount shows the same tree, and nothing is left where things are made.
    fn end(mut self) {
        self.put(&Operation::Tree);
        self.forget();
        self.put(&Operation::Tree);
        while self.read_on(".") {}
        self.put(&Operation::Remount);
        self.put(&Operation::Tree);
        let litter = self.player.litter();
        assert!(litter.is_empty(), "left in the work directory: {litter:?}\n{}", self.log);
    }
}

#[allow(clippy::print_stderr, reason = "it is what a person has to see of a finding")]
fn tell(log: &str) {
    eprintln!("{log}");
}
