//! Values that no flag of `run` takes: each is named, with what would be taken.

use crate::harness::{TestEnvironment, assert_shows};

#[test]
fn values_that_no_flag_takes() {
    let environment = TestEnvironment::new();
    let cases = [
        ("--xyzzy debian", "unexpected argument '--xyzzy' found"),
        (
            "-d --restart never debian",
            "invalid value \"never\" for --restart: expected no, on-failure[:N], always or unless-stopped",
        ),
        (
            "--health-interval 5 debian",
            "invalid value \"5\" for --health-interval: expected a time with its unit, as in 30s, 500ms or 1m30s",
        ),
        ("--log-driver syslog debian", "invalid value \"syslog\" for --log-driver: expected file, journald or none"),
        ("--log-opt max-size=1 debian", "invalid value \"max-size=1\" for --log-opt: expected a size of 4k or more"),
        (
            "--detach-keys ctrl-1 debian",
            "invalid value \"ctrl-1\" for --detach-keys: expected keys with commas between them, as in ctrl-p,ctrl-q",
        ),
        ("-h", "a value is required for '--hostname <NAME>' but none was supplied"),
        ("--name -- debian", "a value is required for '--name <NAME>' but none was supplied"),
        (
            "--memory 1q debian",
            "invalid value \"1q\" for --memory: expected a size in bytes or with a unit, as in 64k, 256m or 1.5g",
        ),
        ("--memory 1k debian", "invalid value \"1k\" for --memory: a container needs at least 512k"),
        ("--cpus 0 debian", "invalid value \"0\" for --cpus: expected a number of processors above 0, as in 0.5 or 2"),
        (
            "--pids-limit many debian",
            "invalid value \"many\" for --pids-limit: expected 1 to 4194304, or -1 for no limit",
        ),
        ("--shm-size 0 debian", "invalid value \"0\" for --shm-size: expected a size above zero, as in 64m"),
        ("-u 4294967296 debian", "invalid value \"4294967296\" for --user: ids go from 0 to 4294967294"),
        ("-u : debian", "invalid value \":\" for --user: expected user[:group], by name or number"),
        (
            "-u -1 debian",
            "invalid value \"-1\" for --user: expected user[:group], by name or number from 0 to 4294967294",
        ),
        (
            "--group-add a,b debian",
            "invalid value \"a,b\" for --group-add: expected user[:group], by name or number from 0 to 4294967294",
        ),
        ("-v relative debian", "invalid value \"relative\" for --volume: the path in the container has to be absolute"),
        ("-v /a:/proc debian", "invalid value \"/proc\" for --volume: /proc, /sys and /dev are reserved"),
        ("-v /a:../b debian", "invalid value \"../b\" for --volume: the path in the container has to be absolute"),
        (
            "-v /a:/b:rx debian",
            "invalid value \"/a:/b:rx\" for --volume: unknown option \"rx\"; known are ro, rw, z, Z, bind, rbind, [r]private, [r]shared, [r]slave, [no]exec, [no]suid, [no]dev",
        ),
        (
            "-v a/b:/c debian",
            "invalid value \"a/b:/c\" for --volume: \"a/b\" is neither an absolute path, a path that starts with ./, nor a volume's name",
        ),
        (
            "--mount type=bind,target=/x debian",
            "invalid value \"type=bind,target=/x\" for --mount: a bind needs source=PATH",
        ),
        (
            "--mount type=nfs,target=/x debian",
            "invalid value \"type=nfs,target=/x\" for --mount: unknown type \"nfs\"; known are bind, volume and tmpfs",
        ),
        ("--tmpfs run debian", "invalid value \"run\" for --tmpfs: the path in the container has to be absolute"),
        ("-v /a:/x --tmpfs /x debian", "two mounts have the target /x"),
        ("-e =x debian", "invalid value \"=x\" for --env: expected NAME=value, or NAME to pass on your own"),
        ("-e A*B debian", "invalid value \"A*B\" for --env: expected NAME=value, or NAME to pass on your own"),
        ("-w relative debian", "invalid value \"relative\" for --workdir: expected an absolute path"),
        (
            "--hostname a_b! debian",
            "invalid value \"a_b!\" for --hostname: expected at most 64 letters, digits, '-' and '.', starting and ending with a letter or digit",
        ),
        ("--add-host x debian", "invalid value \"x\" for --add-host: expected name:address, as in db:10.0.0.2"),
        ("--dns localhost debian", "invalid value \"localhost\" for --dns: expected an IP address, as in 10.0.0.1"),
        (
            "--network -x debian",
            "invalid value \"-x\" for --network: expected none, host, pasta, container:NAME or the name of a network",
        ),
        (
            "--cap-add FLY debian",
            "invalid value \"FLY\" for --cap-add: there is no such capability; the nearest name is KILL",
        ),
        (
            "--cap-drop CAP_ debian",
            "invalid value \"CAP_\" for --cap-drop: there is no such capability; the nearest name is BPF",
        ),
        (
            "--security-opt seccomp=none.json debian",
            "invalid value \"seccomp=none.json\" for --security-opt: No such file or directory",
        ),
        (
            "--security-opt apparmor= debian",
            "invalid value \"apparmor=\" for --security-opt: expected no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask= or systempaths=unconfined",
        ),
        (
            "--security-opt colour=red debian",
            "invalid value \"colour=red\" for --security-opt: expected no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask= or systempaths=unconfined",
        ),
        (
            "--ulimit nofile debian",
            "invalid value \"nofile\" for --ulimit: expected name=soft[:hard], as in nofile=1024:4096",
        ),
        (
            "--ulimit nofile=2:1 debian",
            "invalid value \"nofile=2:1\" for --ulimit: the soft limit is above the hard one",
        ),
        ("--device fuse debian", "invalid value \"fuse\" for --device: paths have to be absolute and without \"..\""),
        (
            "--userns auto:x debian",
            "invalid value \"auto:x\" for --userns: expected keep-id[:uid=N,gid=N], private or host",
        ),
        (
            "--sysctl kernel.panic=1 debian",
            "invalid value \"kernel.panic=1\" for --sysctl: only net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} belong to a container",
        ),
        (
            "--stop-signal NOPE debian",
            "invalid value \"NOPE\" for --stop-signal: expected a signal's name or number, as in SIGTERM, INT, RTMIN+3 or 9",
        ),
        ("--pull sometimes debian", "invalid value \"sometimes\" for --pull: expected always, missing, newer or never"),
        (
            "--platform x/y/z/w debian",
            "invalid value \"x/y/z/w\" for --platform: expected os/architecture[/variant], as in linux/arm64",
        ),
        ("--label = debian", "invalid value \"=\" for --label: expected key=value with a key without spaces"),
        (
            "--entrypoint [x debian",
            "invalid value \"[x\" for --entrypoint: expected a program, or a JSON list as in [\"sh\", \"-c\"]",
        ),
    ];
    for (flags, sentence) in cases {
        let shown = format!("! pybox: {sentence}\n! hint: pybox run --help\nexit 125\n");
        assert_shows(&environment, &[(&format!("run {flags}"), &shown)]);
    }
    assert!(!environment.path().join("root").exists(), "a mistake makes no store");
}

#[test]
fn mistakes_with_a_hint_of_their_own() {
    assert_shows(
        &TestEnvironment::new(),
        &[
            ("run", "! pybox: no image is given\n! hint: pybox run --rm -it debian:12 bash\nexit 125\n"),
            ("run --rm", "! pybox: no image is given\n! hint: pybox run --rm -it debian:12 bash\nexit 125\n"),
            ("run --image= x", "! pybox: no image is given\n! hint: pybox run --rm -it debian:12 bash\nexit 125\n"),
            (
                "run --name a/b debian",
                "! pybox: invalid name \"a/b\": use up to 128 letters, digits, '_', '.' and '-', starting with a letter or digit\n! hint: pybox run --name web-1 IMAGE, or leave --name out for one that is made up\nexit 125\n",
            ),
            (
                "run --env-file none debian",
                "! pybox: --env-file none: No such file or directory\n! hint: ls -l none\nexit 125\n",
            ),
            (
                "run -t debian",
                "! pybox: --tty needs a terminal, and standard input is none\n! hint: leave out -t; -i alone hands standard input on\nexit 125\n",
            ),
        ],
    );
}
