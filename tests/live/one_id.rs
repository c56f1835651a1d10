//! Users without a range of ids: root inside is the user, everybody else is pretended.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::tool;
use crate::guest::{Guest, awaits};
use crate::harness::{Live, Run};

/// An image of busybox with files of others, imported as `others`.
fn others(live: &Live) {
    let script = "mkdir -p /srv/www /srv/plain; echo page > /srv/www/page; chmod 4755 /srv/www/page; \
                  ln -s page /srv/www/link; ln /srv/www/page /srv/www/same; mkfifo /srv/www/pipe; \
                  chown -hR 33:34 /srv/www; chown 7 /srv/www/same";
    let image = live.image("busybox");
    live.pybox(["run", "--name", "maker", &image, "sh", "-c", script]).ok();
    live.pybox(["commit", "maker", "others"]).ok();
    live.pybox(["rm", "maker"]).ok();
}

const LISTED: &str = "cd /srv; stat -c '%n %u %g %a %F' plain www www/* | sort";
const OWNERS: &str = "plain 0 0 755 directory\nwww 33 34 755 directory\nwww/link 33 34 777 symbolic link\n\
                      www/page 7 34 755 regular file\nwww/pipe 33 34 644 fifo\nwww/same 7 34 755 regular file";

#[test]
fn it_is_said_once_and_works() {
    let Some(live) = Live::plain() else { return };
    let first = live.sh(&[], "id -u; cat /proc/self/uid_map").run().exits(0);
    let words: Vec<String> = first.text().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", &live.user.uid.to_string(), "1"]);
    let first = first.says("no subordinate user and group ids").says("usermod --add-subuids");
    assert!(first.stderr.contains("recorded and pretended"), "{first}");
    let second = live.sh(&[], "exit 3").run().exits(3);
    assert!(!second.stderr.contains("subordinate"), "{second}");
    let info = live.pybox(["info"]).ok();
    let line = info.lines().find(|line| line.trim_start().starts_with("id ranges")).unwrap_or_else(|| panic!("{info}"));
    assert!(line.contains("containers have one id, and owners are recorded"), "{line}");
    live.pybox(["check"]).run().exits(0);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn root_gives_files_away_and_makes_devices() {
    let Some(live) = Live::plain() else { return };
    let list = |script: &str| live.sh(&[], script).ok();
    assert_eq!(list("echo x > /f; chmod 6755 /f; chown 5:6 /f; stat -c '%u %g %a' /f"), "5 6 755");
    assert_eq!(list("echo x > /f; chown 5:6 /f; chmod 6755 /f; mv /f /g; ln /g /h; stat -c '%u %g %a' /h"), "5 6 6755");
    assert_eq!(
        list("ln -s x /l; chown -h 5:6 /l; chown 7 /l 2> /dev/null || echo none; stat -c '%u %g' /l"),
        "none\n5 6"
    );
    assert_eq!(
        list("stat /d 2> /dev/null; mknod /d c 1 3; stat -c '%F %t %T %u' /d; cat /d 2> /dev/null || echo shut"),
        { "character special file 1 3 0\nshut" }
    );
    assert_eq!(list("mknod /d b 8 1; chown 6:6 /d; mknod /d b 8 1 || stat -c '%F %u' /d"), "block special file 6");
    assert_eq!(
        list("cd /srv 2> /dev/null || cd /tmp; mkdir -p a/b; touch a/b/c; chown -R 9:9 a; find a -user 9 | wc -l"),
        "3"
    );
    assert_eq!(list("cd /tmp; chown 9:9 .; stat -c %u . /tmp ../tmp /proc/1/root/tmp"), "9\n9\n9\n9");
    // Where no file system of ours is, in memory or on a volume.
    assert_eq!(
        list(
            "chown 9:8 /dev/shm; stat -c '%u %g' /dev/shm; touch /dev/shm/f; chown 3 /dev/shm/f; ls -ln /dev/shm/f | awk '{ print $3 }'"
        ),
        "9 8\n3"
    );
    live.pybox(["volume", "create", "kept"]).ok();
    live.sh(&["-v", "kept:/v"], "touch /v/f; chown 4:5 /v/f").ok();
    assert_eq!(live.sh(&["-v", "kept:/v"], "stat -c '%u %g' /v/f").ok(), "4 5");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn who_becomes_somebody_is_that_one() {
    let Some(live) = Live::plain() else { return };
    let made = "mkdir /tmp/d; echo x > /tmp/d/f; ln -s f /tmp/d/l; mkfifo /tmp/d/p; stat -c '%u %g %a' /tmp/d /tmp/d/*";
    assert_eq!(live.sh(&["-u", "33:34"], made).ok(), "33 34 755\n33 34 644\n33 34 777\n33 34 644");
    let script = "echo 'ann:x:9:8::/tmp:/bin/sh' >> /etc/passwd; echo 'more:x:77:ann' >> /etc/group; \
                  su ann -c 'id; umask 077; echo x > /tmp/f; chown 0 /tmp/f 2> /dev/null || stat -c \"%u %a\" /tmp/f'; id -u";
    assert_eq!(live.sh(&[], script).ok(), "uid=9(ann) gid=8 groups=8,77(more)\n9 600\n0");
    // Existing files are opened, not made again; a directory that hands its group on does so.
    let script = "echo 'ann:x:9:8::/tmp:/bin/sh' >> /etc/passwd; mkdir -m 2777 /tmp/g; chown :5 /tmp/g; echo a > /tmp/old; \
                  su ann -c 'touch /tmp/g/f; echo b >> /tmp/old; set -C; : > /tmp/old' 2> /dev/null; cat /tmp/old; stat -c '%u %g' /tmp/g/f /tmp/old";
    assert_eq!(live.sh(&[], script).ok(), "a\nb\n9 5\n0 0");
    let guest = Guest::runs(&live, &[], "sleep 100");
    assert_eq!(
        live.pybox(["exec", "-u", "44:55", "guest", "sh", "-c", "id -u; id -g; touch /tmp/e; stat -c %u /tmp/e"]).ok(),
        "44\n55\n44"
    );
    assert_eq!(live.pybox(["exec", "guest", "id", "-u"]).ok(), "0");
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn who_keeps_the_own_id_is_that_one() {
    let Some(live) = Live::plain() else { return };
    let script = "id -un; id -u; touch /tmp/f; stat -c %U /tmp/f; stat -c %u /etc/passwd; chown 0 /tmp/f 2> /dev/null || echo kept";
    let expected = format!("{0}\n{1}\n{0}\n0\nkept", live.user.name, live.user.uid);
    assert_eq!(live.sh(&["--userns=keep-id"], script).ok(), expected);
}

#[test]
fn owners_are_kept_by_layers_archives_and_copies() {
    let Some(live) = Live::plain() else { return };
    others(&live);
    assert_eq!(live.pybox(["run", "--rm", "others", "sh", "-c", LISTED]).ok(), OWNERS);
    // Through a registry's bytes and back, as an archive, and by another tool's eyes.
    let saved = live.dir.join("tmp/others.tar");
    live.pybox(["save", "-o", saved.to_str().expect("a path"), "others"]).ok();
    live.pybox(["rmi", "others"]).ok();
    live.pybox(["load", "-i", saved.to_str().expect("a path")]).ok();
    assert_eq!(live.pybox(["run", "--name", "again", "others", "sh", "-c", LISTED]).ok(), OWNERS);
    let listed = |from: &str| {
        let mut shell = live.command("sh");
        shell.args(["-c", &format!("{}/pybox {from} | tar tv --numeric-owner", live.dir.display())]);
        Run::of(shell).ok()
    };
    let exported = listed("export again");
    for entry in ["drwxr-xr-x 33/34", "prw-r--r-- 33/34", "lrwxrwxrwx 33/34", "-rwxr-xr-x 7/34"] {
        assert!(
            exported.lines().any(|line| line.starts_with(entry) && line.contains("srv/www")),
            "{entry}\n{exported}"
        );
    }
    assert!(listed("cp again:/srv/www/link -").starts_with("lrwxrwxrwx 33/34"));
    let copied = "tar c --owner 7 --group 8 -C /etc hostname | pybox cp -a - again:/srv";
    let mut shell = live.command("sh");
    shell.args(["-c", &copied.replace("pybox", &live.program().to_string_lossy())]);
    Run::of(shell).ok();
    assert!(listed("cp again:/srv/hostname -").contains(" 7/8 "));
    live.pybox(["rm", "again"]).ok();
    live.pybox(["check"]).run().exits(0);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn volumes_get_the_owners_that_the_image_has_in_their_place() {
    let Some(live) = Live::plain() else { return };
    others(&live);
    let script = "cd /srv; stat -c '%n %u %g %a' www www/page; chmod 700 www/page; stat -c '%u %g %a' www/page";
    for (volume, mode) in [("new:/srv/www", 755), ("new:/srv/www", 700), ("/srv/www", 755)] {
        let said = live.pybox(["run", "--rm", "-v", volume, "others", "sh", "-c", script]).ok();
        assert_eq!(said, format!("www 33 34 755\nwww/page 7 34 {mode}\n7 34 700"), "{volume}");
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn builds_give_copies_away() {
    let Some(live) = Live::plain() else { return };
    let context = live.directory("context");
    live.file("context/page", "page");
    let file = format!(
        "FROM {}\nRUN echo 'ann:x:9:8::/:/bin/sh' >> /etc/passwd\nCOPY --chown=33:34 page /srv/deep/\n\
         COPY --chown=ann page /page\nUSER ann\nRUN touch /tmp/made\n",
        live.image("busybox")
    );
    live.file("context/Dockerfile", file);
    live.pybox(["build", "-t", "given", context.to_str().expect("a path")]).ok();
    let listed = ["stat", "-c", "%n %u %g", "/srv", "/srv/deep", "/srv/deep/page", "/page", "/tmp/made"];
    let said = live.pybox(["run", "--rm", "given"].into_iter().chain(listed)).ok();
    assert_eq!(said, "/srv 33 34\n/srv/deep 33 34\n/srv/deep/page 33 34\n/page 9 8\n/tmp/made 9 8");
}

#[test]
fn owners_come_back_with_fuse() {
    let Some(live) = Live::plain() else { return };
    others(&live);
    let owner = ["run", "--rm", "others", "stat", "-c", "%u", "/srv/www/page"];
    assert_eq!(
        fuseless(&live, &owner).run().exits(0).says("files belong to root here").says("modprobe fuse").text(),
        "0"
    );
    assert_eq!(live.pybox(owner).ok(), "7");
    for driver in ["overlay", "hybrid"] {
        let refused = live.pybox(owner).env("PYBOX_STORAGE_DRIVER", driver).run();
        refused.refuses(125, "owners of files are recorded").says("pybox info");
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// `pybox` of a user without ranges, where there is no /dev/fuse.
fn fuseless(live: &Live, words: &[&str]) -> Run {
    let script =
        "mount --bind /dev/null /dev/fuse && exec setpriv --reuid pyboxplain --regid pyboxplain --clear-groups \"$@\"";
    let mut hidden = live.privileged("unshare");
    hidden.args(["--mount", "sh", "-c", script, "sh"]).arg(live.program()).args(words);
    Run::of(hidden)
}

#[test]
fn builds_tell_once_that_owners_are_lost() {
    let Some(live) = Live::plain() else { return };
    let context = live.directory("context");
    live.file("context/page", "page");
    let base = live.image("busybox");
    live.file(
        "context/Dockerfile",
        format!("FROM {base}\nCOPY --chown=33:34 page /page\nRUN touch /a\nRUN touch /b\n"),
    );
    let words = ["build", "-t", "lost", context.to_str().expect("a path")];
    let told =
        fuseless(&live, &words).within(120).run().exits(0).says("files belong to root here").says("modprobe fuse");
    assert_eq!(told.stderr.matches("files belong to root here").count(), 1, "{told}");
    // Nothing is done, nothing is lost.
    let again = fuseless(&live, &words).within(120).run().exits(0);
    assert!(!again.stderr.contains("belong to root"), "{again}");
    live.file("context/page", "another");
    let kept = live.pybox(words).within(120).run().exits(0);
    assert!(!kept.stderr.contains("belong to root"), "{kept}");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// `pybox` without what newuidmap needs, as under systemd's NoNewPrivileges.
pub(crate) fn powerless(live: &Live, words: &[&str]) -> Run {
    let mut command = live.command("setpriv");
    command.arg("--no-new-privs").arg(live.program()).args(words);
    Run::of(command)
}

#[test]
fn layers_serve_users_who_get_ranges_later() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let told = powerless(
        &live,
        &["run", "--name", "maker", &image, "sh", "-c", "mkdir /srv; touch /srv/f; chown 33:34 /srv/f"],
    )
    .run();
    told.exits(0).says("no_new_privs is set");
    powerless(&live, &["commit", "maker", "mine"]).ok();
    let script = "stat -c '%u %g' /srv/f; wc -l < /proc/self/uid_map";
    assert_eq!(live.pybox(["run", "--rm", "mine", "sh", "-c", script]).ok(), "33 34\n2");
    powerless(&live, &["rm", "maker"]).ok();
    live.pybox(["check"]).run().exits(0);
}

#[test]
fn layers_of_ranges_are_not_misread_with_one_id() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.sh(&[], "true").ok();
    powerless(&live, &["run", "--rm", &image, "true"])
        .run()
        .refuses(125, "ids that this user cannot map any more")
        .says("PYBOX_ROOT");
}

#[test]
fn packages_with_other_owners_are_installed() {
    let Some(live) = Live::plain() else { return };
    let debian = live.debian();
    let package = live.directory("package");
    let script = "umask 022; mkdir -p p/DEBIAN p/srv/www p/usr/bin; printf 'Package: others\\nVersion: 1\\nArchitecture: all\\n\
                  Maintainer: nobody <n@example.org>\\nDescription: files of others\\n' > p/DEBIAN/control; echo x > p/srv/www/x; \
                  chmod 2755 p/srv/www; echo y > p/usr/bin/others; chmod 4755 p/usr/bin/others; chown -R 33:34 p/srv/www; \
                  chown 0:5 p/usr/bin/others; chmod 4755 p/usr/bin/others; dpkg-deb --build p others.deb; chmod 644 others.deb";
    tool("sh", &["-c", &format!("cd {} && {{ {script}; }}", package.display())]).expect("a package");
    let mount = format!("{}:/package:ro", package.display());
    let script = "set -e; dpkg -i /package/others.deb > /dev/null; stat -c '%n %u %g %a' /srv/www /srv/www/x /usr/bin/others; \
                  useradd -m ann; su ann -c 'id -un; touch ~/f; stat -c %U ~ ~/f'; mkdir /x; tar x -C /x -f /package/owned.tar; \
                  stat -c '%u %g' /x/x";
    let tar =
        format!("cd {} && tar c --owner 12 --group 13 --numeric-owner -f owned.tar -C p/srv/www x", package.display());
    tool("sh", &["-c", &tar]).expect("an archive");
    let said = live.pybox(["run", "--rm", "-v", &mount, &debian, "bash", "-c", script]).within(120).ok();
    assert_eq!(said, "/srv/www 33 34 2755\n/srv/www/x 33 34 644\n/usr/bin/others 0 5 4755\nann\nann\nann\n12 13");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn apt_installs_from_a_registry_of_packages() {
    let Some(live) = Live::plain() else { return };
    let script = "set -e; apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends dbus cron \
                  > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }; \
                  stat -c '%U %G %a' /usr/bin/crontab /var/spool/cron/crontabs; id -un messagebus; stat -c %U /var/lib/apt/lists/partial";
    let said = live.pybox(["run", "--rm", "--network", "host", &live.debian(), "bash", "-c", script]).within(300).ok();
    assert_eq!(said, "root crontab 2755\nroot crontab 1730\nmessagebus\n_apt");
}

/// The process of this test's one container that is called so.
fn helper(live: &Live, name: &str) -> Pid {
    let pid = live.pybox(["inspect", "--format", "{{.State.Pid}}", "guest"]).ok();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let monitor = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).expect("a parent").to_owned();
    let children = fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).expect("children");
    let is_it = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    Pid::from_raw(children.split_whitespace().find(is_it).expect(name).parse().expect("a pid"))
}

#[test]
fn without_who_answers_the_container_ends_and_says_why() {
    let Some(live) = Live::plain() else { return };
    let guest = Guest::runs(&live, &[], "echo kept > /kept; sync; touch /tmp/ready; while :; do id > /dev/null; done");
    kill(helper(&live, "pybox-emulation"), Signal::SIGKILL).expect("kill");
    let begun = Instant::now();
    awaits(|| live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok() == "exited");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let told = live.pybox(["inspect", "--format", "{{.State.ExitCode}} {{.State.Error}}", "guest"]).ok();
    assert!(told.starts_with("137 ") && told.contains("answers its calls about ids was lost"), "{told}");
    live.pybox(["start", "guest"]).ok();
    assert_eq!(live.pybox(["exec", "guest", "cat", "/kept"]).ok(), "kept");
    drop(guest);
    live.pybox(["check"]).run().exits(0);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn who_answers_keeps_nothing_of_the_host() {
    let Some(live) = Live::plain() else { return };
    let guest = Guest::runs(&live, &[], "touch /tmp/ready; sleep 100");
    live.pybox(["exec", "guest", "id"]).ok();
    let place = format!("/proc/{}", helper(&live, "pybox-emulation"));
    let status = fs::read_to_string(format!("{place}/status")).expect("status");
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
    // SYS_CHROOT, SYS_PTRACE, SYS_ADMIN, DAC_OVERRIDE, FOWNER, FSETID of its namespace, and no others.
    assert_eq!(field("CapEff:"), format!("{:016x}", 1 << 18 | 1 << 19 | 1 << 21 | 1 << 1 | 1 << 3 | 1 << 4));
    let user = |of: &str| fs::read_link(format!("{of}/ns/user")).expect("a namespace");
    let pid = live.pybox(["inspect", "--format", "{{.State.Pid}}", "guest"]).ok();
    assert_eq!(user(&place), user(&format!("/proc/{pid}")));
    assert!(!fs::read_link(format!("{place}/root")).expect("a root").starts_with(&live.dir), "not the host's root");
    drop(guest);
}

/// A program that asks in ways that no libc would, as a mount.
fn hostile(live: &Live) -> String {
    built(live, "hostile_calls.c", "hostile")
}

/// The program of the source `name` as `/PROGRAM/PROGRAM` of a mount: built where there is a compiler, as everywhere
/// pybox is built.
fn built(live: &Live, name: &str, program: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live").join(name);
    let program = live.directory(program).join(program);
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O1", "-pthread", "-o"]).arg(&program).arg(source);
    let built = gcc.output().expect("gcc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let directory = program.parent().expect("a directory");
    format!("{}:/{}:ro", directory.display(), directory.file_name().expect("a name").display())
}

#[test]
fn calls_about_owners_are_answered_as_by_the_kernel() {
    let (Some(live), Some(judge)) = (Live::plain(), Live::new()) else { return };
    let said = |live: &Live| {
        let mount = built(live, "owner_calls.c", "owners");
        live.pybox(["volume", "create", "kept"]).ok();
        ["/here", "/kept/here", "/dev/shm/here"].map(|place| {
            let root = if place == "/here" { "export ROOT=1; " } else { "" };
            let script = format!("{root}/owners/owners {place}");
            live.sh(&["-v", &mount, "-v", "kept:/kept"], &script).ok()
        })
    };
    for (ours, theirs) in said(&live).iter().zip(&said(&judge)) {
        let differ: Vec<_> = ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs).collect();
        assert!(differ.is_empty() && ours.len() > 4000, "{differ:#?}\n{ours}");
    }
}

#[test]
fn hostile_calls_get_the_kernels_answers_or_ours_and_nothing_else() {
    let Some(live) = Live::plain() else { return };
    let mount = hostile(&live);
    let said = live
        .sh(&["-v", &mount], "/hostile/hostile pointers; /hostile/hostile races; /hostile/hostile storm; id -u")
        .within(120)
        .ok();
    assert_eq!(said, "pointers ok\nraces ok\nstorm ok\n0");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn the_owner_that_is_told_is_that_of_the_file() {
    let Some(live) = Live::plain() else { return };
    let mount = hostile(&live);
    assert_eq!(live.sh(&["-v", &mount], "/hostile/hostile switches").ok(), "switches ok");
}

#[test]
fn a_file_is_made_once_whatever_signals_come() {
    let Some(live) = Live::plain() else { return };
    let mount = hostile(&live);
    assert_eq!(live.sh(&["-v", &mount], "/hostile/hostile signals").ok(), "signals ok");
}

#[test]
fn a_process_takes_after_who_its_parent_was() {
    let Some(live) = Live::plain() else { return };
    let mount = hostile(&live);
    assert_eq!(live.sh(&["-v", &mount], "/hostile/hostile kin").ok(), "kin ok");
    // Nobody answers for one that cannot be executed; it ends nevertheless.
    let guest = Guest::runs(&live, &[], "sleep 100");
    live.pybox(["exec", "guest", "nothing"]).run().refuses(127, "no such file");
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn more_threads_ask_than_a_process_has_descriptors() {
    let Some(live) = Live::plain() else { return };
    let mount = hostile(&live);
    let mut shell = live.command("sh");
    let words = format!("{} run --rm -v {mount} {}", live.program().display(), live.image("busybox"));
    shell.args(["-c", &format!("ulimit -Sn 1024; exec {words} /hostile/hostile crowd")]);
    assert_eq!(Run::of(shell).ok(), "crowd ok");
}
