//! From what was typed to what is meant.

use std::path::{Path, PathBuf};

use super::super::notify::Shared;
use super::options::{Files, Group, Network, Process, Security, Supervision, Wanted};
use crate::cli::error::{OURS, Problem};
use crate::cli::session::with_environment;
use crate::model::container::{ContainerRequest, NetworkMode};
use crate::model::flags::network::{self, Wanted as WantedNetwork};
use crate::model::flags::{
    InvalidFlag, account, capability, device, duration, env, health, label, limits, log, mount, names, publish,
    restart, security, signal, size, sysctl, tmpfs, ulimit, userns, volume, words,
};
use crate::model::id::ContainerName;
use crate::model::supervision::RestartPolicy;

/// More than any env file or seccomp profile has.
const FILE_LIMIT: u64 = 4 << 20;

/// Makes the request of `run` or `create`.
///
/// # Errors
/// With the first flag that makes no sense, or file that cannot be read.
pub(in crate::cli::commands) fn request(args: Wanted) -> Result<ContainerRequest, Problem> {
    let shared = args.notify()?.share()?;
    let (image, command) = image_and_command(args.image, args.words)?;
    let mut request = ContainerRequest {
        image,
        command,
        name: args.name.as_deref().map(name).transpose()?,
        remove: args.rm,
        interactive: args.interactive,
        tty: args.tty,
        labels: each(&args.labels, label::parse)?.into_iter().collect(),
        pull: words::pull(&args.pull)?,
        platform: args.platform.as_deref().map(words::platform).transpose()?,
        ..ContainerRequest::default()
    };
    process(args.process, &mut request)?;
    supervision(&args.supervision, &mut request)?;
    if let Some(Shared { mount, variable }) = shared {
        request.mounts.push(mount);
        request.env.push(variable);
    }
    files(&args.files, &mut request)?;
    connect(&args.network, &mut request)?;
    request.limits = args.limits.read()?;
    group(&args.group, &mut request)?;
    privileges(&args.security, &mut request)?;
    Ok(request)
}

fn image_and_command(image: Option<String>, mut words: Vec<String>) -> Result<(String, Vec<String>), Problem> {
    match image {
        Some(image) if !image.is_empty() => Ok((image, words)),
        None if words.first().is_some_and(|word| !word.is_empty()) => {
            let command = words.split_off(1);
            Ok((words.pop().unwrap_or_default(), command))
        }
        _ => Err(Problem::user("no image is given").hint("pybox run --rm -it debian:12 bash").code(OURS)),
    }
}

/// Parses each value of a flag that can be given many times.
fn each<T>(values: &[String], parse: impl Fn(&str) -> Result<T, InvalidFlag>) -> Result<Vec<T>, InvalidFlag> {
    values.iter().map(|value| parse(value)).collect()
}

fn name(text: &str) -> Result<ContainerName, Problem> {
    let invalid = |error: crate::model::id::InvalidId| {
        Problem::user(error.to_string())
            .hint("pybox run --name web-1 IMAGE, or leave --name out for one that is made up")
    };
    text.parse().map_err(invalid)
}

fn process(flags: Process, request: &mut ContainerRequest) -> Result<(), Problem> {
    request.env = environment(&flags.env_file, &flags.env)?;
    if let Some(user) = &flags.user {
        account::parse_user(user)?;
    }
    each(&flags.group_add, account::parse_group)?;
    request.entrypoint = flags.entrypoint.as_deref().map(entrypoint).transpose()?;
    request.stop_signal = flags.stop_signal.map(|text| signal::parse("--stop-signal", &text)).transpose()?;
    // As docker: a negative number waits for ever.
    request.stop_timeout = flags.stop_timeout.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX));
    request.ulimits = each(&flags.ulimits, ulimit::parse)?;
    request.workdir = flags.workdir.as_deref().map(workdir).transpose()?;
    request.user = flags.user;
    request.groups = flags.group_add;
    request.init = flags.init;
    Ok(())
}

fn supervision(flags: &Supervision, request: &mut ContainerRequest) -> Result<(), Problem> {
    request.restart = flags.restart.as_deref().map(restart::parse).transpose()?.unwrap_or_default();
    if request.remove && request.restart != RestartPolicy::No {
        return Err(Problem::user("--rm and --restart exclude each other").hint("leave one of them out").code(OURS));
    }
    request.timeout = flags.timeout.filter(|seconds| *seconds > 0);
    request.log.driver = flags.log_driver.as_deref().map(log::driver).transpose()?.unwrap_or_default();
    for option in &flags.log_opts {
        log::option(option, &mut request.log)?;
    }
    log::check(&request.log)?;
    let wanted = &mut request.health;
    wanted.disabled = flags.no_healthcheck;
    if let Some(command) = &flags.health_cmd {
        health::command(command, wanted)?;
    }
    let time = |flag, text: &Option<String>| text.as_deref().map(|text| health::time(flag, text)).transpose();
    wanted.interval = time("--health-interval", &flags.health_interval)?;
    wanted.timeout = time("--health-timeout", &flags.health_timeout)?;
    let period = flags.health_start_period.as_deref();
    wanted.start_period = period.map(|text| duration::parse("--health-start-period", text)).transpose()?;
    wanted.retries = flags.health_retries.as_deref().map(health::retries).transpose()?;
    Ok(())
}

/// The variables of `--env-file` and `-e`.
///
/// # Errors
/// If a file cannot be read, or a variable makes no sense.
pub(in crate::cli::commands) fn environment(
    files: &[PathBuf],
    env: &[String],
) -> Result<Vec<(String, String)>, Problem> {
    let lookup = |name: &str| with_environment(|environment| environment.variable(name));
    // As docker: files first, so that -e wins wherever it stands.
    let mut variables = Vec::new();
    for path in files {
        let text = read(path).map_err(|why| {
            Problem::user(format!("--env-file {}: {why}", path.display())).hint(format!("ls -l {}", path.display()))
        })?;
        variables.extend(env::parse_file(&text, lookup)?);
    }
    variables.extend(each(env, |text| env::parse(text, lookup))?.into_iter().flatten());
    Ok(variables)
}

/// One program, nothing, or a list in JSON as podman takes it.
fn entrypoint(text: &str) -> Result<Vec<String>, InvalidFlag> {
    if text.starts_with('[') {
        let expected = "expected a program, or a JSON list as in [\"sh\", \"-c\"]";
        return serde_json::from_str(text).map_err(|_| InvalidFlag::new("--entrypoint", text, expected));
    }
    Ok(Some(text).filter(|text| !text.is_empty()).map(ToOwned::to_owned).into_iter().collect())
}

/// Reads `--workdir`.
///
/// # Errors
/// If the path is not absolute.
pub(in crate::cli::commands) fn workdir(text: &str) -> Result<String, InvalidFlag> {
    if text.starts_with('/') && !text.contains('\0') {
        Ok(text.to_owned())
    } else {
        Err(InvalidFlag::new("--workdir", text, "expected an absolute path"))
    }
}

fn files(flags: &Files, request: &mut ContainerRequest) -> Result<(), Problem> {
    // Asked for only where a path may be relative to it: it can be gone.
    let cwd = if flags.volumes.is_empty() && flags.mounts.is_empty() { PathBuf::from("/") } else { working_dir()? };
    request.mounts.extend(each(&flags.volumes, |text| volume::parse(text, &cwd))?);
    request.mounts.extend(each(&flags.mounts, |text| mount::parse(text, &cwd))?);
    request.mounts.extend(each(&flags.tmpfs, tmpfs::parse)?);
    request.read_only = flags.read_only;
    request.shm_size = flags.shm_size.as_deref().map(size::shm_size).transpose()?;
    request.devices = each(&flags.devices, device::parse)?;
    let mut targets: Vec<&str> = request.mounts.iter().map(|mount| mount.target.as_str()).collect();
    targets.sort_unstable();
    match targets.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
        Some(target) => Err(Problem::user(format!("two mounts have the target {target}")).hint("pybox run --help")),
        None => Ok(()),
    }
}

fn working_dir() -> Result<PathBuf, Problem> {
    std::env::current_dir().map_err(|error| {
        Problem::user(format!("find the working directory: {error}")).hint("cd to a directory that exists")
    })
}

fn connect(flags: &Network, request: &mut ContainerRequest) -> Result<(), InvalidFlag> {
    networks(flags, request)?;
    request.ports = each(&flags.publish, publish::publish)?.concat();
    request.publish_all = flags.publish_all;
    request.hostname = flags.hostname.as_deref().map(names::hostname).transpose()?;
    request.add_hosts = each(&flags.add_hosts, names::add_host)?;
    request.dns = each(&flags.dns, names::dns)?;
    request.dns_search = each(&flags.dns_search, names::dns_search)?;
    request.dns_options = each(&flags.dns_option, names::dns_option)?;
    Ok(())
}

/// Which network: one mode, or networks of many.
fn networks(flags: &Network, request: &mut ContainerRequest) -> Result<(), InvalidFlag> {
    let by_habit = || std::env::var("PYBOX_NETWORK").ok().filter(|name| !name.is_empty());
    let named = if flags.network.is_empty() { by_habit().into_iter().collect() } else { flags.network.clone() };
    request.network = NetworkMode::Pasta;
    request.network_named = !named.is_empty();
    let refuse = |text: &str, why: &str| Err(InvalidFlag::new("--network", text, why));
    for text in &named {
        match (network::parse(text)?, request.attachments.is_empty()) {
            (WantedNetwork::Mode(mode), true) if named.len() == 1 => request.network = mode,
            (WantedNetwork::Of(name), true) if named.len() == 1 => {
                request.network = NetworkMode::Container;
                request.network_of = Some(name);
            }
            (WantedNetwork::Mode(_) | WantedNetwork::Of(_), _) => return refuse(text, "it goes with no other network"),
            (WantedNetwork::Network(wanted), _) => {
                if request.attachments.iter().any(|other| other.network == wanted.network) {
                    return refuse(text, "it is named twice");
                }
                request.network = NetworkMode::Bridge;
                request.attachments.push(wanted);
            }
        }
    }
    let addresses = [("--ip", &flags.ip), ("--ip6", &flags.ip6)];
    let addresses = addresses.into_iter().filter_map(|(flag, text)| Some(network::ip(flag, text.as_deref()?)));
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let aliases = each(&flags.network_alias, network::network_alias)?;
    let mac = flags.mac_address.as_deref().map(network::mac).transpose()?;
    let of_one = !addresses.is_empty() || mac.is_some();
    if matches!(request.network, NetworkMode::Pasta | NetworkMode::Slirp) && addresses.is_empty() && aliases.is_empty()
    {
        request.mac = mac;
        return Ok(());
    }
    match request.attachments.as_mut_slice() {
        [] if of_one || !aliases.is_empty() => {
            let flag = if mac.is_some() { "--mac-address" } else { "--ip, --ip6 and --network-alias" };
            return refuse(request.network.name(), &format!("{flag} can be had on a network of `pybox network ls`"));
        }
        [_, _, ..] if of_one => return refuse("", "with several networks, addresses stand with each: NAME:ip=ADDRESS"),
        attachments => {
            for attachment in attachments {
                attachment.addresses.extend(&addresses);
                attachment.aliases.extend(aliases.iter().cloned());
                attachment.mac = attachment.mac.or(mac);
            }
        }
    }
    Ok(())
}

fn group(flags: &Group, request: &mut ContainerRequest) -> Result<(), InvalidFlag> {
    request.oom_score_adj = flags.oom_score_adj.as_deref().map(limits::oom_score_adj).transpose()?;
    request.cgroup.parent = flags.cgroup_parent.as_deref().map(limits::cgroup_parent).transpose()?;
    request.cgroup.namespace = flags.cgroupns.as_deref().map(words::cgroupns).transpose()?.unwrap_or_default();
    request.cgroup.disabled = flags.cgroups.as_deref().map(words::cgroups).transpose()?.is_some_and(|enabled| !enabled);
    Ok(())
}

fn privileges(flags: &Security, request: &mut ContainerRequest) -> Result<(), InvalidFlag> {
    request.cap_add = each(&flags.cap_add, |text| capability::parse("--cap-add", text))?;
    request.cap_drop = each(&flags.cap_drop, |text| capability::parse("--cap-drop", text))?;
    for option in &flags.security_opt {
        security::apply(&mut request.security, option, |path| read(Path::new(path)))?;
    }
    request.privileged = flags.privileged;
    request.userns = flags.userns.as_deref().map(userns::parse).transpose()?.unwrap_or_default();
    request.sysctls = each(&flags.sysctls, sysctl::parse)?;
    Ok(())
}

/// A text file that the user named.
fn read(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_LIMIT { Err(format!("it is larger than {FILE_LIMIT} bytes")) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
