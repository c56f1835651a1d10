//! Variables, directories and users that are not as one hopes.

use crate::harness::{TestEnvironment, assert_shows};

/// An id that no user has.
const NOBODY_AT_ALL: u32 = 4_123_456;

const SHOW_ROOT: &str = "info --format {{.PyboxRootDir}}";

#[test]
fn the_root_is_where_the_options_and_variables_say() {
    assert_shows(&TestEnvironment::new(), &[(SHOW_ROOT, "$DIR/root\n")]);
    assert_shows(&TestEnvironment::new(), &[("--root other info --format {{.PyboxRootDir}}", "$DIR/other\n")]);
    assert_shows(&TestEnvironment::new(), &[("info --format {{.PyboxRootDir}} --root /other", "/other\n")]);
}

#[test]
fn a_user_has_a_root_below_home_or_xdg() {
    let users = |environment: TestEnvironment| environment.without("PYBOX_ROOT").run_as(NOBODY_AT_ALL);
    let Some(environment) = users(TestEnvironment::new().with("HOME", "/h")) else {
        return println!("skipped: only root can become another user");
    };
    assert_shows(&environment, &[(SHOW_ROOT, "/h/.local/share/pybox\n")]);
    for (variable, value, root) in [
        ("XDG_DATA_HOME", "/data", "/data/pybox"),
        ("XDG_DATA_HOME", "data", "/h/.local/share/pybox"),
        ("XDG_DATA_HOME", "", "/h/.local/share/pybox"),
        ("PYBOX_ROOT", "/r", "/r"),
        ("PYBOX_ROOT", "", "/h/.local/share/pybox"),
    ] {
        let environment = TestEnvironment::new().without("PYBOX_ROOT").with("HOME", "/h").with(variable, value);
        let environment = environment.run_as(NOBODY_AT_ALL).expect("we are root");
        assert_shows(&environment, &[(SHOW_ROOT, &format!("{root}\n"))]);
    }
}

#[test]
fn no_home_is_a_sentence() {
    let environment = TestEnvironment::new().without("HOME").without("PYBOX_ROOT").run_as(NOBODY_AT_ALL);
    let Some(environment) = environment else { return println!("skipped: only root can become another user") };
    let no_home = "! pybox: user 4123456 has no home directory to keep images in\n\
                   ! hint: export PYBOX_ROOT=/path/to/keep/them/in\n";
    assert_shows(
        &environment,
        &[("images", &format!("{no_home}exit 1\n")), ("run x", &format!("{no_home}exit 125\n"))],
    );
}

#[test]
fn a_root_that_cannot_be() {
    let environment = TestEnvironment::new().with("PYBOX_ROOT", "box");
    let relative = "! pybox: PYBOX_ROOT is box, which is no absolute path\n! hint: export PYBOX_ROOT=$DIR/box\n";
    assert_shows(&environment, &[("ps", &format!("{relative}exit 1\n")), ("run x", &format!("{relative}exit 125\n"))]);

    let environment = TestEnvironment::new().with("PYBOX_ROOT", "$DIR/file/root");
    environment.file("file", "");
    let shown = environment.show(&["tag", "a", "b"]);
    assert!(shown.starts_with("! pybox: "), "{shown}");
    assert!(shown.contains("$DIR/file") && shown.contains("Not a directory"), "{shown}");
    assert!(shown.ends_with("exit 1\n"), "{shown}");
}

#[test]
fn a_root_that_cannot_be_written() {
    let environment = TestEnvironment::new().run_as(NOBODY_AT_ALL);
    let Some(environment) = environment else { return println!("skipped: only root can become another user") };
    // The directory of the test belongs to root, and to nobody else.
    let shown = environment.show(&["run", "--pull", "never", "x"]);
    assert!(shown.starts_with("! pybox: ") && shown.contains("Permission denied"), "{shown}");
    assert!(shown.ends_with("exit 125\n"), "{shown}");
    assert!(!environment.path().join("root").exists());
}

#[test]
fn levels_come_from_the_environment_too() {
    let loud = "! pybox: invalid value \"loud\" for PYBOX_LOG_LEVEL: expected one of off, error, warn, info, debug, trace\n\
                ! hint: pybox --help\nexit 125\n";
    assert_shows(&TestEnvironment::new().with("PYBOX_LOG_LEVEL", "loud"), &[("version", loud)]);
    for level in ["off", "WARN", "debug", ""] {
        let environment = TestEnvironment::new().with("PYBOX_LOG_LEVEL", level);
        assert_shows(&environment, &[("--version", "pybox version 0.1.0\n")]);
    }
}

#[test]
fn a_user_without_an_account_has_one_id_and_can_work() {
    let environment = TestEnvironment::new();
    // A store that the user can make, and a directory to read.
    let root = environment.path().join("root");
    std::fs::create_dir(&root).expect("a root");
    let rootfs = environment.path().join("home");
    let public = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(environment.path(), public).expect("a mode");
    let Some(environment) = environment.run_as(NOBODY_AT_ALL) else {
        return println!("skipped: only root can become another user");
    };
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&root, private).expect("a mode");
    std::os::unix::fs::chown(&root, Some(NOBODY_AT_ALL), Some(NOBODY_AT_ALL)).expect("an owner");
    let shown = environment.show(&["import", &rootfs.display().to_string(), "x"]);
    assert!(shown.starts_with("sha256:") && !shown.contains("exit"), "{shown}");
    // A line in /etc/subuid would not help it: newuidmap "cannot determine your user name".
    let shown = environment.show(&["info"]);
    let sentence =
        "user id 4123456 has no account here, and newuidmap maps ids for accounts only; containers have one id";
    assert!(shown.contains(sentence) && shown.contains("hint: sudo useradd --uid 4123456 "), "{shown}");
}
