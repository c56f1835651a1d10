//! T2 goes on: the other commands that change something are killed at each of their steps.

use crate::aftermath::{armed, faulty, field, gone, ordinary, whole, with_busybox};
use crate::guest::awaits;
use crate::harness::Live;

const STEADY: &str = "trap 'exit 3' TERM; touch /tmp/ready; while :; do sleep 0.05; done";

fn struck(live: &Live, point: &str, words: &[&str]) {
    let end = faulty(live, &format!("{point}:kill"), words.iter().copied()).run();
    assert_eq!(end.signal, Some(9), "{point} was not passed: {end}");
}

#[test]
fn a_pull_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    let image = live.image("layered");
    for point in [
        "pull.resolved",
        "pull.leased",
        "pull.bytes_appended",
        "pull.bytes_appended@2",
        "blob.synced",
        "blob.synced@3",
        "blob.named",
        "blob.named@4",
        "pull.unpacked",
        "layer.unpacked",
        "layer.marked",
        "layer.named",
        "layer.named@2",
        "pull.layers_here",
        "pull.documents_put",
        "pull.row_put",
    ] {
        let after = format!("{point} of pull");
        struck(&live, point, &["pull", "-q", &image]);
        ordinary(&live, ["images"]).exits(0);
        whole(&live, &after);
        let end = ordinary(&live, ["run", "--rm", &image, "cat", "/was-dir"]).exits(0);
        assert_eq!(end.text(), "a file now", "after {after}");
        gone(&live, &after);
        // Nothing of it is kept that would keep the next one from its work.
        ordinary(&live, ["rmi", &image]).exits(0);
        ordinary(&live, ["system", "prune", "-af"]).exits(0);
    }
}

#[test]
fn a_commit_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    let words = ["run", "-d", "--name", "source", &image, "sh", "-c", &format!("echo made > /made; {STEADY}")];
    ordinary(&live, words).exits(0);
    awaits(|| ordinary(&live, ["exec", "source", "test", "-e", "/tmp/ready"]).code == Some(0));
    for point in [
        "commit.paused",
        "commit.spooling",
        "blob.synced",
        "commit.blob_kept",
        "layer.unpacked",
        "layer.named",
        "commit.documents_put",
        "commit.row_put",
    ] {
        let after = format!("{point} of commit");
        // Another layer than the last one.
        ordinary(&live, ["exec", "source", "sh", "-c", &format!("echo {point} > /changed")]).exits(0);
        struck(&live, point, &["commit", "-q", "source", "kept:1"]);
        // Who was frozen for it goes on.
        awaits(|| field(&live, "source", ".State.Status").as_deref() == Some("running"));
        ordinary(&live, ["exec", "source", "true"]).exits(0);
        whole(&live, &after);
        ordinary(&live, ["commit", "-q", "source", "kept:1"]).exits(0);
        assert_eq!(ordinary(&live, ["run", "--rm", "kept:1", "cat", "/made"]).exits(0).text(), "made", "{after}");
        ordinary(&live, ["rmi", "-f", "kept:1"]).exits(0);
    }
    ordinary(&live, ["rm", "-f", "source"]).exits(0);
    gone(&live, "commits");
}

#[test]
fn a_removal_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    for point in ["remove.begun", "remove.row_gone", "remove.bundle_gone", "remove.files_gone"] {
        for running in [false, true] {
            let after = format!("{point} of rm, running: {running}");
            // Files of another id, for the worker.
            let script = format!("touch /x; chown 1000 /x; mkdir /d; chown 1000 /d; touch /d/y; {STEADY}");
            ordinary(&live, ["run", "-d", "--name", "struck", &image, "sh", "-c", &script]).exits(0);
            if !running {
                ordinary(&live, ["stop", "-t", "5", "struck"]).exits(0);
            }
            struck(&live, point, &["rm", "-f", "struck"]);
            ordinary(&live, ["ps", "-a"]).exits(0);
            whole(&live, &after);
            if point == "remove.begun" {
                // Nothing was acknowledged: it may be there still, but it does not run.
                assert_eq!(field(&live, "struck", ".State.Status").as_deref(), Some("exited"), "{after}");
                ordinary(&live, ["rm", "struck"]).exits(0);
            }
            assert_eq!(ordinary(&live, ["run", "--rm", "--name", "struck", &image, "true"]).code, Some(0), "{after}");
            gone(&live, &after);
        }
    }
}

#[test]
fn what_makes_and_joins_networks_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    struck(&live, "network.made", &["network", "create", "web"]);
    whole(&live, "network.made");
    assert_eq!(ordinary(&live, ["network", "ls", "-q"]).exits(0).text(), "");
    ordinary(&live, ["network", "create", "web", "--subnet", "10.99.9.0/29"]).exits(0);
    let words = ["run", "-d", "--name", "struck", "--network", "web", "--ip", "10.99.9.3", &image, "sh", "-c", STEADY];
    struck(&live, "network.leased", &words);
    whole(&live, "network.leased");
    // Its address is nobody's, and its name is free or its own.
    ordinary(&live, ["rm", "-f", "struck"]).exits(0);
    ordinary(&live, words).exits(0);
    ordinary(&live, ["rm", "-f", "struck"]).exits(0);
    ordinary(&live, ["network", "rm", "web"]).exits(0);
    gone(&live, "networks");
}

#[test]
fn starts_stops_and_execs_are_killed_at_each_step() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    ordinary(&live, ["create", "--name", "struck", &image, "sh", "-c", STEADY]).exits(0);
    let status = || field(&live, "struck", ".State.Status").expect("a state");
    for point in
        ["start.bundle_locked", "start.records_removed", "start.before_told", "start.told", "start.started_seen"]
    {
        struck(&live, point, &["start", "struck"]);
        whole(&live, point);
        ordinary(&live, ["start", "struck"]).exits(0);
        awaits(|| ordinary(&live, ["exec", "struck", "test", "-e", "/tmp/ready"]).code == Some(0));
        for point in ["exec.ordered", "exec.executed"] {
            struck(&live, point, &["exec", "-i", "struck", "cat"]);
            awaits(|| !ordinary(&live, ["exec", "struck", "ps"]).text().contains(" cat"));
        }
        let stopping = if point == "start.told" { "stop.end_seen" } else { "stop.asked" };
        struck(&live, stopping, &["stop", "-t", "5", "struck"]);
        awaits(|| status() == "exited");
        assert_eq!(field(&live, "struck", ".State.ExitCode").as_deref(), Some("3"));
        whole(&live, stopping);
    }
    ordinary(&live, ["start", "struck"]).exits(0);
    let pid = || field(&live, "struck", ".State.Pid").expect("a pid");
    let before = pid();
    struck(&live, "restart.asked", &["restart", "-t", "5", "struck"]);
    // What was asked for is done.
    awaits(|| ![before.as_str(), "0"].contains(&pid().as_str()) && status() == "running");
    ordinary(&live, ["rm", "-f", "struck"]).exits(0);
    gone(&live, "starts and stops");
}

#[test]
fn who_removes_what_is_over_may_be_killed() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    let words = ["run", "-d", "--rm", "--name", "brief", &image, "true"];
    faulty(&live, "expire.begun:kill", words).run().exits(0);
    awaits(|| ordinary(&live, ["ps", "-aq"]).text().is_empty());
    gone(&live, "a removal that was killed");
}
