//! What the processes of a cgroup have used.

use std::path::Path;

use super::hierarchy::number;

/// As far as the controllers that are there can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of processor time.
    pub processor: Option<u64>,
    /// Bytes of memory, without those of files that nobody has used for a while: as docker counts.
    pub memory: Option<u64>,
    /// The most memory.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes read from and written to disks.
    pub disk: Option<(u64, u64)>,
}

/// Reads the files of a cgroup.
pub fn read(directory: &Path) -> Usage {
    let text = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    let value = |name: &str| text(name)?.trim().parse::<u64>().ok();
    Usage {
        processor: text("cpu.stat").and_then(|stat| processor(&stat)),
        memory: value("memory.current").map(|current| memory(current, &text("memory.stat").unwrap_or_default())),
        memory_limit: value("memory.max"),
        pids: value("pids.current"),
        disk: text("io.stat").map(|stat| disk(&stat)),
    }
}

fn processor(stat: &str) -> Option<u64> {
    number(stat, "usage_usec").map(|microseconds| microseconds.saturating_mul(1000))
}

fn memory(current: u64, stat: &str) -> u64 {
    current.saturating_sub(number(stat, "inactive_file").unwrap_or(0))
}

fn disk(stat: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let numbers = stat.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
        numbers.fold(0, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_the_kernel_writes_them() {
        assert_eq!(processor("usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"), Some(1_500_000));
        assert_eq!(memory(1000, "anon 10\nfile 20\ninactive_file 300\nactive_file 1\n"), 700);
        assert_eq!(memory(100, "inactive_file 300\n"), 0);
        let stat = "254:0 rbytes=100 wbytes=7 rios=1 wios=1 dbytes=0 dios=0\n8:0 rbytes=23 wbytes=0 rios=1 wios=0\n";
        assert_eq!(disk(stat), (123, 7));
        assert_eq!(disk(""), (0, 0));
    }

    #[test]
    fn what_is_not_there_is_not_made_up() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(read(directory.path()), Usage::default());
        std::fs::write(directory.path().join("memory.max"), "max\n").expect("a file");
        std::fs::write(directory.path().join("pids.current"), "3\n").expect("a file");
        assert_eq!(read(directory.path()), Usage { pids: Some(3), ..Usage::default() });
    }
}
