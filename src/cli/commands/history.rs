//! `pybox history`.

use serde_json::json;

use super::{DONE, SHOW_IMAGES};
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, Listing};
use crate::cli::session::Session;
use crate::engine::api::{HistoryStep, ListHistory};

/// Show how an image was made
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The last step comes first. Fields of a template: .ID .CreatedSince .CreatedAt .CreatedBy .Size \
    .Comment .Tags\n\nExamples:\n  \
    pybox history --no-trunc debian:12\n  \
    pybox history --format '{{.Size}}\\t{{.CreatedBy}}' debian:12"
)]
pub(crate) struct Args {
    /// Name, or id and its beginning
    image: String,

    /// Print table, json, or a template as in '{{.CreatedBy}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Print sizes and dates for people; with =false for programs
    #[arg(short = 'H', long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    human: bool,

    /// Show all in full
    #[arg(long)]
    no_trunc: bool,

    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
}

const TITLES: [(&str, &str); 7] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
    ("Tags", "TAGS"),
];

/// What stands for an image that is not here, as those of the steps before the last are not.
const MISSING: &str = "<missing>";

/// How much of a step is shown.
const SHORT: usize = 45;

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let list = ListHistory { name: self.image.clone() };
        let steps = session.call(list).map_err(|problem| problem.hint_if_missing(SHOW_IMAGES))?;
        if self.quiet {
            for step in &steps {
                writeln!(session.output(), "{}", self.id(step))?;
            }
            return Ok(DONE);
        }
        let now = human::now();
        let rows = steps.iter().map(|step| self.row(step, now)).collect();
        let created = if self.human { "CreatedSince" } else { "CreatedAt" };
        let columns = vec!["ID", created, "CreatedBy", "Size", "Comment"];
        Listing { titles: &TITLES, columns, rows }.write(&format, session.output())?;
        Ok(DONE)
    }

    fn id(&self, step: &HistoryStep) -> String {
        match &step.id {
            None => MISSING.to_owned(),
            Some(id) if self.no_trunc => id.to_string(),
            Some(id) => id.short().to_owned(),
        }
    }

    fn row(&self, step: &HistoryStep, now: i64) -> serde_json::Value {
        // A publisher's text must not move the cursor.
        let plain = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let by = plain(&step.created_by);
        json!({
            "ID": self.id(step),
            "CreatedSince": human::ago(step.created, now),
            "CreatedAt": human::date(step.created),
            "CreatedBy": if self.no_trunc { by } else { human::ellipsis(&by, SHORT) },
            "Size": if self.human { human::size(step.size) } else { step.size.to_string() },
            "Comment": plain(&step.comment),
            "Tags": step.names.join(", "),
        })
    }
}
