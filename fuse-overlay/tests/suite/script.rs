//! The tables of cases, as text: one step a line with what it has to answer.
//!
//! ```text
//! == name of the case
//! 1: mkdir d 0755                  in the lowest layer (2, 3: above it; U: in the upper)
//! 2: whiteout d/f
//! rename d e => ok                 inside the mount; `=> ok` may be left out
//!   ? kernel,hybrid EXDEV : key    what these answer, and the key of the reason in `differences.rs`
//! remount                          what follows runs in the next mount of the same layers
//! ```

use crate::systems::System;

/// Steps on a directory of its own.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What the layers hold, lowest first within each.
    pub(crate) layers: Vec<(Layer, String)>,
    /// One list a mount.
    pub(crate) phases: Vec<Vec<Step>>,
    /// Not tried on these, and the reason's key.
    pub(crate) skipped: Vec<Exception>,
}

/// Where a step of the preparation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    Lower(u8),
    Upper,
}

/// One line and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) line: String,
    pub(crate) expected: String,
    pub(crate) exceptions: Vec<Exception>,
}

/// What some file systems answer instead.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    pub(crate) systems: Vec<String>,
    pub(crate) expected: String,
    pub(crate) reason: String,
}

impl Exception {
    fn is_for(&self, system: System) -> bool {
        self.systems.iter().any(|name| system.is(name))
    }
}

impl Step {
    pub(crate) fn expected(&self, system: System) -> &str {
        let exception = self.exceptions.iter().find(|exception| exception.is_for(system));
        exception.map_or(&self.expected, |exception| &exception.expected)
    }
}

impl Case {
    fn new(name: &str) -> Self {
        Self { name: name.into(), layers: Vec::new(), phases: vec![Vec::new()], skipped: Vec::new() }
    }

    pub(crate) fn skips(&self, system: System) -> bool {
        self.skipped.iter().any(|exception| exception.is_for(system)) || !system.has_ids() && self.needs_ids()
    }

    /// Whether somebody but root of the namespace owns or does something.
    fn needs_ids(&self) -> bool {
        let steps = self.phases.iter().flatten().map(|step| &step.line);
        steps.chain(self.layers.iter().map(|(_, line)| line)).any(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let owned = words[0] == "file" && words.len() >= 6 && words[words.len() - 1].parse::<u32>().is_ok();
            owned || ["chown", "as", "setacl"].contains(&words[0]) || line.contains("chown ")
        })
    }

    pub(crate) fn add(&mut self, line: &str, expected: &str) {
        if line == "remount" {
            self.phases.push(Vec::new());
        } else if let Some(phase) = self.phases.last_mut() {
            phase.push(Step { line: line.into(), expected: expected.into(), exceptions: Vec::new() });
        }
    }

    fn read(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix('?') {
            let exception = exception(rest)?;
            let step = self.phases.last_mut().and_then(|steps| steps.last_mut());
            step.ok_or("an exception to nothing")?.exceptions.push(exception);
        } else if let Some(rest) = line.strip_prefix("skip ") {
            self.skipped.push(exception(rest)?);
        } else if let Some((layer, step)) = layer(line) {
            self.layers.push((layer, step.into()));
        } else {
            let (step, expected) = line.split_once(" => ").unwrap_or((line, "ok"));
            self.add(step.trim(), expected.trim());
        }
        Ok(())
    }
}

fn layer(line: &str) -> Option<(Layer, &str)> {
    let (prefix, step) = line.split_once(": ")?;
    match prefix {
        "1" | "2" | "3" => Some((Layer::Lower(prefix.parse().ok()?), step.trim())),
        "U" => Some((Layer::Upper, step.trim())),
        _ => None,
    }
}

fn exception(text: &str) -> Result<Exception, String> {
    let (left, reason) = text.rsplit_once(" : ").ok_or("an exception without the key of its reason")?;
    let (systems, expected) = left.trim().split_once(' ').unwrap_or((left.trim(), ""));
    Ok(Exception {
        systems: systems.split(',').map(str::to_owned).collect(),
        expected: expected.trim().into(),
        reason: reason.trim().into(),
    })
}

/// The cases of a table.
pub(crate) fn parse(text: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case::new(name));
        } else if !line.is_empty() && !line.starts_with('#') {
            let case = cases.last_mut().ok_or("a step before the first case")?;
            case.read(line).map_err(|why| format!("line {}: {why}", number + 1))?;
        }
    }
    Ok(cases)
}

#[test]
fn a_table_is_read() {
    let text = "== a case\n1: mkdir d 0755\nU: file d/f \"x\"\n# why\nrename d e\n  ? kernel EXDEV : redirect\nls d => x: y\nremount\nls e => f\n";
    let cases = parse(text).unwrap();
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].layers[0], (Layer::Lower(1), "mkdir d 0755".into()));
    assert_eq!(cases[0].layers[1].0, Layer::Upper);
    assert_eq!(cases[0].phases.len(), 2);
    let step = &cases[0].phases[0][0];
    assert_eq!((step.expected(System::Kernel), step.expected(System::Ext4)), ("EXDEV", "ok"));
    assert_eq!(cases[0].phases[1][0].expected, "f");
}
