//! `-t`: a terminal inside for a terminal outside, which gets back what it was.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use crate::harness::Live;

/// A person at a terminal: what they type and what they see.
pub(crate) struct Person {
    pub(crate) keyboard: File,
    screen: mpsc::Receiver<Vec<u8>>,
    seen: String,
    device: OwnedFd,
    pub(crate) program: Child,
}

impl Person {
    /// Runs `pybox ARGUMENTS…` in a session of its own, on a terminal of 33 rows and 99 columns.
    pub(crate) fn runs(live: &Live, arguments: &[&str]) -> Self {
        let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("a terminal");
        let stdio = || Stdio::from(slave.try_clone().expect("another descriptor"));
        // setsid makes the terminal on its standard input the controlling one, then becomes the program.
        let mut command = live.command("setsid");
        command.args(["--ctty", "--wait"]).arg(live.program()).args(arguments);
        // The test user has to open what root has opened.
        let program = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().expect("setsid");
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().expect("another descriptor");
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if tell.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard, screen: told, seen: String::new(), device: slave, program }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("type");
    }

    /// Waits until `text` has been shown since the last wait; what was shown up to it.
    pub(crate) fn sees(&mut self, text: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = Duration::from_secs(20).saturating_sub(started.elapsed());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} is not shown, but {:?}", self.seen),
            }
        }
    }

    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(&self.device).expect("read the terminal's settings")
    }

    /// Waits for the program's end; its exit code.
    pub(crate) fn waits(&mut self) -> i32 {
        let started = Instant::now();
        loop {
            if let Some(status) = self.program.try_wait().expect("wait") {
                return status.code().expect("an exit code");
            }
            if started.elapsed() > Duration::from_secs(20) {
                self.program.kill().ok();
                panic!("does not end; shown: {:?}", self.seen);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_shell_can_be_talked_to() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let mut person = Person::runs(&live, &["run", "--rm", "-it", &image, "sh"]);
    let before = person.settings();
    person.sees("# ");
    person.types("tty; stty size; echo mark$((40+2))\r");
    let shown = person.sees("mark42");
    assert!(shown.contains("/dev/pts/0") || shown.contains("/dev/console"), "{shown:?}");
    assert!(shown.contains("33 99"), "{shown:?}");
    person.types("exit 5\r");
    assert_eq!(person.waits(), 5);
    assert_eq!(person.settings(), before);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn control_c_goes_to_the_container() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let mut person =
        Person::runs(&live, &["run", "--rm", "-it", "--init", &image, "sh", "-c", "echo rea''dy; exec sleep 300"]);
    let before = person.settings();
    person.sees("ready");
    person.types("\u{3}");
    assert_eq!(person.waits(), 130);
    assert_eq!(person.settings(), before);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn control_c_without_a_terminal_inside_reaches_it_too() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let mut person =
        Person::runs(&live, &["run", "--rm", "--init", &image, "sh", "-c", "echo rea''dy; exec sleep 300"]);
    person.sees("ready");
    person.types("\u{3}");
    assert_eq!(person.waits(), 130);
}

#[test]
fn a_change_of_the_windows_size_is_passed_on() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let script = "trap 'stty size; exit 0' WINCH; echo rea''dy; while :; do sleep 0.05; done";
    let mut person = Person::runs(&live, &["run", "--rm", "-it", &image, "sh", "-c", script]);
    person.sees("ready");
    let size = rustix::termios::Winsize { ws_row: 11, ws_col: 22, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&person.keyboard, size).expect("resize");
    person.sees("11 22");
    assert_eq!(person.waits(), 0);
}

#[test]
fn the_terminal_comes_back_when_the_program_is_terminated() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let mut person =
        Person::runs(&live, &["run", "--rm", "-it", "--init", &image, "sh", "-c", "echo rea''dy; exec sleep 300"]);
    let before = person.settings();
    person.sees("ready");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(person.program.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("terminate");
    assert_eq!(person.waits(), 143);
    assert_eq!(person.settings(), before);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn the_terminal_is_the_containers_own() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let script = "stat -c '%t' $(tty) /dev/console; ls -1 /dev/pts; cut -d' ' -f 5,6,8 /proc/1/stat; echo do''ne";
    let mut person = Person::runs(&live, &["run", "--rm", "-it", &image, "sh", "-c", script]);
    let shown = person.sees("done").replace('\r', "");
    // Major 136 (0x88) is a pty; process 1 leads its session and is in the foreground of it.
    assert!(shown.starts_with("88\n88\n0\nptmx\n1 1 1\n"), "{shown:?}");
    assert_eq!(person.waits(), 0);
}

#[test]
fn a_terminal_is_not_made_out_of_a_pipe() {
    let Some(live) = Live::new() else { return };
    live.sh(&["-it"], "true").stdin("").run().refuses(125, "terminal");
    live.sh(&["-t"], "true").run().refuses(125, "terminal");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
