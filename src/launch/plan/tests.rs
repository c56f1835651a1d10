//! Tests of the compiler: documents in, steps out.

use super::*;
use crate::launch::step::{Node, RootSource, Source};
use serde_json::{Value, json};

/// The smallest document that can be launched, changed by `change`.
fn document(change: impl FnOnce(&mut Value)) -> Document {
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": {
            "user": { "uid": 1000, "gid": 1000 }, "args": ["sh"], "cwd": "/work dir",
            "env": ["PATH=/opt/bin::/bin", "A=b"],
            "capabilities": { "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"] }
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] }
        ],
        "linux": {
            "namespaces": [{ "type": "user" }, { "type": "mount" }, { "type": "pid" }, { "type": "network" }, { "type": "cgroup" }],
            "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }],
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
            "sysctl": { "net.ipv4.ip_forward": "1" }
        }
    });
    change(&mut spec);
    serde_json::from_value(spec).expect("a document")
}

fn extras() -> Extras {
    Extras { filter: vec![0; 8], keyring: Some("_x".into()), ..Extras::default() }
}

fn plan(change: impl FnOnce(&mut Value)) -> Plan {
    Plan::compile(&document(change), extras()).expect("a plan")
}

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    Plan::compile(&document(change), Extras::default()).expect_err("must be refused").to_string()
}

/// The whole protocol, top to bottom.
#[test]
fn the_walk_in_its_order() {
    let walk: Vec<String> = plan(|_| {}).steps.iter().map(ToString::to_string).collect();
    let expected = [
        "wait for the parent process",
        "become root of the user namespace",
        "hide from tracers",
        "start a session",
        "enter a cgroup namespace",
        "isolate the mounts from the host's",
        "bind the root file system rootfs",
        "mount proc on /proc",
        "mount tmpfs on /dev",
        "make the device nodes of /dev",
        "set net.ipv4.ip_forward to \"1\"",
        "mask /proc/kcore",
        "make /proc/sys read-only",
        "bring up the loopback interface",
        "open the working directory /work dir",
        "wait for the parent process",
        "pivot to the root file system",
        "enter the working directory",
        "take standard input, output and error",
        "join a session keyring",
        "load the system call filter",
        "become user 1000:1000",
        "report to the parent process",
    ];
    assert_eq!(walk, expected);
}

#[test]
fn files_of_memory_come_after_all_mounts_and_are_in_no_document() {
    let file = |target: &str| MemoryFile { target: target.into(), mode: 0o400, owner: (0, 0), bytes: b"x".to_vec() };
    let with = |target| Plan::compile(&document(|_| {}), Extras { files: vec![file(target)], ..extras() });
    let walk: Vec<String> = with("/run/secrets/s").expect("a plan").steps.iter().map(ToString::to_string).collect();
    let at = |what: &str| walk.iter().position(|step| step == what).expect(what);
    assert_eq!(at("show a file of memory on /run/secrets/s"), at("make the device nodes of /dev") + 1);
    for target in ["relative", "/a/../b"] {
        with(target).expect_err("no place");
    }
}

#[test]
fn with_no_new_privileges_the_filter_comes_last() {
    let plan = plan(|spec| spec["process"]["noNewPrivileges"] = true.into());
    let tail: Vec<String> = plan.steps.iter().rev().take(4).rev().map(ToString::to_string).collect();
    assert_eq!(
        tail,
        ["become user 1000:1000", "set no_new_privs", "load the system call filter", "report to the parent process"]
    );
}

/// What is run in the container of [`document`].
fn exec(change: impl FnOnce(&mut Value), process: impl FnOnce(&mut Value)) -> Plan {
    let facts = JoinFacts::of(&document(change)).expect("facts");
    let mut wanted = json!({ "user": { "uid": 33, "gid": 33 }, "args": ["id"], "cwd": "/srv", "oomScoreAdj": 7 });
    process(&mut wanted);
    let wanted = serde_json::from_value(wanted).expect("a process");
    Plan::compile_exec(&wanted, &facts, extras()).expect("a plan")
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

#[test]
fn the_walk_into_a_container_in_its_order() {
    let plan = exec(|_| {}, |process| process["terminal"] = true.into());
    let expected = [
        "write /proc/self/oom_score_adj",
        "hide from tracers",
        "join the container's namespaces",
        "become root of the user namespace",
        "hide from tracers",
        "make a process in the container's namespaces",
        "start a session",
        "open the container's root",
        "open the working directory /srv",
        "make a terminal",
        "enter the working directory",
        "take standard input, output and error",
        "wait for the parent process",
        "join a session keyring",
        "load the system call filter",
        "become user 33:33",
        "report to the parent process",
    ];
    assert_eq!(words(&plan), expected);
    assert_eq!(plan.namespaces, Namespaces::empty());
    let joined = plan.steps.iter().find_map(|step| match step {
        Step::Join(namespaces) => Some(*namespaces),
        _ => None,
    });
    let all = Namespaces::USER | Namespaces::MOUNT | Namespaces::PID | Namespaces::NETWORK | Namespaces::CGROUP;
    assert_eq!(joined, Some(all));
    let console = plan.steps.iter().any(|step| matches!(step, Step::OpenTerminal(Terminal { console: Some(_), .. })));
    assert!(!console, "the console is the first process's");
}

#[test]
fn who_joins_ends_as_the_first_process_did() {
    let first = words(&plan(|spec| spec["process"]["noNewPrivileges"] = true.into()));
    let joined = exec(
        |_| {},
        |process| {
            process["noNewPrivileges"] = true.into();
            process["user"] = json!({ "uid": 1000, "gid": 1000 });
        },
    );
    let tail =
        |words: &[String]| words.iter().skip_while(|word| !word.contains("keyring")).cloned().collect::<Vec<_>>();
    assert_eq!(tail(&words(&joined)), tail(&first));
    assert_eq!(tail(&first).len(), 5);
}

#[test]
fn groups_are_set_where_the_containers_namespace_allows() {
    let may = |change: fn(&mut Value)| {
        let identity = exec(change, |_| {}).steps.into_iter().find_map(|step| match step {
            Step::Identity(identity) => Some(identity.may_set_groups),
            _ => None,
        });
        identity.expect("an identity")
    };
    assert!(may(|_| {}));
    assert!(!may(|spec| spec["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 1, "size": 1 }])));
}

#[test]
fn a_container_on_the_hosts_network_is_joined_without_it() {
    let facts = JoinFacts::of(&document(|spec| {
        spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "pid" }]);
    }));
    assert_eq!(facts.expect("facts").namespaces, Namespaces::MOUNT | Namespaces::PID);
    let plan = exec(|spec| spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "pid" }]), |_| {});
    assert!(!words(&plan).contains(&"become root of the user namespace".to_owned()));
}

#[test]
fn the_cgroup_namespace_is_not_made_at_birth() {
    let plan = plan(|_| {});
    assert_eq!(plan.namespaces, Namespaces::USER | Namespaces::MOUNT | Namespaces::PID | Namespaces::NETWORK);
    assert_eq!(plan.uid_map, [(0, 1000, 1)]);
}

#[test]
fn programs_are_looked_for_in_the_containers_path() {
    let paths = |change: fn(&mut Value)| -> Vec<String> {
        plan(change).programs.iter().map(|path| path.to_string_lossy().into_owned()).collect()
    };
    assert_eq!(paths(|_| {}), ["/opt/bin/sh", "./sh", "/bin/sh"]);
    assert_eq!(paths(|spec| spec["process"]["args"] = json!(["./x/y"])), ["./x/y"]);
    assert_eq!(paths(|spec| spec["process"]["env"] = json!([])).len(), 6);
}

#[test]
fn an_init_walks_on_in_a_child() {
    let plan = plan(|spec| spec["annotations"] = json!({ INIT_ANNOTATION: "1" }));
    assert!(matches!(plan.steps.as_slice(), [.., Step::Identity(_), Step::Reaper, Step::TellReady]));
}

#[test]
fn an_overlay_comes_from_the_annotation() {
    let recipe =
        json!({ "kind": "overlay", "lower": ["/l/b", "/l/a"], "upper": "/c/u", "work": "/c/w", "volatile": true });
    let plan = plan(|spec| spec["annotations"] = json!({ ROOTFS_ANNOTATION: recipe.to_string() }));
    let overlay = plan.steps.iter().find_map(|step| match step {
        Step::MountRoot(RootSource::Overlay(overlay)) => Some(overlay),
        _ => None,
    });
    let overlay = overlay.expect("an overlay");
    assert_eq!(overlay.lower, [c"/l/b".to_owned(), c"/l/a".to_owned()]);
    assert_eq!(
        overlay.legacy.as_c_str(),
        c"lowerdir=/proc/self/fd/300:/proc/self/fd/301,upperdir=/c/u,workdir=/c/w,userxattr,volatile"
    );
    let keys: Vec<_> = overlay.settings.iter().map(|(key, _)| key.as_c_str()).collect();
    assert_eq!(keys, [c"source", c"upperdir", c"workdir", c"userxattr", c"volatile"]);
}

#[test]
fn mount_options_are_sorted_by_what_they_change() {
    let plan = plan(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({ "destination": "/a/b/", "source": "/h", "options": ["rbind", "ro", "nosuid", "rslave"] }));
    });
    let mount = plan.steps.iter().rev().find_map(|step| match step {
        Step::Mount(mount) => Some(mount),
        _ => None,
    });
    let mount = mount.expect("a mount");
    assert_eq!(mount.target.to_string(), "/a/b");
    assert_eq!(mount.target.ancestors, [(c"a".to_owned(), c"a".to_owned())]);
    assert_eq!(mount.attributes.bits(), 1 | 2);
    assert_eq!((mount.reach, mount.propagation), (crate::sys::mount::Reach::Recursive, Some(Propagation::Slave)));
    assert!(matches!(&mount.source, Source::Host { path, device: None, .. } if path.as_c_str() == c"/h"));
}

#[test]
fn dev_has_its_six_nodes_and_its_links() {
    let plan = plan(|_| {});
    let nodes = plan.steps.iter().find_map(|step| match step {
        Step::PopulateDev(nodes) => Some(nodes),
        _ => None,
    });
    let nodes = nodes.expect("nodes");
    let devices = nodes.iter().filter(|node| matches!(node, Node::Device(..))).count();
    assert_eq!((devices, nodes.len()), (6, 11));
}

#[test]
fn what_cannot_be_launched_is_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (|spec| spec["process"]["args"] = json!([]), "config.json has no process.args"),
        (|spec| spec["process"]["args"] = json!(["a\0b"]), "config.json: process.args has a NUL byte"),
        (|spec| spec["process"]["cwd"] = json!("relative"), "config.json: process.cwd must not be \"relative\""),
        (|spec| spec["process"]["cwd"] = json!("/a/../b"), "config.json: process.cwd must not be \"/a/../b\""),
        (|spec| spec["mounts"] = json!([]), "config.json has no mount of a new file system on /dev"),
        (
            |spec| spec["mounts"][1] = json!({ "destination": "/dev", "source": "/dev", "options": ["bind"] }),
            "config.json has no mount of a new file system on /dev",
        ),
        (|spec| spec["linux"]["namespaces"] = json!([{ "type": "pid" }]), "config.json has no mount namespace"),
        (
            |spec| spec["linux"]["namespaces"][0] = json!({ "type": "user", "path": "/proc/1/ns/user" }),
            "config.json asks for joining a namespace by path, which this launcher does not do",
        ),
        (
            |spec| spec["annotations"] = json!({ ROOTFS_ANNOTATION: "{}" }),
            "read the annotation dev.pybox.rootfs of config.json",
        ),
    ];
    for (change, sentence) in cases {
        assert_eq!(refusal(change), sentence);
    }
}

#[test]
fn an_overlay_path_that_the_kernel_would_split_is_refused() {
    for path in ["/a:b", "/a,b", "/a\\b"] {
        let recipe = json!({ "kind": "overlay", "lower": [path], "upper": "/u", "work": "/w" });
        let sentence = refusal(|spec| spec["annotations"] = json!({ ROOTFS_ANNOTATION: recipe.to_string() }));
        assert!(sentence.contains("no ',', ':' or '\\'"), "{sentence}");
    }
}
