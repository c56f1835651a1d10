//! `exec`: what a command in a running container is given, and what is said when it cannot be.

use std::time::{Duration, Instant};

pub(crate) use crate::guest::{Guest, awaits};
use crate::harness::{Live, Running};

#[test]
fn exit_codes_are_the_commands() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    for (words, code) in [
        (&["true"] as &[&str], 0),
        (&["--", "true"], 0),
        (&["false"], 1),
        (&["sh", "-c", "exit 42"], 42),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["nosuchprogram"], 127),
        (&["/nosuch/program"], 127),
        (&["/etc"], 126),
        (&["/etc/passwd"], 126),
    ] {
        let end = guest.exec(&[], words).run().exits(code);
        assert_eq!(end.stderr.contains("hint:"), code == 126 || code == 127, "{end}");
    }
    assert_eq!(live.pybox(["container", "exec", "guest", "echo", "-n", "x"]).ok(), "x");
}

#[test]
fn what_cannot_be_is_refused() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["exec", "nosuch", "true"]).run().refuses(125, "nosuch");
    live.pybox(["exec"]).run().refuses(125, "no container");
    let guest = Guest::sleeps(&live, &[]);
    live.pybox(["exec", "guest"]).run().refuses(125, "no command");
    guest.exec(&[], &[""]).run().refuses(125, "no command");
    guest.exec(&["-w", "relative"], &["true"]).run().refuses(125, "absolute");
    guest.exec(&["-w", "/no/such"], &["true"]).run().refuses(127, "/no/such");
    guest.exec(&["-w", "/etc/passwd"], &["true"]).run().refuses(126, "/etc/passwd");
    guest.exec(&["-u", "nosuch"], &["true"]).run().refuses(125, "nosuch");
    guest.exec(&["-u", "2147483648"], &["true"]).run().refuses(125, "2147483648");
    guest.exec(&["-e", "=x"], &["true"]).run().refuses(125, "=x");
    guest.exec(&["-it"], &["true"]).run().refuses(125, "terminal");

    live.pybox(["pause", "guest"]).ok();
    guest.exec(&[], &["true"]).run().refuses(125, "container guest is paused").says("pybox unpause guest");
    live.pybox(["unpause", "guest"]).ok();
    guest.exec(&[], &["true"]).ok();
    live.pybox(["create", "--name", "fresh", &image, "true"]).ok();
    live.pybox(["exec", "fresh", "true"])
        .run()
        .refuses(125, "container fresh is not running")
        .says("pybox start fresh");
    live.pybox(["rm", "fresh"]).ok();
    live.pybox(["stop", "-t", "5", "guest"]).ok();
    guest.exec(&[], &["true"]).run().refuses(125, "container guest is not running").says("pybox start guest");
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn the_environment_is_the_containers_with_what_is_asked_for() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &["-e", "A=container", "-e", "B=container"]);
    let file = live.file("variables", "# a comment\nB=file\nC=file\n");
    let file = file.to_str().expect("a path");
    let said = guest.exec(&["-e", "C=flag", "-e", "D=with spaces", "-e", "OWN", "--env-file", file], &["env"]);
    let said = said.env("OWN", "mine").env("SECRET", "mine").ok();
    let has = |line: &str| said.lines().any(|known| known == line);
    for line in ["A=container", "B=file", "C=flag", "D=with spaces", "OWN=mine", "HOME=/root", "container=pybox"] {
        assert!(has(line), "{line} is not in\n{said}");
    }
    assert!(said.contains("PATH=") && said.contains("HOSTNAME=") && !said.contains("SECRET"), "{said}");
    assert!(!said.contains("TERM="), "{said}");
    assert_eq!(guest.sh(&["-t"], "echo $TERM").ok().trim_end(), "xterm");
}

#[test]
fn users_are_resolved_as_for_run() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &["-u", "svc"]);
    for (user, expected) in [
        ("root", "0 0 0"),
        ("app", "1000 1000 1000 44 50"),
        ("1000", "1000 1000 1000 44 50"),
        ("app:staff", "1000 50 50"),
        ("1234", "1234 0 0"),
        ("1234:4321", "1234 4321 4321"),
        ("77", "77 0 0"),
        ("1", "1 0 0"),
    ] {
        let said = guest.sh(&["-u", user], "echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n)").ok();
        let mut words: Vec<_> = said.split(' ').collect();
        let mut expected: Vec<_> = expected.split(' ').collect();
        words[2..].sort_unstable();
        expected[2..].sort_unstable();
        assert_eq!(words, expected, "{user}");
    }
    assert_eq!(guest.sh(&[], "id -u").ok(), "33");
    for (user, home) in [("root", "/root"), ("app", "/home/app"), ("1234", "/"), ("svc", "/nowhere")] {
        assert_eq!(guest.sh(&["-u", user], "echo $HOME").ok(), home, "{user}");
    }
    for user in ["99999999999", "4294967296", "4294967295", "-1", "app:nosuch", ":", "", "a:b:c"] {
        let flag = format!("--user={user}");
        assert_eq!(guest.exec(&[&flag], &["id", "-u"]).run().code, Some(125), "{user:?}");
    }
}

#[test]
fn account_files_are_those_that_the_container_has_now() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &["-e", "HOME=/set", "--group-add", "4242"]);
    guest.sh(&[], "echo 'new:x:91:92::/home/new:/bin/sh' >> /etc/passwd; echo 'extra:x:93:new' >> /etc/group").ok();
    assert_eq!(guest.sh(&["-u", "new"], "echo $(id -u) $(id -g) $(id -G) $HOME").ok(), "91 92 92 93 4242 /set");
    // What the container puts there is read with bounds, and never followed out.
    for trick in ["mkfifo /etc/passwd", "ln -s /dev/zero /etc/passwd", "ln -s ../../../../../../etc/passwd /etc/passwd"]
    {
        guest.sh(&[], &format!("rm -f /etc/passwd; {trick}")).ok();
        let started = Instant::now();
        let end = guest.exec(&["-u", &live.user.name], &["true"]).run();
        assert_eq!(end.code, Some(125), "{trick}: {end}");
        assert!(started.elapsed() < Duration::from_secs(10), "{trick}");
    }
    guest.exec(&["-u", "0"], &["true"]).run();
}

#[test]
fn it_starts_where_it_is_told_to() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &["-w", "/var/lib/made"]);
    assert_eq!(guest.exec(&[], &["pwd"]).ok(), "/var/lib/made");
    assert_eq!(guest.exec(&["-w", "/tmp"], &["pwd"]).ok(), "/tmp");
    assert_eq!(guest.exec(&["-w", "/var/run"], &["pwd", "-P"]).ok(), "/run");
    // Relative programs are of that directory.
    guest.sh(&[], "printf '#!/bin/sh\\necho here\\n' > x; chmod 755 x").ok();
    assert_eq!(guest.exec(&[], &["./x"]).ok(), "here");
}

#[test]
fn a_detached_command_is_on_its_own() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    for flags in [&["-d"] as &[&str], &["-dt"], &["-d", "-i"]] {
        let end = guest
            .sh(
                flags,
                "out=$(readlink /proc/$$/fd/1); echo $out > /tmp/out; yes | head -c 300000; touch /tmp/done; sleep 100",
            )
            .run();
        assert_eq!((end.exits(0).stdout.len(), flags.len() > 3), (0, false));
        awaits(|| guest.exec(&[], &["test", "-e", "/tmp/done"]).run().code == Some(0));
        let out = guest.sh(&[], "cat /tmp/out; rm /tmp/out /tmp/done").ok();
        guest.kill_all("sleep 100");
        assert_eq!(out, if flags.contains(&"-dt") { "/dev/pts/0" } else { "/dev/null" }, "{flags:?}");
    }
    guest.exec(&["-d"], &["nosuch"]).run().refuses(127, "nosuch");
}

#[test]
fn a_command_ends_with_its_container() {
    let Some(live) = Live::new() else { return };
    for init in [&[] as &[&str], &["--init"]] {
        let guest = Guest::runs(&live, init, "touch /tmp/ready; sleep 300");
        // Each says that it has written: a command line shows before its shell has read the first word.
        let script = "echo begun; touch /tmp/said.$$; sleep 300; exit";
        let running: Vec<Running> = (0..5).map(|_| guest.sh(&[], script).start()).collect();
        awaits(|| guest.sh(&[], "ls /tmp/said.* | wc -l").ok() == "5");
        live.pybox(["kill", "guest"]).ok();
        for running in running {
            let end = running.wait().exits(137);
            assert_eq!(end.text(), "begun");
        }
        drop(guest);
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
