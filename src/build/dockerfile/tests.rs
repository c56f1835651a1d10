use super::*;
use crate::build::graph::{Cache, Mount, Sharing, Ssh};
use crate::model::permissions::Permissions;

fn actions(text: &str) -> Vec<Action> {
    let graph = parse(&format!("FROM scratch\n{text}")).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
    graph.stages.into_iter().flat_map(|stage| stage.steps).map(|step| step.action).collect()
}

fn run(command: Command) -> Action {
    Action::Run(Run { command, mounts: vec![], network: None, environment: vec![] })
}

fn text(text: &str) -> Command {
    Command::Text(text.into())
}

fn list_of(words: &[&str]) -> Command {
    Command::Words(words.iter().map(|word| (*word).to_owned()).collect())
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn stages() {
    let graph = parse(
        "ARG TAG=12 OTHER\nFROM --platform=$BUILDPLATFORM debian:${TAG} AS Build\nRUN make\nFROM scratch\n\
         COPY --from=build /out /\nfrom build\n",
    )
    .expect("a graph");
    let arguments = vec![
        Argument { name: "TAG".into(), default: Some("12".into()) },
        Argument { name: "OTHER".into(), default: None },
    ];
    assert_eq!((graph.arguments, graph.quotes), (arguments, Quotes::Shell));
    let stages: Vec<_> = graph.stages.iter().map(|stage| (stage.name.as_deref(), stage.base.as_str())).collect();
    assert_eq!(stages, [(Some("Build"), "debian:${TAG}"), (None, "scratch"), (None, "build")]);
    assert_eq!(graph.stages.first().and_then(|stage| stage.platform.as_deref()), Some("$BUILDPLATFORM"));
}

#[test]
fn instructions() {
    let health = Health {
        command: Some(text("curl -f localhost")),
        interval: Some(5_000_000_000),
        retries: Some(2),
        ..Health::default()
    };
    for (line, expected) in [
        ("RUN echo a   b", run(text("echo a   b"))),
        ("RUN [\"echo\", \"a b\"]", run(list_of(&["echo", "a b"]))),
        ("RUN [ -f x ]", run(text("[ -f x ]"))),
        ("run a \\\n && b", run(text("a  && b"))),
        ("CMD [\"x\"]", Action::Command(list_of(&["x"]))),
        ("CMD x y", Action::Command(text("x y"))),
        ("ENTRYPOINT [\"/e\", \"-v\"]", Action::Entrypoint(list_of(&["/e", "-v"]))),
        ("ENV A=b C=\"d e\" F=g\\ h", {
            Action::Environment(vec![pair("A", "b"), pair("C", "\"d e\""), pair("F", "g\\ h")])
        }),
        ("ENV A some value", Action::Environment(vec![pair("A", "some value")])),
        ("LABEL a.b=c \"d\"='e f'", Action::Labels(vec![pair("a.b", "c"), pair("\"d\"", "'e f'")])),
        ("WORKDIR /a b", Action::Directory("/a b".into())),
        ("USER app:app", Action::User("app:app".into())),
        ("EXPOSE 80 53/udp", Action::Expose(vec!["80".into(), "53/udp".into()])),
        ("VOLUME [\"/a b\"]", Action::Volumes(vec!["/a b".into()])),
        ("VOLUME /a /b", Action::Volumes(vec!["/a".into(), "/b".into()])),
        ("SHELL [\"/bin/bash\", \"-c\"]", Action::Shell(vec!["/bin/bash".into(), "-c".into()])),
        ("STOPSIGNAL SIGINT", Action::StopSignal("SIGINT".into())),
        ("MAINTAINER Ann", Action::Author("Ann".into())),
        ("ONBUILD  run  make $X", Action::Trigger("RUN make $X".into())),
        ("HEALTHCHECK NONE", Action::Health(None)),
        ("HEALTHCHECK --interval=5s --retries=2 CMD curl -f localhost", Action::Health(Some(health))),
        ("COPY --chown=1:2 --chmod=0644 --link a b /d/", {
            Action::Copy(Copy {
                sources: vec!["a".into(), "b".into()],
                to: "/d/".into(),
                owner: Some("1:2".into()),
                mode: Some(Permissions::of(0o644)),
                ..Copy::default()
            })
        }),
        ("COPY [\"a b\", \"/d\"]", {
            Action::Copy(Copy { sources: vec!["a b".into()], to: "/d".into(), ..Copy::default() })
        }),
        ("ADD x.tar.gz /d", {
            Action::Copy(Copy {
                sources: vec!["x.tar.gz".into()],
                to: "/d".into(),
                unpack: true,
                addresses: true,
                ..Copy::default()
            })
        }),
        ("ADD --checksum=sha256:00 --unpack=false https://host/x?y /d", {
            Action::Copy(Copy {
                sources: vec!["https://host/x?y".into()],
                to: "/d".into(),
                addresses: true,
                checksum: Some("sha256:00".into()),
                ..Copy::default()
            })
        }),
        ("COPY --parents --exclude=*.md --exclude=x --from=b a/./*/c /d/", {
            Action::Copy(Copy {
                from: Some("b".into()),
                sources: vec!["a/./*/c".into()],
                to: "/d/".into(),
                parents: true,
                exclude: vec!["*.md".into(), "x".into()],
                ..Copy::default()
            })
        }),
    ] {
        assert_eq!(actions(line), [expected], "{line}");
    }
    assert_eq!(actions("ARG A=1 B").len(), 2);
}

#[test]
fn documents() {
    assert_eq!(actions("RUN <<EOF\necho $A\n# no comment\nEOF\n"), [run(text("echo $A\n# no comment\n"))]);
    assert_eq!(actions("RUN cat <<EOF > /x\na\nEOF\n"), [run(text("cat <<EOF > /x\na\nEOF\n"))]);
    let shebang = actions("RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n");
    let [Action::Run(Run { command: Command::Words(words), .. })] = shebang.as_slice() else { panic!("{shebang:?}") };
    assert!(words.get(2).is_some_and(|text| text.contains("<<'PYBOX_END'") && text.contains("\nprint(1)\n")));
    let copied = actions("COPY <<a.txt <<-\"b\" /d/\n1 $X\na.txt\n\t2\n\tb\n");
    let [Action::Copy(copy)] = copied.as_slice() else { panic!("{copied:?}") };
    let inline = |name: &str, text: &str, expand| Inline { name: name.into(), text: text.into(), expand };
    assert_eq!(copy.inline, [inline("a.txt", "1 $X\n", true), inline("b", "2\n", false)]);
    assert_eq!((copy.sources.len(), copy.to.as_str()), (0, "/d/"));
}

#[test]
fn mounts() {
    let steps = actions(
        "RUN --mount=type=cache,target=/c,id=x,sharing=locked --mount=type=secret,id=t,required \
         --mount=type=secret,id=k,env=KEY --mount=from=build,src=/o,dst=/i,rw --mount=type=tmpfs,target=/t,size=1m \
         --network=none make",
    );
    let [Action::Run(run)] = steps.as_slice() else { panic!("{steps:?}") };
    let secret = |id: &str, target: Option<&str>, variable: Option<&str>, required| Mount::Secret {
        id: id.into(),
        target: target.map(Into::into),
        variable: variable.map(Into::into),
        required,
        mode: 0o400,
        owner: (0, 0),
    };
    let expected = [
        Mount::Cache(Cache {
            id: "x".into(),
            target: "/c".into(),
            sharing: Sharing::Locked,
            source: "/".into(),
            ..Cache::default()
        }),
        secret("t", Some("/run/secrets/t"), None, true),
        secret("k", None, Some("KEY"), false),
        Mount::Bind { from: Some("build".into()), source: "/o".into(), target: "/i".into(), writable: true },
        Mount::Tmpfs { target: "/t".into(), size: Some(1 << 20) },
    ];
    assert_eq!(run.mounts, expected);
    assert_eq!((&run.command, run.network.as_deref()), (&text("make"), Some("none")));
    let steps = actions(
        "RUN --mount=type=cache,target=/c,from=b,source=/s,uid=1,gid=2,mode=0700,ro --mount=src=a,dst=/b,readonly=true \
         --mount=type=secret,id=s,uid=1000,gid=7,mode=0440 --mount=type=ssh \
         --mount=type=ssh,id=hub,target=/run/a,required,mode=0660,uid=1000,gid=7 x",
    );
    let [Action::Run(run)] = steps.as_slice() else { panic!("{steps:?}") };
    let expected = [
        Mount::Cache(Cache {
            id: "/c".into(),
            target: "/c".into(),
            read_only: true,
            from: Some("b".into()),
            source: "/s".into(),
            owner: (1, 2),
            mode: Some(0o700),
            ..Cache::default()
        }),
        Mount::Bind { from: None, source: "a".into(), target: "/b".into(), writable: false },
        Mount::Secret {
            id: "s".into(),
            target: Some("/run/secrets/s".into()),
            variable: None,
            required: false,
            mode: 0o440,
            owner: (1000, 7),
        },
        Mount::Ssh(Ssh { id: "default".into(), target: None, required: false, mode: 0o600, owner: (0, 0) }),
        Mount::Ssh(Ssh {
            id: "hub".into(),
            target: Some("/run/a".into()),
            required: true,
            mode: 0o660,
            owner: (1000, 7),
        }),
    ];
    assert_eq!(run.mounts, expected);
}

#[test]
fn mistakes_have_a_place_and_name_what_was_meant() {
    for (content, place, message, hint) in [
        ("", "1:1", "there is no FROM", "FROM debian:13"),
        ("RUN x\n", "1:1", "RUN stands before the first FROM", "begin with FROM"),
        ("FORM x\n", "1:1", "no instruction FORM; did you mean FROM?", "there are FROM"),
        ("FROM a\n\n  COPPY x y\n", "3:3", "did you mean COPY?", ""),
        ("FROM a b\n", "1:1", "AS with a name", "AS build"),
        ("FROM --plattform=x a\n", "1:1", "did you mean --platform?", ""),
        ("FROM a\nCOPY --form=x a b\n", "2:1", "did you mean --from?", "its flags are --from"),
        ("FROM a\nCOPY x\n", "2:1", "takes a source and a destination", ""),
        ("FROM a\nCOPY x y /d\n", "2:1", "ends with a slash", "/d/"),
        ("FROM a\nCOPY --chmod=u+y x /d\n", "2:1", "no permission bits", ""),
        ("FROM a\nCOPY --checksum=x y /d\n", "2:1", "COPY has no flag --checksum", "--parents"),
        ("FROM a\nADD --exlude=x y /d\n", "2:1", "did you mean --exclude?", ""),
        ("FROM a\nENV A\n", "2:1", "ENV A has no value", "ENV A=value"),
        ("FROM a\nENV A=b c\n", "2:1", "c of ENV is no NAME=value", "in quotes"),
        ("FROM a\nARG a-b\n", "2:1", "no name of an argument", ""),
        ("FROM a\nRUN\n", "2:1", "RUN has no argument", ""),
        ("FROM a\nRUN --network=host\n", "2:1", "RUN has no command", ""),
        ("FROM a\nRUN --security=insecure x\n", "2:1", "with the rights of every container", ""),
        ("FROM a\nRUN --network=lan x\n", "2:1", "no network", "none, host"),
        ("FROM a\nRUN --mount=type=cahce,target=/c x\n", "2:1", "did you mean cache?", ""),
        ("FROM a\nRUN --mount=type=cache,tarjet=/c x\n", "2:1", "did you mean target?", ""),
        ("FROM a\nRUN --mount=type=cache x\n", "2:1", "it has no target", ""),
        (
            "FROM a\nRUN --mount=type=cache,target=/c,sharing=lokced x\n",
            "2:1",
            "did you mean locked?",
            "shared, private",
        ),
        (
            "FROM a\nRUN --mount=type=cache,target=/c,source=/x x\n",
            "2:1",
            "source is a path in what from names",
            "from=",
        ),
        ("FROM a\nRUN --mount=type=cache,target=/c,uid=4294967295 x\n", "2:1", "uid=4294967295 is no id", ""),
        ("FROM a\nRUN --mount=type=cache,target=/c,ro=maybe x\n", "2:1", "ro=maybe is neither true nor false", ""),
        ("FROM a\nRUN --mount=src=a,target=/c,ro,rw x\n", "2:1", "ro and rw exclude each other", ""),
        ("FROM a\nRUN --mount=src=a,target=/c,bind-propagation=shared x\n", "2:1", "has no key bind-propagation", ""),
        ("FROM a\nSHELL /bin/sh\n", "2:1", "SHELL takes a list", ""),
        ("FROM a\nHEALTHCHECK curl\n", "2:1", "takes CMD", ""),
        ("FROM a\nHEALTHCHECK --interval=soon CMD x\n", "2:1", "is no time", ""),
        ("FROM a\nONBUILD FROM x\n", "2:1", "FROM cannot follow ONBUILD", ""),
        ("FROM a\nONBUILD ONBUILD RUN x\n", "2:1", "ONBUILD cannot follow ONBUILD", ""),
        ("FROM a\nONBUILD COPPY x y\n", "2:1", "did you mean COPY?", ""),
        ("FROM a\nONBUILD RUN <<E\nx\nE\n", "2:1", "E", ""),
    ] {
        let mistake = parse(content).expect_err(content);
        assert_eq!(mistake.position.to_string(), place, "{content}: {mistake}");
        assert!(mistake.message.contains(message), "{content}: {mistake}");
        assert!(mistake.hint.clone().unwrap_or_default().contains(hint), "{content}: {:?}", mistake.hint);
    }
}
