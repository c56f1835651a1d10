//! Reading what happened: the older file, then the current one, from where the
//! reader has got to. The reader says where that is, so nothing is kept here.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Attributes;
use super::watch::Watch;
use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind, HappeningFilter, Happenings, Position, ReadFrom, ReadHappenings};
use crate::model::event::{Happening, Kind};
use crate::model::reference::Reference;
use crate::monitor::{events, record};
use crate::store::{Access, Layout};

impl Engine {
    /// What happened behind the place that `read` names; waits for something if there is nothing.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(in crate::engine) fn read_happenings(&self, read: &ReadHappenings) -> Result<Happenings, Failure> {
        let path = Layout::new(&self.settings.root).events();
        let labels = if read.filters.iter().any(|filter| matches!(filter, HappeningFilter::Label { .. })) {
            self.labels()
        } else {
            HashMap::new()
        };
        let mut position = match read.from {
            ReadFrom::Oldest => position_of(&events::older(&path)).map_or(Position::default(), |at| start_of(at.file)),
            ReadFrom::Now => position_of(&path).unwrap_or_default(),
            ReadFrom::Behind(position) => position,
        };
        let patience = Instant::now() + read.patience();
        loop {
            let watch = Watch::new(&path);
            let (text, next) = unread(&path, position).map_err(|error| {
                Failure::say(FailureKind::Store, format!("read the events in {}: {error}", path.display()))
            })?;
            position = next;
            let happenings = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
            let list: Vec<Happening> = happenings.filter(|happening| read.accepts(happening, &labels)).collect();
            let left = patience.saturating_duration_since(Instant::now());
            if !list.is_empty() || left.is_zero() {
                return Ok(Happenings { list, position });
            }
            watch.wait(left);
        }
    }

    /// The labels of each container: what a monitor tells has none.
    fn labels(&self) -> HashMap<String, Attributes> {
        let containers = self.store(Access::Read).and_then(|store| Ok(store.list_containers()?)).unwrap_or_default();
        containers.into_iter().map(|container| (container.id.to_string(), container.request.labels)).collect()
    }
}

impl ReadHappenings {
    /// Nothing is waited for behind the end of the time that was asked for.
    fn patience(&self) -> Duration {
        let until_the_end = self.until.map_or(u64::MAX, |until| u64::try_from(until - record::now()).unwrap_or(0));
        Duration::from_millis(self.wait.min(until_the_end))
    }

    fn accepts(&self, happening: &Happening, labels: &HashMap<String, Attributes>) -> bool {
        let in_time = self.since.is_none_or(|since| happening.time >= since)
            && self.until.is_none_or(|until| happening.time <= until);
        let accepts = |filter: &HappeningFilter| matches(filter, happening, labels);
        in_time
            && self.filters.iter().all(|filter| {
                accepts(filter)
                    || (!matches!(filter, HappeningFilter::Label { .. })
                        && self.filters.iter().any(|other| same_kind(filter, other) && accepts(other)))
            })
    }
}

fn same_kind(one: &HappeningFilter, other: &HappeningFilter) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn matches(filter: &HappeningFilter, happening: &Happening, labels: &HashMap<String, Attributes>) -> bool {
    let attribute = |name: &str| happening.attributes.get(name).map(String::as_str);
    match filter {
        HappeningFilter::Kind(kind) => happening.kind == *kind,
        HappeningFilter::Action(action) => {
            happening.action == *action || happening.action.split(':').next() == Some(action)
        }
        HappeningFilter::Container(text) => {
            happening.kind == Kind::Container
                && (attribute("name") == Some(text.trim_start_matches('/')) || happening.id.starts_with(text))
        }
        HappeningFilter::Image(text) => {
            let named = |name: &str| same_image(name, text);
            match happening.kind {
                Kind::Image => named(&happening.id) || attribute("name").is_some_and(named),
                _ => attribute("image").is_some_and(named),
            }
        }
        HappeningFilter::Volume(name) => {
            (happening.kind == Kind::Volume && happening.id == *name) || attribute("volume") == Some(name)
        }
        HappeningFilter::Label { key, value } => {
            let known = labels.get(&happening.id).and_then(|labels| labels.get(key)).map(String::as_str);
            attribute(key).or(known).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
        }
    }
}

/// Whether both mean one image: the same text, the same complete name, or the beginning of an id.
fn same_image(name: &str, asked: &str) -> bool {
    let bare = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_owned();
    let is_id = name.starts_with("sha256:") && !bare(asked).is_empty() && bare(name).starts_with(&bare(asked));
    let complete = || match (name.parse::<Reference>(), asked.parse::<Reference>()) {
        (Ok(name), Ok(asked)) => name == asked || (name.name() == asked.name() && !tagged(&bare(&asked.to_string()))),
        _ => false,
    };
    name == asked || is_id || complete()
}

/// Whether the last part of a name has a tag or a digest.
fn tagged(text: &str) -> bool {
    text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))
}

/// The end of the file, which is where new lines will stand.
fn position_of(path: &Path) -> Option<Position> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Position { file: metadata.ino(), offset: metadata.len() })
}

fn start_of(file: u64) -> Position {
    Position { file, offset: 0 }
}

/// All complete lines behind `position`, and the place behind them.
fn unread(path: &Path, position: Position) -> std::io::Result<(Vec<u8>, Position)> {
    // The older one first: renamed in between, the current one is met twice at worst, and known by its inode.
    let (older, current) = (open(&events::older(path))?, open(path)?);
    let mut text = Vec::new();
    let mut position = position;
    // What was current when it was read last may be the older file by now.
    if let Some((file, _)) = older.filter(|(_, inode)| *inode == position.file) {
        position.offset = lines(file, position.offset, &mut text)?;
    }
    if let Some((file, inode)) = current {
        let offset = if inode == position.file { position.offset } else { 0 };
        position = Position { file: inode, offset: lines(file, offset, &mut text)? };
    }
    Ok((text, position))
}

fn open(path: &Path) -> std::io::Result<Option<(File, u64)>> {
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => {
            let file = other?;
            let inode = file.metadata()?.ino();
            Ok(Some((file, inode)))
        }
    }
}

/// Appends the complete lines from `offset` on to `text`, and returns the place behind them.
fn lines(mut file: File, offset: u64, text: &mut Vec<u8>) -> std::io::Result<u64> {
    let before = text.len();
    file.seek(SeekFrom::Start(offset))?;
    file.read_to_end(text)?;
    let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(before, |at| (at + 1).max(before));
    text.truncate(complete);
    Ok(offset + (complete - before) as u64)
}

#[cfg(test)]
mod tests;
