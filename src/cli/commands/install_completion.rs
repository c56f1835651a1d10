//! `pybox --install-completion`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::session::{self, Session};

/// Let the Tab key of a shell complete names, ids and flags
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Writes one file below the home directory, over an older one of the same name.\n\nExamples:\n  \
    pybox --install-completion bash"
)]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let path = session::with_environment(|environment| match self.shell {
            Shell::Bash => environment.data_home().map(|data| data.join("bash-completion/completions/pybox")),
            Shell::Zsh => environment.data_home().map(|data| data.join("zsh/site-functions/_pybox")),
            Shell::Fish => environment.config_home().map(|config| config.join("fish/completions/pybox.fish")),
        });
        let path = path.ok_or_else(|| {
            Problem::config("there is no home directory to write the completion to").hint("export HOME=/home/me")
        })?;
        write(&path, self.shell.script())
            .map_err(|error| Problem::config(format!("write {}: {error}", path.display())))?;
        writeln!(session.output(), "wrote {}: {}", path.display(), self.shell.next_step(&path))?;
        Ok(DONE)
    }
}

impl Shell {
    /// Asks the program each time a shell needs it first, so that an upgrade brings its own words.
    fn script(self) -> &'static str {
        match self {
            Self::Bash => {
                "# Written by: pybox --install-completion bash\n\
                 source <(_PYBOX_COMPLETE=bash pybox 2>/dev/null)\n"
            }
            Self::Zsh => {
                "#compdef pybox\n\
                 # Written by: pybox --install-completion zsh\n\
                 source <(_PYBOX_COMPLETE=zsh pybox 2>/dev/null) && _clap_dynamic_completer_pybox \"$@\"\n"
            }
            Self::Fish => {
                "# Written by: pybox --install-completion fish\n\
                 _PYBOX_COMPLETE=fish pybox 2>/dev/null | source\n"
            }
        }
    }

    /// What is left to the user.
    fn next_step(self, path: &Path) -> String {
        let directory = path.parent().unwrap_or(path).display();
        match self {
            Self::Bash => "open a new terminal (needs the package bash-completion)".to_owned(),
            Self::Zsh => format!("put fpath=({directory} $fpath) before compinit in ~/.zshrc, and open a new terminal"),
            Self::Fish => "open a new terminal".to_owned(),
        }
    }
}

/// Whole or not at all: a shell may be reading the older one.
fn write(path: &Path, script: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new: PathBuf = directory.join(name);
    let written = std::fs::write(&new, script).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}
