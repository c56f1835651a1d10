//! The file systems under test and how each is mounted by a user without rights.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use pybox_fuse_overlay_fuzz::rules::Rules;

/// What the cases run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// The merged tree as plain files.
    Ext4,
    /// The kernel's overlay with `userxattr`.
    Kernel,
    /// The kernel's overlay above our read-only tree.
    Hybrid,
    /// Our overlay, with our own front end.
    Fuse,
    /// The same with layers whose whiteouts are names: `.wh.x`, `.wh..wh..opq`.
    FuseNamed,
    /// The same with layers whose whiteouts are attributes: `user.overlay.whiteout`.
    FuseXattr,
    /// The same with the index of the layers made before.
    FuseIndexed,
    /// The same for a user without ranges of ids: one id is mapped, owners are recorded.
    FuseRecorded,
    /// Our tree without an upper directory.
    FuseReadOnly,
    /// Our overlay behind the `fuser` front end.
    Fuser,
    /// Our overlay behind the `fuse3` front end.
    Fuse3,
}

/// How a layer says that something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    Devices,
    Names,
    Attributes,
    /// No layers at all: the thing is removed.
    None,
}

const LAYERED: &str = "layered";
const OVERLAY: &str = "overlay";
const PURE: &str = "pure";

impl System {
    #[rustfmt::skip]
    pub(crate) const ALL: [Self; 11] = [
        Self::Ext4, Self::Kernel, Self::Hybrid, Self::Fuse, Self::FuseNamed, Self::FuseXattr, Self::FuseIndexed,
        Self::FuseRecorded, Self::FuseReadOnly, Self::Fuser, Self::Fuse3,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Kernel => "kernel",
            Self::Hybrid => "hybrid",
            Self::Fuse => "fuse",
            Self::FuseNamed => "fuse-named",
            Self::FuseXattr => "fuse-xattr",
            Self::FuseIndexed => "fuse-indexed",
            Self::FuseRecorded => "fuse-recorded",
            Self::FuseReadOnly => "fuse-read-only",
            Self::Fuser => "fuser",
            Self::Fuse3 => "fuse3",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name() == name)
    }

    /// Whether a name in a table means this one: its own, or that of a group.
    pub(crate) fn is(self, name: &str) -> bool {
        let overlay = matches!(self, Self::Kernel | Self::Hybrid);
        match name {
            LAYERED => self != Self::Ext4,
            OVERLAY => overlay,
            PURE => self != Self::Ext4 && !overlay,
            own => self.name() == own,
        }
    }

    pub(crate) fn is_name(name: &str) -> bool {
        [LAYERED, OVERLAY, PURE].contains(&name) || Self::from_name(name).is_some()
    }

    pub(crate) fn whiteouts(self) -> Whiteouts {
        match self {
            Self::Ext4 => Whiteouts::None,
            Self::FuseNamed => Whiteouts::Names,
            Self::FuseXattr => Whiteouts::Attributes,
            _ => Whiteouts::Devices,
        }
    }

    /// Whether it needs our server.
    pub(crate) fn is_served(self) -> bool {
        !matches!(self, Self::Ext4 | Self::Kernel)
    }

    /// Whether more than one id is mapped.
    pub(crate) fn has_ids(self) -> bool {
        self != Self::FuseRecorded
    }

    /// What a model of it has to know.
    pub(crate) fn rules(self) -> Rules {
        Rules { overlay: self.is(OVERLAY), has_ids: self.has_ids(), marked: self.is("hybrid") }
    }

    fn front(self) -> &'static str {
        match self {
            Self::Fuser => "fuser",
            Self::Fuse3 => "fuse3",
            _ => "raw",
        }
    }
}

/// The directories of one test.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
}

impl Place {
    /// Layers from the top down.
    pub(crate) fn lowers(&self) -> [PathBuf; 3] {
        [3, 2, 1].map(|number| self.lower(number))
    }

    pub(crate) fn lower(&self, number: u8) -> PathBuf {
        self.dir.join(format!("l{number}"))
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// The file of the index.
    pub(crate) fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    fn read_only(&self) -> PathBuf {
        self.dir.join("read-only")
    }

    /// Where the tree is seen.
    pub(crate) fn mounted(&self) -> PathBuf {
        self.dir.join("mounted")
    }

    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let mut all = self.lowers().to_vec();
        all.extend([self.upper(), self.work(), self.read_only(), self.mounted()]);
        all
    }
}

/// A namespace with ids, mounted or not: what `command` is prefixed with.
pub(crate) fn enter(system: System, place: &Place) -> Vec<OsString> {
    match system {
        System::Ext4 => namespace(system),
        System::Kernel => [namespace(system), overlay(place, &place.lowers())].concat(),
        System::Hybrid => {
            let served = served(system, place, &[], &place.read_only());
            [served, overlay(place, &[place.read_only()])].concat()
        }
        System::FuseReadOnly => served(system, place, &[], &place.mounted()),
        _ => {
            let [upper, work] = [place.upper(), place.work()].map(PathBuf::into_os_string);
            served(system, place, &["--upper".into(), upper, "--work".into(), work], &place.mounted())
        }
    }
}

/// `unshare` with root, and the user's ranges unless there are none.
pub(crate) fn namespace(system: System) -> Vec<OsString> {
    let ids: &[&str] = if system.has_ids() { &["--map-auto"] } else { &[] };
    ["unshare", "--map-root-user", "--mount"].iter().chain(ids).chain(&["--"]).map(OsString::from).collect()
}

fn overlay(place: &Place, lowers: &[PathBuf]) -> Vec<OsString> {
    let lowers: Vec<_> = lowers.iter().map(|lower| lower.display().to_string()).collect();
    let options = format!(
        "userxattr,lowerdir={},upperdir={},workdir={}",
        lowers.join(":"),
        place.upper().display(),
        place.work().display()
    );
    let script = r#"mount -t overlay overlay -o "$1" "$2" || exit 99; shift 2; exec "$@""#;
    ["sh", "-c", script, "sh", &options].map(OsString::from).into_iter().chain([place.mounted().into()]).collect()
}

fn served(system: System, place: &Place, writable: &[OsString], at: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = [server().into(), "--front".into(), system.front().into()].into();
    words.push(if system.has_ids() { "--map-auto".into() } else { "--ids".into() });
    words.extend((!system.has_ids()).then(|| "recorded".into()));
    if system == System::FuseIndexed {
        words.extend(["--index".into(), place.index().into()]);
    }
    for lower in place.lowers() {
        words.extend(["--lower".into(), lower.into()]);
    }
    words.extend_from_slice(writable);
    words.extend([at.into(), "--".into()]);
    words
}

/// The crate's example, which cargo builds beside its tests.
pub(crate) fn server() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    let built = own.parent().and_then(Path::parent).expect("a directory of built things");
    built.join("examples/overlay_run")
}

/// Whether the server can run at all here.
pub(crate) fn why_not(system: System) -> Option<String> {
    if !system.is_served() {
        return None;
    }
    if !server().exists() {
        return Some(format!("{} is not built", server().display()));
    }
    let device = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    device.err().map(|error| format!("/dev/fuse: {error}"))
}

/// Whether the example was built without that front end: it is asked for an overlay of nothing.
pub(crate) fn lacks_front(system: System) -> bool {
    if !matches!(system, System::Fuser | System::Fuse3) {
        return false;
    }
    let Ok(dir) = tempfile::tempdir() else { return false };
    let mut command = Command::new(server());
    command.args(["--front", system.front(), "--lower"]).arg(dir.path()).arg(dir.path()).args(["--", "true"]);
    command.output().is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("no front end"))
}
