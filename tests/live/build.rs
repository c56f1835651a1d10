//! `pybox build`: both kinds of files, and what a file must not reach.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::{Live, Run};

/// A context with these files, which belong to the test user.
pub(crate) fn context(live: &Live, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = live.directory(name);
    for (path, content) in files {
        if let Some((above, _)) = path.rsplit_once('/') {
            live.directory(&format!("{name}/{above}"));
        }
        live.file(&format!("{name}/{path}"), content);
    }
    directory
}

/// `pybox build FLAGS… CONTEXT`.
pub(crate) fn build(live: &Live, context: &Path, flags: &[&str]) -> Run {
    let context = context.to_string_lossy().into_owned();
    live.pybox(["build"].into_iter().chain(flags.iter().copied()).chain([context.as_str()]))
}

/// What a command of an image says.
pub(crate) fn says(live: &Live, image: &str, script: &str) -> String {
    live.pybox(["run", "--rm", "--pull=never", image, "sh", "-c", script]).ok()
}

pub(crate) fn inspected(live: &Live, image: &str, field: &str) -> String {
    live.pybox(["inspect", "--format", &format!("{{{{json {field}}}}}"), image]).ok()
}

#[test]
fn a_boxfile_makes_an_image() {
    let Some(live) = Live::new() else { return };
    let boxfile = format!(
        r#"
[box]
name = "made"
version = "1"
base = "{}"
[box.meta]
author = "Ann"
labels = {{ tier = "front" }}
[args]
WHAT = "world"
[[steps]]
run = "echo hello $WHAT > /hello && mkdir -p /var/empty/x && rm /bin/arping"
[[steps]]
name = "the sources"
copy = {{ src = "./src", dst = "/app/code", chown = "app:staff" }}
[[steps]]
copy = {{ src = "*.txt", dst = "/app/", chmod = "0600" }}
[[steps]]
workdir = "/app"
[[steps]]
env = {{ LEVEL = "3", PLACE = "$LEVEL/x" }}
[[steps]]
run = ["sh", "-c", "pwd > where; cat code/sub/b >> where; echo $LEVEL >> where"]
[run]
cmd = ["sh", "-c", "cat where"]
expose = [8000]
user = "app"
volumes = "/data"
stop_signal = "SIGINT"
[limits]
memory = "64m"
[healthcheck]
cmd = "true"
interval = "30s"
"#,
        live.image("busybox")
    );
    let files = [
        ("boxfile.toml", boxfile.as_str()),
        ("src/a", "1\n"),
        ("src/sub/b", "2\n"),
        ("x.txt", "x\n"),
        ("y.txt", "y\n"),
        ("z.log", "no\n"),
    ];
    let context = context(&live, "context", &files);
    let first = build(&live, &context, &[]).run().exits(0).says("RUN echo hello").says("the sources");
    let id = first.text();
    assert!(id.starts_with("sha256:") && id.lines().count() == 1, "{first}");
    assert_eq!(live.pybox(["run", "--rm", "made:1"]).ok(), "/app\n2\n3");
    let seen = says(
        &live,
        "made:1",
        "cat /hello; ls /bin/arping 2>&1 | tail -c 26; stat -c '%U:%G %a' /app /app/code /app/code/a /app/x.txt; \
         ls /app; id -un; echo $PLACE; ls -A /run",
    );
    let expected = "hello world\nNo such file or directory\napp:staff 755\napp:staff 755\napp:staff 644\nroot:root 600\n\
                    code\nwhere\nx.txt\ny.txt\napp\n/x\n.containerenv";
    assert_eq!(seen, expected);
    for (field, value) in [
        (".Config.ExposedPorts", r#"{"8000/tcp":{}}"#),
        (".Config.Volumes", r#"{"/data":{}}"#),
        (".Config.StopSignal", "\"SIGINT\""),
        (".Config.Labels.tier", "\"front\""),
        (".Author", "\"Ann\""),
    ] {
        assert_eq!(inspected(&live, "made:1", field), value, "{field}");
    }
    let again = build(&live, &context, &[]).run().exits(0);
    assert_eq!(again.text(), id, "the same image");
    assert_eq!(again.stderr.matches("(cached)").count(), 5, "{again}");
    // A file that changes takes the steps from its copy on with it.
    live.file("context/src/a", "other\n");
    let changed = build(&live, &context, &["-t", "other:1", "--build-arg", "UNKNOWN=1"]).run().exits(0);
    assert_eq!(changed.stderr.matches("(cached)").count(), 1, "{changed}");
    let changed = changed.says("UNKNOWN is declared nowhere");
    assert_ne!(changed.text(), id);
    assert_eq!(says(&live, "other:1", "cat code/a"), "other");
    assert!(inspected(&live, "made:1", ".Id").contains(&id), "it keeps its name");
    let argument = build(&live, &context, &["--build-arg", "WHAT=all", "-q", "-t", "third"]).run().exits(0);
    assert_eq!(argument.stderr, "");
    assert_eq!(says(&live, "third", "cat /hello"), "hello all");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_dockerfile_makes_an_image() {
    let Some(live) = Live::new() else { return };
    let dockerfile = format!(
        "ARG BASE={}\nFROM $BASE AS tools\nARG WHO=nobody\nENV A=\"b c\"\nRUN <<EOF\necho \"$WHO $A\" > /made\nEOF\n\
         RUN mkdir /d && ln -s /made /d/link && echo d > /d/file\n\
         FROM $BASE as unused\nRUN false\n\
         FROM $BASE\nLABEL k=\"v w\"\nCOPY --from=tools /made /d /out/\nCOPY --from=tools /d/link /followed\n\
         COPY <<one.txt <<'two.txt' /docs/\n$HOME is replaced\none.txt\n$HOME is not\ntwo.txt\n\
         ADD files.tar /added\nWORKDIR /out\nRUN cat <<X > /cat\nof the shell\nX\nUSER app\n\
         HEALTHCHECK --interval=5s CMD true\nENTRYPOINT [\"/bin/busybox\"]\nCMD [\"cat\", \"made\"]\n",
        live.image("busybox")
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile), ("in/x", "packed\n")]);
    let tar = Run::of({
        let mut command = live.command("tar");
        command.args(["-C", &context.join("in").to_string_lossy(), "-cf"]).arg(context.join("files.tar")).arg("x");
        command
    });
    tar.ok();
    build(&live, &context, &["-t", "docked", "--build-arg", "WHO=ann", "--label", "l=m"]).ok();
    assert_eq!(live.pybox(["run", "--rm", "docked"]).ok(), "ann b c");
    let script = "cd /; cat out/file followed docs/one.txt docs/two.txt added/x cat; readlink out/link; id -un";
    let seen = live.pybox(["run", "--rm", "--entrypoint", "sh", "docked", "-c", script]).ok();
    assert_eq!(seen, "d\nann b c\n is replaced\n$HOME is not\npacked\nof the shell\n/made\napp");
    assert_eq!(inspected(&live, "docked", ".Config.Labels"), r#"{"k":"v w","l":"m"}"#);
    let target = build(&live, &context, &["--target", "tools", "-t", "tools"]).ok();
    assert!(target.starts_with("sha256:"));
    assert_eq!(says(&live, "tools", "cat /made"), "nobody b c");
    let file = live.dir.join("id");
    live.file("id", "");
    build(&live, &context, &["--target", "tools", "--iidfile", &file.to_string_lossy()]).ok();
    assert_eq!(fs::read_to_string(&file).expect("an id"), target);
    build(&live, &context, &["--target", "none"]).run().refuses(1, "there is no stage");
}

#[test]
fn mistakes_name_file_line_and_what_was_meant() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let failing =
        format!("[box]\nbase = \"{base}\"\n[[steps]]\nrun = \"echo kept > /kept\"\n[[steps]]\nrun = \"exit 7\"\n");
    for (content, words) in [
        (
            "[box]\nbase = \"x\"\n[[steps]]\nrunn = \"x\"\n",
            "boxfile.toml:4:1: [[steps]] has no key runn; did you mean run?",
        ),
        (failing.as_str(), "boxfile.toml:6:1: RUN exit 7: the command ended with exit code 7"),
        ("[box]\nbase = \"scratch\"\n[[steps]]\nrun = \"x\"\n", "boxfile.toml:4:1: RUN x:"),
        (
            "[box]\nbase = \"scratch\"\n[[steps]]\ncopy = { src = \"nothing\", dst = \"/\" }\n",
            "\"nothing\" is not in the context",
        ),
        ("[box]\nbase = \"nosuch.invalid/image\"\n", "boxfile.toml:2:8: base nosuch.invalid/image:"),
    ] {
        let context = context(&live, "context", &[("boxfile.toml", content)]);
        build(&live, &context, &["-t", "x"]).run().refuses(1, words);
    }
    let context = context(&live, "context", &[("boxfile.toml", &failing)]);
    let again = build(&live, &context, &[]).run().exits(1);
    assert!(again.stderr.contains("echo kept > /kept (cached)"), "{again}");
    let empty = live.directory("empty");
    build(&live, &empty, &[]).run().refuses(1, "no Dockerfile");
    build(&live, &live.dir.join("nowhere"), &["-f", &context.join("boxfile.toml").to_string_lossy()])
        .run()
        .refuses(1, "open the context");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// SECURITY.md: CVE-2020-10696, CVE-2026-44517.
#[test]
fn links_of_the_context_lead_nowhere_else() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let canary = live.file("canary", "of the host\n");
    let context = context(&live, "context", &[("real/file", "inside\n")]);
    symlink(&canary, context.join("absolute")).expect("a link");
    symlink("../canary", context.join("relative")).expect("a link");
    symlink("..", context.join("up")).expect("a link");
    symlink("real", context.join("fine")).expect("a link");
    let file = |copy: &str| format!("FROM {base}\nCOPY {copy}\n");
    live.file("context/Dockerfile", file(". /all/"));
    build(&live, &context, &["-t", "links"]).ok();
    let seen = says(
        &live,
        "links",
        "cd /all; for l in absolute relative up; do readlink $l; done; cat absolute relative 2>&1 | grep -c host; cat fine/file",
    );
    assert_eq!(seen, format!("{}\n../canary\n..\n0\ninside", canary.display()));
    for source in ["absolute", "relative", "up/canary", "../canary", "real/../../canary", "up"] {
        live.file("context/Dockerfile", file(&format!("{source} /x")));
        build(&live, &context, &["-t", "x"]).run().refuses(1, "leads out of the context");
    }
    live.file("context/Dockerfile", file("fine/file /x"));
    build(&live, &context, &["-t", "x"]).ok();
    assert_eq!(says(&live, "x", "cat /x"), "inside");
}

/// SECURITY.md: CVE-2024-1753, CVE-2024-23651, CVE-2024-23652.
#[test]
fn mounts_stay_in_their_stage_and_leave_nothing() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let canary = live.file("canary", "of the host\n");
    let dockerfile = format!(
        "FROM {base} AS other\nRUN ln -s / /x && echo other > /mark\n\
         FROM {base}\nRUN mkdir -p {0} && ln -s {0} /away && mkdir /real && ln -s /real /link\n\
         RUN --mount=from=other,src=/x,dst=/stage cat /stage/mark && ! ls /stage/{1}\n\
         RUN --mount=type=cache,target=/away/made,id=../../../escape echo cached > /away/made/kept\n\
         RUN --mount=type=cache,target=/link/c --mount=type=tmpfs,target=/root/.t/deep --mount=type=secret,id=s \
         test $(wc -c < /run/secrets/s) = 9 && touch /link/c/y /root/.t/deep/z && echo \"$K\" > /k\n\
         RUN --mount=type=secret,id=s,env=K test ${{#K}} = 9\n",
        live.dir.join("target").display(),
        canary.strip_prefix("/").expect("absolute").display()
    );
    let target = live.directory("target");
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    let secret = live.file("secret", "s3Kr1t-42");
    let given = format!("id=s,src={}", secret.display());
    build(&live, &context, &["-t", "m"]).run().exits(1);
    build(&live, &context, &["-t", "m", "--secret", &given]).ok();
    assert_eq!(fs::read_dir(&target).expect("list").count(), 0, "nothing was made on the host");
    assert!(!live.dir.join("escape").exists() && canary.exists());
    let seen = says(
        &live,
        "m",
        "ls -A /real /root /run /link/ | grep -v '^$'; cat /k | wc -c; test -e /run/secrets || echo gone",
    );
    assert_eq!(seen, "/link/:\n/real:\n/root:\n/run:\n.containerenv\n1\ngone");
    let history = live.pybox(["history", "--no-trunc", "m"]).ok() + &inspected(&live, "m", ".");
    assert!(!history.contains("s3Kr1t"), "{history}");
    let blobs = Run::of({
        let mut command = live.command("grep");
        command.args(["-rl", "s3Kr1t"]).arg(live.root());
        command
    });
    assert_eq!(blobs.run().exits(1).text(), "", "the secret is nowhere in the store");
    // What a cache has stays, for other builds too.
    let second = format!("FROM {base}\nRUN --mount=type=cache,target=/c,id=../../../escape cat /c/kept > /kept\n");
    live.file("context/Dockerfile", second);
    build(&live, &context, &["-t", "n"]).ok();
    assert_eq!(says(&live, "n", "cat /kept; ls -A /c 2>&1 | grep -c kept; true"), "cached\n0");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// What a step does to a directory that is there for a mount alone is its change as any other.
#[test]
fn directories_above_mounts_keep_what_was_done_to_them() {
    for live in [Live::new(), Live::plain()].into_iter().flatten() {
        let base = live.image("busybox");
        let dockerfile = format!(
            "FROM {base}\nRUN mkdir -p /there/deep && chmod 755 /there /there/deep\n\
             RUN --mount=type=cache,target=/there/deep/c --mount=type=secret,id=s,target=/new/s \
             --mount=type=tmpfs,target=/var/t/d chown app:staff /there/deep && chmod 0700 /new\n\
             RUN --mount=type=cache,target=/there/deep/c --mount=type=cache,target=/gone/c true\n"
        );
        let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
        let secret = format!("id=s,src={}", live.file("secret", "x").display());
        build(&live, &context, &["-t", "kept", "--secret", &secret]).ok();
        let script = "stat -c '%n %a %U:%G' /there /there/deep /new; ls -A /there/deep /new; ls -d /var/t /gone 2>&1 | grep -c No";
        let seen = says(&live, "kept", script);
        assert_eq!(
            seen,
            "/there 755 root:root\n/there/deep 755 app:staff\n/new 700 root:root\n/new:\n\n/there/deep:\n2"
        );
        let history = live.pybox(["history", "--format", "{{.Size}}", "kept"]).ok();
        assert_eq!(history.lines().next(), Some("0B"), "{history}");
        assert_eq!(live.leftovers(), Vec::<String>::new());
    }
}

/// SECURITY.md: R11, CVE-2024-23653, CVE-2021-3602.
#[test]
fn a_step_has_the_rights_of_a_container_and_none_of_the_environment() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let ask = "grep -E '^(Cap|Seccomp|NoNewPrivs|Groups|Uid)' /proc/self/status; cat /proc/self/attr/current 2>/dev/null; \
               mount | sed 's/ .*on/ on/;s/lowerdir.*//' | cut -d' ' -f2-6 | grep -E 'proc|sys' | sort";
    let dockerfile = format!("FROM {base}\nRUN ({ask}) > /rights; env | sort > /env\n");
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    build(&live, &context, &["-t", "rights"]).env("SECRET_X", "1").ok();
    let of_run = live.sh(&[], ask).ok();
    assert_eq!(says(&live, "rights", "cat /rights"), of_run);
    let environment = says(&live, "rights", "cat /env");
    let names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(names, ["HOME", "HOSTNAME", "PATH", "PWD", "SHLVL", "container"], "{environment}");
    live.file("context/Dockerfile", format!("FROM {base}\nRUN --network=host true\n"));
    build(&live, &context, &["-t", "x"]).run().refuses(1, "asks for the network of the host");
    live.file("context/Dockerfile", format!("FROM {base}\nRUN --security=insecure true\n"));
    build(&live, &context, &["-t", "x"]).run().refuses(1, "rights of every container");
}

#[test]
fn bases_without_a_registry() {
    let Some(live) = Live::new() else { return };
    let context = context(&live, "context", &[("file", "content\n"), ("rootfs/bin/busybox", "")]);
    fs::copy("/bin/busybox", context.join("rootfs/bin/busybox")).expect("copy busybox");
    symlink("busybox", context.join("rootfs/bin/sh")).expect("a link");
    live.file("context/boxfile.toml", "[box]\nbase = \"rootfs:./rootfs\"\n[[steps]]\nrun = \"echo x > /x\"\n");
    build(&live, &context, &["-t", "tree"]).ok();
    assert_eq!(says(&live, "tree", "/bin/busybox cat /x; /bin/busybox stat -c %u:%g /bin/busybox"), "x\n0:0");
    let archive = Run::of({
        let mut command = live.command("tar");
        command.arg("-C").arg(context.join("rootfs")).arg("-czf").arg(context.join("rootfs.tar.gz")).arg(".");
        command
    });
    archive.ok();
    live.file("context/boxfile.toml", "[box]\nbase = \"rootfs:rootfs.tar.gz\"\n[[steps]]\nrun = \"echo y > /y\"\n");
    build(&live, &context, &["-t", "archive"]).ok();
    assert_eq!(says(&live, "archive", "/bin/busybox cat /y"), "y");
    live.file(
        "context/boxfile.toml",
        "[box]\nbase = \"scratch\"\n[[steps]]\ncopy = { src = \"rootfs\", dst = \"/\" }\n",
    );
    build(&live, &context, &["-t", "empty"]).ok();
    assert_eq!(says(&live, "empty", "/bin/busybox ls /"), "bin\ndev\netc\nproc\nrun\nsys");
    live.file("context/boxfile.toml", "[box]\nbase = \"rootfs:../rootfs\"\n");
    build(&live, &context, &["-t", "x"]).run().refuses(1, "leads out of the context");
    live.file("context/boxfile.toml", "[box]\nbase = \"debootstrap:--help\"\n");
    build(&live, &context, &["-t", "x"]).run().refuses(1, "is no suite");
}

/// A Python that a Debian has, and one that it is given; nothing is asked of the network.
#[test]
fn python_is_found_and_its_packages_installed() {
    let Some(live) = Live::new() else { return };
    // As much of a Python as the steps ask for, so that no package has to come from anywhere.
    let python = "#!/bin/sh\ncase \"$*\" in\n*version_info*) echo 3.12.4 ;;\n*ensurepip*) exit 0 ;;\n\
                  '-m venv '*) mkdir -p \"$3/bin\" \"$3/lib\"; cp \"$0\" \"$3/bin/python\" ;;\n\
                  *'install --help') echo --report ;;\n\
                  *' --report '*) while [ \"$1\" != --report ]; do shift; done; grep -v '#' /run/pybox-python/0/* > \"$2\"; \
                  echo httpx==1 >> \"$2\" ;;\n-c*report.json) cat \"$3\" ;;\n\
                  *' install --no-compile '*) shift 5; echo \"$@\" > /opt/venv/lib/installed; \
                  cat /opt/venv/pybox/requirements.lock >> /opt/venv/lib/installed; echo x >> \"$PIP_CACHE_DIR/wheels\" ;;\n*compileall*) echo \"$@\" > /opt/venv/lib/compiled ;;\nesac\n";
    let boxfile = |version: &str| {
        format!(
            "[box]\nbase = \"fake\"\n[python]\nversion = \"{version}\"\npackages = [\"httpx>=0.27\"]\n\
             requirements = \"deps.txt\"\n[run]\ncmd = [\"sh\", \"-c\", \"echo $VIRTUAL_ENV; command -v python\"]\n"
        )
    };
    let context = context(
        &live,
        "context",
        &[("python3", python), ("deps.txt", "flask==3\n"), ("boxfile.toml", &boxfile("3.12"))],
    );
    live.file("context/Base", format!("FROM {}\nCOPY --chmod=755 python3 /bin/python3\n", live.image("busybox")));
    build(&live, &context, &["-f", &context.join("Base").to_string_lossy(), "-t", "fake"]).ok();
    let first = build(&live, &context, &["-t", "py"]).run().exits(0);
    assert_eq!(live.pybox(["run", "--rm", "py"]).ok(), "/opt/venv\n/opt/venv/bin/python");
    let seen = says(&live, "py", "cat /opt/venv/lib/*; ls -A /run /root");
    assert_eq!(
        seen,
        "-m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib\n\
         --no-compile --no-deps -r /opt/venv/pybox/requirements.lock\nflask==3\nhttpx==1\n\
         /root:\n\n/run:\n.containerenv",
    );
    let again = build(&live, &context, &["-t", "py"]).run().exits(0);
    assert_eq!((again.text(), again.stderr.matches("(cached)").count()), (first.text(), 3), "{again}");
    // What is asked for in other words is the same set.
    live.file("context/deps.txt", "# a comment\nflask==3\n");
    let same = build(&live, &context, &["-t", "py"]).run().exits(0);
    assert_eq!(same.stderr.matches("(cached)").count(), 2, "{same}");
    live.file("context/deps.txt", "flask==4\n");
    let changed = build(&live, &context, &["-t", "py"]).run().exits(0);
    assert_eq!(changed.stderr.matches("(cached)").count(), 1, "the interpreter stays: {changed}");
    live.file("context/boxfile.toml", boxfile("3.9"));
    build(&live, &context, &["-t", "py"]).run().refuses(1, "exit code 1").says("no apt-get, apk or dnf");
}

/// One id outside, and true owners inside.
#[test]
fn a_user_without_ranges_builds_too() {
    let Some(live) = Live::plain() else { return };
    let dockerfile = format!(
        "FROM {}\nRUN echo x > /x && chown app:staff /x\nCOPY --chown=svc:www f /f\nCOPY g /g\nUSER app\nRUN id -un > /tmp/who\n\
         RUN --mount=type=secret,id=s,target=/s,uid=33,mode=0400 grep -qx hush /s\n",
        live.image("busybox")
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile), ("f", "f"), ("g", "g"), ("s", "hush")]);
    build(&live, &context, &["-t", "o", "--secret", "id=s,src=context/s"]).ok();
    let seen = says(&live, "o", "stat -c %U:%G /x /f /g /tmp/who; cat /tmp/who");
    assert_eq!(seen, "app:staff\nsvc:www\nroot:root\napp:app\napp");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
