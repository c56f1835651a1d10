//! What a server gives up before it answers the first request.
//!
//! It works for the container: names, attributes and contents that it is asked
//! about are foreign. Each stage says what it should do and must not do. Must
//! run on the only thread of the process, as root of the container's user
//! namespace, after everything has been opened. A system call filter is left to
//! whoever embeds this: it knows what else its process does.

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::config::Config;

/// What working on files of all of the namespace's users takes.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// Gives up all but the directories of `config` and what working in them needs.
///
/// # Errors
/// What the kernel says; then the process is confined in part and should end.
pub fn confine(config: &Config) -> io::Result<()> {
    nothing_to_read_out()?;
    rustix::thread::set_no_new_privs(true)?;
    only_file_capabilities()?;
    only_these_directories(config).map_err(io::Error::other)
}

/// Should keep other processes of the user from reading memory. Must not be
/// undone by a later change of ids, so those come first.
fn nothing_to_read_out() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// Should leave what file work needs. Must not leave what enters namespaces,
/// mounts or traces.
fn only_file_capabilities() -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?.permitted & CAPABILITIES;
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Should make the directories all that can be opened, the layers for reading
/// only. Must not stand in the way of moving files between directories, which
/// the first version of the kernel's feature did: there it is left out.
fn only_these_directories(config: &Config) -> Result<(), RulesetError> {
    let supported = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)
        .and_then(Ruleset::create);
    if supported.is_err() {
        return Ok(());
    }
    let (all, read) = (AccessFs::from_all(ABI::V5), AccessFs::from_read(ABI::V5) & !AccessFs::Execute);
    let mut rules = Ruleset::default().handle_access(all)?.handle_access(AccessNet::from_all(ABI::V5))?.create()?;
    for layer in &config.lower {
        rules = rules.add_rule(PathBeneath::new(layer, read))?;
    }
    if let Some(upper) = &config.upper {
        rules =
            rules.add_rule(PathBeneath::new(&upper.directory, all))?.add_rule(PathBeneath::new(&upper.work, all))?;
    }
    rules.restrict_self().map(drop)
}
