//! The program that systemd asks for units at each start and `daemon-reload`: units of Quadlet files.
//!
//! One program for both managers; systemd says in `$SYSTEMD_SCOPE` which one asks, and so does the
//! directory that it was started from. It runs before anything else does, so it starts nothing, talks
//! to nobody and needs neither the engine nor its files.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, ffi::OsString};

use pybox::units::places::{self, For, PODMANS_GENERATORS};
use pybox::units::{Generated, Host, Weight, generate, read, write};

const USAGE: &str = "usage: pybox-generator [-dryrun] [-user|-system] [-no-kmsg-log] NORMAL [EARLY LATE]";

/// Where pybox is, unless `$PYBOX` says or it is found elsewhere.
const PROGRAM: &str = "/usr/bin/pybox";

/// What was asked for.
#[derive(Default)]
struct Wanted {
    dry: bool,
    user: Option<bool>,
    plain: bool,
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut words = env::args_os();
    let own = words.next().unwrap_or_default();
    let Some(wanted) = Wanted::parse(words) else {
        let _ = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let user = wanted.user.unwrap_or_else(|| is_for_user(&own));
    let mut complaints = Vec::new();
    let found = read::all(&directories(user), &mut complaints);
    let program = program();
    let exists = |path: &Path| path.exists();
    let mut generated = generate(&found, Host { program: &program, user, exists: &exists });
    complaints.append(&mut generated.complaints);
    let mut lost = complaints.iter().any(|complaint| complaint.weight == Weight::Unit);
    let mut messages: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    match &wanted.directory {
        Some(directory) if !wanted.dry => {
            let unwritten = write::all(&generated.units, directory);
            lost |= !unwritten.is_empty();
            messages.extend(unwritten.iter().map(ToString::to_string));
        }
        _ => lost |= show(&generated).is_err(),
    }
    tell(&messages, wanted.dry || wanted.plain);
    if lost { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Wanted {
    /// Options with one dash or two, as podman's generator takes them, then directories: ours is the first.
    fn parse(words: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut wanted = Self::default();
        for word in words {
            let text = word.to_string_lossy();
            match text.strip_prefix("--").or_else(|| text.strip_prefix('-')) {
                Some("dryrun" | "dry-run") => wanted.dry = true,
                Some("user") => wanted.user = Some(true),
                Some("system") => wanted.user = Some(false),
                Some("no-kmsg-log") => wanted.plain = true,
                Some("v") => {}
                Some(_) => return None,
                None => {
                    wanted.directory.get_or_insert_with(|| word.into());
                }
            }
        }
        (wanted.dry || wanted.directory.is_some()).then_some(wanted)
    }
}

fn is_for_user(own: &OsString) -> bool {
    match env::var("SYSTEMD_SCOPE").as_deref() {
        Ok("user") => true,
        Ok("system") => false,
        // systemd before 251 does not say.
        _ => own.to_string_lossy().contains("user-generator"),
    }
}

fn directories(user: bool) -> Vec<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let uid = rustix::process::getuid().as_raw();
    let whom = if user { For::User { uid, config: config.as_deref() } } else { For::System };
    let asked = env::var("QUADLET_UNIT_DIRS").ok();
    places::directories(whom, asked.as_deref(), PODMANS_GENERATORS.iter().any(|path| Path::new(path).exists()))
}

fn program() -> String {
    let named = env::var("PYBOX").ok().filter(|path| path.starts_with('/'));
    let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join("pybox").to_str()?.to_owned()));
    let installed = [PROGRAM, "/usr/local/bin/pybox"].map(str::to_owned).into_iter().chain(beside);
    named.or_else(|| installed.into_iter().find(|path| Path::new(path).exists())).unwrap_or_else(|| PROGRAM.to_owned())
}

fn show(generated: &Generated) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for unit in &generated.units {
        writeln!(output, "---{}---\n{}", unit.name, unit.text)?;
    }
    output.flush()
}

/// The journal may not be there yet: what the kernel keeps, it gets later.
fn tell(messages: &[String], plain: bool) {
    let kernel = OpenOptions::new().write(true).open("/dev/kmsg").ok().filter(|_| !plain);
    for message in messages {
        let line = format!("pybox-generator[{}]: {message}\n", std::process::id());
        // The kernel takes a message as one write, and none that is longer than its own.
        let short: String = line.chars().take(240).collect::<String>().trim_end().to_owned();
        let told = kernel.as_ref().map(|mut kernel| kernel.write_all(format!("<4>{short}\n").as_bytes()));
        if !matches!(told, Some(Ok(()))) {
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}
