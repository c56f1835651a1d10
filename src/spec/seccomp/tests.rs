//! What the default profile answers: by the rules, by the program, by the kernel.

use super::*;
use crate::sys::seccomp::{compile, kernel};

mod bpf;

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
const AARCH64: u32 = 0xc000_00b7;

fn caps(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn default_for(capabilities: &[&str], architecture: &str) -> LinuxSeccomp {
    let capabilities = caps(capabilities);
    let here = Circumstances { capabilities: &capabilities, kernel: (6, 1), architecture };
    resolve(DEFAULT, &here).unwrap()
}

fn default_program(capabilities: &[&str]) -> bpf::Program {
    bpf::Program::new(&compile(&default_for(capabilities, "amd64")).unwrap().program)
}

/// `None` is allowed, else the errno.
type Expected = Option<i64>;

#[test]
fn programs_answer_as_written() {
    const HIGH: u64 = 1 << 32;
    let plain = default_program(&crate::spec::capabilities::DEFAULT);
    let table: [(u32, u32, [u64; 2], Expected); 62] = [
        (X86_64, 0, [0, 0], None),   // read
        (X86_64, 41, [2, 0], None),  // socket: inet
        (X86_64, 41, [1, 0], None),  // unix
        (X86_64, 41, [16, 0], None), // netlink
        (X86_64, 41, [39, 0], None), // nfc, between the denied
        (X86_64, 41, [37, 0], None),
        (X86_64, 41, [41, 0], None),
        (X86_64, 41, [0xffff_ffff, 0], None),
        (X86_64, 41, [38, 0], Some(EPERM)),        // alg
        (X86_64, 41, [40, 0], Some(EPERM)),        // vsock
        (X86_64, 41, [HIGH | 38, 0], Some(EPERM)), // the kernel drops the high half
        (X86_64, 41, [HIGH | 40, 0], Some(EPERM)),
        (X86_64, 41, [HIGH | 2, 0], None),
        (X86_64, 16, [0, 0x5401], None), // ioctl: TCGETS
        (X86_64, 16, [0, 0x5413], None), // TIOCGWINSZ
        (X86_64, 16, [0, 0x5414], None),
        (X86_64, 16, [0, 0x541e], None),
        (X86_64, 16, [0, 0xffff_ffff_8004_5430], None), // sign-extended by musl
        (X86_64, 16, [0, 0x5412], Some(EPERM)),         // TIOCSTI
        (X86_64, 16, [0, HIGH | 0x5412], Some(EPERM)),
        (X86_64, 16, [0, 0xffff_ffff_0000_5412], Some(EPERM)),
        (X86_64, 16, [0, 0x541c], Some(EPERM)),      // TIOCLINUX
        (X86_64, 56, [0x11, 0], None),               // clone: fork
        (X86_64, 56, [0x3d_0f00, 0], None),          // a thread
        (X86_64, 56, [0x1000_0011, 0], Some(EPERM)), // new user namespace
        (X86_64, 56, [0x0002_0000, 0], Some(EPERM)), // mount
        (X86_64, 56, [0x7e02_0011, 0], Some(EPERM)),
        (X86_64, 435, [0, 0], Some(ENOSYS)), // clone3
        (X86_64, 135, [0, 0], None),         // personality
        (X86_64, 135, [8, 0], None),
        (X86_64, 135, [0x20008, 0], None),
        (X86_64, 135, [0xffff_ffff, 0], None),
        (X86_64, 135, [0x004_0000, 0], Some(EPERM)), // no randomised addresses
        (X86_64, 135, [0xffff_fffe, 0], Some(EPERM)),
        (X86_64, 135, [0xffff_fff7, 0], Some(EPERM)),
        (X86_64, 135, [0x40_0000, 0], Some(EPERM)),
        (X86_64, 250, [0, 0], Some(EPERM)),  // keyctl
        (X86_64, 248, [0, 0], Some(EPERM)),  // add_key
        (X86_64, 249, [0, 0], Some(EPERM)),  // request_key
        (X86_64, 425, [0, 0], Some(EPERM)),  // io_uring_setup
        (X86_64, 323, [0, 0], Some(EPERM)),  // userfaultfd
        (X86_64, 165, [0, 0], Some(EPERM)),  // mount
        (X86_64, 272, [0, 0], Some(EPERM)),  // unshare
        (X86_64, 308, [0, 0], Some(EPERM)),  // setns
        (X86_64, 155, [0, 0], Some(EPERM)),  // pivot_root
        (X86_64, 321, [0, 0], Some(EPERM)),  // bpf
        (X86_64, 298, [0, 0], Some(EPERM)),  // perf_event_open
        (X86_64, 438, [0, 0], Some(EPERM)),  // pidfd_getfd
        (X86_64, 169, [0, 0], Some(EPERM)),  // reboot
        (X86_64, 161, [0, 0], None),         // chroot: SYS_CHROOT is granted
        (X86_64, 101, [0, 0], None),         // ptrace
        (X86_64, 452, [0, 0], None),         // fchmodat2, newer than the library
        (X86_64, 462, [0, 0], None),         // mseal
        (X86_64, 470, [0, 0], Some(ENOSYS)), // listns, newer than the table
        (X86_64, 999, [0, 0], Some(ENOSYS)),
        (X86_64, X32_BIT, [0, 0], Some(ENOSYS)), // x32 read
        (X86_64, X32_BIT | 41, [38, 0], Some(ENOSYS)),
        (AARCH64, 63, [0, 0], Some(ENOSYS)),
        (I386, 3, [0, 0], None),   // read
        (I386, 102, [1, 0], None), // socketcall
        (I386, 359, [2, 0], None), // socket: inet
        (I386, 359, [38, 0], Some(EPERM)),
    ];
    for (arch, number, [first, second], expected) in table {
        let answer = plain.answer(arch, number, [first, second, 0, 0, 0, 0]);
        assert_eq!(answer, expected, "arch {arch:#x} call {number} ({first:#x}, {second:#x})");
    }
}

#[test]
fn thirty_two_bit_programs_meet_the_same_rules() {
    let plain = default_program(&crate::spec::capabilities::DEFAULT);
    let table: [(u32, [u64; 2], Expected); 9] = [
        (54, [0, 0x5401], None),
        (54, [0, 0x5412], Some(EPERM)),
        (120, [0x11, 0], None),
        (120, [0x1000_0011, 0], Some(EPERM)),
        (136, [0, 0], None),
        (136, [0x4_0000, 0], Some(EPERM)),
        (102, [2, 0], None),
        (288, [0, 0], Some(EPERM)),
        (435, [0, 0], Some(ENOSYS)),
    ];
    for (number, [first, second], expected) in table {
        assert_eq!(
            plain.answer(I386, number, [first, second, 0, 0, 0, 0]),
            expected,
            "call {number} ({first:#x}, {second:#x})"
        );
    }
}

#[test]
fn capabilities_open_their_calls() {
    let table: [(&str, u32, Expected, Expected); 8] = [
        ("CAP_SYS_ADMIN", 165, Some(EPERM), None),
        ("CAP_SYS_ADMIN", 435, Some(ENOSYS), None),
        ("CAP_SYS_ADMIN", 250, Some(EPERM), Some(EPERM)),
        ("CAP_BPF", 321, Some(EPERM), None),
        ("CAP_SYS_PTRACE", 438, Some(EPERM), None),
        ("CAP_SYSLOG", 103, Some(EPERM), None),
        ("CAP_SYS_BOOT", 169, Some(EPERM), None),
        ("CAP_SYS_TIME", 227, Some(EPERM), None),
    ];
    for (capability, number, without, with) in table {
        assert_eq!(default_program(&[]).answer(X86_64, number, [0; 6]), without, "{number}");
        assert_eq!(default_program(&[capability]).answer(X86_64, number, [0; 6]), with, "{capability} {number}");
    }
    let namespaces = [0x7e02_0011, 0, 0, 0, 0, 0];
    assert_eq!(default_program(&["CAP_SYS_ADMIN"]).answer(X86_64, 56, namespaces), None);
}

/// Each call is one that fails by its arguments where it is let through.
#[test]
fn the_kernel_answers_as_written() {
    const EBADF: i64 = -9;
    const EINVAL: i64 = -22;
    const BAD_FD: u64 = 0xffff_ffff;
    const HIGH: u64 = 1 << 32;
    let table: [(&str, i64, [u64; 3], &[i64]); 33] = [
        ("socket AF_ALG", 41, [38, 5, 0], &[EPERM]),
        ("socket AF_VSOCK", 41, [40, 1, 0], &[EPERM]),
        ("socket AF_ALG with a high half", 41, [HIGH | 38, 5, 0], &[EPERM]),
        ("socket of type 99", 41, [2, 99, 0], &[EINVAL]),
        ("ioctl TIOCSTI", 16, [BAD_FD, 0x5412, 0], &[EPERM]),
        ("ioctl TIOCSTI with a high half", 16, [BAD_FD, HIGH | 0x5412, 0], &[EPERM]),
        ("ioctl TIOCLINUX", 16, [BAD_FD, 0x541c, 0], &[EPERM]),
        ("ioctl TCGETS", 16, [BAD_FD, 0x5401, 0], &[EBADF]),
        ("ioctl of a high request", 16, [BAD_FD, 0xffff_ffff_8004_5430, 0], &[EBADF]),
        ("clone NEWUSER", 56, [0x1000_0011, 0, 0], &[EPERM]),
        ("clone NEWNS", 56, [0x0002_0011, 0, 0], &[EPERM]),
        ("clone THREAD without SIGHAND", 56, [0x1_0011, 0, 0], &[EINVAL]),
        ("clone3", 435, [0, 0, 0], &[ENOSYS]),
        ("keyctl", 250, [0, 0, 0], &[EPERM]),
        ("add_key", 248, [0, 0, 0], &[EPERM]),
        ("request_key", 249, [0, 0, 0], &[EPERM]),
        ("io_uring_setup", 425, [0, 0, 0], &[EPERM]),
        ("io_uring_enter", 426, [BAD_FD, 0, 0], &[EPERM]),
        ("userfaultfd", 323, [0, 0, 0], &[EPERM]),
        ("personality query", 135, [0xffff_ffff, 0, 0], &[0]),
        ("personality ADDR_NO_RANDOMIZE", 135, [0x4_0000, 0, 0], &[EPERM]),
        ("unshare", 272, [0, 0, 0], &[EPERM]),
        ("setns", 308, [BAD_FD, 0, 0], &[EPERM]),
        ("mount", 165, [0, 0, 0], &[EPERM]),
        ("bpf", 321, [99, 0, 0], &[EPERM]),
        ("perf_event_open", 298, [0, 0, 0], &[EPERM]),
        ("open_by_handle_at", 304, [BAD_FD, 0, 0], &[EPERM]),
        ("kexec_load", 246, [0, 0, 0], &[EPERM]),
        ("pidfd_getfd", 438, [BAD_FD, 0, 0], &[EPERM]),
        ("unknown number", 999, [0, 0, 0], &[ENOSYS]),
        ("x32 read", 0x4000_0000, [BAD_FD, 0, 0], &[ENOSYS]),
        ("fchmodat2", 452, [BAD_FD, 0, 0], &[-14, ENOSYS]),
        ("read", 0, [BAD_FD, 0, 0], &[EBADF]),
    ];
    if std::env::consts::ARCH != "x86_64" {
        eprintln!("skipped: the table has the numbers of x86_64");
        return;
    }
    let filter = compile(&default_for(&crate::spec::capabilities::DEFAULT, "amd64")).unwrap();
    let calls: Vec<kernel::Call> = table.iter().map(|(_, n, [a, b, c], _)| (*n, [*a, *b, *c, 0, 0, 0])).collect();
    let answers = kernel::answers(&filter.program, &calls);
    assert_eq!(answers.len(), table.len(), "the kernel did not take the filter");
    for ((name, .., expected), answer) in table.iter().zip(answers) {
        assert!(expected.contains(&answer), "{name}: {answer}, expected {expected:?}");
    }
}

#[test]
fn common_calls_cost_little() {
    let plain = default_program(&crate::spec::capabilities::DEFAULT);
    assert!(plain.len() < 2000, "{} instructions", plain.len());
    for number in [0, 1, 3, 9, 202, 257, 262] {
        assert!(plain.cost(X86_64, number, [0; 6]) <= 20, "call {number}");
    }
}

/// Two rules with different answers must not match the same call: nothing says which would win.
#[test]
fn default_rules_do_not_overlap() {
    let table: [&[&str]; 6] = [
        &[],
        &crate::spec::capabilities::DEFAULT,
        &crate::model::flags::capability::NAMES,
        &["CAP_SYS_ADMIN"],
        &["CAP_BPF", "CAP_SYSLOG"],
        &["CAP_PERFMON", "CAP_SYS_ADMIN"],
    ];
    for capabilities in table {
        for architecture in ["amd64", "arm64", "s390x", "ppc64le", "riscv64"] {
            let mut plain = std::collections::BTreeMap::new();
            let mut conditional = BTreeSet::new();
            for rule in default_for(capabilities, architecture).syscalls().iter().flatten() {
                for name in rule.names() {
                    if rule.args().is_some() {
                        conditional.insert(name.clone());
                        continue;
                    }
                    let answer = (rule.action(), rule.errno_ret());
                    assert_eq!(*plain.entry(name.clone()).or_insert(answer), answer, "{name} with {capabilities:?}");
                }
            }
            let both: Vec<_> = conditional.iter().filter(|name| plain.contains_key(*name)).collect();
            assert!(both.is_empty(), "{both:?}");
        }
    }
}

#[test]
fn every_name_of_the_default_profile_is_known() {
    let all = caps(&crate::model::flags::capability::NAMES);
    let here = Circumstances { capabilities: &all, kernel: (6, 1), architecture: "amd64" };
    let unknown = compile(&resolve(DEFAULT, &here).unwrap()).unwrap().unknown;
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn profiles_of_users() {
    let none = caps(&[]);
    let here = Circumstances { capabilities: &none, kernel: (5, 10), architecture: "amd64" };
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[
        {"names":["mkdir","no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":13},
        {"name":"rmdir","action":"SCMP_ACT_ERRNO","includes":{"minKernel":"5.10"}},
        {"name":"chmod","action":"SCMP_ACT_ERRNO","includes":{"minKernel":"5.11"}},
        {"name":"chown","action":"SCMP_ACT_ERRNO","excludes":{"minKernel":"5.10"}},
        {"name":"link","action":"SCMP_ACT_ERRNO","includes":{"arches":["arm64"]}},
        {"name":"symlink","action":"SCMP_ACT_ERRNO","includes":{"caps":["CAP_CHOWN"]}}]}"#;
    let compiled = compile(&resolve(profile, &here).unwrap()).unwrap();
    assert_eq!(compiled.unknown, ["no_such_call"]);
    let program = bpf::Program::new(&compiled.program);
    let table = [(83, Some(-13)), (84, Some(EPERM)), (90, None), (92, None), (86, None), (88, None), (999, None)];
    for (number, expected) in table {
        assert_eq!(program.answer(X86_64, number, [0; 6]), expected, "{number}");
    }
    assert_eq!(program.answer(I386, 3, [0; 6]), Some(ENOSYS));
}

#[test]
fn bad_profiles_are_refused() {
    let none = caps(&[]);
    let here = Circumstances { capabilities: &none, kernel: (6, 1), architecture: "amd64" };
    for bad in [
        "",
        "{}",
        "[1]",
        r#"{"defaultAction":"SCMP_ACT_NONSENSE"}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"x"}}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}"#,
        &format!("{}{}", " ".repeat(1 << 20), DEFAULT),
    ] {
        assert!(matches!(resolve(bad, &here), Err(SpecError::Profile(_))), "{:.80}", bad.trim());
    }
}

#[test]
fn keys_tell_profiles_apart() {
    let plain = default_for(&[], "amd64");
    let key = cache_key(&plain, "compiler 1");
    assert_eq!(key.len(), 64);
    assert_eq!(key, cache_key(&default_for(&[], "amd64"), "compiler 1"));
    for other in [
        cache_key(&plain, "compiler 2"),
        cache_key(&default_for(&["CAP_SYS_ADMIN"], "amd64"), "compiler 1"),
        cache_key(&default_for(&[], "arm64"), "compiler 1"),
    ] {
        assert_ne!(key, other);
    }
}
