//! Why a file system may answer something else than the table says. The tables name the
//! keys; a key that no table uses, or one that is missing here, fails a test of `families`.

/// Key and justification.
pub(crate) const DIFFERENCES: &[(&str, &str)] = &[
    ("access-times", "the index of the layers keeps no access times: those of a lower file are its modification time"),
    (
        "broken-links",
        "the kernel copies up one name of a hard link; only `index`, which userxattr forbids, keeps them together",
    ),
    ("collapse", "FUSE passes on holes and zeros only: the kernel refuses the other modes"),
    ("devices", "with layers on two devices the kernel shows each file's own; its listings tell numbers of the layers"),
    (
        "directory-links",
        "directories below are not counted: 1 says so, as on btrfs; the kernel never updates a merged one's",
    ),
    ("file-flags", "FUSE has them as an ioctl of its own, which we do not answer; chattr and lsattr say so"),
    ("file-system-type", "what statfs calls the file system"),
    (
        "fuse3-lacks",
        "the crate behind the third front end knows no TMPFILE, and leaves the umask to the kernel, default list or not",
    ),
    (
        "fuser-lacks",
        "the crate behind the second front end knows no TMPFILE, and counts nanoseconds before 1970 backwards",
    ),
    ("link-over-link", "the kernel's overlay has lost sight of the second name of a copied-up file and answers ESTALE"),
    ("list-size", "the kernel counts its own attributes when it is asked for the size of the list"),
    ("lonely-whiteout", "the kernel lists a whiteout in a directory that only one layer has"),
    (
        "lower-directory",
        "the kernel moves a directory with lower content only with redirect_dir, which userxattr forbids",
    ),
    ("mapped-lower", "a mapping of a lower file stays one of the lower file after copy-up"),
    (
        "no-attributes",
        "the kernel is told once that no layer has an extended attribute, and says so of a file not copied up: it \
         would ask for the overlay's own with every file",
    ),
    (
        "numbers-over-mounts",
        "the kernel finds a copied-up file's first number again only with what a user may not have",
    ),
    (
        "overlay-attributes",
        "names below user.overlay. are the overlay's own: the kernel escapes them, we do not have them",
    ),
    ("ranges-between-systems", "the kernel copies no ranges from FUSE to ext4 (EXDEV); who asks then reads and writes"),
    (
        "rename-whiteout",
        "the kernel's overlay has no RENAME_WHITEOUT; on ours it leaves nothing to be seen, on ext4 a device",
    ),
    ("small-holes", "the kernel copies up a MiB at a time and keeps only holes that are longer"),
    ("unlinked-lower", "the kernel cannot copy up a file whose last name is gone"),
    ("whiteout-device", "the device 0:0 means a whiteout: made by hand it would hide a name, so it is refused"),
    (
        "whiteout-names",
        "a name that begins with .wh. would be a whiteout in a layer made from this upper: it is refused",
    ),
];
