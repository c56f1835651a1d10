//! What a stage begins with.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::context::{Asked, Looks};
use super::step::invalid;
use super::{Made, Site};
use crate::build::expand::{self, Quotes};
use crate::build::plan::Base;
use crate::build::state::State;
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::images::{layer_of, receive_archive};
use crate::model::container::{ContainerRequest, PullPolicy};
use crate::model::flags::words;
use crate::model::platform::Platform;
use crate::snapshot::pack::Times;
use crate::snapshot::worker::view::Dress;
use crate::store::Spool;
use crate::store::image::{CONFIG_LIMIT, ImageLayer};

impl Site<'_> {
    /// The beginning of the stage `index`.
    pub(super) fn base(&mut self, index: usize, events: &mut dyn FnMut(Event)) -> Result<Made, Failure> {
        if let Some(brought) = self.bases.get(&index) {
            return Ok(brought.clone());
        }
        let stage = self.graph.stages.get(index);
        let platform = stage.and_then(|stage| stage.platform.as_deref()).map(|text| self.platform(text)).transpose()?;
        let platform = platform.or_else(|| self.build.platform.clone());
        match self.plan.bases.get(index).unwrap_or(&Base::Scratch).clone() {
            Base::Scratch => Ok(self.nothing(platform)),
            Base::Stage(number) => {
                let below = self.stages.get(&number).cloned();
                let below = below.ok_or_else(|| Failure::say(FailureKind::Internal, "the base was not made"))?;
                Ok(Made { state: below.state.child(), ..below })
            }
            Base::Image(name) => self.image(&name, platform, events),
            Base::Rootfs(path) => {
                let layer = self.rootfs(&path, events)?;
                Ok(self.with_layer(platform, layer, &format!("rootfs:{path}")))
            }
            Base::Debootstrap(suite) => {
                let layer = self.debootstrap(&suite, events)?;
                let mut made = self.with_layer(platform, layer, &format!("debootstrap:{suite}"));
                made.state.config.insert("Cmd".to_owned(), json!(["bash"]));
                Ok(made)
            }
        }
    }

    fn platform(&self, text: &str) -> Result<Platform, Failure> {
        let sources = &self.sources;
        let lookup = |name: &str| sources.global.get(name).or_else(|| sources.platform.get(name)).cloned();
        let text = expand::expand(text, Quotes::Shell, &lookup).map_err(invalid)?;
        words::platform(&text).map_err(|error| Failure::new(FailureKind::Invalid, &error))
    }

    fn state(&self, config: Map<String, Value>) -> State {
        State::new(config, self.sources.clone(), self.graph.quotes)
    }

    fn nothing(&self, platform: Option<Platform>) -> Made {
        let platform = platform.unwrap_or_else(Platform::host);
        let created = self.epoch();
        Made { state: self.state(Map::new()), layers: Vec::new(), below: 0, history: Vec::new(), created, platform }
    }

    fn with_layer(&self, platform: Option<Platform>, layer: ImageLayer, what: &str) -> Made {
        let mut made = self.nothing(platform);
        made.layers.push(layer);
        made.history.push(json!({ "created_by": what }));
        made
    }

    /// The latest time that the image may have, in milliseconds.
    pub(super) fn epoch(&self) -> Option<i64> {
        self.build.epoch.map(|seconds| i64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
    }

    /// An image that is here, or is brought.
    pub(super) fn image(
        &mut self,
        name: &str,
        platform: Option<Platform>,
        events: &mut dyn FnMut(Event),
    ) -> Result<Made, Failure> {
        let pull = if self.build.pull { PullPolicy::Newer } else { PullPolicy::Missing };
        let request = ContainerRequest { image: name.to_owned(), pull, platform, ..ContainerRequest::default() };
        let image = self.engine.image_for(self.store, &request, events)?;
        let layers = image.layers.iter().flat_map(|layer| [&layer.blob, &layer.diff_id]);
        self.store.extend_lease(self.lease, layers.chain([&image.id, &image.manifest]))?;
        let text = self.store.read_blob(&image.id, CONFIG_LIMIT)?;
        let damaged = |error: serde_json::Error| {
            let sentence = format!("read the configuration of image {}: {error}", image.id.short());
            Failure::say(FailureKind::Corrupt, sentence).hint(format!("pybox pull {name}"))
        };
        let document: Map<String, Value> = serde_json::from_slice(&text).map_err(damaged)?;
        let config = document.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut state = self.state(config);
        state.author = document.get("author").and_then(Value::as_str).map(str::to_owned);
        let history = document.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
        let created = self.epoch().or(image.created);
        let below = image.layers.len();
        Ok(Made { state, layers: image.layers, below, history, created, platform: image.platform })
    }

    /// A directory or archive of the context as a layer.
    fn rootfs(&mut self, path: &str, events: &mut dyn FnMut(Event)) -> Result<ImageLayer, Failure> {
        let mut items = self.context.find(&Asked::path(path))?;
        let (Some(item), true) = (items.pop(), items.is_empty()) else {
            return Err(invalid(format!("{path:?} means several files")));
        };
        let mut spool = self.store.spool()?;
        if item.directory {
            let times = self.build.epoch.map_or(Times::Kept, Times::AtMost);
            let looks = Looks { name: "", dress: Dress::default(), times, exclude: &[] };
            let mut output = Spooling { spool: &mut spool, failure: None };
            let buffered = io::BufWriter::with_capacity(256 << 10, &mut output);
            let packed = self.context.pack(&item, looks, buffered);
            if let Some(failure) = output.failure {
                return Err(failure);
            }
            packed.map_err(|error| self.context.failed(&error))?;
        } else {
            let halt = self.ledger.halt();
            halt.or(receive_archive(halt.heed(self.context.read(&item)?)?, Path::new(path), &mut spool))?;
        }
        self.imported(spool, events)
    }

    /// A layer of what has come.
    pub(super) fn imported(&mut self, spool: Spool, events: &mut dyn FnMut(Event)) -> Result<ImageLayer, Failure> {
        let (digest, size) = (spool.digest(), spool.length());
        self.store.extend_lease(self.lease, [&digest])?;
        self.ledger.bring(digest);
        let blob = spool.commit()?;
        let layer = layer_of(self.store, (blob, size), self.ledger.halt())?;
        self.store.extend_lease(self.lease, [&layer.diff_id])?;
        self.ledger.bring(layer.diff_id.clone());
        self.unpack(&layer, events)?;
        self.ledger.unpacked();
        Ok(layer)
    }
}

/// The spool as something to write to; keeps what went wrong.
struct Spooling<'s> {
    spool: &'s mut Spool,
    failure: Option<Failure>,
}

impl io::Write for Spooling<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.spool.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                self.failure.get_or_insert(failure.into());
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
