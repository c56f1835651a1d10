//! What the flags of `run` come to: command lines in, requests or sentences out.

use clap::Parser;

use super::*;
use crate::model::container::{MountSource, NetworkMode, PullPolicy, UserNamespace};
use crate::model::limits::Limits;

#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    args: Wanted,
}

fn parse(line: &[&str]) -> Result<ContainerRequest, String> {
    let line = Line::try_parse_from([&["run"], line].concat()).map_err(|error| error.kind().to_string())?;
    request(line.args).map_err(|problem| problem.to_string())
}

fn words(line: &[&str]) -> (String, Vec<String>) {
    let request = parse(line).expect("a request");
    (request.image, request.command)
}

#[test]
fn the_image_is_a_flag_or_the_first_word_and_the_rest_is_the_command() {
    let cases: [(&[&str], &str, &[&str]); 10] = [
        (&["debian:12"], "debian:12", &[]),
        (&["debian:12", "ls", "-l", "--rm"], "debian:12", &["ls", "-l", "--rm"]),
        (&["--image", "debian", "--", "ls", "-l"], "debian", &["ls", "-l"]),
        (&["--image=debian", "ls", "-l"], "debian", &["ls", "-l"]),
        (&["--image", "debian"], "debian", &[]),
        (&["--", "debian", "ls"], "debian", &["ls"]),
        (&["debian", "--", "ls"], "debian", &["--", "ls"]),
        (&["--rm", "-it", "--init", "debian", "-it"], "debian", &["-it"]),
        (&["-e", "-x=1", "debian"], "debian", &[]),
        (&["--pids-limit", "-1", "debian", "--pids-limit", "2"], "debian", &["--pids-limit", "2"]),
    ];
    for (line, image, command) in cases {
        let command = command.iter().map(ToString::to_string).collect();
        assert_eq!(words(line), (image.to_owned(), command), "{line:?}");
    }
    for none in [&[] as &[&str], &["--rm"], &["--image", ""], &[""]] {
        assert_eq!(parse(none), Err("no image is given".to_owned()), "{none:?}");
    }
    assert_eq!(parse(&["--bogus", "debian"]), Err("unexpected argument found".to_owned()));
}

#[test]
fn short_flags_stand_together() {
    let request = parse(&["-itw/src", "-eA=1", "-h", "box", "-u1000", "-m", "64m", "-lk=v", "-v", "/a:/b", "x"]);
    let request = request.expect("a request");
    assert!(request.interactive && request.tty && !request.remove);
    assert_eq!(request.workdir.as_deref(), Some("/src"));
    assert_eq!(request.env, [("A".to_owned(), "1".to_owned())]);
    assert_eq!(request.hostname.as_deref(), Some("box"));
    assert_eq!(request.user.as_deref(), Some("1000"));
    assert_eq!(request.limits.memory, Some(64 << 20));
    assert_eq!(request.labels.get("k").map(String::as_str), Some("v"));
    let bind = MountSource::Bind { path: "/a".into(), create: true };
    assert_eq!(request.mounts.first().map(|mount| &mount.source), Some(&bind));
}

#[test]
fn every_flag_reaches_the_request() {
    let line = "--name web --rm --read-only --network host --cap-add net_raw --cap-drop ALL --privileged --init \
        --security-opt no-new-privileges --ulimit nofile=10:20 --shm-size 1m --add-host a:10.0.0.1 --dns 9.9.9.9 \
        --label a --label b=c --pull never --platform linux/arm64 --device /dev/fuse --userns keep-id \
        --sysctl net.ipv4.ip_forward=1 --stop-signal INT --group-add 50 --cpus 0.5 --pids-limit 9 --tmpfs /run \
        --mount type=tmpfs,target=/cache --entrypoint /bin/sh --user 1:2 img -c true";
    let request = parse(&line.split_whitespace().collect::<Vec<_>>()).expect("a request");
    assert_eq!(request.name.map(String::from).as_deref(), Some("web"));
    assert!(request.remove && request.read_only && request.privileged && request.init);
    assert_eq!(request.network, NetworkMode::Host);
    assert_eq!((request.cap_add, request.cap_drop), (vec!["CAP_NET_RAW".to_owned()], vec!["ALL".to_owned()]));
    assert!(request.security.no_new_privileges);
    assert_eq!(request.ulimits.first().map(|limit| (limit.soft, limit.hard)), Some((10, 20)));
    assert_eq!(request.shm_size, Some(1 << 20));
    assert_eq!(request.add_hosts, [("a".to_owned(), "10.0.0.1".to_owned())]);
    assert_eq!(request.dns.len(), 1);
    assert_eq!(request.labels.into_iter().collect::<Vec<_>>(), [("a".into(), String::new()), ("b".into(), "c".into())]);
    assert_eq!(request.pull, PullPolicy::Never);
    assert_eq!(request.platform.map(|platform| platform.to_string()).as_deref(), Some("linux/arm64"));
    assert_eq!(request.devices.first().map(|device| device.host.as_str()), Some("/dev/fuse"));
    assert_eq!(request.userns, UserNamespace::KeepId { uid: None, gid: None });
    assert_eq!(request.sysctls.len(), 1);
    assert_eq!(request.stop_signal, Some(2));
    assert_eq!(request.groups, ["50"]);
    assert_eq!(request.limits, Limits { cpus: Some(0.5), pids: Some(9), ..Limits::default() });
    assert_eq!(request.mounts.iter().map(|m| m.target.as_str()).collect::<Vec<_>>(), ["/cache", "/run"]);
    assert_eq!(request.entrypoint, Some(vec!["/bin/sh".to_owned()]));
    assert_eq!(request.user.as_deref(), Some("1:2"));
    assert_eq!(request.command, ["-c", "true"]);
}

#[test]
fn entrypoints() {
    let entrypoint = |text: &str| parse(&["--entrypoint", text, "x"]).map(|request| request.entrypoint);
    assert_eq!(entrypoint(""), Ok(Some(vec![])));
    assert_eq!(entrypoint("sh"), Ok(Some(vec!["sh".to_owned()])));
    assert_eq!(entrypoint("[\"sh\",\"-c\"]"), Ok(Some(vec!["sh".to_owned(), "-c".to_owned()])));
    assert!(entrypoint("[sh").is_err());
}

#[test]
fn variables_of_files_come_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("env");
    std::fs::write(&file, "A=file\nB=file\n").expect("written");
    let path = file.to_str().expect("text");
    let request = parse(&["-e", "A=flag", "--env-file", path, "-e", "PATH", "-e", "NOT_SET_ANYWHERE", "x"]);
    let env = request.expect("a request").env;
    let names: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["A", "B", "A", "PATH"]);
    assert_eq!(env.get(2).map(|(_, value)| value.as_str()), Some("flag"));
    let missing = parse(&["--env-file", "/none", "x"]);
    assert_eq!(missing, Err("--env-file /none: No such file or directory (os error 2)".to_owned()));
}

#[test]
fn mistakes_are_named() {
    for (line, part) in [
        (&["--name", "-x", "i"][..], "unexpected argument"),
        (&["--name=a b", "i"], "invalid name"),
        (&["--memory", "1q", "i"], "--memory"),
        (&["--cpus", "-1", "i"], "--cpus"),
        (&["--network", "-x", "i"], "--network"),
        (&["--pull", "sometimes", "i"], "--pull"),
        (&["--userns", "x", "i"], "--userns"),
        (&["-w", "src", "i"], "expected an absolute path"),
        (&["-u", "4294967296", "i"], "--user"),
        (&["-v", "/a:/b", "--tmpfs", "/b", "i"], "two mounts have the target /b"),
        (&["--sysctl", "kernel.core_pattern=x", "i"], "--sysctl"),
        (&["--cap-add", "FLY", "i"], "--cap-add"),
        (&["--device", "fuse", "i"], "--device"),
        (&["--ulimit", "nofile=9:1", "i"], "--ulimit"),
        (&["--add-host", "x", "i"], "--add-host"),
        (&["--dns", "x", "i"], "--dns"),
        (&["--stop-signal", "NOPE", "i"], "--stop-signal"),
        (&["--security-opt", "seccomp=/none", "i"], "No such file"),
    ] {
        let error = parse(line).expect_err("refused");
        assert!(error.contains(part), "{line:?}: {error}");
    }
}
