//! `[python]`: an interpreter, a virtual environment and packages, as steps of the graph.
//!
//! Packages are three steps: what is asked for is resolved to exact versions and hashes, that is written into the
//! environment, and that is installed. So what was installed stands in the image, and a new comment or another order in
//! a file of requirements installs nothing anew: the list comes out as it was, and with it the layer below.

use super::Position;
use super::graph::{Action, Cache, Command, Mount, Run, Step};

/// Where the virtual environment is, unless the file says otherwise.
pub const VENV: &str = "/opt/venv";
/// The cache of downloaded packages, which all builds share.
const CACHE: &str = "pybox-pip";
/// Where files of the context are seen while packages are installed.
const INPUT: &str = "/run/pybox-python";
/// Memory for what is gone afterwards: a changed time of /tmp would make another layer.
const SCRATCH: &str = "/run/pybox-python-tmp";

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
        let name = format!("python {shown}, venv {}", self.venv);
        let mut steps = vec![run(position, &name, self.interpreter(), vec![scratch()])];
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
        let mut what: Vec<&str> = self.packages.iter().map(String::as_str).collect();
        what.extend(self.requirements.iter().chain(&self.lock).map(String::as_str));
        let what = what.join(" ");
        if let Some(lock) = &self.lock {
            let target = format!("{INPUT}/0/{}", lock.rsplit('/').next().unwrap_or("requirements.txt"));
            let mount = Mount::Bind { from: None, source: lock.clone(), target: target.clone(), writable: false };
            let command = self.install(&format!("--require-hashes -r {}", quoted(&target)), "");
            steps.push(run(position, &format!("pip install {what}"), command, with_cache(vec![mount])));
        } else if !what.is_empty() {
            let (command, mounts) = self.resolve();
            steps.push(run(position, &format!("pip resolve {what}"), command, with_cache(mounts)));
            let (own, mounts) = self.own_packages();
            let own =
                if own.is_empty() { String::new() } else { format!("$pip install --no-compile --no-deps {own}\n") };
            let command = self.install("--no-deps -r \"$lock\"", &own);
            steps.push(run(position, &format!("pip install {what}"), command, with_cache(mounts)));
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
        let (want, venv) = (quoted(&version), quoted(&self.venv));
        format!("set -eu\nexport TMPDIR={SCRATCH}\nwant={want}\nvenv={venv}\n{FIND}{UV}{MAKE}{TIDY}")
    }

    /// Writes which packages, in which versions, are asked for, into the environment.
    fn resolve(&self) -> (String, Vec<Mount>) {
        let (mut words, mut files, mut mounts) = (Vec::new(), Vec::new(), Vec::new());
        for (index, file) in self.requirements.iter().enumerate() {
            let target = format!("{INPUT}/{index}/{}", file.rsplit('/').next().unwrap_or("requirements.txt"));
            words.push(format!("-r {}", quoted(&target)));
            files.push(quoted(&target));
            mounts.push(Mount::Bind { from: None, source: file.clone(), target, writable: false });
        }
        words.extend(self.packages.iter().filter(|package| !is_own(package)).map(|package| quoted(package)));
        let (own, of_own) = self.own_packages();
        mounts.extend(of_own);
        let (words, files) = (words.join(" "), files.join(" "));
        let command = format!(
            "{}files() {{ cat /dev/null {files}; }}\n{RESOLVE}$pip install --quiet --dry-run --ignore-installed --report \"$report\" {words} {own}\n\
             {WRITE}",
            self.head()
        );
        (command, mounts)
    }

    /// Installs what `list` says, and then what `more` does.
    fn install(&self, list: &str, more: &str) -> String {
        format!("{}if [ -s \"$lock\" ]; then $pip install --no-compile {list}; fi\n{more}{TIDY}", self.head_for(list))
    }

    /// What is written as a path is one in the context: the words, and what is mounted for them.
    fn own_packages(&self) -> (String, Vec<Mount>) {
        let (mut words, mut mounts) = (Vec::new(), Vec::new());
        for (index, package) in self.packages.iter().enumerate().filter(|(_, package)| is_own(package)) {
            let name = package.trim_end_matches('/').rsplit('/').next().unwrap_or("package");
            let target = format!("{INPUT}/p{index}/{name}");
            words.push(quoted(&target));
            // A project is built where it is.
            mounts.push(Mount::Bind { from: None, source: package.clone(), target, writable: true });
        }
        (words.join(" "), mounts)
    }

    fn head(&self) -> String {
        format!("set -eu\nvenv={}\nlock=\"$venv/pybox/requirements.lock\"\n{PIP}", quoted(&self.venv))
    }

    /// With a lock of the context, that is the list.
    fn head_for(&self, list: &str) -> String {
        match list.strip_prefix("--require-hashes -r ") {
            Some(file) => format!("{}lock={file}\n", self.head()),
            None => self.head(),
        }
    }
}

fn is_own(package: &str) -> bool {
    package.starts_with("./")
}

/// With the downloads that all builds share, and memory.
fn with_cache(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let (id, target) = (CACHE.to_owned(), "/root/.cache/pip".to_owned());
    mounts.push(Mount::Cache(Cache { id, target, source: "/".to_owned(), ..Cache::default() }));
    mounts.push(scratch());
    mounts
}

fn scratch() -> Mount {
    Mount::Tmpfs { target: SCRATCH.to_owned(), size: None }
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

/// A Python that neither the image nor its distribution has, by uv, where that and what it downloads can be reached.
const UV: &str = r#"
with_uv() {
    [ -n "$want" ] || return 1
    helper=$(command -v python3) || return 1
    echo "Python $want is neither in the image nor in its distribution: trying uv" >&2
    "$helper" -m venv "$TMPDIR/uv" && "$TMPDIR/uv/bin/python" -m pip install --quiet --no-input \
        --disable-pip-version-check --no-cache-dir uv >&2 || return 1
    UV_PYTHON_INSTALL_DIR=/opt/python UV_CACHE_DIR="$TMPDIR/cache" UV_NO_PROGRESS=1 UV_PYTHON_INSTALL_BIN=0 \
        "$TMPDIR/uv/bin/uv" python install "$want" >&2 || return 1
    for python in /opt/python/cpython-"$want"[.-]*/bin/python3; do
        [ -x "$python" ] && return 0
    done
    return 1
}
"#;

const MAKE: &str = r#"
find_python && has_venv || install
if ! find_python && ! with_uv; then
    echo "Python $want is neither in the image nor in its distribution, and uv does not reach it; choose another version or base" >&2
    exit 1
fi
"$python" -m venv "$venv"
"#;

const PIP: &str = r#"
export PIP_CACHE_DIR=/root/.cache/pip TMPDIR=/run/pybox-python-tmp
pip="$venv/bin/python -m pip --disable-pip-version-check --no-input"
"#;

/// The options of requirement files are for the list, too. It stays in the image: no login may be in it.
const RESOLVE: &str = r#"
report="$TMPDIR/report.json"
options=$(files | grep -E '^[[:space:]]*(-i|-f|--(index-url|extra-index-url|find-links|trusted-host|no-index))([ =]|$)' || true)
if printf '%s\n' "$options" | grep -qE '://[^/]*:[^/]*@' && ! printf '%s\n' "$options" | grep -q '[$]{'; then
    echo "the requirements name an index with a login, which would stay in the image" >&2
    echo "declare PIP_INDEX_URL in [args], and give it: --build-arg PIP_INDEX_URL=..." >&2
    exit 1
fi
if ! $pip install --help | grep -q -e --report; then
    $pip install --quiet --upgrade pip
fi
"#;

/// The same list makes the same layer: its times are fixed.
const WRITE: &str = r#"
mkdir -p "$venv/pybox"
{
    if [ -n "$options" ]; then printf '%s\n' "$options"; fi
    "$venv/bin/python" -c '
import json, re, sys
lines = []
for one in json.load(open(sys.argv[1]))["install"]:
    info, meta = one["download_info"], one["metadata"]
    if info["url"].startswith("file:"):
        continue
    name = re.sub("[-_.]+", "-", meta["name"]).lower()
    vcs = info.get("vcs_info")
    if vcs:
        text = name + " @ " + vcs["vcs"] + "+" + info["url"] + "@" + vcs["commit_id"]
    elif one.get("is_direct"):
        text = name + " @ " + info["url"]
    else:
        text = name + "==" + meta["version"]
    lines.append((text, (info.get("archive_info") or {}).get("hashes", {}).get("sha256")))
hashed = all(digest for _, digest in lines)
for text, digest in sorted(lines):
    print(text + (" --hash=sha256:" + digest if hashed else ""))
' "$report"
} > "$lock"
touch -d @0 "$lock" "$venv/pybox" "$venv" /
"#;

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
        let [(interpreter, none), (resolve, mounts), (install, own)] = commands.as_slice() else {
            panic!("{commands:?}")
        };
        assert!(interpreter.contains("want='3.12'") && interpreter.contains("venv='/opt/venv'"), "{interpreter}");
        assert_eq!(none.as_slice(), [scratch()]);
        let line = "-r '/run/pybox-python/0/requirements.txt' 'httpx>=0.27' 'it'\\''s' '/run/pybox-python/p2/x.whl'";
        assert!(resolve.contains(line), "{resolve}");
        let targets: Vec<_> = mounts.iter().map(|mount| format!("{mount:?}")).collect();
        assert_eq!(mounts.len(), 4, "{targets:?}");
        assert!(targets.iter().any(|text| text.contains("deps/requirements.txt")), "{targets:?}");
        // What is installed does not depend on the text of the requirements.
        assert!(install.contains("--no-deps -r \"$lock\"") && !install.contains("httpx"), "{install}");
        assert!(install.contains("--no-deps '/run/pybox-python/p2/x.whl'"), "{install}");
        let own: Vec<_> = own.iter().map(|mount| format!("{mount:?}")).collect();
        assert!(own.len() == 3 && !own.iter().any(|text| text.contains("requirements.txt")), "{own:?}");
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
