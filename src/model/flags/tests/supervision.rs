//! Restarts, health checks, logs.

use super::text;
use crate::model::flags::{duration, health, log, restart};
use crate::model::supervision::{HealthCheck, HealthRequest, LogDriver, LogRequest, RestartPolicy};

#[test]
fn restart_policies() {
    for (word, policy) in [
        ("no", RestartPolicy::No),
        ("always", RestartPolicy::Always),
        ("unless-stopped", RestartPolicy::UnlessStopped),
        ("on-failure", RestartPolicy::OnFailure { most: None }),
        ("on-failure:3", RestartPolicy::OnFailure { most: Some(3) }),
        ("on-failure:0", RestartPolicy::OnFailure { most: None }),
    ] {
        assert_eq!(restart::parse(word), Ok(policy), "{word}");
    }
    for word in ["never", "always:3", "on-failure:", "on-failure:-1", "on-failure:+1", "on-failure:99999999999"] {
        assert!(restart::parse(word).is_err(), "{word}");
    }
}

#[test]
fn durations() {
    for (word, milliseconds) in
        [("0", 0), ("30s", 30_000), ("500ms", 500), ("1m30s", 90_000), ("1.5h", 5_400_000), ("0.5s", 500), ("9us", 0)]
    {
        assert_eq!(duration::parse("--x", word), Ok(milliseconds), "{word}");
    }
    for word in ["", "5", "s", "-5s", "5 s", "1..5s", "5d", "1s2", "99999999999999999999h", "900000000h"] {
        assert!(duration::parse("--x", word).is_err(), "{word}");
    }
}

#[test]
fn health_checks() {
    let image = serde_json::json!({
        "Test": ["CMD-SHELL", "curl localhost"], "Interval": 5_000_000_000_u64, "Timeout": 0, "Retries": 7
    });
    let mut request = HealthRequest { timeout: Some(100), ..HealthRequest::default() };
    let check = |command: &[&str], interval, timeout, retries| {
        let command = command.iter().map(ToString::to_string).collect();
        Some(HealthCheck { command, interval, timeout, start_period: 0, retries })
    };
    assert_eq!(health::effective(&request, None), None);
    assert_eq!(health::effective(&request, Some(&image)), check(&["/bin/sh", "-c", "curl localhost"], 5000, 100, 7));
    health::command("test -e /ready", &mut request).expect("a command");
    assert_eq!(health::effective(&request, None), check(&["/bin/sh", "-c", "test -e /ready"], 30_000, 100, 3));
    health::command("[\"CMD\", \"true\"]", &mut request).expect("a list");
    assert_eq!(health::effective(&request, None), check(&["true"], 30_000, 100, 3));
    health::command("none", &mut request).expect("none");
    assert_eq!(health::effective(&request, Some(&image)), None);
    for bad in ["", "[", "[]", "[\"CMD\"]"] {
        assert!(health::command(bad, &mut HealthRequest::default()).is_err(), "{bad}");
    }
    assert!(health::time("--health-interval", "0").is_err());
    assert!(health::retries("0").is_err());
    let none = serde_json::json!({ "Test": ["NONE"] });
    assert_eq!(health::effective(&HealthRequest::default(), Some(&none)), None);
}

#[test]
fn detach_keys() {
    use crate::model::flags::detach_keys::parse;
    assert_eq!(parse("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
    assert_eq!(parse("ctrl-[,a"), Ok(vec![27, b'a']));
    assert_eq!(parse("none"), Ok(Vec::new()));
    for bad in ["ctrl-1", "ctrl-", "ab", "a,,b", "ctrl-P"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn logs() {
    assert_eq!(log::driver("json-file"), Ok(LogDriver::File));
    assert_eq!(
        text(log::driver("syslog")),
        "invalid value \"syslog\" for --log-driver: expected file, journald or none"
    );
    let mut request = LogRequest::default();
    log::option("max-size=10m", &mut request).expect("a size");
    log::option("max-file=3", &mut request).expect("a number");
    assert_eq!(request, LogRequest { max_size: Some(10 << 20), max_file: Some(3), ..LogRequest::default() });
    for bad in ["max-size=1", "max-file=0", "max-file=x", "mode=non-blocking", "max-size"] {
        assert!(log::option(bad, &mut request).is_err(), "{bad}");
    }
}
