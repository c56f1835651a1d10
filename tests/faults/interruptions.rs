//! T27: signals to the command: it ends as the signal says, soon, and leaves a terminal and a store that are well.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::aftermath::{armed, faulty, field, gone, ordinary, whole, with_busybox};
use crate::guest::{Guest, awaits};
use crate::harness::{Live, Run};
use crate::person::Person;

const ALL: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

#[test]
fn a_pull_ends_within_a_moment() {
    let Some(live) = armed() else { return };
    let image = live.debian();
    for signal in ALL {
        for milliseconds in [30, 300, 900] {
            for double in [false, true] {
                // Slow, so that it is not over before.
                let pull = faulty(&live, "pull.bytes_appended:sleep=100", ["pull", "-q", &image]).start();
                std::thread::sleep(Duration::from_millis(milliseconds));
                pull.signal(signal);
                if double {
                    std::thread::sleep(Duration::from_millis(20));
                    kill(pull.pid(), signal).ok();
                }
                let begun = Instant::now();
                let end = pull.wait();
                assert!(begun.elapsed() < Duration::from_secs(2), "{signal}: {:?}", begun.elapsed());
                let code = end.code.or(end.signal.map(|signal| 128 + signal));
                assert!(matches!(code, Some(129 | 130 | 143)), "{signal}: {end}");
                whole(&live, "a pull that was interrupted");
            }
        }
    }
    gone(&live, "pulls that were interrupted");
}

#[test]
fn a_run_hands_signals_on_and_ends_with_its_container() {
    let Some(live) = Live::new() else { return };
    let image = with_busybox(&live);
    let script = "for s in INT TERM HUP; do trap \"echo got $s; exit 4$s\" $s; done; trap 'exit 41' INT; trap 'exit 42' TERM; \
                  trap 'exit 43' HUP; echo ready; while :; do sleep 0.05; done";
    for (signal, code) in ALL.into_iter().zip([41, 42, 43]) {
        let running = live.pybox(["run", "--rm", "--name", "signalled", &image, "sh", "-c", script]).within(10).start();
        awaits(|| ordinary(&live, ["logs", "signalled"]).text() == "ready");
        running.signal(signal);
        // Another one, as of a person who is impatient; the container may be gone by then.
        kill(running.pid(), signal).ok();
        running.wait().exits(code);
        gone(&live, &format!("{signal} to run"));
    }
    // One that is deaf to them is ended by who has another way to say it.
    let deaf = "trap '' INT TERM HUP; echo ready; while :; do sleep 0.05; done";
    let running = live.pybox(["run", "--rm", "--name", "deaf", &image, "sh", "-c", deaf]).within(20).start();
    awaits(|| ordinary(&live, ["logs", "deaf"]).text() == "ready");
    for signal in ALL {
        running.signal(signal);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(field(&live, "deaf", ".State.Status").as_deref(), Some("running"));
    ordinary(&live, ["rm", "-f", "deaf"]).exits(0);
    running.wait().exits(137);
    gone(&live, "signals to a deaf container");
}

#[test]
fn signals_between_the_steps_of_a_run_leave_nothing() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    for point in [
        "run.image_found",
        "create.bundle_locked",
        "create.filled",
        "create.row_inserted",
        "start.told",
        "start.started_seen",
    ] {
        for signal in ALL {
            let slow = format!("{point}:sleep=400");
            let words =
                ["run", "--rm", "--name", "early", &image, "sh", "-c", "trap 'exit 0' INT TERM HUP; sleep 30 & wait"];
            let running = faulty(&live, &slow, words).start();
            std::thread::sleep(Duration::from_millis(250));
            // A first process that has not set its traps yet misses a signal: people press the key again.
            for _ in 0..20 {
                if kill(running.pid(), signal).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let end = running.wait();
            assert!(!end.stderr.contains("panicked"), "{point} {signal}: {end}");
            gone(&live, &format!("{signal} at {point}"));
        }
    }
}

#[test]
fn a_terminal_is_given_back_however_an_exec_ends() {
    let Some(live) = Live::new() else { return };
    with_busybox(&live);
    let guest = Guest::sleeps(&live, &[]);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut person = Person::runs(&live, &["exec", "-it", "guest", "sh"]);
        person.sees("# ");
        assert_ne!(person.settings(), person.before, "it was not raw");
        // setsid has become the program.
        let program = Pid::from_raw(person.program.id().try_into().expect("a pid"));
        kill(program, signal).expect("send a signal");
        assert_eq!(person.waits(), 128 + signal as i32);
        assert_eq!(person.settings(), person.before, "after {signal}");
        // The shell hears of the hang-up.
        awaits(|| {
            guest.count("sh") <= 1 + usize::from(guest.processes().iter().any(|line| line.starts_with("sh -c trap")))
        });
    }
    // Keys go to the program.
    let mut person = Person::runs(&live, &["exec", "-it", "guest", "sh"]);
    person.sees("# ");
    person.types("sleep 100\r");
    std::thread::sleep(Duration::from_millis(200));
    person.types("\x03\x03echo mark$((40+2))\r");
    person.sees("mark42");
    person.types("exit 5\r");
    assert_eq!(person.waits(), 5);
    drop(guest);
    gone(&live, "terminals");
}

#[test]
fn an_exec_without_terminal_is_killed_and_takes_its_program_along() {
    let Some(live) = Live::new() else { return };
    with_busybox(&live);
    let guest = Guest::sleeps(&live, &[]);
    for signal in ALL {
        let running =
            guest.exec(&["-i"], &["sh", "-c", "echo begun; cat; echo x; sleep 0.1; echo y"]).stdin("").start();
        running.wait().exits(0);
        let mut command = live.command(live.program());
        command.args(["exec", "guest", "sh", "-c", "while echo tick; do sleep 0.05; done"]);
        let running = Run::of(command).within(10).start();
        awaits(|| guest.count("sh -c while echo tick") == 1);
        running.signal(signal);
        let end = running.wait();
        assert!(end.signal == Some(signal as i32) || end.code == Some(128 + signal as i32), "{end}");
        awaits(|| guest.count("sh -c while echo tick") == 0);
    }
    drop(guest);
    gone(&live, "execs that were ended");
}
