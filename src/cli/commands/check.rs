//! `pybox check`.

use serde_json::json;

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::render::listing::{Format, write_object};
use crate::cli::session::Session;
use crate::engine::api::{Check, Finding};

/// See whether everything that is kept is whole
#[derive(Debug, clap::Args)]
#[command(after_help = "Prints a line for each thing that is not as it should be, and returns 1 if one is left. \
    What a running command works on is passed over.\n\nExamples:\n  \
    pybox check\n  \
    pybox check --full --repair")]
pub(crate) struct Args {
    /// Look at every byte
    #[arg(long)]
    full: bool,

    /// Put right what can be put right without losing anything
    #[arg(long)]
    repair: bool,

    /// Print json, or a template as in '{{.Subject}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// The exit code if something is wrong.
const WRONG: u8 = 1;

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let findings = session.call(Check { full: self.full, repair: self.repair })?;
        for finding in &findings {
            let Finding { subject, what, repaired, remedy } = finding;
            let object = json!({ "Subject": subject, "Problem": what, "Repaired": repaired, "Remedy": remedy });
            write_object(&object, &format, || line(finding), session.output())?;
        }
        Ok(if findings.iter().all(|finding| finding.repaired) { DONE } else { WRONG })
    }
}

fn line(finding: &Finding) -> String {
    let Finding { subject, what, repaired, remedy } = finding;
    let end = if *repaired { "repaired".to_owned() } else { remedy.clone() };
    let line: String = format!("{subject} {what}: {end}");
    line.chars().map(|c| if c.is_control() { '?' } else { c }).chain(['\n']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_to_do() {
        let finding = |repaired| Finding {
            subject: "/s/trash/x".to_owned(),
            what: "waits to be deleted".to_owned(),
            repaired,
            remedy: "pybox check --repair".to_owned(),
        };
        assert_eq!(line(&finding(false)), "/s/trash/x waits to be deleted: pybox check --repair\n");
        assert_eq!(line(&finding(true)), "/s/trash/x waits to be deleted: repaired\n");
    }
}
