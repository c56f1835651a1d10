//! One step: found in the cache, or done and put there.

use serde_json::{Value, json};

use super::ledger::Turn;
use super::{Made, Site};
use crate::build::graph::{Action, Step};
use crate::build::key;
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::containers::bench::Ground;
use crate::engine::images::pressing::Press;
use crate::model::digest::Digest;
use crate::monitor::record;
use crate::store::build_cache::CachedStep;
use crate::store::image::ImageLayer;
use crate::sys::failpoint;

impl Site<'_> {
    pub(super) fn step(
        &mut self,
        made: &mut Made,
        (index, step): (usize, &Step),
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        self.ledger.halt().check()?;
        match &step.action {
            Action::Run(run) => return self.run(made, (index, step, run), events),
            Action::Copy(copy) => return self.copy(made, (index, step, copy), events),
            other => made.state.apply(other).map_err(invalid)?,
        };
        if let Action::Directory(_) = step.action {
            return self.directory(made, step, events);
        }
        self.tell(step, false, events);
        // Declarations leave no trace in an image.
        if !matches!(step.action, Action::Argument(_)) {
            made.note(step, None);
        }
        Ok(())
    }

    /// The working directory is there from now on.
    fn directory(&mut self, made: &mut Made, step: &Step, events: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        let path = made.state.directory().to_owned();
        let key = key::of(&made.parent(), &json!({ "directory": path, "epoch": self.build.epoch }), []);
        let config = made.config();
        let layers = made.layers.clone();
        self.cached(made, (key, step), events, |site, press, _| {
            let ground = Ground { layers: &layers, config: &config };
            let bench = site.engine.bench(site.store, ground)?;
            bench.place((&path, (0, 0)), |writer| {
                // An archive of nothing: two empty blocks.
                let written = std::io::Write::write_all(&mut std::fs::File::from(writer), &[0; 1024]);
                written.map_err(crate::snapshot::failure::SnapshotError::Wire)
            })?;
            bench.pack(site.build.epoch, Vec::new(), press)
        })
    }

    /// Takes what the step has made before, or has it made by `work`, which says whether anything changed.
    pub(super) fn cached(
        &mut self,
        made: &mut Made,
        (key, step): (Digest, &Step),
        events: &mut dyn FnMut(Event),
        work: impl FnOnce(&Self, &mut Press, &mut dyn FnMut(Event)) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let work = |site: &Self, press: &mut Press, events: &mut dyn FnMut(Event)| {
            work(site, press, events).map(|changed| (changed, key.clone()))
        };
        self.cached_as(made, (&key, step), events, work).map(drop)
    }

    /// The same for work that reads what may change meanwhile: it says under which key its layer belongs,
    /// by what it has really read. Returns the key that it is noted under.
    pub(super) fn cached_as(
        &mut self,
        made: &mut Made,
        (key, step): (&Digest, &Step),
        events: &mut dyn FnMut(Event),
        work: impl FnOnce(&Self, &mut Press, &mut dyn FnMut(Event)) -> Result<(bool, Digest), Failure>,
    ) -> Result<Digest, Failure> {
        if let Some(cached) = self.known(key)? {
            self.tell(step, true, events);
            made.take(&cached, step);
            return Ok(key.clone());
        }
        let claim = match self.ledger.turn(key)? {
            Turn::Mine(claim) => claim,
            Turn::Done(cached) => {
                self.tell(step, true, events);
                made.take(&cached, step);
                return Ok(key.clone());
            }
        };
        self.tell(step, false, events);
        if self.ledger.begins() {
            self.engine.tell_builders_of_owners(self.store, events)?;
        }
        let mut press = Press::new(self.store, self.build.compression)?;
        let (changed, noted) = work(self, &mut press, events)?;
        failpoint::reach!("build.step_done");
        let layer = if changed { Some(self.layer(press, events)?) } else { None };
        let now = record::now();
        let created = self.epoch().unwrap_or(now);
        let shown: String = step.shown.chars().take(400).collect();
        let cached = CachedStep { layer, created, used: now, step: shown };
        failpoint::reach!("build.layer_here");
        self.store.cache_step(&noted, &cached)?;
        if noted == *key {
            claim.done(cached.clone());
        }
        failpoint::reach!("build.step_noted");
        made.take(&cached, step);
        Ok(noted)
    }

    /// What is noted under `key`, protected from now on.
    pub(super) fn known(&self, key: &Digest) -> Result<Option<CachedStep>, Failure> {
        if self.build.fresh {
            return Ok(None);
        }
        let Some(cached) = self.store.cached_step(key) else { return Ok(None) };
        let Some(layer) = &cached.layer else { return Ok(Some(cached)) };
        self.store.extend_lease(self.lease, [&layer.blob, &layer.diff_id])?;
        // It may have gone a moment before.
        Ok(self.store.cached_step(key))
    }

    /// Keeps what was written as a layer, and unpacks it.
    fn layer(&mut self, press: Press, events: &mut dyn FnMut(Event)) -> Result<ImageLayer, Failure> {
        let layer = press.finish()?.keep(self.store, self.lease, &mut |digest| self.ledger.bring(digest))?;
        self.unpack(&layer, events)?;
        self.ledger.unpacked();
        Ok(layer)
    }

    /// Unpacks a layer; of that, warnings alone are told.
    pub(super) fn unpack(&self, layer: &ImageLayer, events: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        self.engine.unpack_unless((self.store, Some(self.ledger.halt())), std::slice::from_ref(layer), &mut |event| {
            if let Event::Warning(_) = event {
                events(event);
            }
        })
    }
}

impl Made {
    /// Takes the layer of a step.
    fn take(&mut self, cached: &CachedStep, step: &Step) {
        if let Some(layer) = &cached.layer {
            self.layers.push(layer.clone());
        }
        self.note(step, Some(cached));
    }

    /// Notes a step in the history.
    fn note(&mut self, step: &Step, cached: Option<&CachedStep>) {
        if let Some(cached) = cached {
            self.created = Some(cached.created);
        }
        let mut entry = json!({ "created_by": step.shown });
        if let Some(entry) = entry.as_object_mut() {
            let created = self.created.and_then(super::image::timestamp);
            entry.extend(created.map(|created| ("created".to_owned(), Value::String(created))));
            if cached.is_none_or(|cached| cached.layer.is_none()) {
                entry.insert("empty_layer".to_owned(), Value::Bool(true));
            }
            entry.extend(step.name.clone().map(|name| ("comment".to_owned(), Value::String(name))));
        }
        self.history.push(entry);
    }
}

/// What a step says wrong.
pub(super) fn invalid(why: String) -> Failure {
    Failure::say(FailureKind::Invalid, why).hint("correct the step in the file".to_owned())
}
