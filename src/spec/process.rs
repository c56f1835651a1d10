//! The first process of a container: arguments, environment, directory, limits.

use std::collections::HashSet;
use std::path::PathBuf;

use oci_spec::image::Config;
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, User, UserBuilder};

use crate::model::container::ContainerRequest;
use crate::model::host::HostFacts;

use super::compose::Composition;
use super::error::{SpecError, wrong};
use super::{capabilities, limits};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Most arguments and variables, each; execve(2) has its own limits beyond these.
const MOST_WORDS: usize = 64 << 10;

/// Composes the process; what had to be left out of the image's config goes to `warnings`.
pub(super) fn compose(of: &Composition<'_>, warnings: &mut Vec<String>) -> Result<Process, SpecError> {
    let config = of.image.config().as_ref();
    let request = of.request;
    selinux(request)?;
    let mut process = ProcessBuilder::default()
        .terminal(request.tty)
        .user(user(of, warnings)?)
        .args(arguments(request, config)?)
        .env(environment(of, config, warnings)?)
        .cwd(directory(request, config)?)
        .capabilities(capabilities::sets(request, of.host, of.user.uid)?)
        .rlimits(rlimits(request, of.host)?)
        .no_new_privileges(no_new_privileges(request))
        .build()
        .map_err(wrong)?;
    process.set_oom_score_adj(request.oom_score_adj);
    process.set_apparmor_profile(apparmor(request, of.host)?);
    Ok(process)
}

fn user(of: &Composition<'_>, warnings: &mut Vec<String>) -> Result<User, SpecError> {
    let (groups, warning) = of.user.groups_on(of.host)?;
    warnings.extend(warning);
    let mut user = UserBuilder::default().uid(of.user.uid).gid(of.user.gid).umask(0o022u32).build().map_err(wrong)?;
    user.set_additional_gids(Some(groups).filter(|groups| !groups.is_empty()));
    Ok(user)
}

/// Entrypoint, then command. An entrypoint of the request takes the image's command
/// away too: it was meant for another program.
fn arguments(request: &ContainerRequest, config: Option<&Config>) -> Result<Vec<String>, SpecError> {
    let image = |words: Option<&Vec<String>>| words.cloned().unwrap_or_default();
    let own_command = || image(config.and_then(|config| config.cmd().as_ref()));
    let (mut words, rest) = match &request.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), request.command.clone()),
        None => {
            let command = if request.command.is_empty() { own_command() } else { request.command.clone() };
            (image(config.and_then(|config| config.entrypoint().as_ref())), command)
        }
    };
    words.extend(rest);
    match words.first() {
        None => Err(SpecError::NoCommand),
        Some(program) if program.is_empty() => Err(SpecError::EmptyCommand),
        Some(_) if words.len() > MOST_WORDS => Err(SpecError::Document("there are more than 65536 arguments".into())),
        Some(_) => Ok(words),
    }
}

/// The environment, made from nothing: a default `PATH`, the image's, ours, the
/// request's. Later ones win; a variable keeps the place of its first mention.
///
/// An entry of the image without `=` would be a wish to pass a variable of the
/// host on; it is left out, with a warning, as is one with odd characters.
fn environment(
    of: &Composition<'_>,
    config: Option<&Config>,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, SpecError> {
    let mut variables = Variables(vec![("PATH".into(), PATH.into())]);
    for entry in config.and_then(|config| config.env().as_ref()).into_iter().flatten().take(MOST_WORDS) {
        match entry.split_once('=') {
            Some((name, value)) if is_name(name) && !value.contains('\0') => variables.set(name, value),
            _ => {
                let shown: String = entry.chars().take(80).collect();
                warnings.push(format!("the image's environment entry {shown:?} is not NAME=value and left out"));
            }
        }
    }
    variables.set("HOSTNAME", of.hostname);
    variables.set_default("HOME", &of.user.home);
    if of.request.tty {
        variables.set_default("TERM", "xterm");
    }
    variables.set("container", "pybox");
    variables.set_asked(&of.request.env)?;
    Ok(variables.into_words())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 4096 && !name.contains(|c: char| c.is_control() || c == '=' || c == '*')
}

/// An environment, each variable in the place of its first mention.
#[derive(Default)]
pub(super) struct Variables(Vec<(String, String)>);

impl Variables {
    /// Reads `NAME=value` words.
    pub(super) fn from_words(words: &[String]) -> Self {
        let mut variables = Self::default();
        words.iter().filter_map(|word| word.split_once('=')).for_each(|(name, value)| variables.set(name, value));
        variables
    }

    /// Sets what the user asked for.
    pub(super) fn set_asked(&mut self, asked: &[(String, String)]) -> Result<(), SpecError> {
        for (name, value) in asked {
            if !is_name(name) || value.contains('\0') {
                return Err(SpecError::Document(format!("the variable {name:?} has an invalid name or value")));
            }
            self.set(name, value);
        }
        Ok(())
    }

    /// As `NAME=value` words.
    pub(super) fn into_words(self) -> Vec<String> {
        self.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((name.into(), value.into())),
        }
    }

    pub(super) fn set_default(&mut self, name: &str, value: &str) {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.0.push((name.into(), value.into()));
        }
    }
}

/// `-w`, else the image's, else `/`. An image's relative one is taken from `/`, as
/// docker does; on the command line it is an error.
fn directory(request: &ContainerRequest, config: Option<&Config>) -> Result<PathBuf, SpecError> {
    let image = config.and_then(|config| config.working_dir().as_deref()).filter(|path| !path.is_empty());
    let path = match (&request.workdir, image) {
        (Some(path), _) => path.clone(),
        (None, Some(path)) if path.starts_with('/') => path.into(),
        (None, Some(path)) => format!("/{path}"),
        (None, None) => "/".into(),
    };
    plain_directory(path)
}

/// `path` as a working directory.
pub(super) fn plain_directory(path: String) -> Result<PathBuf, SpecError> {
    let refuse =
        |reason: &str| Err(SpecError::Path { what: "working directory", path: path.clone(), reason: reason.into() });
    if !path.starts_with('/') {
        return refuse("it has to be absolute");
    }
    if path.len() > 4095 || path.chars().any(char::is_control) {
        return refuse("it is too long or holds control characters");
    }
    Ok(path.into())
}

/// The default limits below the request's. Above what the host can give there is
/// nothing to give.
fn rlimits(request: &ContainerRequest, host: &HostFacts) -> Result<Vec<PosixRlimit>, SpecError> {
    let own = |name: &str| {
        let limit = host.hard_limits.iter().find(|(known, _)| known == name).map(|(_, limit)| *limit);
        limit.unwrap_or(u64::MAX)
    };
    let mut chosen: Vec<(&str, u64, u64)> = limits::DEFAULT_RLIMITS
        .iter()
        .map(|(name, soft, hard)| (*name, (*soft).min(own(name)), (*hard).min(own(name))))
        .collect();
    let mut seen = HashSet::new();
    for asked in &request.ulimits {
        if asked.hard > own(&asked.name) {
            return Err(SpecError::Ulimit { name: asked.name.clone(), asked: asked.hard, limit: own(&asked.name) });
        }
        if !seen.insert(&asked.name) {
            return Err(SpecError::Document(format!("ulimit {} is given twice", asked.name)));
        }
        chosen.retain(|(name, ..)| *name != asked.name);
        chosen.push((&asked.name, asked.soft, asked.hard));
    }
    chosen.into_iter().map(|(name, soft, hard)| rlimit(name, soft, hard)).collect()
}

fn rlimit(name: &str, soft: u64, hard: u64) -> Result<PosixRlimit, SpecError> {
    let kind: PosixRlimitType =
        name.parse().map_err(|_| SpecError::Document(format!("{name} is no resource limit")))?;
    PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build().map_err(wrong)
}

/// Off by default, as setuid programs of images reach mapped ids only; a container that
/// is to change nothing gains none.
fn no_new_privileges(request: &ContainerRequest) -> bool {
    request.security.no_new_privileges || request.read_only
}

/// `label=disable` asks for what is so anyway; the others would need SELinux support.
fn selinux(request: &ContainerRequest) -> Result<(), SpecError> {
    match request.security.labels.iter().find(|label| label.as_str() != "disable") {
        None => Ok(()),
        Some(label) => Err(SpecError::Unsupported {
            what: format!("--security-opt label={label}"),
            reason: "SELinux labels cannot be set yet".into(),
        }),
    }
}

fn apparmor(request: &ContainerRequest, host: &HostFacts) -> Result<Option<String>, SpecError> {
    match request.security.apparmor.as_deref() {
        None => Ok(None),
        Some("unconfined") if !host.apparmor => Ok(None),
        Some(profile) if host.apparmor => Ok(Some(profile.into())),
        Some(profile) => Err(SpecError::Unsupported {
            what: format!("--security-opt apparmor={profile}"),
            reason: "AppArmor is not enabled here, or its profiles cannot be changed by this user".into(),
        }),
    }
}

#[cfg(test)]
mod tests;
