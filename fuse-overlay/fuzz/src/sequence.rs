//! Layers and operations on them, chosen by numbers, and as a case of `tests/suite/cases`.

use std::fmt::Write as _;

use crate::choices::Choices;
use crate::model::Model;
use crate::operations::{self, Laid, Operation};
use crate::rules::Rules;

/// What is done, before it is known what has to come of it.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// What it is called as a case.
    pub name: String,
    /// The layers from the lowest, 1, to the topmost, 3: path and what is laid there.
    pub layers: Vec<(u8, String, Laid)>,
    /// What is done in the mount.
    pub operations: Vec<Operation>,
}

impl Sequence {
    /// Chooses layers and so many operations.
    pub fn choose(name: String, choices: &mut impl Choices, rules: Rules, length: usize) -> Self {
        let mut model = Model::new(rules);
        let mut sequence = Self { name, layers: lay_all(choices, &mut model, rules), operations: Vec::new() };
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
    #[must_use]
    pub fn case(&self, rules: Rules) -> String {
        let mut model = Model::new(rules);
        let mut case = format!("== {}\n", self.name);
        if let Some((name, value)) = rules.mark() {
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

/// What three layers have, and the model of what they look like together.
pub(crate) fn lay_all(choices: &mut impl Choices, model: &mut Model, rules: Rules) -> Vec<(u8, String, Laid)> {
    let mut layers = Vec::new();
    for layer in 1..=3 {
        let mut laid = Vec::new();
        lay(choices, model, rules, "", &mut laid);
        layers.extend(laid.into_iter().map(|(path, what)| (layer, path, what)));
    }
    layers
}

/// What one layer has in a directory; the model sees it above what lower layers have.
fn lay(choices: &mut impl Choices, model: &mut Model, rules: Rules, dir: &str, laid: &mut Vec<(String, Laid)>) {
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
            9 if !files.is_empty() && !rules.overlay => Laid::Same(files[choices.below(files.len())].clone()),
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
                lay(choices, model, rules, &path, laid);
            }
            Laid::File(..) => files.push(path),
            _ => {}
        }
    }
}
