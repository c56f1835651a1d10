//! What builds keep: layers of steps that are known, whatever becomes of the build.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::build::{build, context, inspected, says};
use crate::harness::Live;

#[test]
fn the_same_steps_make_the_same_image() {
    let Some(live) = Live::new() else { return };
    let dockerfile = format!(
        "FROM {}\nRUN mkdir /d && date > /d/when && rm /d/when && touch /d/a /d/b && ln /d/a /d/c\nCOPY src /src\n\
         WORKDIR /made\nRUN echo $SOURCE_DATE_EPOCH > epoch\nCMD [\"sh\"]\n",
        live.image("busybox")
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile), ("src/x", "1")]);
    let made = |epoch: &str| build(&live, &context, &["--no-cache", "-t", "same"]).env("SOURCE_DATE_EPOCH", epoch).ok();
    let first = made("1700000000");
    std::thread::sleep(Duration::from_millis(1100));
    live.file("context/src/x", "1");
    assert_eq!(made("1700000000"), first);
    assert_eq!(
        says(&live, "same", "stat -c %Y /d/a /src/x /made/epoch; cat /made/epoch"),
        "1700000000\n".repeat(4).trim()
    );
    assert!(inspected(&live, "same", ".Created").contains("2023-11-14T22:13:20Z"));
    assert_ne!(made("1600000000"), first);
    build(&live, &context, &[]).env("SOURCE_DATE_EPOCH", "soon").run().refuses(1, "no number of seconds");
}

#[test]
fn an_interrupted_build_keeps_its_finished_steps() {
    let Some(live) = Live::new() else { return };
    let dockerfile = format!("FROM {}\nRUN echo one > /one\nRUN echo begun >&2; sleep 60\n", live.image("busybox"));
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let running = build(&live, &context, &["-t", "i"]).start();
        let begun = Instant::now();
        running.tells("\nbegun\n");
        running.signal(signal);
        let outcome = running.wait();
        assert!(begun.elapsed() < Duration::from_secs(40), "{outcome}");
        outcome.exits(130).says("interrupted");
        assert_eq!(live.leftovers(), Vec::<String>::new());
    }
    live.file("context/Dockerfile", dockerfile.replace("sleep 60", "true"));
    let done = build(&live, &context, &["-t", "i"]).run().exits(0);
    assert!(done.stderr.contains("RUN echo one > /one (cached)"), "{done}");
}

#[test]
fn what_builds_have_kept_is_shown_and_removed() {
    let Some(live) = Live::new() else { return };
    let dockerfile = format!("FROM {}\nRUN head -c 300000 /dev/zero > /big\nRUN echo x > /x\n", live.image("busybox"));
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    build(&live, &context, &["-t", "kept"]).ok();
    let cache = || live.pybox(["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}"]).ok();
    assert!(cache().contains("Build Cache 2 2 0B"), "{}", cache());
    live.pybox(["rmi", "kept"]).ok();
    live.pybox(["image", "prune", "-f"]).ok();
    let shown = cache();
    assert!(shown.contains("Build Cache 2 0 ") && !shown.contains("Build Cache 2 0 0B"), "{shown}");
    // Collections leave it alone.
    live.pybox(["system", "prune", "-f"]).ok();
    let again = build(&live, &context, &["-t", "kept"]).run().exits(0);
    assert_eq!(again.stderr.matches("(cached)").count(), 2, "{again}");
    live.pybox(["rmi", "kept"]).ok();
    live.pybox(["builder", "prune"]).run().refuses(1, "no terminal");
    live.pybox(["builder", "prune", "-f", "--filter", "until=1h"]).ok();
    assert!(cache().contains("Build Cache 2 0"), "{}", cache());
    let said = live.pybox(["builder", "prune", "-f"]).ok();
    assert!(said.contains("RUN echo x > /x") && !said.contains("space: 0B"), "{said}");
    assert!(cache().contains("Build Cache 0 0 0B"), "{}", cache());
    let anew = build(&live, &context, &["-t", "kept"]).run().exits(0);
    assert_eq!(anew.stderr.matches("(cached)").count(), 0, "{anew}");
    live.pybox(["check"]).ok();
}

#[test]
fn a_stage_that_makes_the_same_files_changes_nothing_after_it() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let dockerfile = |comment: &str| {
        format!(
            "FROM {base} AS make\nRUN echo out > /out; : {comment}\nFROM {base}\nCOPY --from=make /out /out\nRUN cat /out > /seen\n"
        )
    };
    let context = context(&live, "context", &[("Dockerfile", &dockerfile("one"))]);
    let first = build(&live, &context, &["-t", "s"]).ok();
    std::thread::sleep(Duration::from_millis(1100));
    live.file("context/Dockerfile", dockerfile("two"));
    let second = build(&live, &context, &["-t", "s"]).run().exits(0);
    assert_eq!((second.text(), second.stderr.matches("(cached)").count()), (first, 2), "{second}");
    let third = build(&live, &context, &["-t", "s"]).run().exits(0);
    assert_eq!(third.stderr.matches("(cached)").count(), 3, "{third}");
}

#[test]
fn a_build_that_is_killed_takes_its_step_with_it() {
    let Some(live) = Live::new() else { return };
    let dockerfile = format!("FROM {}\nRUN echo one > /one\nRUN sleep 60\n", live.image("busybox"));
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    let running = build(&live, &context, &["-t", "i"]).start();
    let steps = live.root().join("cache/layers");
    let begun = Instant::now();
    while !steps.read_dir().is_ok_and(|steps| steps.count() > 0) {
        assert!(begun.elapsed() < Duration::from_secs(30), "the first step does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(500));
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().signal, Some(9));
    // Its directory waits for a collection, as that of any command that was killed.
    let left: Vec<_> = live.leftovers().into_iter().filter(|what| !what.starts_with("directory")).collect();
    assert_eq!(left, Vec::<String>::new());
    live.file("context/Dockerfile", dockerfile.replace("sleep 60", "true"));
    let done = build(&live, &context, &["-t", "i"]).run().exits(0);
    assert!(done.stderr.contains("RUN echo one > /one (cached)"), "{done}");
}

/// Not even for as long as a step takes: a build may be killed, and a disk be copied.
#[test]
fn secrets_are_on_no_disk() {
    for live in [Live::new(), Live::plain()].into_iter().flatten() {
        let ask = "cat /run/secrets/s /t/other > /dev/null && test ${#K} = 9 && ! echo x 2>/dev/null > /t/other && echo fine; \
                   stat -c '%a %u' /run/secrets/s /t/other; ls -A /dev | grep -c content; \
                   grep -E ' /(t/other|run/secrets/s) ' /proc/self/mountinfo | grep -c ' - tmpfs '";
        let dockerfile = format!(
            "FROM {}\nRUN --mount=type=secret,id=s --mount=type=tmpfs,target=/t \
             --mount=type=secret,id=s,target=/t/other,mode=0444 --mount=type=secret,id=s,env=K \
             ({ask}) > /seen; touch /began; sleep 60\n",
            live.image("busybox")
        );
        let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
        let secret = live.file("secret", "s3Kr1t-42");
        let given = format!("id=s,src={}", secret.display());
        let on_disk = || {
            let mut command = live.command("grep");
            command.args(["-rl", "s3Kr1t"]).arg(live.root());
            let found = crate::harness::Run::of(command).run();
            // Sockets cannot be read, which is no matter.
            found.text()
        };
        let running = build(&live, &context, &["-t", "s", "--secret", &given]).start();
        let begun = Instant::now();
        let bundles = live.root().join("containers");
        let began = || {
            let bundles = fs::read_dir(&bundles).into_iter().flatten().flatten();
            bundles.filter(|bundle| bundle.path().join("upper/began").exists()).count() > 0
        };
        while !began() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the step does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(on_disk(), "", "while it runs");
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait().signal, Some(9));
        assert_eq!(on_disk(), "", "after it was killed");
        live.file("context/Dockerfile", dockerfile.replace("sleep 60", "true"));
        build(&live, &context, &["-t", "s", "--secret", &given]).ok();
        let seen = says(&live, "s", "cat /seen; ls -d /t 2> /dev/null || ls -A /run");
        assert_eq!(seen, "fine\n400 0\n444 0\n0\n2\n.containerenv");
        assert_eq!(on_disk(), "", "after it was done");
    }
}
