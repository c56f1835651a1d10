//! Health checks, made by the monitor, told by `ps`, `inspect` and `events`.

use crate::exec::{Guest, awaits};
use crate::harness::Live;

const STEADY: &str = "touch /tmp/ready; trap 'exit 0' TERM; while :; do sleep 0.1; done";

fn state(live: &Live, field: &str) -> String {
    live.pybox(["inspect", "--format", &format!("{{{{.State.Health.{field}}}}}"), "guest"]).ok()
}

#[test]
fn health_is_looked_at_and_told() {
    let Some(live) = Live::new() else { return };
    let check = ["--health-cmd", "echo looked; test -e /tmp/well", "--health-interval", "200ms"];
    let guest = Guest::runs(&live, &[&check[..], &["--health-retries", "2"]].concat(), STEADY);
    awaits(|| state(&live, "Status") == "unhealthy");
    assert!(live.pybox(["ps", "--format", "{{.Status}}"]).ok().ends_with(" (unhealthy)"));
    assert_eq!(live.pybox(["ps", "-q", "--filter", "health=unhealthy"]).ok().len(), 12);
    guest.exec(&[], &["touch", "/tmp/well"]).ok();
    awaits(|| state(&live, "Status") == "healthy");
    assert_eq!(state(&live, "FailingStreak"), "0");
    let log = live.pybox(["inspect", "--format", "{{json .State.Health.Log}}", "guest"]).ok();
    assert!(log.contains("\"Output\":\"looked\\n\"") && log.contains("\"ExitCode\":0"), "{log}");
    let told = live.pybox(["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]).ok();
    let told: Vec<&str> = told.lines().filter(|line| line.starts_with("health_status")).collect();
    assert_eq!(told, ["health_status: unhealthy", "health_status: healthy"]);
    // Frozen, it is not asked; it is no worse for that.
    live.pybox(["pause", "guest"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(state(&live, "Status"), "healthy");
    live.pybox(["unpause", "guest"]).ok();
    // It begins anew with each start.
    guest.exec(&[], &["rm", "/tmp/well"]).ok();
    live.pybox(["restart", "-t", "5", "guest"]).ok();
    awaits(|| state(&live, "Status") == "unhealthy");
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_check_that_hangs_or_cannot_be_is_a_failure() {
    let Some(live) = Live::new() else { return };
    let timing = ["--health-interval", "100ms", "--health-timeout", "300ms", "--health-retries", "1"];
    let guest = Guest::runs(&live, &[&["--health-cmd", "sleep 321"], &timing[..]].concat(), STEADY);
    awaits(|| state(&live, "Status") == "unhealthy");
    let log = live.pybox(["inspect", "--format", "{{json .State.Health.Log}}", "guest"]).ok();
    assert!(log.contains("longer than 300ms") && log.contains("\"ExitCode\":-1"), "{log}");
    live.pybox(["stop", "-t", "5", "guest"]).ok();
    drop(guest);
    let period = ["--health-start-period", "1h"];
    let guest = Guest::runs(&live, &[&["--health-cmd", "false"], &timing[..], &period].concat(), STEADY);
    awaits(|| live.pybox(["inspect", "--format", "{{len .State.Health.Log}}", "guest"]).ok() == "5");
    assert_eq!((state(&live, "Status"), state(&live, "FailingStreak")), ("starting".to_owned(), "0".to_owned()));
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn the_check_of_an_image_is_made_unless_told_otherwise() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &["--no-healthcheck"], STEADY);
    let shown = live.pybox(["inspect", "--format", "{{json .State}}", "guest"]).ok();
    assert!(!shown.contains("Health"), "{shown}");
    drop(guest);
}
