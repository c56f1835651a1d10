//! `[[steps]]`: each is one of run, copy, workdir, env, user and shell.

use super::reader::{Item, Placed, Section};
use super::{command, lower_python, shown, values};
use crate::build::graph::{Action, Cache, Command, Copy, Mount, Run, Sharing, Ssh, Step};
use crate::build::{Mistake, nearest};
use crate::model::flags::size;
use crate::model::permissions::Permissions;

const KINDS: [&str; 6] = ["run", "copy", "workdir", "env", "user", "shell"];
const STEP: [&str; 12] =
    ["name", "run", "copy", "workdir", "env", "user", "shell", "cache", "secret", "ssh", "mount", "network"];
const COPY: [&str; 9] = ["src", "dst", "from", "chown", "chmod", "unpack", "parents", "exclude", "checksum"];
const CACHE: [&str; 9] = ["id", "target", "read_only", "sharing", "from", "src", "uid", "gid", "mode"];
const SECRET: [&str; 7] = ["id", "target", "env", "required", "mode", "uid", "gid"];
const SSH: [&str; 6] = ["id", "target", "required", "mode", "uid", "gid"];
const MOUNT: [&str; 6] = ["type", "from", "src", "target", "size", "rw"];

/// Reads the steps of the document or of a stage; Python's come first.
pub(super) fn lower(section: &Section<'_>, steps: &mut Vec<Step>) -> Result<(), Mistake> {
    lower_python(section, steps)?;
    for section in section.sections("steps", "[[steps]]", &STEP)? {
        steps.push(step(&section)?);
    }
    Ok(())
}

fn step(section: &Section<'_>) -> Result<Step, Mistake> {
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| section.has(kind)).collect();
    let kind = match kinds.as_slice() {
        // A command may have variables of its own.
        [kind] | [kind @ "run", "env"] => *kind,
        [] => {
            let mistake = section.mistake("the step does nothing");
            return Err(mistake.hint(format!("give it one of {}", KINDS.join(", "))));
        }
        several => {
            let mistake = section.mistake(format!("the step is {} at once", several.join(" and ")));
            return Err(mistake.hint("make a step of each, in the order that is meant".to_owned()));
        }
    };
    for key in ["cache", "secret", "ssh", "mount", "network"] {
        if kind != "run" && section.has(key) {
            let mistake = section.mistake(format!("{key} is for steps that run a command, and this one is {kind}"));
            return Err(mistake.hint("leave it out, or give the step a run"));
        }
    }
    let (action, text) = match kind {
        "run" => run(section)?,
        "copy" => copy(section)?,
        "env" => {
            let pairs = section.pairs("env")?.unwrap_or_default();
            let words: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (Action::Environment(pairs), format!("ENV {}", words.join(" ")))
        }
        "shell" => {
            let words = values(section.texts("shell")?.unwrap_or_default());
            (Action::Shell(words.clone()), format!("SHELL {words:?}"))
        }
        "user" => {
            let user = section.scalar("user")?.map(|user| user.value).unwrap_or_default();
            (Action::User(user.clone()), format!("USER {user}"))
        }
        _ => {
            let path = section.required("workdir")?.value;
            (Action::Directory(path.clone()), format!("WORKDIR {path}"))
        }
    };
    let name = section.text("name")?.map(|name| name.value);
    Ok(Step { name, shown: text, action, position: section.position() })
}

fn run(section: &Section<'_>) -> Result<(Action, String), Mistake> {
    let command = command(section, "run")?.unwrap_or(Command::Text(String::new()));
    let empty = match &command {
        Command::Words(words) => words.first().is_none_or(String::is_empty),
        Command::Text(text) => text.trim().is_empty(),
    };
    if empty {
        return Err(section.mistake("the command of the step is empty").hint("as in run = \"make\""));
    }
    let mut mounts = Vec::new();
    for item in section.items("cache", "cache", &CACHE)? {
        mounts.push(cache(item)?);
    }
    for item in section.items("secret", "secret", &SECRET)? {
        mounts.push(secret(item)?);
    }
    for item in section.items("ssh", "ssh", &SSH)? {
        mounts.push(Mount::Ssh(ssh(item)?));
    }
    for item in section.items("mount", "mount", &MOUNT)? {
        mounts.push(mount(item)?);
    }
    let text = format!("RUN {}", shown(&command));
    let network = section.text("network")?.map(network).transpose()?;
    let environment = section.pairs("env")?.unwrap_or_default();
    Ok((Action::Run(Run { command, mounts, network, environment }), text))
}

fn network(text: Placed<String>) -> Result<String, Mistake> {
    if matches!(text.value.as_str(), "none" | "host" | "default") {
        return Ok(text.value);
    }
    let mistake = Mistake::new(text.position, format!("there is no network {:?}", text.value));
    Err(mistake.hint("network is none, host or default"))
}

/// `"/root/.cache"`, or a table with its name.
fn cache(item: Item<'_>) -> Result<Mount, Mistake> {
    let section = match item {
        Item::Text(target) => {
            let target = absolute(&target, "cache")?;
            return Ok(Mount::Cache(Cache { id: target.clone(), target, source: "/".to_owned(), ..Cache::default() }));
        }
        Item::Section(section) => section,
    };
    let target = absolute(&section.required("target")?, "cache")?;
    let sharing = section.text("sharing")?.map(|Placed { value, position }| {
        Sharing::parse(&value).ok_or_else(|| {
            let meant = nearest::nearest(&value, &Sharing::WORDS).map(|meant| format!("; did you mean {meant}?"));
            let mistake = Mistake::new(position, format!("there is no sharing {value:?}{}", meant.unwrap_or_default()));
            mistake.hint(format!("sharing is {}", Sharing::WORDS.join(", ")))
        })
    });
    let (from, source) = (section.text("from")?, section.text("src")?);
    if let (None, Some(source)) = (&from, &source) {
        let mistake = Mistake::new(source.position, "src of a cache is a path in what from names");
        return Err(mistake.hint("add from, with a stage or an image"));
    }
    Ok(Mount::Cache(Cache {
        id: section.text("id")?.map_or_else(|| target.clone(), |id| id.value),
        target,
        read_only: section.boolean("read_only")?.unwrap_or(false),
        sharing: sharing.transpose()?.unwrap_or_default(),
        from: from.map(|from| from.value),
        source: source.map_or_else(|| "/".to_owned(), |source| source.value),
        owner: owner(&section)?,
        mode: section.scalar("mode")?.map(|text| mode(&text)).transpose()?,
    }))
}

/// `uid` and `gid`; root's without them.
fn owner(section: &Section<'_>) -> Result<(u32, u32), Mistake> {
    let id = |key| {
        let Some(Placed { value, position }) = section.scalar(key)? else { return Ok(0) };
        // The last number is none (credentials(7)).
        let id = value.parse::<u32>().ok().filter(|id| *id < u32::MAX);
        id.ok_or_else(|| Mistake::new(position, format!("{key} is {value:?}; expected a number, as in 1000")))
    };
    Ok((id("uid")?, id("gid")?))
}

/// `"token"`, or a table: where it is seen.
fn secret(item: Item<'_>) -> Result<Mount, Mistake> {
    let section = match item {
        Item::Text(id) => {
            let target = Some(format!("/run/secrets/{}", secret_name(&id)?));
            return Ok(Mount::Secret {
                id: id.value,
                target,
                variable: None,
                required: true,
                mode: 0o400,
                owner: (0, 0),
            });
        }
        Item::Section(section) => section,
    };
    let id = section.required("id")?;
    let name = secret_name(&id)?.to_owned();
    let variable = section.text("env")?.map(|text| text.value);
    let target = section.text("target")?.map(|target| absolute(&target, "secret")).transpose()?;
    let target = if variable.is_some() { target } else { target.or_else(|| Some(format!("/run/secrets/{name}"))) };
    let mode = section.scalar("mode")?.map(|text| mode(&text)).transpose()?.unwrap_or(0o400);
    let required = section.boolean("required")?.unwrap_or(true);
    let owner = owner(&section)?;
    Ok(Mount::Secret { id: id.value, target, variable, required, mode, owner })
}

/// `"default"`, or a table: where the agent is seen.
fn ssh(item: Item<'_>) -> Result<Ssh, Mistake> {
    let (id, section) = match item {
        Item::Text(id) => (Some(id), None),
        Item::Section(section) => (section.text("id")?, Some(section)),
    };
    if let Some(id) = id.as_ref().filter(|id| id.value.is_empty()) {
        return Err(Mistake::new(id.position, "the agent has no name").hint("as in ssh = \"default\""));
    }
    let id = id.map_or_else(|| Ssh::USUAL.to_owned(), |id| id.value);
    let Some(section) = section else {
        return Ok(Ssh { id, target: None, required: true, mode: Ssh::MODE, owner: (0, 0) });
    };
    Ok(Ssh {
        id,
        target: section.text("target")?.map(|target| absolute(&target, "agent")).transpose()?,
        required: section.boolean("required")?.unwrap_or(true),
        mode: section.scalar("mode")?.map(|text| mode(&text)).transpose()?.unwrap_or(Ssh::MODE),
        owner: owner(&section)?,
    })
}

/// It becomes the name of a file.
fn secret_name(id: &Placed<String>) -> Result<&str, Mistake> {
    let plain = !id.value.is_empty() && !id.value.contains('/') && !matches!(id.value.as_str(), "." | "..");
    if plain { Ok(&id.value) } else { Err(Mistake::new(id.position, format!("{:?} is no name of a secret", id.value))) }
}

fn mount(item: Item<'_>) -> Result<Mount, Mistake> {
    let section = match item {
        Item::Text(text) => {
            let mistake = Mistake::new(text.position, "a mount is a table");
            return Err(mistake.hint("as in mount = { type = \"bind\", src = \"data\", target = \"/data\" }"));
        }
        Item::Section(section) => section,
    };
    let kind = section.text("type")?;
    let target = absolute(&section.required("target")?, "mount")?;
    match kind.as_ref().map_or("bind", |kind| kind.value.as_str()) {
        "bind" => Ok(Mount::Bind {
            from: section.text("from")?.map(|from| from.value),
            source: section.text("src")?.map_or_else(|| ".".to_owned(), |source| source.value),
            target,
            writable: section.boolean("rw")?.unwrap_or(false),
        }),
        "tmpfs" => {
            let size = section.scalar("size")?.map(|text| {
                let wrong = |_| Mistake::new(text.position, format!("{:?} is no size, as in \"64m\"", text.value));
                size::parse("size", &text.value).map_err(wrong)
            });
            Ok(Mount::Tmpfs { target, size: size.transpose()? })
        }
        other => {
            let meant = nearest::nearest(other, &["bind", "tmpfs"]);
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            let mistake = section.mistake(format!("there is no mount of type {other:?}{meant}"));
            Err(mistake.hint("mounts are of type bind or tmpfs; caches, secrets and ssh have keys of their own"))
        }
    }
}

fn copy(section: &Section<'_>) -> Result<(Action, String), Mistake> {
    let Some(section) = section.section("copy", "copy", &COPY)? else {
        return Err(section.mistake("copy is missing"));
    };
    let sources = section.texts("src")?.unwrap_or_default();
    if sources.is_empty() {
        return Err(section.mistake("copy lacks the key src").hint("as in copy = { src = \"./src\", dst = \"/app\" }"));
    }
    let to = section.required("dst")?;
    if sources.len() > 1 && !to.value.ends_with('/') {
        let mistake =
            Mistake::new(to.position, format!("several files go to {:?}, which ends with no slash", to.value));
        return Err(mistake.hint(format!("dst = \"{}/\"", to.value)));
    }
    let copy = Copy {
        from: section.text("from")?.map(|from| from.value),
        sources: values(sources),
        inline: Vec::new(),
        to: to.value,
        owner: section.scalar("chown")?.map(|owner| owner.value),
        mode: section.scalar("chmod")?.map(|text| permissions(&text)).transpose()?,
        unpack: section.boolean("unpack")?.unwrap_or(false),
        addresses: !section.has("from"),
        checksum: section.text("checksum")?.map(|checksum| checksum.value),
        parents: section.boolean("parents")?.unwrap_or(false),
        exclude: values(section.texts("exclude")?.unwrap_or_default()),
    };
    let from = copy.from.as_ref().map(|from| format!("--from={from} ")).unwrap_or_default();
    let text = format!("COPY {from}{} {}", copy.sources.join(" "), copy.to);
    Ok((Action::Copy(copy), text))
}

/// As `chmod` takes them.
fn permissions(text: &Placed<String>) -> Result<Permissions, Mistake> {
    Permissions::parse(&text.value).ok_or_else(|| {
        let mistake = Mistake::new(text.position, format!("{:?} are no permission bits", text.value));
        mistake.hint("as in chmod = \"0755\", or chmod = \"u=rwX,go=rX\"")
    })
}

/// Permission bits in base 8, as in `"0644"`.
fn mode(text: &Placed<String>) -> Result<u32, Mistake> {
    let digits = text.value.strip_prefix("0o").unwrap_or(&text.value);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| {
        let mistake = Mistake::new(text.position, format!("{:?} are no permission bits", text.value));
        mistake.hint("as in chmod = \"0755\"")
    })
}

fn absolute(path: &Placed<String>, what: &str) -> Result<String, Mistake> {
    let clean = path.value.trim_end_matches('/');
    if clean.starts_with('/') && !clean.split('/').any(|part| matches!(part, "." | "..")) {
        return Ok(clean.to_owned());
    }
    let mistake = Mistake::new(path.position, format!("the {what} {:?} is in no absolute place", path.value));
    Err(mistake.hint("write the path from the root on, as in /root/.cache"))
}
