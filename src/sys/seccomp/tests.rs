//! What compiles and what does not.

use super::*;

fn filter(rest: &str) -> LinuxSeccomp {
    serde_json::from_str(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,{rest}}}"#)).unwrap()
}

fn rule(rest: &str) -> LinuxSeccomp {
    filter(&format!(r#""syscalls":[{{"names":["openat"],{rest}}}]"#))
}

#[test]
fn programs_are_whole_instructions() {
    let compiled = compile(&rule(r#""action":"SCMP_ACT_ALLOW""#)).unwrap();
    assert!(compiled.program.len() > 5 * 8 && compiled.program.len().is_multiple_of(8));
    assert!(compiled.unknown.is_empty());
}

#[test]
fn rules_that_say_nothing_are_left_out() {
    let bare = compile(&filter(r#""syscalls":[]"#)).unwrap().program;
    let same = compile(&rule(r#""action":"SCMP_ACT_ERRNO","errnoRet":38"#)).unwrap().program;
    assert_eq!(bare, same);
    assert_ne!(bare, compile(&rule(r#""action":"SCMP_ACT_ERRNO","errnoRet":1"#)).unwrap().program);
}

#[test]
fn unknown_names_are_told_once() {
    let names = filter(r#""syscalls":[{"names":["zzz","aaa","zzz","read"],"action":"SCMP_ACT_ALLOW"}]"#);
    assert_eq!(compile(&names).unwrap().unknown, ["aaa", "zzz"]);
}

#[test]
fn what_cannot_be_expressed_is_refused() {
    for bad in [
        rule(r#""action":"SCMP_ACT_NOTIFY""#),
        rule(r#""action":"SCMP_ACT_ERRNO","errnoRet":70000"#),
        rule(r#""action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]"#),
    ] {
        assert!(matches!(compile(&bad), Err(SeccompError::Unsupported(_))));
    }
}

#[test]
fn a_filter_for_another_architecture_compiles() {
    let foreign = filter(
        r#""architectures":["SCMP_ARCH_AARCH64","SCMP_ARCH_ARM"],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]"#,
    );
    assert!(compile(&foreign).unwrap().program.len().is_multiple_of(8));
}

#[test]
fn the_compiler_has_a_version() {
    assert!(compiler().starts_with("libseccomp 2."), "{}", compiler());
}

#[test]
fn the_kernel_is_asked() {
    let compiled = compile(&filter(
        r#""syscalls":[{"names":["write","exit_group"],"action":"SCMP_ACT_ALLOW"},
        {"names":["getpid"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]"#,
    ))
    .unwrap();
    let calls = [(libc::SYS_getpid, [0; 6]), (libc::SYS_getuid, [0; 6])];
    assert_eq!(kernel::answers(&compiled.program, &calls), [-13, -38]);
    assert_eq!(kernel::answers(&[0; 8], &calls), Vec::<i64>::new());
}
