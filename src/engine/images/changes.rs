//! Instructions of a Dockerfile that change an image's configuration, as
//! `import --change` takes them. Pure: text in, a configuration out.

use serde_json::{Map, Value, json};

use crate::engine::api::{Failure, FailureKind};
use crate::model::flags::{label, signal};

/// The member `config` of an image's configuration that `changes` make, each
/// one instruction.
///
/// # Errors
/// For an instruction that is unknown or that its arguments do not fit.
pub(super) fn config(changes: &[String]) -> Result<Value, Failure> {
    let mut config = Map::new();
    for change in changes {
        let change = change.trim();
        let (word, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
        let rest = rest.trim();
        let applied =
            if rest.is_empty() { Err("it has no argument".to_owned()) } else { apply(&mut config, word, rest) };
        applied.map_err(|why| {
            let failure = Failure::say(FailureKind::Invalid, format!("invalid change {change:?}: {why}"));
            failure.hint("give one instruction of a Dockerfile, as in --change 'CMD [\"serve\"]'".to_owned())
        })?;
    }
    Ok(Value::Object(config))
}

fn apply(config: &mut Map<String, Value>, word: &str, rest: &str) -> Result<(), String> {
    match word.to_ascii_uppercase().as_str() {
        "CMD" => set(config, "Cmd", command(rest)?),
        "ENTRYPOINT" => set(config, "Entrypoint", command(rest)?),
        "ENV" => return environment(config, rest),
        "LABEL" => {
            for word in words(rest)? {
                let (key, value) = label::parse(&word).map_err(|error| error.to_string())?;
                member(config, "Labels", &key, json!(value));
            }
        }
        "EXPOSE" => {
            for word in words(rest)? {
                member(config, "ExposedPorts", &port(&word)?, json!({}));
            }
        }
        "VOLUME" => {
            for path in list(rest).map_or_else(|| words(rest), Ok)? {
                absolute(&path)?;
                member(config, "Volumes", &path, json!({}));
            }
        }
        "WORKDIR" => {
            absolute(rest)?;
            set(config, "WorkingDir", json!(rest));
        }
        "USER" => set(config, "User", json!(rest)),
        "STOPSIGNAL" => {
            signal::number(rest).ok_or("there is no such signal")?;
            set(config, "StopSignal", json!(rest));
        }
        _ => {
            let known = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR are known";
            return Err(known.to_owned());
        }
    }
    Ok(())
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

fn member(config: &mut Map<String, Value>, key: &str, name: &str, value: Value) {
    let object = config.entry(key).or_insert_with(|| json!({}));
    if let Value::Object(object) = object {
        object.insert(name.to_owned(), value);
    }
}

/// `["a", "b"]`, or words for a shell.
fn command(rest: &str) -> Result<Value, String> {
    match list(rest) {
        Some(words) => Ok(json!(words)),
        None if rest.starts_with('[') => Err("the list is no JSON array of strings".to_owned()),
        None => Ok(json!(["/bin/sh", "-c", rest])),
    }
}

fn list(rest: &str) -> Option<Vec<String>> {
    serde_json::from_str(rest).ok()
}

/// `A=b C="d e"`, or the older `A b c`.
fn environment(config: &mut Map<String, Value>, rest: &str) -> Result<(), String> {
    let first = rest.split_whitespace().next().unwrap_or_default();
    let words = if first.contains('=') {
        words(rest)?
    } else {
        let (name, value) = rest.split_once(char::is_whitespace).ok_or("a variable has no value")?;
        vec![format!("{name}={}", value.trim_start())]
    };
    let variables = config.entry("Env").or_insert_with(|| json!([]));
    for word in words {
        let (name, _) = word.split_once('=').ok_or("a variable has no value")?;
        if name.is_empty() {
            return Err("a variable has no name".to_owned());
        }
        if let Value::Array(variables) = variables {
            let prefix = format!("{name}=");
            variables.retain(|variable| variable.as_str().is_none_or(|variable| !variable.starts_with(&prefix)));
            variables.push(json!(word));
        }
    }
    Ok(())
}

/// Splits at blanks, but not within quotes; a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                word.push(characters.next().ok_or("it ends in a backslash")?);
                begun = true;
            }
            ('"' | '\'', None) => (quote, begun) = (Some(character), true),
            (_, Some(open)) if character == open => quote = None,
            (_, None) if character.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(character);
                begun = true;
            }
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(begun.then_some(word));
    Ok(words)
}

fn port(word: &str) -> Result<String, String> {
    let (number, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let valid =
        number.parse::<u16>().is_ok_and(|number| number > 0) && number.bytes().all(|byte| byte.is_ascii_digit());
    if !valid || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(format!("{word:?} is no port"));
    }
    Ok(format!("{number}/{protocol}"))
}

fn absolute(path: &str) -> Result<(), String> {
    if path.starts_with('/') { Ok(()) } else { Err(format!("{path:?} is no absolute path")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<Value, Failure> {
        config(&changes.iter().map(|change| (*change).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn instructions_change_the_configuration() {
        let cases: [(&[&str], Value); 10] = [
            (&[], json!({})),
            (&["CMD [\"sh\", \"-c\", \"a b\"]"], json!({ "Cmd": ["sh", "-c", "a b"] })),
            (&["cmd echo $HOME"], json!({ "Cmd": ["/bin/sh", "-c", "echo $HOME"] })),
            (&["ENTRYPOINT [\"/init\"]", "USER 1000:1000"], json!({ "Entrypoint": ["/init"], "User": "1000:1000" })),
            (&["ENV A=b C=\"d e\" F='g\"h'"], json!({ "Env": ["A=b", "C=d e", "F=g\"h"] })),
            (&["ENV A some value", "ENV A=new"], json!({ "Env": ["A=new"] })),
            (&["EXPOSE 80 53/udp"], json!({ "ExposedPorts": { "80/tcp": {}, "53/udp": {} } })),
            (&["VOLUME /a /b", "VOLUME [\"/c d\"]"], json!({ "Volumes": { "/a": {}, "/b": {}, "/c d": {} } })),
            (&["LABEL a=b", "LABEL \"c\"=\"d e\""], json!({ "Labels": { "a": "b", "c": "d e" } })),
            (&["WORKDIR /srv/a b", "STOPSIGNAL SIGUSR1"], json!({ "WorkingDir": "/srv/a b", "StopSignal": "SIGUSR1" })),
        ];
        for (changes, expected) in cases {
            assert_eq!(changed(changes), Ok(expected), "{changes:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let cases = [
            "",
            "CMD",
            "RUN make",
            "FROM scratch",
            "CMD [\"sh\"",
            "ENV A",
            "ENV =b",
            "ENV A=\"b",
            "EXPOSE 0",
            "EXPOSE 70000",
            "EXPOSE 80/icmp",
            "EXPOSE +80",
            "VOLUME data",
            "WORKDIR srv",
            "STOPSIGNAL SIGNOTHING",
            "LABEL =x",
        ];
        for case in cases {
            let failure = changed(&[case]).expect_err(case);
            assert_eq!(failure.kind, FailureKind::Invalid, "{case}");
            assert!(failure.message.starts_with("invalid change"), "{case}: {failure}");
        }
    }
}
