//! `RUN --mount=type=cache,target=/root/.cache`.

use crate::build::graph::{Cache, Mount, Sharing, Ssh};
use crate::build::nearest::nearest;
use crate::build::{Mistake, Position};
use crate::model::flags::size;

const TYPES: [&str; 5] = ["bind", "cache", "secret", "ssh", "tmpfs"];

/// What a mount says, key by key.
#[derive(Default)]
struct Said<'s> {
    pairs: Vec<(&'s str, Option<&'s str>)>,
}

impl<'s> Said<'s> {
    fn get(&self, names: &[&str]) -> Option<&'s str> {
        self.pairs.iter().rev().find(|(key, _)| names.contains(key)).and_then(|(_, value)| *value)
    }

    /// `ro`, `ro=true`, `ro=1`.
    fn switch(&self, names: &[&str]) -> Result<Option<bool>, String> {
        let Some((key, value)) = self.pairs.iter().rev().find(|(key, _)| names.contains(key)) else { return Ok(None) };
        match value {
            None | Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(format!("{key}={other} is neither true nor false")),
        }
    }

    /// `uid` and `gid`.
    fn owner(&self) -> Result<(u32, u32), String> {
        let id = |key: &str| {
            let Some(text) = self.get(&[key]) else { return Ok(0) };
            // The last number is none (credentials(7)).
            let id = text.parse::<u32>().ok().filter(|id| *id < u32::MAX && !text.starts_with('+'));
            id.ok_or_else(|| format!("{key}={text} is no id"))
        };
        Ok((id("uid")?, id("gid")?))
    }
}

/// Reads what stands after `--mount=`.
///
/// # Errors
/// With what makes no sense.
pub(super) fn parse(text: &str, position: Position) -> Result<Mount, Mistake> {
    let wrong = |why: String| Mistake::new(position, format!("--mount={text}: {why}"));
    let unquoted = text.trim_matches('"');
    let pairs = unquoted.split(',').map(|part| match part.split_once('=') {
        Some((key, value)) => (key.trim(), Some(value.trim())),
        None => (part.trim(), None),
    });
    let said = Said { pairs: pairs.collect() };
    let kind = said.get(&["type"]).unwrap_or("bind");
    let known: &[&str] = match kind {
        "bind" => {
            &["type", "from", "source", "src", "target", "dst", "destination", "rw", "readwrite", "ro", "readonly"]
        }
        "cache" => &[
            "type",
            "id",
            "target",
            "dst",
            "destination",
            "sharing",
            "from",
            "source",
            "src",
            "uid",
            "gid",
            "mode",
            "rw",
            "readwrite",
            "ro",
            "readonly",
        ],
        "secret" => &["type", "id", "target", "dst", "destination", "required", "env", "mode", "uid", "gid"],
        "ssh" => &["type", "id", "target", "dst", "destination", "required", "mode", "uid", "gid"],
        "tmpfs" => &["type", "target", "dst", "destination", "size"],
        other => {
            let meant = nearest(other, &TYPES).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            let hint = format!("mounts are of type {}", TYPES.join(", "));
            return Err(wrong(format!("there is no type {other}{meant}")).hint(hint));
        }
    };
    if let Some((key, _)) = said.pairs.iter().find(|(key, _)| !known.contains(key)) {
        let meant = nearest(key, known).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        let hint = format!("its keys are {}", known.join(", "));
        return Err(wrong(format!("a mount of type {kind} has no key {key}{meant}")).hint(hint));
    }
    let target = said.get(&["target", "dst", "destination"]).map(str::to_owned);
    let required = || {
        let mistake = wrong("it has no target".to_owned());
        target.clone().ok_or_else(|| mistake.hint(format!("--mount=type={kind},target=/path")))
    };
    let mode = said.get(&["mode"]).map(|text| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.ok_or_else(|| wrong(format!("mode {text} are no permission bits")))
    });
    let mode = mode.transpose()?;
    let owner = said.owner().map_err(wrong)?;
    let read_only = |usual: bool| {
        let (only, both) = (said.switch(&["ro", "readonly"]), said.switch(&["rw", "readwrite"]));
        match (only.map_err(wrong)?, both.map_err(wrong)?) {
            (Some(only), Some(both)) if only == both => Err(wrong("ro and rw exclude each other".to_owned())),
            (Some(only), _) => Ok(only),
            (None, Some(both)) => Ok(!both),
            (None, None) => Ok(usual),
        }
    };
    match kind {
        "cache" => {
            let target = required()?;
            let id = said.get(&["id"]).map_or_else(|| target.clone(), str::to_owned);
            let sharing = said.get(&["sharing"]).map(|word| {
                let meant = nearest(word, &Sharing::WORDS).map(|meant| format!("; did you mean {meant}?"));
                let mistake = || wrong(format!("there is no sharing {word}{}", meant.unwrap_or_default()));
                Sharing::parse(word).ok_or_else(|| mistake().hint(format!("sharing is {}", Sharing::WORDS.join(", "))))
            });
            let (from, source) = (said.get(&["from"]).map(str::to_owned), said.get(&["source", "src"]));
            if source.is_some() && from.is_none() {
                return Err(wrong("source is a path in what from names".to_owned()).hint("from=STAGE,source=/path"));
            }
            Ok(Mount::Cache(Cache {
                id,
                target,
                read_only: read_only(false)?,
                sharing: sharing.transpose()?.unwrap_or_default(),
                from,
                source: source.unwrap_or("/").to_owned(),
                owner,
                mode,
            }))
        }
        "secret" => {
            let of_target = || target.as_deref().and_then(|target| target.rsplit('/').next());
            let id = said.get(&["id"]).or_else(of_target).filter(|id| !id.is_empty() && !id.contains('/'));
            let id = id.ok_or_else(|| wrong("it has no id".to_owned()).hint("--mount=type=secret,id=token"))?;
            let variable = said.get(&["env"]).map(str::to_owned);
            let usual = variable.is_none().then(|| format!("/run/secrets/{id}"));
            Ok(Mount::Secret {
                id: id.to_owned(),
                target: target.or(usual),
                variable,
                required: said.switch(&["required"]).map_err(wrong)?.unwrap_or(false),
                mode: mode.unwrap_or(0o400),
                owner,
            })
        }
        "ssh" => Ok(Mount::Ssh(Ssh {
            id: said.get(&["id"]).filter(|id| !id.is_empty()).unwrap_or(Ssh::USUAL).to_owned(),
            target,
            required: said.switch(&["required"]).map_err(wrong)?.unwrap_or(false),
            mode: mode.unwrap_or(Ssh::MODE),
            owner,
        })),
        "tmpfs" => {
            let size =
                said.get(&["size"]).map(|text| size::parse("--mount", text).map_err(|error| wrong(error.reason)));
            Ok(Mount::Tmpfs { target: required()?, size: size.transpose()? })
        }
        _ => Ok(Mount::Bind {
            from: said.get(&["from"]).map(str::to_owned),
            source: said.get(&["source", "src"]).unwrap_or(".").to_owned(),
            target: required()?,
            writable: !read_only(true)?,
        }),
    }
}
