//! What can be mounted, and what not.

use std::path::Path;

use crate::model::container::{Mount, MountSource};
use crate::model::flags::*;

use super::text;

fn mount(source: MountSource, target: &str, read_only: bool, options: &[&str]) -> Mount {
    let options = options.iter().map(ToString::to_string).collect();
    Mount { source, target: target.into(), read_only, options }
}

fn bind(path: &str, create: bool) -> MountSource {
    MountSource::Bind { path: path.into(), create }
}

#[test]
fn volumes() {
    let table = [
        ("/data", mount(MountSource::AnonymousVolume, "/data", false, &[])),
        ("db:/var/lib/db", mount(MountSource::Volume("db".into()), "/var/lib/db", false, &[])),
        ("/a:/b", mount(bind("/a", true), "/b", false, &[])),
        ("/a:/b:ro", mount(bind("/a", true), "/b", true, &[])),
        ("/a/../b//c/:/x/./y/", mount(bind("/b/c", true), "/x/y", false, &[])),
        ("./x:/y:rslave,noexec,Z", mount(bind("/home/u/x", true), "/y", false, &["rslave", "noexec", "Z"])),
        ("../x:/y", mount(bind("/home/x", true), "/y", false, &[])),
        (".:/y", mount(bind("/home/u", true), "/y", false, &[])),
        ("db:/y:nocopy,ro", mount(MountSource::Volume("db".into()), "/y", true, &["nocopy"])),
        ("/a:/dev/shm", mount(bind("/a", true), "/dev/shm", false, &[])),
        ("/a:/dev/fuse:rw", mount(bind("/a", true), "/dev/fuse", false, &[])),
        ("/a:/procfs", mount(bind("/a", true), "/procfs", false, &[])),
    ];
    for (word, expected) in table {
        assert_eq!(volume::parse(word, Path::new("/home/u")), Ok(expected), "{word}");
    }
    let bad = [
        "",
        ":",
        "/a:",
        ":/b",
        "/a:b",
        "a/b:/c",
        "-x:/c",
        "/a:/b:ro:x",
        "/a:/b:ro,rw",
        "/a:/b:wat",
        "/a:/b:nocopy",
        "db:/y:rslave",
        "/a:/b:rslave,rshared",
        "/a:/b:exec,noexec",
        "/a:/b:z,Z",
        "/a:/b:U",
        "/a:/../b",
        "/a:/",
        "/a:/b/../..",
        "~/x:/y",
        "/a\n:/b",
        "/a:/b\n",
        "/a:/b\0",
    ];
    for word in bad {
        assert!(volume::parse(word, Path::new("/home/u")).is_err(), "{word:?}");
    }
}

#[test]
fn reserved_targets_are_refused() {
    for word in [
        "/proc",
        "/proc/self/attr",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
        "/dev/",
        "/dev/pts",
        "/dev/pts/0",
        "//proc",
        "/./proc",
    ] {
        for parsed in [
            text(volume::parse(&format!("tmp:{word}"), Path::new("/"))),
            text(crate::model::flags::mount::parse(&format!("type=tmpfs,target={word}"), Path::new("/"))),
            text(tmpfs::parse(word)),
        ] {
            assert!(parsed.ends_with(": /proc, /sys and /dev are reserved"), "{word}: {parsed:?}");
        }
    }
}

#[test]
fn mounts() {
    let table = [
        ("type=bind,src=/a,dst=/b", mount(bind("/a", false), "/b", false, &[])),
        ("type=bind,source=./a,destination=/b,ro", mount(bind("/home/u/a", false), "/b", true, &[])),
        ("type=bind,source=/a,target=/b,readonly=false", mount(bind("/a", false), "/b", false, &[])),
        ("target=/b,type=bind,src=/a,bind-propagation=rslave", mount(bind("/a", false), "/b", false, &["rslave"])),
        ("type=bind,src=/a,dst=/b,bind-nonrecursive", mount(bind("/a", false), "/b", false, &["bind"])),
        ("type=bind,src=/a,dst=/b,bind-recursive=disabled", mount(bind("/a", false), "/b", false, &["bind"])),
        ("type=volume,src=db,dst=/b,volume-nocopy", mount(MountSource::Volume("db".into()), "/b", false, &["nocopy"])),
        ("dst=/b", mount(MountSource::AnonymousVolume, "/b", false, &[])),
        (
            "type=tmpfs,dst=/b,tmpfs-size=64m,tmpfs-mode=1770",
            mount(MountSource::Tmpfs, "/b", false, &["size=67108864", "mode=1770"]),
        ),
    ];
    for (word, expected) in table {
        assert_eq!(crate::model::flags::mount::parse(word, Path::new("/home/u")), Ok(expected), "{word}");
    }
    let bad = [
        "",
        "type=bind",
        "type=bind,dst=/b",
        "type=nfs,src=/a,dst=/b",
        "type=bind,src=/a,dst=b",
        "type=bind,src=,dst=/b",
        "type=bind,src=/a,dst=/b,dst=/c",
        "type=bind,src=/a,dst=/b,target=/c",
        "type=bind,src=/a,dst=/b,tmpfs-size=1m",
        "type=tmpfs,src=/a,dst=/b",
        "type=tmpfs,dst=/b,tmpfs-mode=9",
        "type=tmpfs,dst=/b,tmpfs-size=x",
        "type=bind,src=/a,dst=/b,bind-propagation=z,src=/",
        "type=bind,src=/a,dst=/b,bind-propagation=z",
        "type=bind,src=/a,dst=/b,ro=maybe",
        "type=bind,src=/a,dst=/b,wat=1",
        "type=volume,src=../x,dst=/b",
    ];
    for word in bad {
        assert!(crate::model::flags::mount::parse(word, Path::new("/home/u")).is_err(), "{word:?}");
    }
}

#[test]
fn tmpfs_mounts() {
    let parsed = tmpfs::parse("/run:size=64m,mode=755,exec,size=1g,ro,uid=5").unwrap();
    assert_eq!(parsed, mount(MountSource::Tmpfs, "/run", true, &["mode=0755", "exec", "size=1073741824", "uid=5"]));
    assert_eq!(tmpfs::parse("/t:size=50%").unwrap().options, ["size=50%"]);
    for bad in [
        "",
        "run",
        "/",
        "/t:wat",
        "/t:size=",
        "/t:size=0%",
        "/t:mode=8",
        "/t:mode=17777",
        "/t:rslave",
        "/t:uid=-1",
        "/t:U",
        "/t:nr_inodes=x",
    ] {
        assert!(tmpfs::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn devices() {
    let table = [
        ("/dev/fuse", "/dev/fuse", "/dev/fuse", "rwm"),
        ("/dev/a:/dev/b", "/dev/a", "/dev/b", "rwm"),
        ("/dev/a:rw", "/dev/a", "/dev/a", "rw"),
        ("/dev/a:/dev/b:r", "/dev/a", "/dev/b", "r"),
    ];
    for (word, host, container, permissions) in table {
        let device = device::parse(word).unwrap();
        assert_eq!(
            (device.host.as_str(), device.container.as_str(), device.permissions.as_str()),
            (host, container, permissions)
        );
    }
    for bad in [
        "",
        "fuse",
        "/dev/a:b",
        "/dev/a:/dev/b:x",
        "/dev/a:/dev/b:",
        "/dev/a:/dev/../b",
        "/dev/a:/proc/b",
        "/dev/a:/dev/b:rwmr",
        "/a:/b:r:w",
    ] {
        assert!(device::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_field_of_mount_in_quotes_may_have_commas() {
    let read = |text: &str| mount::parse(text, Path::new("/here")).map_err(|error| error.to_string());
    let expected = Mount {
        source: MountSource::Bind { path: "/a,b".into(), create: false },
        target: "/x\"y".into(),
        read_only: true,
        options: vec![],
    };
    assert_eq!(read(r#"type=bind,"src=/a,b","dst=/x""y",ro"#), Ok(expected));
    assert!(read(r#"type=bind,"src=/a,dst=/x"#).is_err_and(|why| why.contains("quote")));
}
