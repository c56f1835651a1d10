//! `build`: from a `boxfile.toml` or `Dockerfile` to an image.
//!
//! The graph says what to do ([`crate::build`]); here it is done, stage by stage. Each step that
//! changes files has a key; its layer is noted under that key as soon as it is there, so that a build
//! that is interrupted goes on where it was. One lease protects all layers while the build lasts, the
//! notes do so afterwards.

mod base;
mod cache;
mod context;
mod copy;
mod file;
mod image;
mod run;
mod step;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use serde_json::{Map, Value, json};

use super::Engine;
use super::api::{Build, Built, Event, Failure, FailureKind};
use crate::build::graph::{Action, Argument, Graph, Step};
use crate::build::plan::{self, Plan};
use crate::build::state::{self, Arguments, State};
use crate::build::{Mistake, key};
use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::store::image::ImageLayer;
use crate::store::{Access, Lease, Store};
use context::Context;
use file::BuildFile;

/// A build under way.
struct Site<'s> {
    engine: &'s Engine,
    store: &'s Store,
    lease: &'s Lease,
    build: &'s Build,
    file: &'s BuildFile,
    graph: &'s Graph,
    plan: &'s Plan,
    context: &'s Context,
    sources: Arguments,
    /// Where commands write to.
    output: OwnedFd,
    /// What came into the store for this build.
    brought: Vec<Digest>,
    /// Stages that are done.
    stages: BTreeMap<usize, Made>,
    /// Images that files are copied from.
    images: BTreeMap<String, Made>,
    number: usize,
    total: usize,
    /// Whether layers were unpacked, which have to reach the disk.
    unpacked: bool,
}

/// What a stage has come to.
#[derive(Clone)]
struct Made {
    state: State,
    layers: Vec<ImageLayer>,
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
        let file = file::find(build)?;
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
        let context = Context::open(&build.context, file.ignore(&build.context)?)?;
        let store = self.store(Access::Write)?;
        let lease = store.lease([])?;
        let steps = |index: &usize| graph.stages.get(*index).map_or(0, |stage| stage.steps.len());
        let total = plan.order.iter().map(steps).sum();
        let mut brought = Vec::new();
        let made = output(build.quiet).and_then(|output| {
            let mut site = Site {
                engine: self,
                store: &store,
                lease: &lease,
                build,
                file: &file,
                graph: &graph,
                plan: &plan,
                context: &context,
                sources: Arguments { given, global, platform },
                output,
                brought: Vec::new(),
                stages: BTreeMap::new(),
                images: BTreeMap::new(),
                number: 0,
                total,
                unpacked: false,
            };
            let made = site.make(events);
            brought = std::mem::take(&mut site.brought);
            made.map(|built| (built, site.unpacked))
        });
        store.release(lease)?;
        let made = made.inspect_err(|_| {
            // What is noted stays: the next build goes on with it. The failure is what there is to tell.
            if let Ok(swept) = store.discard_unused(brought) {
                let _ = self.remove_foreign(&swept.leftovers);
            }
        });
        let (built, unpacked) = made?;
        if unpacked {
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

impl Site<'_> {
    fn make(&mut self, events: &mut dyn FnMut(Event)) -> Result<Built, Failure> {
        for index in self.plan.order.clone() {
            let made = self.stage(index, events)?;
            self.stages.insert(index, made);
        }
        let Some(made) = self.stages.remove(&self.plan.target) else {
            return Err(Failure::say(FailureKind::Internal, "the stage that is wanted was not made"));
        };
        self.finish(&made, events)
    }

    fn stage(&mut self, index: usize, events: &mut dyn FnMut(Event)) -> Result<Made, Failure> {
        let graph = self.graph;
        let Some(stage) = graph.stages.get(index) else {
            return Err(Failure::say(FailureKind::Internal, "there is no such stage"));
        };
        let base = self.base(index, events);
        let mut made =
            base.map_err(|failure| self.file.at(stage.position, &format!("base {}", stage.base), failure))?;
        for step in &stage.steps {
            self.number += 1;
            let done = self.step(&mut made, (index, step), events);
            done.map_err(|failure| self.file.at(step.position, &first_line(&step.shown), failure))?;
        }
        Ok(made)
    }

    /// Says that a step begins, or need not be done.
    fn tell(&self, step: &Step, cached: bool, events: &mut dyn FnMut(Event)) {
        let text = step.name.clone().unwrap_or_else(|| first_line(&step.shown));
        events(Event::Step { number: self.number, total: self.total, text, cached });
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
