//! The verbs: one file each, with its options, its help and a short function.

pub(super) mod attach;
pub(super) mod build;
pub(super) mod builder;
pub(super) mod check;
pub(super) mod commit;
pub(super) mod control;
pub(super) mod cp;
pub(super) mod create;
mod descriptors;
pub(super) mod df;
pub(super) mod diff;
pub(super) mod events;
pub(super) mod exec;
pub(super) mod export;
pub(super) mod generate;
pub(super) mod history;
pub(super) mod images;
pub(super) mod import;
pub(super) mod info;
pub(super) mod inspect;
pub(super) mod install_completion;
mod limit_flags;
pub(super) mod load;
pub(super) mod login;
pub(super) mod logout;
pub(super) mod logs;
pub(super) mod manifest;
pub(super) mod network;
mod notify;
pub(super) mod port;
pub(super) mod prune;
pub(super) mod ps;
pub(super) mod pull;
pub(super) mod push;
pub(super) mod quadlet;
pub(super) mod rename;
pub(super) mod rm;
pub(super) mod rmi;
pub(super) mod run;
pub(super) mod save;
pub(super) mod start;
pub(super) mod stats;
pub(super) mod tag;
pub(super) mod top;
pub(super) mod update;
pub(super) mod version;
pub(super) mod volume;
pub(super) mod wait;

use serde_json::Value;

use super::arguments::{Command, Container, Image, System};
use super::error::{Fallback, Problem};
use super::render::listing::{Format, pretty, write_object};
use super::session::Session;
use crate::engine::api::{ObjectKind, Source};

/// The exit code of success.
const DONE: u8 = 0;

/// The commands that show which names there are.
const SHOW_IMAGES: &str = "pybox images";
const SHOW_CONTAINERS: &str = "pybox ps --all";

impl Command {
    /// Which exit code a failure gives.
    pub(super) fn fallback(&self) -> Fallback {
        match self {
            Self::Run(_) | Self::Create(_) | Self::Exec(_) => Fallback::Run,
            Self::Container(Container::Run(_) | Container::Create(_) | Container::Exec(_)) => Fallback::Run,
            _ => Fallback::Other,
        }
    }

    /// Does what was asked, and returns the exit code.
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        match self {
            Self::Run(args) | Self::Container(Container::Run(args)) => args.execute(session),
            Self::Create(args) | Self::Container(Container::Create(args)) => args.execute(session),
            Self::Start(args) | Self::Container(Container::Start(args)) => args.execute(session),
            Self::Stop(args) | Self::Container(Container::Stop(args)) => args.execute(session),
            Self::Restart(args) | Self::Container(Container::Restart(args)) => args.execute(session),
            Self::Kill(args) | Self::Container(Container::Kill(args)) => args.execute(session),
            Self::Pause(args) | Self::Container(Container::Pause(args)) => args.execute(session),
            Self::Unpause(args) | Self::Container(Container::Unpause(args)) => args.execute(session),
            Self::Wait(args) | Self::Container(Container::Wait(args)) => args.execute(session),
            Self::Exec(args) | Self::Container(Container::Exec(args)) => args.execute(session),
            Self::Logs(args) | Self::Container(Container::Logs(args)) => args.execute(session),
            Self::Cp(args) | Self::Container(Container::Cp(args)) => args.execute(session),
            Self::Diff(args) | Self::Container(Container::Diff(args)) => args.execute(session),
            Self::Export(args) | Self::Container(Container::Export(args)) => args.execute(session),
            Self::Commit(args) | Self::Container(Container::Commit(args)) => args.execute(session),
            Self::History(args) | Self::Image(Image::History(args)) => args.execute(session),
            Self::Network(verb) => verb.execute(session),
            Self::Quadlet(verb) => verb.execute(session),
            Self::Generate(verb) => verb.execute(session),
            Self::Volume(verb) => verb.execute(session),
            Self::Manifest(verb) => verb.execute(session),
            Self::Check(args) | Self::System(System::Check(args)) => args.execute(session),
            Self::Attach(args) | Self::Container(Container::Attach(args)) => args.execute(session),
            Self::Build(args) | Self::Image(Image::Build(args)) => args.execute(session),
            Self::Builder(verb) => verb.execute(session),
            Self::Pull(args) | Self::Image(Image::Pull(args)) => args.execute(session),
            Self::Push(args) | Self::Image(Image::Push(args)) => args.execute(session),
            Self::Login(args) => args.execute(session),
            Self::Logout(args) => args.execute(session),
            Self::Images(args) | Self::Image(Image::Ls(args)) => args.execute(session),
            Self::Rmi(args) | Self::Image(Image::Rm(args)) => args.execute(session),
            Self::Import(args) | Self::Image(Image::Import(args)) => args.execute(session),
            Self::Load(args) | Self::Image(Image::Load(args)) => args.execute(session),
            Self::Save(args) | Self::Image(Image::Save(args)) => args.execute(session),
            Self::Tag(args) | Self::Image(Image::Tag(args)) => args.execute(session),
            Self::Inspect(args) => args.execute(None, session),
            Self::Image(Image::Inspect(args)) => args.execute(Some(ObjectKind::Image), session),
            Self::Container(Container::Inspect(args)) => args.execute(Some(ObjectKind::Container), session),
            Self::Ps(args) | Self::Container(Container::Ls(args)) => args.execute(session),
            Self::Rm(args) | Self::Container(Container::Rm(args)) => args.execute(session),
            Self::Info(args) | Self::System(System::Info(args)) => args.execute(session),
            Self::InstallCompletion(args) => args.execute(session),
            Self::Version(args) => args.execute(session),
            Self::Update(args) | Self::Container(Container::Update(args)) => args.execute(session),
            Self::Container(Container::Prune(args)) => args.execute(session),
            Self::Image(Image::Prune(args)) => args.execute(session),
            Self::System(System::Prune(args)) => args.execute(session),
            Self::System(System::Df(args)) => args.execute(session),
            Self::Rename(args) | Self::Container(Container::Rename(args)) => args.execute(session),
            Self::Port(args) | Self::Container(Container::Port(args)) => args.execute(session),
            Self::Top(args) | Self::Container(Container::Top(args)) => args.execute(session),
            Self::Stats(args) | Self::Container(Container::Stats(args)) => args.execute(session),
            Self::Events(args) | Self::System(System::Events(args)) => args.execute(session),
        }
    }
}

/// Does `work` for each name, tells what fails as it goes, and fails at the end if any did.
fn for_each(
    names: &[String],
    session: &mut Session,
    mut work: impl FnMut(&str, &mut Session) -> Result<(), Problem>,
) -> Result<u8, Problem> {
    let mut last = None;
    for name in names {
        if let Err(problem) = work(name, session) {
            // A second problem must not hide the first.
            if let Some(earlier) = last.replace(problem) {
                session.finish()?;
                super::report(&earlier, Fallback::Other);
            }
        }
    }
    last.map_or(Ok(DONE), Err)
}

/// Prints what `inspect` has found: by a template one after the other, else as docker does, an array.
fn show(documents: Vec<Value>, format: &Format, session: &mut Session) -> Result<(), Problem> {
    if let Format::Template { .. } = format {
        return documents.iter().try_for_each(|one| write_object(one, format, String::new, session.output()));
    }
    let text = pretty(&Value::Array(documents))?;
    Ok(session.output().write_all(&text)?)
}

/// A path or `-`, as an absolute path or the standard stream.
fn source(path: &std::path::Path) -> Result<Source, Problem> {
    if path.as_os_str() == "-" {
        return Ok(Source::Standard);
    }
    absolute(path).map(Source::Path)
}

/// A path of the user's, absolute.
fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf, Problem> {
    std::path::absolute(path).map_err(|error| Problem::user(format!("{}: {error}", path.display())))
}

/// Reads a reference, with the verb's help as hint.
fn reference(text: &str, help: &str) -> Result<crate::model::reference::Reference, Problem> {
    text.parse().map_err(|error: crate::model::reference::InvalidReference| Problem::user(error.to_string()).hint(help))
}

/// Reads `--platform`, with the verb's help as hint.
fn platform(text: Option<&str>, help: &str) -> Result<Option<crate::model::platform::Platform>, Problem> {
    let platform = text.map(crate::model::flags::words::platform).transpose();
    platform.map_err(|error| Problem::user(error.to_string()).hint(help))
}
