//! `--sysctl name=value`: only those that belong to a namespace of the container.

use super::InvalidFlag;

const FLAG: &str = "--sysctl";

/// System V semaphores, messages and shared memory: per ipc namespace.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Reads `net.ipv4.ip_forward=1`: `net.*`, `fs.mqueue.*` and the `kernel.*` ones of
/// an ipc namespace. The name may hold letters, digits, `_`, `-` and dots, the value
/// what such files hold: nothing that any parser could take for a second setting.
///
/// # Errors
/// If the name is not of that list, or either part holds another character.
pub fn parse(text: &str) -> Result<(String, String), InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new(FLAG, text, reason);
    let (name, value) =
        text.split_once('=').ok_or_else(|| refuse("expected name=value, as in net.ipv4.ip_forward=1"))?;
    check(name, value).map_err(refuse)?;
    Ok((name.into(), value.into()))
}

/// Whether a setting may be written for a container.
///
/// # Errors
/// With the reason why not.
pub fn check(name: &str, value: &str) -> Result<(), &'static str> {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if name.len() > 255 || !name.split('.').all(word) {
        return Err("the name is made of words of letters, digits, '_' and '-', with dots between them");
    }
    if !(name.starts_with("net.") || name.starts_with("fs.mqueue.") || IPC.contains(&name)) {
        return Err("only net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} belong to a container");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" \t-_.,:".contains(&b);
    if value.is_empty() || value.len() > 1024 || !value.bytes().all(plain) {
        return Err("the value may hold letters, digits, spaces and any of - _ . , :");
    }
    Ok(())
}
