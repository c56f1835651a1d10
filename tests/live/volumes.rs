//! Volumes: they outlive containers, begin with what the image has, and go when nobody needs them.

use crate::harness::Live;

/// An image with something in /data, and with a volume there.
fn with_data(live: &Live) -> String {
    let image = live.image("busybox");
    let script = "mkdir -p /data/deep; echo image > /data/deep/file; ln -s deep/file /data/link; \
        ln /data/deep/file /data/again; chown 1000:50 /data /data/deep/file; chmod 1770 /data";
    live.pybox(["run", "--name", "maker", &image, "sh", "-c", script]).ok();
    live.pybox(["commit", "-q", "-c", "VOLUME /data", "-c", "CMD [\"sh\"]", "maker", "data:1"]).ok();
    live.pybox(["rm", "maker"]).ok();
    "data:1".to_owned()
}

const LOOK: &str = "cd /data; stat -c '%a %u:%g' .; stat -c '%u:%g %h' deep/file; cat link; ls | wc -l";
const AS_IN_THE_IMAGE: &str = "1770 1000:50\n1000:50 2\nimage\n3";

fn anonymous(live: &Live) -> Vec<String> {
    let names = live.pybox(["volume", "ls", "-q", "--filter", "anonymous=true"]).ok();
    names.lines().map(str::to_owned).collect()
}

#[test]
fn a_named_volume_outlives_its_containers() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    assert_eq!(live.pybox(["volume", "create", "--label", "tier=db", "store"]).ok(), "store");
    live.pybox(["run", "--rm", "-v", "store:/s", &image, "sh", "-c", "echo kept > /s/file"]).ok();
    live.pybox(["run", "--rm", "--mount", "type=volume,src=store,dst=/t,ro", &image, "cat", "/t/file"]).ok();
    let end = live.pybox(["run", "--rm", "-v", "store:/t:ro", &image, "touch", "/t/x"]).run();
    assert_eq!(end.code, Some(1), "{end}");
    let format = "{{.Name}} {{.Driver}} {{.Labels.tier}} {{.Anonymous}}";
    assert_eq!(live.pybox(["volume", "inspect", "--format", format, "store"]).ok(), "store local db false");
    let place = live.pybox(["volume", "inspect", "--format", "{{.Mountpoint}}", "store"]).ok();
    assert_eq!(std::fs::read_to_string(std::path::Path::new(&place).join("file")).expect("read"), "kept\n");
    // One that is not there is made on first use.
    live.pybox(["run", "-d", "--name", "user", "-v", "new:/n", &image, "sleep", "300"]).ok();
    assert_eq!(live.pybox(["volume", "ls", "-q"]).ok(), "new\nstore");
    live.pybox(["volume", "rm", "new"]).run().refuses(1, "in use by container user").says("pybox rm user");
    assert_eq!(live.pybox(["volume", "prune", "-f", "-a"]).ok().lines().nth(1), Some("store"));
    live.pybox(["rm", "-f", "-v", "user"]).ok();
    // It has a name, so it stays until it is asked for.
    assert_eq!(live.pybox(["volume", "rm", "new"]).ok(), "new");
    live.pybox(["volume", "rm", "new"]).run().refuses(1, "no such volume: new").says("pybox volume ls");
    live.pybox(["volume", "rm", "-f", "new"]).ok();
    live.pybox(["volume", "create", "../x"]).run().refuses(1, "../x");
    live.pybox(["volume", "create", "-d", "nfs", "x"]).run().refuses(1, "nfs");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn an_empty_volume_begins_with_what_the_image_has() {
    let Some(live) = Live::new() else { return };
    let image = with_data(&live);
    let run = |flags: &[&str], script: &str| {
        let words = ["run", "--rm"].iter().chain(flags).copied();
        live.pybox(words.chain([image.as_str(), "sh", "-c", script])).ok()
    };
    assert_eq!(run(&["-v", "named:/data"], LOOK), AS_IN_THE_IMAGE);
    // Only once: what a container deletes stays deleted.
    run(&["-v", "named:/data"], "rm /data/again; echo changed > /data/deep/file");
    assert_eq!(run(&["-v", "named:/data"], "cat /data/link; ls /data"), "changed\ndeep\nlink");
    assert_eq!(run(&["-v", "bare:/data:nocopy"], "ls -A /data"), "");
    // A place that the image does not have, and one that is a file's directory there.
    assert_eq!(run(&["-v", "other:/nowhere/else"], "ls -A /nowhere/else"), "");
    assert_eq!(run(&["-v", "account:/etc"], "head -c 5 /etc/passwd"), "root:");
    // The volume of the image itself: one a container, gone with --rm.
    assert_eq!(run(&[], LOOK), AS_IN_THE_IMAGE);
    assert_eq!(anonymous(&live), Vec::<String>::new());
    live.pybox(["volume", "rm", "named", "bare", "other", "account"]).ok();
    live.pybox(["rmi", &image]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn anonymous_volumes_stay_with_their_container() {
    let Some(live) = Live::new() else { return };
    let image = with_data(&live);
    live.pybox(["run", "--name", "one", "-v", "/more", &image, "sh", "-c", "echo x > /more/f; echo y > /data/g"]).ok();
    let volumes = anonymous(&live);
    assert!(volumes.len() == 2 && volumes.iter().all(|name| name.len() == 64), "{volumes:?}");
    let sources =
        live.pybox(["inspect", "--format", "{{range .Mounts}}{{.Name}} {{.Destination}},{{end}}", "one"]).ok();
    assert!(volumes.iter().all(|name| sources.contains(name)) && sources.contains("/more,"), "{sources}");
    assert_eq!(live.pybox(["start", "-a", "one"]).run().code, Some(0));
    // Its files are still there, and stay when it is removed without -v.
    live.pybox(["cp", "one:/data/g", "-"]).run().exits(0);
    live.pybox(["volume", "prune", "-f"]).ok();
    assert_eq!(anonymous(&live), volumes);
    live.pybox(["rm", "one"]).ok();
    assert_eq!(anonymous(&live), volumes);
    let pruned = live.pybox(["volume", "prune", "-f"]).ok();
    assert!(volumes.iter().all(|name| pruned.contains(name)) && pruned.contains("Total reclaimed space"), "{pruned}");
    assert_eq!(anonymous(&live), Vec::<String>::new());
    live.pybox(["create", "--name", "two", &image]).ok();
    assert_eq!(anonymous(&live).len(), 1);
    live.pybox(["rm", "-v", "two"]).ok();
    assert_eq!(anonymous(&live), Vec::<String>::new());
    live.pybox(["rmi", &image]).ok();
}

#[test]
fn many_who_make_the_same_volume_share_it() {
    let Some(live) = Live::new() else { return };
    let image = with_data(&live);
    let script = "test $(cat /data/link) = image && echo x >> /data/sum";
    let running: Vec<_> = (0..12)
        .map(|_| live.pybox(["run", "--rm", "-v", "shared:/data", &image, "sh", "-c", script]).within(120).start())
        .collect();
    for running in running {
        running.wait().exits(0);
    }
    let sum = live.pybox(["run", "--rm", "-v", "shared:/data", &image, "sh", "-c", "wc -l < /data/sum"]).ok();
    assert_eq!(sum, "12");
    live.pybox(["volume", "rm", "shared"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
