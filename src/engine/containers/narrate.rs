//! What a start is going to do, for `--debug`: every system call of the launch that matters,
//! in its order. It is the plan that the monitor will walk, compiled once more.

use super::start::Ready;
use crate::launch::document::Document;
use crate::launch::{Extras, Plan};
use crate::monitor::network;
use crate::store::bundle::BundleFile;

/// Tells it, if anybody listens. A document that cannot be read is for the monitor to complain of.
pub(super) fn launch(ready: &Ready) {
    if !tracing::event_enabled!(tracing::Level::DEBUG) {
        return;
    }
    let text = std::fs::read(ready.bundle.file(BundleFile::Config)).unwrap_or_default();
    let Ok(document) = serde_json::from_slice::<Document>(&text) else { return };
    let extras = Extras {
        // Only whether there is one counts here.
        filter: ready.filter.iter().map(|_| 0).collect(),
        keyring: Some(ready.start.keyring.clone()),
        interface: network::interface(ready.start.network.as_ref()),
        ..Extras::default()
    };
    let Ok(plan) = Plan::compile(&document, extras) else { return };
    tracing::debug!("bundle {}", ready.bundle.path().display());
    lines(&plan).into_iter().for_each(|line| tracing::debug!("{line}"));
}

fn lines(plan: &Plan) -> Vec<String> {
    let map = |lines: &[(u32, u32, u32)]| {
        let lines: Vec<String> =
            lines.iter().map(|(inside, outside, count)| format!("{inside} {outside} {count}")).collect();
        lines.join(", ")
    };
    let begin = [
        format!("clone3 with {:?}", plan.namespaces),
        format!("newuidmap: {}", map(&plan.uid_map)),
        format!("newgidmap: {}", map(&plan.gid_map)),
    ];
    let steps = plan.steps.iter().map(ToString::to_string);
    begin.into_iter().chain(steps).chain([format!("execute {:?}", plan.program_name)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_way_is_told() {
        let document = serde_json::json!({
            "ociVersion": "1.1.0",
            "process": {
                "cwd": "/", "args": ["sh"], "env": [], "user": { "uid": 0, "gid": 0 },
                "capabilities": { "bounding": [], "effective": [], "permitted": [] },
            },
            "root": { "path": "/srv/rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            ],
            "linux": {
                "namespaces": [{ "type": "user" }, { "type": "mount" }, { "type": "pid" }],
                "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }],
                "gidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }],
            },
        });
        let document: Document = serde_json::from_value(document).expect("a document");
        let plan = Plan::compile(&document, Extras::default()).expect("a plan");
        let told = lines(&plan);
        for line in
            ["newuidmap: 0 1000 1", "bind the root file system /srv/rootfs", "mount proc on /proc", "execute \"sh\""]
        {
            assert!(told.iter().any(|known| known == line), "{line} is not in {told:#?}");
        }
    }
}
