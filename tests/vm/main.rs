//! pybox on a real systemd: each script of `tests/vm/cases` is run as root in a Debian made by `image.sh`, and becomes the
//! user `tester` where it says `login`. Two tiers share the Debian and the scripts: a virtual machine (`machine.sh`), which has
//! cgroups with all controllers and can reboot, and namespaces of this kernel (`namespaces.sh`), which are up in two seconds.
//!
//! What runs inside is a static program: `PYBOX_VM_BINARY`, built by scripts/prepare-vm.sh.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "all of this is test code")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a case runs.
#[derive(Clone, Copy, Debug)]
enum Tier {
    /// A virtual machine with that Debian.
    Machine(&'static str),
    /// Namespaces of this kernel, with Debian 13.
    Namespaces,
}

impl Tier {
    /// Why this machine cannot have it.
    fn lacks(self) -> Option<String> {
        match self {
            Self::Machine(_) => {
                let there = Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status();
                let native = cfg!(target_arch = "x86_64");
                match there {
                    _ if !native => Some("the virtual machine is made for x86-64 alone".to_owned()),
                    Err(error) => Some(format!("qemu-system-x86_64: {error} (`make test-vm` installs it)")),
                    Ok(_) => None,
                }
            }
            Self::Namespaces if nix::unistd::getuid().is_root() => None,
            Self::Namespaces => sudo().err(),
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
            Self::Namespaces if nix::unistd::getuid().is_root() => {
                let mut command = Command::new(place.join("namespaces.sh"));
                command.arg(share);
                command
            }
            Self::Namespaces => {
                let mut command = Command::new("sudo");
                command.arg("-n").arg(place.join("namespaces.sh")).arg(share);
                command
            }
        }
    }
}

fn sudo() -> Result<(), String> {
    let asked = Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match asked {
        Ok(status) if status.success() => Ok(()),
        _ => Err("namespaces with systemd as the first process need root, or sudo without a password".to_owned()),
    }
}

/// Says that a test is skipped and why; with `CI=true` nothing may be skipped.
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "nothing may be skipped in CI: {why}");
    eprintln!("SKIPPED: {why}");
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
    if let Some(why) = tier.lacks() {
        return skip(&why);
    }
    let programs = match programs() {
        Ok(programs) => programs,
        Err(why) => return skip(&why),
    };
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

cases!(namespaces, super::Tier::Namespaces, [units, network, journal, logout, root]);
cases!(machine, super::Tier::Machine("trixie"), [units, limits, logout, reboot]);
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
