//! One run of the program: its environment, its engine, its output.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use std::path::PathBuf;

use super::backend::Backend;
use super::environment::{Colour, Environment, Wishes};
use super::error::{Paint, Problem};
use super::render::progress::{Manner, Progress};
use crate::engine::api::Call;
use crate::engine::host;

/// What a verb works with.
pub(crate) struct Session {
    wishes: Wishes,
    backend: OnceCell<Backend>,
    output: BufWriter<Stdout>,
}

impl Session {
    /// A session with these global options; reads nothing yet.
    pub(crate) fn new(wishes: Wishes) -> Self {
        Self { wishes, backend: OnceCell::new(), output: BufWriter::new(io::stdout()) }
    }

    /// The root that was named, by the option or the variable; none if it is where everybody's is.
    ///
    /// # Errors
    /// If it is no absolute path.
    pub(crate) fn named_root(&self) -> Result<Option<PathBuf>, Problem> {
        with_environment(|environment| {
            let named =
                self.wishes.root.is_some() || environment.variable("PYBOX_ROOT").is_some_and(|it| !it.is_empty());
            named.then(|| environment.root(&self.wishes)).transpose()
        })
    }

    /// Standard output, buffered; [`Session::finish`] flushes it.
    pub(crate) fn output(&mut self) -> &mut dyn Write {
        &mut self.output
    }

    /// Flushes what was written.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn finish(&mut self) -> Result<(), Problem> {
        Ok(self.output.flush()?)
    }

    /// Asks the engine, showing warnings only.
    ///
    /// # Errors
    /// With what went wrong.
    pub(crate) fn call<C: Call>(&mut self, question: C) -> Result<C::Answer, Problem> {
        self.call_with(question, Manner::Quiet)
    }

    /// Asks the engine, showing its progress in this manner.
    ///
    /// # Errors
    /// With what went wrong.
    pub(crate) fn call_with<C: Call>(&mut self, question: C, manner: Manner) -> Result<C::Answer, Problem> {
        // What was written so far comes before what a container writes.
        self.finish()?;
        let backend = self.backend()?;
        let mut progress = Progress::new(manner);
        let answer = backend.call(question, &mut |event| progress.show(&event));
        progress.finish();
        Ok(answer?)
    }

    fn backend(&self) -> Result<&Backend, Problem> {
        if let Some(backend) = self.backend.get() {
            return Ok(backend);
        }
        let settings = with_environment(|environment| environment.settings(&self.wishes))?;
        Ok(self.backend.get_or_init(|| Backend::local(settings)))
    }
}

/// How a pull shows itself, unless it is told to be quiet.
pub(crate) fn progress_manner() -> Manner {
    let redraws = io::stderr().is_terminal() && with_environment(|environment| environment.can_redraw());
    if redraws { Manner::Bars } else { Manner::Lines }
}

/// How work on what is here already shows itself: it is short, so only a terminal is told of it.
pub(crate) fn local_manner() -> Manner {
    match progress_manner() {
        Manner::Lines => Manner::Quiet,
        other => other,
    }
}

/// Whether standard error is painted.
pub(crate) fn paint() -> Paint {
    match with_environment(|environment| environment.colour()) {
        Colour::Off => Paint::Plain,
        Colour::Always => Paint::Colour,
        Colour::Terminal if io::stderr().is_terminal() => Paint::Colour,
        Colour::Terminal => Paint::Plain,
    }
}

/// Lends the environment of this process to `ask`.
pub(crate) fn with_environment<T>(ask: impl FnOnce(&Environment) -> T) -> T {
    let lookup = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let home = |uid: u32| -> Option<PathBuf> { host::home_directory(uid) };
    ask(&Environment::new(&lookup, rustix::process::geteuid().as_raw(), &home))
}
