//! Who the first process is: one parser for users, exact groups, and ids that
//! cannot be taken for others (rules R8 and R9).

use crate::harness::Live;

#[test]
fn who_keeps_the_own_id_has_a_name_inside() {
    let Some(live) = Live::new() else { return };
    for driver in ["hybrid", "fuse"] {
        let flags = ["--storage-driver", driver, "run", "--rm", "--userns=keep-id", &live.image("busybox")];
        let script =
            "whoami; id -gn; stat -c '%u %g %a' /etc /etc/passwd /etc/group; echo x >> /etc/passwd || echo kept";
        let said = live.pybox(flags.into_iter().chain(["sh", "-c", script])).run().text();
        let name = &live.user.name;
        assert_eq!(said, format!("{name}\n{name}\n0 0 755\n0 0 644\n0 0 644\nkept"), "{driver}");
    }
    // Whom the image knows, it names itself.
    let said = live.sh(&["--userns=keep-id:uid=1000,gid=1000"], "whoami").ok();
    assert_eq!(said, "app");
}

#[test]
fn users_by_name_and_number() {
    let Some(live) = Live::new() else { return };
    for (user, uid_gid_groups) in [
        ("root", "0 0 0"),
        ("0", "0 0 0"),
        ("app", "1000 1000 1000 44 50"),
        ("1000", "1000 1000 1000 44 50"),
        ("svc", "33 33 33"),
        ("app:staff", "1000 50 50"),
        ("app:77", "1000 77 77"),
        ("1234", "1234 0 0"),
        ("1234:4321", "1234 4321 4321"),
        ("2000:staff", "2000 50 50"),
        // A number is a number, whatever /etc/passwd calls a user.
        ("77", "77 0 0"),
    ] {
        let said = live.sh(&["-u", user], "echo $(id -u) $(id -g) $(id -G)").ok();
        let mut words: Vec<_> = said.split(' ').collect();
        let mut expected: Vec<_> = uid_gid_groups.split(' ').collect();
        words[2..].sort_unstable();
        expected[2..].sort_unstable();
        assert_eq!(words, expected, "{user}");
    }
}

#[test]
fn users_that_are_none_are_refused() {
    let Some(live) = Live::new() else { return };
    for user in [
        "nosuchuser",
        "99999999999",
        "4294967296",
        "4294967295",
        "-1",
        "app:nosuchgroup",
        "1000:4294967296",
        ":",
        "",
        "a:b:c",
    ] {
        let flag = format!("--user={user}");
        let run = live.sh(&[&flag], "id -u").run();
        assert_eq!(run.code, Some(125), "user {user:?}: {run}");
        assert!(run.stdout.is_empty(), "user {user:?} ran: {run}");
    }
    // Beyond the range that the user has: named, not mapped onto somebody else.
    live.sh(&["-u", "2147483648"], "id -u").run().refuses(125, "2147483648");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn groups_are_exactly_those_asked_for() {
    let Some(live) = Live::new() else { return };
    assert_eq!(live.sh(&[], "id -G").ok(), "0");
    let said = live.sh(&["--group-add", "video", "--group-add", "4242"], "id -G").ok();
    let mut groups: Vec<_> = said.split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["0", "4242", "44"]);
    live.sh(&["--group-add", "nosuchgroup"], "true").run().refuses(125, "nosuchgroup");
}

#[test]
fn home_follows_the_user() {
    let Some(live) = Live::new() else { return };
    for (user, home) in [("root", "/root"), ("app", "/home/app"), ("1234", "/")] {
        assert_eq!(live.sh(&["-u", user], "echo $HOME").ok(), home, "{user}");
    }
    assert_eq!(live.sh(&["-u", "app", "-e", "HOME=/set"], "echo $HOME").ok(), "/set");
}

#[test]
fn files_belong_to_the_user_outside_and_to_root_inside() {
    use std::os::unix::fs::MetadataExt;
    let Some(live) = Live::new() else { return };
    let shared = live.directory("shared");
    let volume = format!("{}:/shared", shared.display());
    live.sh(&["-v", &volume], "touch /shared/root; touch /shared/app; chown app:staff /shared/app").ok();
    let owner = |name: &str| {
        let facts = std::fs::metadata(shared.join(name)).expect("stat");
        (facts.uid(), facts.gid())
    };
    assert_eq!(owner("root"), (live.user.uid, live.user.gid));
    // The first subordinate id is id 1 inside.
    assert_eq!(owner("app").0, live.user.subuids.0 + 999);
    assert_eq!(live.sh(&["-v", &volume], "stat -c %u:%g /shared/root /shared/app").ok(), "0:0\n1000:50");
}

#[test]
fn keep_id_is_the_same_user_inside_and_outside() {
    use std::os::unix::fs::MetadataExt;
    let Some(live) = Live::new() else { return };
    let shared = live.directory("shared");
    let volume = format!("{}:/shared", shared.display());
    let own = format!("{} {}", live.user.uid, live.user.gid);
    assert_eq!(live.sh(&["--userns=keep-id", "-v", &volume], "touch /shared/mine; echo $(id -u) $(id -g)").ok(), own);
    assert_eq!(std::fs::metadata(shared.join("mine")).expect("stat").uid(), live.user.uid);
    let flags = ["--userns=keep-id:uid=1000,gid=1000", "-v", &volume];
    assert_eq!(live.sh(&flags, "echo $(id -u) $(stat -c %u /shared/mine)").ok(), "1000 1000");
}

#[test]
fn set_user_id_files_of_the_image_work_unless_forbidden() {
    let Some(live) = Live::new() else { return };
    let image = live.debian();
    // id -u shows the effective user, which is root's where the bit has worked.
    let script = "cp /usr/bin/id /opt/id && chmod 4755 /opt/id && setpriv --reuid 1000 --clear-groups /opt/id -u";
    let with = |flags: &[&str]| {
        let start = ["run", "--rm"].iter().chain(flags).copied();
        live.pybox(start.chain([image.as_str(), "sh", "-c", script])).within(120).ok()
    };
    assert_eq!(with(&[]), "0");
    assert_eq!(with(&["--security-opt", "no-new-privileges"]), "1000");
}
