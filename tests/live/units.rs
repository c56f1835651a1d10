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
    let socket_path = place.join("notify").display().to_string();
    let unit = Unit::read(text, &[("%N", "web"), ("${NOTIFY_SOCKET}", &socket_path)]);
    assert_eq!(live.pybox(["volume", "create", "systemd-data"]).ok(), "systemd-data");

    // One that was left behind gives way, without a word when there is none.
    live.pybox(["create", "--name", "systemd-web", &image, "true"]).ok();
    assert_eq!(unit.command(&live, "ExecStartPre").ok(), "systemd-web");
    assert_eq!(unit.command(&live, "ExecStartPre").run().text(), "");
    let running = unit.command(&live, "ExecStart").start();
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
