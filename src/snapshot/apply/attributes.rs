//! Extended attributes: which of a foreign archive's are kept.

use std::os::fd::BorrowedFd;

use pybox_fuse_overlay::record::XATTR;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::warnings::Warnings;
use crate::snapshot::failure::shown;
use crate::snapshot::tar::entry::{Attribute, EntryPath};
use crate::snapshot::worker::WarningKind;

const CAPABILITY: &[u8] = b"security.capability";

/// Attributes by which overlay file systems and engines, ours among them, mark
/// whiteouts, redirections and owners. An archive that sets them would forge these.
const RESERVED: [&[u8]; 4] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers.", b"user.pybox."];

/// Sets on `file` what is kept of `attributes`.
pub(super) fn set(file: BorrowedFd<'_>, path: &EntryPath, attributes: &[Attribute], warnings: &mut Warnings) {
    for (name, value) in attributes {
        let Some(value) = kept(name, value) else { continue };
        if let Err(error) = rustix::fs::fsetxattr(file, name.as_slice(), &value, XattrFlags::empty()) {
            refused(path, name, error, warnings);
        }
    }
}

/// Notes on `file` what it should be, in [`XATTR`].
pub(super) fn note(file: BorrowedFd<'_>, path: &EntryPath, what: &str, warnings: &mut Warnings) {
    if let Err(error) = rustix::fs::fsetxattr(file, XATTR, what.as_bytes(), XattrFlags::empty()) {
        refused(path, XATTR.as_bytes(), error, warnings);
    }
}

fn refused(path: &EntryPath, name: &[u8], error: Errno, warnings: &mut Warnings) {
    // ENOSPC too: ext4 says so of an attribute that is larger than a block.
    let of = format!("{} ({})", shown(name), std::io::Error::from(error));
    warnings.add(WarningKind::AttributeRefused, path, &of);
}

/// The value to set for an attribute of the archive, if it is kept.
fn kept(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
        return None;
    }
    match name {
        CAPABILITY => capability(value),
        // The kernel takes the ids in these for ids of our namespace.
        b"system.posix_acl_access" | b"system.posix_acl_default" => Some(value.to_vec()),
        _ if name.starts_with(b"user.") => Some(value.to_vec()),
        _ => None,
    }
}

/// File capabilities in revision 2 (`struct vfs_cap_data`), from which the kernel
/// makes revision 3 with the root of our namespace. A foreign revision 3 names
/// the root of somebody else's.
fn capability(value: &[u8]) -> Option<Vec<u8>> {
    const REVISION_2: u32 = 0x0200_0000;
    const REVISION_3: u32 = 0x0300_0000;
    let (magic, rest) = value.split_first_chunk()?;
    let magic = u32::from_le_bytes(*magic);
    match (magic & 0xff00_0000, rest.len()) {
        (REVISION_2, 16) => Some(value.to_vec()),
        (REVISION_3, 20) => {
            let magic = (magic & 0x00ff_ffff) | REVISION_2;
            Some([&magic.to_le_bytes()[..], rest.get(..16)?].concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_attributes_are_kept() {
        let is_kept = |name: &str| kept(name.as_bytes(), b"y").is_some();
        for name in ["user.comment", "user.overlayx", "user.x.overlay.opaque", "system.posix_acl_access"] {
            assert!(is_kept(name), "{name}");
        }
        let dropped = [
            "user.overlay.opaque",
            "user.overlay.redirect",
            "user.fuseoverlayfs.opaque",
            "user.containers.override_stat",
            "user.pybox.override_stat",
            "trusted.overlay.opaque",
            "security.selinux",
            "security.ima",
            "security.evm",
            "security.apparmor",
            "security.capability",
            "system.nfs4_acl",
            "os2.x",
            "user",
            "",
        ];
        for name in dropped {
            assert!(!is_kept(name), "{name}");
        }
    }

    #[test]
    fn capabilities_lose_their_root() {
        let body = [7_u8; 16];
        let second = [&[1, 0, 0, 2][..], &body].concat();
        let third = [&[1, 0, 0, 3][..], &body, &1000_u32.to_le_bytes()].concat();
        assert_eq!(capability(&second).as_ref(), Some(&second));
        assert_eq!(capability(&third).as_ref(), Some(&second));
        for bad in [&b""[..], &second[..19], &third[..23], &[1, 0, 0, 1, 0, 0, 0, 0], &[&third[..], b"x"].concat()] {
            assert_eq!(capability(bad), None);
        }
    }
}
