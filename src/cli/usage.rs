//! Mistakes on the command line, told as every other problem: a sentence and a
//! hint, instead of clap's paragraph.

use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::{OURS, Problem};

/// Answers what clap stopped at: help and version are printed, the rest is a problem.
///
/// # Errors
/// With the mistake, or if standard output cannot be written.
pub(crate) fn answer(error: &clap::Error) -> Result<(), Problem> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => print(error),
        ErrorKind::DisplayVersion => Ok(writeln!(std::io::stdout(), "pybox version {}", env!("CARGO_PKG_VERSION"))?),
        _ => Err(mistake(error)),
    }
}

fn print(error: &clap::Error) -> Result<(), Problem> {
    // Goes by way of clap, which knows whether standard output is painted.
    Ok(error.print()?)
}

fn mistake(error: &clap::Error) -> Problem {
    let text = error.to_string();
    let problem = Problem::user(sentence(&text)).code(OURS);
    let help = help_command(&text);
    match suggestion(error) {
        Some(similar) => problem.hint(format!("did you mean {similar}? see: {help}")),
        None => problem.hint(help),
    }
}

/// The first paragraph in one line: `unexpected argument '--x' found`.
fn sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
    let joined = lines.join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

/// The help of the verb that clap was reading: the words of its usage line
/// before the first one that is no verb.
fn help_command(text: &str) -> String {
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).unwrap_or("pybox");
    let verb = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let words: Vec<&str> = usage.split_whitespace().take_while(verb).collect();
    format!("{} --help", if words.is_empty() { "pybox".to_owned() } else { words.join(" ") })
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        Some(ContextValue::Strings(words)) => words.first().cloned(),
        _ => None,
    })
}
