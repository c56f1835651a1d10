//! What the kernel's overlay file system needs to know of our layers.
//!
//! The mount itself is the launcher's; here is only what can be said by looking
//! at the layer directories.

use std::path::PathBuf;

use super::failure::SnapshotError;

/// How many lower directories one overlay mount of ours takes. The kernel's own
/// bound is 500; 127 is what every other engine keeps to, and what the image
/// limits promise.
pub const MAX_LOWER: usize = 127;

/// Marks a directory whose lower contents are hidden (`userxattr` mounts).
pub const OPAQUE: &str = "user.overlay.opaque";

/// The lower directories to mount for `layers` (topmost first): those beneath a
/// layer whose root is opaque are left out, since the kernel looks for the mark
/// everywhere but at the roots.
///
/// # Errors
/// When more than [`MAX_LOWER`] remain, or a layer cannot be read.
pub fn lower_stack(layers: &[PathBuf]) -> Result<Vec<PathBuf>, SnapshotError> {
    let mut lower = Vec::with_capacity(layers.len());
    for layer in layers {
        lower.push(layer.clone());
        let mut value = [0_u8; 2];
        match rustix::fs::getxattr(layer, OPAQUE, &mut value) {
            Ok(1) if value.first() == Some(&b'y') => break,
            Ok(_) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::RANGE) => {}
            Err(error) => {
                let operation = format!("look at layer {}", layer.display());
                return Err(SnapshotError::Io { operation, source: error.into() });
            }
        }
    }
    if lower.len() > MAX_LOWER { Err(SnapshotError::TooManyLayers(lower.len())) } else { Ok(lower) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::XattrFlags;

    #[test]
    fn layers_below_an_opaque_root_are_left_out() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let layers: Vec<PathBuf> = (0..4).map(|number| dir.path().join(number.to_string())).collect();
        layers.iter().for_each(|layer| std::fs::create_dir(layer).expect("mkdir"));
        assert_eq!(lower_stack(&layers).expect("stack"), layers);
        rustix::fs::setxattr(&layers[1], OPAQUE, b"y", XattrFlags::empty()).expect("setxattr");
        assert_eq!(lower_stack(&layers).expect("stack"), layers[..2]);
    }

    #[test]
    fn too_many_layers_are_an_error() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let layers = vec![dir.path().to_owned(); MAX_LOWER + 1];
        assert_eq!(lower_stack(&layers[1..]).expect("stack").len(), MAX_LOWER);
        assert!(matches!(lower_stack(&layers), Err(SnapshotError::TooManyLayers(128))));
    }
}
