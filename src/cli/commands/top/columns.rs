//! The columns of `top`: which there are, which are asked for, what stands in them.

use crate::cli::error::Problem;
use crate::engine::api::Process;

/// A column, with pids as the host or as the container has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    field: Field,
    of: Whose,
}

/// Whose numbers stand for processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Host,
    Container,
}

macro_rules! fields {
    ($($field:ident: $($name:literal)|+ => $title:literal),* $(,)?) => {
        /// What a column shows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Field {
            $($field,)*
        }

        impl Field {
            fn parse(name: &str) -> Option<Self> {
                match name {
                    $($($name)|+ => Some(Self::$field),)*
                    _ => None,
                }
            }

            fn title(self) -> &'static str {
                match self {
                    $(Self::$field => $title,)*
                }
            }
        }
    };
}

fields! {
    Arguments: "args" | "command" => "COMMAND",
    Cmd: "cmd" => "CMD",
    Name: "comm" | "ucmd" | "ucomm" => "COMMAND",
    User: "user" | "euser" | "uname" => "USER",
    Uid: "uid" | "euid" => "UID",
    Group: "group" | "egroup" => "GROUP",
    Gid: "gid" | "egid" => "GID",
    HostUser: "huser" => "HUSER",
    HostGroup: "hgroup" | "hgid" => "HGROUP",
    Pid: "pid" | "tgid" => "PID",
    HostPid: "hpid" => "HPID",
    Parent: "ppid" => "PPID",
    ProcessGroup: "pgid" | "pgrp" => "PGID",
    Share: "pcpu" | "%cpu" => "%CPU",
    C: "c" => "C",
    Start: "stime" | "start" | "start_time" => "STIME",
    Elapsed: "etime" => "ELAPSED",
    Terminal: "tty" | "tt" | "tname" => "TTY",
    Time: "time" | "cputime" => "TIME",
    Nice: "nice" | "ni" => "NI",
    Priority: "pri" => "PRI",
    Resident: "rss" | "rssize" => "RSS",
    Virtual: "vsz" | "vsize" => "VSZ",
    State: "state" | "stat" | "s" => "STATE",
    Threads: "thcount" | "nlwp" => "THCNT",
}

/// The columns of `ps -ef`.
const FULL: [Field; 8] =
    [Field::Uid, Field::Pid, Field::Parent, Field::C, Field::Start, Field::Terminal, Field::Time, Field::Cmd];

/// Those of `ps aux`, without its share of the memory.
const LONG: [Field; 9] = [
    Field::User,
    Field::Pid,
    Field::Share,
    Field::Virtual,
    Field::Resident,
    Field::Terminal,
    Field::State,
    Field::Start,
    Field::Time,
];

/// The columns that `words` ask for: none, options of ps, or names of columns.
pub(super) fn choose(words: &[String]) -> Result<Vec<Column>, Problem> {
    let host = |field: Field| Column { field, of: Whose::Host };
    let Some(first) = words.first() else { return Ok(FULL.map(host).to_vec()) };
    if let Some(names) = format_option(words) {
        return named(names.split([',', ' ', '\n']), Whose::Host);
    }
    if first.starts_with('-') || ["aux", "ax", "a", "x", "axu", "auxww", "auxw"].contains(&first.as_str()) {
        let bare: String = words.concat().replace('-', "");
        if !bare.chars().all(|letter| "eafxuwlA".contains(letter)) {
            return Err(refused(&words.join(" "), "options of ps other than -ef, aux and -o COLUMN,…"));
        }
        let long = bare.contains('u').then(|| LONG.into_iter().chain([Field::Arguments]).map(host).collect());
        return Ok(long.unwrap_or_else(|| FULL.map(host).to_vec()));
    }
    named(words.iter().flat_map(|word| word.split([',', ' '])), Whose::Container)
}

/// The list behind `-o`, `-eo`, `o` or `--format`, wherever it stands.
fn format_option(words: &[String]) -> Option<String> {
    for (at, word) in words.iter().enumerate() {
        if let Some(list) = word.strip_prefix("--format=") {
            return Some(list.to_owned());
        }
        let short = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        let ends_in_o = short.is_some_and(|letters| letters.ends_with('o') && letters.chars().count() <= 5);
        if ends_in_o || word == "--format" || word == "o" {
            return words.get(at + 1..).map(|rest| rest.join(","));
        }
        if let Some(list) = short.and_then(|letters| letters.strip_prefix('o')).filter(|list| !list.is_empty()) {
            return Some(list.to_owned());
        }
    }
    None
}

fn named<'n>(names: impl Iterator<Item = &'n str>, of: Whose) -> Result<Vec<Column>, Problem> {
    let names = names.filter(|name| !name.is_empty());
    let columns: Vec<Column> = names
        .map(|name| {
            let field = Field::parse(&name.to_lowercase()).ok_or_else(|| refused(name, "a column of that name"))?;
            Ok(Column { field, of })
        })
        .collect::<Result<_, Problem>>()?;
    if columns.is_empty() { Err(refused("", "a list without columns")) } else { Ok(columns) }
}

fn refused(text: &str, what: &str) -> Problem {
    Problem::user(format!("invalid column {text:?}: pybox top does not know {what}")).hint("pybox top --help")
}

impl Column {
    pub(super) fn title(self) -> &'static str {
        self.field.title()
    }

    /// What stands in the column for `process`, at the moment `at`.
    pub(super) fn cell(self, process: &Process, at: i64) -> String {
        let id = |inside: Option<u32>, outside: u32| inside.map_or_else(|| format!("?{outside}"), |id| id.to_string());
        // The only account that is certain to have its name.
        let named = |id: String| if id == "0" { "root".to_owned() } else { id };
        match self.field {
            Field::Arguments | Field::Cmd if process.arguments.is_empty() => format!("[{}]", process.command),
            Field::Arguments | Field::Cmd => process.arguments.join(" "),
            Field::Name => process.command.clone(),
            Field::User | Field::Uid => named(id(process.uid, process.host_uid)),
            Field::Group => named(id(process.gid, process.host_gid)),
            Field::Gid => id(process.gid, process.host_gid),
            Field::HostUser => process.host_uid.to_string(),
            Field::HostGroup => process.host_gid.to_string(),
            Field::Pid if self.of == Whose::Container => process.pid.to_string(),
            Field::Pid | Field::HostPid => process.host_pid.to_string(),
            Field::Parent if self.of == Whose::Container => process.parent.to_string(),
            Field::Parent => process.host_parent.to_string(),
            Field::ProcessGroup => process.group.to_string(),
            Field::Share => format!("{:.1}", share(process, at)),
            Field::C => format!("{:.0}", share(process, at).floor()),
            Field::Start => started(process.started, at),
            Field::Elapsed => elapsed(at - process.started),
            Field::Terminal => process.terminal.clone().unwrap_or_else(|| "?".to_owned()),
            Field::Time => clock(process.ran / 1000),
            Field::Nice => process.nice.to_string(),
            Field::Priority => (19 - process.nice).to_string(),
            Field::Resident => (process.resident / 1024).to_string(),
            Field::Virtual => (process.virtual_bytes / 1024).to_string(),
            Field::State => process.state.to_string(),
            Field::Threads => process.threads.to_string(),
        }
    }
}

/// Processor time in per cent of the time since the start.
#[expect(clippy::cast_precision_loss, reason = "a digit is shown")]
fn share(process: &Process, at: i64) -> f64 {
    let lived = (at - process.started).max(1) as f64;
    100.0 * process.ran as f64 / lived
}

/// As ps has it: the time within a day, the date before; in UTC.
fn started(millis: i64, at: i64) -> String {
    let time = |millis: i64| {
        time::OffsetDateTime::from_unix_timestamp(millis.div_euclid(1000)).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    };
    let (start, now) = (time(millis), time(at));
    match () {
        () if start.date() == now.date() => format!("{:02}:{:02}", start.hour(), start.minute()),
        () if start.year() == now.year() => {
            let month: String = start.month().to_string().chars().take(3).collect();
            format!("{month}{:02}", start.day())
        }
        () => start.year().to_string(),
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// As ps has it: `[[dd-]hh:]mm:ss`.
fn elapsed(millis: i64) -> String {
    let seconds = u64::try_from(millis / 1000).unwrap_or(0);
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let short = format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => short,
        (0, hours) => format!("{hours:02}:{short}"),
        (days, hours) => format!("{days}-{hours:02}:{short}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        let columns = choose(&words).map_err(|problem| problem.to_string())?;
        Ok(columns.into_iter().map(Column::title).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn columns_are_those_of_docker_and_of_podman() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        for (line, shown) in [
            ("", full),
            ("-ef", full),
            ("-e -f", full),
            ("aux", "USER PID %CPU VSZ RSS TTY STATE STIME TIME COMMAND"),
            ("-o pid,comm", "PID COMMAND"),
            ("-eo pid,args", "PID COMMAND"),
            ("-opid,rss", "PID RSS"),
            ("pid user args", "PID USER COMMAND"),
            ("hpid,huser", "HPID HUSER"),
            ("PID", "PID"),
        ] {
            assert_eq!(titles(line).as_deref(), Ok(shown), "{line}");
        }
        for bad in ["colour", "-o colour", "-Z", "-o ,"] {
            assert!(titles(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cells() {
        let at = 1_700_000_000_000;
        let process = Process {
            host_pid: 4711,
            host_parent: 4710,
            pid: 1,
            uid: Some(0),
            host_uid: 1000,
            state: 'S',
            started: at - 3_600_000,
            ran: 720_000,
            resident: 4 << 20,
            terminal: Some("pts/0".into()),
            command: "sh".into(),
            arguments: vec!["sh".into(), "-c".into(), "true".into()],
            ..Process::default()
        };
        let cell = |name: &str, of| Column { field: Field::parse(name).expect("a column"), of }.cell(&process, at);
        for (name, shown) in [
            ("uid", "root"),
            ("huser", "1000"),
            ("ppid", "4710"),
            ("c", "20"),
            ("pcpu", "20.0"),
            ("stime", "21:13"),
            ("etime", "01:00:00"),
            ("tty", "pts/0"),
            ("time", "00:12:00"),
            ("rss", "4096"),
            ("state", "S"),
            ("args", "sh -c true"),
            ("pid", "4711"),
        ] {
            assert_eq!(cell(name, Whose::Host), shown, "{name}");
        }
        assert_eq!((cell("pid", Whose::Container), cell("ppid", Whose::Container)), ("1".into(), "0".into()));
        assert_eq!(started(at - 86_400_000 * 40, at), "Oct05");
        assert_eq!(started(0, at), "1970");
        assert_eq!(elapsed(90_061_000), "1-01:01:01");
    }
}
