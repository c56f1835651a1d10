//! The environment, read once and made sense of: where things are kept, which
//! files hold credentials, how talkative and how colourful to be.
//!
//! An empty variable counts as unset. A relative path in an XDG variable is
//! ignored, as the XDG base directory specification asks; in `PYBOX_ROOT` it is
//! an error, because the store would move with the working directory.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::{OURS, Problem};
use super::logging::Level;
use crate::engine::api::{ProxySettings, Settings};
use crate::model::limits::CgroupDriver;
use crate::model::storage::StorageDriver;

/// Where root keeps everything.
const SYSTEM_ROOT: &str = "/var/lib/pybox";

/// How a variable is looked up.
pub(crate) type Lookup<'l> = &'l dyn Fn(&str) -> Option<OsString>;

/// What the global options say; they go before the environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// `--root`.
    pub(crate) root: Option<PathBuf>,
    /// `--storage-driver`.
    pub(crate) storage_driver: Option<StorageDriver>,
    /// `--cgroup-driver`.
    pub(crate) cgroup_driver: Option<CgroupDriver>,
    /// `--log-level`.
    pub(crate) log_level: Option<String>,
    /// `--debug`.
    pub(crate) debug: bool,
}

/// Whether colours are wanted where nobody looked at the terminal yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Never.
    Off,
    /// On terminals.
    Terminal,
    /// Everywhere.
    Always,
}

/// The environment of a user.
pub(crate) struct Environment<'l> {
    lookup: Lookup<'l>,
    uid: u32,
    /// `$HOME`, or what `passwd` says; read when it is needed.
    home_in_passwd: &'l dyn Fn(u32) -> Option<PathBuf>,
}

impl<'l> Environment<'l> {
    /// The environment that `lookup` shows to the user `uid`, whose home
    /// directory `home_in_passwd` knows if `$HOME` does not.
    pub(crate) fn new(lookup: Lookup<'l>, uid: u32, home_in_passwd: &'l dyn Fn(u32) -> Option<PathBuf>) -> Self {
        Self { lookup, uid, home_in_passwd }
    }

    fn text(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A variable that holds an absolute path.
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME").or_else(|| (self.home_in_passwd)(self.uid))
    }

    /// `$XDG_<NAME>_HOME`, or `fallback` below the home directory.
    fn xdg(&self, name: &str, fallback: &str) -> Option<PathBuf> {
        self.absolute(name).or_else(|| Some(self.home()?.join(fallback)))
    }

    /// `$XDG_RUNTIME_DIR`, or where systemd makes it; only if it is the user's
    /// own: after `su` the variable may still name another's.
    pub(crate) fn runtime_dir(&self) -> Option<PathBuf> {
        let is_ours =
            |path: &PathBuf| std::fs::metadata(path).is_ok_and(|data| data.is_dir() && data.uid() == self.uid);
        let made_by_systemd = || Some(PathBuf::from(format!("/run/user/{}", self.uid)));
        self.absolute("XDG_RUNTIME_DIR").filter(is_ours).or_else(|| made_by_systemd().filter(is_ours))
    }

    /// Where everything is kept.
    ///
    /// # Errors
    /// If `PYBOX_ROOT` is relative, or there is neither it nor a home directory.
    pub(crate) fn root(&self, wishes: &Wishes) -> Result<PathBuf, Problem> {
        if let Some(root) = &wishes.root {
            return std::path::absolute(root).map_err(|error| {
                Problem::user(format!("--root {}: {error}", root.display())).hint("pybox --root /absolute/path …")
            });
        }
        if let Some(root) = self.text("PYBOX_ROOT").map(PathBuf::from) {
            return if root.is_absolute() { Ok(root) } else { Err(relative_root(&root)) };
        }
        if self.uid == 0 {
            return Ok(SYSTEM_ROOT.into());
        }
        self.xdg("XDG_DATA_HOME", ".local/share").map(|data| data.join("pybox")).ok_or_else(|| {
            Problem::config(format!("user {} has no home directory to keep images in", self.uid))
                .hint("export PYBOX_ROOT=/path/to/keep/them/in")
        })
    }

    /// Where programs leave data for other programs of the user's.
    pub(crate) fn data_home(&self) -> Option<PathBuf> {
        self.xdg("XDG_DATA_HOME", ".local/share")
    }

    /// Where programs of the user's are configured.
    pub(crate) fn config_home(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config")
    }

    /// What the engine has to know.
    ///
    /// # Errors
    /// As [`Environment::root`]; and if our own program cannot be found.
    pub(crate) fn settings(&self, wishes: &Wishes) -> Result<Settings, Problem> {
        let program = std::env::current_exe()
            .map_err(|error| Problem::internal(format!("find our own program by /proc/self/exe: {error}")))?;
        let config = self.xdg("XDG_CONFIG_HOME", ".config");
        let containers = config.map(|config| config.join("containers"));
        Ok(Settings {
            root: self.root(wishes)?,
            program,
            auth_files: self.auth_files(containers.as_deref()),
            auth_target: self.auth_target(containers.as_deref()),
            registries_conf: self.registries_conf(containers.as_deref()),
            certs_dirs: containers
                .iter()
                .map(|dir| dir.join("certs.d"))
                .chain(["/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()])
                .collect(),
            blob_caches: self
                .text("PYBOX_BLOB_CACHE")
                .map(|list| std::env::split_paths(&list).collect())
                .unwrap_or_default(),
            helper_dirs: self.text("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
            allow_realms: Vec::new(),
            proxies: self.proxies(),
            cgroup_driver: self.cgroup_driver(wishes)?,
            cgroup_root: self.text("PYBOX_CGROUP_ROOT").map(PathBuf::from),
            bus_address: self.variable("DBUS_SESSION_BUS_ADDRESS"),
            storage_driver: self.storage_driver(wishes)?,
        })
    }

    fn cgroup_driver(&self, wishes: &Wishes) -> Result<Option<CgroupDriver>, Problem> {
        let named = || self.text("PYBOX_CGROUP_DRIVER").map(|name| name.to_string_lossy().parse()).transpose();
        let driver = wishes.cgroup_driver.map_or_else(named, |driver| Ok(Some(driver)));
        driver.map_err(|error| Problem::user(format!("PYBOX_CGROUP_DRIVER: {error}")).hint("unset PYBOX_CGROUP_DRIVER"))
    }

    fn storage_driver(&self, wishes: &Wishes) -> Result<Option<StorageDriver>, Problem> {
        let named = || self.text("PYBOX_STORAGE_DRIVER").map(|name| name.to_string_lossy().parse()).transpose();
        let driver = wishes.storage_driver.map_or_else(named, |driver| Ok(Some(driver)));
        driver
            .map_err(|error| Problem::user(format!("PYBOX_STORAGE_DRIVER: {error}")).hint("unset PYBOX_STORAGE_DRIVER"))
    }

    /// The lower-case names are the older ones and win, as with curl, which knows
    /// no `HTTP_PROXY` at all: a web server would set it from a header.
    fn proxies(&self) -> ProxySettings {
        let either = |lower: &str, upper: &str| self.variable(lower).or_else(|| self.variable(upper));
        ProxySettings {
            https: either("https_proxy", "HTTPS_PROXY"),
            http: self.variable("http_proxy"),
            except: either("no_proxy", "NO_PROXY"),
        }
    }

    /// In the order of containers-auth.json(5), docker's file last.
    fn auth_files(&self, containers: Option<&Path>) -> Vec<PathBuf> {
        let given = self.text("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let runtime = self.runtime_dir().map(|dir| dir.join("containers/auth.json"));
        let config = containers.map(|dir| dir.join("auth.json"));
        let docker = self.text("DOCKER_CONFIG").map(PathBuf::from);
        let docker = docker.or_else(|| Some(self.home()?.join(".docker"))).map(|dir| dir.join("config.json"));
        [given, runtime, config, docker].into_iter().flatten().collect()
    }

    /// Where a login goes that no helper keeps: the file that the user names, else the one of
    /// containers' files that outlives a reboot.
    fn auth_target(&self, containers: Option<&Path>) -> Option<PathBuf> {
        let given = self.text("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let docker = || Some(PathBuf::from(self.text("DOCKER_CONFIG")?).join("config.json"));
        given.or_else(docker).or_else(|| Some(containers?.join("auth.json")))
    }

    /// One main file (the user's hides the system's), then the drop-ins of both.
    fn registries_conf(&self, containers: Option<&Path>) -> Vec<PathBuf> {
        if let Some(file) = self.text("CONTAINERS_REGISTRIES_CONF") {
            return vec![file.into()];
        }
        let system = PathBuf::from("/etc/containers/registries.conf");
        let user = containers.map(|dir| dir.join("registries.conf"));
        let main = user.filter(|file| file.exists()).unwrap_or(system);
        let user_drop_ins = containers.map(|dir| dir.join("registries.conf.d"));
        [Some(main), Some("/etc/containers/registries.conf.d".into()), user_drop_ins].into_iter().flatten().collect()
    }

    /// How much to tell.
    ///
    /// # Errors
    /// If `--log-level` or `PYBOX_LOG_LEVEL` is no level.
    pub(crate) fn level(&self, wishes: &Wishes) -> Result<Level, Problem> {
        if wishes.debug {
            return Ok(Level::Debug);
        }
        let variable = || Some(("PYBOX_LOG_LEVEL", self.text("PYBOX_LOG_LEVEL")?.to_string_lossy().into_owned()));
        let given = wishes.log_level.clone().map(|level| ("--log-level", level)).or_else(variable);
        let Some((source, word)) = given else { return Ok(Level::Warning) };
        Level::parse(&word).ok_or_else(|| {
            Problem::user(format!("invalid value {word:?} for {source}: expected one of {}", Level::WORDS.join(", ")))
                .hint("pybox --help")
                .code(OURS)
        })
    }

    /// Whether colours are wanted: <https://no-color.org>, <https://bixense.com/clicolors>.
    pub(crate) fn colour(&self) -> Colour {
        if self.text("NO_COLOR").is_some() {
            Colour::Off
        } else if self.text("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
            Colour::Always
        } else if self.text("TERM").is_none_or(|term| term == "dumb") || self.text("CLICOLOR").is_some_and(|v| v == "0")
        {
            Colour::Off
        } else {
            Colour::Terminal
        }
    }

    /// Whether the terminal, if there is one, can move its cursor.
    pub(crate) fn can_redraw(&self) -> bool {
        self.text("TERM").is_some_and(|term| term != "dumb")
    }

    /// A variable as text, for `-e NAME`.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.lookup)(name).and_then(|value| value.into_string().ok())
    }
}

fn relative_root(root: &Path) -> Problem {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    Problem::config(format!("PYBOX_ROOT is {}, which is no absolute path", root.display()))
        .hint(format!("export PYBOX_ROOT={}", absolute.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'v> = &'v [(&'v str, &'v str)];

    fn with<T>(variables: &[(&str, &str)], uid: u32, ask: impl FnOnce(&Environment) -> T) -> T {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        let passwd = |uid: u32| (uid == 1000).then(|| PathBuf::from("/home/ann"));
        ask(&Environment::new(&lookup, uid, &passwd))
    }

    fn root(variables: &[(&str, &str)], uid: u32) -> Result<String, String> {
        with(variables, uid, |environment| {
            let root = environment.root(&Wishes::default());
            root.map(|path| path.display().to_string()).map_err(|problem| problem.to_string())
        })
    }

    #[test]
    fn the_root_has_a_place_in_every_environment() {
        let cases: [(Variables, u32, &str); 9] = [
            (&[("HOME", "/h")], 1000, "/h/.local/share/pybox"),
            (&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")], 1000, "/d/pybox"),
            (&[("HOME", "/h"), ("XDG_DATA_HOME", "d")], 1000, "/h/.local/share/pybox"),
            (&[("HOME", "/h"), ("PYBOX_ROOT", "/r")], 1000, "/r"),
            (&[("HOME", "/h"), ("PYBOX_ROOT", "")], 1000, "/h/.local/share/pybox"),
            (&[], 1000, "/home/ann/.local/share/pybox"),
            (&[("HOME", "relative")], 1000, "/home/ann/.local/share/pybox"),
            (&[("HOME", "/root")], 0, "/var/lib/pybox"),
            (&[("PYBOX_ROOT", "/r")], 0, "/r"),
        ];
        for (variables, uid, path) in cases {
            assert_eq!(root(variables, uid).as_deref(), Ok(path), "{variables:?}");
        }
        assert_eq!(
            root(&[("PYBOX_ROOT", "box")], 1000),
            Err("PYBOX_ROOT is box, which is no absolute path".to_owned())
        );
        assert_eq!(root(&[], 7), Err("user 7 has no home directory to keep images in".to_owned()));
    }

    #[test]
    fn credentials_are_sought_in_order() {
        let files = |variables: &[(&str, &str)]| {
            with(variables, 1_000_000, |environment| {
                let settings = environment.settings(&Wishes { root: Some("/r".into()), ..Wishes::default() });
                settings.expect("settings").auth_files
            })
        };
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(files(&[("HOME", "/h")]), paths(&["/h/.config/containers/auth.json", "/h/.docker/config.json"]));
        assert_eq!(
            files(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a"), ("DOCKER_CONFIG", "/d"), ("XDG_CONFIG_HOME", "/c")]),
            paths(&["/a", "/c/containers/auth.json", "/d/config.json"])
        );
        let foreign = [("HOME", "/h"), ("XDG_RUNTIME_DIR", "/")];
        assert_eq!(files(&foreign).len(), 2, "the runtime directory of another user is not ours");
        assert_eq!(files(&[]), Vec::<PathBuf>::new());
    }

    #[test]
    fn logins_go_where_they_outlive_a_reboot() {
        let target = |variables: &[(&str, &str)]| {
            with(variables, 1_000_000, |environment| {
                let settings = environment.settings(&Wishes { root: Some("/r".into()), ..Wishes::default() });
                settings.expect("settings").auth_target
            })
        };
        let cases: [(Variables, Option<&str>); 4] = [
            (&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1000000")], Some("/h/.config/containers/auth.json")),
            (&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")], Some("/d/config.json")),
            (&[("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "/a")], Some("/a")),
            (&[], None),
        ];
        for (variables, path) in cases {
            assert_eq!(target(variables), path.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn levels_and_colours() {
        let level = |variables: &[(&str, &str)], wishes: Wishes| {
            with(variables, 1000, |environment| environment.level(&wishes).map_err(|problem| problem.to_string()))
        };
        assert_eq!(level(&[], Wishes::default()), Ok(Level::Warning));
        assert_eq!(level(&[("PYBOX_LOG_LEVEL", "info")], Wishes::default()), Ok(Level::Info));
        let wish = Wishes { log_level: Some("error".into()), ..Wishes::default() };
        assert_eq!(level(&[("PYBOX_LOG_LEVEL", "info")], wish), Ok(Level::Error));
        assert_eq!(level(&[], Wishes { debug: true, ..Wishes::default() }), Ok(Level::Debug));
        assert!(level(&[("PYBOX_LOG_LEVEL", "loud")], Wishes::default()).is_err());

        let cases: [(Variables, Colour); 6] = [
            (&[("TERM", "xterm")], Colour::Terminal),
            (&[("TERM", "dumb")], Colour::Off),
            (&[], Colour::Off),
            (&[("TERM", "xterm"), ("NO_COLOR", "1")], Colour::Off),
            (&[("NO_COLOR", ""), ("CLICOLOR_FORCE", "1")], Colour::Always),
            (&[("TERM", "xterm"), ("CLICOLOR_FORCE", "0")], Colour::Terminal),
        ];
        for (variables, colour) in cases {
            assert_eq!(with(variables, 1000, |environment| environment.colour()), colour, "{variables:?}");
        }
    }
}
