//! `[python]`: an interpreter, a virtual environment and packages, as steps of the graph.

use super::Position;
use super::graph::{Action, Command, Mount, Run, Step};

/// Where the virtual environment is, unless the file says otherwise.
pub const VENV: &str = "/opt/venv";
/// The cache of downloaded packages, which all builds share.
const CACHE: &str = "pybox-pip";
/// Where files of the context are seen while packages are installed.
const INPUT: &str = "/run/pybox-python";

/// What `[python]` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Python {
    /// Which one, as in `3.12`; any if none.
    pub version: Option<String>,
    /// Requirements, as in `httpx>=0.27`.
    pub packages: Vec<String>,
    /// Files of the context with requirements.
    pub requirements: Vec<String>,
    /// A file of the context with requirements and their hashes: nothing else is installed.
    pub lock: Option<String>,
    /// Where the virtual environment is made.
    pub venv: String,
}

impl Python {
    /// The steps that make it.
    ///
    /// # Errors
    /// If a version, package or path makes no sense.
    pub fn steps(&self, position: Position) -> Result<Vec<Step>, String> {
        self.check()?;
        let version = self.version.clone().unwrap_or_default();
        let shown = if version.is_empty() { "3" } else { &version };
        let mut steps = vec![run(position, &format!("python {shown}, venv {}", self.venv), self.interpreter(), vec![])];
        let pairs = vec![
            ("VIRTUAL_ENV".to_owned(), self.venv.clone()),
            ("PATH".to_owned(), format!("{}/bin:$PATH", self.venv)),
        ];
        steps.push(Step {
            name: None,
            shown: format!("ENV VIRTUAL_ENV={}", self.venv),
            action: Action::Environment(pairs),
            position,
        });
        if let Some((command, mounts)) = self.install() {
            let mut what: Vec<&str> = self.packages.iter().map(String::as_str).collect();
            what.extend(self.requirements.iter().chain(&self.lock).map(String::as_str));
            steps.push(run(position, &format!("pip install {}", what.join(" ")), command, mounts));
        }
        Ok(steps)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(version) = &self.version {
            let number = |part: &str| !part.is_empty() && part.len() < 4 && part.bytes().all(|b| b.is_ascii_digit());
            let parts: Vec<&str> = version.split('.').collect();
            if parts.len() > 3 || parts.first() != Some(&"3") || !parts.iter().all(|part| number(part)) {
                return Err(format!("{version:?} is no version of Python, as in \"3.12\""));
            }
        }
        let odd = |text: &&String| text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control);
        if let Some(package) = self.packages.iter().find(odd) {
            return Err(format!("{package:?} is no package, as in \"httpx>=0.27\""));
        }
        if let Some(file) = self.requirements.iter().chain(&self.lock).find(odd) {
            return Err(format!("{file:?} is no file of the context"));
        }
        if self.lock.is_some() && !(self.packages.is_empty() && self.requirements.is_empty()) {
            return Err("a lock names all packages: leave packages and requirements out".to_owned());
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
        if !self.venv.starts_with('/') || self.venv.len() < 2 || !self.venv.bytes().all(plain) {
            return Err(format!("venv is {:?}; expected an absolute path of plain letters", self.venv));
        }
        Ok(())
    }

    /// Finds the Python of the image, or installs that of its distribution, and makes the environment.
    fn interpreter(&self) -> String {
        let version = self.version.clone().unwrap_or_default();
        format!("set -eu\nwant={}\nvenv={}\n{FIND}{MAKE}{TIDY}", quoted(&version), quoted(&self.venv))
    }

    /// Installs packages; none if there are none.
    fn install(&self) -> Option<(String, Vec<Mount>)> {
        let mut words: Vec<String> = Vec::new();
        let mut mounts = Vec::new();
        for (index, file) in self.requirements.iter().chain(&self.lock).enumerate() {
            let target = format!("{INPUT}/{index}/{}", file.rsplit('/').next().unwrap_or("requirements.txt"));
            words.extend(["-r".to_owned(), quoted(&target)]);
            mounts.push(Mount::Bind { from: None, source: file.clone(), target });
        }
        // What is written as a path is one in the context.
        for (index, package) in self.packages.iter().enumerate() {
            if package.starts_with("./") {
                let name = package.trim_end_matches('/').rsplit('/').next().unwrap_or("package");
                let target = format!("{INPUT}/p{index}/{name}");
                words.push(quoted(&target));
                mounts.push(Mount::Bind { from: None, source: package.clone(), target });
            } else {
                words.push(quoted(package));
            }
        }
        if words.is_empty() {
            return None;
        }
        let cache = Mount::Cache { id: CACHE.to_owned(), target: "/root/.cache/pip".to_owned(), read_only: false };
        mounts.push(cache);
        let hashes = if self.lock.is_some() { "--require-hashes " } else { "" };
        let command = format!(
            "set -eu\nvenv={}\nexport PIP_CACHE_DIR=/root/.cache/pip\n{PIP} {hashes}{}\n{TIDY}",
            quoted(&self.venv),
            words.join(" ")
        );
        Some((command, mounts))
    }
}

fn run(position: Position, name: &str, command: String, mounts: Vec<Mount>) -> Step {
    let variables = [("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONHASHSEED", "0"), ("PIP_ROOT_USER_ACTION", "ignore")];
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    // Its own shell, whatever that of the stage is.
    let command = Command::Words(vec!["/bin/sh".to_owned(), "-c".to_owned(), command]);
    let action = Action::Run(Run { command, mounts, network: None, environment });
    Step { name: Some(name.to_owned()), shown: name.to_owned(), action, position }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

const FIND: &str = r#"
find_python() {
    for name in "python$want" python3 python; do
        program=$(command -v "$name" 2>/dev/null) || continue
        version=$("$program" -c 'import sys; print(".".join(map(str, sys.version_info[:3])))' 2>/dev/null) || continue
        case "$version" in
            3.*) ;;
            *) continue ;;
        esac
        case "$version." in
            "${want:-3}".*) python=$program; return 0 ;;
        esac
    done
    return 1
}
has_venv() { "$python" -c 'import venv, ensurepip' 2>/dev/null; }
install() {
    if command -v apt-get >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get -qq update
        set -- python3 python3-venv
        if [ -n "$want" ] && [ -n "$(apt-cache search --names-only "^python$want-venv\$" 2>/dev/null)" ]; then
            set -- "python$want" "python$want-venv"
        fi
        apt-get -qq install -y --no-install-recommends "$@" >/dev/null
        rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb \
            /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/cache/ldconfig/aux-cache
    elif command -v apk >/dev/null 2>&1; then
        apk add --no-cache python3 >/dev/null
    elif command -v dnf >/dev/null 2>&1; then
        dnf -q -y install "python${want:-3}" && dnf -q clean all
    else
        echo "no Python ${want:-3} is in the image, and no apt-get, apk or dnf to install one" >&2
        exit 1
    fi
}
"#;

const MAKE: &str = r#"
find_python && has_venv || install
if ! find_python; then
    echo "Python $want is neither in the image nor in its distribution; choose another version or base" >&2
    exit 1
fi
"$python" -m venv "$venv"
"#;

const PIP: &str = "\"$venv/bin/python\" -m pip install --disable-pip-version-check --no-input --no-compile";

/// Compiled once, by content and not by time, so that the same sources make the same layer.
const TIDY: &str = r#"
find "$venv" -name __pycache__ -type d -prune -exec rm -rf {} +
"$venv/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$venv/lib" || true
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn python() -> Python {
        Python { venv: VENV.into(), ..Python::default() }
    }

    fn commands(python: &Python) -> Vec<(String, Vec<Mount>)> {
        let steps = python.steps(Position::default()).expect("steps");
        let command = |step: Step| match step.action {
            Action::Run(Run { command: Command::Words(words), mounts, .. }) => {
                Some((words.last().cloned().unwrap_or_default(), mounts))
            }
            _ => None,
        };
        steps.into_iter().filter_map(command).collect()
    }

    #[test]
    fn an_interpreter_and_its_packages() {
        let full = Python {
            version: Some("3.12".into()),
            packages: vec!["httpx>=0.27".into(), "it's".into(), "./wheels/x.whl".into()],
            requirements: vec!["deps/requirements.txt".into()],
            ..python()
        };
        let commands = commands(&full);
        let [(interpreter, none), (install, mounts)] = commands.as_slice() else { panic!("{commands:?}") };
        assert!(interpreter.contains("want='3.12'") && interpreter.contains("venv='/opt/venv'"), "{interpreter}");
        assert_eq!(none.as_slice(), []);
        let line = "-r '/run/pybox-python/0/requirements.txt' 'httpx>=0.27' 'it'\\''s' '/run/pybox-python/p2/x.whl'";
        assert!(install.contains(line), "{install}");
        let targets: Vec<_> = mounts.iter().map(|mount| format!("{mount:?}")).collect();
        assert_eq!(mounts.len(), 3, "{targets:?}");
        assert!(targets.iter().any(|text| text.contains("deps/requirements.txt")), "{targets:?}");
    }

    #[test]
    fn without_packages_nothing_is_installed() {
        assert_eq!(commands(&python()).len(), 1);
        let locked = Python { lock: Some("lock.txt".into()), ..python() };
        assert!(commands(&locked).get(1).is_some_and(|(command, _)| command.contains("--require-hashes -r")));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (wrong, why) in [
            (Python { version: Some("2.7".into()), ..python() }, "no version"),
            (Python { version: Some("3.x".into()), ..python() }, "no version"),
            (Python { version: Some("3;rm".into()), ..python() }, "no version"),
            (Python { packages: vec!["--index-url=x".into()], ..python() }, "no package"),
            (Python { requirements: vec![String::new()], ..python() }, "no file"),
            (Python { lock: Some("l".into()), packages: vec!["a".into()], ..python() }, "a lock names all"),
            (Python { venv: "/a b".into(), ..python() }, "venv is"),
            (Python { venv: "venv".into(), ..python() }, "venv is"),
        ] {
            let error = wrong.steps(Position::default()).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
