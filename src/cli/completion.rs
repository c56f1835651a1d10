//! The words that the Tab key offers.
//!
//! A shell asks by the environment variable [`VARIABLE`]; looking for it is all
//! that other runs pay. Flags and verbs come from the tree of arguments; what
//! exists is found by the names of their values, so a new verb that takes a
//! `CONTAINER` needs nothing here. A key must have no effect and no noise: the
//! engine only reads, and problems are silence.

use std::ffi::OsStr;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate, ValueCompleter};

use super::arguments::Arguments;
use super::backend::Backend;
use super::environment::Wishes;
use super::render::human;
use super::session;
use crate::engine::api::{Call, ListImages, ListNames, ListVolumes, Named};

/// Says which shell asks.
pub(super) const VARIABLE: &str = "_PYBOX_COMPLETE";

/// Verbs that are of use for containers that run, or are about to.
const FOR_RUNNING: &[&str] =
    &["stop", "restart", "kill", "pause", "unpause", "wait", "attach", "exec", "port", "top", "stats"];

/// Whether a shell asks for words.
pub(super) fn is_asked() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Prints the words for a line, or the function that asks for them.
pub(super) fn answer() {
    let here = std::env::current_dir().ok();
    let complete = CompleteEnv::with_factory(tree).var(VARIABLE).bin("pybox").completer("pybox");
    // A shell redraws its line after anything that is said here.
    let _ = complete.try_complete(std::env::args_os(), here.as_deref());
}

/// The tree, with what exists at its values.
fn tree() -> Command {
    with_names(Arguments::command(), "")
}

fn with_names(command: Command, group: &str) -> Command {
    let verb = command.get_name().to_owned();
    let inner = verb.clone();
    command
        .mut_args(move |arg| match source(group, &verb, &arg) {
            Some(source) => offer(arg, source),
            None => arg,
        })
        .mut_subcommands(move |command| with_names(command, &inner))
}

/// Where words come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    kinds: &'static [Kind],
    /// The words after the first are a command's.
    first_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Containers,
    Running,
    Images,
    Volumes,
}

/// What the value of `arg` names.
fn source(group: &str, verb: &str, arg: &Arg) -> Option<Source> {
    let name = arg.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
    let containers: &[Kind] = if FOR_RUNNING.contains(&verb) { &[Kind::Running] } else { &[Kind::Containers] };
    let kinds: &[Kind] = match (name, group, verb) {
        ("CONTAINER" | "CONTAINER|COMMAND", ..) => containers,
        ("IMAGE" | "IMAGE|COMMAND" | "IMAGE|DIGEST" | "LIST", ..) | ("NAME", "image" | "manifest", "inspect") => {
            &[Kind::Images]
        }
        ("NAME", "container", "inspect") => &[Kind::Containers],
        ("NAME", "pybox", "inspect") => &[Kind::Containers, Kind::Images],
        ("VOLUME", "volume", "rm" | "inspect") => &[Kind::Volumes],
        _ => return None,
    };
    Some(Source { kinds, first_only: arg.is_trailing_var_arg_set() })
}

fn offer(arg: Arg, source: Source) -> Arg {
    if source.first_only {
        // Hidden on the page of the verb, because the usage line tells it better; not here.
        return arg.hide(false).add(ArgValueCompleter::new(FirstWord(source)));
    }
    arg.add(ArgValueCandidates::new(move || words(source)))
}

/// Completes the first word of many.
struct FirstWord(Source);

impl ValueCompleter for FirstWord {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let current = current.to_string_lossy();
        let mut words = words(self.0);
        words.retain(|word| word.get_value().to_string_lossy().starts_with(&*current));
        words
    }

    fn complete_at(&self, index: usize, current: &OsStr) -> Vec<CompletionCandidate> {
        if index == 0 { self.complete(current) } else { Vec::new() }
    }
}

fn words(source: Source) -> Vec<CompletionCandidate> {
    source.kinds.iter().flat_map(|kind| words_of(*kind)).collect()
}

fn words_of(kind: Kind) -> Vec<CompletionCandidate> {
    match kind {
        Kind::Containers => containers(&ask(ListNames { running: false })),
        Kind::Running => containers(&ask(ListNames { running: true })),
        Kind::Images => {
            let images = ask(ListImages {});
            let word = |image: &crate::engine::api::ImageSummary| {
                let about = image.id.short().to_owned();
                let names: Vec<_> = image.names.iter().map(|name| human::familiar(&name.reference)).collect();
                names.into_iter().map(move |name| word(name, &about))
            };
            images.iter().flat_map(word).collect()
        }
        Kind::Volumes => ask(ListVolumes {}).into_iter().map(|volume| CompletionCandidate::new(volume.name)).collect(),
    }
}

/// By name, and after all names by id.
fn containers(found: &[Named]) -> Vec<CompletionCandidate> {
    let names = found.iter().map(|named| word(named.name.to_string(), named.id.short()));
    let ids = found.iter().map(|named| word(named.id.short().to_owned(), named.name.as_str()));
    names.chain(ids).collect()
}

fn word(text: String, about: &str) -> CompletionCandidate {
    CompletionCandidate::new(text).help(Some(about.to_owned().into()))
}

/// Asks the engine; a problem is an empty answer.
fn ask<C: Call>(question: C) -> C::Answer
where
    C::Answer: Default,
{
    let settings = session::with_environment(|environment| environment.settings(&Wishes::default()));
    let answer = settings.ok().and_then(|settings| Backend::local(settings).call(question, &mut |_| {}).ok());
    answer.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'c>(root: &'c Command, path: &[&str]) -> &'c Command {
        path.iter().fold(root, |command, name| command.find_subcommand(name).expect("a verb"))
    }

    fn kinds(path: &[&str]) -> Vec<Kind> {
        let mut root = Arguments::command();
        root.build();
        let group = if path.len() > 1 { path[0] } else { "pybox" };
        let found = find(&root, path).get_positionals().filter_map(|arg| source(group, path[path.len() - 1], arg));
        found.flat_map(|source| source.kinds).copied().collect()
    }

    #[test]
    fn each_verb_offers_what_it_works_on() {
        for (path, offered) in [
            (&["stop"][..], &[Kind::Running][..]),
            (&["exec"], &[Kind::Running]),
            (&["container", "kill"], &[Kind::Running]),
            (&["rm"], &[Kind::Containers]),
            (&["start"], &[Kind::Containers]),
            (&["logs"], &[Kind::Containers]),
            (&["run"], &[Kind::Images]),
            (&["rmi"], &[Kind::Images]),
            (&["inspect"], &[Kind::Containers, Kind::Images]),
            (&["image", "inspect"], &[Kind::Images]),
            (&["volume", "rm"], &[Kind::Volumes]),
            (&["volume", "create"], &[]),
            (&["version"], &[]),
        ] {
            assert_eq!(kinds(path), offered, "{path:?}");
        }
    }

    #[test]
    fn the_tree_with_names_is_sound() {
        tree().debug_assert();
    }
}
