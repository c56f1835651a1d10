//! Layers on disk, as images and overlays of other makers write them.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};

use crate::bench::{set_xattr, whiteout};
use crate::operations::Laid;

/// How a layer says that something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    /// Character devices 0:0.
    Devices,
    /// Files `.wh.NAME`.
    Names,
    /// Empty files with an attribute.
    Attributes,
}

/// Lays something in a layer.
pub(crate) fn lay(layer: &Path, path: &str, what: &Laid, whiteouts: Whiteouts) {
    let at = layer.join(path);
    match what {
        Laid::Directory(mode) => {
            std::fs::create_dir(&at).expect("mkdir");
            chmod(&at, *mode);
        }
        Laid::File(content, mode) => {
            std::fs::write(&at, content).expect("write");
            chmod(&at, *mode);
        }
        Laid::Link(target) => std::os::unix::fs::symlink(target, &at).expect("symlink"),
        Laid::Pipe => {
            rustix::fs::mknodat(CWD, &at, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
            chmod(&at, 0o600);
        }
        Laid::Same(other) => std::fs::hard_link(layer.join(other), &at).expect("link"),
        Laid::Whiteout => white_out(&at, whiteouts),
        Laid::Opaque if whiteouts == Whiteouts::Names => {
            std::fs::write(at.join(".wh..wh..opq"), "").expect("write");
        }
        Laid::Opaque => set_xattr(&at, "user.overlay.opaque", b"y"),
    }
}

/// Whatever the mask of this process is.
pub(crate) fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

fn white_out(at: &PathBuf, whiteouts: Whiteouts) {
    let parent = at.parent().expect("a directory");
    match whiteouts {
        Whiteouts::Devices => whiteout(at),
        Whiteouts::Names => {
            let name = [b".wh.", at.file_name().expect("a name").as_bytes()].concat();
            std::fs::write(parent.join(std::ffi::OsStr::from_bytes(&name)), "").expect("write");
        }
        Whiteouts::Attributes => {
            std::fs::write(at, "").expect("write");
            set_xattr(at, "user.overlay.whiteout", b"y");
            set_xattr(parent, "user.overlay.opaque", b"x");
        }
    }
}
