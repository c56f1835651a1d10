//! `pybox port`.

use serde_json::Value;

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::{Inspect, ObjectKind};

/// Show which ports of a container are published
#[derive(Debug, clap::Args)]
#[command(after_help = "Prints a line for each published port, as `80/tcp -> 0.0.0.0:8080`; with PORT, only where it \
    is published.")]
pub(crate) struct Args {
    /// The container: its name, or its id or the beginning of it
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// A port of the container, with /tcp (which is meant otherwise), /udp or /sctp
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let port = self.port.as_deref().map(port).transpose()?;
        let question = Inspect { name: self.container.clone(), kind: Some(ObjectKind::Container), sizes: false };
        let container = session.call(question).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        let published = published(&container);
        let Some(port) = port else {
            for (port, place) in &published {
                writeln!(session.output(), "{port} -> {place}")?;
            }
            return Ok(DONE);
        };
        let mut places = published.iter().filter(|(published, _)| *published == port).peekable();
        if places.peek().is_none() {
            let sentence = format!("no public port '{port}' published for {}", self.container);
            return Err(Problem::user(sentence).hint(format!("pybox port {}", self.container)));
        }
        for (_, place) in places {
            writeln!(session.output(), "{place}")?;
        }
        Ok(DONE)
    }
}

/// Each published port with where it is, from docker's map of `80/tcp` to a list of addresses.
fn published(container: &Value) -> Vec<(String, String)> {
    let ports = container.pointer("/NetworkSettings/Ports").and_then(Value::as_object);
    let mut published = Vec::new();
    for (port, bindings) in ports.into_iter().flatten() {
        for binding in bindings.as_array().into_iter().flatten() {
            let text = |key: &str| binding.get(key).and_then(Value::as_str).unwrap_or_default();
            let address = text("HostIp");
            let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            published.push((port.clone(), format!("{address}:{}", text("HostPort"))));
        }
    }
    published
}

/// Reads `80` or `53/udp`.
fn port(text: &str) -> Result<String, Problem> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    match number.parse::<u16>() {
        Ok(number) if number > 0 && ["tcp", "udp", "sctp"].contains(&protocol.as_str()) => {
            Ok(format!("{number}/{protocol}"))
        }
        _ => {
            let sentence =
                format!("invalid port {text:?}: expected a number from 1 to 65535, with /tcp, /udp or /sctp");
            Err(Problem::user(sentence).hint("pybox port --help"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_read() {
        for (text, meant) in [("80", "80/tcp"), ("53/udp", "53/udp"), ("53/UDP", "53/udp")] {
            assert_eq!(port(text).map_err(|problem| problem.to_string()).as_deref(), Ok(meant));
        }
        for bad in ["", "0", "65536", "http", "80/icmp", "80/"] {
            assert!(port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_published_is_dockers_map() {
        let container = json!({ "NetworkSettings": { "Ports": {
            "53/udp": null,
            "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }, { "HostIp": "::", "HostPort": "8080" }],
        } } });
        let lines: Vec<_> = published(&container).into_iter().map(|(port, at)| format!("{port} -> {at}")).collect();
        assert_eq!(lines, ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]);
        assert!(published(&json!({})).is_empty());
    }
}
