//! `pybox top`.

mod columns;

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::Problem;
use crate::cli::render::table::align;
use crate::cli::session::Session;
use crate::engine::api::ListProcesses;

/// Show the processes of a container
#[derive(Debug, clap::Args)]
#[command(after_help = "Looks at the processes from the host; no program is run in the container. Without columns it \
    prints those of `ps -ef`: UID PID PPID C STIME TTY TIME CMD, where PID and PPID are the host's and UID is the \
    container's. `-ef`, `aux` and `-o COLUMN,…` work as with docker top; columns alone, as with podman top, show the \
    pids of the container.\n\nColumns: args c cmd comm etime gid group hgid hgroup hpid huser nice pcpu pgid pid ppid \
    pri rss start state stime thcount time tty uid user vsz\n\nExamples:\n  \
    pybox top web\n  \
    pybox top web user pid hpid args\n  \
    pybox top web -o pid,rss,comm")]
pub(crate) struct Args {
    /// The container: its name, or its id or the beginning of it
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Columns, or options of ps: -ef, aux, -o COLUMN,…
    #[arg(value_name = "COLUMN", trailing_var_arg = true, allow_hyphen_values = true)]
    columns: Vec<String>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let columns = columns::choose(&self.columns)?;
        let question = ListProcesses { name: self.container };
        let processes = session.call(question).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        let mut lines = vec![columns.iter().map(|column| column.title()).collect::<Vec<_>>().join("\t")];
        for process in &processes.list {
            let cells: Vec<_> = columns.iter().map(|column| visible(&column.cell(process, processes.at))).collect();
            lines.push(cells.join("\t"));
        }
        write!(session.output(), "{}", align(&lines))?;
        Ok(DONE)
    }
}

/// A process chooses its own arguments: they must not move the cursor.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_cannot_paint() {
        assert_eq!(visible("a\u{1b}[31m\tb\n"), "a?[31m?b?");
    }
}
