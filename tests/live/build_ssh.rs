//! The caller's agent of ssh in steps of a build: a real agent, and the real `ssh-add` inside.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::build::{build, context, inspected, says};
use crate::harness::{Live, Run};

/// An agent of the test user with one key.
struct Agent {
    process: Child,
    socket: PathBuf,
    /// As `ssh-add -L` shows it.
    key: String,
}

impl Agent {
    fn start(live: &Live, name: &str) -> Self {
        let socket = live.directory("agents").join(name);
        let mut command = live.command("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdout(std::process::Stdio::null());
        let process = command.spawn().expect("start ssh-agent");
        let begun = std::time::Instant::now();
        while !socket.exists() {
            assert!(begun.elapsed().as_secs() < 20, "the agent does not listen");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let file = live.dir.join(format!("key-{name}"));
        let mut keygen = live.command("ssh-keygen");
        Run::of({
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&file);
            keygen
        })
        .ok();
        let mut agent = Self { process, socket, key: String::new() };
        agent.add(live, &[&file.to_string_lossy()]).exits(0);
        agent.key = agent.add(live, &["-L"]).exits(0).text();
        assert!(agent.key.starts_with("ssh-ed25519 ") && agent.key.ends_with(name), "{}", agent.key);
        agent
    }

    fn add(&self, live: &Live, arguments: &[&str]) -> crate::harness::Outcome {
        let mut command = live.command("ssh-add");
        command.args(arguments).env("SSH_AUTH_SOCK", &self.socket);
        Run::of(command).run()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Puts `ssh-add` and all that it is linked with into `tools` of a context, each at its own path.
fn tools(live: &Live) {
    let listed = Command::new("ldd").arg("/usr/bin/ssh-add").output().expect("run ldd");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let words = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for path in words.chain(["/usr/bin/ssh-add"]) {
        let place = format!("context/tools{path}");
        live.directory(&Path::new(&place).parent().expect("a directory").to_string_lossy());
        let file = live.file(&place, std::fs::read(path).expect("read a library"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(file, mode).expect("chmod");
    }
}

#[test]
fn steps_ask_the_agent_of_whoever_builds() {
    let Some(live) = Live::new() else { return };
    let (first, second) = (Agent::start(&live, "first"), Agent::start(&live, "second"));
    let dockerfile = format!(
        "FROM {} AS all\nCOPY tools /\n\
         RUN --mount=type=ssh ssh-add -L > /root-sees; echo $SSH_AUTH_SOCK >> /root-sees; \
         stat -c '%u:%g %a' $SSH_AUTH_SOCK >> /root-sees\n\
         RUN --mount=type=ssh,id=hub,target=/tmp/hub --mount=type=ssh ssh-add -L > /two; echo $SSH_AUTH_SOCK >> /two; \
         SSH_AUTH_SOCK=/run/buildkit/ssh_agent.1 ssh-add -L >> /two\n\
         RUN --mount=type=ssh ! ssh-add -D 2> /denied && ! ssh-add -x </dev/null 2>> /denied\n\
         RUN echo \"[$SSH_AUTH_SOCK]\" > /after; ls -A /run /tmp >> /after\n\
         RUN --mount=type=ssh,id=nobody echo \"[$SSH_AUTH_SOCK]\" > /none\n\
         USER app\n\
         RUN --mount=type=ssh,uid=1000,gid=50,mode=0640 (ssh-add -L; stat -c '%u:%g %a' $SSH_AUTH_SOCK) > /tmp/app-sees\n\
         RUN --mount=type=ssh ssh-add -L > /tmp/refused 2>&1; test $? = 2\n\
         ENV SSH_AUTH_SOCK=/of/the/image\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK > /tmp/own\n",
        live.image("busybox")
    );
    let boxfile = "[box]\nbase = \"s\"\n[[steps]]\nuser = \"root\"\n[[steps]]\nenv = { SSH_AUTH_SOCK = \"\" }\n\
                   [[steps]]\nrun = \"SSH_AUTH_SOCK=/run/hub ssh-add -L > /boxed\"\n\
                   ssh = [\"default\", { id = \"hub\", target = \"/run/hub\" }]\n";
    let context = context(&live, "context", &[("Dockerfile", &dockerfile), ("boxfile.toml", boxfile)]);
    tools(&live);
    let file = context.join("Dockerfile").to_string_lossy().into_owned();
    let hub = format!("hub={}", second.socket.display());
    let done = build(&live, &context, &["-f", &file, "-t", "s", "--ssh", "default", "--ssh", &hub])
        .env("SSH_AUTH_SOCK", &first.socket)
        .run()
        .exits(0);
    let seen = says(
        &live,
        "s",
        "for f in root-sees two after none tmp/app-sees tmp/own; do cat /$f; done; wc -l < /denied; ls -d /run/buildkit 2>&1 | grep -c 'No such'",
    );
    let (one, two) = (&first.key, &second.key);
    let expected = format!(
        "{one}\n/run/buildkit/ssh_agent.0\n0:0 600\n{two}\n/tmp/hub\n{one}\n[]\n/run:\n.containerenv\n\n/tmp:\n[]\n\
         {one}\n1000:50 640\n/of/the/image\n2\n1"
    );
    assert_eq!(seen, expected, "{done}");
    assert_eq!(first.add(&live, &["-L"]).exits(0).text(), first.key, "it has its key, and is not locked");
    for told in [inspected(&live, "s", "."), live.pybox(["history", "--no-trunc", "s"]).ok()] {
        assert!(!told.contains(&*first.socket.to_string_lossy()), "{told}");
    }
    // What a step has made is kept, whoever's agent it was.
    let again = build(&live, &context, &["-f", &file, "-t", "s"]).run().exits(0);
    assert_eq!((again.text(), again.stderr.matches("(cached)").count()), (done.text(), 9), "{again}");
    build(&live, &context, &["-t", "b"]).run().refuses(1, "the step needs the agent of ssh \"default\"");
    build(&live, &context, &["-t", "b", "--ssh", "default", "--ssh", &hub]).env("SSH_AUTH_SOCK", &first.socket).ok();
    assert_eq!(says(&live, "b", "cat /boxed; ls -A /run"), format!("{two}\n.containerenv"));
    // One that has ended.
    let gone = second.socket.clone();
    drop(second);
    if gone.exists() {
        build(&live, &context, &["--no-cache", "--ssh", "default", "--ssh", &hub])
            .env("SSH_AUTH_SOCK", &first.socket)
            .run()
            .refuses(1, "ask the agent at");
    }
    drop(first);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// One id outside: whoever a step is inside, the socket is his.
#[test]
fn a_user_without_ranges_has_an_agent_too() {
    let Some(live) = Live::plain() else { return };
    let agent = Agent::start(&live, "plain");
    let dockerfile = format!(
        "FROM {}\nCOPY tools /\nUSER app\nRUN --mount=type=ssh,uid=1000 ssh-add -L > /tmp/seen\n",
        live.image("busybox")
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    tools(&live);
    build(&live, &context, &["-t", "s", "--ssh", "default"]).env("SSH_AUTH_SOCK", &agent.socket).ok();
    assert_eq!(says(&live, "s", "cat /tmp/seen"), agent.key);
    drop(agent);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
