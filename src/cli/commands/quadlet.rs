//! `pybox quadlet lint` and `print`.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::{DONE, absolute};
use crate::cli::arguments::Arguments;
use crate::cli::error::Problem;
use crate::cli::session::{Session, with_environment};
use crate::units::places::{self, For, PODMANS_GENERATORS};
use crate::units::{self, Complaint, Generated, Host, Unit, Weight};

/// The exit code if there is something to say.
const FOUND: u8 = 1;

/// See what becomes of Quadlet files, and what is wrong with them
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Quadlet {
    Lint(Lint),
    Print(Print),
}

/// Say what is wrong with Quadlet files
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints a sentence with file and line for each mistake, and exits with 1 if there is any.\n\nExamples:\n  \
    pybox quadlet lint\n  \
    pybox quadlet lint web.container"
)]
pub(crate) struct Lint {
    #[command(flatten)]
    which: Which,
}

/// Print the units that Quadlet files become
#[derive(Debug, clap::Args)]
#[command(after_help = "Nothing is written; systemctl --user daemon-reload has the units made.\n\nExamples:\n  \
    pybox quadlet print web.container")]
pub(crate) struct Print {
    #[command(flatten)]
    which: Which,
}

/// Which files.
#[derive(Debug, clap::Args)]
struct Which {
    /// The files: .container, .volume, .network, .build or .image; all that systemd would be given if none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// For the manager of the machine, whoever asks
    #[arg(long, conflicts_with = "user")]
    system: bool,

    /// For the manager of a user, even if root asks
    #[arg(long)]
    user: bool,
}

impl Quadlet {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        match self {
            Self::Lint(args) => args.execute(session),
            Self::Print(args) => args.execute(session),
        }
    }
}

impl Lint {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let Generated { units, mut complaints } = self.which.generate()?;
        complaints.extend(units.iter().filter_map(judge));
        complaints.sort_by(|one, other| (&one.path, one.line).cmp(&(&other.path, other.line)));
        for complaint in &complaints {
            writeln!(session.output(), "{complaint}")?;
        }
        Ok(if complaints.is_empty() { DONE } else { FOUND })
    }
}

impl Print {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let generated = self.which.generate()?;
        for unit in &generated.units {
            writeln!(session.output(), "---{}---\n{}", unit.name, unit.text)?;
        }
        session.finish()?;
        for complaint in &generated.complaints {
            use std::io::Write as _;
            // As the generator would; if nobody can read it, so be it.
            let _ = writeln!(std::io::stderr(), "pybox: {complaint}");
        }
        let lost = generated.complaints.iter().any(|complaint| complaint.weight == Weight::Unit);
        Ok(if lost { FOUND } else { DONE })
    }
}

impl Which {
    fn generate(self) -> Result<Generated, Problem> {
        let user = self.user || !self.system && !rustix::process::geteuid().is_root();
        let directories = directories(user);
        let program = program()?;
        let exists = |path: &Path| path.exists();
        let host = Host { program: &program, user, exists: &exists };
        let mut complaints = Vec::new();
        if self.files.is_empty() {
            let found = units::read::all(&directories, &mut complaints);
            let mut generated = units::generate(&found, host);
            generated.complaints.splice(..0, complaints);
            return Ok(generated);
        }
        let mut files = Vec::new();
        for file in &self.files {
            let file = absolute(file)?;
            std::fs::metadata(&file).map_err(|error| {
                Problem::user(format!("read {}: {error}", file.display())).hint("pybox quadlet lint, for all files")
            })?;
            files.push(file);
        }
        let found = units::read::with(&files, &directories, &mut complaints);
        let mut generated = units::generate(&found, host);
        generated.complaints.splice(..0, complaints);
        // The others were read only because these may name them.
        let asked = found.iter().filter(|it| files.contains(&it.main.path));
        let paths: Vec<_> = asked.flat_map(|it| it.drop_ins.iter().chain([&it.main]).map(|it| &it.path)).collect();
        generated.complaints.retain(|complaint| paths.contains(&&complaint.path) || files.contains(&complaint.path));
        generated.units.retain(|unit| files.contains(&unit.source));
        Ok(generated)
    }
}

fn directories(user: bool) -> Vec<PathBuf> {
    let podman = PODMANS_GENERATORS.iter().any(|path| Path::new(path).exists());
    with_environment(|environment| {
        let (config, uid) = (environment.config_home(), rustix::process::getuid().as_raw());
        let whom = if user { For::User { uid, config: config.as_deref() } } else { For::System };
        places::directories(whom, environment.variable("QUADLET_UNIT_DIRS").as_deref(), podman)
    })
}

/// Our own program, by a path that a unit can have.
pub(super) fn program() -> Result<String, Problem> {
    let own = std::env::current_exe()
        .map_err(|error| Problem::internal(format!("find our own program by /proc/self/exe: {error}")))?;
    own.into_os_string()
        .into_string()
        .map_err(|own| Problem::config(format!("the path of pybox is not UTF-8: {own:?}")))
}

/// Whether the command line of a unit is one of ours: arguments that a file hands on may be another
/// program's. What systemd replaces is not known, so values with a specifier are not looked at.
fn judge(unit: &Unit) -> Option<Complaint> {
    let error = Arguments::command().try_get_matches_from(&unit.start).err()?;
    let unclear = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation)
        && unit.start.iter().any(|word| word.contains(['%', '$']));
    if unclear || matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let sentence = format!("pybox would not start: {first}");
    Some(Complaint { path: unit.source.clone(), line: 0, weight: Weight::Unit, sentence })
}
