//! `run`: what goes in, what comes out, and with which code.

use crate::harness::Live;

#[test]
fn exit_codes_are_those_of_docker() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    for (command, code) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 3"], 3),
        (vec!["sh", "-c", "exit 125"], 125),
        (vec!["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"], 143),
        (vec!["sh", "-c", "sh -c 'kill -KILL $$'; exit $?"], 137),
        (vec!["/etc/passwd"], 126),
        (vec!["/etc"], 126),
        (vec!["/no/such/program"], 127),
        (vec!["nosuchprogram"], 127),
    ] {
        let run = live.pybox(["run", "--rm", &image].into_iter().chain(command.iter().copied())).run();
        assert_eq!(run.code, Some(code), "{run}");
    }
    live.pybox(["run", "--rm", "--no-such-flag", &image]).run().exits(125);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_command_that_cannot_run_is_named() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["run", "--rm", &image, "nosuchprogram"]).run().refuses(127, "nosuchprogram");
    live.pybox(["run", "--rm", &image, "/etc/passwd"]).run().refuses(126, "/etc/passwd");
    live.pybox(["run", "--rm", "-w", "/etc/passwd", &image, "true"]).run().says("/etc/passwd");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn both_word_orders_are_understood() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    assert_eq!(live.pybox(["run", "--rm", &image, "echo", "--rm", "-e"]).ok(), "--rm -e");
    assert_eq!(live.pybox(["run", "--rm", "--image", &image, "--", "echo", "-n", "x"]).ok(), "x");
    assert_eq!(live.pybox(["run", "--image", &image, "--rm", "--", "echo", "y"]).ok(), "y");
}

#[test]
fn bytes_pass_unchanged() {
    let Some(live) = Live::new() else { return };
    // Every byte, many times: nothing is translated, split or lost.
    let input: Vec<u8> = (0..=255).cycle().take(3_000_001).collect();
    let image = live.image("busybox");
    let out = live.pybox(["run", "--rm", "-i", &image, "cat"]).stdin(input.clone()).run().exits(0);
    assert!(out.stdout == input, "{} bytes came back of {}", out.stdout.len(), input.len());
    let both = live.sh(&[], "printf 'out\\0\\377'; printf 'err\\n' >&2; printf late").run().exits(0);
    assert_eq!(both.stdout, b"out\0\xfflate");
    assert!(both.stderr.ends_with("err\n"), "{both}");
}

#[test]
fn without_i_standard_input_is_empty() {
    let Some(live) = Live::new() else { return };
    assert_eq!(live.sh(&[], "wc -c").stdin("not for the container").ok(), "0");
    assert_eq!(live.sh(&["-i"], "wc -c").stdin("for it").ok(), "6");
}

#[test]
fn a_reader_that_goes_away_ends_the_container() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let line = format!("'{}' run --rm {image} yes | head -n 1", live.program().display());
    let mut command = live.command("sh");
    command.args(["-c", &line]);
    assert_eq!(crate::harness::Run::of(command).within(20).ok(), "y");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn the_environment_is_the_images_and_the_users_and_nobody_elses() {
    let Some(live) = Live::new() else { return };
    let file = live.file("vars", "# a comment\nFROM_FILE=1\nFROM_HOST\n\nBOTH=file\n");
    let file = file.to_string_lossy().into_owned();
    let flags = [
        "-e",
        "A=b c",
        "-e",
        "FROM_HOST2",
        "-e",
        "UNSET_ON_HOST",
        "--env-file",
        &file,
        "-e",
        "BOTH=flag",
        "--hostname",
        "h",
    ];
    let run = live.sh(&flags, "env | sort").env("FROM_HOST", "x").env("FROM_HOST2", "y").env("SECRET_X", "1");
    let lines = run.ok();
    let mut expected =
        vec!["A=b c", "BOTH=flag", "FROM_FILE=1", "FROM_HOST2=y", "FROM_HOST=x", "HOME=/root", "HOSTNAME=h"];
    expected.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    // The shell itself adds these.
    let lines: Vec<_> =
        lines.lines().filter(|line| !["SHLVL=", "PWD=", "_="].iter().any(|own| line.starts_with(own))).collect();
    // Podman marks its containers, and so may we.
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("container=")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn an_images_configuration_is_followed() {
    let Some(live) = Live::new() else { return };
    let image = live.image("configured");
    let said = live.pybox(["run", "--rm", &image]).ok();
    assert_eq!(said, "entry:zero:one\n1000\n1000\n/work/dir\nhello\nfrom the image\nwritten");
    let said = live.pybox(["run", "--rm", &image, "a", "b"]).ok();
    assert!(said.starts_with("entry:a:b\n"), "{said}");
    let flags = ["run", "--rm", "-u", "root", "-w", "/tmp", "-e", "GREETING=bye", "--entrypoint", "/bin/sh"];
    let said = live.pybox(flags.into_iter().chain([image.as_str(), "-c", "id -u; pwd; echo $GREETING"])).ok();
    assert_eq!(said, "0\n/tmp\nbye");
}

#[test]
fn the_working_directory_is_made_where_the_user_asks() {
    let Some(live) = Live::new() else { return };
    assert_eq!(live.sh(&["-w", "/new/dir"], "pwd").ok(), "/new/dir");
    assert_eq!(live.sh(&["-w", "/home/app"], "pwd").ok(), "/home/app");
    live.sh(&["-w", "relative"], "pwd").run().refuses(125, "relative");
}

#[test]
fn signals_reach_the_container() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    for (signal, name) in [(SIGTERM, "TERM"), (SIGINT, "INT"), (SIGHUP, "HUP"), (SIGUSR1, "USR1")] {
        let ready = live.directory("ready");
        let volume = format!("{}:/ready", ready.display());
        let script =
            format!("trap 'echo got {name}; exit 9' {name}; touch /ready/{name}; while :; do sleep 0.05; done");
        let mut running = live.sh(&["-v", &volume], &script).start();
        live.awaits(&ready.join(name), &mut running);
        running.signal(signal);
        let end = running.wait().exits(9);
        assert_eq!(end.text(), format!("got {name}"));
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn killing_the_program_ends_the_container() {
    let Some(live) = Live::new() else { return };
    let ready = live.directory("ready");
    let volume = format!("{}:/ready", ready.display());
    let mut running = live.sh(&["--init", "-v", &volume], "touch /ready/yes; sleep 300").start();
    live.awaits(&ready.join("yes"), &mut running);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let end = running.wait();
    assert_eq!(end.code, Some(143), "{end}");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn init_reaps_and_forwards() {
    let Some(live) = Live::new() else { return };
    // With --init the command is not process 1, and orphans do not stay as zombies.
    let script = "echo $$; (sleep 0.01 & exec sh -c 'exit 0') ; (sh -c 'sleep 0.05 &'); sleep 0.3; \
                  grep -l '^State:.Z' /proc/[0-9]*/status | wc -l";
    let said = live.sh(&["--init"], script).ok();
    let lines: Vec<_> = said.lines().collect();
    assert_ne!(lines[0], "1");
    assert_eq!(lines[1], "0");
    assert_eq!(live.sh(&[], "echo $$").ok(), "1");
    assert_eq!(live.sh(&["--init"], "exit 7").run().code, Some(7));
}

#[test]
fn resource_limits_are_set() {
    let Some(live) = Live::new() else { return };
    let flags = ["--ulimit", "nofile=100:200", "--ulimit", "core=0"];
    assert_eq!(live.sh(&flags, "ulimit -Sn; ulimit -Hn; ulimit -c").ok(), "100\n200\n0");
    live.sh(&["--ulimit", "nofile=300:200"], "true").run().refuses(125, "nofile");
    live.sh(&["--ulimit", "nosuch=1"], "true").run().refuses(125, "nosuch");
}

#[test]
fn a_limit_that_nothing_can_hold_is_an_error() {
    let Some(live) = Live::new() else { return };
    for (flag, value) in [("--memory", "64m"), ("--cpus", "0.5"), ("--pids-limit", "20")] {
        let run = live
            .sh(&[flag, value], "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max")
            .run();
        // Where a cgroup was delegated the limit holds; elsewhere the user is told.
        if run.code == Some(0) {
            assert!(["67108864", "50000 100000", "20"].iter().any(|held| run.text().contains(held)), "{run}");
        } else {
            run.refuses(125, "cgroup");
        }
    }
}

#[test]
fn labels_and_names_are_kept() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["run", "--name", "kept", "--label", "a=b", "--label", "empty", &image, "true"]).ok();
    let shown = live.pybox(["inspect", "kept"]).ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown[0]["Name"].as_str().map(|name| name.trim_start_matches('/')), Some("kept"));
    assert_eq!(shown[0]["Config"]["Labels"]["a"], "b");
    assert_eq!(shown[0]["Config"]["Labels"]["empty"], "");
    assert_eq!(shown[0]["State"]["ExitCode"], 0);
}

#[test]
fn debug_tells_the_way_of_a_container() {
    let Some(live) = Live::new() else { return };
    let run = live.pybox(["--debug", "run", "--rm", &live.image("busybox"), "true"]).run().exits(0);
    let root = match live.root_kind() {
        "overlay" => "mount the overlay",
        _ => "mount the served file system",
    };
    for words in ["GET 127.0.0.1", "clone3 with", root, "mount proc on /proc", "pivot", "execute \"true\""] {
        assert!(run.stderr.contains(words), "no {words:?} in {run}");
    }
    assert_eq!(run.text(), "");
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", "-q", &image]).ok();
    let script = |line: &str| {
        let program = live.program().display().to_string();
        let mut command = live.command("sh");
        command.args(["-c", &line.replace("pybox", &program)]);
        crate::harness::Run::of(command).run()
    };
    script(&format!("pybox run --name full {image} echo lost > /dev/full"))
        .says("write standard output: no space left");
    script("pybox logs full > /dev/full").exits(1).says("write standard output: no space left");
    assert_eq!(live.pybox(["logs", "full"]).ok(), "lost");
}
