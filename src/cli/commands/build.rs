//! `pybox build`.

mod foreign;

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use foreign::Foreign;

use super::limit_flags::LimitFlags;
use super::{DONE, absolute, platform, reference};
use crate::cli::error::Problem;
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, progress_manner, with_environment};
use crate::engine::api::{self, BuildAgent, BuildInput, BuildOutput, BuildSecret};
use crate::model::compression::Compression;
use crate::model::container::NetworkMode;
use crate::model::flags::{InvalidFlag, label, limits, names, network};

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
    /// Directory whose files can be copied into the image; - for an archive of one, or for a file alone
    #[arg(value_name = "CONTEXT", default_value = ".")]
    context: PathBuf,

    /// The file that says what to do; - for standard input
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

    /// Tell steps the address of a host
    #[arg(long = "add-host", value_name = "NAME:ADDRESS")]
    hosts: Vec<String>,

    /// Add a label to the image
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,

    /// Have steps, not the image, trust the certificates that this machine trusts
    #[arg(long)]
    host_ca: bool,

    /// Compress the layers that are made: gzip, zstd or none
    #[arg(long, value_name = "FORMAT", default_value_t)]
    compression: Compression,

    /// Add an annotation to the manifest
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,

    /// Write its files: DIR, type=local,dest=DIR, type=tar,dest=FILE, or - for an archive on standard output
    #[arg(short, long, value_name = "DIR")]
    output: Option<String>,

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

    #[command(flatten)]
    foreign: Foreign,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        self.foreign.check()?;
        let build = self.request()?;
        let manner = if build.quiet { Manner::Quiet } else { progress_manner() };
        let built = session.call_with(build, manner)?;
        // What has gone as files is no image here.
        if built.kept {
            writeln!(session.output(), "{}", built.id)?;
        }
        Ok(DONE)
    }

    fn request(self) -> Result<api::Build, Problem> {
        let named = self.network.or_else(|| variable("PYBOX_NETWORK").filter(|name| !name.is_empty()));
        let network = named.as_deref().map_or(Ok(NetworkMode::Pasta), mode)?;
        let labels = self.labels.iter().map(|text| label::parse(text)).collect::<Result<_, _>>()?;
        let (context, file, standard) = sources(&self.context, self.file)?;
        let output = self.output.as_deref().map(output).transpose()?;
        if self.platform.as_deref().is_some_and(|platform| platform.contains(',')) {
            let problem = Problem::user("--platform: one image is made at a time, for one platform");
            return Err(problem.hint("build each with a name of its own, then pybox manifest create NAME IMAGE..."));
        }
        if output == Some(BuildOutput::Archive(None)) && !self.tags.is_empty() {
            let problem = Problem::user("standard output has the archive, and the id of an image with a name");
            return Err(problem.hint("leave -t out, or name a file: -o type=tar,dest=FILE"));
        }
        Ok(api::Build {
            context,
            file,
            standard,
            output,
            annotations: self.annotations.iter().map(|text| annotation(text)).collect::<Result<_, _>>()?,
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
            hosts: self.hosts.iter().map(|text| names::add_host(text)).collect::<Result<_, _>>()?,
            id_file: self.iidfile.as_deref().map(absolute).transpose()?,
            quiet: self.quiet || self.foreign.is_quiet(),
            epoch: epoch()?,
            compression: self.compression,
            authorities: if self.host_ca { Some(authorities()?) } else { None },
        })
    }
}

fn flag(error: InvalidFlag) -> Problem {
    Problem::from(error).hint(HELP)
}

type Sources = (PathBuf, Option<PathBuf>, Option<BuildInput>);

/// Where the context and the file come from.
fn sources(context: &Path, file: Option<PathBuf>) -> Result<Sources, Problem> {
    let (is_standard, of_file) = (context.as_os_str() == "-", file.as_deref().map(Path::as_os_str));
    let named = context.to_string_lossy();
    if ["http://", "https://", "git://", "ssh://", "git@", "github.com/"].iter().any(|start| named.starts_with(start)) {
        let problem = Problem::user(format!("{named} is an address, and the context is a directory"));
        let fetch = if named.contains("git") { "git clone" } else { "curl -LO" };
        return Err(problem.hint(format!("{fetch} {named}, then build what came")));
    }
    match (is_standard, of_file) {
        (true, Some(file)) if file == "-" => {
            let problem = Problem::user("standard input is the context or the file, and not both");
            Err(problem.hint("pybox build -t NAME - < context.tar, or pybox build -t NAME -f - . < Dockerfile"))
        }
        // In the archive.
        (true, _) => Ok((PathBuf::new(), file, Some(BuildInput::Context))),
        (false, Some(file)) if file == "-" => Ok((absolute(context)?, None, Some(BuildInput::File))),
        (false, _) => Ok((absolute(context)?, file.as_deref().map(absolute).transpose()?, None)),
    }
}

/// `DIR`, `-`, or `type=local,dest=DIR` and `type=tar,dest=FILE`.
fn output(text: &str) -> Result<BuildOutput, Problem> {
    const EXAMPLE: &str = "-o DIR, -o type=tar,dest=FILE, or -o - > FILE";
    let wrong = |why: String| Problem::user(format!("--output {text:?}: {why}")).hint(EXAMPLE);
    if text == "-" {
        return Ok(BuildOutput::Archive(None));
    }
    if text.is_empty() {
        return Err(wrong("it names nothing".to_owned()));
    }
    if !text.contains('=') {
        return Ok(BuildOutput::Directory(absolute(Path::new(text))?));
    }
    let (mut kind, mut place) = (None, None);
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("type", value)) => kind = Some(value),
            Some(("dest", value)) => place = Some(value),
            _ => return Err(wrong(format!("{part:?} is neither type=KIND nor dest=PATH"))),
        }
    }
    let path = place.filter(|place| *place != "-").map(|place| absolute(Path::new(place))).transpose()?;
    match (kind, path) {
        (Some("local"), Some(path)) => Ok(BuildOutput::Directory(path)),
        (Some("local"), None) => Err(wrong("a directory needs dest=DIR".to_owned())),
        (Some("tar"), path) => Ok(BuildOutput::Archive(path)),
        (Some(kind @ ("docker" | "oci" | "image" | "registry")), _) => {
            let problem = Problem::user(format!("--output {text:?}: there is no type {kind} here"));
            Err(problem.hint("build with -t NAME; then pybox save, or pybox push"))
        }
        (Some(kind), _) => Err(wrong(format!("there is no type {kind}"))),
        (None, _) => Err(wrong("it has no type".to_owned())),
    }
}

/// docker writes in front of it what it is an annotation of.
fn annotation(text: &str) -> Result<(String, String), Problem> {
    let example = "--annotation org.opencontainers.image.source=https://forge.example/app";
    let wrong = |why: &str| Problem::user(format!("--annotation {text:?} {why}")).hint(example);
    let (key, value) = text.split_once('=').ok_or_else(|| wrong("has no value"))?;
    let (of, key) = key.split_once(':').unwrap_or(("manifest", key));
    match of {
        _ if key.is_empty() => Err(wrong("has no key")),
        "manifest" => Ok((key.to_owned(), value.to_owned())),
        _ => Err(wrong("is for something else than the manifest")),
    }
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
