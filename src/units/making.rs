//! The making of units: from all files to all services.

use std::collections::BTreeMap;
use std::path::Path;

use super::complaint::{Complaint, Weight};
use super::document::{Document, Entry, Found, is_unit_name};
use super::keys::{self, Meaning};
use super::kind::Kind;
use super::service::Service;
use super::{install, quoting, syntax};

/// What is to be known of the machine.
#[derive(Clone, Copy)]
pub struct Host<'h> {
    /// The program that units start, by absolute path.
    pub program: &'h str,
    /// Whether the units are for the manager of a user.
    pub user: bool,
    /// Whether there is such a file.
    pub exists: &'h dyn Fn(&Path) -> bool,
}

/// A unit that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The name of its file, as in `web.service`.
    pub name: String,
    /// The file that it was made of.
    pub source: std::path::PathBuf,
    /// Its text.
    pub text: String,
    /// The words of its `ExecStart=`.
    pub start: Vec<String>,
    /// Links to make: path below the generator's directory, and target.
    pub links: Vec<(String, String)>,
}

/// All that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// The units.
    pub units: Vec<Unit>,
    /// What is wrong with the files, in their order.
    pub complaints: Vec<Complaint>,
}

/// What others need to know of a file.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) service: String,
    /// The name of the volume, network, image or container.
    pub(super) resource: Option<String>,
}

/// One unit that is being made.
pub(super) struct Making<'m> {
    pub(super) document: &'m Document,
    pub(super) known: &'m BTreeMap<String, Known>,
    pub(super) host: Host<'m>,
    pub(super) service: Service,
    pub(super) complaints: Vec<Complaint>,
}

/// Makes a unit of each file.
#[must_use]
pub fn generate(files: &[Found], host: Host<'_>) -> Generated {
    let mut generated = Generated::default();
    let mut documents = Vec::new();
    for found in files {
        match Document::read(found, &mut generated.complaints) {
            Some(document) => documents.push(document),
            None => generated.complaints.push(foreign(found)),
        }
    }
    let known: BTreeMap<_, _> = documents.iter().map(|document| (document.name.clone(), know(document))).collect();
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for document in &documents {
        let service = Service::new();
        let mut making = Making { document, known: &known, host, service, complaints: Vec::new() };
        let made = making.make();
        generated.complaints.append(&mut making.complaints);
        match made {
            Ok(unit) => match taken.insert(unit.name.clone(), document.name.clone()) {
                None => generated.units.push(unit),
                Some(first) => {
                    let sentence =
                        format!("{} is made of {first} already; ServiceName= gives it another name", unit.name);
                    generated.complaints.push(document.refuse(sentence));
                    taken.insert(unit.name, first);
                }
            },
            Err(complaint) => generated.complaints.push(complaint),
        }
    }
    generated
}

fn foreign(found: &Found) -> Complaint {
    let sentence = match found.name.rsplit_once('.') {
        Some((_, "pod" | "kube")) => "there are no pods; put the containers on one .network".to_owned(),
        _ => "expected a name that ends in .container, .volume, .network, .build or .image".to_owned(),
    };
    Complaint { path: found.main.path.clone(), line: 0, weight: Weight::Unit, sentence }
}

fn know(document: &Document) -> Known {
    let section = document.kind.section();
    let text = |key: &str| document.text(section, key).map(str::to_owned);
    let resource = match document.kind {
        Kind::Image => text("ImageTag").or_else(|| text("Image")),
        Kind::Build => document.lines(section, "ImageTag").first().map(|entry| entry.value().to_owned()),
        Kind::Volume => Some(text("VolumeName").unwrap_or_else(|| format!("systemd-{}", plain(&document.stem)))),
        Kind::Network => Some(text("NetworkName").unwrap_or_else(|| format!("systemd-{}", plain(&document.stem)))),
        // What %N is in the other's unit is known here; of a template it is not.
        Kind::Container => text("ContainerName")
            .or_else(|| Some(format!("systemd-{}", document.service())))
            .filter(|name| !name.contains(['@', '%'])),
    };
    Known { service: document.service(), resource }
}

/// The instance is a part of the name that volumes and networks can have.
fn plain(stem: &str) -> String {
    stem.trim_end_matches('@').replace('@', "_")
}

/// Keys of `[Unit]` whose values are units, so that they may name our files too.
const DEPENDENCIES: [&str; 15] = [
    "After",
    "Before",
    "BindsTo",
    "Conflicts",
    "OnFailure",
    "OnSuccess",
    "PartOf",
    "PropagatesReloadTo",
    "PropagatesStopTo",
    "ReloadPropagatedFrom",
    "Requires",
    "Requisite",
    "StopPropagatedFrom",
    "Upholds",
    "Wants",
];

impl Making<'_> {
    fn make(&mut self) -> Result<Unit, Complaint> {
        let document = self.document;
        let kind = document.kind;
        self.judge();
        if !document.has_section(kind.section()) {
            return Err(document.refuse(format!("there is no section [{}]", kind.section())));
        }
        let service = document.service();
        if !is_unit_name(&service) {
            return Err(document.refuse(format!("{service:?} can be no name of a service")));
        }
        self.begin();
        match kind {
            Kind::Container => self.container()?,
            Kind::Volume => self.create_volume(),
            Kind::Network => self.create_network()?,
            Kind::Image => self.pull()?,
            Kind::Build => self.build()?,
        }
        for entry in document.section("Install") {
            self.service.add("Install", &entry.assignment.key, entry.value());
        }
        let links = install::links(document, &service, &mut self.complaints);
        let start = self.service.values("Service", "ExecStart").last().map(quoting::split).unwrap_or_default();
        let origin = format!("Made by pybox-generator of {}", document.path().display());
        let (text, source) = (self.service.text(&origin), document.path().to_owned());
        Ok(Unit { name: format!("{service}.service"), source, text, start, links })
    }

    /// Tells of sections and keys that are of no use.
    fn judge(&mut self) {
        let (document, kind) = (self.document, self.document.kind);
        for entry in document.entries() {
            let (section, key) = (entry.assignment.section.as_str(), entry.assignment.key.as_str());
            if section != kind.section() && section != "Quadlet" {
                let elsewhere = Kind::ALL.iter().any(|kind| kind.section() == section);
                if elsewhere || !(matches!(section, "Unit" | "Service" | "Install") || section.starts_with("X-")) {
                    let sentence = format!("a .{} has no section [{section}]", kind.extension());
                    self.complaints.push(document.complain(entry, Weight::Line, sentence));
                }
                continue;
            }
            let sentence = match keys::meaning(kind, section, key) {
                Some(Meaning::Refused(reason)) => format!("{key}= is not supported: {reason}"),
                Some(_) => continue,
                None => match keys::similar(kind, section, key) {
                    Some(similar) => {
                        format!("there is no {key}= in [{section}]; {similar}= is one letter off or of another case")
                    }
                    None => format!("there is no {key}= in [{section}]"),
                },
            };
            self.complaints.push(document.complain(entry, Weight::Line, sentence));
        }
    }

    /// What all services have in common: the file's own `[Unit]` and `[Service]`, and what goes before.
    fn begin(&mut self) {
        let document = self.document;
        if document.switch("Quadlet", "DefaultDependencies", &mut self.complaints) != Some(false) {
            let online =
                if self.host.user { "pybox-user-wait-network-online.service" } else { "network-online.target" };
            self.service.add("Unit", "Wants", online);
            self.service.add("Unit", "After", online);
        }
        for entry in document.section("Unit") {
            let key = entry.assignment.key.as_str();
            let value = if DEPENDENCIES.contains(&key) { self.depend(entry) } else { entry.value().to_owned() };
            self.service.add("Unit", key, value);
        }
        // Not escaped: SourcePath= takes the rest of the line, but for specifiers.
        let path = document.path().display().to_string().replace('%', "%%");
        if !path.contains(|c: char| c.is_control()) {
            self.service.add("Unit", "SourcePath", path);
        }
        let aside = format!("X-{}", document.kind.section());
        for entry in document.section(document.kind.section()) {
            self.service.add(&aside, &entry.assignment.key, entry.value());
        }
        for entry in document.section("Service") {
            let (key, value) = (entry.assignment.key.as_str(), entry.value());
            match key {
                "ExecStart" => {
                    let sentence = format!("ExecStart= is what [{}] says", document.kind.section());
                    self.complaints.push(document.complain(entry, Weight::Line, sentence));
                }
                // Each kind sees to its own.
                "Type" | "KillMode" => {}
                _ => self.service.add("Service", key, value),
            }
        }
    }

    /// A list of units with our files replaced by the services they become.
    fn depend(&mut self, entry: &Entry) -> String {
        // Names of units keep their backslashes: they are systemd's own escapes.
        let mut units = Vec::new();
        for word in entry.value().split_whitespace() {
            if Kind::split(word).is_none() {
                units.push(word.to_owned());
            } else if let Some(known) = self.known.get(word) {
                units.push(format!("{}.service", known.service));
            } else {
                let sentence = format!("there is no {word} beside it or in another directory of units");
                self.complaints.push(self.document.complain(entry, Weight::Line, sentence));
            }
        }
        units.join(" ")
    }

    /// The program with the options that go before a verb.
    pub(super) fn program(&self) -> Vec<String> {
        let global = self.document.words(self.document.kind.section(), "GlobalArgs");
        std::iter::once(self.host.program.replace('%', "%%")).chain(global).collect()
    }

    /// The flags of all keys that are flags and no more, in the order of the list.
    pub(super) fn flags(&mut self, words: &mut Vec<String>) {
        let (document, section) = (self.document, self.document.kind.section());
        for (key, meaning) in keys::of(document.kind) {
            let mut add = |flag: &str, value: &str| words.extend([flag.to_owned(), value.to_owned()]);
            match meaning {
                Meaning::Flag(flag) => document.text(section, key).into_iter().for_each(|value| add(flag, value)),
                Meaning::Lines(flag) => {
                    document.lines(section, key).iter().for_each(|entry| add(flag, entry.value()));
                }
                Meaning::Words(flag) => document.words(section, key).iter().for_each(|value| add(flag, value)),
                Meaning::Security(name) => {
                    let values = document.words(section, key);
                    values.iter().for_each(|value| add("--security-opt", &format!("{name}{value}")));
                }
                Meaning::Pairs(flag) => {
                    for pair in self.pairs(key) {
                        add(flag, &pair);
                    }
                }
                Meaning::Switch(flag) => {
                    if document.switch(section, key, &mut self.complaints) == Some(true) {
                        words.push((*flag).to_owned());
                    }
                }
                Meaning::Own | Meaning::Refused(_) => {}
            }
        }
    }

    /// The words of a key that are `NAME=VALUE`, the last one of a name where it was first. A name alone
    /// on its line is one too: a variable that is handed on, a label without value. Beside other words it
    /// is rather a value that lacks its quotes.
    fn pairs(&mut self, key: &str) -> Vec<String> {
        let (document, section) = (self.document, self.document.kind.section());
        let mut pairs: Vec<(String, String)> = Vec::new();
        for entry in document.lines(section, key) {
            let words = quoting::split(entry.value());
            let alone = words.len() == 1;
            for word in words {
                let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name).to_owned();
                if name.is_empty() || !alone && !word.contains('=') {
                    let sentence = format!("{key}={word}: expected NAME=VALUE; quotes keep blanks in a value");
                    self.complaints.push(document.complain(entry, Weight::Line, sentence));
                    continue;
                }
                match pairs.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, pair)) => *pair = word,
                    None => pairs.push((name, word)),
                }
            }
        }
        pairs.into_iter().map(|(_, pair)| pair).collect()
    }

    /// Adds the arguments that the file hands on as they are.
    pub(super) fn own_arguments(&self, words: &mut Vec<String>) {
        for key in ["PodmanArgs", "PyboxArgs"] {
            words.extend(self.document.words(self.document.kind.section(), key));
        }
    }

    /// A service that does one thing, and is done.
    pub(super) fn one_shot(&mut self, command: &[String], remains: bool) {
        self.service.add_command("ExecStart", command);
        let own = self.document.text("Service", "Type").filter(|kind| *kind == "oneshot" || *kind == "exec");
        self.service.add("Service", "Type", own.unwrap_or("oneshot"));
        if remains {
            self.service.add_default("Service", "RemainAfterExit", "yes");
        }
        self.service.add_default("Service", "SyslogIdentifier", "%N");
        if let Some(mode) = self.document.text("Service", "KillMode") {
            self.service.add("Service", "KillMode", mode);
        }
    }

    /// A complaint that costs one line.
    pub(super) fn skip(&mut self, entry: &Entry, sentence: impl Into<String>) {
        self.complaints.push(self.document.complain(entry, Weight::Line, sentence));
    }

    /// Whether a key of our section says yes.
    pub(super) fn says(&mut self, key: &str) -> bool {
        self.document.switch(self.document.kind.section(), key, &mut self.complaints) == Some(true)
    }

    /// Whether the value is a boolean that says yes, without a word if it is something else.
    pub(super) fn is_yes(value: &str) -> bool {
        syntax::boolean(value) == Some(true)
    }
}
