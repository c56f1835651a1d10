//! What the layers hold: the steps of the tables, and the two words that only layers know.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pybox_fuse_overlay::index;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

use crate::script::{Case, Layer};
use crate::step::World;
use crate::systems::{Place, System, Whiteouts};
use crate::text;

type Result<T> = std::result::Result<T, String>;

/// Makes the layers of all cases; runs in the namespace, on a thread with a directory of its own.
pub(crate) fn prepare(system: System, place: &Place, cases: &[Case]) -> Result<()> {
    rustix::process::umask(Mode::empty());
    for dir in place.directories() {
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        rustix::fs::chmod(&dir, Mode::from_raw_mode(0o755)).map_err(|error| error.to_string())?;
    }
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| !case.skips(system)) {
        let mut steps = case.layers.clone();
        steps.sort_by_key(|(layer, _)| *layer);
        steps.insert(0, (Layer::Lower(1), "umask 0".into()));
        for (layer, step) in steps {
            within(system, place, number, layer, &step)
                .map_err(|why| format!("case `{}`, {layer:?}: `{step}`: {why}", case.name))?;
        }
    }
    if system == System::FuseIndexed { build_index(place) } else { Ok(()) }
}

/// In the namespace owners are those of the image already.
fn build_index(place: &Place) -> Result<()> {
    let lowers = place.lowers().map(|lower| fs::File::open(lower).map_err(said));
    let lowers: Vec<_> = lowers.into_iter().collect::<Result<_>>()?;
    let layers: Vec<_> = lowers.iter().map(|lower| index::Layer { directory: lower.as_fd(), owners: None }).collect();
    let file = fs::File::options().read(true).write(true).create_new(true).open(place.index()).map_err(said)?;
    index::build(&layers, &|uid, gid| (uid, gid), &file).map_err(said).map(drop)
}

/// The name of a case's directory.
pub(crate) fn directory(number: usize) -> String {
    format!("c{number:04}")
}

fn within(system: System, place: &Place, number: usize, layer: Layer, step: &str) -> Result<()> {
    let whiteouts = system.whiteouts();
    let root = match layer {
        _ if whiteouts == Whiteouts::None => place.mounted(),
        Layer::Lower(number) => place.lower(number),
        Layer::Upper => place.upper(),
    };
    let dir = root.join(directory(number));
    if !dir.exists() {
        fs::create_dir(&dir).map_err(|error| error.to_string())?;
        rustix::fs::chmod(&dir, Mode::from_raw_mode(0o755)).map_err(|error| error.to_string())?;
    }
    std::env::set_current_dir(&dir).map_err(|error| error.to_string())?;
    let whiteouts = match (layer, whiteouts) {
        (_, Whiteouts::None) => Whiteouts::None,
        (Layer::Upper, _) => Whiteouts::Devices,
        (_, other) => other,
    };
    let words = text::words(step)?;
    match words.first().map(Vec::as_slice) {
        Some(b"whiteout") => white_out(whiteouts, path(&words, 1)?),
        Some(b"opaque") => make_opaque(whiteouts, path(&words, 1)?),
        word => {
            if whiteouts == Whiteouts::None && replaces(word, &words)? {
                return Ok(());
            }
            let answer = World::default().run(step);
            if answer == "ok" || answer == "0" { Ok(()) } else { Err(answer) }
        }
    }
}

fn path(words: &[Vec<u8>], index: usize) -> Result<&Path> {
    let word = words.get(index).ok_or("a path is missing")?;
    Ok(Path::new(std::ffi::OsStr::from_bytes(word)))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn white_out(whiteouts: Whiteouts, path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match whiteouts {
        Whiteouts::None => remove(path),
        Whiteouts::Devices => mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).map_err(said),
        Whiteouts::Names => {
            let name = path.file_name().ok_or("a whiteout has a name")?.as_bytes();
            let name = [b".wh.", name].concat();
            fs::write(parent.join(std::ffi::OsStr::from_bytes(&name)), "").map_err(said)
        }
        Whiteouts::Attributes => {
            fs::write(path, "").map_err(said)?;
            lsetxattr(path, "user.overlay.whiteout", b"y", XattrFlags::empty()).map_err(said)?;
            lsetxattr(parent, "user.overlay.opaque", b"x", XattrFlags::empty()).map_err(said)
        }
    }
}

fn make_opaque(whiteouts: Whiteouts, path: &Path) -> Result<()> {
    match whiteouts {
        Whiteouts::None => {
            for entry in fs::read_dir(path).map_err(said)? {
                remove(&entry.map_err(said)?.path())?;
            }
            Ok(())
        }
        Whiteouts::Names => fs::write(path.join(".wh..wh..opq"), "").map_err(said),
        Whiteouts::Devices | Whiteouts::Attributes => {
            lsetxattr(path, "user.overlay.opaque", b"y", XattrFlags::empty()).map_err(said)
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).map_err(said),
        Ok(_) => fs::remove_file(path).map_err(said),
    }
}

/// Without layers, what a higher layer makes takes the place of what is there. True if that was all.
fn replaces(word: Option<&[u8]>, words: &[Vec<u8>]) -> Result<bool> {
    let made = match word {
        Some(b"file" | b"mknod" | b"mkdir") => 1,
        Some(b"symlink" | b"link" | b"install") => 2,
        _ => return Ok(false),
    };
    let path = path(words, made)?;
    if word == Some(b"mkdir") && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        let mode = words.get(2).map_or("755".into(), |mode| String::from_utf8_lossy(mode).into_owned());
        let mode = u32::from_str_radix(&mode, 8).map_err(said)?;
        // As if new: of the lower directory only its entries are left.
        rustix::fs::chown(path, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT)).map_err(said)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(mode)).map_err(said)?;
        for name in ["user.a", "system.posix_acl_default", "system.posix_acl_access"] {
            rustix::fs::lremovexattr(path, name).ok();
        }
        return Ok(true);
    }
    remove(path)?;
    Ok(false)
}
