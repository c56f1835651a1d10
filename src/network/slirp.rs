//! slirp4netns: what connects one container where pasta is not installed.
//!
//! It gets the container's network namespace as standard input, as pasta does, runs in the container's user namespace,
//! and reaches nothing of the host's loopback but its name servers. It publishes no ports.

use std::path::{Path, PathBuf};

use crate::model::network::Mac;

/// Its own name server, which asks the host's.
pub const NAME_SERVER: &str = "10.0.2.3";

/// Where distributions put it.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/current-system/sw/bin"];

/// The program, if it is installed.
pub fn find() -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join("slirp4netns")).find(|path| path.exists())
}

/// Its arguments. It says on standard output when it is ready.
pub fn arguments(mac: Option<Mac>) -> Vec<String> {
    let fixed = ["--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=1", "--netns-type=path"];
    let mut words: Vec<String> = fixed.iter().map(ToString::to_string).collect();
    words.extend(mac.map(|mac| format!("--macaddress={mac}")));
    words.extend(["/proc/self/fd/0".to_owned(), "eth0".to_owned()]);
    words
}

/// The name servers of a container: all of the host's, by the one that asks them.
pub fn name_servers(resolv_conf: &str) -> String {
    let is_server = |line: &&str| line.split_whitespace().next() == Some("nameserver");
    let others = resolv_conf.lines().filter(|line| !is_server(line)).map(|line| format!("{line}\n"));
    std::iter::once(format!("nameserver {NAME_SERVER}\n")).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_what_pasta_is() {
        let words = arguments(None).join(" ");
        assert!(words.contains("--disable-host-loopback") && words.ends_with("/proc/self/fd/0 eth0"), "{words}");
        let named = arguments("02:00:00:00:00:01".parse().ok()).join(" ");
        assert!(named.contains("--macaddress=02:00:00:00:00:01"), "{named}");
        assert_eq!(name_servers("nameserver 127.0.0.53\nsearch a\n"), "nameserver 10.0.2.3\nsearch a\n");
    }
}
