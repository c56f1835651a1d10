//! `build`: from a `boxfile.toml` or `Dockerfile` to an image.
//!
//! The graph says what to do ([`crate::build`]); here it is done, stage by stage. Each step that
//! changes files has a key; its layer is noted under that key as soon as it is there, so that a build
//! that is interrupted goes on where it was. One lease protects all layers while the build lasts, the
//! notes do so afterwards.
//!
//! Images are brought first. Then stages that do not need each other are made side by side ([`crew`]); what they
//! have to know of each other stands in one [`ledger`].

mod agent;
mod base;
mod cache;
mod cache_mount;
mod context;
mod copy;
mod crew;
mod debootstrap;
mod file;
mod image;
mod input;
mod ledger;
mod output;
mod remote;
mod run;
mod source;
mod step;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use serde_json::{Map, Value, json};

use super::Engine;
use super::api::{Build, BuildInput, Built, Event, Failure, FailureKind};
use crate::build::expand::Quotes;
use crate::build::graph::{Action, Argument, Graph, Stage, Step};
use crate::build::plan::{self, Base, Plan};
use crate::build::state::{self, Arguments, State};
use crate::build::{Mistake, dockerfile, key};
use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::store::image::ImageLayer;
use crate::store::{Access, Lease, Store};
use context::Context;
use file::BuildFile;
use ledger::Ledger;

/// What all stages of a build have in common; all threads may look.
struct Common<'s> {
    engine: &'s Engine,
    lease: &'s Lease,
    build: &'s Build,
    file: &'s BuildFile,
    graph: &'s Graph,
    plan: &'s Plan,
    context: &'s Context,
    ledger: &'s Ledger,
    sources: Arguments,
    /// Images that stages begin with.
    bases: BTreeMap<usize, Made>,
    /// Images that files are copied from.
    images: BTreeMap<String, Made>,
    /// How many stages may be made at once.
    at_once: usize,
    /// Whether lines of commands tell which stage they are of.
    prefixed: bool,
}

/// A stage that is being made.
struct Site<'s> {
    engine: &'s Engine,
    store: &'s Store,
    lease: &'s Lease,
    build: &'s Build,
    file: &'s BuildFile,
    graph: &'s Graph,
    plan: &'s Plan,
    context: &'s Context,
    ledger: &'s Ledger,
    sources: Arguments,
    /// Where commands write to.
    output: OwnedFd,
    /// Stages that are done, as far as this one needs them.
    stages: BTreeMap<usize, Made>,
    /// Images that stages begin with.
    bases: BTreeMap<usize, Made>,
    /// Images that files are copied from.
    images: BTreeMap<String, Made>,
    /// The step that it is at, of the total of all stages.
    number: usize,
    total: usize,
    /// What events call it, where several are made at once.
    name: Option<String>,
}

/// What a stage has come to.
#[derive(Clone)]
struct Made {
    state: State,
    layers: Vec<ImageLayer>,
    /// How many of them came with an image.
    below: usize,
    history: Vec<Value>,
    /// Milliseconds since the epoch.
    created: Option<i64>,
    platform: Platform,
}

impl Made {
    /// What all layers together are called.
    fn parent(&self) -> Digest {
        key::of_layers(self.layers.iter().map(|layer| &layer.diff_id))
    }

    /// The configuration so far, as an image would have it.
    fn config(&self) -> Vec<u8> {
        let mut document = platform_fields(&self.platform);
        document.insert("config".to_owned(), Value::Object(self.state.config.clone()));
        document.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": [] }));
        document.insert("history".to_owned(), json!([]));
        Value::Object(document).to_string().into_bytes()
    }
}

fn platform_fields(platform: &Platform) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("architecture".to_owned(), json!(platform.architecture));
    fields.insert("os".to_owned(), json!(platform.os));
    if let Some(variant) = &platform.variant {
        fields.insert("variant".to_owned(), json!(variant));
    }
    fields
}

impl Engine {
    /// Makes an image as a file says.
    ///
    /// # Errors
    /// With the step that fails, and its place in the file; the steps before it are kept.
    pub(in crate::engine) fn build_image(
        &self,
        build: &Build,
        events: &mut dyn FnMut(Event),
    ) -> Result<Built, Failure> {
        self.make_room_for_commands(&build.limits, build.cgroup())?;
        // A context that comes as an archive is there until the end.
        let beside = (build.standard == Some(BuildInput::Context)).then(|| self.store(Access::Write)).transpose()?;
        let input::Input { file, context, .. } = &input::receive(self, beside.as_ref(), build)?;
        let mut graph = file.parse()?;
        let given: BTreeMap<String, String> = build.arguments.iter().cloned().collect();
        let platform = platforms(build.platform.as_ref());
        let own = graph.arguments.clone();
        // Bases may use them without a declaration.
        let always = platform.iter().map(|(name, value)| Argument { name: name.clone(), default: Some(value.clone()) });
        graph.arguments = always.chain(own).collect();
        let plan = plan::plan(&graph, build.target.as_deref(), &given).map_err(|mistake| file.blame(&mistake))?;
        warn_of_unused(&graph, &given, events);
        let global = plan::arguments(&graph, &given).map_err(|mistake| file.blame(&mistake))?;
        let context = Context::open(context, file.ignore(context)?)?;
        let ledger = Ledger::new()?;
        let store = self.store(Access::Write)?;
        let lease = store.lease([])?;
        let sources = Arguments { given, global, platform };
        let (at_once, prefixed) = if plan.is_one_after_another() { (1, false) } else { (processors(), !build.quiet) };
        let common = Common {
            engine: self,
            lease: &lease,
            build,
            file,
            graph: &graph,
            plan: &plan,
            context: &context,
            ledger: &ledger,
            sources,
            bases: BTreeMap::new(),
            images: BTreeMap::new(),
            at_once,
            prefixed,
        };
        let (store, made) = make(common, store, events);
        let store = store.map_or_else(|| self.store(Access::Write), Ok)?;
        store.release(lease)?;
        let built = made.inspect_err(|_| {
            // What is noted stays: the next build goes on with it. The failure is what there is to tell.
            if let Ok(swept) = store.discard_unused(ledger.brought()) {
                let _ = self.remove_foreign(&swept.leftovers);
            }
        })?;
        if ledger.has_unpacked() {
            self.settle_later(events);
        }
        self.tell_image("build", &built.id.to_string(), built.names.first());
        if let Some(path) = &build.id_file {
            std::fs::write(path, built.id.to_string()).map_err(|error| {
                let sentence = format!("write --iidfile {}: {error}", path.display());
                Failure::say(FailureKind::Invalid, sentence).hint(format!("ls -ld {}", path.display()))
            })?;
        }
        Ok(built)
    }
}

/// Makes all that is needed, and the image. Gives the connection to the store back, if it is still there.
fn make(
    mut common: Common<'_>,
    store: Store,
    events: &mut dyn FnMut(Event),
) -> (Option<Store>, Result<Built, Failure>) {
    if let Err(failure) = common.bring_images(&store, events) {
        return (Some(store), Err(failure));
    }
    let (store, stages) = crew::make(&common, store, events);
    let Some(store) = store else {
        let lost = || Failure::say(FailureKind::Internal, "a thread of the build has ended early");
        return (None, stages.and_then(|_| Err(lost())));
    };
    let finished = stages.and_then(|mut stages| {
        let Some(made) = stages.remove(&common.plan.target) else {
            return Err(Failure::say(FailureKind::Internal, "the stage that is wanted was not made"));
        };
        Site::of(&common, &store, output(common.build.quiet)?).finish(&made, events)
    });
    (Some(store), finished)
}

impl Common<'_> {
    /// Brings all images that are needed. One after the other, for a pull has several connections of its own; and before
    /// any stage is begun, for it ends in its own way when it is interrupted.
    fn bring_images(&mut self, store: &Store, events: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        let mut site = Site::of(self, store, output(self.build.quiet)?);
        for index in &self.plan.order {
            let Some(stage) = self.graph.stages.get(*index) else { continue };
            if let Some(Base::Image(_)) = self.plan.bases.get(*index) {
                let base = site.base(*index, events);
                let base =
                    base.map_err(|failure| self.file.at(stage.position, &format!("base {}", stage.base), failure))?;
                site.bases.insert(*index, base);
            }
            for step in &stage.steps {
                for from in step.action.origins() {
                    let brought = site.bring(*index, Some(from), events);
                    brought.map_err(|failure| self.file.at(step.position, &first_line(&step.shown), failure))?;
                }
            }
        }
        (self.bases, self.images) = (site.bases, site.images);
        Ok(())
    }

    /// How many steps there are before the stage `index`; all of them for no stage.
    fn steps_before(&self, index: Option<usize>) -> usize {
        let before = self.plan.order.iter().take_while(|stage| Some(**stage) != index);
        before.map(|stage| self.graph.stages.get(*stage).map_or(0, |stage| stage.steps.len())).sum()
    }

    /// What the stage `index` is called.
    fn name_of(&self, index: usize) -> String {
        let name = self.graph.stages.get(index).and_then(|stage| stage.name.clone());
        name.unwrap_or_else(|| format!("stage-{index}"))
    }
}

impl<'s> Site<'s> {
    fn of(common: &Common<'s>, store: &'s Store, output: OwnedFd) -> Self {
        Self {
            engine: common.engine,
            store,
            lease: common.lease,
            build: common.build,
            file: common.file,
            graph: common.graph,
            plan: common.plan,
            context: common.context,
            ledger: common.ledger,
            sources: common.sources.clone(),
            output,
            stages: BTreeMap::new(),
            bases: common.bases.clone(),
            images: common.images.clone(),
            number: 0,
            total: common.steps_before(None),
            name: None,
        }
    }

    fn stage(&mut self, index: usize, events: &mut dyn FnMut(Event)) -> Result<Made, Failure> {
        let graph = self.graph;
        let Some(stage) = graph.stages.get(index) else {
            return Err(Failure::say(FailureKind::Internal, "there is no such stage"));
        };
        let base = self.base(index, events);
        let mut made =
            base.map_err(|failure| self.file.at(stage.position, &format!("base {}", stage.base), failure))?;
        self.triggers((&mut made, index), stage, events)?;
        for step in &stage.steps {
            self.number += 1;
            let done = self.step(&mut made, (index, step), events);
            done.map_err(|failure| self.file.at(step.position, &first_line(&step.shown), failure))?;
        }
        Ok(made)
    }

    /// Does what the base has for those who build on it.
    fn triggers(
        &mut self,
        (made, index): (&mut Made, usize),
        stage: &Stage,
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        let file = self.file;
        let at = |text: &str, failure| {
            file.at(stage.position, &format!("base {}: ONBUILD {}", stage.base, first_line(text)), failure)
        };
        let mut steps = Vec::new();
        for text in made.state.take_triggers() {
            let read = dockerfile::triggered(&text, stage.position);
            let wrong = |mistake: Mistake| {
                let failure = Failure::say(FailureKind::Invalid, mistake.message);
                at(&text, failure.hint("build on another image, or have this one corrected".to_owned()))
            };
            steps.extend(read.map_err(wrong)?);
        }
        self.total += steps.len();
        let quotes = made.state.read_as(Quotes::Shell);
        for step in &steps {
            self.number += 1;
            let done = self.step(made, (index, step), events);
            done.map_err(|failure| at(&step.shown, failure))?;
        }
        made.state.read_as(quotes);
        Ok(())
    }

    /// Says that a step begins, or need not be done.
    fn tell(&self, step: &Step, cached: bool, events: &mut dyn FnMut(Event)) {
        let text = step.name.clone().unwrap_or_else(|| first_line(&step.shown));
        let (number, total, stage) = (self.number, self.total, self.name.clone());
        events(Event::Step { number, total, text, cached, stage });
    }
}

/// As much of a command as fits a line.
fn first_line(text: &str) -> String {
    let mut lines = text.lines();
    let first: String = lines.next().unwrap_or_default().chars().take(120).collect();
    if first.len() < text.len() { format!("{first} …") } else { first }
}

/// Where commands write: to our standard error, for standard output has the id alone.
fn output(quiet: bool) -> Result<OwnedFd, Failure> {
    let failed = |error: std::io::Error| Failure::say(FailureKind::Host, format!("open /dev/null: {error}"));
    if quiet {
        return File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from).map_err(failed);
    }
    std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)
}

/// As many as there are for us.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// `TARGETARCH` and the like.
fn platforms(wanted: Option<&Platform>) -> BTreeMap<String, String> {
    let host = Platform::host();
    let target = wanted.unwrap_or(&host);
    let mut all = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &host)] {
        for (name, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", platform.variant.clone().unwrap_or_default()),
        ] {
            all.insert(format!("{prefix}{name}"), value);
        }
    }
    all
}

fn warn_of_unused(graph: &Graph, given: &BTreeMap<String, String>, events: &mut dyn FnMut(Event)) {
    let steps = graph.stages.iter().flat_map(|stage| &stage.steps);
    let declared = steps.filter_map(|step| match &step.action {
        Action::Argument(argument) => Some(argument.name.as_str()),
        _ => None,
    });
    let declared: Vec<&str> = declared.chain(graph.arguments.iter().map(|argument| argument.name.as_str())).collect();
    let unused = given.keys().filter(|name| !declared.contains(&name.as_str()) && !state::is_proxy(name));
    for name in unused {
        events(Event::Warning(format!("--build-arg {name} is declared nowhere in the file and has no effect")));
    }
}

/// A mistake of the file as a failure.
fn blamed(name: &str, mistake: &Mistake) -> Failure {
    let failure = Failure::say(FailureKind::Invalid, format!("{name}:{mistake}"));
    failure.hint(mistake.hint.clone().unwrap_or_else(|| format!("correct line {} of {name}", mistake.position.line)))
}
