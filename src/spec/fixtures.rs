//! What the tests of this room have in common: a host, an image, a composition.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;

use crate::model::container::ContainerRequest;
use crate::model::host::HostFacts;
use crate::model::id::ContainerId;

use super::compose::{BundleFiles, Composed, Composition, VolumePlace, compose};
use super::error::SpecError;
use super::idmap::{SubordinateIds, default_map};
use super::user::{AccountFiles, resolve};

/// An unprivileged user with 65536 subordinate ids.
pub(crate) fn host() -> HostFacts {
    let ranges = SubordinateIds { uids: vec![(100_000, 65_536)], gids: vec![(100_000, 65_536)] };
    HostFacts {
        uid: 1001,
        gid: 1001,
        gateway: None,
        user_namespace: true,
        id_map: default_map(1001, 1001, &ranges),
        kernel: (6, 1),
        hard_limits: vec![("RLIMIT_NOFILE".into(), 1_048_576), ("RLIMIT_NPROC".into(), 5000)],
        resolv_conf: "nameserver 10.0.0.1\n".into(),
        hosts: "127.0.0.1 localhost\n".into(),
        hostname: "machine".into(),
        fresh_proc: true,
        apparmor: false,
    }
}

pub(crate) fn id() -> ContainerId {
    ContainerId::from_random(&[0xab; 32])
}

/// An image whose `config` is this JSON.
pub(crate) fn image(config: &str) -> ImageConfiguration {
    let text = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{config}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

/// Composes for [`host`], with the image's config as JSON.
pub(crate) fn composed(request: &ContainerRequest, config: &str) -> Result<Composed, SpecError> {
    composed_on(&host(), request, config)
}

/// Composes for any host; every volume is at `/volumes` and its target.
pub(crate) fn composed_on(host: &HostFacts, request: &ContainerRequest, config: &str) -> Result<Composed, SpecError> {
    let image = image(config);
    let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\n";
    let files = AccountFiles { passwd, group: "root:x:0:\ndaemon:x:1:root\nwww:x:33:\nextra:x:50:web\n" };
    let user = resolve(request.user.as_deref().unwrap_or_default(), files, &request.groups)?;
    let volumes: Vec<VolumePlace> = super::mounts::wanted(request, &image)?
        .into_iter()
        .map(|mount| VolumePlace { path: format!("/volumes{}", mount.target).into(), target: mount.target })
        .collect();
    let files = BundleFiles {
        hosts: "/bundle/hosts".into(),
        hostname: "/bundle/hostname".into(),
        resolv_conf: "/bundle/resolv.conf".into(),
    };
    compose(&Composition {
        request,
        image: &image,
        host,
        user: &user,
        hostname: "web",
        files: &files,
        volumes: &volumes,
        annotations: &BTreeMap::from([("dev.pybox.init".to_owned(), "1".to_owned())]),
        architecture: "amd64",
        processors: 2,
        cgroups_path: None,
    })
}
