//! Everything that is in a directory, in one line: what the model of the random tests knows too.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Command, Failure, Outcome, Words, World, attributes, data};
use crate::text;

pub(super) const TABLE: &[(&str, Command)] = &[("tree", tree)];

pub(super) fn tree(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let mut lines = Vec::new();
    dump(data::path(words.next()?), &mut lines)?;
    Ok(lines.join(" "))
}

/// `PATH|TYPE|MODE|UID:GID|CONTENT|ATTRIBUTES`
fn dump(path: &Path, lines: &mut Vec<String>) -> Result<(), Failure> {
    let found = fs::symlink_metadata(path)?;
    let kind = attributes::kind(u16::try_from(found.mode() & 0xffff).unwrap_or(0));
    let links = found.nlink();
    let mut entries = Vec::new();
    if found.is_dir() {
        entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
        entries.sort();
    }
    let content = match kind {
        "file" => {
            let content = fs::read(path)?;
            if content.len() as u64 != found.len() {
                return Err(Failure::Said(format!(
                    "{} has {} bytes, and {} are read",
                    path.display(),
                    found.len(),
                    content.len()
                )));
            }
            format!("{}:{:x}:{links}", content.len(), text::sum(&content))
        }
        "link" => format!("{}:{links}", fs::read_link(path)?.display()),
        "dir" => entries.len().to_string(),
        _ => links.to_string(),
    };
    let attributes = user_attributes(path)?;
    let (mode, uid, gid) = (found.mode() & 0o7777, found.uid(), found.gid());
    lines.push(format!("{}|{kind}|{mode:04o}|{uid}:{gid}|{content}|{attributes}", path.display()));
    entries.iter().try_for_each(|entry| dump(entry, lines))
}

fn user_attributes(path: &Path) -> Outcome {
    let mut names = vec![0_u8; 4096];
    let got = rustix::fs::llistxattr(path, &mut names)?;
    let mut each = Vec::new();
    for name in names[..got].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")) {
        let mut value = vec![0_u8; 4096];
        let got = rustix::fs::lgetxattr(path, name, &mut value)?;
        let name = std::ffi::OsStr::from_bytes(name).to_string_lossy().into_owned();
        each.push(format!("{name}={}", String::from_utf8_lossy(&value[..got])));
    }
    each.sort();
    Ok(each.join(","))
}
