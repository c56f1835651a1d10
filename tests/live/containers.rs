//! Containers that stay: `ps`, `rm`, `inspect`, and what `--rm` leaves (nothing).

use serde_json::Value;

use crate::harness::Live;

fn names(live: &Live, flags: &[&str]) -> Vec<String> {
    let arguments = ["ps"].iter().chain(flags).copied().chain(["--format", "{{.Names}}"]);
    live.pybox(arguments).ok().lines().map(str::to_owned).collect()
}

#[test]
fn a_container_is_listed_until_it_is_removed() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["run", "--name", "one", &image, "sh", "-c", "exit 4"]).run().exits(4);
    live.pybox(["run", "--name", "two", &image, "true"]).ok();
    assert_eq!(names(&live, &[]), Vec::<String>::new());
    let mut all = names(&live, &["-a"]);
    all.sort();
    assert_eq!(all, ["one", "two"]);
    let table = live.pybox(["ps", "-a"]).ok();
    let line = table.lines().find(|line| line.contains("one")).expect("a line of the table");
    assert!(line.contains("Exited (4)") && line.contains(&image), "{table}");

    let ids = live.pybox(["ps", "-aq"]).ok();
    assert_eq!(ids.lines().count(), 2);
    live.pybox(["rm", "one"]).ok();
    live.pybox(["rm", ids.lines().next().expect("an id")]).run();
    live.pybox(["rm", "-f", "two"]).run();
    assert_eq!(names(&live, &["-a"]), Vec::<String>::new());
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_running_container_shows_and_is_not_removed_by_mistake() {
    let Some(live) = Live::new() else { return };
    let ready = live.directory("ready");
    let volume = format!("{}:/ready", ready.display());
    let image = live.image("busybox");
    let arguments =
        ["run", "--name", "busy", "--init", "-v", &volume, &image, "sh", "-c", "touch /ready/yes; sleep 300"];
    let mut running = live.pybox(arguments).start();
    live.awaits(&ready.join("yes"), &mut running);
    assert_eq!(names(&live, &[]), ["busy"]);
    let shown: Value = serde_json::from_str(&live.pybox(["inspect", "busy"]).ok()).expect("JSON");
    assert_eq!(shown[0]["State"]["Status"], "running");
    let pid = shown[0]["State"]["Pid"].as_u64().expect("a pid");
    assert!(std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mounts").contains("overlay"));
    live.pybox(["rm", "busy"]).run().refuses(1, "running");
    live.pybox(["rm", "-f", "busy"]).ok();
    assert_eq!(running.wait().code, Some(137));
    assert_eq!(names(&live, &["-a"]), Vec::<String>::new());
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn rm_leaves_nothing_behind() {
    let Some(live) = Live::new() else { return };
    // Files of other users, unwritable directories, deep trees: all go.
    let script =
        "mkdir -p /a/b/c /locked; touch /a/b/c/x /locked/x; chown -R 1000:50 /a; chmod 000 /locked /a/b; rm -r /home";
    live.sh(&[], script).ok();
    live.sh(&["-v", "/anonymous"], "touch /anonymous/x").ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
    let volumes = std::fs::read_dir(live.root().join("volumes")).into_iter().flatten().count();
    assert_eq!(volumes, 0, "the anonymous volume of a container with --rm goes with it");
    assert_eq!(names(&live, &["-a"]), Vec::<String>::new());
}

#[test]
fn a_container_outlives_a_killed_command_line_and_can_be_removed() {
    let Some(live) = Live::new() else { return };
    let ready = live.directory("ready");
    let volume = format!("{}:/ready", ready.display());
    let image = live.image("busybox");
    let arguments =
        ["run", "--rm", "--name", "doomed", "-v", &volume, &image, "sh", "-c", "touch /ready/yes; sleep 300"];
    let mut running = live.pybox(arguments).start();
    live.awaits(&ready.join("yes"), &mut running);
    // The command line dies without a word; the container's monitor goes on, as it would under a daemon.
    nix::sys::signal::killpg(running.pid(), nix::sys::signal::Signal::SIGKILL).expect("kill");
    assert_eq!(names(&live, &[]), ["doomed"]);
    live.pybox(["rm", "-f", "doomed"]).ok();
    running.wait();
    assert_eq!(names(&live, &["-a"]), Vec::<String>::new());
    // The name is free again.
    live.pybox(["run", "--rm", "--name", "doomed", &image, "true"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_container_whose_monitor_was_killed_is_seen_as_ended() {
    let Some(live) = Live::new() else { return };
    let ready = live.directory("ready");
    let volume = format!("{}:/ready", ready.display());
    let image = live.image("busybox");
    let arguments = ["run", "--name", "orphan", "-v", &volume, &image, "sh", "-c", "touch /ready/yes; sleep 300"];
    let mut running = live.pybox(arguments).start();
    live.awaits(&ready.join("yes"), &mut running);
    // As an out-of-memory killer would: the container's parent first, the command line never notices.
    let shown: Value = serde_json::from_str(&live.pybox(["inspect", "orphan"]).ok()).expect("JSON");
    let init = shown[0]["State"]["Pid"].as_u64().expect("a pid");
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).expect("read stat");
    let monitor = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok()).expect("a parent");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).expect("kill");
    let end = running.wait();
    assert!(matches!(end.code, Some(125 | 137)), "{end}");
    assert_eq!(names(&live, &[]), Vec::<String>::new());
    assert_ne!(live.pybox(["inspect", "--format", "{{.State.ExitCode}}", "orphan"]).ok(), "0");
    live.pybox(["rm", "orphan"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_name_is_taken_once() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["run", "--name", "taken", &image, "true"]).ok();
    live.pybox(["run", "--name", "taken", &image, "true"]).run().refuses(125, "taken");
    assert_eq!(names(&live, &["-a"]), ["taken"]);
    for bad in ["-x", "a/b", "", ".hidden", "a b", &"x".repeat(129)] {
        let flag = format!("--name={bad}");
        assert_eq!(live.pybox(["run", "--rm", &flag, &image, "true"]).run().code, Some(125), "{bad:?}");
    }
}

#[test]
fn inspect_tells_where_things_are() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let id = {
        live.pybox(["run", "--name", "seen", "-e", "A=1", "-w", "/tmp", &image, "echo", "hello"]).ok();
        live.pybox(["ps", "-aq", "--no-trunc"]).ok()
    };
    let shown: Value = serde_json::from_str(&live.pybox(["inspect", "seen"]).ok()).expect("JSON");
    let shown = &shown[0];
    assert_eq!(shown["Id"], id);
    assert_eq!(shown["Config"]["WorkingDir"], "/tmp");
    assert!(shown["Config"]["Env"].as_array().expect("a list").contains(&Value::from("A=1")));
    assert_eq!(live.pybox(["inspect", "--format", "{{.State.ExitCode}} {{.State.Status}}", "seen"]).ok(), "0 exited");
    // By prefix of its id, too.
    assert_eq!(live.pybox(["inspect", "--format", "{{.Id}}", &id[..8]]).ok(), id);
    let missing = live.pybox(["inspect", "nosuch"]).run();
    assert_ne!(missing.code, Some(0), "{missing}");
}

#[test]
fn what_a_container_has_of_its_image_is_shown() {
    let Some(live) = Live::new() else { return };
    live.pybox(["run", "--name", "own", &live.image("configured")]).ok();
    let command = live.pybox(["ps", "-a", "--no-trunc", "--format", "{{.Command}}"]).ok();
    assert!(command.starts_with("\"/bin/sh -c echo entry") && command.ends_with(" zero one\""), "{command}");
    let look = |template: &str| live.pybox(["inspect", "--format", template, "own"]).ok();
    assert_eq!(look("{{index .Config.Labels \"org.example.kind\"}} {{.Config.User}}"), "test app");
    assert_eq!(look("{{.Config.StopSignal}} {{json .Config.Cmd}}"), "SIGUSR1 [\"zero\",\"one\"]");
    // What scripts for docker look up, in one go.
    let script = "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Pid}}|{{.HostConfig.Binds}}|\
        {{.HostConfig.PortBindings}}|{{.NetworkSettings.IPAddress}}|{{.HostConfig.NetworkMode}}|{{.RestartCount}}|\
        {{range .Mounts}}{{.Type}} {{.Destination}} {{.Driver}}{{end}}|{{.GraphDriver.Name}}|{{.Path}}";
    assert_eq!(look(script), "exited 0 false 0|[]|map[]||none|0|volume /data local|overlay|/bin/sh");
    let size = live.pybox(["inspect", "--size", "--format", "{{gt .SizeRootFs .SizeRw}}", "own"]).ok();
    assert_eq!(size, "true");
    for (filter, found) in [
        ("name=^/own$", "own"),
        ("name=^ow$", ""),
        ("name=^(own|other)$", "own"),
        ("volume=/data", "own"),
        ("network=none", "own"),
        ("network=host", ""),
        ("label=org.example.kind=test", "own"),
    ] {
        assert_eq!(names(&live, &["-a", "--filter", filter]).join(" "), found, "{filter}");
    }
}
