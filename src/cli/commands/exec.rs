//! `pybox exec`.

use super::run::{environment, workdir};
use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::{OURS, Problem};
use crate::cli::session::Session;
use crate::engine::api;
use crate::model::flags::{InvalidFlag, account, detach_keys};

/// Run a command in a running container
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "pybox exec [OPTIONS] CONTAINER [--] COMMAND [ARG]...",
    after_help = "The command runs beside the container's own processes, with the rights, limits and system call filter \
        that the container was made with. exec returns its exit code; 125 says that pybox failed, 126 that the command \
        cannot be executed, 127 that it was not found, and 128 + n that signal n ended it.\n\nExamples:\n  \
        pybox exec -it web bash\n  \
        pybox exec web -- ls -l /srv\n  \
        pybox exec -u postgres -w /tmp db pg_dump shop > shop.sql\n  \
        pybox exec -i db psql shop < shop.sql"
)]
pub(crate) struct Args {
    /// Container and command: everything after the container belongs to the command
    #[arg(trailing_var_arg = true, value_name = "CONTAINER|COMMAND", hide = true)]
    words: Vec<String>,

    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,

    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,

    /// Return as soon as it runs; its output goes nowhere
    #[arg(short, long)]
    detach: bool,

    /// Set a variable, or hand on your own
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    env: Vec<String>,

    /// Set the variables that a file has, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<std::path::PathBuf>,

    /// Start in this directory, which has to be there
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// Run as this user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]", allow_negative_numbers = true)]
    user: Option<String>,

    /// Give it all capabilities of the container's user namespace, and no system call filter
    #[arg(long)]
    privileged: bool,

    /// Keys that leave it running, as in ctrl-p,ctrl-q; none by default
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let executed = session.call(self.request()?).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(executed.code.map_or(DONE, |code| u8::try_from(code).unwrap_or(OURS)))
    }

    fn request(self) -> Result<api::Exec, Problem> {
        let usage = |error: InvalidFlag| Problem::from(error).hint("pybox exec --help");
        let (name, command) = container_and_command(self.words)?;
        if let Some(user) = &self.user {
            account::parse_user(user).map_err(usage)?;
        }
        let keys = self.detach_keys.as_deref().map(detach_keys::parse).transpose().map_err(usage)?;
        Ok(api::Exec {
            name,
            command,
            interactive: self.interactive,
            tty: self.tty,
            detach: self.detach,
            env: environment(&self.env_file, &self.env)?,
            workdir: self.workdir.as_deref().map(workdir).transpose().map_err(usage)?,
            user: self.user,
            privileged: self.privileged,
            detach_keys: keys.unwrap_or_default(),
        })
    }
}

/// The first word, and all after it without the one `--` that may stand between.
fn container_and_command(words: Vec<String>) -> Result<(String, Vec<String>), Problem> {
    let mut words = words.into_iter().peekable();
    let name = words.next().filter(|name| !name.is_empty());
    words.next_if_eq("--");
    let command: Vec<String> = words.collect();
    match name {
        None => Err(Problem::user("no container is given").hint("pybox exec CONTAINER -- sh").code(OURS)),
        Some(name) if command.is_empty() => {
            Err(Problem::user("no command is given").hint(format!("pybox exec {name} -- sh")).code(OURS))
        }
        Some(name) => Ok((name, command)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(words: &[&str]) -> Result<(String, Vec<String>), String> {
        let words = words.iter().map(ToString::to_string).collect();
        container_and_command(words).map_err(|problem| problem.to_string())
    }

    #[test]
    fn one_pair_of_dashes_may_stand_before_the_command() {
        let ok = |command: &[&str]| Ok(("web".to_owned(), command.iter().map(ToString::to_string).collect()));
        assert_eq!(parts(&["web", "true"]), ok(&["true"]));
        assert_eq!(parts(&["web", "--", "ls", "--", "-l"]), ok(&["ls", "--", "-l"]));
        assert_eq!(parts(&["web", "ls", "-l"]), ok(&["ls", "-l"]));
        assert_eq!(parts(&["web", "--"]), Err("no command is given".to_owned()));
        assert_eq!(parts(&[""]), Err("no container is given".to_owned()));
        assert_eq!(parts(&[]), Err("no container is given".to_owned()));
    }
}
