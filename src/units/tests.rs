//! Files and the units they become.

use std::path::{Path, PathBuf};

use super::document::{Found, Source};
use super::*;

fn found(name: &str, text: &str) -> Found {
    let path = PathBuf::from("/q").join(name);
    Found { name: name.to_owned(), main: Source { path, text: text.to_owned() }, drop_ins: Vec::new() }
}

fn generate_all(files: &[(&str, &str)]) -> Generated {
    let files: Vec<_> = files.iter().map(|(name, text)| found(name, text)).collect();
    generate(&files, host(&|path| path == Path::new("/dev/null")))
}

fn host<'h>(exists: &'h dyn Fn(&Path) -> bool) -> Host<'h> {
    Host { program: "/usr/bin/pybox", user: true, exists }
}

fn complaints(generated: &Generated) -> Vec<String> {
    generated.complaints.iter().map(ToString::to_string).collect()
}

/// The words between `--name NAME` and the end of a container that has these lines.
fn run_words(lines: &str) -> (String, Vec<String>) {
    let text = format!("[Container]\nImage=i\n{lines}");
    let generated = generate_all(&[
        ("x.container", &text),
        ("d.volume", "[Volume]\nVolumeName=data"),
        ("n.network", "[Network]\n"),
    ]);
    let unit = generated.units.iter().find(|unit| unit.name == "x.service");
    let words = unit.map(|unit| unit.start.join(" ")).unwrap_or_default();
    let rest =
        words.strip_prefix("/usr/bin/pybox run --rm --sdnotify=conmon --name systemd-%N ").unwrap_or(&words).to_owned();
    (rest, complaints(&generated))
}

#[test]
fn a_container_in_full() {
    let generated = generate_all(&[
        (
            "web.container",
            "[Unit]\nDescription=The web\nAfter=data.volume local.target\n\n[Container]\nImage=web:1\nVolume=data.volume:/data\n\
         Network=front.network:alias=www\nPublishPort=8080:80\nEnvironment=A=1 \"B=two words\"\nExec=serve --text \"a b\"\n\n\
         [Service]\nRestart=always\n\n[Install]\nWantedBy=default.target\n",
        ),
        ("data.volume", "[Volume]\nLabel=a=b"),
        ("front.network", "[Network]\nSubnet=10.9.0.0/24\nGateway=10.9.0.1\n"),
    ]);
    assert_eq!(complaints(&generated), Vec::<String>::new());
    let unit = &generated.units[0];
    assert_eq!(unit.links, [("default.target.wants/web.service".to_owned(), "../web.service".to_owned())]);
    let expected = r#"# Made by pybox-generator of /q/web.container

[Unit]
Wants=pybox-user-wait-network-online.service
After=pybox-user-wait-network-online.service
Description=The web
After=data-volume.service local.target
SourcePath=/q/web.container
RequiresMountsFor=%h
Requires=data-volume.service
After=data-volume.service
Requires=front-network.service
After=front-network.service

[X-Container]
Image=web:1
Volume=data.volume:/data
Network=front.network:alias=www
PublishPort=8080:80
Environment=A=1 "B=two words"
Exec=serve --text "a b"

[Service]
Restart=always
Environment=PYBOX_SYSTEMD_UNIT=%n
Type=notify
NotifyAccess=all
KillMode=mixed
Delegate=yes
SyslogIdentifier=%N
SuccessExitStatus=143
ExecStartPre=-/usr/bin/pybox rm --force --ignore --volumes systemd-%N
ExecStop=-/usr/bin/pybox stop systemd-%N
ExecStopPost=-/usr/bin/pybox rm --force --ignore --volumes systemd-%N
ExecStart=/usr/bin/pybox run --rm --sdnotify=conmon --name systemd-%N --env A=1 --env "B=two words" --publish 8080:80 --volume systemd-data:/data --network systemd-front:alias=www web:1 serve --text "a b"

[Install]
WantedBy=default.target
"#;
    assert_eq!(unit.text, expected, "{}", unit.text);
}

#[test]
fn keys_and_their_flags() {
    let cases = [
        ("ContainerName=n", "/usr/bin/pybox run --rm --sdnotify=conmon --name n i"),
        ("Exec=sh -c 'echo \"$HOME\"'", "i sh -c echo \"$HOME\""),
        ("AddCapability=NET_ADMIN CHOWN\nDropCapability=ALL", "--cap-add NET_ADMIN --cap-add CHOWN --cap-drop ALL i"),
        (
            "AddDevice=/dev/fuse\nAddDevice=-/dev/null:/dev/x:r -/dev/nosuch",
            "--device /dev/fuse --device /dev/null:/dev/x:r i",
        ),
        (
            "DNS=1.1.1.1\nDNS=\nDNS=9.9.9.9\nDNSSearch=.\nDNSOption=ndots:2",
            "--dns 9.9.9.9 --dns-option ndots:2 --dns-search . i",
        ),
        ("Environment=LANG\nLabel=plain", "--env LANG --label plain i"),
        ("Environment=A=1\nEnvironment=A=2 B=3", "--env A=2 --env B=3 i"),
        ("EnvironmentFile=env\nEnvironmentFile=/e %h/f", "--env-file /q/env --env-file /e --env-file %h/f i"),
        ("User=1\nGroup=2\nGroupAdd=3", "--group-add 3 --user 1:2 i"),
        (
            "HealthCmd=curl -f x\nHealthRetries=3\nHealthInterval=5s",
            "--health-cmd curl -f x --health-interval 5s --health-retries 3 i",
        ),
        ("LogDriver=passthrough", "--log-driver none i"),
        (
            "Mask=/a:/b\nUnmask=ALL\nSeccompProfile=/p.json\nNoNewPrivileges=yes",
            "--security-opt mask=/a:/b --security-opt seccomp=/p.json --security-opt unmask=ALL --security-opt no-new-privileges i",
        ),
        ("Mount=type=volume,source=d.volume,dst=/d", "--mount type=volume,source=data,dst=/d i"),
        ("Mount=type=bind,src=./x,dst=/d", "--mount type=bind,src=/q/x,dst=/d i"),
        (
            "Volume=/only\nVolume=./a:/a:ro\nVolume=../b:/b\nVolume=%h/c:/c\nVolume=named:/n",
            "--volume /only --volume /q/a:/a:ro --volume /b:/b --volume %h/c:/c --volume named:/n i",
        ),
        ("Network=host", "--network host i"),
        ("Network=n.network\nIP=10.0.0.9\nNetworkAlias=one", "--ip 10.0.0.9 --network-alias one --network systemd-n i"),
        ("Notify=yes", "/usr/bin/pybox run --rm --sdnotify=container --name systemd-%N i"),
        ("Notify=healthy", "/usr/bin/pybox run --rm --sdnotify=healthy --name systemd-%N i"),
        ("Notify=no", "i"),
        ("[Service]\nType=exec", "/usr/bin/pybox run --rm --name systemd-%N i"),
        ("ReadOnly=yes\nRunInit=no\nVolatileTmp=true", "--read-only --tmpfs /tmp i"),
        ("Timezone=Europe/Berlin", "--volume /usr/share/zoneinfo/Europe/Berlin:/etc/localtime:ro i"),
        (
            "Memory=64m\nPidsLimit=5\nShmSize=1m\nUlimit=nofile=1\nSysctl=a.b=1 c.d=2",
            "--memory 64m --pids-limit 5 --shm-size 1m --sysctl a.b=1 --sysctl c.d=2 --ulimit nofile=1 i",
        ),
        ("PodmanArgs=--a \"b c\"\nPyboxArgs=--platform linux/arm64", "--a b c --platform linux/arm64 i"),
        ("GlobalArgs=--debug", "/usr/bin/pybox --debug run --rm --sdnotify=conmon --name systemd-%N i"),
        ("Environment=A=1 \\\n# no\n  B=2", "--env A=1 --env B=2 i"),
    ];
    for (lines, expected) in cases {
        let (words, complaints) = run_words(lines);
        assert_eq!((words.as_str(), complaints), (expected, Vec::new()), "{lines}");
    }
}

#[test]
fn what_costs_a_line_keeps_the_unit() {
    let cases = [
        ("Colour=red", "/q/x.container:3: there is no Colour= in [Container]"),
        (
            "\nVolumes=a:/b",
            "/q/x.container:4: there is no Volumes= in [Container]; Volume= is one letter off or of another case",
        ),
        (
            "AutoUpdate=registry",
            "/q/x.container:3: AutoUpdate= is not supported: nothing pulls behind your back; Pull=newer asks at each start",
        ),
        ("ReadOnly=perhaps", "/q/x.container:3: ReadOnly=perhaps: expected yes or no"),
        ("Environment=A=b c", "/q/x.container:3: Environment=c: expected NAME=VALUE; quotes keep blanks in a value"),
        ("Notify=perhaps", "/q/x.container:3: Notify=perhaps: expected yes or no"),
        ("Timezone=../x", "/q/x.container:3: Timezone=../x: expected local or a name as Europe/Berlin"),
        ("StopTimeout=soon", "/q/x.container:3: StopTimeout=soon: expected seconds"),
        ("[Install]\nWantedBy=../../x.target", "/q/x.container:4: WantedBy=\"../../x.target\" is no name of a unit"),
        ("[Service]\nType=forking", "/q/x.container:4: Type=forking: expected notify, exec or oneshot"),
        ("[Service]\nKillMode=none", "/q/x.container:4: KillMode=none: expected mixed or control-group"),
        ("[Service]\nExecStart=/bin/true", "/q/x.container:4: ExecStart= is what [Container] says"),
        ("[Volume]\nLabel=a=b", "/q/x.container:4: a .container has no section [Volume]"),
        (
            "[Unit]\nRequires=nosuch.volume",
            "/q/x.container:4: there is no nosuch.volume beside it or in another directory of units",
        ),
        ("nothing", "/q/x.container:3: expected KEY=VALUE, a [Section] or a comment: \"nothing\""),
        ("Network=pasta:-T,80", "/q/x.container:3: pasta is started as pybox sees fit; its options are left out"),
    ];
    for (lines, expected) in cases {
        let (words, complaints) = run_words(lines);
        assert!(words.ends_with("i") || words.contains("--stop-timeout"), "{lines}: {words}");
        assert_eq!(complaints, [expected], "{lines}");
    }
}

#[test]
fn what_costs_the_unit() {
    let cases: [(&str, &str, &str); 12] = [
        (
            "a.container",
            "[Container]\nExec=x",
            "/q/a.container: Image= is missing: it names the image, or a .image or .build file",
        ),
        ("a.container", "", "/q/a.container: there is no section [Container]"),
        ("a.container", "[Container]\nImage=-x", "/q/a.container:2: Image=-x is no image"),
        (
            "a.container",
            "[Container]\nImage=x\nVolume=no.volume:/x",
            "/q/a.container:3: there is no no.volume beside it or in another directory of units",
        ),
        ("a.container", "[Container]\nImage=x\nGroup=1", "/q/a.container:3: Group= needs a User= beside it"),
        (
            "a.container",
            "[Container]\nImage=x\nNetwork=y@.container",
            "/q/a.container:3: there is no y@.container beside it or in another directory of units",
        ),
        ("a b.container", "[Container]\nImage=x", "/q/a b.container: \"a b\" can be no name of a service"),
        ("a.image", "[Image]\nOS=linux", "/q/a.image: Image= is missing: it names the image to pull"),
        ("a.build", "[Build]\nFile=x", "/q/a.build: ImageTag= is missing: it names the image that is built"),
        (
            "a.build",
            "[Build]\nImageTag=x\nSetWorkingDirectory=https://x/y",
            "/q/a.build:3: SetWorkingDirectory=https://x/y: a directory is built, no address; fetch it first",
        ),
        ("a.network", "[Network]\nGateway=10.0.0.1", "/q/a.network:2: Gateway=10.0.0.1 belongs to no Subnet="),
        ("a.pod", "[Pod]", "/q/a.pod: there are no pods; put the containers on one .network"),
    ];
    for (name, text, expected) in cases {
        let generated = generate_all(&[(name, text)]);
        assert_eq!(complaints(&generated), [expected], "{text}");
        assert!(generated.units.is_empty(), "{text}");
        assert_eq!(generated.complaints[0].weight, Weight::Unit, "{text}");
    }
}

#[test]
fn resources() {
    let cases = [
        (
            "d.volume",
            "[Volume]\nLabel=a=b \"c=d e\"",
            "d-volume.service",
            "volume create --label a=b --label \"c=d e\" systemd-d",
        ),
        ("d.volume", "[Volume]\nVolumeName=own\nServiceName=disk", "disk.service", "volume create own"),
        ("d@.volume", "[Volume]\nDriver=local", "d-volume@.service", "volume create --driver local systemd-d"),
        (
            "n.network",
            "[Network]\nInternal=yes\nDisableDNS=true\nSubnet=10.1.0.0/16\nGateway=10.1.0.1",
            "n-network.service",
            "network create --ignore --disable-dns --gateway 10.1.0.1 --internal --subnet 10.1.0.0/16 systemd-n",
        ),
        (
            "i.image",
            "[Image]\nImage=app:1\nArch=arm64\nVariant=v8",
            "i-image.service",
            "pull --platform linux/arm64/v8 app:1",
        ),
        (
            "b.build",
            "[Build]\nImageTag=app:1\nFile=deploy/File\nSetWorkingDirectory=unit\nPull=always\nBuildArg=A=1\nTarget=t",
            "b-build.service",
            "build --pull --build-arg A=1 --tag app:1 --target t --file /q/deploy/File /q",
        ),
        (
            "b.build",
            "[Build]\nImageTag=app:1\nFile=/src/File",
            "b-build.service",
            "build --tag app:1 --file /src/File /src",
        ),
    ];
    for (name, text, service, command) in cases {
        let generated = generate_all(&[(name, text)]);
        assert_eq!(complaints(&generated), Vec::<String>::new(), "{text}");
        assert_eq!(generated.units[0].name, service, "{text}");
        let line = format!("ExecStart=/usr/bin/pybox {command}\nType=oneshot\n");
        assert!(generated.units[0].text.contains(&line), "{line}\n{}", generated.units[0].text);
    }
}

#[test]
fn networks_of_other_containers() {
    let generated = generate_all(&[
        ("a.container", "[Container]\nImage=i\nNetwork=b.container"),
        ("b.container", "[Container]\nImage=i\nNetwork=c.container"),
        ("c.container", "[Container]\nImage=i\nContainerName=own\nNetwork=container:d"),
    ]);
    assert_eq!(complaints(&generated), Vec::<String>::new());
    for (unit, network, other) in [(0, "container:systemd-b", "b.service"), (1, "container:own", "c.service")] {
        let unit = &generated.units[unit];
        assert_eq!(unit.start[6..].join(" "), format!("--network {network} i"));
        assert!(unit.text.contains(&format!("Requires={other}\nAfter={other}\n")), "{}", unit.text);
    }
    assert_eq!(generated.units[2].start[6..].join(" "), "--network container:d i");
}

#[test]
fn images_of_other_files() {
    let generated = generate_all(&[
        ("a.container", "[Container]\nImage=i.image"),
        ("b.container", "[Container]\nImage=b.build"),
        ("i.image", "[Image]\nImage=one:1\nAuthFile=auth.json"),
        ("b.build", "[Build]\nImageTag=two:1\nImageTag=two:latest\nSetWorkingDirectory=unit"),
    ]);
    assert_eq!(complaints(&generated), Vec::<String>::new());
    let text =
        |name: &str| generated.units.iter().find(|unit| unit.name == name).map(|unit| unit.text.as_str()).expect(name);
    assert!(text("a.service").contains("Requires=i-image.service\nAfter=i-image.service\n"));
    assert!(text("a.service").contains(" systemd-%N one:1\n"));
    assert!(text("b.service").contains(" systemd-%N two:1\n"));
    assert!(text("i-image.service").contains("Environment=REGISTRY_AUTH_FILE=/q/auth.json\n"));
}

#[test]
fn templates_and_links() {
    let links = |name: &str, install: &str| {
        let generated = generate_all(&[(name, &format!("[Container]\nImage=i\n[Install]\n{install}"))]);
        let links = generated.units[0].links.iter().map(|(path, target)| format!("{path} -> {target}"));
        (generated.units[0].name.clone(), links.collect::<Vec<_>>())
    };
    assert_eq!(links("a@.container", "WantedBy=x.target"), ("a@.service".into(), vec![]));
    assert_eq!(
        links("a@.container", "WantedBy=x.target\nDefaultInstance=one").1,
        ["x.target.wants/a@one.service -> ../a@.service"]
    );
    assert_eq!(
        links("a@two.container", "WantedBy=x.target y.target\nRequiredBy=z.service\nAlias=b.service"),
        (
            "a@two.service".into(),
            vec![
                "b.service -> a@two.service".into(),
                "x.target.wants/a@two.service -> ../a@two.service".into(),
                "y.target.wants/a@two.service -> ../a@two.service".into(),
                "z.service.requires/a@two.service -> ../a@two.service".into(),
            ]
        )
    );
    let generated = generate_all(&[("a@.container", "[Container]\nImage=i")]);
    assert!(generated.units[0].text.contains("--name systemd-%p_%i i\n"), "{}", generated.units[0].text);
}

#[test]
fn drop_ins_add_and_reset() {
    let mut file = found("a.container", "[Container]\nImage=i\nPublishPort=1:1\nEnvironment=A=1");
    let drop_in = |name: &str, text: &str| Source { path: PathBuf::from(name), text: text.to_owned() };
    file.drop_ins = vec![
        drop_in("/d/1.conf", "[Container]\nPublishPort=\nPublishPort=2:2"),
        drop_in("/d/2.conf", "[Container]\nEnvironment=B=2\nOops=1"),
    ];
    let generated = generate(&[file], host(&|_| false));
    assert_eq!(complaints(&generated), ["/d/2.conf:3: there is no Oops= in [Container]"]);
    assert_eq!(generated.units[0].start[6..].join(" "), "--env A=1 --env B=2 --publish 2:2 i");
}

#[test]
fn two_files_of_one_service() {
    let generated = generate_all(&[
        ("a.container", "[Container]\nImage=i"),
        ("b.container", "[Container]\nImage=i\nServiceName=a"),
    ]);
    assert_eq!(generated.units.len(), 1);
    assert_eq!(
        complaints(&generated),
        ["/q/b.container: a.service is made of a.container already; ServiceName= gives it another name"]
    );
}

#[test]
fn types_and_signals() {
    let text = |lines: &str| {
        let generated = generate_all(&[("a.container", &format!("[Container]\nImage=i\n{lines}"))]);
        generated.units[0].text.clone()
    };
    assert!(text("Notify=yes").contains("Type=notify\nNotifyAccess=all\n"));
    assert!(text("Notify=healthy\n[Service]\nType=exec").contains("Type=notify\nNotifyAccess=all\n"));
    assert!(text("[Service]\nType=notify").contains("Type=notify\nNotifyAccess=all\n"));
    assert!(text("[Service]\nType=notify\nNotifyAccess=exec").contains("NotifyAccess=exec\n"));
    assert!(text("[Service]\nType=exec").contains("Type=exec\n"));
    assert!(text("[Service]\nType=oneshot").contains("Type=oneshot\n"));
    assert!(text("StopSignal=SIGINT").contains("SuccessExitStatus=130\n"));
    assert!(text("StopTimeout=100").contains("TimeoutStopSec=115\n"));
    assert!(text("StopTimeout=-1").contains("TimeoutStopSec=infinity\n"));
    assert!(text("ReloadSignal=HUP").contains("ExecReload=/usr/bin/pybox kill --signal HUP systemd-%N\n"));
    assert!(text("ReloadCmd=nginx -s reload").contains("ExecReload=/usr/bin/pybox exec systemd-%N nginx -s reload\n"));
    assert!(!text("[Quadlet]\nDefaultDependencies=no").contains("network-online"));
    assert!(text("LogDriver=journald").contains("StandardOutput=null\n"));
}

const SAMPLE: &str = "[Unit]\nDescription=x \\\n y\nAfter=d.volume\n[Container]\nImage=i:1\nExec=\"a b\" 'c' \\x41\nVolume=./a:/b:ro\n\
    Mount=type=bind,src=/a,dst=/b\nNetwork=n.network:ip=1.2.3.4\nEnvironment=A=\"b c\" D=e\n# c\n; d\nTimezone=local\nAddDevice=-/dev/x\n\
    StopTimeout=5\nNotify=yes\nReloadCmd=x\n[Service]\nType=notify\n[Install]\nWantedBy=default.target\nAlias=x.service\n";

/// Whether the unit is one that can be read again, line for line.
fn assert_sound(generated: &Generated) {
    for unit in &generated.units {
        assert_eq!(syntax::parse(&unit.text).mistakes, [], "{}", unit.text);
        assert!(!unit.name.contains('/'), "{}", unit.name);
        for (path, target) in &unit.links {
            assert!(
                !path.starts_with('/')
                    && path.split('/').all(|part| part != "..")
                    && target.trim_start_matches("../").find('/').is_none()
            );
        }
    }
    for complaint in &generated.complaints {
        assert!(!complaint.to_string().contains('\n'));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", name in "[a-z@.-]{1,6}\\.(container|volume|network|image|build|pod)") {
        assert_sound(&generate_all(&[(&name, &text)]));
        for section in ["Container", "Volume", "Network", "Image", "Build"] {
            assert_sound(&generate_all(&[(&name, &format!("[{section}]\n{text}"))]));
        }
    }

    #[test]
    fn no_damage_makes_it_panic(changes in proptest::collection::vec((0usize..SAMPLE.len(), proptest::num::u8::ANY), 1..12)) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_sound(&generate_all(&[("x.container", &text), ("d.volume", "[Volume]"), ("n.network", &text), ("b.build", &text)]));
    }
}
