//! Compiles an OCI runtime document (runtime-spec 1.2, config-linux) to a list of steps.
//!
//! Pure: it reads nothing but its arguments. A document that asks for something
//! this launcher does not do is refused here, before any process exists.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use super::document::{Document, IdMapping, Linux, Process};
use super::step::{Interface, RootSource, Setting, Step, Target, Terminal};
use crate::sys::clone::Namespaces;
use crate::sys::exec::CStringArray;
use crate::sys::mount::Propagation;

mod exec;
mod identity;
mod mounts;
mod root;

pub use exec::JoinFacts;
use identity::Groups;

/// A document that cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A part that every Linux container has is missing.
    #[error("config.json has no {0}")]
    Missing(&'static str),
    /// A field holds what it must not.
    #[error("config.json: {field} must not be {value:?}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// A string that goes to the kernel holds a NUL byte.
    #[error("config.json: {0} has a NUL byte")]
    Nul(&'static str),
    /// The annotation with the root file system cannot be read.
    #[error("read the annotation {ROOTFS_ANNOTATION} of config.json")]
    Recipe(#[source] serde_json::Error),
    /// Something of the runtime specification that is not supported here.
    #[error("config.json asks for {0}, which this launcher does not do")]
    Unsupported(&'static str),
}

/// The annotation that says how the root file system is made.
pub const ROOTFS_ANNOTATION: &str = "dev.pybox.rootfs";
/// The annotation that asks for a reaper as first process.
pub const INIT_ANNOTATION: &str = "dev.pybox.init";

/// What goes into a plan beside the document.
#[derive(Debug, Default)]
pub struct Extras {
    /// The compiled system call filter; empty for none.
    pub filter: Vec<u8>,
    /// Name of the session keyring; none to keep the caller's.
    pub keyring: Option<String>,
    /// The interface of the network namespace beside its loopback.
    pub interface: Option<Interface>,
    /// What the program has as descriptors from 3 on; their own numbers are higher than those.
    pub inherited: Vec<OwnedFd>,
    /// Files of memory to be seen inside; no document tells of them.
    pub files: Vec<MemoryFile>,
}

/// A file that is in memory alone, and can only be read.
#[derive(Debug)]
pub struct MemoryFile {
    /// Its path.
    pub target: String,
    /// Its permission bits.
    pub mode: u32,
    /// Whose it is: user and group.
    pub owner: (u32, u32),
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Everything a child needs, in the order it needs it.
#[derive(Debug)]
pub struct Plan {
    /// The namespaces of the one `clone3`; the cgroup namespace comes later, see [`Step::UnshareCgroup`].
    pub namespaces: Namespaces,
    /// Lines of the user id map: inside, outside, count.
    pub uid_map: Vec<(u32, u32, u32)>,
    /// Lines of the group id map.
    pub gid_map: Vec<(u32, u32, u32)>,
    /// The walk.
    pub steps: Vec<Step>,
    /// The paths tried in order.
    pub programs: Vec<CString>,
    /// Arguments.
    pub argv: CStringArray,
    /// Environment.
    pub envp: CStringArray,
    /// The filter that [`Step::LoadFilter`] loads.
    pub filter: Vec<u8>,
    /// The filter that [`Step::Listen`] loads; empty where ids are what they are.
    pub asks: Vec<u8>,
    /// What [`Step::TakeDescriptors`] takes.
    pub inherited: Vec<OwnedFd>,
    /// Whether somebody outside connects the network namespace.
    pub connected: bool,
    /// The process as the user named it, for messages.
    pub program_name: String,
    /// Whether the program gets a terminal.
    pub terminal: bool,
    /// Owner of the pipes that are its standard input, output and error.
    pub stdio_owner: (u32, u32),
}

impl Plan {
    /// Compiles `spec`.
    ///
    /// # Errors
    /// With the field that is missing, invalid or not supported.
    pub fn compile(spec: &Document, mut extras: Extras) -> Result<Self, PlanError> {
        let process = spec.process.as_ref().ok_or(PlanError::Missing("process"))?;
        let linux = spec.linux.as_ref().ok_or(PlanError::Missing("linux section"))?;
        if spec.hooks.is_some() {
            return Err(PlanError::Unsupported("hooks"));
        }
        let namespaces = namespaces(linux)?;
        let mut steps = enter(process, namespaces)?;
        // Early: whoever has its other end can do something with it meanwhile; and with the host's devices.
        steps.extend(extras.interface.take().map(Step::Interface));
        steps.push(Step::IsolateMounts(Propagation::Slave));
        steps.push(Step::MountRoot(root::source(spec)?));
        steps.extend(mounts::steps(spec, linux)?);
        let groups = Groups::within(&linux.gid_mappings);
        steps.extend(mounts::in_memory(std::mem::take(&mut extras.files), groups)?);
        // Before any part of /proc is covered: the kernel shows a cover as another mount.
        steps.extend(sysctls(linux)?);
        steps.extend(mounts::covers(linux)?);
        steps.extend(inside(spec, linux, process)?);
        if !extras.inherited.is_empty() {
            steps.push(Step::TakeDescriptors);
        }
        steps.extend(last(process, groups, &extras)?);
        if spec.annotations.contains_key(INIT_ANNOTATION) {
            // Before the report: the reaper lets go of the wire, its child keeps it until the execution.
            let at = steps.len().saturating_sub(1);
            steps.insert(at, Step::Reaper);
        }
        let mut plan = Self::of((process, groups), steps, extras)?;
        plan.namespaces = namespaces.difference(Namespaces::CGROUP);
        plan.uid_map = id_lines(&linux.uid_mappings);
        plan.gid_map = id_lines(&linux.gid_mappings);
        Ok(plan)
    }

    /// Whether somebody has to answer calls about ids.
    pub fn pretends(&self) -> bool {
        !self.asks.is_empty()
    }

    /// The first descriptor that is no longer the program's.
    pub fn after_descriptors(&self) -> i32 {
        i32::try_from(self.inherited.len()).unwrap_or(i32::MAX).saturating_add(3)
    }

    /// Whether a server has to show the root file system, or a part of it.
    pub fn is_served(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::MountRoot(RootSource::Served(_))))
    }

    /// A plan that walks `steps` and executes `process`, in the namespaces of who walks.
    fn of((process, groups): (&Process, Groups), steps: Vec<Step>, extras: Extras) -> Result<Self, PlanError> {
        let (args, env) = (process.args.as_slice(), process.env.as_slice());
        let program_name = args.first().filter(|name| !name.is_empty()).ok_or(PlanError::Missing("process.args"))?;
        let array = |strings: &[String], field| {
            CStringArray::new(strings.iter().map(String::as_str)).map_err(|_| PlanError::Nul(field))
        };
        let (argv, envp) = (array(args, "process.args")?, array(env, "process.env")?);
        Ok(Self {
            namespaces: Namespaces::empty(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            steps,
            programs: candidates(program_name, env)?,
            argv,
            envp,
            filter: extras.filter,
            inherited: extras.inherited,
            connected: false,
            program_name: program_name.clone(),
            terminal: process.terminal,
            stdio_owner: groups.real(process.user.uid, process.user.gid),
            asks: if groups == Groups::Pretended { crate::sys::notify::program() } else { Vec::new() },
        })
    }
}

/// The namespaces to make. Joining existing ones is [`Plan::compile_exec`]'s business.
fn namespaces(linux: &Linux) -> Result<Namespaces, PlanError> {
    let mut flags = Namespaces::empty();
    for namespace in &linux.namespaces {
        if namespace.path.is_some() {
            return Err(PlanError::Unsupported("joining a namespace by path"));
        }
        flags |= match namespace.kind.as_str() {
            "mount" => Namespaces::MOUNT,
            "cgroup" => Namespaces::CGROUP,
            "uts" => Namespaces::UTS,
            "ipc" => Namespaces::IPC,
            "user" => Namespaces::USER,
            "pid" => Namespaces::PID,
            "network" => Namespaces::NETWORK,
            "time" => return Err(PlanError::Unsupported("a time namespace")),
            other => return Err(PlanError::Invalid { field: "linux.namespaces.type", value: other.to_owned() }),
        };
    }
    for (flag, name) in [(Namespaces::MOUNT, "mount namespace"), (Namespaces::PID, "pid namespace")] {
        if !flags.contains(flag) {
            return Err(PlanError::Missing(name));
        }
    }
    Ok(flags)
}

/// Stage 1: mapped, root inside, and out of the reach of others.
fn enter(process: &Process, namespaces: Namespaces) -> Result<Vec<Step>, PlanError> {
    let mut steps = vec![Step::AwaitMapped];
    // While /proc/self still belongs to us, and nothing of the image is mounted (rule R2).
    steps.extend(identity::own_files(process)?);
    if namespaces.contains(Namespaces::USER) {
        steps.push(Step::BecomeRoot);
    }
    steps.extend([Step::HideFromTracers, Step::NewSession]);
    if namespaces.contains(Namespaces::CGROUP) {
        steps.push(Step::UnshareCgroup);
    }
    Ok(steps)
}

/// The sysctls, in the order of their names.
fn sysctls(linux: &Linux) -> Result<Vec<Step>, PlanError> {
    let step = |(name, value): (&String, &String)| {
        Ok(Step::Sysctl(Setting {
            path: c_string(format!("sys/{}", name.replace('.', "/")), "linux.sysctl")?,
            value: c_string(value.as_str(), "linux.sysctl")?,
        }))
    };
    linux.sysctl.iter().map(step).collect()
}

/// Stage 4: what is set up while the old root is still there, then the pivot.
fn inside(spec: &Document, linux: &Linux, process: &Process) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    if let Some(name) = &spec.hostname {
        steps.push(Step::HostName(c_string(name.as_str(), "hostname")?));
    }
    if let Some(name) = &spec.domainname {
        steps.push(Step::DomainName(c_string(name.as_str(), "domainname")?));
    }
    if namespaces(linux)?.contains(Namespaces::NETWORK) {
        steps.push(Step::LoopbackUp);
    }
    steps.push(Step::OpenWorkdir(target(&process.cwd, "process.cwd")?));
    if process.terminal {
        let groups = Groups::within(&linux.gid_mappings);
        steps.push(terminal((process, groups), Some(target("/dev/console", "process.terminal")?)));
    }
    if spec.root.as_ref().is_some_and(|root| root.readonly) {
        steps.push(Step::SealRoot);
    }
    steps.push(Step::AwaitGo);
    let propagation = linux.rootfs_propagation.as_deref();
    steps.push(Step::PivotRoot(propagation.map_or(Ok(Propagation::Private), mounts::propagation)?));
    steps.extend([Step::EnterWorkdir, Step::TakeStdio]);
    Ok(steps)
}

fn terminal((process, groups): (&Process, Groups), console: Option<Target>) -> Step {
    let size = process.console_size.map(|size| (size.height, size.width));
    let (uid, _) = groups.real(process.user.uid, process.user.gid);
    Step::OpenTerminal(Terminal { size, uid, console })
}

/// Stage 5, the same for the first process and for all that join it. Without
/// `no_new_privs` the filter needs CAP_SYS_ADMIN, so it comes before the
/// capabilities go; with it, it comes last and sees fewer calls.
fn last(process: &Process, groups: Groups, extras: &Extras) -> Result<Vec<Step>, PlanError> {
    let mut steps = identity::limits(process)?;
    if let Some(name) = &extras.keyring {
        steps.push(Step::JoinKeyring(c_string(name.as_str(), "the keyring's name")?));
    }
    let filter = (!extras.filter.is_empty()).then_some(Step::LoadFilter);
    let identity = Step::Identity(identity::identity(process, groups)?);
    if groups == Groups::Pretended {
        // With one id no file can lend another one's rights, so this takes nothing away; and what makes us who
        // we are has to happen before it is asked about.
        steps.extend([identity, Step::NoNewPrivileges, Step::Listen]);
        steps.extend(filter);
    } else if process.no_new_privileges {
        steps.extend([identity, Step::NoNewPrivileges]);
        steps.extend(filter);
    } else {
        steps.extend(filter);
        steps.push(identity);
    }
    steps.push(Step::TellReady);
    Ok(steps)
}

fn id_lines(mappings: &[IdMapping]) -> Vec<(u32, u32, u32)> {
    mappings.iter().map(|map| (map.container_id, map.host_id, map.size)).collect()
}

/// The paths that execvp(3) would try, in the PATH of the container.
fn candidates(program: &str, env: &[String]) -> Result<Vec<CString>, PlanError> {
    if program.contains('/') {
        return Ok(vec![c_string(program, "process.args")?]);
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
    let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let directory = |dir: &str| if dir.is_empty() { ".".to_owned() } else { dir.to_owned() };
    path.split(':').map(|dir| c_string(format!("{}/{program}", directory(dir)), "process.env")).collect()
}

fn c_string(text: impl Into<Vec<u8>>, field: &'static str) -> Result<CString, PlanError> {
    CString::new(text).map_err(|_| PlanError::Nul(field))
}

/// `path`, absolute in the container, as a target; `..` is refused.
fn target(path: &str, field: &'static str) -> Result<Target, PlanError> {
    let invalid = || PlanError::Invalid { field, value: path.to_owned() };
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    if !path.starts_with('/') || names.contains(&"..") {
        return Err(invalid());
    }
    let upto = |count: usize| names.get(..count).map(|part| part.join("/")).unwrap_or_default();
    let (Some(name), count) = (names.last(), names.len()) else {
        return Ok(Target { path: c_string(".", field)?, ancestors: Vec::new(), name: c_string(".", field)? });
    };
    let ancestors = names.iter().take(count - 1).enumerate();
    Ok(Target {
        path: c_string(upto(count), field)?,
        ancestors: ancestors
            .map(|(index, name)| Ok((c_string(upto(index + 1), field)?, c_string(*name, field)?)))
            .collect::<Result<_, PlanError>>()?,
        name: c_string(*name, field)?,
    })
}

#[cfg(test)]
mod tests;
