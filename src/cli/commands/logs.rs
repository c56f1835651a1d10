//! `pybox logs`.

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::session::Session;
use crate::engine::api::ShowLog;
use crate::model::flags::instant;

/// Show what a container has written
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What it wrote to standard output and to standard error goes to ours. With --follow it goes on \
    until the container ends for good.\n\nExamples:\n  \
    pybox logs --tail 100 --follow web\n  \
    pybox logs --since 10m --timestamps web 2> errors"
)]
pub(crate) struct Args {
    /// Name, or id and its beginning
    container: String,

    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,

    /// Show this many lines from the end, or all
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "all",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    tail: String,

    /// Show what was written since this time, as in 10m or 2026-11-24T08:00:00
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Show what was written up to this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,

    /// Show labels: there are none, for docker's sake
    #[arg(long, hide = true)]
    details: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let now = human::now();
        let time = |flag, text: &Option<String>| {
            let time = text.as_deref().map(|text| instant::parse(flag, text, now)).transpose();
            time.map_err(|error| Problem::user(error.to_string()).hint("pybox logs --help"))
        };
        let show = ShowLog {
            follow: self.follow,
            tail: lines(&self.tail)?,
            since: time("--since", &self.since)?,
            until: time("--until", &self.until)?,
            timestamps: self.timestamps,
            name: self.container,
        };
        session.call(show).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(DONE)
    }
}

/// How many lines; all if none. As docker has it, a negative number means all, too.
fn lines(text: &str) -> Result<Option<u64>, Problem> {
    match text.parse::<i64>() {
        Ok(count) => Ok(u64::try_from(count).ok()),
        Err(_) if text == "all" => Ok(None),
        Err(_) => {
            let sentence = format!("invalid value {text:?} for --tail: expected a number, or all");
            Err(Problem::user(sentence).hint("pybox logs --help"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_lines() {
        let read = |text| lines(text).map_err(|problem| problem.to_string());
        assert_eq!((read("all"), read("-1"), read("0"), read("25")), (Ok(None), Ok(None), Ok(Some(0)), Ok(Some(25))));
        for text in ["", "some", "1.5", "10m"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
