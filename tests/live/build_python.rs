//! `[python]` with packages of PyPI, where that is reachable.

use std::time::Duration;

use crate::build::{build, context, says};
use crate::fixture::skip;
use crate::harness::Live;

/// Whether this machine reaches Debian's packages and PyPI.
fn is_reachable() -> bool {
    [("pypi.org", 443), ("files.pythonhosted.org", 443), ("deb.debian.org", 80)].iter().all(|place| {
        use std::net::ToSocketAddrs as _;
        let mut addresses = place.to_socket_addrs().into_iter().flatten();
        addresses.any(|address| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok())
    })
}

#[test]
fn packages_of_pypi_are_keyed_by_what_they_resolve_to() {
    let Some(live) = Live::new() else { return };
    if !is_reachable() {
        return skip("PyPI or Debian's packages cannot be reached from here");
    }
    let boxfile = format!(
        "[box]\nbase = \"{}\"\n[python]\nversion = \"3\"\npackages = [\"idna<4\"]\nrequirements = \"deps.txt\"\n\
         [run]\ncmd = [\"python\", \"-c\", \"import idna, six; print(six.__version__)\"]\n",
        live.debian()
    );
    let context = context(&live, "context", &[("boxfile.toml", &boxfile), ("deps.txt", "six==1.16.0\n")]);
    let made = || {
        let flags = ["--network=host", "--host-ca", "-t", "py"];
        build(&live, &context, &flags).env("SOURCE_DATE_EPOCH", "1700000000").within(400).run()
    };
    let first = made().exits(0);
    assert_eq!(live.pybox(["run", "--rm", "--pull=never", "py"]).ok(), "1.16.0");
    let list = says(&live, "py", "cat /opt/venv/pybox/requirements.lock");
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].starts_with("idna==3.") && lines[1].starts_with("six==1.16.0 --hash=sha256:"), "{list}");
    // Compiled, and by content.
    let flags = says(
        &live,
        "py",
        "python -c 'import six; print(open(six.__cached__, \"rb\").read()[4])'; ls -A /root /run; ls /tmp",
    );
    assert!(flags.starts_with("1\n") && !flags.contains("pip"), "{flags}");
    // The same set in other words is installed once.
    live.file("context/deps.txt", "# pinned\nsix == 1.16\n");
    let again = made().exits(0);
    assert_eq!(again.stderr.matches("(cached)").count(), 2, "{again}");
    assert!(again.stderr.lines().any(|line| line.contains("pip install") && line.contains("(cached)")), "{again}");
    drop(first);
    // A Python that nobody has: uv is tried, and whether it reaches one or not is said.
    live.file("context/boxfile.toml", boxfile.replace("\"3\"", "\"3.99\""));
    made().refuses(1, "exit code 1").says("trying uv").says("uv does not reach it");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
