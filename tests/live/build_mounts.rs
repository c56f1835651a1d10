//! What steps of a build have mounted, and instructions that a base brings along.

use std::time::{Duration, Instant};

use crate::build::{build, context, inspected, says};
use crate::harness::Live;

#[test]
fn caches_are_made_and_shared_as_the_file_says() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let dockerfile = format!(
        "FROM {base} AS seeds\nRUN mkdir -p /s/sub && echo seed > /s/sub/file && chown -R 7:8 /s && chmod 750 /s\n\
         FROM {base}\n\
         RUN --mount=type=cache,id=own,target=/c,uid=1000,gid=1001,mode=0770 stat -c '%u:%g %a' /c > /own && touch /c/x\n\
         RUN --mount=type=cache,id=own,target=/c ls -A /c > /other\n\
         RUN --mount=type=cache,id=from,target=/c,from=seeds,source=/s (stat -c '%u:%g %a' /c; cat /c/sub/file) > /from \
         && echo more > /c/more\n\
         RUN --mount=type=cache,id=from,target=/c,from=seeds,source=/s,ro=true cat /c/more >> /from; : again\n\
         RUN --mount=type=cache,id=two,target=/c,sharing=locked --mount=type=cache,id=two,target=/d,sharing=locked \
         echo both > /c/x && cat /d/x > /both\n\
         RUN --mount=src=file,dst=/in (echo x >> /in) 2> /denied; grep -c file /in > /kept\n\
         RUN --mount=src=.,dst=/in,rw echo x >> /in/file && wc -l < /in/file > /written\n\
         RUN --mount=type=secret,id=s,uid=1000,gid=7,mode=0440 stat -c '%u:%g %a' /run/secrets/s > /secret\n"
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile), ("file", "file\n")]);
    let secret = live.file("secret", "s");
    let given = format!("id=s,src={}", secret.display());
    build(&live, &context, &["-t", "m", "--secret", &given]).ok();
    let seen =
        says(&live, "m", "for f in own other from both kept written secret; do cat /$f; done; grep -c only /denied");
    assert_eq!(seen, "1000:1001 770\n7:8 750\nseed\nmore\nboth\n1\n2\n1000:7 440\n1");
    assert_eq!(std::fs::read_to_string(context.join("file")).expect("the file"), "file\n");
    live.file(
        "context/Dockerfile",
        format!("FROM {base}\nRUN --mount=type=cache,target=/c,from=nothing/here:1 true\n"),
    );
    build(&live, &context, &["-t", "x"]).run().exits(1);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// Steps of two builds that want the same cache.
#[test]
fn builds_wait_for_a_cache_or_have_one_of_their_own() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let step = |sharing: &str, script: &str| {
        format!("FROM {base}\nRUN --mount=type=cache,id=c,target=/c,sharing={sharing} {script}\n")
    };
    let slow = "echo begun > /c/slow; sleep 4; test ! -e /c/fast && echo ended >> /c/slow";
    let contexts = |name: &str, sharing: &str, script: &str| {
        context(&live, name, &[("Dockerfile", step(sharing, script).as_str())])
    };
    for (sharing, waits, seen) in [("locked", true, "begun\nended"), ("private", false, ""), ("shared", false, "begun")]
    {
        live.pybox(["builder", "prune", "-f", "--all"]).run();
        let first =
            contexts("first", sharing, if sharing == "locked" { slow } else { "echo begun > /c/slow; sleep 4" });
        let second = contexts("second", sharing, "touch /c/fast; cat /c/slow > /seen 2>/dev/null || : > /seen");
        let running = build(&live, &first, &["-t", "first"]).start();
        let begun = Instant::now();
        let caches = live.root().join("cache/mounts");
        while !std::fs::read_dir(&caches)
            .is_ok_and(|mut entries| entries.any(|one| one.is_ok_and(|one| one.path().join("files/slow").exists())))
        {
            assert!(begun.elapsed() < Duration::from_secs(60), "the first step does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        let asked = Instant::now();
        build(&live, &second, &["--no-cache", "-t", "second"]).ok();
        let took = asked.elapsed();
        // What is in use is not taken away.
        if !waits {
            live.pybox(["builder", "prune", "-f", "--all"]).run();
        }
        running.wait().exits(0);
        assert_eq!(says(&live, "second", "cat /seen"), seen, "{sharing} after {took:?}");
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn who_builds_on_an_image_does_what_it_asks_for() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let files = [
        ("Base", format!("FROM {base}\nONBUILD ARG WHO=nobody\nONBUILD COPY *.txt /in/\nONBUILD RUN echo \"$WHO's\" > /who\nENV A=1\n")),
        ("boxfile.toml", "[box]\nbase = \"parent\"\nonbuild = [\"RUN echo second > /second\", \"CMD [\\\"cat\\\", \\\"/who\\\"]\"]\n[[steps]]\nrun = \"cat /who /in/a.txt > /seen\"\n".to_owned()),
        ("Third", "FROM child AS one\nFROM one AS two\nONBUILD RUN echo of a stage > /stage\nFROM two\nRUN cat /second /stage > /all\n".to_owned()),
        ("Wrong", "FROM bad\n".to_owned()),
        ("a.txt", "text\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, content)| (*name, content.as_str())).collect();
    let context = context(&live, "context", &files);
    let made = |file: &str, name: &str, flags: &[&str]| {
        let file = context.join(file).to_string_lossy().into_owned();
        let flags: Vec<&str> = ["-f", &file, "-t", name].into_iter().chain(flags.iter().copied()).collect();
        build(&live, &context, &flags)
    };
    made("Base", "parent", &[]).ok();
    assert_eq!(says(&live, "parent", "ls /in /who 2>&1 | grep -c 'No such'"), "2");
    let triggers = r#"["ARG WHO=nobody","COPY *.txt /in/","RUN echo \"$WHO's\" > /who"]"#;
    assert_eq!(inspected(&live, "parent", ".Config.OnBuild"), triggers);
    made("boxfile.toml", "child", &["--build-arg", "WHO=ann"]).run().exits(0).says("COPY *.txt /in/");
    assert_eq!(says(&live, "child", "cat /seen; ls /second 2>&1 | grep -c 'No such'"), "ann's\ntext\n1");
    made("Third", "third", &[]).ok();
    assert_eq!(says(&live, "third", "cat /all"), "second\nof a stage");
    assert_eq!(live.pybox(["run", "--rm", "--pull=never", "third"]).ok(), "ann's");
    assert!(!inspected(&live, "third", ".Config").contains("OnBuild"));
    let again = made("Third", "third", &[]).run().exits(0);
    assert_eq!(again.stderr.matches("(cached)").count(), 3, "{again}");
    // A file that a trigger copies is part of its key.
    live.file("context/a.txt", "other\n");
    made("boxfile.toml", "child", &["--build-arg", "WHO=ann"]).ok();
    assert_eq!(says(&live, "child", "cat /seen"), "ann's\nother");
    live.file("context/Base", format!("FROM {base}\nONBUILD COPY --from=elsewhere x /x\n"));
    made("Base", "bad", &[]).ok();
    let end = made("Wrong", "x", &[]).run().exits(1);
    assert!(end.stderr.contains("Wrong:1:1: base bad: ONBUILD COPY --from=elsewhere"), "{end}");
}

/// `[limits]` of a boxfile: held where this host can, and told of where it cannot.
#[test]
fn limits_of_an_image_are_its_defaults() {
    let Some(live) = Live::new() else { return };
    let boxfile =
        format!("[box]\nbase = \"{}\"\n[limits]\nmemory = \"64m\"\n[run]\ncmd = [\"true\"]\n", live.image("busybox"));
    let context = context(&live, "context", &[("boxfile.toml", &boxfile)]);
    build(&live, &context, &["-t", "limited"]).ok();
    let end = live.pybox(["run", "--name", "one", "--pull=never", "limited"]).run().exits(0);
    let told = end.stderr.matches("the image's own limits (memory) are left out: ").count();
    let held = live.pybox(["inspect", "--format", "{{.HostConfig.Memory}}", "one"]).ok() == "67108864";
    assert_eq!((told, held), if held { (0, true) } else { (1, false) }, "{end}");
}
