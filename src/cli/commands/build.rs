//! `pybox build`.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::limit_flags::LimitFlags;
use super::{DONE, absolute, platform, reference};
use crate::cli::error::Problem;
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, progress_manner, with_environment};
use crate::engine::api::{self, BuildAgent, BuildSecret};
use crate::model::compression::Compression;
use crate::model::container::NetworkMode;
use crate::model::flags::{InvalidFlag, label, limits, network};

const HELP: &str = "pybox build --help";
/// More than a key or a token has.
const SECRET_LIMIT: u64 = 512 << 10;
/// Where distributions keep the certificates that they trust.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Make an image as a boxfile.toml or Dockerfile says
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file is boxfile.toml, Containerfile or Dockerfile of the context. What steps have made is \
    kept for the next build, until `pybox builder prune`. With SOURCE_DATE_EPOCH set, no time in the image is later, \
    and the same steps make the same image. Prints the image's id.\n\n\
    Each step by itself is held to the limits, of which there are all that run has.\n\n\
    Examples:\n  \
    pybox build -f deploy/Dockerfile --target test --build-arg VERSION=2 -t app:test .\n  \
    pybox build --secret id=token,src=$HOME/.token -t app:1 ."
)]
pub(crate) struct Args {
    /// Directory whose files can be copied into the image
    #[arg(value_name = "CONTEXT", default_value = ".")]
    context: PathBuf,

    /// The file that says what to do
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Name the image; can be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    tags: Vec<String>,

    /// Do every step anew
    #[arg(long)]
    no_cache: bool,

    /// Ask the registry for newer bases
    #[arg(long)]
    pull: bool,

    /// Set an argument of the file; without a value, as the environment has it
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    arguments: Vec<String>,

    /// Stop after this stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// Give steps a secret: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<String>,

    /// Let steps ask an agent of ssh: default, NAME, or NAME=SOCKET [env: SSH_AUTH_SOCK]
    #[arg(long = "ssh", value_name = "NAME[=SOCKET]")]
    agents: Vec<String>,

    /// Take bases for this platform, as in linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,

    /// Network of the steps: pasta, none or host [env: PYBOX_NETWORK]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,

    /// Add a label to the image
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,

    /// Have steps, not the image, trust the certificates that this machine trusts
    #[arg(long)]
    host_ca: bool,

    /// Compress the layers that are made: gzip, zstd or none
    #[arg(long, value_name = "FORMAT", default_value_t)]
    compression: Compression,

    /// Write the image's id to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,

    /// Print the id alone
    #[arg(short, long)]
    quiet: bool,

    /// Make cgroups of steps below this slice, or directory
    #[arg(long, hide = true, value_name = "SLICE|PATH")]
    cgroup_parent: Option<String>,

    /// Of each step by itself.
    #[command(flatten)]
    limits: LimitFlags,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let quiet = self.quiet;
        let build = self.request()?;
        let manner = if quiet { Manner::Quiet } else { progress_manner() };
        let built = session.call_with(build, manner)?;
        writeln!(session.output(), "{}", built.id)?;
        Ok(DONE)
    }

    fn request(self) -> Result<api::Build, Problem> {
        let named = self.network.or_else(|| variable("PYBOX_NETWORK").filter(|name| !name.is_empty()));
        let network = named.as_deref().map_or(Ok(NetworkMode::Pasta), mode)?;
        let labels = self.labels.iter().map(|text| label::parse(text)).collect::<Result<_, _>>()?;
        Ok(api::Build {
            context: absolute(&self.context)?,
            file: self.file.as_deref().map(absolute).transpose()?,
            names: self.tags.iter().map(|name| reference(name, HELP)).collect::<Result<_, _>>()?,
            fresh: self.no_cache,
            pull: self.pull,
            arguments: self.arguments.iter().filter_map(|text| argument(text).transpose()).collect::<Result<_, _>>()?,
            proxies: proxies(),
            target: self.target,
            secrets: self.secrets.iter().map(|text| secret(text)).collect::<Result<_, _>>()?,
            agents: self.agents.iter().map(|text| agent(text)).collect::<Result<_, _>>()?,
            platform: platform(self.platform.as_deref(), HELP)?,
            network,
            network_named: named.is_some(),
            limits: self.limits.read().map_err(flag)?,
            cgroup_parent: self.cgroup_parent.as_deref().map(limits::cgroup_parent).transpose().map_err(flag)?,
            labels,
            id_file: self.iidfile.as_deref().map(absolute).transpose()?,
            quiet: self.quiet,
            epoch: epoch()?,
            compression: self.compression,
            authorities: if self.host_ca { Some(authorities()?) } else { None },
        })
    }
}

fn flag(error: InvalidFlag) -> Problem {
    Problem::from(error).hint(HELP)
}

/// Steps are on no network of names: whoever builds an image talks to nobody's containers.
fn mode(text: &str) -> Result<NetworkMode, Problem> {
    match network::parse(text)? {
        network::Wanted::Mode(mode) => Ok(mode),
        network::Wanted::Network(_) | network::Wanted::Of(_) => {
            Err(Problem::user(format!("invalid value {text:?} for --network: expected pasta, none or host")).hint(HELP))
        }
    }
}

fn variable(name: &str) -> Option<String> {
    with_environment(|environment| environment.variable(name))
}

/// A name without a value has that of the environment, and is nothing where that has none.
fn argument(text: &str) -> Result<Option<(String, String)>, Problem> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(Problem::user(format!("--build-arg {text:?} has no name")).hint("--build-arg NAME=VALUE"));
    }
    Ok(value.or_else(|| variable(name)).map(|value| (name.to_owned(), value)))
}

/// Those that programs look at, in both ways of writing them.
fn proxies() -> Vec<(String, String)> {
    let names = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    let value = |name: &str| variable(name).filter(|value| !value.is_empty());
    names.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
}

fn secret(text: &str) -> Result<BuildSecret, Problem> {
    const EXAMPLE: &str = "--secret id=token,src=FILE, or --secret id=token,env=VARIABLE";
    let wrong = |why: String| Problem::user(format!("--secret {text:?}: {why}")).hint(EXAMPLE);
    let (mut id, mut source, mut name) = (None, None, None);
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| wrong(format!("{part:?} is not KEY=VALUE")))?;
        match key {
            "id" => id = Some(value),
            "src" | "source" => source = Some(value),
            "env" => name = Some(value),
            "type" if matches!(value, "file" | "env") => {}
            _ => return Err(wrong(format!("there is no key {key}"))),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| wrong("it has no id".to_owned()))?;
    let value = match (source, name) {
        (Some(_), Some(_)) => return Err(wrong("src and env exclude each other".to_owned())),
        (Some(path), None) => read(Path::new(path)).map_err(wrong)?,
        (None, name) => {
            let name = name.unwrap_or(id);
            variable(name).ok_or_else(|| wrong(format!("the variable {name} is not set")))?.into_bytes()
        }
    };
    Ok(BuildSecret { id: id.to_owned(), value })
}

/// `default`, or another name, of the agent that the environment tells of; or one and where it listens.
fn agent(text: &str) -> Result<BuildAgent, Problem> {
    let wrong = |why: String| Problem::user(format!("--ssh {text:?}: {why}"));
    let (id, path) = text.split_once('=').map_or((text, None), |(id, path)| (id, Some(path)));
    if id.is_empty() {
        return Err(wrong("it has no name".to_owned()).hint("--ssh default, or --ssh NAME=SOCKET"));
    }
    let named = path.map(ToOwned::to_owned).or_else(|| variable("SSH_AUTH_SOCK")).filter(|path| !path.is_empty());
    let Some(named) = named else {
        let problem = wrong("SSH_AUTH_SOCK is not set, so no agent is known".to_owned());
        return Err(problem.hint("eval \"$(ssh-agent)\" && ssh-add"));
    };
    let socket = absolute(Path::new(&named))?;
    match std::fs::metadata(&socket) {
        Ok(facts) if facts.file_type().is_socket() => Ok(BuildAgent { id: id.to_owned(), socket }),
        // One key, or a list of them, as others take it.
        Ok(facts) if facts.is_file() => {
            let problem = wrong(format!("{named} is a file; keys are given to an agent, not to a build"));
            Err(problem.hint(format!("eval \"$(ssh-agent)\" && ssh-add {named}, then --ssh {id}")))
        }
        Ok(_) => Err(wrong(format!("{named} is no socket")).hint("--ssh NAME=SOCKET")),
        Err(_) if named.contains(',') => {
            let problem = wrong("keys are given to an agent, not to a build".to_owned());
            Err(problem.hint(format!("eval \"$(ssh-agent)\" && ssh-add {}, then --ssh {id}", named.replace(',', " "))))
        }
        Err(error) => {
            Err(wrong(format!("look at {named}: {error}")).hint("does the agent run? eval \"$(ssh-agent)\" && ssh-add"))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("read {}: {error}", path.display());
    let facts = std::fs::metadata(path).map_err(failed)?;
    if !facts.is_file() || facts.len() > SECRET_LIMIT {
        return Err(format!("{} is no regular file of 512 KiB at most", path.display()));
    }
    std::fs::read(path).map_err(failed)
}

/// `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn epoch() -> Result<Option<u64>, Problem> {
    let Some(text) = variable("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(None) };
    // Images have times of four-digit years.
    const LAST: u64 = 253_402_300_799;
    let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds <= LAST);
    seconds.map(Some).ok_or_else(|| {
        Problem::user(format!("SOURCE_DATE_EPOCH is {text:?}, which is no number of seconds since 1970"))
            .hint("export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)")
    })
}

fn authorities() -> Result<PathBuf, Problem> {
    let own = variable("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_file());
    let known = || AUTHORITIES.iter().map(PathBuf::from).find(|path| path.is_file());
    own.or_else(known).ok_or_else(|| {
        Problem::user("--host-ca: this machine has no file of certificates").hint("export SSL_CERT_FILE=/path/to/it")
    })
}
