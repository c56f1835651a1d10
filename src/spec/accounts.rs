//! `/etc/passwd` and `/etc/group` of an image: foreign text, read within limits.

use super::error::SpecError;

/// Most bytes of either file.
pub const MOST_BYTES: usize = 1 << 20;
const MOST_LINES: usize = 64 << 10;
const LONGEST_LINE: usize = 4 << 10;

/// A line of `/etc/passwd`, passwd(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person<'a> {
    pub(super) name: &'a str,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: &'a str,
}

/// A line of `/etc/group`, group(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) gid: u32,
    members: &'a str,
}

impl Group<'_> {
    /// Whether `name` is one of the members.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.split(',').any(|member| member.trim() == name)
    }
}

/// Refuses a file that is too large, has too many lines or too long a line.
fn within_limits(file: &'static str, text: &str) -> Result<(), SpecError> {
    let reason = if text.len() > MOST_BYTES {
        "it is larger than 1 MiB"
    } else if text.bytes().filter(|b| *b == b'\n').count() > MOST_LINES {
        "it has more than 65536 lines"
    } else if text.lines().any(|line| line.len() > LONGEST_LINE) {
        "a line is longer than 4 KiB"
    } else {
        return Ok(());
    };
    Err(SpecError::AccountFile { file, reason })
}

/// The entries of `/etc/passwd`; lines that are none are skipped, as libc does.
pub(super) fn people(text: &str) -> Result<impl Iterator<Item = Person<'_>>, SpecError> {
    within_limits("/etc/passwd", text)?;
    Ok(text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (_, home) = (fields.next(), fields.next().unwrap_or_default());
        Some(Person { name: entry_name(name)?, uid: id(uid)?, gid: id(gid)?, home })
    }))
}

/// The entries of `/etc/group`.
pub(super) fn groups(text: &str) -> Result<impl Iterator<Item = Group<'_>>, SpecError> {
    within_limits("/etc/group", text)?;
    Ok(text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Group { name: entry_name(name)?, gid: id(gid)?, members: fields.next().unwrap_or_default() })
    }))
}

fn entry_name(name: &str) -> Option<&str> {
    (!name.is_empty() && !name.starts_with(['#', '+', '-'])).then_some(name)
}

/// A number that is an id; -1 and what does not fit are none.
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}
