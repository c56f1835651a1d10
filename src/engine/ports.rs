//! Who has a port of the host, as far as the user may see it.

use std::fs;
use std::path::PathBuf;

use crate::model::port::Protocol;

/// The state of a TCP socket that listens (net/tcp_states.h), and of a UDP socket that is bound.
const LISTENS: &str = "0A";
const BOUND: &str = "07";

/// The process that has the port, as `name (pid 7)`.
pub(super) fn owner(port: u16, protocol: Protocol) -> Option<String> {
    let (files, state) = match protocol {
        Protocol::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], LISTENS),
        Protocol::Udp => (["/proc/net/udp", "/proc/net/udp6"], BOUND),
    };
    let tables = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let sockets: Vec<String> = tables.flat_map(|table| sockets(&table, port, state)).collect();
    let has = |process: &PathBuf| {
        let mut open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let ours = |link: PathBuf| sockets.iter().any(|socket| link.as_os_str() == socket.as_str());
        open.any(|entry| fs::read_link(entry.path()).is_ok_and(ours))
    };
    // `self` is there too, and is somebody.
    let is_number = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
    let mut processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path()).filter(is_number);
    let process = processes.find(has)?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    Some(format!("{} (pid {})", name.trim(), process.file_name()?.to_string_lossy()))
}

/// The names that sockets bound to `port` have in /proc, out of a table of proc_net_tcp(5).
fn sockets(table: &str, port: u16, state: &str) -> Vec<String> {
    let of = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, number) = fields.get(1)?.rsplit_once(':')?;
        let ours = u16::from_str_radix(number, 16).ok()? == port && *fields.get(3)? == state;
        ours.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]"))).flatten()
    };
    table.lines().skip(1).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n\
            1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1\n";
        assert_eq!(sockets(table, 8080, LISTENS), ["socket:[4711]"]);
        assert!(sockets(table, 80, LISTENS).is_empty());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let owner = owner(port, Protocol::Tcp).expect("ourselves");
        assert!(owner.ends_with(&format!("(pid {})", std::process::id())), "{owner}");
    }
}
