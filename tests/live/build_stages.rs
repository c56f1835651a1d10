//! Stages that do not need each other are made at the same time.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::build::{build, context, says};
use crate::harness::Live;

/// A machine with one processor makes one stage at a time.
fn has_processors() -> bool {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if processors < 2 {
        crate::fixture::skip("one processor");
    }
    processors >= 2
}

#[test]
fn stages_are_made_side_by_side() {
    let Some(live) = Live::new() else { return };
    if !has_processors() {
        return;
    }
    let base = live.image("busybox");
    // Each waits for the other one.
    let meet = |mine: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,id=meet,target=/m touch /m/{mine}; i=0; until test -e /m/{other}; do \
             i=$((i+1)); test $i -lt 300 || exit 9; sleep 0.1; done; echo {mine} met {other}; printf 'no end'"
        )
    };
    let dockerfile = format!(
        "FROM {base} AS one\nRUN cat /proc/sys/kernel/random/uuid > /same\n{}\nRUN echo 1 > /one\n\
         FROM {base} AS two\nRUN cat /proc/sys/kernel/random/uuid > /same\n{}\nRUN echo 2 > /two\n\
         FROM {base}\nCOPY --from=one /one /same /a/\nCOPY --from=two /two /same /b/\nRUN echo last >&2\n",
        meet("x", "y"),
        meet("y", "x")
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    let done = build(&live, &context, &["-t", "met", "--no-cache"]).run().exits(0);
    let lines: Vec<&str> = done.stderr.lines().collect();
    for line in ["one | x met y", "two | y met x", "one | no end", "two | no end", "stage-2 | last"] {
        assert!(lines.contains(&line), "{line}: {done}");
    }
    assert!(lines.iter().any(|line| line.starts_with("[1/9 one] RUN cat")), "{done}");
    assert!(lines.iter().any(|line| line.starts_with("[9/9 stage-2] RUN echo last")), "{done}");
    // What both want was done once, though nothing of an earlier build counts.
    assert_eq!(done.stderr.matches("(cached)").count(), 1, "{done}");
    assert_eq!(says(&live, "met", "cmp /a/same /b/same && cat /a/one /b/two"), "1\n2");
    let again = build(&live, &context, &["-t", "met"]).run().exits(0);
    assert_eq!((again.stderr.matches("(cached)").count(), again.text()), (9, done.text()), "{again}");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_stage_that_fails_ends_the_others() {
    let Some(live) = Live::new() else { return };
    if !has_processors() {
        return;
    }
    let base = live.image("busybox");
    let dockerfile = format!(
        "FROM {base} AS slow\nRUN echo kept > /kept\nRUN echo begun; sleep 60\nFROM {base} AS bad\nRUN sleep 1; exit 3\n\
         FROM {base} AS beside\nRUN sleep 61\nFROM {base}\nCOPY --from=slow / /a\nCOPY --from=bad / /b\nCOPY --from=beside / /c\n"
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    let begun = Instant::now();
    let failed = build(&live, &context, &["-t", "x"]).run().exits(1);
    assert!(begun.elapsed() < Duration::from_secs(30), "{failed}");
    let failed = failed.says("Dockerfile:5:1: RUN sleep 1; exit 3: the command ended with exit code 3");
    assert!(!failed.stderr.contains("interrupted"), "{failed}");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn an_interrupted_build_ends_all_stages() {
    let Some(live) = Live::new() else { return };
    if !has_processors() {
        return;
    }
    let base = live.image("busybox");
    let dockerfile = format!(
        "FROM {base} AS one\nRUN echo begun; sleep 60\nFROM {base} AS two\nRUN echo begun; sleep 61\n\
         FROM {base}\nCOPY --from=one / /a\nCOPY --from=two / /b\n"
    );
    let context = context(&live, "context", &[("Dockerfile", &dockerfile)]);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let running = build(&live, &context, &["-t", "x"]).start();
        let begun = Instant::now();
        for stage in ["one", "two"] {
            running.tells(&format!("{stage} | begun"));
        }
        running.signal(signal);
        let outcome = running.wait();
        assert!(begun.elapsed() < Duration::from_secs(40), "{outcome}");
        if signal == Signal::SIGKILL {
            assert_eq!(outcome.signal, Some(9));
            let left: Vec<_> = live.leftovers().into_iter().filter(|what| !what.starts_with("directory")).collect();
            assert_eq!(left, Vec::<String>::new());
        } else {
            outcome.exits(130).says("interrupted");
            assert_eq!(live.leftovers(), Vec::<String>::new());
        }
    }
}
