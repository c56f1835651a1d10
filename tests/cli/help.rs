//! Help: part of the product, so part of the tests.

use crate::harness::{TestEnvironment, assert_shows};

/// Verb by verb, in the order of the first page.
const VERBS: &[&str] = &[
    "run",
    "create",
    "start",
    "stop",
    "restart",
    "kill",
    "pause",
    "unpause",
    "wait",
    "attach",
    "exec",
    "logs",
    "cp",
    "diff",
    "commit",
    "export",
    "build",
    "pull",
    "push",
    "login",
    "logout",
    "images",
    "rmi",
    "import",
    "load",
    "save",
    "tag",
    "history",
    "inspect",
    "ps",
    "rm",
    "rename",
    "update",
    "port",
    "top",
    "stats",
    "events",
    "check",
    "builder",
    "volume",
    "manifest",
    "quadlet",
    "generate",
    "image",
    "container",
    "system",
    "info",
    "version",
];

#[test]
fn the_first_page() {
    let page = "\
Run containers as yourself: no daemon, no root

Usage: pybox [OPTIONS] COMMAND

Commands:
  run        Run a command in a new container
  create     Make a container without starting it
  start      Start containers that have been created, or have ended
  stop       Stop containers: a signal, and SIGKILL when that does not help
  restart    Stop containers and start them again
  kill       Send a signal to containers, SIGKILL by default
  pause      Freeze all processes of containers
  unpause    Let paused containers go on
  wait       Wait until containers have ended, and print their exit codes
  attach     Connect the terminal to a running container
  exec       Run a command in a running container
  logs       Show what a container has written
  cp         Copy files between a container and the host
  diff       Show what a container has changed of its image
  commit     Make an image of a container
  export     Write a container's files to an archive
  build      Make an image as a boxfile.toml or Dockerfile says
  pull       Download an image from a registry
  push       Send an image to a registry
  login      Log in to a registry
  logout     Forget a login at a registry
  images     List images
  rmi        Remove images
  import     Make an image of a root file system
  load       Load images from an archive
  save       Save images to an archive
  tag        Give an image another name
  history    Show how an image was made
  inspect    Show all that is known of containers and images
  ps         List containers
  rm         Remove containers
  rename     Give a container another name
  update     Change settings of containers, running or not
  port       Show which ports of a container are published
  top        Show the processes of a container
  stats      Show what containers use, second by second
  events     Show what happens to containers, images and volumes
  check      See whether everything that is kept is whole
  builder    Remove what builds have kept
  volume     Make and remove volumes
  network    Make and remove networks of many containers
  manifest   Make and push lists of images for several platforms
  quadlet    See what becomes of Quadlet files, and what is wrong with them
  generate   Write units for containers that are there
  image      Remove unused images; and verbs about images by docker's grouped names
  container  Remove stopped containers; and verbs about containers by docker's grouped names
  system     Show what the disk holds, and remove what is not in use
  info       Show what this host can do for containers
  version    Show the version

Options:
  -v, --version  Print the version and exit
  -h, --help     Print help

Global options:
      --root <DIR>             Keep everything below DIR [env: PYBOX_ROOT]
      --storage-driver <NAME>  Who makes root file systems: overlay, hybrid or fuse [env:
                               PYBOX_STORAGE_DRIVER]
      --cgroup-driver <NAME>   Who makes cgroups: scope (systemd), delegated, direct (root) or none
                               [env: PYBOX_CGROUP_DRIVER]
  -D, --debug                  Say how things are done, on standard error
      --log-level <LEVEL>      How much to say: off, error, warn, info, debug or trace [env:
                               PYBOX_LOG_LEVEL]

Help on a command: pybox COMMAND --help
Words for the Tab key: pybox --install-completion bash|zsh|fish

Examples:
  pybox run --rm -it debian:12 bash
  pybox run --rm --image alpine -- cat /etc/os-release
  pybox images
";
    assert_shows(&TestEnvironment::new(), &[("--help", page), ("-h", page), ("", page), ("help", page)]);
}

#[test]
fn every_verb_explains_itself_in_a_page() {
    let environment = TestEnvironment::new();
    for verb in VERBS.iter().copied() {
        let shown = environment.show(&[verb, "--help"]);
        assert!(shown.contains(&format!("\nUsage: pybox {verb} ")), "{shown}");
        assert!(!shown.contains("\n! ") && !shown.contains("\nexit "), "{verb}: {shown}");
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{verb}: {shown}");
        let lines = shown.lines().count();
        // What holds limits has a section for them.
        let most = match verb {
            "run" | "create" => 120,
            "build" => 70,
            _ => 45,
        };
        assert!(lines < most, "{verb}: {lines} lines");
        // Each flag says what it is for.
        for flag in shown.lines().filter(|line| line.trim_start().starts_with("--")) {
            let words = flag.split("  ").filter(|part| !part.trim().is_empty()).count();
            assert!(words > 1, "{verb}: {flag}");
        }
    }
}

#[test]
fn a_tag_in_full() {
    let page = "\
Give an image another name

Usage: pybox tag [OPTIONS] <IMAGE> <NAME[:TAG]>

Arguments:
  <IMAGE>       The image: a name, or an id or its beginning
  <NAME[:TAG]>  The new name

Options:
  -h, --help  Print help

Global options:
      --root <DIR>             Keep everything below DIR [env: PYBOX_ROOT]
      --storage-driver <NAME>  Who makes root file systems: overlay, hybrid or fuse [env:
                               PYBOX_STORAGE_DRIVER]
      --cgroup-driver <NAME>   Who makes cgroups: scope (systemd), delegated, direct (root) or none
                               [env: PYBOX_CGROUP_DRIVER]
  -D, --debug                  Say how things are done, on standard error
      --log-level <LEVEL>      How much to say: off, error, warn, info, debug or trace [env:
                               PYBOX_LOG_LEVEL]
";
    assert_shows(
        &TestEnvironment::new(),
        &[("tag --help", page), ("image tag --help", &page.replace("box tag", "box image tag"))],
    );
}
