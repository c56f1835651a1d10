//! Logins at a real registry that asks for one, over TLS and on loopback without.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::fixture::registry::{self, Own};
use crate::fixture::tool;
use crate::harness::{Live, Run};
use crate::person::Person;

const SECRET: &str = "s3cret";

/// A registry that asks for a login; over TLS, with an authority that the test user trusts for it.
fn guarded(live: &Live, over_tls: bool) -> String {
    let directory = live.dir.join("registry");
    std::fs::create_dir_all(&directory).expect("a directory");
    let tls = over_tls.then(|| certificate(&directory));
    let address = registry::own(&directory, &Own { login: true, tls: tls.clone() }).expect("a registry");
    if let Some((certificate, _)) = tls {
        let trusted = live.directory("home/.config/containers/certs.d");
        let host = trusted.join(&address);
        std::fs::create_dir(&host).expect("a directory");
        std::fs::copy(certificate, host.join("ca.crt")).expect("copy a certificate");
        for path in
            [live.dir.join("home/.config"), live.dir.join("home/.config/containers"), host.clone(), host.join("ca.crt")]
        {
            live.user.owns(&path, 0o755).expect("give it to the test user");
        }
    }
    address
}

/// A certificate for 127.0.0.1 and its key.
fn certificate(directory: &std::path::Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).expect("write a certificate");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("write a key");
    (certificate, key)
}

fn login(live: &Live, registry: &str, password: &str) -> Run {
    live.pybox(["login", "-u", "ann", "--password-stdin", registry]).stdin(format!("{password}\n"))
}

/// The file that keeps logins.
fn kept(live: &Live) -> PathBuf {
    live.dir.join("home/.config/containers/auth.json")
}

#[test]
fn a_login_lets_images_in_and_out() {
    let Some(live) = Live::new() else { return };
    let (image, registry) = (live.image("busybox"), guarded(&live, true));
    let there = format!("{registry}/private/app:1");
    live.pybox(["pull", &image]).ok();
    live.pybox(["push", &image, &there])
        .run()
        .refuses(1, "asks for a user name")
        .says(&format!("pybox login {registry}"));

    login(&live, &registry, "wrong").run().refuses(1, "does not take this user name and password");
    assert!(!kept(&live).exists(), "a login that is wrong is not kept");
    live.pybox(["login", "--get-login", &registry]).run().refuses(1, "there is no login");

    let said = login(&live, &registry, SECRET).ok();
    assert_eq!(said, format!("logged in to {registry} as ann; kept in {}", kept(&live).display()));
    assert_eq!(std::fs::metadata(kept(&live)).expect("the file").permissions().mode() & 0o777, 0o600);
    assert_eq!(live.pybox(["login", "--get-login", &registry]).ok(), "ann");
    live.pybox(["push", &image, &there]).ok();
    live.pybox(["rmi", &image]).ok();
    live.pybox(["pull", &there]).ok();
    assert_eq!(live.pybox(["run", "--rm", &there, "echo", "in"]).ok(), "in");
    // Others read the same file, and the same image.
    let file = kept(&live).display().to_string();
    let certificates = live.dir.join("registry-certs");
    std::fs::create_dir(&certificates).expect("a directory");
    std::fs::copy(live.dir.join("registry/tls.crt"), certificates.join("ca.crt")).expect("copy");
    let source = format!("docker://{there}");
    let judged =
        ["inspect", "--authfile", &file, "--cert-dir", &certificates.to_string_lossy(), &source].map(str::to_owned);
    let judged = tool("skopeo", &judged.iter().map(String::as_str).collect::<Vec<_>>()).expect("skopeo inspect");
    assert!(judged.contains("private/app"), "{judged}");

    // A wrong one changes nothing.
    login(&live, &registry, "wrong").run().exits(1);
    assert_eq!(live.pybox(["login", "--get-login", &registry]).ok(), "ann");
    let gone = live.pybox(["logout", &registry]).ok();
    assert_eq!(gone, format!("logged out of {registry}; removed from {file}"));
    assert_eq!(live.pybox(["logout", &registry]).ok(), format!("there was no login for {registry}"));
    live.pybox(["pull", &there]).run().refuses(1, "asks for a user name");
    assert!(!std::fs::read_to_string(kept(&live)).expect("the file").contains("auth\""));
}

#[test]
fn a_certificate_that_nobody_knows_is_named() {
    let Some(live) = Live::new() else { return };
    let registry = guarded(&live, true);
    std::fs::write(live.dir.join("home/.config/containers/certs.d").join(&registry).join("ca.crt"), {
        let directory = live.dir.join("other");
        std::fs::create_dir(&directory).expect("a directory");
        std::fs::read(certificate(&directory).0).expect("another certificate")
    })
    .expect("write");
    login(&live, &registry, SECRET).run().refuses(1, "certificate").says("ca.crt");
    assert!(!kept(&live).exists());
}

#[test]
fn a_helper_keeps_what_it_is_given() {
    let Some(live) = Live::new() else { return };
    let (image, registry) = (live.image("busybox"), guarded(&live, false));
    let bin = live.directory("bin");
    let script = format!(
        "#!/bin/sh\nkept={}\ncase $1 in\nstore) cat > $kept ;;\nerase) rm $kept ;;\n\
         get) test -f $kept && cat $kept || {{ echo credentials not found in native keychain; exit 1; }} ;;\nesac\n",
        bin.join("kept").display()
    );
    let helper = live.file("bin/docker-credential-test", script);
    live.user.owns(&helper, 0o755).expect("make it executable");
    live.directory("home/.docker");
    live.file("home/.docker/config.json", r#"{"credsStore":"test"}"#);
    let path = format!("{}:/usr/bin:/bin", bin.display());
    login(&live, &registry, "wrong").env("PATH", &path).run().exits(1);
    assert!(!bin.join("kept").exists());
    let said = login(&live, &registry, SECRET).env("PATH", &path).ok();
    assert!(said.ends_with("kept in docker-credential-test"), "{said}");
    let given = std::fs::read_to_string(bin.join("kept")).expect("what the helper was given");
    assert_eq!(given, format!(r#"{{"Secret":"{SECRET}","ServerURL":"{registry}","Username":"ann"}}"#));
    assert!(!kept(&live).exists());
    assert_eq!(live.pybox(["login", "--get-login", &registry]).env("PATH", &path).ok(), "ann");
    live.pybox(["pull", &image]).ok();
    live.pybox(["push", &image, &format!("{registry}/x:1")]).env("PATH", &path).ok();
    live.pybox(["logout", &registry]).env("PATH", &path).ok();
    assert!(!bin.join("kept").exists());
    // Without it nothing is written down instead.
    login(&live, &registry, SECRET).run().refuses(1, "docker-credential-test");
    assert!(!kept(&live).exists());
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let Some(live) = Live::new() else { return };
    let registry = guarded(&live, false);
    let mut person = Person::runs(&live, &["login", &registry]);
    person.sees(&format!("user name at {registry}: "));
    person.types("amy\u{7f}\u{7f}nn\r");
    person.sees(&format!("password of ann at {registry}: "));
    person.types("s3cretx\u{7f}\r");
    let shown = person.sees("kept in");
    assert!(!shown.contains("s3"), "{shown:?}");
    assert_eq!(person.waits(), 0);
    assert_eq!(person.settings(), person.before);
    // The name that is used is offered, and Ctrl-C leaves all as it was.
    let mut person = Person::runs(&live, &["login", &registry]);
    person.sees("(ann): ");
    person.types("\r");
    person.sees("password of ann");
    person.types("s3\u{3}");
    assert_eq!(person.waits(), 130);
    assert_eq!(person.settings(), person.before);
    assert_eq!(live.pybox(["login", "--get-login", &registry]).ok(), "ann");
    live.pybox(["logout", "--all"]).ok();
    live.pybox(["login", &registry]).run().exits(1);
}

#[test]
fn the_file_is_the_one_that_the_user_names() {
    let Some(live) = Live::new() else { return };
    let registry = guarded(&live, false);
    let file = live.dir.join("home/mine.json");
    login(&live, &registry, SECRET).env("REGISTRY_AUTH_FILE", &file).ok();
    assert!(file.exists() && !kept(&live).exists());
    let docker = live.directory("home/docker");
    login(&live, &registry, SECRET).env("DOCKER_CONFIG", &docker).ok();
    assert!(docker.join("config.json").exists() && !kept(&live).exists());
    // On the command line it is seen, and that is said.
    live.pybox(["login", "-u", "ann", "-p", SECRET, &registry]).run().exits(0).says("is seen by others");
    let stale = r#"{"auths":{"HOST":{"auth":"b2xkOm9sZA=="},"other.example":{"auth":"dTpw"}}}"#;
    live.directory("run/containers");
    live.file("run/containers/auth.json", stale.replace("HOST", &registry));
    assert_eq!(live.pybox(["login", "--get-login", &registry]).ok(), "old");
    login(&live, &registry, SECRET).ok();
    assert_eq!(live.pybox(["login", "--get-login", &registry]).ok(), "ann");
    assert_eq!(live.pybox(["login", "--get-login", "other.example"]).ok(), "u");
    live.pybox(["login", "-u", "a:b", "-p", "x", &registry]).run().refuses(1, "invalid user name");
    live.pybox(["login", "-u", "ann", "-p", "x", "no host"]).run().refuses(1, "invalid registry");
    live.pybox(["login", "-u", "ann", "--password-stdin", &registry])
        .stdin("\n")
        .run()
        .refuses(1, "the password is empty");
}
