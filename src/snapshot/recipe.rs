//! What a container's root file system is made of: a document, not a mount.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How to make a root file system; the launcher carries it out inside the
/// container's own mount namespace. Rides in `config.json` as the annotation
/// `dev.pybox.rootfs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Recipe {
    /// A kernel overlay mount with the option `userxattr` (our whiteouts are
    /// character devices 0:0, our opaque marks `user.overlay.opaque`).
    Overlay {
        /// Read-only directories, the topmost first; see [`super::kernel_overlay::lower_stack`].
        lower: Vec<PathBuf>,
        /// Takes the changes.
        upper: PathBuf,
        /// Empty directory on the file system of `upper`, for the kernel's own use.
        work: PathBuf,
        /// Mount with `volatile`: no write is ever synced, so after a crash
        /// `upper` is worthless. For containers that are removed when they end.
        volatile: bool,
    },
    /// The directory as it is.
    Bind {
        /// The directory.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipe_survives_json() {
        let overlay = Recipe::Overlay {
            lower: vec!["/l/2/diff".into(), "/l/1/diff".into()],
            upper: "/c/upper".into(),
            work: "/c/work".into(),
            volatile: true,
        };
        let text = serde_json::to_string(&overlay).expect("json");
        assert!(text.starts_with(r#"{"kind":"overlay","lower":["/l/2/diff","#), "{text}");
        assert_eq!(serde_json::from_str::<Recipe>(&text).expect("parse"), overlay);
        let bind = Recipe::Bind { path: "/rootfs".into() };
        assert_eq!(serde_json::to_string(&bind).expect("json"), r#"{"kind":"bind","path":"/rootfs"}"#);
        assert!(serde_json::from_str::<Recipe>(r#"{"kind":"bind","path":"/a","extra":1}"#).is_err());
    }
}
