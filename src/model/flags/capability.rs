//! Capability names, capabilities(7).

use super::InvalidFlag;

/// Every capability that Linux has, by number.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Reads a capability's name, with or without `CAP_`, in any case; or `ALL`.
///
/// # Errors
/// If there is none of that name; the nearest is named.
pub fn parse(flag: &'static str, text: &str) -> Result<String, InvalidFlag> {
    let upper = text.to_ascii_uppercase();
    if upper == "ALL" || upper == "CAP_ALL" {
        return Ok("ALL".into());
    }
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let bare = |name: &&'static str| name.strip_prefix("CAP_").unwrap_or(name);
    if let Some(name) = NAMES.iter().find(|name| bare(name) == short) {
        return Ok((*name).into());
    }
    let nearest = NAMES.iter().map(bare).min_by_key(|name| distance(name, short)).unwrap_or_default();
    Err(InvalidFlag::new(flag, text, format!("there is no such capability; the nearest name is {nearest}")))
}

/// How many letters have to be added, left out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let other: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(&other) {
            let changed = diagonal + usize::from(left != *right);
            diagonal = *cell;
            before = changed.min(before + 1).min(*cell + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
