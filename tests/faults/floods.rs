//! T24: a flood of output: lines without end, lines without an end, bytes that are no text, and callers who come and
//! go meanwhile. Disk and memory are bounded, and what is kept is exact.
//!
//! Output blocks the program by default and is never lost; there is no mode that drops some of it.

use std::time::Duration;

use crate::aftermath::{gone, long, ordinary, whole, with_busybox};
use crate::guest::{Guest, awaits};
use crate::harness::{Live, Run};

/// Bytes in the files of the log.
fn kept(live: &Live) -> u64 {
    let bundles = std::fs::read_dir(live.root().join("containers")).expect("bundles").flatten();
    let files = bundles.flat_map(|bundle| std::fs::read_dir(bundle.path()).expect("a bundle").flatten());
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log"));
    // One may be rotated away meanwhile.
    logs.map(|file| file.metadata().map_or(0, |facts| facts.len())).sum()
}

/// KiB that the process has taken at most.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a field");
    line.trim().split(' ').next().expect("a number").parse().expect("a number")
}

#[test]
fn a_flood_is_bounded_while_callers_come_and_go() {
    let Some(live) = Live::new() else { return };
    with_busybox(&live);
    let seconds = if long() { 60 } else { 4 };
    let flags = ["--log-opt", "max-size=1m", "--log-opt", "max-file=3"];
    let script = format!("exec 2>/dev/null; touch /tmp/ready; timeout {seconds} yes; echo over; exec sleep 300");
    let guest = Guest::runs(&live, &flags, &script);
    let (_, monitor) = guest.pids();
    let begun = std::time::Instant::now();
    let mut callers = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        // Some stop to read, some are killed, all go.
        let (most, signal) = if callers % 2 == 0 { ("100000", "KILL") } else { ("900000000", "TERM") };
        let script = format!(
            "timeout -s {signal} 0.2 \"$0\" attach --no-stdin --sig-proxy=false guest | head -c {most} >/dev/null"
        );
        let mut command = live.command("sh");
        command.args(["-c", &script]).arg(live.program());
        Run::of(command).within(10).run();
        assert!(kept(&live) <= 3 << 20, "{} bytes are kept", kept(&live));
        callers += 1;
    }
    awaits(|| ordinary(&live, ["logs", "-n", "1", "guest"]).text() == "over");
    assert!(peak(monitor) < 40_000, "the monitor took {} KiB", peak(monitor));
    let end = live.pybox(["logs", "guest"]).run().exits(0);
    let text = end.text();
    assert!(text.lines().all(|line| matches!(line, "y" | "" | "over")) && text.ends_with("y\nover"));
    drop(guest);
    whole(&live, "a flood");
    gone(&live, "a flood");
}

#[test]
fn a_line_without_end_and_bytes_that_are_no_text_are_exact() {
    let Some(live) = Live::new() else { return };
    let image = with_busybox(&live);
    let megabytes = if long() { 1024 } else { 48 };
    // No newline, every byte there is, and characters that are torn apart by every border.
    let script = format!(
        r"i=0; printf '\000\377\303'; printf '\251\342\202'; printf '\254' >&2; dd if=/dev/zero bs=1048576 count={megabytes} 2>/dev/null | tr '\000' '\001'; printf 'end'"
    );
    let flags = ["run", "-d", "--name", "writer", &image, "sh", "-c", &script];
    ordinary(&live, flags).exits(0);
    let attached = live.pybox(["attach", "--no-stdin", "writer"]).within(300).start();
    live.pybox(["wait", "writer"]).within(300).ok();
    attached.wait();
    let end = live.pybox(["logs", "writer"]).within(120).run().exits(0);
    let size = 6 + (megabytes << 20) + 3;
    assert_eq!((end.stdout.len(), end.stderr.len()), (size, 3), "stderr is shown with what is no text replaced");
    assert!(end.stdout.starts_with(b"\0\xff\xc3\xa9\xe2\x82\x01") && end.stdout.ends_with(b"\x01end"));
    assert!(end.stdout[6..size - 3].iter().all(|byte| *byte == 1));
    drop(end);
    ordinary(&live, ["rm", "writer"]).exits(0);
    // The same through one who stays.
    let script = format!("head -c {} /dev/zero; printf x", megabytes << 20);
    let mut command = live.command(live.program());
    command.args(["run", "--rm", &image, "sh", "-c", &script]);
    let end = Run::of(command).within(300).run().exits(0);
    assert_eq!(end.stdout.len(), (megabytes << 20) + 1);
    gone(&live, "lines without end");
}
