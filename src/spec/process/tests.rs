//! Arguments, environment, limits and capabilities of the first process.

use super::*;
use crate::model::container::{Security, Ulimit};
use crate::spec::fixtures::{composed, composed_on, host};

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn process(request: &ContainerRequest, config: &str) -> Process {
    composed(request, config).unwrap().spec.process().clone().unwrap()
}

#[test]
fn arguments_by_dockers_rules() {
    type Words<'a> = &'a [&'a str];
    let table: [(&str, Option<Words<'_>>, Words<'_>, Words<'_>); 8] = [
        (r#"{"Cmd":["sh"]}"#, None, &[], &["sh"]),
        (r#"{"Cmd":["sh"]}"#, None, &["ls", "-l"], &["ls", "-l"]),
        (r#"{"Entrypoint":["e"],"Cmd":["c"]}"#, None, &[], &["e", "c"]),
        (r#"{"Entrypoint":["e"],"Cmd":["c"]}"#, None, &["x"], &["e", "x"]),
        (r#"{"Entrypoint":["e"],"Cmd":["c"]}"#, Some(&["n"]), &[], &["n"]),
        (r#"{"Entrypoint":["e"],"Cmd":["c"]}"#, Some(&["n"]), &["x"], &["n", "x"]),
        (r#"{"Entrypoint":["e"],"Cmd":["c"]}"#, Some(&[]), &["x"], &["x"]),
        (r#"{"Cmd":["sh", ""]}"#, None, &[], &["sh", ""]),
    ];
    for (config, entrypoint, command, expected) in table {
        let request = ContainerRequest {
            entrypoint: entrypoint.map(strings),
            command: strings(command),
            ..ContainerRequest::default()
        };
        assert_eq!(process(&request, config).args().as_deref(), Some(strings(expected).as_slice()), "{config}");
    }
}

#[test]
fn nothing_to_run_is_an_error() {
    for (config, expected) in [
        ("{}", SpecError::NoCommand),
        ("null", SpecError::NoCommand),
        (r#"{"Cmd":[]}"#, SpecError::NoCommand),
        (r#"{"Cmd":[""]}"#, SpecError::EmptyCommand),
    ] {
        let error = composed(&ContainerRequest::default(), config).unwrap_err();
        assert_eq!(error, expected, "{config}");
        assert!(error.hint().is_some());
    }
    let cleared = ContainerRequest { entrypoint: Some(vec![]), ..ContainerRequest::default() };
    assert!(composed(&cleared, r#"{"Entrypoint":["e"],"Cmd":["c"]}"#).is_err());
}

#[test]
fn environment_is_made_from_nothing() {
    let request = ContainerRequest {
        tty: true,
        user: Some("web".into()),
        env: vec![("A".into(), "user".into()), ("NEW".into(), "x=y".into()), ("container".into(), "mine".into())],
        ..ContainerRequest::default()
    };
    let config = r#"{"Cmd":["sh"],"Env":["PATH=/image","A=image","B=image","B=last"]}"#;
    let expected = strings(&[
        "PATH=/image",
        "A=user",
        "B=last",
        "HOSTNAME=web",
        "HOME=/var/www",
        "TERM=xterm",
        "container=mine",
        "NEW=x=y",
    ]);
    assert_eq!(process(&request, config).env().as_ref(), Some(&expected));
    let bare = process(&ContainerRequest::default(), r#"{"Cmd":["sh"],"Env":["HOME=/h"]}"#);
    let expected = [&format!("PATH={PATH}"), "HOME=/h", "HOSTNAME=web", "container=pybox"].map(ToString::to_string);
    assert_eq!(bare.env().as_deref(), Some(expected.as_slice()));
}

#[test]
fn malformed_variables_of_an_image_are_left_out() {
    let config = r#"{"Cmd":["sh"],"Env":["SECRET","*","=x","A*=1","B\n=1","GOOD=1","N=\u0000"]}"#;
    let made = composed(&ContainerRequest::default(), config).unwrap();
    let env = made.spec.process().as_ref().unwrap().env().clone().unwrap();
    assert!(env.contains(&"GOOD=1".to_owned()));
    assert_eq!(env.len(), 5, "{env:?}");
    assert_eq!(made.warnings.len(), 6);
    assert_eq!(made.warnings[0], "the image's environment entry \"SECRET\" is not NAME=value and left out");
}

#[test]
fn directories() {
    let table = [
        (None, "{}", "/"),
        (None, r#"/srv"#, "/srv"),
        (None, "srv", "/srv"),
        (Some("/w"), "/srv", "/w"),
        (None, "", "/"),
    ];
    for (workdir, image, expected) in table {
        let image = if image == "{}" { String::new() } else { format!(r#","WorkingDir":"{image}""#) };
        let request = ContainerRequest { workdir: workdir.map(Into::into), ..ContainerRequest::default() };
        let process = process(&request, &format!(r#"{{"Cmd":["sh"]{image}}}"#));
        assert_eq!(process.cwd().to_str(), Some(expected));
    }
    for bad in ["", "w", "./w", "/w\n", "/w\0"] {
        let request = ContainerRequest { workdir: Some(bad.into()), ..ContainerRequest::default() };
        assert!(matches!(composed(&request, r#"{"Cmd":["sh"]}"#), Err(SpecError::Path { .. })), "{bad:?}");
    }
}

fn limits_of(host: &HostFacts, ulimits: &[(&str, u64, u64)]) -> Result<Vec<(String, u64, u64)>, SpecError> {
    let one = |(name, soft, hard): &(&str, u64, u64)| Ulimit { name: (*name).into(), soft: *soft, hard: *hard };
    let request = ContainerRequest { ulimits: ulimits.iter().map(one).collect(), ..ContainerRequest::default() };
    let made = composed_on(host, &request, r#"{"Cmd":["sh"]}"#)?;
    let limits = made.spec.process().clone().unwrap().rlimits().clone().unwrap();
    Ok(limits.iter().map(|limit| (limit.typ().to_string(), limit.soft(), limit.hard())).collect())
}

#[test]
fn limits_of_processes() {
    let own = |name: &str, soft, hard| (name.to_owned(), soft, hard);
    let plain = [own("RLIMIT_NOFILE", 1024, 524_288), own("RLIMIT_CORE", 0, 0)];
    assert_eq!(limits_of(&host(), &[]), Ok(plain.to_vec()));
    let small = HostFacts { hard_limits: vec![("RLIMIT_NOFILE".into(), 512)], ..host() };
    assert_eq!(limits_of(&small, &[]).unwrap()[0], own("RLIMIT_NOFILE", 512, 512));
    let asked = limits_of(&host(), &[("RLIMIT_NOFILE", 10, 20), ("RLIMIT_NPROC", 5000, 5000)]);
    assert_eq!(
        asked.unwrap(),
        [own("RLIMIT_CORE", 0, 0), own("RLIMIT_NOFILE", 10, 20), own("RLIMIT_NPROC", 5000, 5000)]
    );
    let error = limits_of(&host(), &[("RLIMIT_NPROC", 1, u64::MAX)]).unwrap_err();
    assert_eq!(error, SpecError::Ulimit { name: "RLIMIT_NPROC".into(), asked: u64::MAX, limit: 5000 });
    assert!(error.hint().unwrap().contains("limits.conf"));
    let root = HostFacts { uid: 0, user_namespace: false, hard_limits: Vec::new(), ..host() };
    assert!(limits_of(&root, &[("RLIMIT_NPROC", 1, u64::MAX)]).is_ok());
    assert!(limits_of(&host(), &[("RLIMIT_NPROC", 1, 1), ("RLIMIT_NPROC", 2, 2)]).is_err());
    assert!(limits_of(&host(), &[("RLIMIT_WAT", 1, 1)]).is_err());
}

#[test]
fn security_of_the_process() {
    let mut request = ContainerRequest::default();
    let config = r#"{"Cmd":["sh"]}"#;
    assert_eq!(process(&request, config).no_new_privileges(), Some(false));
    assert_eq!(process(&request, config).apparmor_profile(), &None);
    request.security = Security { no_new_privileges: true, apparmor: Some("web".into()), ..Security::default() };
    assert!(matches!(composed(&request, config), Err(SpecError::Unsupported { .. })));
    let made = composed_on(&HostFacts { apparmor: true, ..host() }, &request, config).unwrap();
    let process = made.spec.process().clone().unwrap();
    assert_eq!(process.no_new_privileges(), Some(true));
    assert_eq!(process.apparmor_profile().as_deref(), Some("web"));
}

#[test]
fn read_only_containers_gain_no_privileges() {
    let request = ContainerRequest { read_only: true, ..ContainerRequest::default() };
    assert_eq!(process(&request, r#"{"Cmd":["sh"]}"#).no_new_privileges(), Some(true));
}

#[test]
fn labels_of_selinux_are_not_dropped_in_silence() {
    let labelled = |label: &str| ContainerRequest {
        security: Security { labels: vec![label.into()], ..Security::default() },
        ..ContainerRequest::default()
    };
    let config = r#"{"Cmd":["sh"]}"#;
    assert!(composed(&labelled("disable"), config).is_ok());
    assert!(matches!(composed(&labelled("type:x_t"), config), Err(SpecError::Unsupported { .. })));
}

#[test]
fn users_of_the_process() {
    let request =
        ContainerRequest { user: Some("web".into()), groups: vec!["7".into()], ..ContainerRequest::default() };
    let process = process(&request, r#"{"Cmd":["sh"]}"#);
    let user = process.user();
    assert_eq!((user.uid(), user.gid(), user.umask()), (33, 33, Some(0o022)));
    assert_eq!(user.additional_gids().as_deref(), Some([33, 50, 7].as_slice()));
}
