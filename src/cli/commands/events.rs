//! `pybox events`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, write_object};
use crate::cli::session::Session;
use crate::engine::api::{HappeningFilter, ReadFrom, ReadHappenings};
use crate::model::event::{Happening, Kind};
use crate::model::flags::{instant, label};

/// Show what happens to containers, images and volumes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Goes on until it is interrupted, or until the time of --until. What has happened is kept for a \
    while: --since shows it. Fields of a template: .Type .Action .Actor.ID .Actor.Attributes .Status .ID .Name .Image \
    .Time .TimeNano .Scope\n\nExamples:\n  \
    pybox events --filter container=web --filter event=die\n  \
    pybox events --since 1h --until 0s --format json\n  \
    pybox events --stream=false --format '{{.Time}} {{.Name}} {{.Status}}'"
)]
pub(crate) struct Args {
    /// Show what happened since this time, as in 10m or 2026-11-24T08:00:00
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// End with what happened at this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Only what happened to type=, container=, image=, volume=, label=KEY[=VALUE]; or event=ACTION
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// Print json, or a template as in '{{.Action}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Whether to wait for what happens next
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    stream: bool,

    /// Show ids in full: always so, for podman's sake
    #[arg(long, hide = true)]
    no_trunc: bool,
}

/// How long one question waits; the next follows at once.
const WAIT: u64 = 60_000;

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let filters = self.filters.iter().map(|text| filter(text)).collect::<Result<Vec<_>, _>>()?;
        let now = human::now();
        let time = |flag, text: &Option<String>| {
            let time = text.as_deref().map(|text| instant::parse(flag, text, now)).transpose();
            time.map_err(|error| Problem::user(error.to_string()).hint("pybox events --help"))
        };
        let (since, until) = (time("--since", &self.since)?, time("--until", &self.until)?);
        let stored = since.is_some() || until.is_some() || !self.stream;
        let mut from = if stored { ReadFrom::Oldest } else { ReadFrom::Now };
        // What is new starts here, however late the first question is answered.
        let mut wait = 0;
        loop {
            let answer = session.call(ReadHappenings { from, since, until, filters: filters.clone(), wait })?;
            for happening in &answer.list {
                show(happening, &format, session)?;
            }
            session.finish()?;
            let over = !self.stream || until.is_some_and(|until| until < human::now());
            // After the end of the time nothing new belongs to it, so one silent answer is the last.
            if over && (answer.list.is_empty() || !self.stream) {
                return Ok(DONE);
            }
            (from, wait) = (ReadFrom::Behind(answer.position), WAIT);
        }
    }
}

fn show(happening: &Happening, format: &Format, session: &mut Session) -> Result<(), Problem> {
    let object = match format {
        Format::Json => document(happening),
        _ => fields(happening),
    };
    write_object(&object, format, || line(happening), session.output())
}

/// Docker's line.
fn line(happening: &Happening) -> String {
    let Happening { time, kind, action, id, attributes } = happening;
    let mut line = format!("{} {} {action} {id}", human::rfc3339(*time), kind.word());
    if !attributes.is_empty() {
        let attributes: Vec<_> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let _ = write!(line, " ({})", attributes.join(", "));
    }
    // A label must not move the cursor.
    line = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    line.push('\n');
    line
}

/// Docker's document, with its mixture of names.
fn document(happening: &Happening) -> Value {
    let Happening { time, kind, action, id, attributes } = happening;
    json!({
        "Type": kind.word(),
        "Action": action,
        "Actor": { "ID": id, "Attributes": attributes },
        "status": action,
        "id": id,
        "from": attributes.get("image"),
        "scope": "local",
        "time": time.div_euclid(1000),
        "timeNano": time.saturating_mul(1_000_000),
    })
}

/// What a template may name: docker's fields and podman's.
fn fields(happening: &Happening) -> Value {
    let Happening { time, kind, action, id, attributes } = happening;
    let attribute = |name: &str| attributes.get(name).cloned().unwrap_or_default();
    json!({
        "Type": kind.word(),
        "Action": action,
        "Actor": { "ID": id, "Attributes": attributes },
        "Attributes": attributes,
        "Status": action,
        "ID": id,
        "Name": attribute("name"),
        "Image": attribute("image"),
        "From": attribute("image"),
        "Scope": "local",
        "Time": time.div_euclid(1000),
        "TimeNano": time.saturating_mul(1_000_000),
    })
}

fn filter(text: &str) -> Result<HappeningFilter, Problem> {
    let refuse = |expected: &str| {
        let sentence = format!("invalid value {text:?} for --filter: expected {expected}");
        Err(Problem::user(sentence).hint("pybox events --help"))
    };
    let Some((key, value)) = text.split_once('=').filter(|(_, value)| !value.is_empty()) else {
        return refuse("KEY=VALUE, as in event=die");
    };
    let owned = value.to_owned();
    match key {
        "type" => match value {
            "container" => Ok(HappeningFilter::Kind(Kind::Container)),
            "image" => Ok(HappeningFilter::Kind(Kind::Image)),
            "volume" => Ok(HappeningFilter::Kind(Kind::Volume)),
            "network" => Ok(HappeningFilter::Kind(Kind::Network)),
            _ => refuse("type= with container, image, volume or network"),
        },
        "event" => Ok(HappeningFilter::Action(owned)),
        "container" => Ok(HappeningFilter::Container(owned)),
        "image" => Ok(HappeningFilter::Image(owned)),
        "volume" => Ok(HappeningFilter::Volume(owned)),
        "label" => {
            let (key, value) = label::condition(value);
            Ok(HappeningFilter::Label { key, value })
        }
        _ => refuse("type=, event=, container=, image=, volume= or label="),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died() -> Happening {
        Happening {
            time: 1_700_000_000_042,
            kind: Kind::Container,
            action: "die".into(),
            id: "c0ffee".into(),
            attributes: [("name", "web"), ("image", "debian:12"), ("exitCode", "3")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    #[test]
    fn lines_are_dockers() {
        let line = line(&died());
        assert_eq!(
            line,
            "2023-11-14T22:13:20.042000000Z container die c0ffee (exitCode=3, image=debian:12, name=web)\n"
        );
        let bare = Happening { attributes: [].into(), ..died() };
        assert!(super::line(&bare).ends_with(" container die c0ffee\n"));
    }

    #[test]
    fn documents_and_fields_are_dockers() {
        let document = document(&died());
        assert_eq!(document["Actor"]["Attributes"]["exitCode"], "3");
        assert_eq!(document["time"], 1_700_000_000);
        assert_eq!(document["timeNano"], 1_700_000_000_042_000_000_i64);
        assert_eq!(document["from"], "debian:12");
        let fields = fields(&died());
        assert_eq!((&fields["Name"], &fields["Status"]), (&json!("web"), &json!("die")));
    }

    #[test]
    fn filters_are_read() {
        let read = |text: &str| filter(text).map_err(|problem| problem.to_string());
        assert_eq!(read("type=image"), Ok(HappeningFilter::Kind(Kind::Image)));
        assert_eq!(read("event=die"), Ok(HappeningFilter::Action("die".into())));
        assert_eq!(read("label=a=b"), Ok(HappeningFilter::Label { key: "a".into(), value: Some("b".into()) }));
        for bad in ["", "type", "type=", "type=secret", "colour=red"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
