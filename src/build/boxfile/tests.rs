use super::*;
use crate::build::graph::{Cache, Copy, Mount, Run, Sharing, Ssh};
use crate::model::permissions::Permissions;

/// The example of the first README of this project, to the letter.
const SEED: &str = r#"
# boxfile.toml — complete PyBox image definition

[box]
name    = "my-app"
version = "1.0.0"
base    = "ubuntu:24.04"

[box.meta]
author      = "Your Name"
description = "A PyBox image example"
labels      = { env = "production", team = "backend" }

# ── Python first-class ───────────────────────────────────────────
[python]
version  = "3.12"
packages = [
  "fastapi==0.111.0",
  "uvicorn[standard]==0.30.0",
  "httpx>=0.27",
]

[[steps]]
name = "install system dependencies"
run  = "apt-get update && apt-get install -y curl"

[[steps]]
name = "copy source code"
copy = { src = "./src", dst = "/app" }

[[steps]]
name = "set working directory"
workdir = "/app"

[[steps]]
name = "build-time variables"
env = { BUILD_ENV = "production" }

[run]
cmd    = ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000"]
expose = [8000]
env    = { PYTHONUNBUFFERED = "1", LOG_LEVEL = "info" }
user   = "appuser"

[limits]
memory = "256m"    # 256 MB RAM
cpu    = 0.5       # 50% of one core
pids   = 100       # max 100 processes

[healthcheck]
cmd      = ["curl", "-f", "http://localhost:8000/health"]
interval = "30s"
timeout  = "5s"
retries  = 3
"#;

fn actions(text: &str) -> Vec<Action> {
    let graph = parse(text).unwrap_or_else(|mistake| panic!("{mistake}"));
    graph.stages.into_iter().flat_map(|stage| stage.steps).map(|step| step.action).collect()
}

fn refusal(text: &str) -> Mistake {
    parse(text).expect_err(text)
}

const HEAD: &str = "[box]\nbase = \"debian:13\"\n";

#[test]
fn the_example_of_the_seed() {
    let graph = parse(SEED).expect("a graph");
    assert_eq!(graph.name.as_deref(), Some("my-app:1.0.0"));
    let [stage] = graph.stages.as_slice() else { panic!("one stage") };
    assert_eq!(stage.base, "ubuntu:24.04");
    let names: Vec<_> = stage.steps.iter().filter_map(|step| step.name.as_deref()).collect();
    assert_eq!(
        names,
        [
            "python 3.12, venv /opt/venv",
            "pip resolve fastapi==0.111.0 uvicorn[standard]==0.30.0 httpx>=0.27",
            "pip install fastapi==0.111.0 uvicorn[standard]==0.30.0 httpx>=0.27",
            "install system dependencies",
            "copy source code",
            "set working directory",
            "build-time variables",
        ]
    );
    let has = |wanted: Action| assert!(stage.steps.iter().any(|step| step.action == wanted), "{wanted:?}");
    let text = |text: &str| text.to_owned();
    has(Action::Run(Run {
        command: Command::Text(text("apt-get update && apt-get install -y curl")),
        mounts: vec![],
        network: None,
        environment: vec![],
    }));
    let copy = Copy { sources: vec![text("./src")], to: text("/app"), addresses: true, ..Copy::default() };
    has(Action::Copy(copy));
    has(Action::Directory(text("/app")));
    has(Action::Environment(vec![(text("BUILD_ENV"), text("production"))]));
    has(Action::Expose(vec![text("8000")]));
    has(Action::User(text("appuser")));
    has(Action::Author(text("Your Name")));
    has(Action::Health(Some(Health {
        command: Some(Command::Words(vec![text("curl"), text("-f"), text("http://localhost:8000/health")])),
        interval: Some(30_000_000_000),
        timeout: Some(5_000_000_000),
        retries: Some(3),
        ..Health::default()
    })));
    let labels = stage.steps.iter().filter_map(|step| match &step.action {
        Action::Labels(pairs) => Some(pairs.clone()),
        _ => None,
    });
    let labels: Vec<_> = labels.flatten().map(|(key, value)| format!("{key}={value}")).collect();
    for label in ["org.opencontainers.image.title=my-app", "team=backend", "dev.pybox.limits.cpu=0.5"] {
        assert!(labels.iter().any(|known| known == label), "{label}: {labels:?}");
    }
}

#[test]
fn steps_with_all_they_take() {
    let text = format!(
        "{HEAD}shell = [\"/bin/bash\", \"-ec\"]\n[args]\nVERSION = 3\n\
         [[steps]]\nrun = [\"make\", \"all\"]\nnetwork = \"none\"\nenv = {{ A = 1 }}\n\
         cache = [\"/root/.cache\", {{ id = \"pip\", target = \"/c\", read_only = true, sharing = \"private\", \
         from = \"build\", src = \"/wheels\", uid = 1000, mode = \"0700\" }}]\n\
         secret = [\"token\", {{ id = \"key\", env = \"KEY\", required = false }}]\n\
         ssh = [\"default\", {{ id = \"hub\", target = \"/run/a\", required = false, mode = \"0660\", uid = 1000, gid = 7 }}]\n\
         mount = [{{ src = \"x\", target = \"/x\", from = \"build\", rw = true }}, {{ type = \"tmpfs\", target = \"/t\", size = \"1m\" }}]\n\
         [[steps]]\ncopy = {{ src = [\"a\", \"b\"], dst = \"/d/\", from = \"other\", chown = \"1:2\", chmod = \"755\" }}\n\
         [[steps]]\nuser = 1000\n[[steps]]\nshell = [\"/bin/sh\"]\n"
    );
    let actions = actions(&text);
    let argument = Argument { name: "VERSION".into(), default: Some("3".into()) };
    assert_eq!(actions.first(), Some(&Action::Argument(argument)));
    let run = Run {
        command: Command::Words(vec!["make".into(), "all".into()]),
        mounts: vec![
            Mount::Cache(Cache {
                id: "/root/.cache".into(),
                target: "/root/.cache".into(),
                source: "/".into(),
                ..Cache::default()
            }),
            Mount::Cache(Cache {
                id: "pip".into(),
                target: "/c".into(),
                read_only: true,
                sharing: Sharing::Private,
                from: Some("build".into()),
                source: "/wheels".into(),
                owner: (1000, 0),
                mode: Some(0o700),
            }),
            Mount::Secret {
                id: "token".into(),
                target: Some("/run/secrets/token".into()),
                variable: None,
                required: true,
                mode: 0o400,
                owner: (0, 0),
            },
            Mount::Secret {
                id: "key".into(),
                target: None,
                variable: Some("KEY".into()),
                required: false,
                mode: 0o400,
                owner: (0, 0),
            },
            Mount::Ssh(Ssh { id: "default".into(), target: None, required: true, mode: 0o600, owner: (0, 0) }),
            Mount::Ssh(Ssh {
                id: "hub".into(),
                target: Some("/run/a".into()),
                required: false,
                mode: 0o660,
                owner: (1000, 7),
            }),
            Mount::Bind { from: Some("build".into()), source: "x".into(), target: "/x".into(), writable: true },
            Mount::Tmpfs { target: "/t".into(), size: Some(1 << 20) },
        ],
        network: Some("none".into()),
        environment: vec![("A".into(), "1".into())],
    };
    assert_eq!(actions.get(2), Some(&Action::Run(run)));
    let copy = Copy {
        from: Some("other".into()),
        sources: vec!["a".into(), "b".into()],
        to: "/d/".into(),
        owner: Some("1:2".into()),
        mode: Some(Permissions::of(0o755)),
        ..Copy::default()
    };
    assert_eq!(actions.get(3), Some(&Action::Copy(copy)));
    assert_eq!(actions.get(4), Some(&Action::User("1000".into())));
}

#[test]
fn stages_come_before_the_box() {
    let graph = parse(
        "[[stages]]\nname = \"build\"\nbase = \"golang\"\n[[stages.steps]]\nrun = \"make\"\n\
         [box]\nbase = \"scratch\"\n[[steps]]\ncopy = { src = \"/out\", dst = \"/\", from = \"build\" }\n",
    )
    .expect("a graph");
    let names: Vec<_> = graph.stages.iter().map(|stage| (stage.name.as_deref(), stage.base.as_str())).collect();
    assert_eq!(names, [(Some("build"), "golang"), (None, "scratch")]);
    assert_eq!(graph.stages.first().map(|stage| stage.steps.len()), Some(1));
}

#[test]
fn mistakes_have_a_place_and_name_what_was_meant() {
    let cases = [
        ("", "1:1", "[box] is missing", "begin with [box]"),
        ("[box", "1:5", "", "toml.io"),
        ("[box]\nbase = \"a\"\nbase = \"b\"\n", "3:1", "duplicate key", "toml.io"),
        ("[bos]\nbase = \"a\"\n", "1:2", "has no key bos; did you mean box?", "its keys are box"),
        ("[box]\nname = \"x\"\n", "2:1", "[box] lacks the key base", "debootstrap:SUITE"),
        ("[box]\nbase = 12\n", "2:8", "base of [box] is a number; expected text", ""),
        (
            "[box]\nbase = \"a\"\nnmae = \"x\"\n",
            "3:1",
            "[box] has no key nmae; did you mean name?",
            "its keys are name",
        ),
        ("[box]\nbase = \"a\"\n[box.meta]\nlabel = {}\n", "4:1", "did you mean labels?", "author"),
        (
            "[box]\nbase = \"a\"\n[[steps]]\nruns = \"x\"\n",
            "4:1",
            "[[steps]] has no key runs; did you mean run?",
            "copy",
        ),
        ("[box]\nbase = \"a\"\n[[steps]]\nname = \"x\"\n", "4:1", "the step does nothing", "one of run"),
        ("[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\nworkdir = \"/\"\n", "4:1", "run and workdir at once", "of each"),
        ("[box]\nbase = \"a\"\n[[steps]]\nworkdir = \"/\"\ncache = \"/c\"\n", "4:1", "cache is for steps", "leave it"),
        ("[box]\nbase = \"a\"\n[[steps]]\nrun = \" \"\n", "4:1", "command of the step is empty", "make"),
        (
            "[box]\nbase = \"a\"\n[[steps]]\ncopy = { scr = \"x\", dst = \"/\" }\n",
            "4:10",
            "did you mean src?",
            "its keys",
        ),
        ("[box]\nbase = \"a\"\n[[steps]]\ncopy = { dst = \"/\" }\n", "4:10", "lacks the key src", "as in copy"),
        (
            "[box]\nbase = \"a\"\n[[steps]]\ncopy = { src = [\"a\", \"b\"], dst = \"/d\" }\n",
            "4:34",
            "ends with no slash",
            "dst = \"/d/\"",
        ),
        (
            "[box]\nbase = \"a\"\n[[steps]]\ncopy = { src = \"a\", dst = \"/\", chmod = \"9\" }\n",
            "4:40",
            "no permission bits",
            "0755",
        ),
        ("[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\ncache = \"c\"\n", "5:9", "no absolute place", "from the root"),
        ("[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\nsecret = \"../k\"\n", "5:10", "no name of a secret", ""),
        ("[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\nssh = \"\"\n", "5:7", "the agent has no name", "default"),
        ("[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\nssh = { target = \"a\" }\n", "5:18", "no absolute place", ""),
        ("[box]\nbase = \"a\"\n[[steps]]\nworkdir = \"/x\"\nssh = \"a\"\n", "4:1", "ssh is for steps that run", ""),
        ("[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\nnetwork = \"lan\"\n", "5:11", "no network", "none, host"),
        ("[box]\nbase = \"a\"\n[run]\nexpose = [80, 0]\n", "4:15", "is no port", ""),
        ("[box]\nbase = \"a\"\n[run]\nvolumes = \"data\"\n", "4:11", "no absolute path", "/data"),
        ("[box]\nbase = \"a\"\n[run]\nstop_signal = \"SIGNO\"\n", "4:15", "no signal", ""),
        ("[box]\nbase = \"a\"\n[limits]\nmemory = \"lots\"\n", "4:10", "expected a size", ""),
        (
            "[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\ncache = { target = \"/c\", sharin = \"locked\" }\n",
            "5:26",
            "did you mean sharing?",
            "its keys are id",
        ),
        (
            "[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\ncache = { target = \"/c\", sharing = \"lock\" }\n",
            "5:36",
            "there is no sharing \"lock\"; did you mean locked?",
            "sharing is shared",
        ),
        (
            "[box]\nbase = \"a\"\n[[steps]]\nrun = \"x\"\nsecret = { id = \"s\", uid = \"app\" }\n",
            "5:28",
            "uid is \"app\"; expected a number",
            "",
        ),
        ("[box]\nbase = \"a\"\nonbuild = [\"RUN x\", \"FROM b\"]\n", "3:21", "FROM cannot follow ONBUILD", "COPY ."),
        ("[box]\nbase = \"a\"\n[limits]\ncpus = 1\n", "4:1", "did you mean cpu?", ""),
        ("[box]\nbase = \"a\"\n[healthcheck]\ninterval = \"1s\"\n", "4:1", "lacks the key cmd", ""),
        ("[box]\nbase = \"a\"\n[healthcheck]\ncmd = \"x\"\ninterval = \"soon\"\n", "5:12", "expected a time", ""),
        ("[box]\nbase = \"a\"\n[python]\nversion = \"2\"\n", "4:1", "no version of Python", ""),
        ("[box]\nbase = \"a\"\n[args]\n\"a-b\" = \"x\"\n", "1:1", "no name of an argument", "VERSION"),
        ("steps = 1\n[box]\nbase = \"a\"\n", "1:9", "expected tables", ""),
    ];
    for (text, place, message, hint) in cases {
        let mistake = refusal(text);
        assert_eq!(mistake.position.to_string(), place, "{text}: {mistake}");
        assert!(mistake.message.contains(message), "{text}: {mistake}");
        assert!(mistake.hint.clone().unwrap_or_default().contains(hint), "{text}: {:?}", mistake.hint);
    }
}
