//! `--log-driver` and `--log-opt`.

use super::{InvalidFlag, size};
use crate::model::supervision::{LogDriver, LogRequest};

/// Reads a driver; docker's and podman's names for files are taken too.
///
/// # Errors
/// For a driver that does not exist here.
pub fn driver(text: &str) -> Result<LogDriver, InvalidFlag> {
    match text {
        "file" | "json-file" | "k8s-file" | "local" => Ok(LogDriver::File),
        "journald" => Ok(LogDriver::Journald),
        "none" => Ok(LogDriver::None),
        _ => Err(InvalidFlag::new("--log-driver", text, "expected file, journald or none")),
    }
}

/// Words of `tag=` between `{{` and `}}`.
const WORDS: [&str; 4] = [".ID", ".FullID", ".Name", ".ImageName"];

/// Takes `max-size=SIZE`, `max-file=N`, `tag=TEXT`, `labels=KEY,…` or `env=NAME,…` into `request`.
///
/// # Errors
/// For another option, and a value that is none.
pub fn option(text: &str, request: &mut LogRequest) -> Result<(), InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new("--log-opt", text, reason);
    match text.split_once('=') {
        Some(("max-size", "-1")) => request.max_size = None,
        Some(("max-size", value)) => match size::parse("--log-opt", value)? {
            0..4096 => return Err(refuse("expected a size of 4k or more")),
            bytes => request.max_size = Some(bytes),
        },
        Some(("max-file", value)) => {
            let number = value.parse().ok().filter(|number| (1..=1000).contains(number));
            request.max_file = Some(number.ok_or_else(|| refuse("expected a number from 1 to 1000"))?);
        }
        Some(("tag", value)) => request.tag = Some(value).filter(|tag| !tag.is_empty()).map(tag).transpose()?,
        Some(("labels", value)) => request.labels = fields(value, text)?,
        Some(("env", value)) => request.env = fields(value, text)?,
        _ => return Err(refuse("expected max-size=SIZE, max-file=N, tag=TEXT, labels=KEY,… or env=NAME,…")),
    }
    Ok(())
}

/// Refuses options that the driver makes nothing of.
///
/// # Errors
/// If there are some.
pub fn check(request: &LogRequest) -> Result<(), InvalidFlag> {
    let named = request.tag.is_some() || !request.labels.is_empty() || !request.env.is_empty();
    if named && request.driver != LogDriver::Journald {
        let text = request.tag.as_ref().map_or("labels, env", |_| "tag");
        return Err(InvalidFlag::new("--log-opt", text, "only --log-driver journald has a use for it"));
    }
    Ok(())
}

fn tag(text: &str) -> Result<String, InvalidFlag> {
    let refuse = |reason: &str| Err(InvalidFlag::new("--log-opt", text, reason));
    if text.contains('\0') || text.contains('\n') {
        return refuse("expected one line");
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        match after.split_once("}}") {
            Some((word, after)) if WORDS.contains(&word.trim()) => rest = after,
            _ => return refuse("expected {{.ID}}, {{.FullID}}, {{.Name}} or {{.ImageName}}"),
        }
    }
    Ok(text.to_owned())
}

fn fields(value: &str, text: &str) -> Result<Vec<String>, InvalidFlag> {
    let keys: Vec<String> = value.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
    if keys.iter().all(|key| field(key).is_some()) {
        return Ok(keys);
    }
    Err(InvalidFlag::new("--log-opt", text, "a key is no name for a field of the journal"))
}

/// The name of the journal's field for a label or variable, made as docker makes it; none where that has no letter, or is
/// the name of a field that means something else.
#[must_use]
pub fn field(key: &str) -> Option<String> {
    let letters = key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    let name: String = letters.collect();
    let name = name.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit());
    let taken = ["CONTAINER_", "PYBOX_", "SYSLOG_"].iter().any(|prefix| name.starts_with(prefix))
        || ["MESSAGE", "MESSAGE_ID", "PRIORITY", "IMAGE_NAME"].contains(&name);
    (!name.is_empty() && name.len() <= 64 && !taken).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_as_docker_names_them() {
        for (key, name) in [
            ("tier", Some("TIER")),
            ("org.example.a-b", Some("ORG_EXAMPLE_A_B")),
            ("_1x", Some("X")),
            ("message", None),
            ("pybox.event", None),
            ("container_name", None),
            ("--", None),
        ] {
            assert_eq!(field(key).as_deref(), name, "{key}");
        }
    }

    #[test]
    fn options_of_the_journal() {
        let mut request = LogRequest { driver: LogDriver::Journald, ..LogRequest::default() };
        for text in ["tag={{.Name}}/{{ .ID }}", "labels=tier,,a.b", "env=HOME"] {
            option(text, &mut request).expect(text);
        }
        assert_eq!(request.tag.as_deref(), Some("{{.Name}}/{{ .ID }}"));
        assert_eq!(
            (request.labels.as_slice(), request.env.len()),
            (["tier".to_owned(), "a.b".to_owned()].as_slice(), 1)
        );
        assert!(check(&request).is_ok());
        assert!(check(&LogRequest { driver: LogDriver::File, ..request.clone() }).is_err());
        for text in ["tag={{.DaemonName}}", "tag={{.Name", "tag=a\nb", "labels=message", "env=__", "mode=x"] {
            assert!(option(text, &mut request).is_err(), "{text}");
        }
    }
}
