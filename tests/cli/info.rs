//! `info` and `version`.

use serde_json::Value;

use crate::harness::{TestEnvironment, assert_shows};

#[test]
fn version_in_every_form() {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    assert_shows(
        &TestEnvironment::new(),
        &[
            ("version", &format!("Version:  0.1.0\nOS/Arch:  linux/{arch}\n")),
            ("-v", "pybox version 0.1.0\n"),
            ("--version", "pybox version 0.1.0\n"),
            ("version --format {{.Version}}", "0.1.0\n"),
            ("version -f {{.Server.Version}}/{{.Client.Os}}", "0.1.0/linux\n"),
            (
                "version --format {{.Nope}}",
                "! pybox: --format: invalid template: there is no field .Nope; the fields are .Arch .Client .Os .Server \
                 .Version\nexit 1\n",
            ),
        ],
    );
}

#[test]
fn info_answers_without_a_store_and_makes_none() {
    let environment = TestEnvironment::new();
    let shown = environment.show(&["info", "--format", "json"]);
    let info: Value = serde_json::from_str(&shown).expect("one JSON object");
    assert_eq!(info.get("ServerVersion"), Some(&Value::from("0.1.0")));
    assert_eq!(info.get("Containers"), Some(&Value::from(0)));
    assert_eq!(info.get("Images"), Some(&Value::from(0)));
    assert_eq!(info.get("OSType"), Some(&Value::from("linux")));
    let drivers = info.get("Drivers").and_then(Value::as_array).expect("a table");
    for name in ["kernel", "user namespaces", "overlay", "seccomp", "cgroups", "network none", "root directory"] {
        let row = drivers.iter().find(|driver| driver.get("Name") == Some(&Value::from(name)));
        let state = row.and_then(|row| row.get("State")).expect(name);
        assert!(state.get("Ready").is_some() || state.pointer("/Unfit/Why").is_some(), "{name}: {state}");
    }
    let text = environment.show(&["info"]);
    assert!(text.contains("\nRoot directory: $DIR/root\n") && text.contains("\nDrivers:\n  kernel "), "{text}");
    assert!(!environment.path().join("root").exists(), "looking makes no store");
}
