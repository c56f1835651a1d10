//! Commands of generated units, run as systemd would run them: in order, with its words replaced.

use std::os::unix::net::UnixDatagram;

use pybox::units::quoting;
use pybox::units::syntax::{self, Assignment};

use crate::guest::awaits;
use crate::harness::{Live, Run};

/// A unit, and what systemd puts in place of its words.
struct Unit {
    assignments: Vec<Assignment>,
    replaced: Vec<(&'static str, String)>,
}

impl Unit {
    fn read(text: &str, replaced: &[(&'static str, &str)]) -> Self {
        let parsed = syntax::parse(text);
        assert_eq!(parsed.mistakes, [], "{text}");
        let replaced = replaced.iter().map(|(word, with)| (*word, (*with).to_owned())).collect();
        Self { assignments: parsed.assignments, replaced }
    }

    /// The command of that key, ready to start.
    fn command(&self, live: &Live, key: &str) -> Run {
        let found = self.assignments.iter().find(|it| it.section == "Service" && it.key == key).expect(key);
        let mut words = quoting::split(found.value.trim_start_matches('-'));
        for word in &mut words {
            for (name, value) in &self.replaced {
                *word = word.replace(name, value);
            }
            *word = word.replace("$$", "$").replace("%%", "%");
        }
        live.pybox(words.split_off(1))
    }
}

#[test]
fn a_container_of_a_file_starts_speaks_and_stops() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let place = live.directory("units");
    let script = "trap 'exit 7' TERM; test -S $$NOTIFY_SOCKET && echo $$WHAT > /data/up; while :; do sleep 0.1; done";
    let text = format!(
        "[Container]\nImage={image}\nVolume=data.volume:/data\nNotify=yes\nStopTimeout=5\n\
         Environment=\"WHAT=two words\"\nExec=sh -c \"{script}\"\n"
    );
    let file = live.file("units/web.container", text);
    live.file("units/data.volume", "[Volume]\n");
    let socket = UnixDatagram::bind(place.join("notify")).expect("a socket");
    let shown = live.pybox(["quadlet".as_ref(), "print".as_ref(), "--user".as_ref(), file.as_os_str()]).ok();
    let text = shown.strip_prefix("---web.service---\n").expect("one unit");
    let unit = Unit::read(text, &[("%N", "web")]);
    assert_eq!(live.pybox(["volume", "create", "systemd-data"]).ok(), "systemd-data");

    // One that was left behind gives way, without a word when there is none.
    live.pybox(["create", "--name", "systemd-web", &image, "true"]).ok();
    assert_eq!(unit.command(&live, "ExecStartPre").ok(), "systemd-web");
    assert_eq!(unit.command(&live, "ExecStartPre").run().text(), "");
    let running = unit.command(&live, "ExecStart").env("NOTIFY_SOCKET", place.join("notify")).start();
    let volume = live.pybox(["volume", "inspect", "--format", "{{.Mountpoint}}", "systemd-data"]).ok();
    let up = std::path::Path::new(&volume).join("up");
    awaits(|| std::fs::read_to_string(&up).is_ok_and(|text| text == "two words\n"));
    assert_eq!(unit.command(&live, "ExecStop").ok(), "systemd-web");
    running.wait().exits(7);
    assert_eq!(unit.command(&live, "ExecStopPost").run().text(), "");
    drop(socket);
    live.pybox(["volume", "rm", "systemd-data"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_unit_of_a_container_makes_another_one_like_it() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let flags = ["create", "--name", "web", "-e", "A=$x %h \"q\"", "-w", "/tmp", "--tmpfs", "/t", "--network", "none"];
    live.pybox(flags.into_iter().chain([image.as_str(), "sh", "-c", "echo \"$A\"; pwd; stat -f -c %T /t"])).ok();
    let expected = "$x %h \"q\"\n/tmp\ntmpfs";
    let old = Unit::read(&live.pybox(["generate", "systemd", "web"]).ok(), &[]);
    assert_eq!(old.command(&live, "ExecStart").ok(), expected);
    let new = Unit::read(&live.pybox(["generate", "systemd", "--new", "web"]).ok(), &[]);
    assert_eq!(new.command(&live, "ExecStartPre").ok(), "web");
    assert_eq!(new.command(&live, "ExecStart").ok(), expected);
    live.pybox(["inspect", "web"]).run().refuses(1, "web");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// What a service is told until the container is up.
fn told(socket: &UnixDatagram, last: &str) -> Vec<String> {
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a time limit");
    let mut all = Vec::new();
    while all.last().is_none_or(|text| text != last) {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).expect("a datagram");
        all.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
    }
    all
}

#[test]
fn a_service_hears_when_its_container_is_up_and_when_it_stops() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let path = live.directory("told").join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&path, open).expect("permissions");
    let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let run = |flags: &[&str]| {
        let words = ["run", "--rm", "--name", "web"].iter().chain(flags).copied();
        live.pybox(words.chain([image.as_str(), "sh", "-c", script])).env("NOTIFY_SOCKET", &path)
    };
    // A first process that has not set its trap yet would miss the signal.
    let stop = || {
        awaits(|| live.pybox(["logs", "web"]).ok() == "up");
        live.pybox(["stop", "web"]).ok();
    };
    // Somebody stays with it.
    let running = run(&["--sdnotify=conmon"]).start();
    assert_eq!(told(&socket, "READY=1"), ["READY=1"]);
    stop();
    assert_eq!(told(&socket, "STOPPING=1"), ["STOPPING=1"]);
    running.wait().exits(7);
    // Nobody does: the monitor is the service.
    run(&["-d", "--sdnotify", "monitor"]).ok();
    let all = told(&socket, "READY=1");
    let pid = all.first().and_then(|text| text.strip_prefix("MAINPID=")).expect("a process");
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("a process");
    assert_eq!((comm.trim(), all.len()), ("pybox-monitor", 2));
    stop();
    assert_eq!(told(&socket, "STOPPING=1"), ["STOPPING=1"]);
    // The program says when it is up; the rest is the monitor's to say.
    run(&["-d", "--sdnotify=container"]).ok();
    let mut buffer = [0; 64];
    let count = socket.recv(&mut buffer).expect("a datagram");
    assert!(buffer[..count].starts_with(b"MAINPID="), "{}", String::from_utf8_lossy(&buffer[..count]));
    stop();
    assert_eq!(told(&socket, "STOPPING=1"), ["STOPPING=1"]);
    // It is up when its check says so.
    let running = run(&["--sdnotify=healthy", "--health-cmd", "test -e /tmp/up", "--health-interval", "100ms"]).start();
    awaits(|| live.pybox(["exec", "web", "true"]).run().code == Some(0));
    socket.set_nonblocking(true).expect("a flag");
    assert!(socket.recv(&mut [0; 64]).is_err(), "told too early");
    socket.set_nonblocking(false).expect("a flag");
    live.pybox(["exec", "web", "touch", "/tmp/up"]).ok();
    assert_eq!(told(&socket, "READY=1"), ["READY=1"]);
    stop();
    running.wait().exits(7);
    run(&["--sdnotify=healthy"]).run().refuses(125, "has no health check").says("--health-cmd");
    live.pybox(["create", "--sdnotify=healthy", &image]).run().refuses(125, "pybox start --sdnotify");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn sockets_and_descriptors_are_handed_on() {
    let Some(live) = Live::new() else { return };
    let (image, program) = (live.image("busybox"), live.program());
    let file = live.file("given", "from outside\n");
    let run = |flags: &str, inside: &str| {
        let open = "exec 3<\"$1\" 4<\"$1\"; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web";
        let mut command = live.command("sh");
        command.arg("-c").arg(format!("{open}; exec \"$0\" run --rm {flags} \"$2\" sh -c '{inside}'"));
        command.args([program.as_os_str(), file.as_os_str(), image.as_ref()]);
        Run::of(command)
    };
    let inside = "cat <&3; cat <&4; echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES $$; ls /proc/$$/fd | tr \"\\n\" \" \"";
    let shown = run("--preserve-fds 1", inside).ok();
    assert!(shown.starts_with("from outside\nfrom outside\n1 1 web 1\n0 1 2 3 4"), "{shown}");
    assert!(run("--init --preserve-fds 1", inside).ok().contains("\n1 2 web 2\n"));
    // What is not asked for stays outside.
    assert_eq!(run("", "cat <&3; test -e /proc/$$/fd/4 || echo none").ok(), "from outside\nnone");
    run("--preserve-fds 9", "true").run().refuses(125, "descriptor 5, which is not open").says("--preserve-fds");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
