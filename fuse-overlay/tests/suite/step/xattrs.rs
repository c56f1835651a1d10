//! Extended attributes, ACLs in the kernel's binary form, and file capabilities.

use pybox_fuse_overlay_fuzz::bench::access_list;
use rustix::fs::{self, AtFlags, Mode, OFlags, XattrFlags};

use super::{Command, Failure, Outcome, Words, World, ok};
use crate::text;

pub(super) const TABLE: &[(&str, Command)] = &[
    ("setxattr", set),
    ("getxattr", get),
    ("xattrsize", size),
    ("xattrinto", into),
    ("listxattr", list),
    ("removexattr", remove),
    ("setacl", set_acl),
    ("getacl", get_acl),
    ("setcap", set_cap),
];

/// `setxattr PATH NAME VALUE [create|replace]`
fn set(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let place = words.next()?;
    let name = words.next()?;
    let value = words.next()?;
    let flags = match words.optional_text().as_deref() {
        Some("create") => XattrFlags::CREATE,
        Some("replace") => XattrFlags::REPLACE,
        _ => XattrFlags::empty(),
    };
    put(world, place, (name, value), flags)
}

fn put(world: &World, place: &[u8], (name, value): (&[u8], &[u8]), flags: XattrFlags) -> Outcome {
    if place.starts_with(b"@") {
        fs::fsetxattr(world.open_file(place)?, name, value, flags)?;
    } else {
        fs::lsetxattr(place, name, value, flags)?;
    }
    ok()
}

fn value(world: &World, place: &[u8], name: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
    let mut buffer = vec![0; room];
    let got = if place.starts_with(b"@") {
        fs::fgetxattr(world.open_file(place)?, name, &mut buffer)?
    } else {
        fs::lgetxattr(place, name, &mut buffer)?
    };
    buffer.truncate(got);
    Ok(buffer)
}

fn get(world: &mut World, words: &mut Words<'_>) -> Outcome {
    Ok(text::show(&value(world, words.next()?, words.next()?, 64 << 10)?))
}

/// What a call without room for the value answers.
fn size(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let place = words.next()?;
    if words.words.is_empty() {
        return Ok(fs::llistxattr_query(place)?.to_string());
    }
    Ok(fs::lgetxattr_query(place, words.next()?)?.to_string())
}

/// `xattrinto PATH NAME ROOM`: with room for so many bytes.
fn into(world: &mut World, words: &mut Words<'_>) -> Outcome {
    Ok(text::show(&value(world, words.next()?, words.next()?, words.count()?)?))
}

/// The names, sorted. Those of security modules of the host come and go with the host.
fn list(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let place = words.next()?;
    let mut buffer = vec![0_u8; 64 << 10];
    let got = if place.starts_with(b"@") {
        fs::flistxattr(world.open_file(place)?, &mut buffer)?
    } else {
        fs::llistxattr(place, &mut buffer)?
    };
    let mut names: Vec<_> = buffer[..got].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.retain(|name| *name != b"security.selinux");
    names.sort_unstable();
    let names: Vec<_> = names.into_iter().map(text::name).collect();
    Ok(if names.is_empty() { "empty".into() } else { names.join(" ") })
}

fn remove(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let place = words.next()?;
    if place.starts_with(b"@") {
        fs::fremovexattr(world.open_file(place)?, words.next()?)?;
    } else {
        fs::lremovexattr(place, words.next()?)?;
    }
    ok()
}

/// Tags of the entries of an ACL, by their letter and whether they name an id.
const TAGS: &[(u16, &str, bool)] = &[
    (0x01, "u", false),
    (0x02, "u", true),
    (0x04, "g", false),
    (0x08, "g", true),
    (0x10, "m", false),
    (0x20, "o", false),
];

fn acl_name(kind: &str) -> &'static str {
    if kind == "default" { "system.posix_acl_default" } else { "system.posix_acl_access" }
}

/// `setacl PATH access|default u::rw-,u:1000:r--,g::r--,m::rw-,o::---`
fn set_acl(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let place = words.next()?;
    let name = acl_name(&words.text()?);
    let mut entries = Vec::new();
    for entry in words.text()?.split(',') {
        let wrong = || Failure::Said(format!("`{entry}` is no entry"));
        let mut parts = entry.split(':');
        let (letter, id) = (parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
        let rights = parts.next().ok_or_else(wrong)?;
        let tag =
            TAGS.iter().find(|(_, known, named)| *known == letter && *named != id.is_empty()).ok_or_else(wrong)?;
        let bits = [(b'r', 4_u16), (b'w', 2), (b'x', 1)].into_iter().filter(|(c, _)| rights.as_bytes().contains(c));
        entries.push((tag.0, bits.map(|(_, bit)| bit).sum(), id.parse().unwrap_or(u32::MAX)));
    }
    put(world, place, (name.as_bytes(), &access_list(entries)), XattrFlags::empty())
}

fn get_acl(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let place = words.next()?;
    let value = value(world, place, acl_name(&words.text()?).as_bytes(), 64 << 10)?;
    let entries = value.get(4..).unwrap_or_default().chunks_exact(8).map(|entry| {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let rights = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let (_, letter, named) = TAGS.iter().find(|(known, ..)| *known == tag).unwrap_or(&(0, "?", true));
        let right = |bit, letter| if rights & bit != 0 { letter } else { '-' };
        let id = if *named { id.to_string() } else { String::new() };
        format!("{letter}:{id}:{}{}{}", right(4, 'r'), right(2, 'w'), right(1, 'x'))
    });
    Ok(entries.collect::<Vec<_>>().join(","))
}

/// `setcap PATH`: the right to bind low ports, in effect on execution.
fn set_cap(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    let file = fs::openat(dir, path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
    for word in [1_u32 << 10, 0, 0, 0] {
        value.extend(word.to_le_bytes());
    }
    fs::fsetxattr(&file, "security.capability", &value, XattrFlags::empty())?;
    // Linked by name, not by file: the attribute has to be there for the next look-up too.
    fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW)?;
    ok()
}
