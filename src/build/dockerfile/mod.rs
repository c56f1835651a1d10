//! `Dockerfile` and `Containerfile`: read to a graph.
//!
//! Of our own, as it has to keep what parsers of others drop: the names of documents in the text, and the
//! text of a command that has documents.

mod lines;
mod mounts;
#[cfg(test)]
mod tests;

use super::expand::Quotes;
use super::graph::{Action, Argument, Command, Copy, Graph, Health, Inline, Run, Stage, Step};
use super::nearest::nearest;
use super::{Mistake, Position};
use crate::model::flags::duration;
use crate::model::permissions::Permissions;
use lines::{Document, Line, words};

const INSTRUCTIONS: [&str; 18] = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "WORKDIR",
    "USER",
    "LABEL",
    "EXPOSE",
    "VOLUME",
    "ENTRYPOINT",
    "CMD",
    "HEALTHCHECK",
    "SHELL",
    "STOPSIGNAL",
    "MAINTAINER",
    "ONBUILD",
];

/// Reads a Dockerfile.
///
/// # Errors
/// With the first mistake, and where it is.
pub fn parse(text: &str) -> Result<Graph, Mistake> {
    let mut graph = Graph { quotes: Quotes::Shell, ..Graph::default() };
    for line in lines::read(text)? {
        match (line.word.as_str(), graph.stages.last_mut()) {
            ("FROM", _) => {
                let stage = from(&line)?;
                graph.stages.push(stage);
            }
            ("ARG", None) => graph.arguments.extend(arguments(&line)?),
            (word, None) if INSTRUCTIONS.contains(&word) => {
                let mistake = Mistake::new(line.position, format!("{word} stands before the first FROM"));
                return Err(mistake.hint("begin with FROM and an image; ARG alone may come before it"));
            }
            (_, None) => return Err(unknown(&line)),
            (_, Some(stage)) => {
                let shown = format!("{} {}", line.word, line.rest);
                for action in instruction(&line)? {
                    stage.steps.push(Step { name: None, shown: shown.clone(), action, position: line.position });
                }
            }
        }
    }
    if graph.stages.is_empty() {
        let mistake = Mistake::new(Position { line: 1, column: 1 }, "there is no FROM");
        return Err(mistake.hint("begin with FROM and an image, as in FROM debian:13"));
    }
    Ok(graph)
}

fn unknown(line: &Line) -> Mistake {
    let meant = nearest(&line.word, &INSTRUCTIONS);
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    let word: String = line.word.chars().take(40).collect();
    let mistake = Mistake::new(line.position, format!("there is no instruction {word}{meant}"));
    mistake.hint(format!("there are {}", INSTRUCTIONS.join(", ")))
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
fn from(line: &Line) -> Result<Stage, Mistake> {
    let (flags, rest) = flags(line, &["platform"])?;
    let mut parts = words(rest).into_iter();
    let (base, keyword, name, more) = (parts.next(), parts.next(), parts.next(), parts.next());
    let stage = |base: String, name: Option<String>| Stage {
        name,
        base,
        platform: value(&flags, "platform"),
        steps: Vec::new(),
        position: line.position,
    };
    match (base, keyword, name, more) {
        (Some(base), None, None, None) => Ok(stage(base, None)),
        (Some(base), Some(keyword), Some(name), None) if keyword.eq_ignore_ascii_case("as") => {
            Ok(stage(base, Some(name)))
        }
        _ => {
            Err(Mistake::new(line.position, "FROM takes an image, and AS with a name").hint("FROM debian:13 AS build"))
        }
    }
}

type Flags = Vec<(String, Option<String>)>;

/// The flags at the beginning, and what follows them.
fn flags<'l>(line: &'l Line, known: &[&str]) -> Result<(Flags, &'l str), Mistake> {
    let mut flags = Vec::new();
    let mut rest = line.rest.as_str();
    while let Some(text) = rest.strip_prefix("--") {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        // A value may have blanks in quotes.
        let end = words(text).first().map_or(end, |word| word.len().max(end).min(text.len()));
        let (flag, after) = (text.get(..end).unwrap_or(text), text.get(end..).unwrap_or_default());
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        if !known.contains(&name) {
            let meant = nearest(name, known).map(|meant| format!("; did you mean --{meant}?")).unwrap_or_default();
            let mistake = Mistake::new(line.position, format!("{} has no flag --{name}{meant}", line.word));
            return Err(mistake.hint(match known {
                [] => "leave it out".to_owned(),
                known => format!("its flags are --{}", known.join(", --")),
            }));
        }
        flags.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    Ok((flags, rest))
}

fn value(flags: &Flags, name: &str) -> Option<String> {
    let value = flags.iter().rev().find(|(known, _)| known == name)?.1.clone();
    // Variables in it stay; quotes around all of it go.
    value.map(|text| text.trim_matches('"').to_owned())
}

/// `--link`, `--link=true`.
fn switch(flags: &Flags, name: &str) -> bool {
    let said = flags.iter().rev().find(|(known, _)| known == name);
    said.is_some_and(|(_, value)| matches!(value.as_deref(), None | Some("true" | "1")))
}

/// What an instruction does: one thing, but for ARG, which may have several.
fn instruction(line: &Line) -> Result<Vec<Action>, Mistake> {
    let empty = || Mistake::new(line.position, format!("{} has no argument", line.word));
    if line.rest.is_empty() && INSTRUCTIONS.contains(&line.word.as_str()) {
        return Err(empty());
    }
    let rest = line.rest.as_str();
    let action = match line.word.as_str() {
        "RUN" => run(line)?,
        "COPY" => copy(line, false)?,
        "ADD" => copy(line, true)?,
        "ENV" => Action::Environment(pairs(line)?),
        "LABEL" => Action::Labels(pairs(line)?),
        "ARG" => return Ok(arguments(line)?.into_iter().map(Action::Argument).collect()),
        "WORKDIR" => Action::Directory(rest.to_owned()),
        "USER" => Action::User(rest.to_owned()),
        "EXPOSE" => Action::Expose(words(rest)),
        "VOLUME" => Action::Volumes(list(rest).unwrap_or_else(|| words(rest))),
        "ENTRYPOINT" => Action::Entrypoint(command(rest)),
        "CMD" => Action::Command(command(rest)),
        "HEALTHCHECK" => Action::Health(health(line)?),
        "SHELL" => {
            let shell = list(rest).filter(|words| !words.is_empty());
            let wrong = || Mistake::new(line.position, "SHELL takes a list").hint("SHELL [\"/bin/bash\", \"-c\"]");
            Action::Shell(shell.ok_or_else(wrong)?)
        }
        "STOPSIGNAL" => Action::StopSignal(rest.to_owned()),
        "MAINTAINER" => Action::Author(rest.to_owned()),
        "ONBUILD" => trigger(line)?,
        _ => return Err(unknown(line)),
    };
    Ok(vec![action])
}

/// `ONBUILD RUN …`: kept as it is written, once it makes sense.
fn trigger(line: &Line) -> Result<Action, Mistake> {
    let (word, rest) = line.rest.split_once(char::is_whitespace).unwrap_or((&line.rest, ""));
    let text = format!("{} {}", word.to_ascii_uppercase(), rest.trim());
    triggered(&text, line.position)?;
    Ok(Action::Trigger(text))
}

/// Reads an instruction that an image has for those who build on it; what stands at `position` brings the image.
///
/// # Errors
/// If it makes no sense.
pub fn triggered(text: &str, position: Position) -> Result<Vec<Step>, Mistake> {
    let refuse = |why: String| Err(Mistake::new(position, why).hint("as in ONBUILD RUN make"));
    let lines = lines::read(text).map_err(|mistake| Mistake { position, ..mistake })?;
    let [line] = lines.as_slice() else { return refuse("ONBUILD takes one instruction".to_owned()) };
    match line.word.as_str() {
        word @ ("FROM" | "ONBUILD" | "MAINTAINER") => return refuse(format!("{word} cannot follow ONBUILD")),
        _ if !line.documents.is_empty() => return refuse("documents have no room in ONBUILD".to_owned()),
        _ => {}
    }
    let line = Line { position, ..line.clone() };
    let shown = format!("{} {}", line.word, line.rest);
    let step = |action| Step { name: None, shown: shown.clone(), action, position };
    Ok(instruction(&line)?.into_iter().map(step).collect())
}

/// A list in JSON.
fn list(rest: &str) -> Option<Vec<String>> {
    if rest.starts_with('[') { serde_json::from_str(rest).ok() } else { None }
}

fn command(rest: &str) -> Command {
    list(rest).map_or_else(|| Command::Text(rest.to_owned()), Command::Words)
}

/// `A=b C="d e"`, or the older `A b c`.
fn pairs(line: &Line) -> Result<Vec<(String, String)>, Mistake> {
    let all = words(&line.rest);
    let first = all.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = line.rest.split_once(char::is_whitespace).unwrap_or((&line.rest, ""));
        if value.trim().is_empty() {
            let mistake = Mistake::new(line.position, format!("{} {name} has no value", line.word));
            return Err(mistake.hint(format!("{} {name}=value", line.word)));
        }
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => {
            let mistake = Mistake::new(line.position, format!("{word} of {} is no NAME=value", line.word));
            Err(mistake.hint("put values with blanks in quotes"))
        }
    };
    all.iter().map(pair).collect()
}

fn arguments(line: &Line) -> Result<Vec<Argument>, Mistake> {
    let argument = |word: String| {
        let (name, default) =
            word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        let letter = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
        if name.is_empty() || !name.chars().all(letter) {
            return Err(
                Mistake::new(line.position, format!("{name:?} is no name of an argument")).hint("ARG NAME=value")
            );
        }
        Ok(Argument { name: name.to_owned(), default })
    };
    words(&line.rest).into_iter().map(argument).collect()
}

fn run(line: &Line) -> Result<Action, Mistake> {
    let (flags, rest) = flags(line, &["mount", "network", "security"])?;
    if flags.iter().any(|(name, value)| name == "security" && value.as_deref() != Some("sandbox")) {
        let mistake = Mistake::new(line.position, "a step runs with the rights of every container");
        return Err(mistake.hint("leave --security out"));
    }
    let mut all = Vec::new();
    for (_, spec) in flags.iter().filter(|(name, _)| name == "mount") {
        all.push(mounts::parse(spec.as_deref().unwrap_or_default(), line.position)?);
    }
    let network = value(&flags, "network");
    if let Some(name) = network.as_deref().filter(|name| !matches!(*name, "none" | "host" | "default")) {
        let mistake = Mistake::new(line.position, format!("there is no network {name:?}"));
        return Err(mistake.hint("--network is none, host or default"));
    }
    if rest.is_empty() {
        return Err(Mistake::new(line.position, "RUN has no command"));
    }
    let command = match line.documents.as_slice() {
        [] => command(rest),
        [document] if rest.starts_with("<<") && words(rest).len() == 1 => script(document),
        // The shell knows what to do with them.
        documents => {
            let raw: String = documents.iter().map(|document| document.raw.as_str()).collect();
            Command::Text(format!("{rest}\n{raw}"))
        }
    };
    Ok(Action::Run(Run { command, mounts: all, network, environment: Vec::new() }))
}

/// A document that is the command: for the shell, or for the program that its first line names.
fn script(document: &Document) -> Command {
    if !document.text.starts_with("#!") {
        return Command::Text(document.text.clone());
    }
    let mut end = "PYBOX_END".to_owned();
    while document.text.lines().any(|line| line == end) {
        end.push('_');
    }
    let text = &document.text;
    let shell = format!(
        "file=$(mktemp) && cat > \"$file\" <<'{end}' && chmod 700 \"$file\"\n{text}{end}\n\
         \"$file\"; code=$?; rm -f \"$file\"; exit $code\n"
    );
    Command::Words(vec!["/bin/sh".to_owned(), "-c".to_owned(), shell])
}

fn copy(line: &Line, add: bool) -> Result<Action, Mistake> {
    let known: &[&str] = if add {
        &["chown", "chmod", "link", "checksum", "unpack", "exclude"]
    } else {
        &["from", "chown", "chmod", "link", "parents", "exclude"]
    };
    let (flags, rest) = flags(line, known)?;
    let mut paths = list(rest).unwrap_or_else(|| words(rest));
    let wrong = |why: &str| Mistake::new(line.position, format!("{} {why}", line.word));
    let to = paths.pop().filter(|_| !paths.is_empty());
    let to = to.ok_or_else(|| wrong("takes a source and a destination").hint("COPY src /app"))?;
    let mut documents = line.documents.iter();
    let (mut sources, mut inline) = (Vec::new(), Vec::new());
    for path in paths {
        if path.starts_with("<<")
            && let Some(Document { name, expand, text, .. }) = documents.next()
        {
            inline.push(Inline { name: name.clone(), text: text.clone(), expand: *expand });
        } else {
            sources.push(path);
        }
    }
    if sources.len() + inline.len() > 1 && !to.trim_end_matches(['"', '\'']).ends_with('/') {
        let mistake = wrong("has several sources, so its destination is a directory and ends with a slash");
        return Err(mistake.hint(format!("{} … {to}/", line.word)));
    }
    let mode = value(&flags, "chmod").map(|text| {
        let mistake = || wrong(&format!("--chmod={text} are no permission bits")).hint("--chmod=755, or u=rwX,go=rX");
        Permissions::parse(&text).ok_or_else(mistake)
    });
    Ok(Action::Copy(Copy {
        from: value(&flags, "from"),
        sources,
        inline,
        to,
        owner: value(&flags, "chown"),
        mode: mode.transpose()?,
        unpack: if flags.iter().any(|(name, _)| name == "unpack") { switch(&flags, "unpack") } else { add },
        addresses: add,
        checksum: value(&flags, "checksum"),
        parents: switch(&flags, "parents"),
        exclude: flags.iter().filter(|(name, _)| name == "exclude").filter_map(|(_, value)| value.clone()).collect(),
    }))
}

/// `[--interval=T] [--timeout=T] [--start-period=T] [--start-interval=T] [--retries=N] CMD …`, or `NONE`.
fn health(line: &Line) -> Result<Option<Health>, Mistake> {
    let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
    let (flags, rest) = flags(line, &known)?;
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match (word.to_ascii_uppercase().as_str(), rest.trim()) {
        ("NONE", "") => return Ok(None),
        ("CMD", rest) if !rest.is_empty() => {}
        _ => {
            let mistake = Mistake::new(line.position, "HEALTHCHECK takes CMD and a command, or NONE");
            return Err(mistake.hint("HEALTHCHECK --interval=30s CMD curl -f localhost"));
        }
    }
    let time = |name: &str| {
        let Some(text) = value(&flags, name) else { return Ok(None) };
        let wrong = |_| Mistake::new(line.position, format!("--{name}={text} is no time, as in 30s"));
        Ok::<_, Mistake>(Some(duration::parse("HEALTHCHECK", &text).map_err(wrong)?.saturating_mul(1_000_000)))
    };
    let retries = value(&flags, "retries")
        .map(|text| text.parse().map_err(|_| Mistake::new(line.position, format!("--retries={text} is no number"))));
    Ok(Some(Health {
        command: Some(command(rest.trim())),
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries: retries.transpose()?,
    }))
}
