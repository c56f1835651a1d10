//! What happens when the server is killed (T6 of the design's SECURITY.md), and when the host
//! or a second server has its hands in the upper directory.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::inside::{Told, again};
use crate::systems::{System, enter};
use crate::trial::{Trial, awaited, cannot};

const LAYERS: &str = "== death\n1: mkdir d\n1: many d 100\n1: file f \"a\"*4000000\n2: file g \"b\"*4000000\n";
const CASE: &str = "c0000";
/// Longer than anybody may wait for a dead server.
const PROMPTLY: Duration = Duration::from_secs(10);

/// Runs inside: says that it is ready, then works until the file system is gone, on several threads.
pub(crate) fn work(told: &Told) {
    let dir = told.place.mounted().join(CASE);
    let kept = std::fs::File::create(dir.join("kept")).expect("make a file");
    kept.write_all_at(&[b'k'; 100_000], 0).expect("write a file");
    kept.sync_all().expect("make it last");
    let server = std::env::var("OVERLAY_SERVER_PID").expect("the server's number");
    std::fs::write(told.place.dir.join("ready.new"), server).expect("say who serves");
    std::fs::rename(told.place.dir.join("ready.new"), told.place.dir.join("ready")).expect("say so");
    let over = AtomicBool::new(false);
    let until_error = |name: &str, act: &dyn Fn(usize) -> std::io::Result<()>| {
        let mut number = 0;
        let end = loop {
            number += 1;
            match act(number) {
                Ok(()) if over.load(Ordering::Acquire) => break "no error".into(),
                Ok(()) => {}
                Err(error) => break format!("{:?}", nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0))),
            }
        };
        // The upper of the hybrid lives on; who reads below ends the work.
        over.store(name == "reads" || over.load(Ordering::Acquire), Ordering::Release);
        std::fs::write(told.place.dir.join(format!("end.{name}")), end).expect("say how it ended");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until_error("reads", &|number| {
                std::fs::read(dir.join(["f", "g"][number % 2]))?;
                // What was read once needs no server; a name that nobody has asked for does.
                match std::fs::symlink_metadata(dir.join(format!("none{number}"))) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                    other => other.map(drop),
                }
            });
        });
        scope.spawn(|| {
            until_error("lists", &|_| std::fs::read_dir(dir.join("d"))?.try_for_each(|entry| entry.map(drop)));
        });
        scope.spawn(|| until_error("makes", &|number| std::fs::write(dir.join(format!("n{number}")), "new")));
        scope.spawn(|| {
            until_error("writes", &|number| {
                kept.write_all_at(&[b'w'; 4096], 200_000 + 4096 * (number as u64 % 100))?;
                kept.sync_data()
            });
        });
    });
}

/// Starts the work and waits until it is under way; also the number of the server.
fn start(trial: &Trial) -> (Child, Pid) {
    let part = again("work").expect("this program");
    let mut command = trial.command(&enter(trial.told.system, &trial.told.place), &part);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start the work");
    let ready = trial.told.place.dir.join("ready");
    let started = Instant::now();
    while !ready.exists() {
        assert!(started.elapsed() < Duration::from_secs(30), "the work does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let server = std::fs::read_to_string(ready).expect("the server's number").parse().expect("a number");
    let name = std::fs::read_to_string(format!("/proc/{server}/comm")).expect("the server lives");
    assert_eq!(name.trim(), "overlay_run", "not the server");
    (child, Pid::from_raw(server))
}

fn ended(child: &mut Child, since: Instant) {
    while child.try_wait().expect("wait for the work").is_none() {
        if since.elapsed() > PROMPTLY {
            child.kill().ok();
            panic!("somebody still waits {PROMPTLY:?} after the server's end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn server_is_killed(system: System) {
    if cannot(system) {
        return;
    }
    let trial = Trial::new(system, LAYERS);
    let (mut child, server) = start(&trial);
    std::thread::sleep(Duration::from_millis(300));
    kill(server, Signal::SIGKILL).expect("kill the server");
    ended(&mut child, Instant::now());
    for name in ["reads", "lists", "makes", "writes"] {
        let path = trial.told.place.dir.join(format!("end.{name}"));
        let end = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name} did not end: {error}"));
        let known = ["ENOTCONN", "ECONNABORTED", "EIO"].contains(&end.as_str());
        // What is in the hybrid's upper does not need the server, nor does a listing in the kernel's cache.
        let cached = name == "lists" || system == System::Hybrid && name != "reads";
        let lives_on = cached && end == "no error";
        assert!(known || lives_on, "{name} ended with {end}");
    }
    let kept = std::fs::read(trial.told.place.upper().join(CASE).join("kept")).expect("what was made to last");
    assert!(kept.len() >= 100_000 && kept[..100_000].iter().all(|byte| *byte == b'k'), "{} bytes are left", kept.len());
    again_whole(&trial);
}

/// The next mount of the same layers shows all of them, and takes changes.
fn again_whole(trial: &Trial) {
    let script = "cd \"$1\" && test $(cat f | wc -c) = 4000000 && test $(ls d | wc -l) = 100 && echo x >> g && \
                  test $(tail -c 2 g) = x && head -c 100000 kept | tr -d k | wc -c";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(trial.told.place.mounted().join(CASE));
    let prefix = enter(trial.told.system, &trial.told.place);
    let (status, said) = awaited(&mut trial.command(&prefix, &shell), Duration::from_secs(30));
    assert!(status.success() && said.trim() == "0", "the next mount: {status}\n{said}");
}

#[test]
fn the_server_is_killed() {
    server_is_killed(System::Fuse);
}

#[test]
fn the_server_of_a_hybrid_is_killed() {
    server_is_killed(System::Hybrid);
}

/// Whenever it happens, a file is the lower one or a whole copy of it, and no work is left over.
#[test]
fn the_server_is_killed_during_copy_up() {
    if cannot(System::Fuse) {
        return;
    }
    for delay in [0, 1, 2, 4, 8, 15] {
        let layers = "== death\n1: file f \"a\"*20000000\n1: file g \"b\"*20000000\n";
        let trial = Trial::new(System::Fuse, layers);
        let script = "cd \"$1\"; (sleep 0.00$2; kill -9 $OVERLAY_SERVER_PID) & echo x >> f; echo x >> g; wait";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(trial.told.place.mounted().join(CASE)).arg(delay.to_string());
        let prefix = enter(System::Fuse, &trial.told.place);
        let begun = Instant::now();
        awaited(&mut trial.command(&prefix, &shell), Duration::from_secs(30));
        assert!(begun.elapsed() < PROMPTLY, "somebody waited {:?}", begun.elapsed());
        let script = "cd \"$1\"; for f in f g; do head -c 20000000 $f | tr -d ab | wc -c; wc -c < $f; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(trial.told.place.mounted().join(CASE));
        let (status, said) = awaited(&mut trial.command(&prefix, &shell), Duration::from_secs(30));
        let numbers: Vec<_> = said.split_whitespace().collect();
        let whole = |at: usize| numbers.get(at) == Some(&"0") && ["20000000", "20000002"].contains(&numbers[at + 1]);
        assert!(status.success() && whole(0) && whole(2), "killed after {delay} ms: {said}");
    }
}

/// A directory with lower content is at one place or the other, with all that is in it.
#[test]
fn the_server_is_killed_during_a_move() {
    if cannot(System::Fuse) {
        return;
    }
    for delay in ["000", "002", "005", "01", "02", "04", "08"] {
        let layers = "== death\n1: mkdir d\n1: many d 300\n1: mkdir d/e\n1: many d/e 300\n2: mkdir d\n2: mkdir d/e\n2: file d/e/g x\n";
        let trial = Trial::new(System::Fuse, layers);
        let script = "cd \"$1\"; (sleep 0.$2; kill -9 $OVERLAY_SERVER_PID) & perl -e 'rename \"d\", \"m\"'; wait";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(trial.told.place.mounted().join(CASE)).arg(delay);
        let prefix = enter(System::Fuse, &trial.told.place);
        let begun = Instant::now();
        awaited(&mut trial.command(&prefix, &shell), Duration::from_secs(30));
        assert!(begun.elapsed() < PROMPTLY, "somebody waited {:?}", begun.elapsed());
        let script =
            "cd \"$1\"; ls | wc -l; find d m 2>/dev/null | wc -l; ls */e | wc -l; rm -r d m 2>/dev/null; ls | wc -l";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(trial.told.place.mounted().join(CASE));
        let (status, said) = awaited(&mut trial.command(&prefix, &shell), Duration::from_secs(30));
        let numbers: Vec<_> = said.split_whitespace().collect();
        assert!(status.success() && numbers == ["1", "603", "301", "0"], "killed after 0.{delay} s: {said}");
    }
}

fn wait_for(path: &Path) {
    let started = Instant::now();
    while !path.exists() {
        assert!(started.elapsed() < Duration::from_secs(30), "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs `inside` in the mount; `outside` is done on the upper once `inside` has said `ready`.
fn with_the_host(inside: &str, outside: impl FnOnce(&Trial)) -> String {
    let trial = Trial::new(System::Fuse, "== host\n1: mkdir d\n1: file d/f lower\n1: file low lower\n");
    let mut shell = Command::new("sh");
    shell.args(["-c", inside, "sh"]).arg(&trial.told.place.dir).current_dir("/");
    shell.env("MOUNTED", trial.told.place.mounted().join(CASE));
    let mut command = trial.command(&enter(System::Fuse, &trial.told.place), &shell);
    let running = std::thread::spawn(move || awaited(&mut command, Duration::from_secs(40)));
    wait_for(&trial.told.place.dir.join("ready"));
    outside(&trial);
    std::fs::write(trial.told.place.dir.join("go"), "").expect("let it go on");
    let (status, said) = running.join().expect("what it said");
    assert!(status.success(), "{status}\n{said}");
    said
}

const WAIT: &str = "touch \"$1\"/ready; while [ ! -e \"$1\"/go ]; do sleep 0.01; done;";

/// Changes of the host may or may not be seen. What it did not touch is right, nothing hangs,
/// and the server lives.
#[test]
fn the_host_changes_the_upper() {
    if cannot(System::Fuse) {
        return;
    }
    let inside = format!(
        "cd $MOUNTED; echo mine > mine; echo both > both; echo gone > gone; ls >/dev/null; {WAIT} \
         cat both gone new >/dev/null 2>&1; ls >/dev/null 2>&1; echo more >> both 2>/dev/null; rm -f gone; \
         cat mine low d/f; echo two > two; mkdir e && mv two e/ && cat e/two"
    );
    let said = with_the_host(&inside, |trial| {
        let upper = trial.told.place.upper().join(CASE);
        std::fs::remove_file(upper.join("gone")).expect("the host removes");
        std::fs::write(upper.join("both"), "host\n").expect("the host writes");
        std::fs::write(upper.join("new"), "host\n").expect("the host makes");
    });
    assert_eq!(said.trim(), "mine\nlowerlowertwo");
}

/// A second server on the same upper is refused, or what both write is there afterwards.
#[test]
fn a_second_server_on_one_upper() {
    if cannot(System::Fuse) {
        return;
    }
    let inside = format!("cd $MOUNTED; echo one > one; {WAIT} echo x >> low; cat one; ls d; tail -c 2 low");
    let said = with_the_host(&inside, |trial| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "cd \"$1\" && echo two > two", "sh"]).arg(trial.told.place.mounted().join(CASE));
        let prefix = enter(System::Fuse, &trial.told.place);
        let (status, said) = awaited(&mut trial.command(&prefix, &shell), Duration::from_secs(20));
        let refused = status.code() == Some(125) || said.contains("overlay_run");
        let two = std::fs::read(trial.told.place.upper().join(CASE).join("two"));
        assert!(refused || status.success() && two.is_ok_and(|two| two == b"two\n"), "{status}\n{said}");
        eprintln!("a second server is {}", if refused { "refused" } else { "taken" });
    });
    assert_eq!(said.trim(), "one\nf\nx");
}
