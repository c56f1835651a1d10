//! What a monitor is told at each start of its container; made once, kept in the bundle.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;
use serde::Deserialize;

use super::create;
use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind};
use crate::model::container::ContainerRequest;
use crate::model::flags::{health, log, signal};
use crate::model::host::HostFacts;
use crate::model::supervision::{Descriptors, HealthCheck};
use crate::monitor::protocol::{Mapping, NetworkProgram, Start, Stop, Subject};
use crate::store::Store;
use crate::store::bundle::{Bundle, BundleFile};
use crate::store::containers::Container;
use crate::sys::idmap::Helpers;

/// Docker's, in seconds.
const GRACE: u64 = 10;
/// SIGTERM.
const STOP_SIGNAL: i32 = 15;

/// What an image says that the OCI's configuration has no word for.
#[derive(Debug, Default, Deserialize)]
struct DockerConfiguration {
    #[serde(default)]
    config: DockerConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DockerConfig {
    #[serde(rename = "Healthcheck")]
    health_check: Option<serde_json::Value>,
}

/// The health check of a container of `image`, whose configuration reads `text`.
pub(super) fn health_check(container: &Container, text: &[u8]) -> Option<HealthCheck> {
    let said: DockerConfiguration = serde_json::from_slice(text).unwrap_or_default();
    health::effective(&container.request.health, said.config.health_check.as_ref())
}

impl Engine {
    /// Composes what the monitor of `container` is told.
    ///
    /// # Errors
    /// If ids have to be mapped and nothing here can.
    pub(super) fn start_of(
        &self,
        store: &Store,
        (container, network): (&Container, Option<NetworkProgram>),
        facts: &HostFacts,
        (image, text): (&ImageConfiguration, &[u8]),
    ) -> Result<Start, Failure> {
        let request = &container.request;
        let of_image = image.config().as_ref().and_then(|config| config.stop_signal().as_deref());
        let stop_signal = request.stop_signal.or_else(|| of_image.and_then(signal::number)).unwrap_or(STOP_SIGNAL);
        let seconds = request.stop_timeout.unwrap_or(GRACE);
        Ok(Start {
            subject: subject(container),
            mapping: mapping(facts)?,
            interactive: request.interactive,
            attached: false,
            detach_keys: Vec::new(),
            keyring: format!("_pybox.{}", container.id.short()),
            log: request.log.clone(),
            log_fields: log_fields(request, image),
            restart: request.restart,
            descriptors: Descriptors::default(),
            notify: None,
            health: health_check(container, text),
            timeout: request.timeout.map(|seconds| seconds.saturating_mul(1000)),
            stop: Stop { signal: stop_signal, grace: seconds.saturating_mul(1000) },
            network,
            membership: None,
            network_of: None,
            cgroup: None,
            events: store.layout().events(),
            bound: false,
            finish: self.finish_of(container),
            private: Vec::new(),
        })
    }

    /// The program that removes a container nobody is attached to, and its arguments.
    fn finish_of(&self, container: &Container) -> Vec<std::path::PathBuf> {
        if !container.auto_remove {
            return Vec::new();
        }
        let words = [super::expire::PERSONA.into(), self.settings.root.clone(), container.id.as_str().into()];
        [self.settings.program.clone()].into_iter().chain(words).collect()
    }
}

/// The labels and variables that entries of the journal have, the container's own before its image's.
fn log_fields(request: &ContainerRequest, image: &ImageConfiguration) -> BTreeMap<String, String> {
    let config = image.config().as_ref();
    let labels = config.and_then(|config| config.labels().as_ref());
    let label = |key: &str| request.labels.get(key).or_else(|| labels?.get(key));
    let variables = config.and_then(|config| config.env().as_ref()).into_iter().flatten();
    let of_image: BTreeMap<&str, &str> = variables.filter_map(|variable| variable.split_once('=')).collect();
    let own = |key: &str| request.env.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let variable = |key: &str| own(key).or_else(|| of_image.get(key).copied());
    let labels = request.log.labels.iter().map(|key| (key, label(key).map(String::as_str)));
    let variables = request.log.env.iter().map(|key| (key, variable(key)));
    labels.chain(variables).filter_map(|(key, value)| Some((log::field(key)?, value?.to_owned()))).collect()
}

fn subject(container: &Container) -> Subject {
    let request = &container.request;
    let (id, name) = (container.id.to_string(), container.name.to_string());
    Subject { id, name, image: request.image.clone(), labels: request.labels.clone() }
}

fn mapping(facts: &HostFacts) -> Result<Mapping, Failure> {
    if !facts.user_namespace || facts.id_map.is_of_one() {
        return Ok(Mapping::Direct { deny_setgroups: facts.uid != 0 });
    }
    let helpers =
        Helpers::find().ok_or_else(|| Failure::say(FailureKind::Host, "newuidmap and newgidmap are not installed"))?;
    Ok(Mapping::Helpers { newuidmap: helpers.newuidmap, newgidmap: helpers.newgidmap })
}

/// Writes it into the bundle.
///
/// # Errors
/// What the store says.
pub(super) fn keep(bundle: &Bundle, container: &Container, start: &Start) -> Result<(), Failure> {
    let text = serde_json::to_vec(start)
        .map_err(|error| Failure::say(FailureKind::Internal, format!("write start.json: {error}")))?;
    Ok(bundle.write(BundleFile::Start, &text, create::durability(&container.request))?)
}

/// Reads it again, with what may have changed since.
///
/// # Errors
/// If it is not there, or damaged.
pub(super) fn read(bundle: &Bundle, container: &Container) -> Result<Start, Failure> {
    let damaged = |error: String| {
        Failure::say(FailureKind::Corrupt, format!("read start.json of container {}: {error}", container.name))
            .hint(format!("remove it and create it again: pybox rm {}", container.name))
    };
    let text = std::fs::read(bundle.file(BundleFile::Start)).map_err(|error| damaged(error.to_string()))?;
    let start: Start = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    Ok(Start { subject: subject(container), restart: container.request.restart, ..start })
}
