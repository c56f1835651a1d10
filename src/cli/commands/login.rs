//! `pybox login`.

use std::io::{Read as _, Write as _};

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::prompt::{Echo, ask};
use crate::cli::session::Session;
use crate::engine::api::{GetLogin, Login, Password};
use crate::model::reference::DEFAULT_REGISTRY;

/// Longest password on standard input, in bytes.
const MAX_PASSWORD: u64 = 64 << 10;

/// Log in to a registry
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The registry is asked before anything is kept. A credential helper keeps the login if credsStore \
    or credHelpers in docker's or podman's files names one; else a file that nobody else can read: REGISTRY_AUTH_FILE, \
    or config.json in DOCKER_CONFIG, or ~/.config/containers/auth.json. docker and podman read the same files.\n\n\
    Examples:\n  \
    pybox login                                  Docker Hub; asks for name and password\n  \
    pybox login -u ann registry.example:5000     asks for the password\n  \
    pass show registry | pybox login -u ann --password-stdin registry.example"
)]
pub(crate) struct Args {
    /// The registry, Docker Hub by default
    #[arg(value_name = "HOST[:PORT]")]
    registry: Option<String>,

    /// The user name
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,

    /// The password, or an access token; seen by others who list processes
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<Hidden>,

    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,

    /// Print the user name that is used at the registry, and do nothing else
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,
}

/// A word that is not shown with the others.
#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let registry = self.registry.clone().unwrap_or_else(|| DEFAULT_REGISTRY.to_owned());
        if self.get_login {
            let found = session.call(GetLogin { registry })?;
            writeln!(session.output(), "{}", found.user)?;
            return Ok(DONE);
        }
        let user = match &self.username {
            Some(user) => user.clone(),
            None => user_name(&registry, session)?,
        };
        let password = Password(self.password(&registry, &user)?);
        let kept = session.call(Login { registry, user: user.clone(), password })?;
        writeln!(session.output(), "logged in to {} as {user}; kept in {}", kept.registry, kept.place)?;
        Ok(DONE)
    }

    fn password(&self, registry: &str, user: &str) -> Result<String, Problem> {
        let password = match &self.password {
            Some(Hidden(password)) => {
                let _ = std::io::stderr().write_all(
                    b"pybox: warning: a password on the command line is seen by others; use --password-stdin\n",
                );
                password.clone()
            }
            None if self.password_stdin => from_standard_input()?,
            None => ask(&format!("password of {user} at {registry}: "), Echo::Off)?.ok_or_else(|| {
                Problem::user("there is no terminal to ask for the password at")
                    .hint(format!("pybox login -u {user} --password-stdin {registry} < FILE"))
            })?,
        };
        if password.is_empty() {
            return Err(Problem::user("the password is empty").hint(format!("pybox login -u {user} {registry}")));
        }
        Ok(password)
    }
}

/// Asks for the name; the one that is used now is what no answer means.
fn user_name(registry: &str, session: &mut Session) -> Result<String, Problem> {
    let known = session.call(GetLogin { registry: registry.to_owned() }).ok().map(|found| found.user);
    let offer = known.as_ref().map(|known| format!(" ({known})")).unwrap_or_default();
    let answer = ask(&format!("user name at {registry}{offer}: "), Echo::On)?.ok_or_else(|| {
        Problem::user("there is no terminal to ask for the user name at")
            .hint(format!("pybox login -u USER --password-stdin {registry} < FILE"))
    })?;
    match (answer.trim(), known) {
        ("", Some(known)) => Ok(known),
        (answer, _) => Ok(answer.to_owned()),
    }
}

fn from_standard_input() -> Result<String, Problem> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text);
    read.map_err(|error| Problem::user(format!("read the password from standard input: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
