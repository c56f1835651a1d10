//! `--mount type=…,source=…,target=…,…`: one comma-separated list of keys.

use std::path::Path;

use crate::model::container::{Mount, MountSource};

use super::options::{Kind, Options, refuse};
use super::volume::{host_path, volume_name};
use super::{InvalidFlag, target};

const FLAG: &str = "--mount";

/// Reads `type=bind,src=/data,dst=/data,ro,bind-propagation=rslave` and its kin.
/// `type` is `volume` when it is not given; a relative source of a bind is taken
/// from `cwd`. Other than with `-v`, a missing source is not made.
///
/// # Errors
/// If a key is unknown, doubled or of another type, or a value is not valid.
pub fn parse(text: &str, cwd: &Path) -> Result<Mount, InvalidFlag> {
    let refuse = refuse(FLAG, text);
    let fields = fields(text).map_err(&refuse)?;
    let fields: Vec<(&str, Option<&str>)> = fields.iter().map(|field| split(field)).collect();
    let kind = match fields.iter().find(|(key, _)| *key == "type").and_then(|(_, value)| *value) {
        Some("bind") => Kind::Bind,
        Some("volume") | None => Kind::Volume,
        Some("tmpfs") => Kind::Tmpfs,
        Some(other) => return Err(refuse(format!("unknown type {other:?}; known are bind, volume and tmpfs"))),
    };
    let mut gathered = Gathered::default();
    for (key, value) in &fields {
        gathered.take(kind, key, *value).map_err(&refuse)?;
    }
    let target = gathered.target.ok_or_else(|| refuse("no target=PATH is given".into()))?;
    let source = match (kind, gathered.source) {
        (Kind::Bind, None) => return Err(refuse("a bind needs source=PATH".into())),
        (Kind::Bind, Some(source)) => {
            MountSource::Bind { path: host_path(source, cwd).map_err(&refuse)?, create: false }
        }
        (Kind::Volume, None) => MountSource::AnonymousVolume,
        (Kind::Volume, Some(name)) => MountSource::Volume(volume_name(name).map_err(&refuse)?),
        (Kind::Tmpfs, None) => MountSource::Tmpfs,
        (Kind::Tmpfs, Some(_)) => return Err(refuse("a tmpfs has no source".into())),
    };
    let target = target::parse(FLAG, target).map_err(|error| refuse(error.reason))?;
    let read_only = gathered.options.read_only.unwrap_or(false);
    Ok(Mount { source, target, read_only, options: gathered.options.words })
}

/// Fields as CSV has them, which is what docker reads: one in quotes may have commas in it.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut characters) = (false, text.chars().peekable());
    while let Some(character) = characters.next() {
        let Some(field) = fields.last_mut() else { continue };
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok(fields) }
}

fn split(field: &str) -> (&str, Option<&str>) {
    field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)))
}

#[derive(Default)]
struct Gathered<'a> {
    seen: Vec<&'a str>,
    source: Option<&'a str>,
    target: Option<&'a str>,
    options: Options,
}

impl<'a> Gathered<'a> {
    fn take(&mut self, kind: Kind, key: &'a str, value: Option<&'a str>) -> Result<(), String> {
        let name = match key {
            "src" => "source",
            "dst" | "destination" => "target",
            "ro" => "readonly",
            other => other,
        };
        if self.seen.contains(&name) {
            return Err(format!("{name} is given twice"));
        }
        self.seen.push(name);
        let given = value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{key} needs a value"));
        match (name, kind) {
            ("type", _) => {}
            ("source", _) => self.source = Some(given?),
            ("target", _) => self.target = Some(given?),
            ("readonly", _) => self.options.take(kind, if flag(key, value)? { "ro" } else { "rw" })?,
            ("bind-propagation", Kind::Bind) => self.options.take(kind, propagation(given?)?)?,
            ("bind-nonrecursive", Kind::Bind) => {
                self.options.take(kind, if flag(key, value)? { "bind" } else { "rbind" })?;
            }
            ("bind-recursive", Kind::Bind) => match given? {
                "enabled" | "writable" | "readonly" => self.options.take(kind, "rbind")?,
                "disabled" => self.options.take(kind, "bind")?,
                other => return Err(format!("bind-recursive={other}: expected enabled or disabled")),
            },
            ("volume-nocopy", Kind::Volume) => {
                if flag(key, value)? {
                    self.options.take(kind, "nocopy")?;
                }
            }
            ("tmpfs-size", Kind::Tmpfs) => self.options.take(kind, &format!("size={}", given?))?,
            ("tmpfs-mode", Kind::Tmpfs) => self.options.take(kind, &format!("mode={}", given?))?,
            _ => return Err(unknown(name, kind)),
        }
        Ok(())
    }
}

fn propagation(word: &str) -> Result<&str, String> {
    const KNOWN: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
    if KNOWN.contains(&word) {
        return Ok(word);
    }
    Err(format!("bind-propagation={word}: expected one of {}", KNOWN.join(", ")))
}

fn flag(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("{key}={other}: expected true or false")),
    }
}

fn unknown(key: &str, kind: Kind) -> String {
    let more = match kind {
        Kind::Bind => "bind-propagation, bind-nonrecursive, bind-recursive",
        Kind::Volume => "volume-nocopy",
        Kind::Tmpfs => "tmpfs-size, tmpfs-mode",
    };
    format!("unknown key {key:?}; for this type known are type, source, target, readonly, {more}")
}
