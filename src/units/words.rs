//! The words of `pybox run` that ask for a container again: the way back from a request to its flags.
//!
//! What belongs to whoever calls is left out: the name, `--rm`, `--restart`, `-i` and `-t`.

use crate::model::container::{ContainerRequest, Mount, MountSource, PullPolicy, Seccomp, Security, UserNamespace};
use crate::model::limits::CgroupNamespace;
use crate::model::network::Attachment;
use crate::model::port::Published;
use crate::model::supervision::{HealthRequest, LogDriver, LogRequest};

/// What no flag can say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untellable {
    /// Only the text of the profile is known.
    #[error("its seccomp profile came from a file that is not known any more")]
    Seccomp,
}

/// The words, the image and its command included.
///
/// # Errors
/// If no flag can say what the container is.
pub fn words(request: &ContainerRequest) -> Result<Vec<String>, Untellable> {
    let mut words = Words::default();
    words.process(request);
    request.mounts.iter().for_each(|mount| words.mount(mount));
    words.files(request);
    words.supervision(&request.health, &request.log);
    words.network(request);
    words.privileges(request)?;
    words.list.push(request.image.clone());
    words.list.extend(request.command.iter().cloned());
    Ok(words.list)
}

#[derive(Default)]
struct Words {
    list: Vec<String>,
}

impl Words {
    fn flag(&mut self, name: &str, value: impl std::fmt::Display) {
        // One word, so that a value with a dash in front is no flag.
        self.list.push(format!("--{name}={value}"));
    }

    fn some(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.flag(name, value);
        }
    }

    fn each(&mut self, name: &str, values: impl IntoIterator<Item = impl std::fmt::Display>) {
        values.into_iter().for_each(|value| self.flag(name, value));
    }

    fn switch(&mut self, name: &str, on: bool) {
        if on {
            self.list.push(format!("--{name}"));
        }
    }

    fn process(&mut self, request: &ContainerRequest) {
        self.each("env", request.env.iter().map(|(name, value)| format!("{name}={value}")));
        self.each("label", request.labels.iter().map(|(name, value)| format!("{name}={value}")));
        self.some("workdir", request.workdir.as_ref());
        self.some("user", request.user.as_ref());
        self.each("group-add", &request.groups);
        self.some("entrypoint", request.entrypoint.as_ref().map(|program| list(program)));
        self.switch("init", request.init);
        self.some("stop-signal", request.stop_signal);
        self.some("stop-timeout", request.stop_timeout.map(|seconds| i64::try_from(seconds).unwrap_or(-1)));
        for limit in &request.ulimits {
            let name = limit.name.to_ascii_lowercase();
            let name = name.strip_prefix("rlimit_").unwrap_or(&name);
            self.flag("ulimit", format!("{name}={}:{}", number(limit.soft), number(limit.hard)));
        }
        let pull = match request.pull {
            PullPolicy::Missing => None,
            PullPolicy::Always => Some("always"),
            PullPolicy::Never => Some("never"),
            PullPolicy::Newer => Some("newer"),
        };
        self.some("pull", pull);
        self.some("platform", request.platform.as_ref());
        self.some("timeout", request.timeout);
        self.limits(request);
    }

    fn limits(&mut self, request: &ContainerRequest) {
        let limits = &request.limits;
        self.some("memory", limits.memory);
        self.some("memory-swap", limits.memory_swap);
        self.some("memory-reservation", limits.memory_reservation);
        self.some("cpus", limits.cpus);
        self.some("cpu-shares", limits.cpu_shares);
        self.some("cpu-period", limits.cpu_period);
        self.some("cpu-quota", limits.cpu_quota);
        self.some("cpuset-cpus", limits.cpuset_cpus.as_ref());
        self.some("cpuset-mems", limits.cpuset_mems.as_ref());
        self.some("pids-limit", limits.pids);
        self.some("blkio-weight", limits.blkio_weight);
        for throttle in &limits.throttles {
            let flag = throttle.way.flag().trim_start_matches('-');
            self.flag(flag, format!("{}:{}", throttle.path, throttle.rate));
        }
        self.some("oom-score-adj", request.oom_score_adj);
        self.some("cgroup-parent", request.cgroup.parent.as_ref());
        self.some("cgroupns", (request.cgroup.namespace == CgroupNamespace::Host).then_some("host"));
        self.some("cgroups", request.cgroup.disabled.then_some("disabled"));
    }

    fn mount(&mut self, mount: &Mount) {
        let mut options: Vec<String> = mount.read_only.then(|| "ro".to_owned()).into_iter().collect();
        options.extend(mount.options.iter().cloned());
        let tail = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
        match &mount.source {
            MountSource::Tmpfs => self.flag("tmpfs", format!("{}{tail}", mount.target)),
            MountSource::Bind { path, create: false } => {
                let mut fields =
                    vec!["type=bind".to_owned(), format!("source={path}"), format!("target={}", mount.target)];
                fields.extend(options.iter().map(|option| field(option)));
                self.flag("mount", fields.iter().map(|field| csv(field)).collect::<Vec<_>>().join(","));
            }
            MountSource::Bind { path, create: true } => self.flag("volume", format!("{path}:{}{tail}", mount.target)),
            MountSource::Volume(name) => self.flag("volume", format!("{name}:{}{tail}", mount.target)),
            MountSource::AnonymousVolume if options.is_empty() => self.flag("volume", &mount.target),
            MountSource::AnonymousVolume => {
                let mut fields = vec![format!("target={}", mount.target)];
                fields.extend(options.iter().map(|option| field(option)));
                self.flag("mount", fields.iter().map(|field| csv(field)).collect::<Vec<_>>().join(","));
            }
        }
    }

    fn files(&mut self, request: &ContainerRequest) {
        self.switch("read-only", request.read_only);
        self.some("shm-size", request.shm_size);
        let devices = request.devices.iter();
        self.each("device", devices.map(|it| format!("{}:{}:{}", it.host, it.container, it.permissions)));
    }

    fn supervision(&mut self, health: &HealthRequest, log: &LogRequest) {
        self.switch("no-healthcheck", health.disabled);
        let command = health.command.as_ref();
        self.some("health-cmd", command.map(|command| list(&[&["CMD".to_owned()], command.as_slice()].concat())));
        let milliseconds = |time: u64| format!("{time}ms");
        self.some("health-interval", health.interval.map(milliseconds));
        self.some("health-timeout", health.timeout.map(milliseconds));
        self.some("health-start-period", health.start_period.map(milliseconds));
        self.some("health-retries", health.retries);
        let driver = match log.driver {
            LogDriver::File => None,
            LogDriver::Journald => Some("journald"),
            LogDriver::None => Some("none"),
        };
        self.some("log-driver", driver);
        self.some("log-opt", log.max_size.map(|size| format!("max-size={size}")));
        self.some("log-opt", log.max_file.map(|number| format!("max-file={number}")));
        self.some("log-opt", log.tag.as_ref().map(|tag| format!("tag={tag}")));
        for (name, keys) in [("labels", &log.labels), ("env", &log.env)] {
            self.some("log-opt", (!keys.is_empty()).then(|| format!("{name}={}", keys.join(","))));
        }
    }

    fn network(&mut self, request: &ContainerRequest) {
        match &request.network_of {
            Some(other) => self.flag("network", format!("container:{other}")),
            None if request.attachments.is_empty() => {
                self.some("network", request.network_named.then(|| request.network.name()));
            }
            None => {}
        }
        self.some("mac-address", request.mac);
        self.each("network", request.attachments.iter().map(attachment));
        self.each("publish", request.ports.iter().map(port));
        self.switch("publish-all", request.publish_all);
        self.some("hostname", request.hostname.as_ref());
        self.each("add-host", request.add_hosts.iter().map(|(name, address)| format!("{name}:{address}")));
        self.each("dns", &request.dns);
        self.each("dns-search", &request.dns_search);
        self.each("dns-option", &request.dns_options);
    }

    fn privileges(&mut self, request: &ContainerRequest) -> Result<(), Untellable> {
        self.each("cap-add", &request.cap_add);
        self.each("cap-drop", &request.cap_drop);
        self.security(&request.security)?;
        self.switch("privileged", request.privileged);
        match &request.userns {
            UserNamespace::Default => {}
            UserNamespace::Host => self.flag("userns", "host"),
            UserNamespace::KeepId { uid, gid } => {
                let ids =
                    [("uid", uid), ("gid", gid)].into_iter().filter_map(|(key, id)| Some(format!("{key}={}", (*id)?)));
                let ids = ids.collect::<Vec<_>>().join(",");
                self.flag("userns", if ids.is_empty() { "keep-id".to_owned() } else { format!("keep-id:{ids}") });
            }
        }
        self.each("sysctl", request.sysctls.iter().map(|(name, value)| format!("{name}={value}")));
        Ok(())
    }

    fn security(&mut self, security: &Security) -> Result<(), Untellable> {
        let mut options: Vec<String> =
            security.no_new_privileges.then(|| "no-new-privileges".to_owned()).into_iter().collect();
        match &security.seccomp {
            Seccomp::Default => {}
            Seccomp::Unconfined => options.push("seccomp=unconfined".to_owned()),
            Seccomp::Profile(_) => return Err(Untellable::Seccomp),
        }
        options.extend(security.apparmor.iter().map(|profile| format!("apparmor={profile}")));
        options.extend(security.labels.iter().map(|label| format!("label={label}")));
        options.extend(security.mask.iter().map(|path| format!("mask={path}")));
        options.extend(security.unmask.iter().map(|path| format!("unmask={path}")));
        self.each("security-opt", options);
        Ok(())
    }
}

/// A list as JSON; nothing for an empty one.
fn list(words: &[String]) -> String {
    if words.is_empty() { String::new() } else { serde_json::Value::from(words.to_vec()).to_string() }
}

fn number(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

/// An option of a mount as `--mount` has it.
fn field(option: &str) -> String {
    match option {
        "bind" => "bind-nonrecursive=true".to_owned(),
        "rbind" => "bind-recursive=enabled".to_owned(),
        "nocopy" => "volume-nocopy=true".to_owned(),
        "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => format!("bind-propagation={option}"),
        other => other.to_owned(),
    }
}

/// A field of a list with commas.
fn csv(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

fn port(port: &Published) -> String {
    let address = match port.address {
        Some(std::net::IpAddr::V6(address)) => format!("[{address}]:"),
        Some(std::net::IpAddr::V4(address)) => format!("{address}:"),
        None => String::new(),
    };
    let host = port.host.map(|host| format!("{host}:"));
    let host = host.unwrap_or_else(|| if address.is_empty() { String::new() } else { ":".to_owned() });
    format!("{address}{host}{}/{}", port.container, port.protocol)
}

fn attachment(wanted: &Attachment) -> String {
    let mut options = Vec::new();
    for address in &wanted.addresses {
        options.push(format!("{}={address}", if address.is_ipv4() { "ip" } else { "ip6" }));
    }
    options.extend(wanted.aliases.iter().map(|alias| format!("alias={alias}")));
    options.extend(wanted.mac.iter().map(|mac| format!("mac={mac}")));
    if options.is_empty() { wanted.network.to_string() } else { format!("{}:{}", wanted.network, options.join(",")) }
}
