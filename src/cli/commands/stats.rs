//! `pybox stats`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, Listing};
use crate::cli::session::{Session, with_environment};
use crate::engine::api::{ReadUsage, Usage};
use crate::model::id::ContainerId;

/// Show what containers use, second by second
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The numbers come from the container's cgroup. Where it has none they come from what the kernel tells \
    of each process (/proc): memory is the sum of what the processes have in memory, shared pages counted for each; \
    processor time of processes that nobody waited for is missing. Fields of a template: .Container .ID .Name .CPUPerc .MemUsage .MemPerc .NetIO \
    .BlockIO .PIDs\n\nExamples:\n  \
    pybox stats\n  \
    pybox stats --no-stream --format 'table {{.Name}}\\t{{.CPUPerc}}' web db"
)]
pub(crate) struct Args {
    /// Names, or ids and their beginnings; all running containers if none is given
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Show all containers, not only running ones
    #[arg(short, long)]
    all: bool,

    /// Show the numbers once
    #[arg(long)]
    no_stream: bool,

    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,

    /// Print table, json, or a template as in '{{.CPUPerc}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Do not clear the screen between two tables
    #[arg(long)]
    no_reset: bool,
}

/// What can be named in a template, and the title above it.
const TITLES: [(&str, &str); 9] = [
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// Between two tables.
const PERIOD: Duration = Duration::from_secs(1);
/// Between the two looks that the first table needs.
const FIRST: Duration = Duration::from_millis(300);

/// Cursor to the upper left, and clear what is below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let redraw = !self.no_stream
            && !self.no_reset
            && matches!(format, Format::Own | Format::Table(_))
            && std::io::stdout().is_terminal()
            && with_environment(|environment| environment.can_redraw());
        let mut before = by_id(self.read(session)?);
        let mut pause = FIRST;
        loop {
            std::thread::sleep(if before.is_empty() { Duration::ZERO } else { pause });
            let usages = self.read(session)?;
            let rows = usages.iter().map(|usage| self.row(usage, before.get(&usage.id))).collect();
            if redraw {
                write!(session.output(), "{CLEAR}")?;
            }
            let columns = vec!["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
            Listing { titles: &TITLES, columns, rows }.write(&format, session.output())?;
            session.finish()?;
            let nothing_left = usages.is_empty() && self.containers.is_empty() && !self.all;
            if self.no_stream || nothing_left {
                return Ok(DONE);
            }
            (before, pause) = (by_id(usages), PERIOD);
        }
    }

    fn read(&self, session: &mut Session) -> Result<Vec<Usage>, Problem> {
        let question = ReadUsage { names: self.containers.clone(), all: self.all };
        session.call(question).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))
    }

    fn row(&self, usage: &Usage, before: Option<&Usage>) -> Value {
        let id = if self.no_trunc { usage.id.as_str() } else { usage.id.short() };
        let pair = |one: u64, other: u64| format!("{} / {}", human::size(one), human::size(other));
        json!({
            "Container": id,
            "ID": id,
            "Name": usage.name,
            "CPUPerc": format!("{:.2}%", share_of_processor(usage, before)),
            "MemUsage": format!("{} / {}", human::binary_size(usage.memory), human::binary_size(usage.memory_limit)),
            "MemPerc": format!("{:.2}%", percent(usage.memory, usage.memory_limit)),
            "NetIO": pair(usage.received, usage.sent),
            "BlockIO": pair(usage.read, usage.written),
            "PIDs": usage.threads.to_string(),
        })
    }
}

fn by_id(usages: Vec<Usage>) -> BTreeMap<ContainerId, Usage> {
    usages.into_iter().map(|usage| (usage.id.clone(), usage)).collect()
}

/// Processor time between two looks in per cent of the time between them; two busy
/// processors make 200. A container that was restarted has used less than before.
fn share_of_processor(now: &Usage, before: Option<&Usage>) -> f64 {
    before.map_or(0.0, |before| {
        let used = now.processor.saturating_sub(before.processor);
        percent(used, now.at.saturating_sub(before.at))
    })
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_dockers() {
        let args =
            Args { containers: vec![], all: false, no_stream: true, no_trunc: false, format: None, no_reset: false };
        let before = Usage {
            id: ContainerId::from_random(&[0xcd; 32]),
            name: "web".parse().expect("a name"),
            state: "running".into(),
            processor: 1_000_000_000,
            memory: 1 << 20,
            memory_limit: 1 << 30,
            threads: 1,
            read: 0,
            written: 0,
            received: 0,
            sent: 0,
            at: 5_000_000_000,
        };
        let now = Usage {
            processor: 2_500_000_000,
            memory: 512 << 20,
            threads: 7,
            read: 1_230_000,
            sent: 999,
            at: 6_000_000_000,
            ..before.clone()
        };
        let row = args.row(&now, Some(&before));
        for (field, shown) in [
            ("ID", "cdcdcdcdcdcd"),
            ("Name", "web"),
            ("CPUPerc", "150.00%"),
            ("MemUsage", "512MiB / 1GiB"),
            ("MemPerc", "50.00%"),
            ("NetIO", "0B / 999B"),
            ("BlockIO", "1.23MB / 0B"),
            ("PIDs", "7"),
        ] {
            assert_eq!(row.get(field).and_then(Value::as_str), Some(shown), "{field}");
        }
        assert!(TITLES.iter().all(|(field, _)| row.get(field).is_some()));
        // Restarted in between: less than before is nothing, not a lot.
        assert_eq!(args.row(&before, Some(&now))["CPUPerc"], "0.00%");
        assert_eq!(args.row(&now, None)["CPUPerc"], "0.00%");
    }
}
