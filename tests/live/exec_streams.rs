//! The bytes and the terminal of `exec`.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};

use crate::exec::{Guest, awaits};
use crate::harness::Live;
use crate::terminal::Person;

/// Bytes of every value, in no order.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn bytes_are_exact_in_both_directions() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    let bytes = noise(30 << 20);
    let end = guest.exec(&["-i"], &["cat"]).stdin(bytes.clone()).within(120).run().exits(0);
    assert!(end.stdout == bytes && end.stderr.is_empty(), "{} bytes came back of {}", end.stdout.len(), bytes.len());
    let script = "head -c 5000000 /dev/zero | tr '\\0' o; head -c 3000000 /dev/zero | tr '\\0' e >&2; exit 9";
    let end = guest.sh(&[], script).within(120).run().exits(9);
    assert!(end.stdout.len() == 5_000_000 && end.stdout.iter().all(|byte| *byte == b'o'), "{}", end.stdout.len());
    assert!(end.stderr.len() == 3_000_000 && end.stderr.bytes().all(|byte| byte == b'e'), "{}", end.stderr.len());
    // Without -i there is nothing to read, whatever we are given.
    assert_eq!(guest.exec(&[], &["wc", "-c"]).stdin("something").ok(), "0");
    // A program that does not read to the end is free to do so.
    assert_eq!(guest.exec(&["-i"], &["head", "-c", "3"]).stdin(noise(1 << 20)).run().exits(0).stdout, noise(3));
}

#[test]
fn files_and_devices_can_be_its_ends() {
    let Some(live) = Live::new() else { return };
    let _guest = Guest::sleeps(&live, &[]);
    let bytes = noise(3 << 20);
    let input = live.file("input", &bytes);
    let output = live.file("output", "");
    let open = |path: &std::path::Path| std::fs::File::options().read(true).write(true).open(path).expect("open");
    let mut command = live.command(live.program());
    command.args(["exec", "-i", "guest", "cat"]).stdin(open(&input)).stdout(open(&output));
    assert!(command.status().expect("run").success());
    assert_eq!(std::fs::read(&output).expect("read"), bytes);
    let mut command = live.command(live.program());
    command.args(["exec", "guest", "yes"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("run");
    let mut first = [0; 4];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("read");
    // Nobody reads any more: the program learns of it as it would in a pipeline.
    assert_eq!((child.wait().expect("wait").code(), &first), (Some(141), b"y\ny\n"));
}

#[test]
fn what_the_program_left_behind_holds_nobody_up() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    for left in ["sleep 300 &", "yes &", "(yes >&2) &"] {
        let end = guest.sh(&[], &format!("{left} echo done; exit 6")).within(30).run().exits(6);
        assert!(String::from_utf8_lossy(&end.stdout).contains("done\n"), "{left}");
        guest.kill_all("sleep 300");
        guest.kill_all("yes");
    }
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    let Some(live) = Live::new() else { return };
    let _guest = Guest::sleeps(&live, &[]);
    let mut command = live.command(live.program());
    // Fits into the pipes: the program is long gone when it is read.
    command.args(["exec", "guest", "sh", "-c", "head -c 100000 /dev/zero; echo end"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("run");
    std::thread::sleep(std::time::Duration::from_millis(600));
    let mut bytes = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut bytes).expect("read");
    assert_eq!((bytes.len(), child.wait().expect("wait").code()), (100_004, Some(0)));
    assert!(bytes.ends_with(b"\0end\n"));
}

#[test]
fn a_killed_client_takes_its_command_along() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    // It reads: its input ends. It writes: nobody reads.
    for (flags, words, pattern) in
        [(&["-i"] as &[&str], &["cat"] as &[&str], "cat"), (&[], &["yes"], "yes"), (&["-i"], &["sh", "-s"], "sh -s")]
    {
        for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
            let mut command = live.command(live.program());
            command.arg("exec").args(flags).arg("guest").args(words);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run");
            let input = child.stdin.take().expect("a pipe");
            let _ = (&input).write_all(b"#\n");
            awaits(|| guest.count(pattern) == 1);
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a pid"));
            kill(pid, signal).expect("kill");
            assert_eq!(child.wait().expect("wait").code(), None);
            awaits(|| guest.count(pattern) == 0);
        }
    }
    guest.exec(&[], &["true"]).ok();
}

#[test]
fn a_terminal_has_the_size_of_ours_and_changes_with_it() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    let script = "tty; stty size; trap 'stty size; exit 5' WINCH; echo rea''dy; while :; do sleep 0.05; done";
    let mut person = Person::runs(&live, &["exec", "-it", "guest", "sh", "-c", script]);
    let shown = person.sees("ready");
    assert!(shown.contains("/dev/pts/") && shown.contains("33 99"), "{shown:?}");
    let size = rustix::termios::Winsize { ws_row: 11, ws_col: 22, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&person.keyboard, size).expect("resize");
    person.sees("11 22");
    assert_eq!(person.waits(), 5);
    assert_eq!(person.settings(), person.before);
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_shell_can_be_talked_to() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &["-t"]);
    let mut person = Person::runs(&live, &["exec", "-it", "-u", "app", "-w", "/tmp", "guest", "sh"]);
    person.sees("$ ");
    person.types("id -u; echo mark$((40+2)); stat -c %u $(tty)\r");
    assert!(person.sees("mark42\r\n1000\r\n").contains("1000"));
    // The key ends what is in front, not the shell and not us.
    person.types("sleep 300\r");
    awaits(|| guest.count("sleep 300") == 1);
    person.types("\u{3}");
    person.types("echo still$((1+1))\r");
    person.sees("still2");
    person.types("exit 7\r");
    assert_eq!(person.waits(), 7);
}

#[test]
fn a_terminal_that_goes_away_hangs_up() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGHUP] {
        let mut person = Person::runs(&live, &["exec", "-it", "guest", "sh", "-c", "echo rea''dy; sleep 301"]);
        person.sees("ready");
        let pid = person.program.id().try_into().expect("a pid");
        kill(nix::unistd::Pid::from_raw(pid), signal).expect("kill");
        person.program.wait().expect("wait");
        if signal != Signal::SIGKILL {
            assert_eq!(person.settings(), person.before);
        }
        awaits(|| guest.count("sleep 301") == 0);
    }
}

#[test]
fn keys_leave_the_command_running() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    let flags = ["exec", "-it", "--detach-keys", "ctrl-p,ctrl-q", "guest"];
    let script = "echo rea''dy; read line; yes | head -c 200000; touch /tmp/done; sleep 302";
    let mut person = Person::runs(&live, &[&flags[..], &["sh", "-c", script]].concat());
    person.sees("ready");
    person.types("x\u{10}\u{11}");
    assert_eq!(person.waits(), 0);
    assert_eq!(person.settings(), person.before);
    assert!(guest.count("sh -c echo rea") == 1);
    drop(person);
    assert!(guest.count("sh -c echo rea") == 1);
}
