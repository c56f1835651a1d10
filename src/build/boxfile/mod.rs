//! `boxfile.toml`: read to a graph.
//!
//! Every key is known, or refused with the nearest one that is. Nothing is guessed.

mod reader;
mod steps;
#[cfg(test)]
mod tests;

use toml::de::DeTable;

use super::expand::Quotes;
use super::graph::{Action, Argument, Command, Graph, Health, Stage, Step};
use super::python::{self, Python};
use super::{Mistake, Position, dockerfile};
use crate::model::flags::{duration, size};
use reader::{Placed, Section};

const DOCUMENT: [&str; 8] = ["box", "args", "python", "stages", "steps", "run", "limits", "healthcheck"];
const BOX: [&str; 7] = ["name", "version", "base", "platform", "shell", "meta", "onbuild"];
const META: [&str; 3] = ["author", "description", "labels"];
const PYTHON: [&str; 5] = ["version", "packages", "requirements", "lock", "venv"];
const STAGE: [&str; 6] = ["name", "base", "platform", "shell", "python", "steps"];
const RUN: [&str; 9] = ["cmd", "entrypoint", "expose", "env", "user", "workdir", "volumes", "stop_signal", "shell"];
const LIMITS: [&str; 3] = ["memory", "cpu", "pids"];
const HEALTH: [&str; 5] = ["cmd", "interval", "timeout", "start_period", "retries"];

/// The prefix of the labels that say what `[limits]` does.
pub const LIMIT_LABEL: &str = "dev.pybox.limits.";

/// Reads a `boxfile.toml`.
///
/// # Errors
/// With the first mistake, and where it is.
pub fn parse(text: &str) -> Result<Graph, Mistake> {
    let table = DeTable::parse(text).map_err(|error| {
        let position = Position::of(text, error.span().map_or(0, |span| span.start));
        Mistake::new(position, error.message().to_owned()).hint("https://toml.io has the syntax")
    })?;
    let document = Section::document(text, &table, &DOCUMENT)?;
    let Some(about) = document.section("box", "[box]", &BOX)? else {
        let mistake = document.mistake("the table [box] is missing");
        return Err(mistake.hint("begin with [box] and base = \"debian:13\""));
    };
    let arguments = arguments(&document)?;
    let mut stages = Vec::new();
    for section in document.sections("stages", "[[stages]]", &STAGE)? {
        stages.push(stage(&section, &arguments)?);
    }
    let mut last = begun(&about, &arguments)?;
    steps::lower(&document, &mut last.steps)?;
    last.name = None;
    meta(&about, &mut last.steps)?;
    triggers(&about, &mut last.steps)?;
    limits(&document, &mut last.steps)?;
    finish(&document, &mut last.steps)?;
    stages.push(last);
    let version = about.scalar("version")?;
    let name = about.text("name")?.map(|name| match &version {
        Some(version) => format!("{}:{}", name.value, version.value),
        None => name.value,
    });
    Ok(Graph { name, arguments, stages, quotes: Quotes::Plain })
}

/// `[args]`: each with its default; an empty one has to be given.
fn arguments(document: &Section<'_>) -> Result<Vec<Argument>, Mistake> {
    let mut arguments = Vec::new();
    for (name, default) in document.pairs("args")?.unwrap_or_default() {
        let letters = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        if !letters || name.starts_with(|first: char| first.is_ascii_digit()) {
            let mistake = document.mistake(format!("{name:?} is no name of an argument"));
            return Err(mistake.hint("letters, digits and _ make one, as in VERSION"));
        }
        arguments.push(Argument { name, default: Some(default) });
    }
    Ok(arguments)
}

fn stage(section: &Section<'_>, arguments: &[Argument]) -> Result<Stage, Mistake> {
    let name = section.required("name")?;
    let mut stage = begun(section, arguments)?;
    steps::lower(section, &mut stage.steps)?;
    stage.name = Some(name.value);
    Ok(stage)
}

/// A stage with what comes before its own steps.
fn begun(section: &Section<'_>, arguments: &[Argument]) -> Result<Stage, Mistake> {
    let base = section.required("base").map_err(|mistake| {
        mistake.hint("base is an image, an earlier stage, scratch, rootfs:PATH or debootstrap:SUITE")
    })?;
    let mut steps = Vec::new();
    let mut push = |action, shown: String, position| steps.push(Step { name: None, shown, action, position });
    for argument in arguments {
        push(Action::Argument(argument.clone()), format!("ARG {}", argument.name), base.position);
    }
    if let Some(words) = section.texts("shell")? {
        let position = words.first().map_or(section.position(), |word| word.position);
        let words = values(words);
        push(Action::Shell(words.clone()), format!("SHELL {words:?}"), position);
    }
    Ok(Stage {
        name: None,
        base: base.value,
        platform: section.text("platform")?.map(|platform| platform.value),
        steps,
        position: base.position,
    })
}

fn values(texts: Vec<Placed<String>>) -> Vec<String> {
    texts.into_iter().map(|text| text.value).collect()
}

fn lower_python(section: &Section<'_>, steps: &mut Vec<Step>) -> Result<(), Mistake> {
    let Some(section) = section.section("python", "[python]", &PYTHON)? else { return Ok(()) };
    let text = |key| Ok::<_, Mistake>(section.scalar(key)?.map(|text| text.value));
    let python = Python {
        version: text("version")?,
        packages: values(section.texts("packages")?.unwrap_or_default()),
        requirements: values(section.texts("requirements")?.unwrap_or_default()),
        lock: text("lock")?,
        venv: text("venv")?.unwrap_or_else(|| python::VENV.to_owned()),
    };
    let lowered = python.steps(section.position()).map_err(|why| section.mistake(why))?;
    steps.extend(lowered);
    Ok(())
}

/// `onbuild`: instructions for those who build on the image, as images keep them.
fn triggers(about: &Section<'_>, steps: &mut Vec<Step>) -> Result<(), Mistake> {
    for Placed { value, position } in about.texts("onbuild")?.unwrap_or_default() {
        dockerfile::triggered(&value, position).map_err(|mistake| mistake.hint("as in onbuild = [\"COPY . /app\"]"))?;
        let (shown, action) = (format!("ONBUILD {value}"), Action::Trigger(value));
        steps.push(Step { name: None, shown, action, position });
    }
    Ok(())
}

/// What the image says of itself.
fn meta(about: &Section<'_>, steps: &mut Vec<Step>) -> Result<(), Mistake> {
    const TITLE: &str = "org.opencontainers.image.";
    let mut labels = Vec::new();
    let mut label =
        |key: &str, value: Option<String>| labels.extend(value.map(|value| (format!("{TITLE}{key}"), value)));
    label("title", about.text("name")?.map(|text| text.value));
    label("version", about.scalar("version")?.map(|text| text.value));
    let Some(meta) = about.section("meta", "[box.meta]", &META)? else {
        push_labels(labels, about.position(), steps);
        return Ok(());
    };
    let author = meta.text("author")?.map(|text| text.value);
    label("authors", author.clone());
    label("description", meta.text("description")?.map(|text| text.value));
    labels.extend(meta.pairs("labels")?.unwrap_or_default());
    push_labels(labels, meta.position(), steps);
    if let Some(author) = author {
        let (shown, action) = (format!("MAINTAINER {author}"), Action::Author(author));
        steps.push(Step { name: None, shown, action, position: meta.position() });
    }
    Ok(())
}

fn push_labels(labels: Vec<(String, String)>, position: Position, steps: &mut Vec<Step>) {
    if !labels.is_empty() {
        let words: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let shown = format!("LABEL {}", words.join(" "));
        steps.push(Step { name: None, shown, action: Action::Labels(labels), position });
    }
}

/// Images have no limits; labels say them to whoever runs the image.
fn limits(document: &Section<'_>, steps: &mut Vec<Step>) -> Result<(), Mistake> {
    let Some(section) = document.section("limits", "[limits]", &LIMITS)? else { return Ok(()) };
    let mut labels = Vec::new();
    for key in LIMITS {
        let Some(Placed { value, position }) = section.scalar(key)? else { continue };
        let fits = match key {
            "memory" => size::parse("memory", &value).is_ok(),
            "cpu" => value.parse::<f64>().is_ok_and(|number| number > 0.0 && number.is_finite()),
            _ => value.parse::<i64>().is_ok_and(|number| number > 0 || number == -1),
        };
        if !fits {
            let expected = match key {
                "memory" => "a size, as in \"256m\"",
                "cpu" => "processors, as in 0.5",
                _ => "a number of processes, as in 100",
            };
            return Err(Mistake::new(position, format!("{key} of [limits] is {value:?}; expected {expected}")));
        }
        labels.push((format!("{LIMIT_LABEL}{key}"), value));
    }
    push_labels(labels, section.position(), steps);
    Ok(())
}

/// `[run]` and `[healthcheck]`: how the image starts.
fn finish(document: &Section<'_>, steps: &mut Vec<Step>) -> Result<(), Mistake> {
    if let Some(section) = document.section("run", "[run]", &RUN)? {
        how_it_runs(&section, steps)?;
    }
    if let Some(section) = document.section("healthcheck", "[healthcheck]", &HEALTH)? {
        let health = health(&section)?;
        let (shown, action) = ("HEALTHCHECK".to_owned(), Action::Health(health));
        steps.push(Step { name: None, shown, action, position: section.position() });
    }
    Ok(())
}

fn how_it_runs(section: &Section<'_>, steps: &mut Vec<Step>) -> Result<(), Mistake> {
    let mut push = |action, shown: String| {
        steps.push(Step { name: None, shown, action, position: section.position() });
    };
    if let Some(pairs) = section.pairs("env")? {
        let words: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        push(Action::Environment(pairs), format!("ENV {}", words.join(" ")));
    }
    if let Some(ports) = section.texts("expose")? {
        for port in &ports {
            super::state::exposed(&port.value).map_err(|why| Mistake::new(port.position, why))?;
        }
        let ports = values(ports);
        push(Action::Expose(ports.clone()), format!("EXPOSE {}", ports.join(" ")));
    }
    if let Some(paths) = section.texts("volumes")? {
        if let Some(path) = paths.iter().find(|path| !path.value.starts_with('/')) {
            let mistake = Mistake::new(path.position, format!("the volume {:?} is no absolute path", path.value));
            return Err(mistake.hint("as in volumes = [\"/data\"]"));
        }
        let paths = values(paths);
        push(Action::Volumes(paths.clone()), format!("VOLUME {}", paths.join(" ")));
    }
    if let Some(path) = section.text("workdir")? {
        push(Action::Directory(path.value.clone()), format!("WORKDIR {}", path.value));
    }
    if let Some(user) = section.scalar("user")? {
        push(Action::User(user.value.clone()), format!("USER {}", user.value));
    }
    if let Some(words) = section.texts("shell")? {
        let words = values(words);
        push(Action::Shell(words.clone()), format!("SHELL {words:?}"));
    }
    if let Some(command) = command(section, "entrypoint")? {
        push(Action::Entrypoint(command.clone()), format!("ENTRYPOINT {}", shown(&command)));
    }
    if let Some(command) = command(section, "cmd")? {
        push(Action::Command(command.clone()), format!("CMD {}", shown(&command)));
    }
    if let Some(signal) = section.scalar("stop_signal")? {
        if crate::model::flags::signal::number(&signal.value).is_none() {
            return Err(Mistake::new(signal.position, format!("there is no signal {:?}", signal.value)));
        }
        push(Action::StopSignal(signal.value.clone()), format!("STOPSIGNAL {}", signal.value));
    }
    Ok(())
}

fn health(section: &Section<'_>) -> Result<Option<Health>, Mistake> {
    let time = |key| {
        let Some(Placed { value, position }) = section.scalar(key)? else { return Ok(None) };
        let time = duration::parse("", &value);
        let wrong = |_| Mistake::new(position, format!("{key} is {value:?}; expected a time, as in \"30s\""));
        Ok::<_, Mistake>(Some(time.map_err(wrong)?.saturating_mul(1_000_000)))
    };
    let retries = section.scalar("retries")?.map(|text| {
        let wrong = || Mistake::new(text.position, format!("retries is {:?}; expected a number", text.value));
        text.value.parse().map_err(|_| wrong())
    });
    let Some(command) = command(section, "cmd")? else {
        return Err(section.mistake("[healthcheck] lacks the key cmd"));
    };
    if command == Command::Text("none".into()) {
        return Ok(None);
    }
    Ok(Some(Health {
        command: Some(command),
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start_period")?,
        start_interval: None,
        retries: retries.transpose()?,
    }))
}

/// A list is words, text is for a shell.
fn command(section: &Section<'_>, key: &str) -> Result<Option<Command>, Mistake> {
    if !section.is_list(key) {
        return Ok(section.text(key)?.map(|text| Command::Text(text.value)));
    }
    Ok(section.texts(key)?.map(values).map(Command::Words))
}

fn shown(command: &Command) -> String {
    match command {
        Command::Words(words) => format!("{words:?}"),
        Command::Text(text) => text.clone(),
    }
}
