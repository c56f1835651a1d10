//! `pybox diff`.

use serde_json::json;

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::Problem;
use crate::cli::render::listing::{Format, write_object};
use crate::cli::session::Session;
use crate::engine::api::{ChangeKind, Changed, ListChanges};

/// Show what a container has changed of its image
#[derive(Debug, clap::Args)]
#[command(after_help = "A: added, C: changed, D: deleted. What is in volumes belongs to no image, and is not \
    shown.\n\nExamples:\n  \
    pybox diff web\n  \
    pybox diff --format json web")]
pub(crate) struct Args {
    /// Name, or id and its beginning
    container: String,

    /// Print json, or a template as in '{{.Path}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let list = ListChanges { name: self.container };
        let changes = session.call(list).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        for change in &changes {
            let object = json!({ "Kind": letter(change.kind), "Path": change.path });
            write_object(&object, &format, || line(change), session.output())?;
        }
        Ok(DONE)
    }
}

fn letter(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "A",
        ChangeKind::Changed => "C",
        ChangeKind::Deleted => "D",
    }
}

fn line(change: &Changed) -> String {
    // A name must not move the cursor.
    let path: String = change.path.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{} {path}\n", letter(change.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        let changed = |kind, path: &str| line(&Changed { kind, path: path.to_owned() });
        assert_eq!(changed(ChangeKind::Added, "/a b"), "A /a b\n");
        assert_eq!(changed(ChangeKind::Changed, "/etc"), "C /etc\n");
        assert_eq!(changed(ChangeKind::Deleted, "/x\x1b[2J"), "D /x?[2J\n");
    }
}
