//! Lists of a store that has nothing, and things that are not there.

use crate::harness::{TestEnvironment, assert_shows};

#[test]
fn an_empty_store_has_empty_lists() {
    let environment = TestEnvironment::new();
    let images = "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n";
    let containers = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n";
    assert_shows(
        &environment,
        &[
            ("images", images),
            ("image ls", images),
            ("images --format table", images),
            ("images --digests", "REPOSITORY   TAG       DIGEST    IMAGE ID   CREATED   SIZE\n"),
            ("images --format json", ""),
            ("images --format {{.ID}}", ""),
            ("images --quiet", ""),
            ("images debian", images),
            ("images --filter dangling=true", images),
            ("ps", containers),
            ("ps --all", containers),
            ("container ls -a", containers),
            ("ps --all --format json", ""),
            ("ps -aq", ""),
            ("ps -n 3 --no-trunc", containers),
            ("ps -a --filter status=exited --filter label=x", containers),
        ],
    );
    let template = ["ps", "--format", "table {{.Names}}\\t{{.Label \"x\"}}\\t{{lower .Status}}"];
    assert_eq!(environment.show(&template), "NAMES               STATUS\n");
    assert!(!environment.path().join("root").exists(), "looking makes no store");
}

#[test]
fn what_is_not_there_is_named() {
    let environment = TestEnvironment::new();
    assert_shows(
        &environment,
        &[
            ("rmi none", "! pybox: no such image: none\n! hint: pybox images\nexit 1\n"),
            (
                "rmi a b",
                "! pybox: no such image: a\n! hint: pybox images\n! pybox: no such image: b\n! hint: pybox images\nexit 1\n",
            ),
            ("rmi --force none", "! pybox: no such image: none\n"),
            ("rm none", "! pybox: no such container: none\n! hint: pybox ps --all\nexit 1\n"),
            ("rm -f none", "! pybox: no such container: none\n"),
            ("tag none new", "! pybox: no such image: none\n! hint: pybox images\nexit 1\n"),
            (
                "inspect none",
                "[]\n! pybox: no such container or image: none\n! hint: pybox ps --all, or pybox images\nexit 1\n",
            ),
            ("inspect --type image none", "[]\n! pybox: no such image: none\n! hint: pybox images\nexit 1\n"),
            ("image inspect none", "[]\n! pybox: no such image: none\n! hint: pybox images\nexit 1\n"),
            ("container inspect none", "[]\n! pybox: no such container: none\n! hint: pybox ps --all\nexit 1\n"),
            (
                "inspect --format {{.Id}} none",
                "! pybox: no such container or image: none\n! hint: pybox ps --all, or pybox images\nexit 1\n",
            ),
            (
                "load --input none.tar",
                "! pybox: open $DIR/none.tar: No such file or directory\n! hint: ls -l $DIR/none.tar\nexit 1\n",
            ),
        ],
    );
}

#[test]
fn an_image_that_may_not_be_pulled_is_not_there() {
    let environment = TestEnvironment::new();
    let shown = environment.show(&["run", "--pull", "never", "debian:12"]);
    assert!(shown.starts_with("! pybox: no such image: "), "{shown}");
    assert!(shown.ends_with("exit 125\n"), "{shown}");
}
