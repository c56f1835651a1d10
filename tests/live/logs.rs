//! What containers write is kept, byte for byte, and shown as it is asked for.

use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use crate::exec::{Guest, awaits};
use crate::harness::Live;

/// Runs a container in the background and waits for its end.
fn wrote(live: &Live, flags: &[&str], script: &str) {
    let image = live.image("busybox");
    let words = ["run", "-d", "--name", "writer"].iter().chain(flags).copied();
    live.pybox(words.chain([image.as_str(), "sh", "-c", script])).ok();
    live.pybox(["wait", "writer"]).within(120).ok();
}

#[test]
fn both_streams_are_kept_apart_and_exact() {
    let Some(live) = Live::new() else { return };
    wrote(&live, &[], r"printf 'a\000b\377\r\n'; echo error >&2; printf 'no end'");
    let end = live.pybox(["logs", "writer"]).run().exits(0);
    assert_eq!((end.stdout.as_slice(), end.stderr.as_str()), (b"a\0b\xff\r\nno end".as_slice(), "error\n"));
    let end = live.pybox(["container", "logs", "-f", "writer"]).run().exits(0);
    assert_eq!(end.stdout, b"a\0b\xff\r\nno end");
    // A restart goes on with it.
    live.pybox(["start", "writer"]).ok();
    live.pybox(["wait", "writer"]).ok();
    assert_eq!(live.pybox(["logs", "writer"]).run().exits(0).stdout, b"a\0b\xff\r\nno enda\0b\xff\r\nno end");
    live.pybox(["rm", "writer"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn what_is_asked_for_is_shown() {
    let Some(live) = Live::new() else { return };
    wrote(&live, &[], "for n in 1 2 3 4 5 6 7 8 9; do echo line $n; sleep 0.01; done");
    let shown = |flags: &[&str]| live.pybox(["logs", "writer"].iter().chain(flags).copied()).ok();
    assert_eq!(shown(&["--tail", "2"]), "line 8\nline 9");
    assert_eq!(shown(&["-n", "0"]), "");
    assert_eq!((shown(&["-n", "all"]).lines().count(), shown(&["-n", "-1"]).lines().count()), (9, 9));
    let stamped = shown(&["-t", "-n", "5"]);
    let times: Vec<&str> = stamped.lines().map(|line| line.split_once(" line ").expect("a time").0).collect();
    assert!(times.len() == 5 && times.iter().all(|time| time.len() == 30 && time.ends_with('Z')), "{stamped}");
    let mut sorted = times.clone();
    sorted.sort_unstable();
    assert_eq!(times, sorted);
    // The third of the last five begins a millisecond after this.
    let millis = |time: &str| format!("{}Z", &time[..23]);
    assert_eq!(shown(&["--since", &millis(times[2])]), "line 7\nline 8\nline 9");
    assert_eq!(shown(&["--until", &millis(times[2]), "-n", "3"]), "");
    assert_eq!((shown(&["--since", "1h"]).lines().count(), shown(&["--since", "0s"]).as_str()), (9, ""));
    live.pybox(["logs", "writer", "--tail", "some"]).run().refuses(1, "--tail");
    live.pybox(["logs", "writer", "--since", "nosuch"]).run().refuses(1, "--since");
    live.pybox(["logs", "nosuch"]).run().refuses(1, "nosuch").says("pybox ps --all");
}

#[test]
fn the_journal_keeps_it_and_gives_it_back() {
    let Some(live) = Live::new() else { return };
    // The one that another test may play listens at one place only.
    if !std::path::Path::new("/run/systemd/journal/stdout").exists() {
        return println!("SKIPPED: no journald runs here");
    }
    let script =
        r"printf 'a\000b\377\r\n'; echo error >&2; echo; head -c 50000 /dev/zero | tr '\0' x; printf '\nno end'";
    wrote(&live, &["--log-driver", "journald", "--log-opt", "tag={{.Name}}"], script);
    let expected = [b"a\0b\xff\r\n\n".as_slice(), &[b'x'; 50_000], b"\nno end"].concat();
    for flags in [[].as_slice(), &["-f"], &["--since", "1h"], &["-n", "9"]] {
        let end = live.pybox(["logs", "writer"].iter().chain(flags).copied()).run().exits(0);
        assert_eq!((end.stdout, end.stderr.as_str()), (expected.clone(), "error\n"), "{flags:?}");
    }
    assert_eq!(live.pybox(["logs", "-n", "1", "writer"]).ok(), "no end");
    assert_eq!(live.pybox(["logs", "--until", "1h", "writer"]).ok(), "");
    live.pybox(["rm", "writer"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn who_follows_sees_all_of_it_through_rotations() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let script = "for n in 1 2 3 4 5 6 7 8 9; do seq ${n}000 ${n}999; sleep 0.1; done; echo end";
    let flags = ["run", "-d", "--name", "writer", "--log-opt", "max-size=10k", "--log-opt", "max-file=9"];
    live.pybox(flags.iter().copied().chain([image.as_str(), "sh", "-c", script])).ok();
    let end = live.pybox(["logs", "-f", "writer"]).within(60).run().exits(0);
    let expected: String = (1000..=9999).map(|number| format!("{number}\n")).chain(["end\n".to_owned()]).collect();
    assert!(end.stdout == expected.as_bytes(), "{} bytes instead of {}", end.stdout.len(), expected.len());
    let kept = live.pybox(["logs", "writer"]).ok();
    assert!(kept.len() <= 9 * 10_240 && kept.ends_with("9999\nend"), "{}", kept.len());
}

#[test]
fn who_follows_stays_through_a_restart() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &["--restart", "on-failure:2"], "echo begun; sleep 0.2; exit 3");
    let end = live.pybox(["logs", "-f", "guest"]).within(60).run().exits(0);
    assert_eq!(end.text(), "begun\nbegun\nbegun");
    drop(guest);
}

#[test]
fn much_output_is_whole_for_everybody() {
    let Some(live) = Live::new() else { return };
    let script = "until test -e /tmp/go; do sleep 0.02; done; seq 1 1000000; seq 1 300000 >&2";
    let writer = Guest::runs(&live, &[], script);
    let lines = |most: u32| (1..=most).map(|number| format!("{number}\n")).collect::<String>().into_bytes();
    let (output, error) = (lines(1_000_000), lines(300_000));
    let (_, monitor) = writer.pids();
    let descriptors = || std::fs::read_dir(format!("/proc/{monitor}/fd")).expect("descriptors").count();
    let unattached = descriptors();
    // One reads at once, one late, one has gone in the middle of it.
    let mut slow = live.command(live.program());
    slow.args(["attach", "--no-stdin", "guest"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut slow = slow.spawn().expect("run");
    let quick = live.pybox(["attach", "--no-stdin", "guest"]).within(120).start();
    let follower = live.pybox(["logs", "-f", "guest"]).within(120).start();
    let mut gone = live.command(live.program());
    gone.args(["attach", "--no-stdin", "guest"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut gone = gone.spawn().expect("run");
    // Each with its socket, its output and its error.
    awaits(|| descriptors() >= unattached + 9);
    live.pybox(["exec", "guest", "touch", "/tmp/go"]).ok();
    let mut first = [0; 100];
    gone.stdout.take().expect("a pipe").read_exact(&mut first).expect("read");
    gone.wait().expect("wait");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut slowly = Vec::new();
    slow.stdout.take().expect("a pipe").read_to_end(&mut slowly).expect("read");
    assert!(slow.wait().expect("wait").success() && slowly == output, "{} bytes", slowly.len());
    for running in [quick, follower] {
        let end = running.wait().exits(0);
        assert!(end.stdout == output && end.stderr.as_bytes() == error, "{} bytes", end.stdout.len());
    }
    let kept = live.pybox(["logs", "guest"]).run().exits(0);
    assert!(kept.stdout == output && kept.stderr.as_bytes() == error);
    drop(writer);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn one_that_is_read_by_nobody_goes_on() {
    let Some(live) = Live::new() else { return };
    wrote(&live, &["--log-driver", "none"], "seq 1 200000; echo done > /tmp/done");
    live.pybox(["logs", "writer"]).run().refuses(1, "--log-driver none").says("pybox attach");
    live.pybox(["rm", "writer"]).ok();
    // A reader of the log that has had enough ends quietly.
    wrote(&live, &[], "seq 1 200000");
    let mut command = live.command("sh");
    command.args(["-c", &format!("'{}' logs writer | head -n 2", live.program().display())]);
    let end = crate::harness::Run::of(command).run().exits(0);
    assert_eq!((end.text(), end.stderr.as_str()), ("1\n2".to_owned(), ""));
}

#[test]
fn a_flood_is_bounded_by_rotation_and_memory_stays_flat() {
    let Some(live) = Live::new() else { return };
    let flags = ["--log-opt", "max-size=1m", "--log-opt", "max-file=2"];
    let guest = Guest::runs(
        &live,
        &flags,
        "touch /tmp/ready; head -c 300000000 /dev/zero; yes | head -c 50000000; exec sleep 300",
    );
    let (_, monitor) = guest.pids();
    let used = |field: &str| {
        let status = std::fs::read_to_string(format!("/proc/{monitor}/status")).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field").trim().to_owned();
        line.split(' ').next().expect("a number").parse::<u64>().expect("a number")
    };
    awaits(|| guest.count("sleep 300") == 1);
    let peak = used("VmHWM:");
    assert!(peak < 40_000, "the monitor took {peak} KiB");
    let kept = live.pybox(["logs", "guest"]).run().exits(0).stdout;
    assert!(kept.len() <= 2 << 20 && kept.ends_with(b"y\ny\n"), "{}", kept.len());
}

#[test]
fn who_follows_until_a_time_is_let_go_of_at_that_time() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &[], "echo begun; touch /tmp/ready; exec sleep 300");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let until = (now.as_secs() + 3).to_string();
    // It writes nothing more, so nothing but the clock can end this.
    let end = live.pybox(["logs", "-f", "--until", &until, "guest"]).within(60).run().exits(0);
    assert_eq!(end.text(), "begun");
    drop(guest);
}

/// A journal for as long as this lives: only root can be one, and only where there is none. It hears other tests too,
/// and reads at once, as journald does: who finds no room for a line in time does without.
struct FakeJournal {
    socket: UnixDatagram,
    entries: std::sync::mpsc::Receiver<String>,
}

impl FakeJournal {
    const SOCKET: &str = "/run/systemd/journal/socket";

    fn new() -> Option<Self> {
        if std::path::Path::new(Self::SOCKET).exists() {
            return None;
        }
        std::fs::create_dir_all("/run/systemd/journal").ok()?;
        let socket = UnixDatagram::bind(Self::SOCKET).ok()?;
        std::os::unix::fs::chown(Self::SOCKET, None, None).ok()?;
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(Self::SOCKET, open).ok()?;
        let (reader, (heard, entries)) = (socket.try_clone().ok()?, std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = reader.recv(&mut buffer) {
                if heard.send(String::from_utf8_lossy(&buffer[..count]).into_owned()).is_err() {
                    break;
                }
            }
        });
        Some(Self { socket, entries })
    }

    /// Waits for that many lines of the container.
    fn lines_of(&self, container: &str, count: usize) -> Vec<String> {
        let next = || self.entries.recv_timeout(std::time::Duration::from_secs(30)).expect("an entry");
        // Events of this container, and of those of other tests, are told in between.
        let lines = std::iter::repeat_with(next).filter(|entry| entry.contains("CONTAINER_NAME\n"));
        lines.filter(|entry| entry.contains(&format!("{container}\n"))).take(count).collect()
    }
}

impl Drop for FakeJournal {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(Self::SOCKET);
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn the_journal_is_told_and_who_may_not_read_it_has_a_file() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let words = ["run", "--name", "told", "--log-driver", "journald", &image, "sh", "-c", "echo one; echo two >&2"];
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED: only root can be a journal");
    }
    let Some(journal) = FakeJournal::new() else {
        return println!("SKIPPED: a journal listens here already, and must not be written to by tests");
    };
    live.pybox(words).ok();
    let entries = journal.lines_of("told", 2);
    for (line, priority) in
        [("one", "PRIORITY\n\u{1}\0\0\0\0\0\0\u{0}6\n"), ("two", "PRIORITY\n\u{1}\0\0\0\0\0\0\u{0}3\n")]
    {
        let entry = entries.iter().find(|entry| entry.ends_with(&format!("{line}\n"))).expect("an entry for the line");
        assert!(entry.contains("CONTAINER_NAME\n") && entry.contains("told\n"), "{entry:?}");
        assert!(entry.contains(priority), "{entry:?}");
    }
    if std::path::Path::new("/var/log/journal").exists() {
        println!("SKIPPED: reading it again, since the journal would be asked that has heard nothing");
    } else {
        assert!(entries.iter().all(|entry| entry.contains("PYBOX_KEPT\n")), "{entries:?}");
        let end = live.pybox(["logs", "told"]).run().exits(0);
        assert_eq!((end.text().as_str(), end.stderr.as_str()), ("one\n", "two\n"));
    }
    drop(journal);
    live.pybox(["run", "--rm", "--log-driver", "journald", &image, "true"]).run().refuses(125, "no journal listens");
}
