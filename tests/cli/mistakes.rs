//! Mistakes that are seen before anything is touched: a sentence, a hint, the code.

use crate::harness::{TestEnvironment, assert_shows};

#[test]
fn mistakes_on_the_command_line() {
    let environment = TestEnvironment::new();
    // What was typed, the hint, the exit code, the sentence.
    let cases = [
        ("frobnicate", "pybox --help", 125, "unrecognized subcommand 'frobnicate'"),
        ("images --bogus", "pybox images --help", 125, "unexpected argument '--bogus' found"),
        ("rmi", "pybox rmi --help", 125, "the following required arguments were not provided: <IMAGE>..."),
        ("pull", "pybox pull --help", 125, "the following required arguments were not provided: <IMAGE>"),
        ("tag a", "pybox tag --help", 125, "the following required arguments were not provided: <NAME[:TAG]>"),
        ("inspect", "pybox inspect --help", 125, "the following required arguments were not provided: <NAME>..."),
        ("rm", "pybox rm --help", 125, "the following required arguments were not provided: <CONTAINER>..."),
        ("save", "pybox save --help", 125, "the following required arguments were not provided: <IMAGE>..."),
        ("ps -n", "pybox ps --help", 125, "a value is required for '--last <N>' but none was supplied"),
        ("ps -n x", "pybox ps --help", 125, "invalid value 'x' for '--last <N>': expected a whole number"),
        (
            "--log-level loud ps",
            "pybox --help",
            125,
            "invalid value \"loud\" for --log-level: expected one of off, error, warn, info, debug, trace",
        ),
        (
            "inspect --type volume x",
            "pybox inspect --help",
            125,
            "invalid value 'volume' for '--type <TYPE>' [possible values: container, image]",
        ),
        (
            "save --format zip x",
            "pybox save --help",
            125,
            "invalid value 'zip' for '--format <FORMAT>' [possible values: docker-archive, oci-archive]",
        ),
        (
            "build --secret x",
            "--secret id=token,src=FILE, or --secret id=token,env=VARIABLE",
            1,
            "--secret \"x\": \"x\" is not KEY=VALUE",
        ),
        (
            "build --cpu-shares 1",
            "pybox build --help",
            1,
            "invalid value \"1\" for --cpu-shares: expected 2 to 262144; others have 1024",
        ),
        (
            "--cgroup-driver none build -m 64m --cpus 1",
            "choose another --cgroup-driver",
            1,
            "cannot hold --memory, --cpus: --cgroup-driver none makes none",
        ),
        (
            "build --ssh default",
            "eval \"$(ssh-agent)\" && ssh-add",
            1,
            "--ssh \"default\": SSH_AUTH_SOCK is not set, so no agent is known",
        ),
        (
            "build --ssh hub=/etc/passwd",
            "eval \"$(ssh-agent)\" && ssh-add /etc/passwd, then --ssh hub",
            1,
            "--ssh \"hub=/etc/passwd\": /etc/passwd is a file; keys are given to an agent, not to a build",
        ),
        ("build --ssh =x", "--ssh default, or --ssh NAME=SOCKET", 1, "--ssh \"=x\": it has no name"),
        ("build --build-arg =x", "--build-arg NAME=VALUE", 1, "--build-arg \"=x\" has no name"),
        (
            "build -t A",
            "pybox build --help",
            1,
            "invalid image reference \"A\": a repository has lower-case letters and digits, separated by '/', '.', '_', '__' or '-'",
        ),
        ("pull a b", "pybox pull --help", 125, "unexpected argument 'b' found"),
        ("image frobnicate", "pybox image --help", 125, "unrecognized subcommand 'frobnicate'"),
        ("-x", "pybox --help", 125, "unexpected argument '-x' found"),
        (
            "ps --filter colour=red",
            "pybox ps --help",
            1,
            "invalid value \"colour=red\" for --filter: expected id=, name=, status=, health=, label=, \
             ancestor=, exited=, volume=, network=, before= or since=",
        ),
        (
            "ps --filter status=dead",
            "pybox ps --help",
            1,
            "invalid value \"status=dead\" for --filter: expected status= with created, running, paused, \
             restarting or exited",
        ),
        (
            "images --filter size=1",
            "pybox images --help",
            1,
            "invalid value \"size=1\" for --filter: expected dangling=true, dangling=false, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE or until=TIME",
        ),
        (
            "pull Debian",
            "pybox pull --help",
            1,
            "invalid image reference \"Debian\": a repository has lower-case letters and digits, separated by '/', '.', '_', '__' or '-'",
        ),
        (
            "pull a/../b",
            "pybox pull --help",
            1,
            "invalid image reference \"a/../b\": a repository has lower-case letters and digits, separated by '/', '.', '_', '__' or '-'",
        ),
        (
            "pull --platform linux/ debian",
            "pybox pull --help",
            1,
            "invalid value \"linux/\" for --platform: expected os/architecture[/variant], as in linux/arm64",
        ),
        (
            "tag a B",
            "pybox tag --help",
            1,
            "invalid image reference \"B\": a repository has lower-case letters and digits, separated by '/', '.', '_', '__' or '-'",
        ),
        (
            "tag a b@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "pybox tag --help",
            1,
            "invalid name \"b@sha256:0000000000000000000000000000000000000000000000000000000000000000\": a name that is given cannot have a digest",
        ),
        (
            "import - Bad",
            "pybox import --help",
            1,
            "invalid image reference \"Bad\": a repository has lower-case letters and digits, separated by '/', '.', '_', '__' or '-'",
        ),
    ];
    for (line, hint, code, sentence) in cases {
        assert_shows(&environment, &[(line, &format!("! pybox: {sentence}\n! hint: {hint}\nexit {code}\n"))]);
    }
    assert!(!environment.path().join("root").exists(), "a mistake makes no store");
}

#[test]
fn near_misses_are_guessed() {
    assert_shows(
        &TestEnvironment::new(),
        &[
            (
                "run --nmae x debian",
                "! pybox: unexpected argument '--nmae' found\n! hint: did you mean --name? see: pybox run --help\nexit 125\n",
            ),
            (
                "runn debian",
                "! pybox: unrecognized subcommand 'runn'\n! hint: did you mean run? see: pybox --help\nexit 125\n",
            ),
            (
                "biuld .",
                "! pybox: unrecognized subcommand 'biuld'\n! hint: did you mean build? see: pybox --help\nexit 125\n",
            ),
            ("images --format {{.ID", "! pybox: --format: invalid template: {{ without }}\nexit 1\n"),
        ],
    );
}
