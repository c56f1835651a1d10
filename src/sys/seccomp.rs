//! System call filters: from a list of rules to a BPF program, through libseccomp.
//!
//! The program is made in the parent, kept in a cache and loaded as it is: nothing
//! is compiled between fork and exec. Loading is not done here, as it has to be
//! async-signal-safe.

use std::io::{Read, Seek};

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, ScmpVersion};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
};
use rustix::fs::{MemfdFlags, memfd_create};

/// A filter, ready for seccomp(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// An array of `struct sock_filter` (8 bytes each, host order).
    pub program: Vec<u8>,
    /// System calls that are known on no architecture of the filter, and were left out.
    pub unknown: Vec<String>,
}

/// Why a filter could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// libseccomp refused.
    #[error("compile the seccomp filter: {what}")]
    Compile {
        /// The rule or setting.
        what: String,
        /// What libseccomp says.
        #[source]
        source: libseccomp::error::SeccompError,
    },
    /// A rule cannot be expressed here.
    #[error("compile the seccomp filter: {0}")]
    Unsupported(String),
    /// The program could not be taken out of libseccomp.
    #[error("export the seccomp filter")]
    Export(#[source] std::io::Error),
}

/// Numbers of calls that Debian 12's libseccomp has no name for yet. From 403 on all
/// architectures but alpha and mips number new calls alike.
const NEWER: [(&str, i32); 22] = [
    ("futex_waitv", 449),
    ("set_mempolicy_home_node", 450),
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
    ("listns", 470),
];

/// The same for calls of x86_64 alone. A process that a probe is set in dies if these are denied.
const NEWER_X86_64: [(&str, i32); 2] = [("uretprobe", 335), ("uprobe", 336)];

/// The compiler and its version, as a part of a cache's key.
pub fn compiler() -> String {
    let version = ScmpVersion::current().map_or((0, 0, 0), |v| (v.major, v.minor, v.micro));
    // Raised by hand whenever this file makes another program of the same rules.
    const REVISION: u32 = 1;
    format!("libseccomp {}.{}.{} r{REVISION}", version.0, version.1, version.2)
}

/// Compiles a filter for all its architectures.
///
/// Conditions of one rule have to hold together; several on the same argument are
/// alternatives, as runc and crun have it. A rule whose action is the default one
/// says nothing and is left out. Calls from an architecture that is not listed
/// (x32 among them) are answered with `ENOSYS`.
///
/// # Errors
/// If an action is `SCMP_ACT_NOTIFY`, an architecture is not known, or libseccomp
/// refuses a rule.
pub fn compile(filter: &LinuxSeccomp) -> Result<Compiled, SeccompError> {
    let default = action(filter.default_action(), filter.default_errno_ret())?;
    let architectures = architectures(filter)?;
    let (own, others): (Vec<_>, Vec<_>) = architectures.into_iter().partition(|arch| *arch == ScmpArch::native());
    // A call that libseccomp has no name for can be told to the native architecture
    // only, so the others get a filter of their own, merged at the end.
    let mut contexts = Vec::new();
    if !own.is_empty() || others.is_empty() {
        contexts.push((context(default, &[ScmpArch::native()])?, true));
    }
    if !others.is_empty() {
        contexts.push((context(default, &others)?, false));
    }
    let mut unknown = Vec::new();
    for rule in filter.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        let alternatives = alternatives(rule.args().as_deref().unwrap_or_default())?;
        for name in rule.names() {
            let Some(call) = Call::find(name) else {
                unknown.push(name.clone());
                continue;
            };
            for (context, native) in contexts.iter_mut().filter(|_| action != default) {
                call.add(context, *native, action, &alternatives).map_err(failed(format!("add a rule for {name}")))?;
            }
        }
    }
    unknown.sort();
    unknown.dedup();
    let mut contexts = contexts.into_iter().map(|(context, _)| context);
    let mut whole = contexts.next().ok_or_else(|| SeccompError::Unsupported("a filter without architecture".into()))?;
    for other in contexts {
        whole.merge(other).map_err(failed("merge the architectures"))?;
    }
    Ok(Compiled { program: export(&whole)?, unknown })
}

/// An empty filter for `architectures` alone.
fn context(default: ScmpAction, architectures: &[ScmpArch]) -> Result<ScmpFilterContext, SeccompError> {
    let mut context = ScmpFilterContext::new(default).map_err(failed("make a filter"))?;
    context
        .set_act_badarch(ScmpAction::Errno(libc::ENOSYS))
        .map_err(failed("set the answer to other architectures"))?;
    // A binary tree over the numbers; without it the last call of 400 pays for 400 comparisons.
    context.set_ctl_optimize(2).map_err(failed("set the optimisation"))?;
    for arch in architectures {
        context.add_arch(*arch).map_err(failed(format!("add {arch:?}")))?;
    }
    if !architectures.contains(&ScmpArch::native()) {
        context.remove_arch(ScmpArch::native()).map_err(failed("remove the native architecture"))?;
    }
    Ok(context)
}

fn failed(what: impl Into<String>) -> impl FnOnce(libseccomp::error::SeccompError) -> SeccompError {
    let what = what.into();
    move |source| SeccompError::Compile { what, source }
}

/// A system call of a rule.
#[derive(Clone, Copy)]
enum Call {
    /// One that libseccomp finds on every architecture. (Where the native one lacks
    /// it, the number is negative and stands for the name.)
    Named(ScmpSyscall),
    /// A number of the native architecture.
    Numbered(ScmpSyscall),
}

impl Call {
    fn find(name: &str) -> Option<Self> {
        if let Some(call) = ScmpSyscall::from_name(name).ok().filter(|call| !call.is_error()) {
            return Some(Self::Named(call));
        }
        let arch = std::env::consts::ARCH;
        let alike = NEWER.iter().filter(|_| !arch.starts_with("mips"));
        let x86 = NEWER_X86_64.iter().filter(|_| arch == "x86_64");
        let (_, number) = alike.chain(x86).find(|(newer, _)| *newer == name)?;
        Some(Self::Numbered(ScmpSyscall::from(*number)))
    }

    fn add(
        self,
        context: &mut ScmpFilterContext,
        native: bool,
        action: ScmpAction,
        alternatives: &[Vec<ScmpArgCompare>],
    ) -> Result<(), libseccomp::error::SeccompError> {
        let call = match self {
            Self::Numbered(_) if !native => return Ok(()),
            Self::Named(call) | Self::Numbered(call) => call,
        };
        for conditions in alternatives {
            context.add_rule_conditional(action, call, conditions)?;
        }
        Ok(())
    }
}

fn alternatives(args: &[LinuxSeccompArg]) -> Result<Vec<Vec<ScmpArgCompare>>, SeccompError> {
    let conditions = args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let repeated =
        args.iter().enumerate().any(|(i, arg)| args.iter().take(i).any(|other| other.index() == arg.index()));
    Ok(if repeated { conditions.into_iter().map(|one| vec![one]).collect() } else { vec![conditions] })
}

fn condition(arg: &LinuxSeccompArg) -> Result<ScmpArgCompare, SeccompError> {
    let index = u32::try_from(arg.index()).ok().filter(|index| *index < 6);
    let index = index.ok_or_else(|| SeccompError::Unsupported(format!("argument {} of a rule", arg.index())))?;
    let (operator, datum) = match arg.op() {
        Operator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        Operator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        Operator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        Operator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        Operator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        Operator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        Operator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0)),
    };
    Ok(ScmpArgCompare::new(index, operator, datum))
}

fn action(action: Action, value: Option<u32>) -> Result<ScmpAction, SeccompError> {
    let number = |default: i32| {
        let value = value.map_or(Ok(default), i32::try_from).ok().filter(|v| (0..=4095).contains(v));
        value.ok_or_else(|| SeccompError::Unsupported("an errnoRet above 4095".into()))
    };
    Ok(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActErrno => ScmpAction::Errno(number(libc::EPERM)?),
        Action::ScmpActTrace => ScmpAction::Trace(number(libc::EPERM)? as u16),
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActAllow => ScmpAction::Allow,
        Action::ScmpActNotify => return Err(SeccompError::Unsupported("SCMP_ACT_NOTIFY needs a listener".into())),
    })
}

/// In libseccomp's words; native first or not, each one once.
fn architectures(filter: &LinuxSeccomp) -> Result<Vec<ScmpArch>, SeccompError> {
    let mut all = Vec::new();
    for arch in filter.architectures().iter().flatten() {
        let name = arch_name(*arch);
        let known = name.and_then(|name| name.parse::<ScmpArch>().ok());
        let arch = known.ok_or_else(|| SeccompError::Unsupported(format!("the architecture {arch:?}")))?;
        let arch = if arch == ScmpArch::Native { ScmpArch::native() } else { arch };
        if !all.contains(&arch) {
            all.push(arch);
        }
    }
    Ok(all)
}

fn arch_name(arch: Arch) -> Option<String> {
    serde_json::to_value(arch).ok()?.as_str().map(ToOwned::to_owned)
}

/// libseccomp writes programs to a file descriptor; a file in memory takes any length.
fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, SeccompError> {
    let file = memfd_create("seccomp", MemfdFlags::CLOEXEC).map_err(|errno| SeccompError::Export(errno.into()))?;
    context.export_bpf(&file).map_err(failed("write the program"))?;
    let mut file = std::fs::File::from(file);
    let mut program = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut program)).map_err(SeccompError::Export)?;
    Ok(program)
}

#[cfg(test)]
pub(crate) mod kernel;
#[cfg(test)]
mod tests;
