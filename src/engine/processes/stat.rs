//! What /proc/PID tells of one process.

use std::fs;

/// Of proc_pid_stat(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// The program's short name; whatever the process likes.
    pub(crate) command: String,
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    /// Device number of the terminal; 0 for none.
    pub(crate) terminal: u32,
    /// Clock ticks that it has run.
    pub(crate) ran: u64,
    /// Clock ticks that its children have run, as far as it has waited for them.
    pub(crate) children_ran: u64,
    pub(crate) nice: i64,
    pub(crate) threads: u64,
    /// Clock ticks between boot and its start.
    pub(crate) started_ticks: u64,
    /// Bytes of address space.
    pub(crate) virtual_bytes: u64,
    /// Pages in memory.
    pub(crate) resident_pages: u64,
}

/// Of proc_pid_status(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The effective user id on the host.
    pub(crate) uid: u32,
    /// The effective group id on the host.
    pub(crate) gid: u32,
    /// Its pid in each pid namespace, the host's first.
    pub(crate) pids: Vec<u32>,
}

/// Reads /proc/PID/stat; none if the process has gone.
pub(crate) fn read(pid: u32) -> Option<Stat> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name stands in brackets and may hold any of them, so the last one counts.
fn parse(pid: u32, text: &str) -> Option<Stat> {
    let (head, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The state is field 3 of the manual page.
    let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
    let unsigned = |number: usize| field(number).and_then(|text| text.parse::<u64>().ok());
    let signed = |number: usize| field(number).and_then(|text| text.parse::<i64>().ok());
    let small = |number: usize| unsigned(number).and_then(|value| u32::try_from(value).ok());
    let waited = |number: usize| u64::try_from(signed(number)?).ok();
    Some(Stat {
        pid,
        command: head.split_once('(').map(|(_, name)| name.to_owned()).unwrap_or_default(),
        state: field(3)?.chars().next()?,
        parent: small(4)?,
        group: signed(5).and_then(|group| u32::try_from(group).ok()).unwrap_or_default(),
        terminal: signed(7).map(|device| device as u32).unwrap_or_default(),
        ran: unsigned(14)? + unsigned(15)?,
        children_ran: waited(16).unwrap_or_default() + waited(17).unwrap_or_default(),
        nice: signed(19)?,
        threads: unsigned(20)?,
        started_ticks: unsigned(22)?,
        virtual_bytes: unsigned(23)?,
        resident_pages: unsigned(24)?,
    })
}

/// Reads /proc/PID/status.
pub(crate) fn status(pid: u32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |name: &str| -> Vec<u32> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    // Real, effective, saved, of the file system.
    let effective = |ids: Vec<u32>| ids.get(1).copied();
    Some(Status { uid: effective(numbers("Uid:"))?, gid: effective(numbers("Gid:"))?, pids: numbers("NSpid:") })
}

/// The arguments of a process; none for one without, as a kernel thread or a zombie.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Bytes that a process has caused to be read from and written to disks; none where we may not know.
pub(crate) fn disk_bytes(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((value("read_bytes:")?, value("write_bytes:")?))
}

/// Bytes received and sent in the network namespace of a process, loopback left out.
pub(crate) fn network_bytes(pid: u32) -> Option<(u64, u64)> {
    Some(parse_network(&fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?))
}

fn parse_network(text: &str) -> (u64, u64) {
    let interfaces = text.lines().filter_map(|line| line.split_once(':'));
    interfaces.filter(|(name, _)| name.trim() != "lo").fold((0, 0), |(received, sent), (_, numbers)| {
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let number = |at: usize| numbers.get(at).copied().unwrap_or_default();
        (received + number(0), sent + number(8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_manual_page() {
        let text = "42 (a) b (c)) S 7 41 40 34817 42 4194304 90 80 1 0 150 25 30 5 20 -5 3 0 777 4096000 120 \
            18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";
        let stat = parse(42, text).expect("a stat line");
        assert_eq!(stat.command, "a) b (c)");
        assert_eq!((stat.state, stat.parent, stat.group, stat.terminal), ('S', 7, 41, 34817));
        assert_eq!((stat.ran, stat.children_ran, stat.nice, stat.threads), (175, 35, -5, 3));
        assert_eq!((stat.started_ticks, stat.virtual_bytes, stat.resident_pages), (777, 4_096_000, 120));
        assert_eq!(parse(42, "42 (x) S 1"), None);
    }

    #[test]
    fn loopback_is_no_traffic() {
        let text = "Inter-|   Receive                            |  Transmit\n face |bytes packets\n    \
            lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0\n  eth0: 1000 10 0 0 0 0 0 0 500 5 0 0 0 0 0 0\n";
        assert_eq!(parse_network(text), (1000, 500));
    }

    #[test]
    fn our_own_process_is_as_we_know_it() {
        let us = std::process::id();
        let stat = read(us).expect("we live");
        assert!(stat.threads >= 1 && stat.resident_pages > 0 && stat.state != 'Z');
        let status = status(us).expect("we live");
        assert_eq!(status.uid, rustix::process::geteuid().as_raw());
        assert_eq!(status.pids.first(), Some(&us));
        assert!(!arguments(us).is_empty());
    }
}
