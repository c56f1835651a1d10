//! Which stages have to be made, and what each of them begins with.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{self, Quotes};
use super::graph::{Action, Cache, Graph, Mount, Stage};
use super::{Mistake, Position};

/// What a stage begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image by name or id.
    Image(String),
    /// A directory or archive of the host.
    Rootfs(String),
    /// Debian's packages of this suite.
    Debootstrap(String),
    /// The stage with this number.
    Stage(usize),
}

/// Where files come from that are not of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The stage with this number.
    Stage(usize),
    /// An image.
    Image(String),
}

/// What has to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The stages that are needed, each after those that it needs.
    pub order: Vec<usize>,
    /// What each stage of the graph begins with.
    pub bases: Vec<Base>,
    /// The stage that is wanted.
    pub target: usize,
    /// What each stage of the graph needs of the others; nothing of those that are not made.
    pub needs: Vec<Vec<usize>>,
}

impl Plan {
    /// Stages that can be made now: not `begun`, and all they need is `done`.
    pub fn ready(&self, begun: &BTreeSet<usize>, done: &BTreeSet<usize>) -> Vec<usize> {
        let needs = |stage: &usize| self.needs.get(*stage).map_or(&[][..], Vec::as_slice);
        let ready = |stage: &&usize| !begun.contains(*stage) && needs(stage).iter().all(|need| done.contains(need));
        self.order.iter().filter(ready).copied().collect()
    }

    /// Whether each stage needs the one before it, so that no two can be made at the same time.
    pub fn is_one_after_another(&self) -> bool {
        self.order.windows(2).all(|pair| match pair {
            [before, after] => self.needs.get(*after).is_some_and(|needs| needs.contains(before)),
            _ => true,
        })
    }
}

/// Finds out what has to be made for the stage `target`, the last one if there is none.
///
/// # Errors
/// If there is no such stage, or a base makes no sense.
pub fn plan(graph: &Graph, target: Option<&str>, given: &BTreeMap<String, String>) -> Result<Plan, Mistake> {
    let arguments = arguments(graph, given)?;
    let mut bases = Vec::new();
    for (index, stage) in graph.stages.iter().enumerate() {
        let lookup = |name: &str| arguments.get(name).cloned();
        let text = expand::expand(&stage.base, Quotes::Shell, &lookup);
        let text = text.map_err(|why| Mistake::new(stage.position, format!("base {:?}: {why}", stage.base)))?;
        bases.push(base(graph, index, &text, stage.position)?);
    }
    let last = graph.stages.len().checked_sub(1);
    let target = match target {
        None => last.ok_or_else(|| Mistake::new(Position { line: 1, column: 1 }, "there is no stage"))?,
        Some(name) => {
            let number = || name.parse::<usize>().ok().filter(|number| *number < graph.stages.len());
            stage_named(&graph.stages, name).or_else(number).ok_or_else(|| unknown_target(graph, name))?
        }
    };
    let mut made = Plan { order: Vec::new(), needs: vec![Vec::new(); bases.len()], bases, target };
    visit(graph, target, &mut made);
    Ok(made)
}

/// The values of the arguments that bases may use.
///
/// # Errors
/// If a default makes no sense.
pub fn arguments(graph: &Graph, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Mistake> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for argument in &graph.arguments {
        let value = match (given.get(&argument.name), &argument.default) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => {
                let lookup = |name: &str| known.get(name).cloned();
                expand::expand(default, graph.quotes, &lookup).map_err(|why| {
                    let position = Position { line: 1, column: 1 };
                    Mistake::new(position, format!("the default of the argument {}: {why}", argument.name))
                })?
            }
            (None, None) => continue,
        };
        known.insert(argument.name.clone(), value);
    }
    Ok(known)
}

/// What `from` means to the stage `index`: an earlier one by name or number, or an image.
pub fn origin(stages: &[Stage], index: usize, from: &str) -> Origin {
    let earlier = stages.get(..index).unwrap_or_default();
    let number = || from.parse::<usize>().ok().filter(|number| *number < index);
    stage_named(earlier, from).or_else(number).map_or_else(|| Origin::Image(from.to_owned()), Origin::Stage)
}

fn stage_named(stages: &[Stage], name: &str) -> Option<usize> {
    let named = |stage: &Stage| stage.name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name));
    stages.iter().rposition(named)
}

fn unknown_target(graph: &Graph, name: &str) -> Mistake {
    let names: Vec<&str> = graph.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    let hint = if names.is_empty() {
        "no stage has a name; leave --target out".to_owned()
    } else {
        format!("there are the stages {}", names.join(", "))
    };
    Mistake::new(Position { line: 1, column: 1 }, format!("there is no stage {name:?}")).hint(hint)
}

fn base(graph: &Graph, index: usize, text: &str, position: Position) -> Result<Base, Mistake> {
    let named = |rest: &str, what: &str, example: &str| {
        if rest.is_empty() {
            return Err(Mistake::new(position, format!("base {text:?} names no {what}")).hint(example));
        }
        Ok(rest.to_owned())
    };
    let earlier = graph.stages.get(..index).unwrap_or_default();
    match text {
        "" => Err(Mistake::new(position, "the base is empty").hint("name an image, or scratch")),
        _ if stage_named(earlier, text).is_some() => Ok(Base::Stage(stage_named(earlier, text).unwrap_or_default())),
        "scratch" => Ok(Base::Scratch),
        text => {
            if let Some(path) = text.strip_prefix("rootfs:") {
                return named(path, "directory or archive", "as in rootfs:./rootfs.tar").map(Base::Rootfs);
            }
            let Some(suite) = text.strip_prefix("debootstrap:") else { return Ok(Base::Image(text.to_owned())) };
            let suite = named(suite, "suite", "as in debootstrap:trixie")?;
            // It becomes a word of a command.
            if suite.starts_with('-') || !suite.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
                return Err(Mistake::new(position, format!("{suite:?} is no suite")).hint("as in debootstrap:trixie"));
            }
            Ok(Base::Debootstrap(suite))
        }
    }
}

/// What a stage needs comes before it.
fn visit(graph: &Graph, index: usize, plan: &mut Plan) {
    if plan.order.contains(&index) {
        return;
    }
    let mut needs = BTreeSet::new();
    if let Some(Base::Stage(below)) = plan.bases.get(index) {
        needs.insert(*below);
    }
    for step in graph.stages.get(index).iter().flat_map(|stage| &stage.steps) {
        for from in step.action.origins() {
            if let Origin::Stage(needed) = origin(&graph.stages, index, from) {
                needs.insert(needed);
            }
        }
    }
    needs.iter().for_each(|needed| visit(graph, *needed, plan));
    if let Some(known) = plan.needs.get_mut(index) {
        known.extend(needs);
    }
    plan.order.push(index);
}

impl Action {
    /// What it names that files come from: stages and images.
    pub fn origins(&self) -> Vec<&String> {
        match self {
            Self::Copy(copy) => copy.from.iter().collect(),
            Self::Run(run) => run.mounts.iter().filter_map(from_of).collect(),
            _ => Vec::new(),
        }
    }
}

fn from_of(mount: &Mount) -> Option<&String> {
    match mount {
        Mount::Bind { from, .. } | Mount::Cache(Cache { from, .. }) => from.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::{Argument, Copy, Step};
    use super::*;

    fn stage(name: Option<&str>, base: &str, from: &[&str]) -> Stage {
        let step = |from: &&str| Step {
            name: None,
            shown: String::new(),
            action: Action::Copy(Copy { from: Some((*from).to_owned()), ..Copy::default() }),
            position: Position::default(),
        };
        let steps = from.iter().map(step).collect();
        Stage { name: name.map(Into::into), base: base.into(), steps, ..Stage::default() }
    }

    fn graph(stages: Vec<Stage>) -> Graph {
        let argument = Argument { name: "TAG".into(), default: Some("12".into()) };
        Graph { arguments: vec![argument], stages, ..Graph::default() }
    }

    #[test]
    fn only_what_is_needed_and_in_its_order() {
        let stages = || {
            vec![
                stage(Some("tools"), "debian:$TAG", &[]),
                stage(Some("unused"), "scratch", &[]),
                stage(Some("build"), "Tools", &["docs:1"]),
                stage(None, "scratch", &["build", "0"]),
            ]
        };
        let made = plan(&graph(stages()), None, &BTreeMap::new()).expect("a plan");
        assert_eq!(made.order, [0, 2, 3]);
        let bases = [Base::Image("debian:12".into()), Base::Scratch, Base::Stage(0), Base::Scratch];
        assert_eq!(made.bases, bases);
        let made = plan(&graph(stages()), Some("BUILD"), &[("TAG".into(), "13".into())].into()).expect("a plan");
        assert_eq!((made.order, made.target), (vec![0, 2], 2));
        assert_eq!(made.bases.first(), Some(&Base::Image("debian:13".into())));
        assert_eq!(origin(&stages(), 2, "2"), Origin::Image("2".into()), "not itself");
    }

    #[test]
    fn stages_that_do_not_need_each_other_can_be_made_at_once() {
        let stages = vec![
            stage(Some("a"), "x", &[]),
            stage(Some("b"), "x", &[]),
            stage(Some("c"), "b", &[]),
            stage(None, "x", &["a", "c"]),
        ];
        let made = plan(&graph(stages), None, &BTreeMap::new()).expect("a plan");
        assert_eq!(made.needs, [vec![], vec![], vec![1], vec![0, 2]]);
        for (begun, done, ready) in [
            (vec![], vec![], vec![0, 1]),
            (vec![0, 1], vec![0], vec![]),
            (vec![0, 1], vec![1], vec![2]),
            (vec![0, 1, 2], vec![0, 1, 2], vec![3]),
        ] {
            let set = |stages: &[usize]| stages.iter().copied().collect();
            assert_eq!(made.ready(&set(&begun), &set(&done)), ready, "{begun:?} {done:?}");
        }
        assert!(!made.is_one_after_another());
        let chain = vec![stage(Some("a"), "x", &[]), stage(Some("b"), "a", &[]), stage(None, "y", &["b", "a"])];
        assert!(plan(&graph(chain), None, &BTreeMap::new()).expect("a plan").is_one_after_another());
    }

    #[test]
    fn bases_that_make_no_sense() {
        for (base, why) in [
            ("$NONE", "the base is empty"),
            ("rootfs:", "names no directory"),
            ("debootstrap:", "names no suite"),
            ("debootstrap:--hook=x", "is no suite"),
            ("debootstrap:a b", "is no suite"),
            ("${TAG", "followed by none of"),
        ] {
            let mistake = plan(&graph(vec![stage(None, base, &[])]), None, &BTreeMap::new()).expect_err(base);
            assert!(mistake.message.contains(why), "{base}: {mistake}");
        }
        let mistake = plan(&graph(vec![stage(Some("a"), "scratch", &[])]), Some("b"), &BTreeMap::new());
        assert_eq!(mistake.expect_err("no stage").hint.as_deref(), Some("there are the stages a"));
        assert!(plan(&graph(vec![]), None, &BTreeMap::new()).is_err());
    }
}
