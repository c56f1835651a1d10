//! pybox on a real systemd: each script of `tests/vm/cases` is run as root in a Debian made by `image.sh`, and becomes the
//! user `tester` where it says `login`. Two tiers share the Debian and the scripts: a virtual machine (`machine.sh`), which has
//! cgroups with all controllers and can reboot, and namespaces of this kernel (`namespaces.sh`), which are up in two seconds.
//!
//! What runs inside is a static program: `PYBOX_VM_BINARY`, built by scripts/prepare-vm.sh.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "all of this is test code")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// One machine after the other, where a runner has them in threads: each wants two processors.
static MACHINES: Mutex<()> = Mutex::new(());

/// Where a case runs.
#[derive(Clone, Copy, Debug)]
enum Tier {
    /// A virtual machine with that Debian.
    Machine(&'static str),
    /// Namespaces of this kernel, with Debian 13.
    Namespaces,
}

/// Why a case cannot be run.
enum Lack {
    /// Something is not there that somebody could have put there.
    Preparation(String),
    /// This machine, or its kernel, is another one.
    Machine(String),
}

impl Lack {
    /// Says that a test is skipped, and why. With `CI=true` only the machine itself is a reason.
    fn skip(self) {
        match self {
            Self::Machine(why) => eprintln!("SKIPPED: {why}"),
            Self::Preparation(why) => {
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "not to be skipped in CI: {why}");
                eprintln!("SKIPPED: {why}");
            }
        }
    }
}

impl Tier {
    /// What is missing for it here.
    fn lacks(self) -> Option<Lack> {
        match self {
            Self::Machine(_) if !cfg!(target_arch = "x86_64") => {
                Some(Lack::Machine("the virtual machine is made for x86-64 alone".to_owned()))
            }
            Self::Machine(_) => {
                let there = Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status();
                let error = there.err()?;
                Some(Lack::Preparation(format!("qemu-system-x86_64: {error} (`make test-vm` installs it)")))
            }
            Self::Namespaces => as_root().err().map(Lack::Preparation).or_else(|| hierarchy().err().map(Lack::Machine)),
        }
    }

    /// The command that runs what is in `share`.
    fn command(self, share: &Path) -> Command {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
        match self {
            Self::Machine(suite) => {
                let mut command = Command::new(place.join("machine.sh"));
                command.args(["run", "-s", suite]);
                if fs::read_to_string(share.join("run")).is_ok_and(|text| text.contains("\n  reboot_by ")) {
                    command.arg("-r");
                }
                command.arg(share);
                command
            }
            Self::Namespaces => {
                let mut words: Vec<OsString> = as_root().unwrap_or_default().iter().map(OsString::from).collect();
                words.extend([place.join("namespaces.sh").into_os_string(), share.into()]);
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
        }
    }
}

/// What makes a command root's.
fn as_root() -> Result<&'static [&'static str], String> {
    const SUDO: &[&str] = &["sudo", "-n"];
    if nix::unistd::getuid().is_root() {
        return Ok(&[]);
    }
    let asked = Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match asked {
        Ok(status) if status.success() => Ok(SUDO),
        _ => Err("namespaces with systemd as the first process need root, or sudo without a password".to_owned()),
    }
}

/// Whether this kernel lets us have the namespaces, and a cgroup2 in them, without which no systemd comes up.
fn hierarchy() -> Result<(), String> {
    let mut words = as_root()?.to_vec();
    words.extend(["unshare", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--net"]);
    words.extend(["mount", "-t", "cgroup2", "cgroup2", "/mnt"]);
    let tried = Command::new(words[0]).args(&words[1..]).output().map_err(|error| format!("unshare: {error}"))?;
    if tried.status.success() {
        return Ok(());
    }
    Err(format!("no systemd can be had in namespaces here: {}", String::from_utf8_lossy(&tried.stderr).trim()))
}

/// The program, and its generator beside it.
fn programs() -> Result<[PathBuf; 2], String> {
    let named = std::env::var_os("PYBOX_VM_BINARY").map(PathBuf::from);
    let pybox = named.ok_or("PYBOX_VM_BINARY names no static program: `make test-vm` builds one")?;
    let generator = pybox.with_file_name("pybox-generator");
    for program in [&pybox, &generator] {
        if !program.is_file() {
            return Err(format!("{} is not there: scripts/build-static.sh makes it", program.display()));
        }
    }
    Ok([pybox, generator])
}

/// A directory with all that a case needs, for the guest to see as /mnt/in.
fn share(case: &str, programs: &[PathBuf; 2]) -> tempfile::TempDir {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let share = tempfile::tempdir().expect("a directory");
    let copy = |from: &Path, to: &str| {
        let to = share.path().join(to);
        fs::create_dir_all(to.parent().expect("a parent")).expect("a directory of the share");
        fs::copy(from, &to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    };
    let [pybox, generator] = programs;
    copy(pybox, "pybox");
    copy(generator, "pybox-generator");
    copy(&project.join("tests/vm/lib.sh"), "lib.sh");
    copy(&project.join(format!("tests/vm/cases/{case}.sh")), "run");
    for (directory, to) in [("systemd/units", "units"), ("packaging/tmpfiles.d", "tmpfiles.d")] {
        for entry in fs::read_dir(project.join(directory)).expect("a directory of the project").flatten() {
            copy(&entry.path(), &format!("{to}/{}", entry.file_name().display()));
        }
    }
    let image = Command::new(project.join("scripts/busybox-rootfs.sh")).arg(share.path().join("busybox.tar")).status();
    assert!(image.is_ok_and(|status| status.success()), "an image of busybox");
    share
}

/// Runs a case; what it says is this test's output.
fn passes(tier: Tier, case: &str) {
    if let Some(lack) = tier.lacks() {
        return lack.skip();
    }
    let programs = match programs() {
        Ok(programs) => programs,
        Err(why) => return Lack::Preparation(why).skip(),
    };
    let _alone = matches!(tier, Tier::Machine(_)).then(|| MACHINES.lock().unwrap_or_else(PoisonError::into_inner));
    let share = share(case, &programs);
    let output = tier.command(share.path()).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("run {case} in {tier:?}: {error}"));
    let said = [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    eprintln!("{said}");
    assert!(output.status.success(), "{case} in {tier:?}: {}", output.status);
}

/// A test for each case of a tier.
macro_rules! cases {
    ($module:ident, $tier:expr, [$($case:ident),* $(,)?]) => {
        mod $module {
            $(
                #[test]
                fn $case() {
                    super::passes($tier, stringify!($case));
                }
            )*
            /// Their names.
            pub(super) const CASES: &[&str] = &[$(stringify!($case)),*];
        }
    };
}

cases!(namespaces, super::Tier::Namespaces, [units, service, network, journal, logout, podman, root]);
cases!(machine, super::Tier::Machine("trixie"), [units, limits, logout, nfs, reboot]);
cases!(bookworm, super::Tier::Machine("bookworm"), [smoke]);

#[test]
fn no_case_is_forgotten() {
    let listed = [namespaces::CASES, machine::CASES, bookworm::CASES].concat();
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/cases");
    for entry in fs::read_dir(place).expect("the cases").flatten() {
        let name = entry.file_name().display().to_string();
        let case = name.strip_suffix(".sh").expect("a script");
        assert!(listed.contains(&case), "{name} is run nowhere");
    }
}
