//! `-t`: a terminal inside for a terminal outside, which gets back what it was.

use crate::harness::Live;
pub(crate) use crate::person::Person;

#[test]
fn a_shell_can_be_talked_to() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let mut person = Person::runs(&live, &["run", "--rm", "-it", &image, "sh"]);
    person.sees("# ");
    person.types("tty; stty size; echo mark$((40+2))\r");
    let shown = person.sees("mark42");
    assert!(shown.contains("/dev/pts/0") || shown.contains("/dev/console"), "{shown:?}");
    assert!(shown.contains("33 99"), "{shown:?}");
    person.types("exit 5\r");
    assert_eq!(person.waits(), 5);
    assert_eq!(person.settings(), person.before);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn control_c_goes_to_the_container() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let mut person =
        Person::runs(&live, &["run", "--rm", "-it", "--init", &image, "sh", "-c", "echo rea''dy; exec sleep 300"]);
    person.sees("ready");
    person.types("\u{3}");
    assert_eq!(person.waits(), 130);
    assert_eq!(person.settings(), person.before);
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
    person.sees("ready");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(person.program.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("terminate");
    assert_eq!(person.waits(), 143);
    assert_eq!(person.settings(), person.before);
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
