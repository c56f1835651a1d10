//! System call filters: a profile in docker's JSON format, resolved for one container.
//!
//! A profile says which rules hold for which capabilities, architectures and
//! kernels (`includes`, `excludes`); [`resolve`] keeps those that hold here and
//! gives what runtime-spec writes down. Making BPF of it is `sys::seccomp`'s work.
//!
//! Our own profile, `default.json`, answers `ENOSYS` to calls that it does not
//! know, so that programs fall back as on an older kernel, and `EPERM` to those it
//! knows and denies. No two of its rules with different answers match the same
//! call: libseccomp promises no order between them. Arguments that the kernel takes
//! as 32 bits are compared as 32 bits, so every "anything but" is spelled out as
//! masked alternatives.

use std::collections::BTreeSet;

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder, LinuxSeccompFilterFlag,
    LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::error::SpecError;

/// The profile that containers have when nothing else is asked for.
pub const DEFAULT: &str = include_str!("default.json");

/// Most bytes of a profile.
const MOST_BYTES: usize = 1 << 20;

/// What decides which rules of a profile hold.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    /// The container's bounding set.
    pub capabilities: &'a BTreeSet<String>,
    /// The host's kernel, major and minor.
    pub kernel: (u32, u32),
    /// The host's architecture in Go's words, `amd64`.
    pub architecture: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<Arch>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<LinuxSeccompFilterFlag>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    /// The oldest profiles have one name a rule.
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// Resolves `profile` for a container.
///
/// # Errors
/// If the text is too large, is no profile, or names both `architectures` and `archMap`.
pub fn resolve(profile: &str, here: &Circumstances<'_>) -> Result<LinuxSeccomp, SpecError> {
    if profile.len() > MOST_BYTES {
        return Err(SpecError::Profile("it is larger than 1 MiB".into()));
    }
    let profile: Profile = serde_json::from_str(profile).map_err(|error| SpecError::Profile(error.to_string()))?;
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(SpecError::Profile("it has both architectures and archMap".into()));
    }
    let mut syscalls: Vec<LinuxSyscall> = Vec::with_capacity(profile.syscalls.len());
    for mut rule in profile.syscalls {
        if !rule.holds(here)? {
            continue;
        }
        rule.names.extend(rule.name.take());
        if rule.names.is_empty() {
            return Err(SpecError::Profile("a rule names no system call".into()));
        }
        syscalls.push(rule.into_oci()?);
    }
    let architectures = architectures(profile.architectures, profile.arch_map, here.architecture);
    let mut seccomp = LinuxSeccompBuilder::default()
        .default_action(profile.default_action)
        .architectures(architectures)
        .syscalls(syscalls)
        .build()
        .map_err(|error| SpecError::Profile(error.to_string()))?;
    seccomp.set_default_errno_ret(profile.default_errno_ret);
    seccomp.set_flags(Some(profile.flags).filter(|flags| !flags.is_empty()));
    Ok(seccomp)
}

/// The name under which a compiled filter is kept: 64 hexadecimal digits over the
/// resolved profile (so over capabilities, kernel and architecture too) and
/// `compiler`, the program that compiles it and its version.
pub fn cache_key(seccomp: &LinuxSeccomp, compiler: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(compiler.as_bytes());
    hash.update([0]);
    // A document of strings and numbers always serialises; were it not so, the key
    // would be the compiler's alone and the filter compiled anew.
    hash.update(serde_json::to_vec(seccomp).unwrap_or_default());
    crate::model::digest::hex(&hash.finalize())
}

impl Rule {
    fn holds(&self, here: &Circumstances<'_>) -> Result<bool, SpecError> {
        let kernel = |filter: &Filter| filter.min_kernel.as_deref().map(version).transpose();
        let arch = |filter: &Filter| filter.arches.iter().any(|arch| arch == here.architecture);
        if let Some(includes) = &self.includes {
            let caps = includes.caps.iter().all(|cap| here.capabilities.contains(cap));
            let arches = includes.arches.is_empty() || arch(includes);
            if !caps || !arches || kernel(includes)?.is_some_and(|least| here.kernel < least) {
                return Ok(false);
            }
        }
        if let Some(excludes) = &self.excludes {
            let caps = excludes.caps.iter().any(|cap| here.capabilities.contains(cap));
            if caps || arch(excludes) || kernel(excludes)?.is_some_and(|least| here.kernel >= least) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn into_oci(self) -> Result<LinuxSyscall, SpecError> {
        let mut call = LinuxSyscallBuilder::default()
            .names(self.names)
            .action(self.action)
            .build()
            .map_err(|error| SpecError::Profile(error.to_string()))?;
        call.set_errno_ret(self.errno_ret);
        call.set_args(self.args.filter(|args| !args.is_empty()));
        Ok(call)
    }
}

/// Two numbers of a kernel's version, `4.8`.
fn version(text: &str) -> Result<(u32, u32), SpecError> {
    let parsed = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    parsed.ok_or_else(|| SpecError::Profile(format!("{text:?} is no kernel version")))
}

/// The native architecture and those that it runs beside it, by the profile.
fn architectures(listed: Vec<Arch>, map: Vec<ArchMap>, native: &str) -> Vec<Arch> {
    if map.is_empty() {
        return listed;
    }
    let Some(native) = arch_of(native) else { return Vec::new() };
    let subordinate =
        map.into_iter().find(|entry| entry.architecture == native).and_then(|entry| entry.sub_architectures);
    std::iter::once(native).chain(subordinate.into_iter().flatten()).collect()
}

fn arch_of(go: &str) -> Option<Arch> {
    Some(match go {
        "amd64" => Arch::ScmpArchX86_64,
        "386" => Arch::ScmpArchX86,
        "arm64" => Arch::ScmpArchAarch64,
        "arm" => Arch::ScmpArchArm,
        "s390x" => Arch::ScmpArchS390x,
        "ppc64le" => Arch::ScmpArchPpc64le,
        "riscv64" => Arch::ScmpArchRiscv64,
        "loongarch64" => Arch::ScmpArchLoongarch64,
        _ => return None,
    })
}

/// The names of a set of capabilities, as [`Circumstances`] wants them.
pub fn capability_names<'a>(set: impl IntoIterator<Item = &'a Capability>) -> BTreeSet<String> {
    set.into_iter().map(|capability| format!("CAP_{capability}")).collect()
}

#[cfg(test)]
mod tests;
