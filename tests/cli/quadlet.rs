//! Quadlet files in real directories: what the verbs show, and what the generator writes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::harness::{TestEnvironment, assert_shows};

/// An environment whose files are in `$DIR/units`, and nowhere else.
fn with_files(files: &[(&str, &str)]) -> TestEnvironment {
    let environment = TestEnvironment::new().with("QUADLET_UNIT_DIRS", "$DIR/units");
    fs::create_dir(environment.path().join("units")).expect("a directory");
    for (name, text) in files {
        let path = environment.path().join("units").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }
    environment
}

/// What the generator says and its exit code, with `$DIR` for the directory of the test.
fn generator(environment: &TestEnvironment, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pybox-generator"));
    command.args(arguments).env_clear().current_dir(environment.path()).env("PYBOX", "/usr/bin/pybox");
    command.env("QUADLET_UNIT_DIRS", environment.path().join("units"));
    let shown = environment.shown(&command.output().expect("the generator starts"));
    let number = |line: &str| match line.split_once("[") {
        Some(("! pybox-generator", rest)) => format!("! {}", rest.split_once("]: ").map_or(rest, |(_, said)| said)),
        _ => line.to_owned(),
    };
    shown.lines().map(|line| number(line) + "\n").collect()
}

#[test]
fn lint_has_a_sentence_for_each_mistake() {
    let environment = with_files(&[
        ("web.container", "[Container]\nImage=web:1\nVolumes=a:/b\nAutoUpdate=registry\n"),
        ("data.volume", "[Volume]\n"),
        ("app.pod", "[Pod]\n"),
        ("web.container.d/10-args.conf", "[Container]\nPodmanArgs=--nosuch\n"),
    ]);
    assert_shows(
        &environment,
        &[
            (
                "quadlet lint",
                "$DIR/units/app.pod: there are no pods; put the containers on one .network\n\
                 $DIR/units/web.container: pybox would not start: unexpected argument '--nosuch' found\n\
                 $DIR/units/web.container:3: there is no Volumes= in [Container]; Volume= is one letter off or of another case\n\
                 $DIR/units/web.container:4: AutoUpdate= is not supported: nothing pulls behind your back; Pull=newer asks at each start\n\
                 exit 1\n",
            ),
            ("quadlet lint units/data.volume", ""),
            (
                "quadlet lint units/nosuch.container",
                "! pybox: read $DIR/units/nosuch.container: No such file or directory\n\
                 ! hint: pybox quadlet lint, for all files\nexit 1\n",
            ),
        ],
    );
}

#[test]
fn what_the_help_promises_is_understood_by_run() {
    // Each key that becomes a flag has one that `pybox run` takes.
    let environment = with_files(&[
        (
            "all.container",
            "[Container]\nImage=i\nAddCapability=CHOWN\nAddDevice=/dev/null\nAddHost=a:1.2.3.4\nContainerName=n\nDNS=1.1.1.1\n\
         DNSOption=ndots:1\nDNSSearch=.\nDropCapability=ALL\nEntrypoint=sh\nEnvironment=A=b\nEnvironmentFile=e\nExec=true\n\
         GlobalArgs=--debug\nUser=1\nGroup=1\nGroupAdd=2\nHealthCmd=true\nHealthInterval=1s\nHealthRetries=1\n\
         HealthStartPeriod=1s\nHealthTimeout=1s\nHostName=h\nIP=1.2.3.4\nIP6=::1\nLabel=a=b\nLogDriver=none\n\
         LogOpt=max-file=2\nMask=/a\nMemory=1g\nMount=type=bind,src=/a,dst=/b\nNetwork=none\nNetworkAlias=a\n\
         NoNewPrivileges=yes\nNotify=yes\nPidsLimit=9\nPublishPort=80:80\nPull=never\nReadOnly=yes\nRunInit=yes\n\
         SeccompProfile=unconfined\nSecurityLabelDisable=yes\nSecurityLabelNested=yes\nSecurityLabelType=t\n\
         SecurityLabelLevel=l\nSecurityLabelFileType=f\nServiceName=s\nShmSize=1m\nStopSignal=INT\nStopTimeout=-1\n\
         Sysctl=net.a=1\nTimezone=local\nTmpfs=/t\nUlimit=nofile=1\nUnmask=ALL\nUserNS=keep-id\nVolatileTmp=yes\n\
         Volume=/a:/c\nWorkingDir=/w\nPyboxArgs=--no-healthcheck\nReloadSignal=HUP\n",
        ),
        (
            "n.network",
            "[Network]\nDisableDNS=yes\nInternal=yes\nIPv6=yes\nSubnet=10.1.0.0/24\nGateway=10.1.0.1\nLabel=a=b\nDriver=bridge\n",
        ),
        ("v.volume", "[Volume]\nLabel=a=b\nDriver=local\nVolumeName=v\n"),
        (
            "b.build",
            "[Build]\nImageTag=a\nImageTag=b\nFile=x\nSetWorkingDirectory=unit\nBuildArg=A=b\nLabel=a=b\nNetwork=none\n\
             Pull=always\nSecret=id=a,src=/b\nTarget=t\nArch=arm64\nAuthFile=c\n",
        ),
        ("i.image", "[Image]\nImage=x\nArch=arm64\nOS=linux\nVariant=v8\nAuthFile=a\n"),
    ]);
    assert_shows(&environment, &[("quadlet lint", "")]);
}

#[test]
fn print_shows_what_would_be_made() {
    let environment =
        with_files(&[("data.volume", "[Volume]\nLabel=a=b\n[Install]\nWantedBy=default.target\n"), ("bad.volume", "")]);
    let shown = environment.show(&["quadlet", "print", "--system"]).replace(env!("CARGO_BIN_EXE_pybox"), "PYBOX");
    let expected = "\
---data-volume.service---
# Made by pybox-generator of $DIR/units/data.volume

[Unit]
Wants=network-online.target
After=network-online.target
SourcePath=$DIR/units/data.volume

[X-Volume]
Label=a=b

[Service]
ExecStart=PYBOX volume create --label a=b systemd-data
Type=oneshot
RemainAfterExit=yes
SyslogIdentifier=%N

[Install]
WantedBy=default.target

! pybox: $DIR/units/bad.volume: there is no section [Volume]
exit 1
";
    assert_eq!(shown, expected, "{shown}");
}

#[test]
fn the_generator_writes_units_and_links() {
    let environment = with_files(&[
        (
            "web.container",
            "[Container]\nImage=web:1\nVolume=data.volume:/data\nNosuch=1\n[Install]\nWantedBy=default.target\n",
        ),
        ("data.volume", "[Volume]\n"),
        ("job@.container", "[Container]\nImage=job:1\nExec=run %i\n"),
        ("job@.container.d/10-all.conf", "[Container]\nEnvironment=ALL=1\n"),
        ("job@two.container.d/20-two.conf", "[Container]\nEnvironment=TWO=1\n[Install]\nWantedBy=default.target\n"),
    ]);
    symlink("job@.container", environment.path().join("units/job@two.container")).expect("a link");
    let out = environment.path().join("out");
    fs::create_dir(&out).expect("a directory");
    let shown = generator(&environment, &["-no-kmsg-log", "-user", "out", "early", "late"]);
    assert_eq!(shown, "! $DIR/units/web.container:4: there is no Nosuch= in [Container]\n");
    let mut names: Vec<_> = fs::read_dir(&out).expect("a directory").flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        ["data-volume.service", "default.target.wants", "job@.service", "job@two.service", "web.service"]
    );
    let text = |name: &str| fs::read_to_string(out.join(name)).expect(name);
    assert!(text("default.target.wants/web.service").contains("Requires=data-volume.service\n"));
    assert!(text("job@.service").contains(" --name systemd-%p_%i --env ALL=1 job:1 run %i\n"));
    assert!(text("default.target.wants/job@two.service").contains(" --env ALL=1 --env TWO=1 job:1 run %i\n"));
    match verify(&out, &["web.service", "data-volume.service", "job@two.service"]) {
        Some(said) => assert_eq!(said, Vec::<String>::new()),
        None => println!("SKIPPED: systemd-analyze is not installed"),
    }
}

#[test]
fn shipped_units_are_sound() {
    let directory = tempfile::tempdir().expect("a directory");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/units");
    let names = ["pybox-restart.service", "pybox-user-wait-network-online.service"];
    for name in names {
        fs::copy(shipped.join(name), directory.path().join(name)).expect("a copy");
    }
    match verify(directory.path(), &names) {
        Some(said) => assert_eq!(said, Vec::<String>::new()),
        None => println!("SKIPPED: systemd-analyze is not installed"),
    }
}

#[test]
fn the_generator_can_be_tried() {
    let environment =
        with_files(&[("web.container", "[Container]\nImage=web:1\n"), ("gone.container", "[Container]\n")]);
    let shown = generator(&environment, &["--dryrun", "--user"]);
    assert!(shown.starts_with("---web.service---\n# Made by pybox-generator of $DIR/units/web.container\n"), "{shown}");
    assert!(
        shown.ends_with(
            "! $DIR/units/gone.container: Image= is missing: it names the image, or a .image or .build file\nexit 1\n"
        ),
        "{shown}"
    );
    for arguments in [&["--nosuch"][..], &[]] {
        let shown = generator(&environment, arguments);
        assert_eq!(
            shown,
            "! usage: pybox-generator [-dryrun] [-user|-system] [-no-kmsg-log] NORMAL [EARLY LATE]\nexit 2\n"
        );
    }
    assert_eq!(generator(&with_files(&[]), &["--dryrun"]), "");
}

#[test]
fn systemd_for_a_container_that_is_not_there() {
    let environment = TestEnvironment::new();
    let shown = environment.show(&["generate", "systemd", "nosuch"]);
    assert_eq!(shown, "! pybox: no such container: nosuch\n! hint: pybox ps --all\nexit 1\n");
    let shown = environment.show(&["generate", "systemd", "--restart-policy", "perhaps", "nosuch"]);
    assert!(shown.contains("invalid value \"perhaps\" for --restart-policy: expected no, on-success, "), "{shown}");
}

/// What systemd says of the units when it reads them, where it is installed.
fn verify(directory: &Path, names: &[&str]) -> Option<Vec<String>> {
    let runtime = directory.join("runtime");
    fs::create_dir(&runtime).expect("a directory");
    // A program has to be there for it.
    for name in names {
        let path = directory.join(name);
        let text = fs::read_to_string(&path).expect("a unit").replace("/usr/bin/pybox", "/bin/true");
        fs::write(&path, text).expect("written");
    }
    let mut command = Command::new("systemd-analyze");
    command
        .args(["--user", "--man=no", "--generators=no", "verify"])
        .args(names.iter().map(|name| directory.join(name)));
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", directory.display())).env("XDG_RUNTIME_DIR", &runtime);
    let said = String::from_utf8(command.output().ok()?.stderr).expect("text");
    let ours = said.lines().filter(|line| names.iter().any(|name| line.contains(name)));
    Some(ours.map(str::to_owned).collect())
}
