//! Whatever is typed: no parser panics, and nothing accepted holds what a file, an
//! environment or a system call would read as an end.

use std::path::Path;

use proptest::prelude::*;

use crate::model::container::{MountSource, Security};
use crate::model::flags::*;

/// Text near the grammars, with a little of everything else.
fn near() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("/a".to_owned()),
        Just("..".to_owned()),
        Just("/proc".to_owned()),
        Just("type=bind".to_owned()),
        Just("dst=/b".to_owned()),
        Just("size=".to_owned()),
        Just("net.ipv4.x".to_owned()),
        Just("nofile".to_owned()),
        "[a-z0-9:=,./+-]{1,4}",
        "[\\x00-\\x20\u{e9}*%~@]",
    ];
    proptest::collection::vec(word, 0..8).prop_map(|words| words.concat())
}

fn clean(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

proptest! {
    #[test]
    fn mounts_are_clean(text in near()) {
        let cwd = Path::new("/home/u");
        let all = [volume::parse(&text, cwd), crate::model::flags::mount::parse(&text, cwd), tmpfs::parse(&text)];
        for mount in all.into_iter().flatten() {
            prop_assert!(mount.target.starts_with('/') && clean(&mount.target));
            // A name may begin with two dots; the name `..` may not be there.
            prop_assert!(!mount.target.split('/').any(|name| name == ".."));
            prop_assert!(!target::is_reserved(&mount.target));
            prop_assert!(mount.options.iter().all(|option| clean(option) && !option.contains(',')));
            if let MountSource::Bind { path, .. } = &mount.source {
                prop_assert!(path.starts_with('/') && clean(path));
            }
        }
    }

    #[test]
    fn words_are_clean(text in near()) {
        let mut security = Security::default();
        let _ = security::apply(&mut security, &text, |_| Ok(String::new()));
        prop_assert!(security.mask.iter().chain(&security.unmask).all(|path| clean(path)));
        if let Ok((name, value)) = sysctl::parse(&text) {
            prop_assert!(!value.contains(['\n', '+', '=', '/']) && clean(&name));
        }
        if let Ok((name, address)) = names::add_host(&text) {
            prop_assert!(clean(&name) && !name.contains(' ') && clean(&address));
        }
        if let Ok(device) = device::parse(&text) {
            prop_assert!(clean(&device.host) && clean(&device.container));
        }
        if let Ok(Some((name, value))) = env::parse(&text, |_| None) {
            prop_assert!(clean(&name) && !value.contains('\0'));
        }
        let _ = (size::parse("--x", &text), limits::cpus(&text), limits::pids(&text), ulimit::parse(&text));
        let _ = (signal::number(&text), userns::parse(&text), capability::parse("--x", &text));
        let _ = env::parse_file(&text, |_| None);
    }

    #[test]
    fn digits_are_never_names(number in any::<u64>()) {
        let parsed = account::parse_user(&number.to_string());
        match u32::try_from(number) {
            Ok(id) if id != u32::MAX => {
                prop_assert_eq!(parsed, Ok(account::UserSpec { user: account::Account::Id(id), group: None }));
            }
            _ => prop_assert!(parsed.is_err()),
        }
    }

    #[test]
    fn sizes_are_read_back(bytes in 0..i64::MAX as u64) {
        prop_assert_eq!(size::parse("--x", &bytes.to_string()), Ok(bytes));
    }
}
