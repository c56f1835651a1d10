//! Scopes asked for on a real bus: a private dbus-daemon, on which a manager of the test's own answers as systemd does.
//! What systemd itself makes of it is for the tests in the virtual machine.

#![allow(clippy::expect_used, reason = "a test that cannot build its world fails")]
#![allow(clippy::print_stderr, reason = "a test says why it is left out")]
#![expect(missing_docs, reason = "zbus makes methods of signals, without a word")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use pybox_systemd::{Bus, Error, Scope, Weights};
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

const LIMIT: Duration = Duration::from_secs(5);

/// A dbus-daemon of this test alone.
struct Daemon {
    process: Child,
    address: String,
}

impl Daemon {
    /// None where there is no such program, which is said.
    fn start() -> Option<Self> {
        let arguments = ["--session", "--nofork", "--nopidfile", "--print-address=1", "--address=unix:tmpdir=/tmp"];
        let started = Command::new("dbus-daemon").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut process) = started else {
            eprintln!("SKIPPED: dbus-daemon is not installed");
            return None;
        };
        let mut address = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut address).expect("an address");
        Some(Self { process, address: address.trim().to_owned() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().expect("kill");
        self.process.wait().expect("reap");
    }
}

type Properties = Vec<(String, OwnedValue)>;

/// The errors of systemd.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Answer {
    #[zbus(error)]
    ZBus(zbus::Error),
    UnitExists(String),
    AccessDenied(String),
}

/// Answers as the name of the unit asks it to.
struct Manager {
    started: mpsc::Sender<(String, Properties)>,
    refusals: u32,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {}

    async fn start_transient_unit(
        &mut self,
        name: String,
        mode: String,
        properties: Properties,
        _others: Vec<(String, Properties)>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Answer> {
        assert_eq!(mode, "fail");
        if name.starts_with("refused") {
            return Err(Answer::AccessDenied("not for you".to_owned()));
        }
        if name.starts_with("hung") {
            std::future::pending::<()>().await;
        }
        if name.starts_with("lingering") && self.refusals > 0 {
            self.refusals -= 1;
            return Err(Answer::UnitExists("it is there".to_owned()));
        }
        let job = OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/7").expect("a path");
        let result = if name.starts_with("failed") { "failed" } else { "done" };
        Self::job_removed(&emitter, 6, job.clone(), "another.scope", "failed").await?;
        Self::job_removed(&emitter, 7, job.clone(), &name, result).await?;
        self.started.send((name, properties)).expect("somebody listens");
        Ok(job)
    }

    fn set_unit_properties(&self, name: String, _runtime: bool, properties: Properties) -> zbus::fdo::Result<()> {
        self.started.send((name, properties)).map_err(|error| zbus::fdo::Error::Failed(error.to_string()))
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// A manager on the bus at `address`, until the test ends; what it starts.
fn manage(address: String) -> mpsc::Receiver<(String, Properties)> {
    let (started, what) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let manager = Manager { started, refusals: 3 };
            let _connection = zbus::connection::Builder::address(address.as_str())
                .and_then(|builder| builder.name("org.freedesktop.systemd1"))
                .and_then(|builder| builder.serve_at("/org/freedesktop/systemd1", manager))
                .expect("a manager")
                .build()
                .await
                .expect("a connection");
            ready.send(()).expect("somebody waits");
            std::future::pending::<()>().await;
        });
    });
    is_ready.recv().expect("a manager");
    what
}

fn scope(unit: &str) -> Scope {
    Scope {
        unit: unit.to_owned(),
        description: "a box".to_owned(),
        slice: "boxes.slice".to_owned(),
        process: std::process::id(),
        weights: Weights { cpu: Some(39), io: None },
    }
}

#[test]
fn a_scope_is_asked_for_and_its_job_awaited() {
    let Some(daemon) = Daemon::start() else { return };
    let started = manage(daemon.address.clone());
    // The first address is one where nobody is.
    let addresses = ["unix:path=/nowhere/bus".to_owned(), daemon.address.clone()];
    let bus = || Bus::connect(&addresses, LIMIT).expect("a bus");

    bus().start_scope(scope("good.scope")).expect("a job").wait(LIMIT).expect("a scope");
    let (name, properties) = started.recv().expect("a unit");
    assert_eq!(name, "good.scope");
    let value = |name: &str| properties.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    assert_eq!(value("CPUWeight").map(|value| value.downcast_ref::<u64>()), Some(Ok(39)));
    assert_eq!(value("Delegate").map(|value| value.downcast_ref::<bool>()), Some(Ok(true)));
    assert!(value("IOWeight").is_none());

    // One of that name is about to go.
    bus().start_scope(scope("lingering.scope")).expect("a job").wait(LIMIT).expect("a scope");

    let error = bus().start_scope(scope("failed.scope")).expect("a job").wait(LIMIT).expect_err("it failed");
    assert_eq!(error.to_string(), "start failed.scope: systemd's job ended with \"failed\"");
    let error = bus().start_scope(scope("refused.scope")).expect("a job").wait(LIMIT).expect_err("it was refused");
    assert_eq!(error.to_string(), "start refused.scope: not for you");
    assert!(!error.is_unit_exists());

    bus().set_weights("good.scope", Weights { cpu: None, io: Some(5) }, LIMIT).expect("other weights");
    let names: Vec<_> = started.iter().find(|(name, _)| name == "good.scope").expect("a change").1;
    assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["IOWeight"]);
}

#[test]
fn a_manager_that_hangs_holds_nobody_up() {
    let Some(daemon) = Daemon::start() else { return };
    let _started = manage(daemon.address.clone());
    let bus = Bus::connect(std::slice::from_ref(&daemon.address), LIMIT).expect("a bus");
    let (asked, limit) = (Instant::now(), Duration::from_millis(200));
    let error = bus.start_scope(scope("hung.scope")).expect("a job").wait(limit).expect_err("nobody answers");
    assert!(matches!(error, Error::Late { .. }), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(2));
}

#[test]
fn without_a_manager_the_bus_itself_says_so() {
    let Some(daemon) = Daemon::start() else { return };
    let bus = Bus::connect(std::slice::from_ref(&daemon.address), LIMIT).expect("a bus");
    let error = bus.start_scope(scope("lonely.scope")).expect("a job").wait(LIMIT).expect_err("nobody is there");
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

#[test]
fn a_bus_that_is_not_there_is_named() {
    let error = Bus::connect(&["unix:path=/nowhere/bus".to_owned()], LIMIT).expect_err("nothing is there");
    assert_eq!(error.to_string(), "connect to the bus at unix:path=/nowhere/bus");
    let error = Bus::connect(&[], LIMIT).expect_err("nothing is there");
    assert_eq!(error.to_string(), "connect to the bus at nowhere");
}
