//! What a stage has come to: the configuration of its image so far, and its arguments. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::expand::{self, Quotes};
use super::graph::{Action, Argument, Command, Health};
use crate::model::flags::signal;

/// Where programs are sought if the image does not say so.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Arguments that need no declaration, and enter neither image nor key.
const PROXIES: [&str; 8] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy"];

/// A stage between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The member `config` of an image's configuration (OCI image-spec 1.1, config.md).
    pub config: Map<String, Value>,
    /// Who made it.
    pub author: Option<String>,
    arguments: BTreeMap<String, String>,
    sources: Arguments,
    quotes: Quotes,
    command_is_own: bool,
}

/// Where values of arguments come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The command line.
    pub given: BTreeMap<String, String>,
    /// What the file says before the first stage.
    pub global: BTreeMap<String, String>,
    /// What is always there, as `TARGETARCH`.
    pub platform: BTreeMap<String, String>,
}

impl State {
    /// A stage that begins with the configuration of its base.
    pub fn new(config: Map<String, Value>, sources: Arguments, quotes: Quotes) -> Self {
        let arguments = BTreeMap::new();
        Self { config, author: None, arguments, sources, quotes, command_is_own: false }
    }

    /// A stage that begins with this one as it is: arguments are its own, too.
    pub fn child(&self) -> Self {
        Self { command_is_own: false, ..self.clone() }
    }

    /// Replaces variables: those of the image come before arguments.
    ///
    /// # Errors
    /// With what is wrong with the text.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        self.expand_as(text, self.quotes)
    }

    /// The same for text that is no word of a file, as that of a file in a file.
    ///
    /// # Errors
    /// With what is wrong with the text.
    pub fn expand_as(&self, text: &str, quotes: Quotes) -> Result<String, String> {
        expand::expand(text, quotes, &|name| self.value(name))
    }

    /// Takes what the base has for those who build on it: instructions of a Dockerfile.
    pub fn take_triggers(&mut self) -> Vec<String> {
        let taken = self.config.remove("OnBuild");
        let texts = taken.as_ref().and_then(Value::as_array).into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// From now on texts are read with these quotes; returns those before.
    pub fn read_as(&mut self, quotes: Quotes) -> Quotes {
        std::mem::replace(&mut self.quotes, quotes)
    }

    fn value(&self, name: &str) -> Option<String> {
        let variables = self.config.get("Env").and_then(Value::as_array);
        let mut pairs = variables.into_iter().flatten().filter_map(|entry| entry.as_str()?.split_once('='));
        let of_image = pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
        let path = || (name == "PATH").then(|| PATH.to_owned());
        of_image.or_else(|| self.arguments.get(name).cloned()).or_else(path)
    }

    /// Takes a step that changes the configuration alone; false for one that does more.
    ///
    /// # Errors
    /// With what makes no sense.
    pub fn apply(&mut self, action: &Action) -> Result<bool, String> {
        match action {
            Action::Run(_) | Action::Copy(_) => return Ok(false),
            Action::Argument(argument) => self.declare(argument)?,
            Action::Environment(pairs) => {
                // All of them see what was before the first.
                let pairs = self.pairs(pairs)?;
                pairs.into_iter().try_for_each(|(name, value)| self.set_variable(&name, &value))?;
            }
            Action::Directory(path) => {
                let path = self.expand(path)?;
                let path = self.absolute(&path);
                self.set("WorkingDir", json!(path));
            }
            Action::User(user) => {
                let user = self.expand(user)?;
                crate::model::flags::account::parse_user(&user).map_err(|error| error.to_string())?;
                self.set("User", json!(user));
            }
            Action::Labels(pairs) => {
                for (key, value) in self.pairs(pairs)? {
                    self.member("Labels", &key, json!(value));
                }
            }
            Action::Expose(ports) => {
                for port in ports {
                    for port in exposed(&self.expand(port)?)? {
                        self.member("ExposedPorts", &port, json!({}));
                    }
                }
            }
            Action::Volumes(paths) => {
                for path in paths {
                    let path = self.expand(path)?;
                    let path = self.absolute(&path);
                    self.member("Volumes", &path, json!({}));
                }
            }
            Action::Entrypoint(command) => {
                let words = self.words(command);
                self.set("Entrypoint", json!(words));
                if !self.command_is_own {
                    // The base's was meant for another program.
                    self.config.remove("Cmd");
                }
            }
            Action::Command(command) => {
                let words = self.words(command);
                self.set("Cmd", json!(words));
                self.command_is_own = true;
            }
            Action::Health(health) => {
                let health = self.health(health.as_ref());
                self.set("Healthcheck", health);
            }
            Action::Shell(words) => self.set("Shell", json!(words)),
            Action::StopSignal(name) => {
                let name = self.expand(name)?;
                signal::number(&name).ok_or_else(|| format!("there is no signal {name:?}"))?;
                self.set("StopSignal", json!(name));
            }
            Action::Author(author) => self.author = Some(self.expand(author)?),
            // Its variables are those of whoever builds on the image.
            Action::Trigger(text) => {
                let known = self.config.entry("OnBuild").or_insert_with(|| json!([]));
                match known.as_array_mut() {
                    Some(known) => known.push(json!(text)),
                    None => *known = json!([text]),
                }
            }
        }
        Ok(true)
    }

    fn pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
        let pair = |(name, value): &(String, String)| Ok((self.expand(name)?, self.expand(value)?));
        pairs.iter().map(pair).collect()
    }

    fn declare(&mut self, argument: &Argument) -> Result<(), String> {
        let name = &argument.name;
        let default = argument.default.as_ref().map(|text| self.expand(text)).transpose()?;
        let sources = &self.sources;
        let value = sources.given.get(name).cloned().or(default);
        let value = value.or_else(|| sources.global.get(name).or_else(|| sources.platform.get(name)).cloned());
        if let Some(value) = value {
            self.arguments.insert(name.clone(), value);
        }
        Ok(())
    }

    fn set_variable(&mut self, name: &str, value: &str) -> Result<(), String> {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("{name:?} is no name of a variable"));
        }
        let variables = self.config.entry("Env").or_insert_with(|| json!([]));
        if !variables.is_array() {
            *variables = json!([]);
        }
        if let Value::Array(variables) = variables {
            let prefix = format!("{name}=");
            let entry = json!(format!("{prefix}{value}"));
            let known = variables.iter_mut().find(|known| known.as_str().is_some_and(|text| text.starts_with(&prefix)));
            match known {
                Some(known) => *known = entry,
                None => variables.push(entry),
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: Value) {
        self.config.insert(key.to_owned(), value);
    }

    fn member(&mut self, key: &str, name: &str, value: Value) {
        let object = self.config.entry(key).or_insert_with(|| json!({}));
        if !object.is_object() {
            *object = json!({});
        }
        if let Value::Object(object) = object {
            object.insert(name.to_owned(), value);
        }
    }

    /// The words of a command: text is for the shell.
    pub fn words(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Words(words) => words.clone(),
            Command::Text(text) => {
                let shell = self.config.get("Shell").and_then(Value::as_array);
                let own = shell.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
                let mut words: Vec<String> = own.collect();
                if words.is_empty() {
                    words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
                }
                words.push(text.clone());
                words
            }
        }
    }

    /// The working directory.
    pub fn directory(&self) -> &str {
        self.config.get("WorkingDir").and_then(Value::as_str).filter(|path| !path.is_empty()).unwrap_or("/")
    }

    /// The user that commands run as; empty for root.
    pub fn user(&self) -> &str {
        self.config.get("User").and_then(Value::as_str).unwrap_or_default()
    }

    /// `path` from the working directory, without dots.
    pub fn absolute(&self, path: &str) -> String {
        let all = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.directory()) };
        let mut parts: Vec<&str> = Vec::new();
        for part in all.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }

    /// The arguments that a command sees as variables: those that the image has no variable of that name for.
    pub fn environment(&self) -> Vec<(String, String)> {
        let own = self.arguments.iter().filter(|(name, _)| !self.has_variable(name));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whether the image has a variable of that name.
    pub fn has_variable(&self, name: &str) -> bool {
        let variables = self.config.get("Env").and_then(Value::as_array);
        let mut entries = variables.into_iter().flatten().filter_map(Value::as_str);
        entries.any(|entry| entry.split_once('=').is_some_and(|(known, _)| known == name))
    }

    /// Proxies that the command line gives: for commands, and nothing else.
    pub fn proxies(&self) -> Vec<(String, String)> {
        let given = |name: &&str| Some(((*name).to_owned(), self.sources.given.get(*name)?.clone()));
        PROXIES.iter().filter_map(given).collect()
    }

    /// In the words of docker's images.
    fn health(&self, health: Option<&Health>) -> Value {
        let Some(health) = health else { return json!({ "Test": ["NONE"] }) };
        let test = match &health.command {
            // The shell is docker's own, which the image's health check brings.
            Some(Command::Text(text)) if self.config.get("Shell").is_none() => json!(["CMD-SHELL", text]),
            Some(command) => {
                let words = self.words(command);
                json!(["CMD".to_owned()].into_iter().chain(words).collect::<Vec<_>>())
            }
            None => json!([]),
        };
        let mut value = json!({ "Test": test });
        for (key, number) in [
            ("Interval", health.interval),
            ("Timeout", health.timeout),
            ("StartPeriod", health.start_period),
            ("StartInterval", health.start_interval),
            ("Retries", health.retries),
        ] {
            if let (Some(number), Some(object)) = (number, value.as_object_mut()) {
                object.insert(key.to_owned(), json!(number));
            }
        }
        value
    }
}

/// Whether an argument needs no declaration.
pub fn is_proxy(name: &str) -> bool {
    PROXIES.contains(&name)
}

/// `80`, `53/udp` or `8000-8002`, as images have them.
///
/// # Errors
/// If that is no port.
pub fn exposed(text: &str) -> Result<Vec<String>, String> {
    let refuse = || format!("{text:?} is no port, as in 80, 53/udp or 8000-8002");
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0 && !text.starts_with('+'));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") => {
            Ok((first..=last).map(|number| format!("{number}/{protocol}")).collect())
        }
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let config = json!({ "Env": ["PATH=/bin", "HOME_DIR=/h"], "Cmd": ["old"], "WorkingDir": "/srv" });
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let sources = Arguments {
            given: map(&[("VERSION", "2"), ("http_proxy", "http://p")]),
            global: map(&[("TAG", "12")]),
            platform: map(&[("TARGETARCH", "amd64")]),
        };
        State::new(config.as_object().cloned().unwrap_or_default(), sources, Quotes::Plain)
    }

    fn argument(name: &str, default: Option<&str>) -> Action {
        Action::Argument(Argument { name: name.into(), default: default.map(Into::into) })
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn arguments_come_from_the_command_line_the_file_and_the_platform() {
        let mut state = state();
        assert_eq!(state.expand("$VERSION$TAG").as_deref(), Ok(""), "not declared");
        for (name, default) in
            [("VERSION", Some("1")), ("TAG", None), ("TARGETARCH", None), ("NONE", None), ("HOME_DIR", Some("/x"))]
        {
            assert_eq!(state.apply(&argument(name, default)), Ok(true));
        }
        let text = state.expand("$VERSION $TAG $TARGETARCH [$NONE] $HOME_DIR");
        assert_eq!(text.as_deref(), Ok("2 12 amd64 [] /h"), "variables of the image come first");
        let names: Vec<_> = state.environment().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["TAG", "TARGETARCH", "VERSION"]);
        assert_eq!(state.proxies(), [pair("http_proxy", "http://p")]);
    }

    #[test]
    fn steps_change_the_configuration() {
        let mut state = state();
        let steps = [
            Action::Environment(vec![pair("A", "1"), pair("B", "$A"), pair("PATH", "/venv:$PATH")]),
            Action::Directory("app".into()),
            Action::Directory("../$A".into()),
            Action::User("1000:app".into()),
            Action::Labels(vec![pair("k", "v$A")]),
            Action::Expose(vec!["80".into(), "53/UDP".into(), "8000-8001".into()]),
            Action::Volumes(vec!["data".into()]),
            Action::Shell(vec!["/bin/bash".into(), "-ec".into()]),
            Action::Entrypoint(Command::Text("exec serve".into())),
            Action::StopSignal("SIGINT".into()),
            Action::Health(Some(Health {
                command: Some(Command::Words(vec!["true".into()])),
                interval: Some(30_000_000_000),
                retries: Some(3),
                ..Health::default()
            })),
            Action::Author("$A".into()),
            Action::Trigger("RUN echo $A".into()),
        ];
        for step in &steps {
            assert_eq!(state.apply(step), Ok(true), "{step:?}");
        }
        let expected = json!({
            "Env": ["PATH=/venv:/bin", "HOME_DIR=/h", "A=1", "B="], "WorkingDir": "/srv/1", "User": "1000:app",
            "Labels": { "k": "v1" }, "ExposedPorts": { "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {} },
            "Volumes": { "/srv/1/data": {} }, "Shell": ["/bin/bash", "-ec"],
            "Entrypoint": ["/bin/bash", "-ec", "exec serve"], "StopSignal": "SIGINT",
            "Healthcheck": { "Test": ["CMD", "true"], "Interval": 30_000_000_000_u64, "Retries": 3 },
            "OnBuild": ["RUN echo $A"],
        });
        assert_eq!(Value::Object(state.config.clone()), expected);
        assert_eq!(state.author.as_deref(), Some("1"));
        assert_eq!(state.words(&Command::Text("x y".into())), ["/bin/bash", "-ec", "x y"]);
        assert_eq!(state.absolute("/a/./b/../../../c"), "/c");
        assert_eq!((state.take_triggers(), state.take_triggers()), (vec!["RUN echo $A".to_owned()], vec![]));
    }

    #[test]
    fn a_command_of_the_file_outlives_its_entrypoint() {
        let mut state = state();
        state.apply(&Action::Command(Command::Words(vec!["new".into()]))).expect("a command");
        state.apply(&Action::Entrypoint(Command::Words(vec!["/e".into()]))).expect("an entrypoint");
        assert_eq!(state.config.get("Cmd"), Some(&json!(["new"])));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (action, why) in [
            (Action::User(":x".into()), "invalid value"),
            (Action::Expose(vec!["0".into()]), "is no port"),
            (Action::Expose(vec!["80/icmp".into()]), "is no port"),
            (Action::Expose(vec!["9-8".into()]), "is no port"),
            (Action::StopSignal("SIGNO".into()), "no signal"),
            (Action::Environment(vec![pair("", "x")]), "no name of a variable"),
            (Action::Directory("${A".into()), "followed by none of"),
        ] {
            let error = state().apply(&action).expect_err("refused");
            assert!(error.contains(why), "{action:?}: {error}");
        }
    }
}
