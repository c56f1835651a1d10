//! Words in, words out: the command line, and the only room that prints.
//!
//! Standard output is for what was asked for, standard error for progress,
//! warnings and problems. A verb turns its arguments into a request of
//! [`crate::engine::api`], and prints the answer; it decides nothing else.

mod arguments;
mod backend;
mod commands;
mod completion;
mod environment;
mod error;
mod linger;
mod logging;
mod prompt;
mod render;
mod session;
mod template;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use arguments::Arguments;
use error::{Fallback, Problem};
use session::Session;

/// Reads the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let code = answer();
    logging::last_word();
    code
}

fn answer() -> ExitCode {
    if completion::is_asked() {
        completion::answer();
        return ExitCode::SUCCESS;
    }
    let words: Vec<_> = std::env::args_os().collect();
    let arguments = match Arguments::quickly(&words).map_or_else(|| understand(words), Ok) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let wishes = arguments.wishes();
    match session::with_environment(|environment| environment.level(&wishes)) {
        Ok(level) => logging::start(level),
        Err(problem) => return report(&problem, Fallback::Run),
    }
    let fallback = arguments.command.fallback();
    let mut session = Session::new(wishes);
    let done = arguments.command.execute(&mut session).and_then(|code| session.finish().map(|()| code));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            // The answers before the problem are answers still.
            let _ = session.finish();
            report(&problem, fallback)
        }
    }
}

/// What `words` mean; or the exit code, where they ask for help or are wrong, which has been said then.
fn understand(words: Vec<OsString>) -> Result<Arguments, ExitCode> {
    let mut tree = Arguments::command();
    let words = usage::settle_switches(&tree, usage::ask_for_help(words));
    let parsed = tree.try_get_matches_from_mut(&words).and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let answer = usage::answer(&error, &tree, &words);
        answer.map_or_else(|problem| report(&problem, Fallback::Run), |()| ExitCode::SUCCESS)
    })
}

/// Tells the problem on standard error; where that is closed, the code has to do.
fn report(problem: &Problem, fallback: Fallback) -> ExitCode {
    let _ = problem.write(&mut std::io::stderr().lock(), session::paint());
    ExitCode::from(problem.exit_code(fallback))
}
