//! T2, T8 and T27 of builds: whatever kills one, the store is whole, and the next one goes on.

use std::fs;

use crate::aftermath::{armed, faulty, gone, ordinary, whole, with_busybox};
use crate::harness::Live;

/// A context, and the words that build it.
fn context(live: &Live) -> Vec<String> {
    let image = with_busybox(live);
    let directory = live.directory("context");
    live.file("context/file", "copied\n");
    live.file("context/Dockerfile", format!("FROM {image}\nCOPY file /file\nRUN cat /file > /made; sleep 0.3\n"));
    ["build", "-t", "built:1", &directory.to_string_lossy()].iter().map(|word| (*word).to_owned()).collect()
}

fn strs(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().map(String::as_str)
}

#[test]
fn a_build_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    let words = context(&live);
    for (point, kept) in [
        ("build.step_done", 0),
        ("blob.synced", 0),
        ("blob.named", 0),
        ("layer.unpacked", 0),
        ("layer.marked", 0),
        ("layer.named", 0),
        ("build.layer_here", 0),
        ("build.step_noted", 1),
        ("build.command_told", 1),
        ("build.step_done@2", 1),
        ("build.step_noted@2", 2),
        ("build.documents_put", 2),
        ("build.row_put", 2),
    ] {
        let end = faulty(&live, &format!("{point}:kill"), strs(&words)).run();
        assert_eq!(end.signal, Some(9), "{point} was not passed: {end}");
        let after = format!("{point} of build");
        whole(&live, &after);
        let end = ordinary(&live, strs(&words)).exits(0);
        assert_eq!(end.stderr.matches("(cached)").count(), kept, "after {after}: {end}");
        assert_eq!(ordinary(&live, ["run", "--rm", "--pull=never", "built:1", "cat", "/made"]).text(), "copied");
        gone(&live, &after);
        ordinary(&live, ["rmi", "built:1"]).exits(0);
        ordinary(&live, ["builder", "prune", "-f"]).exits(0);
    }
    let steps = fs::read_dir(live.root().join("cache/layers")).expect("list").count();
    assert_eq!(steps, 0);
}

/// What is noted is what was copied, and not what was there when the key was made.
#[test]
fn a_file_that_is_saved_while_it_is_copied_is_not_taken_for_the_older_one() {
    let Some(live) = armed() else { return };
    let words = context(&live);
    let image = with_busybox(&live);
    let archive = |content: &str| {
        let line = format!("cd {0} && echo {content} > inner && tar -cf a.tar inner && rm inner", words[3]);
        let mut command = live.command("sh");
        command.args(["-c", &line]);
        crate::harness::Run::of(command).ok();
    };
    let script = "cat /d/file /x/inner /m";
    live.file(
        "context/Dockerfile",
        format!("FROM {image}\nCOPY file /d/\nADD a.tar /x\nRUN --mount=src=file,dst=/i cat /i > /m\n"),
    );
    let seen = || ordinary(&live, ["run", "--rm", "--pull=never", "built:1", "sh", "-c", script]).text();
    archive("older");
    for (point, key) in [("build.context_read@1", "file"), ("build.context_read@2", "a.tar")] {
        ordinary(&live, ["builder", "prune", "-f"]).exits(0);
        live.file("context/file", "older\n");
        archive("older");
        let running = faulty(&live, &format!("{point}:sleep=3000"), strs(&words)).start();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        if key == "file" {
            live.file("context/file", "newer\n");
        } else {
            archive("newer");
        }
        running.wait().exits(0);
        let built = seen();
        assert!(built.contains("newer"), "{point}: {built}");
        // The older one again is another step.
        live.file("context/file", "older\n");
        archive("older");
        ordinary(&live, strs(&words)).exits(0);
        assert_eq!(seen(), "older\nolder\nolder", "{point}");
    }
    gone(&live, "files that were saved");
}

#[test]
fn errors_of_the_disk_are_errors_of_the_build() {
    let Some(live) = armed() else { return };
    let words = context(&live);
    for point in
        ["create.files:fail=ENOSPC", "blob.sync@3:fail=ENOSPC", "blob.sync@2:fail=EIO", "blob.sync:fail=ENOSPC"]
    {
        let end = faulty(&live, point, strs(&words)).run();
        assert!(end.code == Some(1) && !end.stderr.contains("panicked"), "{point}: {end}");
        end.says("hint:");
        gone(&live, point);
    }
    ordinary(&live, strs(&words)).exits(0);
    gone(&live, "builds that failed");
}
