//! Users and groups, as an image's files and the numbers rule name them.

use super::*;
use crate::spec::fixtures;

const PASSWD: &str = "\
# comment
root:x:0:0:root:/root:/bin/sh
web:x:33:33::/var/www:/bin/false
twice:x:33:44::/other:/bin/false
1000:x:0:0::/evil:/bin/sh
99999999999:x:0:0::/evil:/bin/sh
nohome:x:70:70
odd:x:71:71::relative:/bin/sh
huge:x:4294967296:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
+nis::::::
high:x:2147483648:5::/high:/bin/sh
";

const GROUP: &str = "\
root:x:0:
bin:x:1:root, daemon
www:x:33:
extra:x:50:web,root
other:x:51:webx,xweb
high:x:70000:web
";

fn answer(spec: &str) -> Result<(u32, u32, Vec<u32>, String), SpecError> {
    let files = AccountFiles { passwd: PASSWD, group: GROUP };
    resolve(spec, files, &[]).map(|user| (user.uid, user.gid, user.groups, user.home))
}

#[test]
fn specs_as_docker_answers_them() {
    let table: [(&str, u32, u32, &[u32], &str); 15] = [
        ("", 0, 0, &[0, 1, 50], "/root"),
        ("root", 0, 0, &[0, 1, 50], "/root"),
        ("0", 0, 0, &[0, 1, 50], "/root"),
        ("web", 33, 33, &[33, 50, 70000], "/var/www"),
        ("33", 33, 33, &[33, 50, 70000], "/var/www"),
        ("033", 33, 33, &[33, 50, 70000], "/var/www"),
        ("twice", 33, 44, &[44], "/other"),
        ("web:bin", 33, 1, &[1], "/var/www"),
        ("web:7", 33, 7, &[7], "/var/www"),
        ("web:0", 33, 0, &[0], "/var/www"),
        // A number is a number: not the account of that name, which is root.
        ("1000", 1000, 0, &[0], "/"),
        ("1000:1000", 1000, 1000, &[1000], "/"),
        ("2147483648", 2_147_483_648, 5, &[5], "/high"),
        ("4294967294", 4_294_967_294, 0, &[0], "/"),
        ("odd", 71, 71, &[71], "/"),
    ];
    for (spec, uid, gid, groups, home) in table {
        assert_eq!(answer(spec), Ok((uid, gid, groups.to_vec(), home.to_owned())), "{spec:?}");
    }
}

#[test]
fn specs_that_are_refused() {
    for spec in ["4294967295", "4294967296", "99999999999", "-1", ":", "web:", ":web", "a b", "web:4294967296"] {
        assert!(matches!(answer(spec), Err(SpecError::Flag(_))), "{spec:?}");
    }
    for (spec, name) in [("nobody", "nobody"), ("huge", "huge"), ("minus", "minus")] {
        assert_eq!(answer(spec), Err(SpecError::UnknownUser(name.into())));
    }
    assert_eq!(answer("web:none"), Err(SpecError::UnknownGroup("none".into())));
    // Without files there are numbers only, and root.
    let none = AccountFiles::default();
    assert_eq!(resolve("", none, &[]).map(|user| (user.uid, user.home)), Ok((0, "/".into())));
    assert!(resolve("root", none, &[]).is_err());
}

#[test]
fn added_groups() {
    let files = AccountFiles { passwd: PASSWD, group: GROUP };
    let user = resolve("web", files, &["bin".into(), "99".into(), "99".into(), "extra".into()]).unwrap();
    assert_eq!(user.asked_groups, [1, 99, 50]);
    let (groups, warning) = user.groups_on(&fixtures::host()).unwrap();
    assert_eq!(groups, [33, 50, 1, 99]);
    assert_eq!(
        warning.as_deref(),
        Some("groups [70000] of the image are not mapped in the user namespace and left out")
    );
    assert!(resolve("web", files, &["none".into()]).is_err());
}

#[test]
fn ids_have_to_be_mapped() {
    let host = fixtures::host();
    for (spec, what, id) in [("65537", "user id", 65537), ("1:65537", "group id", 65537)] {
        let user = resolve(spec, AccountFiles::default(), &[]).unwrap();
        let error = user.groups_on(&host).unwrap_err();
        assert_eq!(error, SpecError::Unmapped { what, id, highest: 65536 });
        assert!(error.hint().unwrap().contains("sudoedit /etc/subuid"));
    }
    let user = resolve("1", AccountFiles::default(), &["70000".into()]).unwrap();
    assert!(matches!(user.groups_on(&host), Err(SpecError::Unmapped { id: 70000, .. })));
    let rootful = HostFacts { user_namespace: false, id_map: IdMap::default(), ..host };
    assert_eq!(user.groups_on(&rootful).map(|(groups, _)| groups), Ok(vec![0, 70000]));
}

#[test]
fn with_a_single_id_everybody_is_pretended() {
    let id_map = IdMap::of_one(1001, 1001);
    let host = HostFacts { id_map, ..fixtures::host() };
    let files = AccountFiles { passwd: PASSWD, group: GROUP };
    for (name, group_add) in [("", vec![]), ("web", vec![]), ("123456", vec!["70000".to_owned()])] {
        let user = resolve(name, files, &group_add).unwrap();
        let everywhere = HostFacts { user_namespace: false, ..host.clone() };
        assert_eq!(user.groups_on(&host), user.groups_on(&everywhere), "{name}");
    }
}

#[test]
fn files_have_limits() {
    let limits = [
        ("x".repeat((1 << 20) + 1), "it is larger than 1 MiB"),
        ("\n".repeat((64 << 10) + 1), "it has more than 65536 lines"),
        (format!("g:x:1:{}\n", "m,".repeat(3000)), "a line is longer than 4 KiB"),
    ];
    for (text, reason) in &limits {
        let passwd = AccountFiles { passwd: text, group: "" };
        let group = AccountFiles { passwd: "", group: text };
        assert_eq!(resolve("0", passwd, &[]), Err(SpecError::AccountFile { file: "/etc/passwd", reason }));
        assert_eq!(resolve("0", group, &[]), Err(SpecError::AccountFile { file: "/etc/group", reason }));
    }
}

#[test]
fn the_request_goes_before_the_image() {
    let image = fixtures::image(r#"{"User":"web"}"#);
    let mut request = ContainerRequest::default();
    assert_eq!(wanted(&request, &image), "web");
    request.user = Some("0".into());
    assert_eq!(wanted(&request, &image), "0");
    assert_eq!(wanted(&ContainerRequest::default(), &fixtures::image("{}")), "");
}
