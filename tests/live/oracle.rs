//! Another runtime as a judge: crun runs the bundle that pybox wrote, over the
//! root file system that its annotation describes.

use std::path::PathBuf;

use serde_json::Value;

use crate::fixture::{skip, tool};
use crate::harness::Live;

/// The only directory under `containers/`.
fn bundle(live: &Live) -> PathBuf {
    let mut entries = std::fs::read_dir(live.root().join("containers")).expect("the store's containers").flatten();
    entries.next().expect("a container").path()
}

fn configuration(bundle: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(bundle.join("config.json")).expect("read config.json");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn crun_runs_the_bundle_with_the_same_result() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return skip("mounting the overlay for crun needs root");
    }
    // crun links /dev/core to the kernel's memory, which we leave out.
    let script = "id; pwd; env | sort; hostname; grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status; cat /etc/hostname; \
                  ulimit -n; ls /dev | grep -v core; ls -A /etc /; exit 7";
    let flags =
        ["run", "--name", "judged", "-e", "A=1", "-w", "/tmp", "--hostname", "oracle", "--ulimit", "nofile=99:99"];
    let image = live.image("busybox");
    let ours = live.pybox(flags.into_iter().chain([image.as_str(), "sh", "-c", script])).run().exits(7).text();
    let bundle = bundle(&live);
    let recipe = configuration(&bundle)["annotations"]["dev.pybox.rootfs"].as_str().map(str::to_owned);
    let recipe: Value = serde_json::from_str(&recipe.expect("the annotation")).expect("JSON");
    let lower: Vec<_> = recipe["lower"].as_array().expect("lower").iter().filter_map(Value::as_str).collect();

    // Root mounts, in a mount namespace that goes with the command; crun makes the user namespace itself.
    // It gives its standard streams to the container's user, and /dev/null would be the host's: hence the pipe.
    // crun refuses machines that have both versions of cgroups, though it is told to use none: show it one.
    let judge = "umount -l -R /sys/fs/cgroup && mount -t cgroup2 c /sys/fs/cgroup && mkdir -p \"$1/rootfs\" && \
                 mount -t overlay o -o \"lowerdir=$2,userxattr\" \"$1/rootfs\" && \
                 true | crun --root \"$3\" --cgroup-manager disabled run --bundle \"$1\" judged";
    let state = live.dir.join("crun");
    let arguments = [&bundle.to_string_lossy(), lower.join(":").as_str(), &*state.to_string_lossy()].map(str::to_owned);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", judge, "sh"]).args(arguments);
    let theirs = crate::harness::Run::of(command).run().exits(7).text();
    assert_eq!(ours.lines().collect::<Vec<_>>(), theirs.lines().collect::<Vec<_>>());
}

#[test]
fn the_document_is_valid_and_has_our_annotations_only() {
    let Some(live) = Live::new() else { return };
    // The image has labels that look like ours, and environment entries that are none.
    let image = live.image("evil-labels");
    live.pybox(["run", "--name", "labels", &image, "true"]).ok();
    let configuration = configuration(&bundle(&live));
    let recipe = configuration["annotations"]["dev.pybox.rootfs"].as_str().expect("the annotation");
    assert!(recipe.contains("\"lower\":["), "{recipe}");
    assert!(configuration["annotations"]["dev.pybox.init"].is_null());
    assert!(configuration["hooks"].is_null());
    for key in ["ociVersion", "process", "root", "mounts", "linux"] {
        assert!(!configuration[key].is_null(), "{key}");
    }
    let version = configuration["ociVersion"].as_str().expect("a version");
    assert!(version.starts_with("1."), "{version}");
    let namespaces = configuration["linux"]["namespaces"].as_array().expect("namespaces");
    assert_eq!(namespaces.len(), 7, "{namespaces:?}");
}

#[test]
fn the_filter_answers_as_its_rules_say() {
    let Some(live) = Live::new() else { return };
    // The kernel's own answer, through a program that reports errno: perl comes with every Debian.
    let image = live.debian();
    // Numbers of the x86_64 table: a denied call, one newer than any table, socket families 38 and 40, TIOCSTI.
    if tool("uname", &["-m"]).expect("uname").trim() != "x86_64" {
        return skip("the system call numbers of this test are those of x86_64");
    }
    let script = "for my $c ([321,0,0,0],[425,1,0,0],[250,0,0,0],[41,38,5,0],[41,40,1,0],[16,0,0x5412,0],[9999,0,0,0],[435,0,0,0],[323,0,0,0],[39,0,0,0]) \
                  { $! = 0; my $r = syscall($c->[0],$c->[1]+0,$c->[2]+0,$c->[3]+0); print $c->[0],' ',$r < 0 ? $!+0 : 'ok',qq(\\n); }";
    let said = live.pybox(["run", "--rm", &image, "perl", "-e", script]).within(120).ok();
    let answers: Vec<_> = said.lines().collect();
    const EPERM: &str = "1";
    const ENOSYS: &str = "38";
    let expected = [
        ("321", EPERM), // bpf
        ("425", EPERM), // io_uring_setup
        ("250", EPERM), // keyctl
        ("41", EPERM),  // socket(AF_ALG)
        ("41", EPERM),  // socket(AF_VSOCK)
        ("16", EPERM),  // ioctl(TIOCSTI)
        ("9999", ENOSYS),
        ("435", ENOSYS), // clone3: its flags cannot be seen
        ("323", EPERM),  // userfaultfd
        ("39", "ok"),    // getpid
    ];
    let expected: Vec<_> = expected.iter().map(|(call, answer)| format!("{call} {answer}")).collect();
    assert_eq!(answers, expected);
}
