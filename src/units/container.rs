//! `.container`: a service that is `pybox run` in the foreground.
//!
//! The command is the service's main process: its output goes where the unit's does, its exit code is
//! the container's, and the container lives in the unit's cgroup.

use super::complaint::{Complaint, Weight};
use super::document::Entry;
use super::making::Making;
use super::quoting;
use crate::model::flags::signal;

const SECTION: &str = "Container";

/// Seconds beyond a container's own before systemd loses patience.
const GRACE: i64 = 15;

impl Making<'_> {
    pub(super) fn container(&mut self) -> Result<(), Complaint> {
        let image = self.image()?;
        let name = self.container_name();
        self.service.add("Service", "Environment", "PYBOX_SYSTEMD_UNIT=%n");
        let notify = self.service_type();
        self.stopping(&name);
        self.reloading(&name);
        // Where pybox keeps everything.
        self.service.add("Unit", "RequiresMountsFor", if self.host.user { "%h" } else { "/var/lib/pybox" });

        let mut words = self.program();
        words.extend(["run", "--rm"].map(str::to_owned));
        words.extend(notify.map(|who| format!("--sdnotify={who}")));
        words.extend(["--name".to_owned(), name]);
        self.flags(&mut words);
        self.logging(&mut words);
        self.identity(&mut words)?;
        self.files(&mut words)?;
        self.networks(&mut words)?;
        self.security(&mut words);
        self.own_arguments(&mut words);
        words.push(image);
        if let Some(command) = self.document.text(SECTION, "Exec") {
            words.extend(quoting::split(command));
        }
        self.service.add_command("ExecStart", &words);
        Ok(())
    }

    fn image(&mut self) -> Result<String, Complaint> {
        let document = self.document;
        let Some(entry) = document.last(SECTION, "Image") else {
            return Err(document.refuse("Image= is missing: it names the image, or a .image or .build file"));
        };
        let image = self.image_of(entry)?;
        // Whatever is before the command must not be taken for a flag.
        if image.starts_with('-') {
            return Err(document.complain(entry, Weight::Unit, format!("Image={image} is no image")));
        }
        Ok(image)
    }

    /// The image that an entry names itself or by a file.
    pub(super) fn image_of(&mut self, entry: &Entry) -> Result<String, Complaint> {
        use super::kind::Kind;
        match Kind::split(entry.value()) {
            Some((_, kind @ (Kind::Image | Kind::Build))) if !entry.value().contains('/') => {
                self.refer(entry.value(), kind, entry)
            }
            _ => Ok(entry.value().to_owned()),
        }
    }

    fn container_name(&self) -> String {
        let default = if self.document.service().contains('@') { "systemd-%p_%i" } else { "systemd-%N" };
        self.document.text(SECTION, "ContainerName").unwrap_or(default).to_owned()
    }

    /// Chooses `Type=`; and who says when the service is up, if anybody does.
    fn service_type(&mut self) -> Option<&'static str> {
        let document = self.document;
        let healthy = document.text(SECTION, "Notify").is_some_and(|text| text.eq_ignore_ascii_case("healthy"));
        // Without a wish it is up with the container, as podman has it.
        let wished = if healthy {
            Some("healthy")
        } else {
            (document.last(SECTION, "Notify").is_some() && self.says("Notify")).then_some("container")
        };
        let kind = match document.last("Service", "Type") {
            Some(entry) if entry.value() == "oneshot" => "oneshot",
            Some(entry) if matches!(entry.value(), "exec" | "simple") && wished.is_none() => "exec",
            Some(entry) if !matches!(entry.value(), "notify" | "exec" | "simple") => {
                let sentence = format!("Type={}: expected notify, exec or oneshot", entry.value());
                self.skip(entry, sentence);
                "notify"
            }
            _ => "notify",
        };
        self.service.add("Service", "Type", kind);
        if kind != "notify" {
            return None;
        }
        // What speaks is a child of the main process, or a child of that.
        self.service.add_default("Service", "NotifyAccess", "all");
        Some(wished.unwrap_or("conmon"))
    }

    /// How the service ends, and what may be left of it is removed.
    fn stopping(&mut self, name: &str) {
        let document = self.document;
        let mode = match document.last("Service", "KillMode") {
            Some(entry) if !matches!(entry.value(), "mixed" | "control-group") => {
                let sentence = format!("KillMode={}: expected mixed or control-group", entry.value());
                self.skip(entry, sentence);
                "mixed"
            }
            Some(entry) => entry.value(),
            None => "mixed",
        };
        self.service.add("Service", "KillMode", mode);
        self.service.add_default("Service", "Delegate", "yes");
        self.service.add_default("Service", "SyslogIdentifier", "%N");
        if !self.service.has("Service", "SuccessExitStatus") {
            self.service.add("Service", "SuccessExitStatus", self.exit_status_of_a_stop());
        }
        if let Some(entry) = document.last(SECTION, "StopTimeout") {
            match entry.value().parse::<i64>() {
                Ok(seconds) if seconds < 0 => self.service.add_default("Service", "TimeoutStopSec", "infinity"),
                Ok(seconds) => {
                    let patience = seconds.saturating_add(GRACE).to_string();
                    self.service.add_default("Service", "TimeoutStopSec", patience);
                }
                Err(_) => self.skip(entry, format!("StopTimeout={}: expected seconds", entry.value())),
            }
        }
        let program = self.program();
        let with = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned());
            program.iter().cloned().chain(words).collect::<Vec<_>>()
        };
        // A container of the name may be left from a power cut.
        let remove = with(&["rm", "--force", "--ignore", "--volumes", name]);
        self.service.add_careless("ExecStartPre", &remove);
        self.service.add_careless("ExecStop", &with(&["stop", name]));
        // If the main process was killed there was no stop.
        self.service.add_careless("ExecStopPost", &remove);
    }

    /// What the command returns if the stop signal ended the container: no failure of the service.
    fn exit_status_of_a_stop(&self) -> String {
        let named = self.document.text(SECTION, "StopSignal").and_then(signal::number);
        // SIGTERM, unless the image says otherwise, which nobody knows here.
        (128 + named.unwrap_or(15)).to_string()
    }

    fn reloading(&mut self, name: &str) {
        let document = self.document;
        let command = document.text(SECTION, "ReloadCmd").map(quoting::split);
        let signal = document.last(SECTION, "ReloadSignal");
        let mut words = self.program();
        match (command, signal) {
            (Some(_), Some(entry)) => {
                return self.skip(entry, "ReloadSignal= goes with no ReloadCmd=: one of the two");
            }
            (Some(command), None) => {
                words.extend(["exec".to_owned(), name.to_owned()]);
                words.extend(command);
            }
            (None, Some(entry)) => {
                words.extend(["kill", "--signal", entry.value(), name].map(str::to_owned));
            }
            (None, None) => return,
        }
        self.service.add_command("ExecReload", &words);
    }

    fn logging(&mut self, words: &mut Vec<String>) {
        let document = self.document;
        let Some(entry) = document.last(SECTION, "LogDriver") else { return };
        let driver = match entry.value() {
            // What the command shows is in the journal; those two have the container write there at once.
            "passthrough" | "passthrough-tty" => "none",
            "k8s-file" | "json-file" => "file",
            driver => driver,
        };
        if driver == "journald" {
            // The monitor writes there, with the fields of the container; once is enough.
            self.service.add_default("Service", "StandardOutput", "null");
            self.service.add_default("Service", "StandardError", "null");
        }
        words.extend(["--log-driver".to_owned(), driver.to_owned()]);
    }

    fn identity(&mut self, words: &mut Vec<String>) -> Result<(), Complaint> {
        let document = self.document;
        let user = document.text(SECTION, "User");
        let group = document.last(SECTION, "Group");
        let who = match (user, group) {
            (Some(user), Some(group)) => format!("{user}:{}", group.value()),
            (Some(user), None) => user.to_owned(),
            (None, Some(entry)) => {
                return Err(document.complain(entry, Weight::Unit, "Group= needs a User= beside it"));
            }
            (None, None) => return Ok(()),
        };
        words.extend(["--user".to_owned(), who]);
        Ok(())
    }

    fn files(&mut self, words: &mut Vec<String>) -> Result<(), Complaint> {
        let document = self.document;
        let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        for entry in document.lines(SECTION, "EnvironmentFile") {
            for file in quoting::split(entry.value()) {
                add("--env-file", self.absolute(&file));
            }
        }
        for entry in document.lines(SECTION, "Volume") {
            add("--volume", self.volume(entry)?);
        }
        for entry in document.lines(SECTION, "Mount") {
            for mount in quoting::split(entry.value()) {
                let mut entry = entry.clone();
                entry.assignment.value = mount;
                add("--mount", self.mount(&entry)?);
            }
        }
        if self.says("VolatileTmp") {
            add("--tmpfs", "/tmp".to_owned());
        }
        for entry in document.lines(SECTION, "AddDevice") {
            for device in quoting::split(entry.value()) {
                let optional = device.strip_prefix('-');
                let device = optional.unwrap_or(&device);
                let path = device.split(':').next().unwrap_or_default();
                if optional.is_none() || (self.host.exists)(std::path::Path::new(path)) {
                    add("--device", device.to_owned());
                }
            }
        }
        if let Some(entry) = document.last(SECTION, "Timezone") {
            match zone(entry.value()) {
                Some(file) => add("--volume", format!("{file}:/etc/localtime:ro")),
                None => {
                    let sentence = format!("Timezone={}: expected local or a name as Europe/Berlin", entry.value());
                    self.skip(entry, sentence);
                }
            }
        }
        Ok(())
    }

    fn networks(&mut self, words: &mut Vec<String>) -> Result<(), Complaint> {
        let document = self.document;
        for entry in document.lines(SECTION, "Network") {
            let value = entry.value();
            let (name, options) = value.split_once(':').map_or((value, None), |(name, rest)| (name, Some(rest)));
            let network = match (super::Kind::split(name), name) {
                (Some((_, super::Kind::Network)), _) => {
                    let name = self.refer(name, super::Kind::Network, entry)?;
                    options.map_or(name.clone(), |options| format!("{name}:{options}"))
                }
                (Some((_, super::Kind::Container)), _) => {
                    format!("container:{}", self.refer(name, super::Kind::Container, entry)?)
                }
                (_, "pasta" | "slirp4netns") if options.is_some() => {
                    self.skip(entry, format!("{name} is started as pybox sees fit; its options are left out"));
                    name.to_owned()
                }
                _ => value.to_owned(),
            };
            words.extend(["--network".to_owned(), network]);
        }
        Ok(())
    }

    fn security(&mut self, words: &mut Vec<String>) {
        for (key, option) in [
            ("NoNewPrivileges", "no-new-privileges"),
            ("SecurityLabelDisable", "label=disable"),
            ("SecurityLabelNested", "label=nested"),
        ] {
            if self.says(key) {
                words.extend(["--security-opt".to_owned(), option.to_owned()]);
            }
        }
    }
}

/// The file of a time zone.
fn zone(name: &str) -> Option<String> {
    if name == "local" {
        return Some("/etc/localtime".to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    let good = !name.starts_with('/') && name.chars().all(fits);
    good.then(|| format!("/usr/share/zoneinfo/{name}"))
}
