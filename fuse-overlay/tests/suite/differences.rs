//! Why a file system may answer something else than the table says. The tables name the
//! keys; a key that no table uses, or one that is missing here, fails a test of `families`.

/// Key and justification.
pub(crate) const DIFFERENCES: &[(&str, &str)] = &[
    (
        "broken-links",
        "the kernel copies up one name of a hard link; only `index`, which userxattr forbids, keeps them together",
    ),
    ("clone", "FUSE has no request for FICLONE, so the kernel itself says that the ioctl is unknown"),
    ("collapse", "FUSE passes on holes and zeros only: the kernel refuses the other modes"),
    (
        "directory-links",
        "a merged directory's links are not counted: 1 says so, as on btrfs; the kernel never updates it",
    ),
    ("direct", "our server answers O_DIRECT from its cache or not at all; both are allowed"),
    ("file-system-type", "what statfs calls the file system"),
    ("link-over-link", "the kernel's overlay has lost sight of the second name of a copied-up file and answers ESTALE"),
    ("list-size", "the kernel counts its own attributes when it is asked for the size of the list"),
    ("lonely-whiteout", "the kernel lists a whiteout in a directory that only one layer has"),
    (
        "lower-directory",
        "the kernel moves a directory with lower content only with redirect_dir, which userxattr forbids",
    ),
    ("mapped-lower", "a mapping of a lower file stays one of the lower file after copy-up"),
    ("overlay-attributes", "names below user.overlay. are the overlay's own: the kernel escapes them, we refuse them"),
    (
        "rename-whiteout",
        "the kernel's overlay has no RENAME_WHITEOUT; on ours it leaves nothing to be seen, on ext4 a device",
    ),
    ("tmpfile", "not known to our server yet"),
    ("unlinked-lower", "the kernel cannot copy up a file whose last name is gone"),
    ("whiteout-device", "the device 0:0 means a whiteout"),
    ("whiteout-names", "a name that begins with .wh. would be a whiteout in a layer made from this upper"),
];
