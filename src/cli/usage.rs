//! The command line before clap, and what clap stops at.
//!
//! Go's flags take `--rm=true`, so scripts written for docker have it; clap's do
//! not, and learn it here. Mistakes are told as every other problem is, in a
//! sentence and a hint, instead of clap's paragraph.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use super::error::{OURS, Problem};

/// Rewrites `--flag=true` to `--flag` and drops `--flag=false`, up to where a
/// container's own words begin.
pub(crate) fn settle_switches(root: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    if !arguments.iter().any(|argument| switch(argument).is_some()) {
        return arguments;
    }
    let mut settled = Vec::with_capacity(arguments.len());
    let mut rest = arguments.into_iter();
    settled.extend(rest.next());
    let mut command = root;
    while let Some(argument) = rest.next() {
        let text = argument.to_str().unwrap_or_default();
        if let Some(inner) = command.find_subcommand(text) {
            command = inner;
        } else if text == "--" || (!text.starts_with('-') && takes_all(command)) {
            settled.push(argument);
            break;
        }
        match switch(&argument).and_then(|(name, on)| Some((find(root, command, name)?, on))) {
            Some((flag, on)) if matches!(flag.get_action(), ArgAction::SetTrue) => {
                settled.extend(on.then(|| flag.get_long().map(|name| format!("--{name}").into())).flatten());
            }
            _ => {
                let takes_next = takes_next(root, command, text);
                settled.push(argument);
                if takes_next {
                    settled.extend(rest.next());
                }
            }
        }
    }
    settled.extend(rest);
    settled
}

/// The name and value of `--name=true`, in the spellings of Go's `ParseBool`.
fn switch(argument: &OsStr) -> Option<(&str, bool)> {
    let (name, value) = argument.to_str()?.strip_prefix("--")?.split_once('=')?;
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some((name, true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some((name, false)),
        _ => None,
    }
}

/// Whether the first word that is no flag ends ours.
fn takes_all(command: &Command) -> bool {
    command.get_positionals().any(Arg::is_trailing_var_arg_set)
}

fn find<'c>(root: &'c Command, command: &'c Command, name: &str) -> Option<&'c Arg> {
    let is_named = |arg: &&Arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&name));
    command.get_arguments().chain(root.get_arguments()).find(is_named)
}

/// Whether `text` is a flag whose value is the next word.
fn takes_next(root: &Command, command: &Command, text: &str) -> bool {
    let takes_value = |arg: &Arg| arg.get_action().takes_values();
    match text.strip_prefix("--") {
        Some(long) => !long.contains('=') && find(root, command, long).is_some_and(takes_value),
        None => {
            let shorts = text.strip_prefix('-').unwrap_or_default();
            let known =
                |c: char| command.get_arguments().chain(root.get_arguments()).find(|arg| arg.get_short() == Some(c));
            // In -itv the value of v follows; in -vit it is "it".
            let first = shorts.char_indices().find(|(_, c)| known(*c).is_some_and(takes_value));
            first.is_some_and(|(at, c)| at + c.len_utf8() == shorts.len())
        }
    }
}

/// Answers what clap stopped at: help and version are printed, the rest is a problem.
///
/// # Errors
/// With the mistake, or if standard output cannot be written.
pub(crate) fn answer(error: &clap::Error, root: &Command, arguments: &[OsString]) -> Result<(), Problem> {
    match error.kind() {
        // By way of clap, which knows whether standard output is painted.
        ErrorKind::DisplayHelp => Ok(error.print()?),
        // Asked for or not, it is what was wanted: clap would use standard error.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(write!(std::io::stdout(), "{}", error.render())?),
        ErrorKind::DisplayVersion => Ok(writeln!(std::io::stdout(), "pybox version {}", env!("CARGO_PKG_VERSION"))?),
        _ => Err(mistake(error, &verb(root, arguments))),
    }
}

fn mistake(error: &clap::Error, verb: &str) -> Problem {
    let problem = Problem::user(sentence(&error.to_string())).code(OURS);
    match suggestion(error) {
        Some(similar) => problem.hint(format!("did you mean {similar}? see: {verb} --help")),
        None => problem.hint(format!("{verb} --help")),
    }
}

/// The first paragraph in one line: `unexpected argument '--x' found`.
fn sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
    let joined = lines.join(" ");
    let said = joined.strip_prefix("error: ").unwrap_or(&joined);
    in_our_words(said)
}

/// What the standard library says of a number that is none.
fn in_our_words(said: &str) -> String {
    let number = "expected a whole number";
    let (negative, large) = ("expected a number that is not below zero", "the number is too large");
    for (theirs, ours) in [
        ("invalid digit found in string", number),
        ("cannot parse integer from empty string", number),
        ("number too large to fit in target type", large),
        ("number too small to fit in target type", negative),
    ] {
        if let Some(rest) = said.strip_suffix(theirs) {
            return format!("{rest}{ours}");
        }
    }
    said.to_owned()
}

/// `pybox help run` is `pybox run --help`, for those who have it from docker.
pub(crate) fn ask_for_help(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|word| word == "help") {
        arguments.remove(1);
        arguments.truncate(3);
        arguments.push("--help".into());
    }
    arguments
}

/// The words of `arguments` that choose a verb, as `pybox image ls`.
fn verb(root: &Command, arguments: &[OsString]) -> String {
    let mut command = root;
    let mut words = vec!["pybox"];
    for argument in arguments.iter().skip(1) {
        if let Some(inner) = command.find_subcommand(argument) {
            command = inner;
            words.push(inner.get_name());
        }
    }
    words.join(" ")
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        // The most like it comes last.
        Some(ContextValue::Strings(words)) => words.last().cloned(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::arguments::Arguments;

    fn settled(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from).collect();
        let settled = settle_switches(&Arguments::command(), arguments);
        settled.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn switches_take_values_as_in_go() {
        for (line, meant) in [
            ("pybox run --rm=true debian", "pybox run --rm debian"),
            ("pybox run --rm=false --init=1 debian", "pybox run --init debian"),
            ("pybox run --rm=true debian x --rm=true", "pybox run --rm debian x --rm=true"),
            ("pybox run --name web --rm=true debian", "pybox run --name web --rm debian"),
            ("pybox run -itv /a:/b --rm=true debian", "pybox run -itv /a:/b --rm debian"),
            ("pybox run -e A --rm=true debian", "pybox run -e A --rm debian"),
            ("pybox run -eA --rm=true debian", "pybox run -eA --rm debian"),
            ("pybox run --env --rm=true debian", "pybox run --env --rm=true debian"),
            ("pybox run --image debian --rm=true -- --rm=true", "pybox run --image debian --rm -- --rm=true"),
            ("pybox --root /r ps --no-trunc=true", "pybox --root /r ps --no-trunc"),
            ("pybox container ls --all=T", "pybox container ls --all"),
            ("pybox run --name=true debian", "pybox run --name=true debian"),
            ("pybox run --rm=maybe debian", "pybox run --rm=maybe debian"),
            ("pybox images debian --digests=true", "pybox images debian --digests"),
        ] {
            assert_eq!(settled(line), meant, "{line}");
        }
    }

    #[test]
    fn help_is_a_verb_too() {
        let asked = |line: &str| {
            let words = ask_for_help(line.split(' ').map(OsString::from).collect());
            words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        for (line, meant) in [
            ("pybox help", "pybox --help"),
            ("pybox help run", "pybox run --help"),
            ("pybox help volume ls", "pybox volume ls --help"),
            ("pybox run help", "pybox run help"),
            ("pybox", "pybox"),
        ] {
            assert_eq!(asked(line), meant);
        }
    }

    #[test]
    fn numbers_that_are_none_are_told_in_our_words() {
        let said = "error: invalid value 'abc' for '--last <N>': invalid digit found in string\n\nFor more";
        assert_eq!(sentence(said), "invalid value 'abc' for '--last <N>': expected a whole number");
    }

    #[test]
    fn the_tree_is_sound() {
        Arguments::command().debug_assert();
    }
}
