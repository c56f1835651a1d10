//! The composition itself: everything known about a container, as one document.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxSeccomp, RootBuilder, Spec, SpecBuilder,
};

use crate::model::container::{ContainerRequest, Seccomp, UserNamespace};
use crate::model::host::{HostFacts, IdRange};
use crate::model::limits::CgroupNamespace;

use super::error::{SpecError, wrong};
use super::user::ResolvedUser;
use super::{limits, masks, mounts, process, seccomp, validate};

/// The least version of runtime-spec that has all that the documents use. (Every 1.2
/// runtime takes it; Debian 12's crun refuses documents that call themselves 1.2.0.)
const VERSION: &str = "1.1.0";

/// All that a specification is made of.
#[derive(Clone, Copy, Debug)]
pub struct Composition<'a> {
    /// What the user asked for.
    pub request: &'a ContainerRequest,
    /// The image's config.
    pub image: &'a ImageConfiguration,
    /// The machine.
    pub host: &'a HostFacts,
    /// Who the first process is.
    pub user: &'a ResolvedUser,
    /// The container's host name (`files::hostname_of`).
    pub hostname: &'a str,
    /// Files of the bundle that are bound into /etc.
    pub files: &'a BundleFiles,
    /// A directory for each volume of `mounts::wanted`.
    pub volumes: &'a [VolumePlace],
    /// `dev.pybox.*`: what the launcher reads beside the specification.
    pub annotations: &'a BTreeMap<String, String>,
    /// The host's architecture in Go's words, `amd64`.
    pub architecture: &'a str,
    /// How many processors the machine has.
    pub processors: u32,
    /// Where its cgroup will be, in the words of the OCI; none if it gets none.
    pub cgroups_path: Option<&'a str>,
}

/// Absolute paths of the files in a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleFiles {
    /// For /etc/hosts.
    pub hosts: PathBuf,
    /// For /etc/hostname.
    pub hostname: PathBuf,
    /// For /etc/resolv.conf.
    pub resolv_conf: PathBuf,
}

/// Where a volume's data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePlace {
    /// The mount's target in the container.
    pub target: String,
    /// The directory on the host, absolute.
    pub path: PathBuf,
}

/// A specification, and what the user should know about it.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The document, checked.
    pub spec: Spec,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// Composes the document that the launcher, and every other OCI runtime, can run
/// over a root file system mounted at `rootfs` in the bundle.
///
/// # Errors
/// If the request, the image and the host do not fit together.
pub fn compose(of: &Composition<'_>) -> Result<Composed, SpecError> {
    if of.request.userns == UserNamespace::Host && of.host.user_namespace {
        return Err(SpecError::Unsupported {
            what: "--userns host".into(),
            reason: "without root, a container needs a user namespace of its own".into(),
        });
    }
    let mut warnings = Vec::new();
    let process = process::compose(of, &mut warnings)?;
    let granted =
        seccomp::capability_names(process.capabilities().iter().flat_map(|sets| sets.bounding().iter().flatten()));
    let mounts = mounts::compose(of)?;
    let linux = linux(of, &granted, mounts::root_propagation(&mounts))?;
    let root = RootBuilder::default().path("rootfs").readonly(of.request.read_only).build().map_err(wrong)?;
    let mut spec = SpecBuilder::default()
        .version(VERSION)
        .root(root)
        .process(process)
        .hostname(of.hostname)
        .mounts(mounts)
        .linux(linux)
        .build()
        .map_err(wrong)?;
    // A fresh document of this crate has mounts, hooks and more of its own choosing.
    spec.set_hooks(None);
    let annotations = of.annotations.iter().map(|(key, value)| (key.clone(), value.clone()));
    spec.set_annotations(Some(annotations.collect()));
    validate::check(&spec)?;
    Ok(Composed { spec, warnings })
}

fn linux(
    of: &Composition<'_>,
    granted: &std::collections::BTreeSet<String>,
    propagation: &str,
) -> Result<Linux, SpecError> {
    let masks = masks::compose(of.request, of.host, of.processors);
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(of)?)
        .rootfs_propagation(propagation)
        .masked_paths(masks.masked)
        .readonly_paths(masks.read_only)
        .build()
        .map_err(wrong)?;
    let map = |ranges: &[IdRange]| ranges.iter().map(mapping).collect::<Result<Vec<_>, _>>();
    let mapped = of.host.user_namespace;
    linux.set_uid_mappings(mapped.then(|| map(&of.host.id_map.uids)).transpose()?);
    linux.set_gid_mappings(mapped.then(|| map(&of.host.id_map.gids)).transpose()?);
    linux.set_sysctl(limits::sysctls(of.request, of.host)?);
    linux.set_resources(limits::resources(&of.request.limits)?);
    linux.set_cgroups_path(of.cgroups_path.map(std::path::PathBuf::from));
    linux.set_seccomp(filter(of, granted)?);
    linux.set_devices(None);
    Ok(linux)
}

fn namespaces(of: &Composition<'_>) -> Result<Vec<LinuxNamespace>, SpecError> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let own_network = of.request.network.is_own();
    let own_cgroups = of.request.cgroup.namespace == CgroupNamespace::Private;
    let user = of.host.user_namespace.then_some(User);
    let kinds = user.into_iter().chain([Mount, Pid, Ipc, Uts]);
    let kinds = kinds.chain(own_cgroups.then_some(Cgroup)).chain(own_network.then_some(Network));
    kinds.map(|kind| LinuxNamespaceBuilder::default().typ(kind).build().map_err(wrong)).collect()
}

fn mapping(range: &IdRange) -> Result<LinuxIdMapping, SpecError> {
    LinuxIdMappingBuilder::default()
        .container_id(range.inside)
        .host_id(range.outside)
        .size(range.count)
        .build()
        .map_err(wrong)
}

/// A privileged container has no filter, unless one is asked for by name.
fn filter(
    of: &Composition<'_>,
    granted: &std::collections::BTreeSet<String>,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    let profile = match &of.request.security.seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default if of.request.privileged => return Ok(None),
        Seccomp::Default => seccomp::DEFAULT,
        Seccomp::Profile(text) => text,
    };
    let here = seccomp::Circumstances { capabilities: granted, kernel: of.host.kernel, architecture: of.architecture };
    seccomp::resolve(profile, &here).map(Some)
}

#[cfg(test)]
mod tests;
