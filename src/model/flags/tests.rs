//! Tables of what each flag takes and what it refuses.

use super::*;
use crate::model::container::{Seccomp, Security, UserNamespace};

mod any_text;
mod mounts;
mod supervision;

fn text<T>(result: Result<T, InvalidFlag>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn errors_are_sentences() {
    assert_eq!(
        text(size::memory("1q")),
        "invalid value \"1q\" for --memory: expected a size in bytes or with a unit, as in 64k, 256m or 1.5g"
    );
    assert_eq!(InvalidFlag::new("--x", &"v".repeat(500), "r").value.len(), 120);
}

#[test]
fn sizes() {
    let table = [
        ("0", 0),
        ("1", 1),
        ("64b", 64),
        ("64k", 65_536),
        ("64KB", 65_536),
        ("64KiB", 65_536),
        ("256m", 256 << 20),
        ("1.5g", 3 << 29),
        ("0.5k", 512),
        ("1t", 1 << 40),
        ("8191p", 8191 << 50),
        ("9223372036854775807", i64::MAX as u64),
        ("1.000000000000000001g", 1 << 30),
    ];
    for (word, bytes) in table {
        assert_eq!(size::parse("--x", word), Ok(bytes), "{word}");
    }
    for bad in [
        "",
        "k",
        ".5k",
        "1.",
        "1..5k",
        "1.5.5",
        "-1",
        "+1",
        "1kk",
        "1 k",
        "1e3",
        "8192p",
        "9223372036854775808",
        "99999999999999999999",
        "0x10",
        "1k\n",
        "1кб",
        "é",
    ] {
        assert!(size::parse("--x", bad).is_err(), "{bad:?}");
    }
    assert_eq!(size::memory("512k"), Ok(512 << 10));
    assert!(size::memory("511k").is_err());
    assert_eq!(size::shm_size("64m"), Ok(64 << 20));
    assert!(size::shm_size("0").is_err());
}

#[test]
fn processors_and_processes() {
    assert_eq!(limits::cpus("0.5"), Ok(0.5));
    assert_eq!(limits::cpus("2"), Ok(2.0));
    for bad in ["", "0", "-1", "1e3", "inf", "NaN", "0.001", "65537", "1.5.5", " 1"] {
        assert!(limits::cpus(bad).is_err(), "{bad:?}");
    }
    for (word, number) in [("100", 100), ("-1", -1), ("0", -1), ("4194304", 4_194_304)] {
        assert_eq!(limits::pids(word), Ok(number));
    }
    for bad in ["", "-2", "4194305", "1.5", "many"] {
        assert!(limits::pids(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn ulimits() {
    let table = [
        ("nofile=1024", "RLIMIT_NOFILE", 1024, 1024),
        ("nofile=1024:4096", "RLIMIT_NOFILE", 1024, 4096),
        ("core=unlimited", "RLIMIT_CORE", u64::MAX, u64::MAX),
        ("RLIMIT_CPU=5:-1", "RLIMIT_CPU", 5, u64::MAX),
        ("memlock=-1:-1", "RLIMIT_MEMLOCK", u64::MAX, u64::MAX),
    ];
    for (word, name, soft, hard) in table {
        let limit = ulimit::parse(word).unwrap();
        assert_eq!((limit.name.as_str(), limit.soft, limit.hard), (name, soft, hard), "{word}");
    }
    for bad in [
        "",
        "nofile",
        "nofile=",
        "files=1",
        "nofile=2:1",
        "nofile=-1:5",
        "nofile=1:2:3",
        "nofile=-2",
        "=1",
        "nofile=+1",
    ] {
        assert!(ulimit::parse(bad).is_err(), "{bad:?}");
    }
    assert!(text(ulimit::parse("files=1")).contains("known are as, core"));
}

#[test]
fn sysctls() {
    for good in [
        "net.ipv4.ip_forward=1",
        "net.ipv4.ping_group_range=0 100",
        "net.ipv4.tcp_congestion_control=bbr",
        "net.ipv4.conf.eth-0.rp_filter=2",
        "kernel.shmmax=1000",
        "kernel.sem=250 32000 32 128",
        "kernel.shm_rmid_forced=1",
        "kernel.msgmax=65536",
        "fs.mqueue.msg_max=20",
    ] {
        let (name, value) = good.split_once('=').unwrap();
        assert_eq!(sysctl::parse(good), Ok((name.into(), value.into())));
    }
    for bad in [
        "",
        "net.ipv4.ip_forward",
        "net.ipv4.ip_forward=",
        "kernel.core_pattern=|/x",
        "kernel.shm_rmid_forced=1+kernel.core_pattern=x",
        "kernel.shmmax=1\nkernel.core_pattern=x",
        "kernel.shmmax=1=2",
        "net/ipv4/ip_forward=1",
        "net.ipv4/../../kernel.core_pattern=1",
        "net..ipv4=1",
        ".net.ipv4=1",
        "net.=1",
        "netx.ipv4=1",
        "kernel.shmall.x=1",
        "vm.swappiness=1",
        "kernel.domainname=x",
        "fs.file-max=1",
        "net.ipv4.x=/../y",
        "net.ipv4.x=é",
    ] {
        assert!(sysctl::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_and_addresses() {
    for good in ["web", "a", "web-1.example.org", "WEB_1", &"a".repeat(63)] {
        assert_eq!(names::hostname(good).as_deref(), Ok(good));
    }
    for bad in ["", "-a", "a-", "a..b", ".a", "a.", "a b", "a/b", "a\n", "é", &"a".repeat(64), &"a.".repeat(40)] {
        assert!(names::hostname(bad).is_err(), "{bad:?}");
    }
    let table = [
        ("db:10.0.0.2", "db", "10.0.0.2"),
        ("db=10.0.0.2", "db", "10.0.0.2"),
        ("six:::1", "six", "::1"),
        ("six:[fd00::1]", "six", "fd00::1"),
        ("up:host-gateway", "up", "host-gateway"),
    ];
    for (word, name, address) in table {
        assert_eq!(names::add_host(word), Ok((name.into(), address.into())), "{word}");
    }
    for bad in ["", "db", "db:", ":1.1.1.1", "db:1.1.1", "db:1.1.1.1 x", "d b:1.1.1.1", "db\n:1.1.1.1", "db:[::1"] {
        assert!(names::add_host(bad).is_err(), "{bad:?}");
    }
    assert_eq!(names::dns("9.9.9.9").map(|ip| ip.to_string()).as_deref(), Ok("9.9.9.9"));
    assert!(names::dns("dns.example.org").is_err());
}

#[test]
fn labels() {
    for (word, key, value) in
        [("a=b", "a", "b"), ("a", "a", ""), ("a=b=c", "a", "b=c"), ("org.x/y=z\nw", "org.x/y", "z\nw")]
    {
        assert_eq!(label::parse(word), Ok((key.into(), value.into())));
    }
    for bad in ["", "=b", "a b=c", "a\n=c", "a=\0"] {
        assert!(label::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn variables() {
    let lookup = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
    let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    let table = [
        ("A=b", pair("A", "b")),
        ("A=", pair("A", "")),
        ("A=b=c d\n", pair("A", "b=c d\n")),
        ("HOME", pair("HOME", "/home/u")),
        ("UNSET", None),
        ("A*=b", pair("A*", "b")),
    ];
    for (word, expected) in table {
        assert_eq!(env::parse(word, lookup), Ok(expected), "{word:?}");
    }
    for bad in ["", "=b", "*", "A*", "A B=c", "A\n=c", "A=\0", "A\0"] {
        assert!(env::parse(bad, lookup).is_err(), "{bad:?}");
    }
    let file = "\u{feff}# note\nA=b\r\n\n  B='quoted'  \nHOME\nUNSET\n#C=1\nC=#1\n";
    let expected: Vec<(String, String)> =
        [("A", "b"), ("B", "'quoted'  "), ("HOME", "/home/u"), ("C", "#1")].map(|(n, v)| (n.into(), v.into())).into();
    assert_eq!(env::parse_file(file, lookup), Ok(expected));
    assert!(text(env::parse_file("A=b\n=c\n", lookup)).contains("line 2: "));
}

#[test]
fn capabilities() {
    for (word, name) in [
        ("NET_RAW", "CAP_NET_RAW"),
        ("net_raw", "CAP_NET_RAW"),
        ("cap_net_raw", "CAP_NET_RAW"),
        ("all", "ALL"),
        ("CAP_ALL", "ALL"),
        ("checkpoint_restore", "CAP_CHECKPOINT_RESTORE"),
    ] {
        assert_eq!(capability::parse("--cap-add", word).as_deref(), Ok(name));
    }
    for (bad, nearest) in
        [("NET_ROW", "NET_RAW"), ("SYSADMIN", "SYS_ADMIN"), ("PTRACE", "SYS_PTRACE"), ("chwon", "CHOWN")]
    {
        assert!(text(capability::parse("--cap-add", bad)).ends_with(&format!("nearest name is {nearest}")), "{bad}");
    }
    assert!(capability::parse("--cap-add", "").is_err());
    assert!(capability::parse("--cap-add", &"x".repeat(10_000)).is_err());
}

#[test]
fn security_options() {
    let mut security = Security::default();
    for word in [
        "no-new-privileges",
        "seccomp=unconfined",
        "apparmor=web",
        "label=disable",
        "mask=/a:/b",
        "unmask=/proc/kcore",
        "unmask=ALL",
    ] {
        security::apply(&mut security, word, |_| Err("not asked".into())).unwrap();
    }
    let expected = Security {
        no_new_privileges: true,
        seccomp: Seccomp::Unconfined,
        apparmor: Some("web".into()),
        labels: vec!["disable".into()],
        mask: vec!["/a".into(), "/b".into()],
        unmask: vec!["/proc/kcore".into(), "ALL".into()],
    };
    assert_eq!(security, expected);
    security::apply(&mut security, "no-new-privileges:false", |_| Err(String::new())).unwrap();
    security::apply(&mut security, "seccomp=/p.json", |path| Ok(format!("text of {path}"))).unwrap();
    assert!(!security.no_new_privileges);
    assert_eq!(security.seccomp, Seccomp::Profile("text of /p.json".into()));
    for bad in [
        "",
        "wat",
        "no-new-privileges=maybe",
        "seccomp=",
        "seccomp",
        "mask=a",
        "mask=/a/../b",
        "unmask=",
        "apparmor=a b",
        "seccomp=/gone",
    ] {
        assert!(security::apply(&mut security, bad, |_| Err("no such file".into())).is_err(), "{bad:?}");
    }
}

#[test]
fn users() {
    use account::{Account, UserSpec, parse_group, parse_user};
    let id = |id| Account::Id(id);
    let name = |name: &str| Account::Name(name.into());
    let table = [
        ("0", id(0), None),
        ("1000", id(1000), None),
        ("00012", id(12), None),
        ("2147483648", id(2_147_483_648), None),
        ("4294967294", id(4_294_967_294), None),
        ("web", name("web"), None),
        ("web:www", name("web"), Some(name("www"))),
        ("1:2", id(1), Some(id(2))),
        ("_apt:0", name("_apt"), Some(id(0))),
        ("1web", name("1web"), None),
    ];
    for (word, user, group) in table {
        assert_eq!(parse_user(word), Ok(UserSpec { user, group }), "{word}");
    }
    for bad in [
        "",
        ":",
        "1:",
        ":1",
        "4294967295",
        "4294967296",
        "99999999999",
        "-1",
        "+1",
        "1:4294967295",
        "1:-1",
        "a b",
        "a\n",
        "a:b:c",
        "a/b",
        "\0",
    ] {
        assert!(parse_user(bad).is_err(), "{bad:?}");
    }
    assert_eq!(parse_group("50"), Ok(id(50)));
    assert!(text(parse_group("keep-groups")).contains("never kept"));
}

#[test]
fn signals() {
    for (word, number) in [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigint", 2),
        ("9", 9),
        ("64", 64),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("WINCH", 28),
    ] {
        assert_eq!(signal::parse("--stop-signal", word), Ok(number), "{word}");
    }
    for bad in
        ["", "0", "65", "-9", "+9", "SIG", "TERMINATE", "RTMIN+31", "RTMIN-1", "RTMAX+1", "SIG9", "RTMIN+", "15 "]
    {
        assert!(signal::parse("--stop-signal", bad).is_err(), "{bad:?}");
    }
}

#[test]
fn single_words() {
    let keep = |uid, gid| UserNamespace::KeepId { uid, gid };
    for (word, mode) in [
        ("", UserNamespace::Default),
        ("private", UserNamespace::Default),
        ("auto", UserNamespace::Default),
        ("host", UserNamespace::Host),
        ("keep-id", keep(None, None)),
        ("keep-id:uid=1000,gid=100", keep(Some(1000), Some(100))),
        ("keep-id:gid=0", keep(None, Some(0))),
    ] {
        assert_eq!(userns::parse(word), Ok(mode), "{word}");
    }
    for bad in [
        "keep",
        "keep-id:",
        "keep-id:uid=",
        "keep-id:uid=x",
        "keep-id:uid=1,uid=2",
        "keep-id:uid=4294967295",
        "nomap",
        "keep-id:uid=+1",
    ] {
        assert!(userns::parse(bad).is_err(), "{bad:?}");
    }
    assert!(words::pull("newer").is_ok() && words::pull("sometimes").is_err());
    assert_eq!(words::platform("arm64").map(|p| p.to_string()).as_deref(), Ok("linux/arm64"));
    assert!(words::platform("a/b/c/d").is_err());
}
