//! Volumes: made, listed, removed by their names.

use super::Engine;
use super::api::{
    CreateVolume, Failure, FailureKind, ListVolumes, RemoveVolume, VolumeCreated, VolumeRemoved, VolumeSummary,
};
use super::containers::{new_id, volumes};
use crate::model::event::Kind;
use crate::model::id::{ContainerName, InvalidId};
use crate::monitor::record;
use crate::store::volumes::Record;
use crate::store::{Access, Store};

impl Engine {
    pub(super) fn create_volume(&self, create: &CreateVolume) -> Result<VolumeCreated, Failure> {
        let store = self.store(Access::Write)?;
        let (name, anonymous) = match &create.name {
            Some(name) => (name.clone(), false),
            None => (parse(&new_id()?.to_string())?, true),
        };
        let record = Record { created: record::now(), labels: create.labels.clone(), anonymous };
        if store.hold_volume(&name, &record)?.is_new {
            self.tell(Kind::Volume, "create", name.as_str(), [("driver", "local".to_owned())]);
        }
        Ok(VolumeCreated { name: name.to_string() })
    }

    pub(super) fn list_volumes(&self, _: &ListVolumes) -> Result<Vec<VolumeSummary>, Failure> {
        let store = self.store(Access::Read)?;
        let mut users = volumes::users(&store)?;
        let summary = |name: ContainerName| {
            let record = store.volume(&name)?;
            Some(VolumeSummary {
                mountpoint: store.layout().volume(&name),
                created: record.created,
                labels: record.labels,
                anonymous: record.anonymous,
                containers: users.remove(name.as_str()).unwrap_or_default(),
                name: name.to_string(),
            })
        };
        Ok(store.volume_names().into_iter().filter_map(summary).collect())
    }

    pub(super) fn remove_volume(&self, remove: &RemoveVolume) -> Result<VolumeRemoved, Failure> {
        let store = self.store(Access::Write)?;
        let name = find(&store, &remove.name)?;
        self.remove_volume_of(&store, &name)?;
        Ok(VolumeRemoved {})
    }
}

/// The name of a volume that is there.
///
/// # Errors
/// [`FailureKind::NotFound`].
fn find(store: &Store, text: &str) -> Result<ContainerName, Failure> {
    let missing = || Failure::say(FailureKind::NotFound, format!("no such volume: {text}"));
    let name: ContainerName = text.parse().map_err(|_: InvalidId| missing())?;
    if store.volume(&name).is_some() { Ok(name) } else { Err(missing()) }
}

fn parse(text: &str) -> Result<ContainerName, Failure> {
    text.parse().map_err(|error: InvalidId| Failure::new(FailureKind::Invalid, &error))
}
