//! The root file system: the engine's recipe, or the bundle's directory.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{PlanError, ROOTFS_ANNOTATION, c_string};
use crate::launch::document::Document;
use crate::launch::step::{Overlay, RootSource, Served};

/// The annotation's content. The shape is the snapshotter's recipe; it is read
/// here once more because the document is all that crosses this wall.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Recipe {
    /// The kernel's overlay.
    Overlay(Layered),
    /// The kernel's overlay over one layer that a server shows.
    Hybrid(Layered),
    /// All of it shown by a server, who is told of what.
    Fuse {},
    Bind {
        path: PathBuf,
    },
}

#[derive(Debug, Deserialize)]
struct Layered {
    /// Layers, top first.
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
    /// Whether a crash of the machine may lose what was written.
    #[serde(default)]
    volatile: bool,
}

/// Documentation/filesystems/overlayfs.rst: the kernel stacks no more.
const MOST_LAYERS: usize = 500;

/// Where the root comes from.
pub(super) fn source(spec: &Document) -> Result<RootSource, PlanError> {
    let place = spec.root.as_ref().map(|root| PathBuf::from(&root.path)).ok_or(PlanError::Missing("root"))?;
    let Some(text) = spec.annotations.get(ROOTFS_ANNOTATION) else {
        return Ok(RootSource::Directory(path(&place)?));
    };
    match serde_json::from_str(text).map_err(PlanError::Recipe)? {
        Recipe::Bind { path: directory } => Ok(RootSource::Directory(path(&directory)?)),
        Recipe::Overlay(layered) => overlay(&place, &layered.lower, &layered).map(RootSource::Overlay),
        Recipe::Fuse {} => Ok(RootSource::Served(Served { place: path(&place)?, under: None })),
        Recipe::Hybrid(layered) => {
            // The served tree stands in the same place, and the overlay on top of it.
            let over = overlay(&place, std::slice::from_ref(&place), &layered)?;
            Ok(RootSource::Served(Served { place: path(&place)?, under: Some(over) }))
        }
    }
}

fn overlay(place: &Path, lower: &[PathBuf], layered: &Layered) -> Result<Overlay, PlanError> {
    if lower.is_empty() || lower.len() > MOST_LAYERS {
        return Err(PlanError::Invalid { field: "the number of layers", value: lower.len().to_string() });
    }
    let Layered { upper, work, volatile, .. } = layered;
    let mut settings = vec![
        (c_string("source", "overlay")?, c_string("overlay", "overlay")?),
        (c_string("upperdir", "overlay")?, path(upper)?),
        (c_string("workdir", "overlay")?, path(work)?),
        (c_string("userxattr", "overlay")?, c_string("", "overlay")?),
    ];
    if *volatile {
        settings.push((c_string("volatile", "overlay")?, c_string("", "overlay")?));
    }
    let by_fd: Vec<String> =
        (0..lower.len()).map(|index| format!("/proc/self/fd/{}", Overlay::FIRST_LAYER_FD + index as i32)).collect();
    let flags = if *volatile { "userxattr,volatile" } else { "userxattr" };
    let legacy = format!(
        "lowerdir={},upperdir={},workdir={},{flags}",
        by_fd.join(":"),
        upper.to_string_lossy(),
        work.to_string_lossy()
    );
    Ok(Overlay {
        place: path(place)?,
        lower: lower.iter().map(|layer| path(layer)).collect::<Result<_, _>>()?,
        settings,
        legacy: c_string(legacy, "overlay")?,
    })
}

/// A path of ours as the overlay's option parser reads it unchanged.
fn path(path: &Path) -> Result<std::ffi::CString, PlanError> {
    let text = path.to_str().filter(|text| !text.contains([',', ':', '\\'])).ok_or_else(|| PlanError::Invalid {
        field: "a path of the root file system (no ',', ':' or '\\' may stand in it)",
        value: path.to_string_lossy().into_owned(),
    })?;
    c_string(text, "a path of the root file system")
}
