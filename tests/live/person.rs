//! Somebody at a terminal, who types and looks.

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
    /// The terminal's settings before the program had it.
    pub(crate) before: Termios,
    pub(crate) program: Child,
}

impl Person {
    /// Runs `pybox ARGUMENTS…` in a session of its own, on a terminal of 33 rows and 99 columns.
    pub(crate) fn runs(live: &Live, arguments: &[&str]) -> Self {
        let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("a terminal");
        let before = tcgetattr(&slave).expect("read the terminal's settings");
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
        Self { keyboard, screen: told, seen: String::new(), device: slave, before, program }
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
