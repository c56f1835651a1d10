//! What users of docker and podman are used to: where a build has its context and file from, where its files go, what
//! stages have of each other, and flags of others.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use crate::build::{build, context, says};
use crate::fixture::tool;
use crate::harness::{Live, Run};

/// What `tar` makes of a directory.
fn packed(live: &Live, directory: &str, flag: &str) -> Vec<u8> {
    let mut command = live.command("tar");
    command.arg("-C").arg(live.dir.join(directory)).args([flag, "-f", "-", "."]);
    Run::of(command).run().exits(0).stdout
}

#[test]
fn files_and_contexts_come_by_standard_input() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let context =
        context(&live, "context", &[("f", "of the context\n"), ("sub/Other", ""), (".dockerignore", "x\n"), ("x", "")]);
    let dockerfile = format!("FROM {base}\nCOPY f /f\nRUN test ! -e /x\n");
    build(&live, &context, &["-t", "a", "-f", "-"]).stdin(dockerfile.clone()).ok();
    assert_eq!(says(&live, "a", "cat /f"), "of the context");
    let boxfile = format!("# a boxfile\n[box]\nbase = \"{base}\"\n[[steps]]\ncopy = {{ src = \"f\", dst = \"/g\" }}\n");
    build(&live, &context, &["-t", "a", "-f", "-"]).stdin(boxfile).ok();
    assert_eq!(says(&live, "a", "cat /g"), "of the context");
    // A file alone has no context.
    let alone = |text: &str| live.pybox(["build", "-t", "b", "-"]).stdin(text);
    alone(&format!("FROM {base}\nRUN echo alone > /alone\n")).ok();
    assert_eq!(says(&live, "b", "cat /alone"), "alone");
    alone(&dockerfile).run().refuses(1, "standard input:2:1: COPY f /f: \"f\" is not in the context");
    alone("").run().refuses(1, "standard input is no build file: it is empty");
    alone("FROM a b\n").run().refuses(1, "standard input:1:1");
    // An archive is one.
    live.file("context/Dockerfile", format!("FROM {base}\nCOPY . /all/\n"));
    live.file("context/sub/Other", format!("FROM {base}\nCOPY f /other\n"));
    symlink("/etc/passwd", context.join("away")).expect("a link");
    for flag in ["-c", "-cz"] {
        live.pybox(["build", "-t", "c", "-"]).stdin(packed(&live, "context", flag)).ok();
        assert_eq!(
            says(&live, "c", "cat /all/f; readlink /all/away; ls /all"),
            "of the context\n/etc/passwd\nDockerfile\naway\nf\nsub"
        );
        live.pybox(["build", "-t", "c", "-f", "sub/Other", "-"]).stdin(packed(&live, "context", flag)).ok();
        assert_eq!(says(&live, "c", "cat /other"), "of the context");
    }
    let archive = packed(&live, "context", "-c");
    let asked = |flags: &[&str]| live.pybox(["build", "-t", "d"].iter().chain(flags)).stdin(archive.clone()).run();
    asked(&["-f", "nothing", "-"]).refuses(1, "the context has no nothing");
    asked(&["-f", "away", "-"]).exits(1);
    asked(&["-f", "-", "-"]).refuses(1, "standard input is the context or the file, and not both");
    live.pybox(["build", "-"]).stdin(&archive[..700]).run().exits(1);
    live.pybox(["build", "-"]).stdin("BZh91AY").run().refuses(1, "the context is compressed with bzip2");
    live.pybox(["build", "https://forge.example/a.git"]).run().refuses(1, "the context is a directory");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn files_of_an_image_go_where_they_are_wanted() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let dockerfile = format!(
        "FROM {base} AS make\nRUN mkdir /o && echo x > /o/x && ln -s x /o/l && chown 1000:50 /o/x && chmod 4750 /o/x\n\
         FROM scratch\nCOPY --from=make /o /\n"
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    let place = live.directory("place");
    let out = |name: &str| place.join(name).to_string_lossy().into_owned();
    let done = build(&live, &context, &["-o", &out("deep/er")]).run().exits(0);
    assert_eq!(done.text(), "", "no image is kept: {done}");
    let names = |path: &str| {
        let mut names: Vec<_> =
            fs::read_dir(path).expect("list").map(|entry| entry.expect("one").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&out("deep/er")), ["l", "x"], "and nothing of ours");
    let facts = fs::symlink_metadata(place.join("deep/er/x")).expect("a file");
    assert_eq!((facts.uid(), facts.mode() & 0o777), (live.user.uid, 0o750));
    assert_eq!(fs::read_link(place.join("deep/er/l")).expect("a link"), std::path::Path::new("x"));
    // Over what is there.
    live.file("place/deep/er/kept", "kept");
    build(&live, &context, &["--output", &format!("type=local,dest={}", out("deep/er"))]).ok();
    assert_eq!(names(&out("deep/er")), ["kept", "l", "x"]);
    build(&live, &context, &["-o", &format!("type=tar,dest={}", out("o.tar"))]).ok();
    let listed = |file: &str| tool("tar", &["-tvf", file, "--numeric-owner"]).expect("tar");
    assert!(listed(&out("o.tar")).contains("-rwsr-x--- 1000/50"), "{}", listed(&out("o.tar")));
    // The same again a second later: nothing in it is of the moment of writing.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let stream = build(&live, &context, &["-o", "-"]).run().exits(0);
    assert_eq!(stream.stdout, fs::read(out("o.tar")).expect("the archive"));
    // With a name it is an image, too.
    let named = build(&live, &context, &["-o", &out("named"), "-t", "named"]).run().exits(0);
    assert!(named.text().starts_with("sha256:"), "{named}");
    live.pybox(["inspect", "named"]).ok();
    for (value, words) in [
        ("type=oci,dest=x", "there is no type oci here"),
        ("type=local", "a directory needs dest=DIR"),
        ("type=zip,dest=x", "there is no type zip"),
        ("dest=x", "it has no type"),
        ("type=tar,dst=x", "neither type=KIND nor dest=PATH"),
    ] {
        build(&live, &context, &["-o", value]).run().refuses(1, words);
    }
    build(&live, &context, &["-o", "-", "-t", "x"]).run().refuses(1, "standard output has the archive");
    live.file("place/file", "");
    build(&live, &context, &["-o", &out("file")]).run().refuses(1, "write --output");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn stages_have_what_is_in_them_and_nothing_else() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let dockerfile = format!(
        "ARG G=global\nFROM {base} AS one\nARG G\nARG A=of-one\nENV E=e\n\
         FROM one AS two\nARG B=${{A}}-${{G}}\nRUN echo $A $B $E > /seen\n\
         FROM scratch AS flat\nCOPY --from=two / /\n\
         FROM {base}\nCOPY --from=flat / /flat\nRUN echo \"[$A]\" > /none\n"
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    build(&live, &context, &["-t", "s"]).ok();
    let seen = says(&live, "s", "cat /flat/seen /none; ls -A /flat");
    assert_eq!(seen, "of-one of-one-global e\n[]\nbin\netc\nhome\nroot\nseen\ntmp\nvar");
    assert_eq!(says(&live, "s", "ls /flat/etc"), "group\nos-release\npasswd");
    build(&live, &context, &["-t", "g", "--build-arg", "A=given", "--target", "1"]).ok();
    assert_eq!(says(&live, "g", "cat /seen"), "given given-global e");
    live.file("context/Dockerfile", format!("FROM {base} AS one\nFROM {base}\nCOPY --from=one /etc/hosts /x\n"));
    build(&live, &context, &[]).run().refuses(1, "\"/etc/hosts\" is not in one");
}

#[test]
fn flags_of_others_do_what_they_say_or_say_what_to_do() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let dockerfile = format!("FROM {base}\nRUN grep there /etc/hosts | head -n 1 > /hosts || true\n");
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    let taken =
        ["--rm", "--force-rm=true", "--layers", "--load", "--jobs", "2", "--format", "oci", "--provenance=false"];
    let flags = ["--progress=plain", "--annotation", "org.example.a=b", "--annotation=manifest:c=d", "-t", "f"];
    build(&live, &context, &[&taken[..], &flags].concat()).ok();
    let file = live.dir.join("f.tar").to_string_lossy().into_owned();
    live.pybox(["save", "--format", "oci-archive", "-o", &file, "f"]).ok();
    let raw = tool("skopeo", &["inspect", "--raw", &format!("oci-archive:{file}")]).expect("skopeo inspect");
    let raw: serde_json::Value = serde_json::from_str(&raw).expect("JSON");
    assert_eq!(raw["annotations"], serde_json::json!({ "org.example.a": "b", "c": "d" }));
    build(&live, &context, &["--add-host", "there:10.1.2.3", "-t", "h"]).ok();
    assert_eq!(says(&live, "h", "cat /hosts"), "10.1.2.3\tthere");
    live.directory("context/tree/below");
    for (name, mode) in [("script", 0o700), ("text", 0o600)] {
        let file = live.file(&format!("context/tree/{name}"), name);
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let copies = format!("FROM {base}\nCOPY --chmod=u=rwX,go=rX tree /t\nCOPY --link --chmod=u+x tree/text /x\n");
    live.file("context/Dockerfile", copies);
    build(&live, &context, &["-t", "m"]).ok();
    assert_eq!(says(&live, "m", "stat -c '%a %n' /t/* /x"), "755 /t/below\n755 /t/script\n644 /t/text\n700 /x");
    live.file("context/Dockerfile", &dockerfile);
    let quiet = build(&live, &context, &["--progress=quiet"]).run().exits(0);
    assert_eq!(quiet.stderr, "");
    for (flags, words) in [
        (&["--push"] as &[&str], "the image is made here"),
        (&["--squash"], "each step is a layer"),
        (&["--cache-from", "x"], "looked up among those that were made here"),
        (&["--build-context", "x=y"], "there is one context"),
        (&["--sbom=true"], "no such document is made"),
        (&["--format", "docker"], "in OCI's format"),
        (&["--progress=rawjson"], "auto, plain, tty or quiet"),
        (&["--layers=false"], "is kept for the next build"),
        (&["-v", "/x:/y"], "steps mount what they name"),
        (&["--cap-add", "ALL"], "the rights of every container"),
        (&["--platform", "linux/amd64,linux/arm64"], "one image is made at a time"),
        (&["--annotation", "index:a=b"], "for something else than the manifest"),
    ] {
        build(&live, &context, flags).run().refuses(1, words);
    }
    // What cannot be unpacked is not copied as if it could not be.
    live.file("context/a.tar.xz", b"\xfd7zXZ\0rest");
    live.file("context/data.xz", b"\xfd7zXZ\0rest");
    live.file("context/Dockerfile", format!("FROM {base}\nADD data.xz /d/\nADD a.tar.xz /x/\n"));
    let end = build(&live, &context, &["-t", "x"]).run().refuses(1, "a.tar.xz is compressed with xz");
    assert!(end.stderr.contains("Dockerfile:3:1") && end.stderr.contains("xz -dc a.tar.xz > a.tar"), "{end}");
}
