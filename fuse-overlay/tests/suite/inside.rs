//! The part that runs in the namespace: this program again, told by its environment what to do.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use crate::script::{self, Case};
use crate::step::World;
use crate::systems::{Place, System};
use crate::{layers, text};

/// What to do: `prepare`, `run`, `work` or `child`.
const ROLE: &str = "PYBOX_SUITE_ROLE";
const DIR: &str = "PYBOX_SUITE_DIR";
const SYSTEM: &str = "PYBOX_SUITE_SYSTEM";
const PHASE: &str = "PYBOX_SUITE_PHASE";
/// The steps of a child.
pub(crate) const CHILD: &str = "PYBOX_SUITE_CHILD";
/// Before each answer of a child: what else stands on its output is the test runner's.
pub(crate) const ANSWER: &str = "answer: ";

/// The longest that one case may take, on a machine that has other things to do.
const LIMIT: Duration = Duration::from_secs(60);

/// This program, to play that part.
pub(crate) fn again(role: &str) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["inside::part", "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    Ok(command)
}

/// What the parts need to know of a test.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) place: Place,
    pub(crate) system: System,
    pub(crate) phase: usize,
}

impl Told {
    pub(crate) fn tell(&self, command: &mut Command) {
        command.env(DIR, &self.place.dir).env(SYSTEM, self.system.name()).env(PHASE, self.phase.to_string());
    }

    fn hear() -> Option<Self> {
        let dir = PathBuf::from(std::env::var_os(DIR)?);
        let system = System::from_name(&std::env::var(SYSTEM).ok()?)?;
        Some(Self { place: Place { dir }, system, phase: std::env::var(PHASE).ok()?.parse().ok()? })
    }

    /// The cases, as text.
    pub(crate) fn cases(&self) -> PathBuf {
        self.place.dir.join("cases")
    }

    /// One line an answer: number of the case, number of the step, answer.
    pub(crate) fn answers(&self) -> PathBuf {
        self.place.dir.join(format!("answers.{}", self.phase))
    }
}

/// The directory of the test, outside of what is mounted.
pub(crate) fn directory() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Does nothing unless this program has started itself.
#[test]
fn part() {
    let Ok(role) = std::env::var(ROLE) else { return };
    if role == "child" {
        return child(&std::env::var(CHILD).expect("the steps"));
    }
    let told = Told::hear().expect("the environment of a part");
    let cases = script::parse(&std::fs::read_to_string(told.cases()).expect("the cases")).expect("a table");
    match role.as_str() {
        "prepare" => layers::prepare(told.system, &told.place, &cases).unwrap_or_else(|why| panic!("prepare: {why}")),
        "work" => crate::death::work(&told),
        _ => run(&told, &cases),
    }
}

/// Steps separated by ` ; ` in a process of their own.
fn child(steps: &str) {
    let mut world = World::default();
    for step in steps.split(" ; ") {
        println!("\n{ANSWER}{}", world.run(step));
    }
}

fn run(told: &Told, cases: &[Case]) {
    let mut answers = String::new();
    for (number, case) in cases.iter().enumerate() {
        let Some(steps) = case.phases.get(told.phase).filter(|_| !case.skips(told.system)) else { continue };
        let lines: Vec<String> = steps.iter().map(|step| step.line.clone()).collect();
        let dir = told.place.mounted().join(layers::directory(number));
        let (sender, receiver) = mpsc::channel();
        // A thread that hangs in the kernel is left behind; the process ends without it.
        std::thread::spawn(move || in_directory(&dir, &lines, &sender));
        let mut index = 0;
        while index < steps.len() {
            let answer = receiver.recv_timeout(LIMIT);
            let hangs = matches!(answer, Err(mpsc::RecvTimeoutError::Timeout));
            let answer = answer.unwrap_or_else(|error| format!("no answer: {error}"));
            let ends = answer.starts_with("no answer");
            writeln!(answers, "{number}\t{index}\t{answer}").expect("write to a string");
            if hangs {
                std::fs::write(told.answers(), answers).expect("write the answers");
                std::process::exit(3);
            }
            index = if ends { steps.len() } else { index + 1 };
        }
    }
    std::fs::write(told.answers(), answers).expect("write the answers");
}

/// The steps of one case, on a thread whose directory, umask and ids are its own.
fn in_directory(dir: &std::path::Path, lines: &[String], answers: &mpsc::Sender<String>) {
    let start = || {
        unshare(CloneFlags::CLONE_FS).map_err(|error| error.to_string())?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        std::env::set_current_dir(dir).map_err(|error| error.to_string())
    };
    let started: Result<(), String> = start();
    let mut world = World::default();
    for line in lines {
        let answer = match &started {
            Ok(()) => world.run(line),
            Err(why) => format!("{}: {why}", text::name(dir.as_os_str().as_encoded_bytes())),
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}
