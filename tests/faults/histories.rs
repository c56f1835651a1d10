//! T17: many clients do whatever comes to their mind to a few containers. Afterwards there must be an order of all they
//! did, each at a moment between its beginning and its end, in which every answer was true (Wing and Gong; with the
//! states that were seen, as Lowe has it).

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::aftermath::{gone, long, ordinary, whole, with_busybox};
use crate::harness::{Live, Outcome};

const CLIENTS: usize = 16;
/// Longer than they take.
const PATIENCE: Duration = Duration::from_secs(10);
const VERBS: [&str; 13] = [
    "create", "start", "start", "stop", "rm", "rm -f", "kill", "pause", "unpause", "rename", "exec", "commit",
    "inspect",
];
/// A container has one of two names, so that renaming is a move between two places.
const NAMES: [[&str; 2]; 4] = [["one", "one-too"], ["two", "two-too"], ["three", "three-too"], ["four", "four-too"]];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Absent,
    Created,
    Running,
    Paused,
    /// Killed, and not yet seen to have ended.
    Dying,
    Stopped,
}

/// Of the containers with the two names.
type Pair = [State; 2];

#[derive(Clone, Debug)]
struct Operation {
    verb: &'static str,
    /// Which of the two names.
    place: usize,
    answer: Answer,
    begun: Duration,
    ended: Duration,
    /// Somebody gave the container another name meanwhile: what was found by one may be done under the other.
    moved: bool,
    /// Somebody removed it by force meanwhile, which ends it first.
    doomed: bool,
    line: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Done,
    Saw(State),
    NoSuch,
    InUse,
    NotRunning,
    /// It may have been done or not; all the same, an error must say something.
    Unknown,
}

fn answer(verb: &str, end: &Outcome) -> Answer {
    let said = &end.stderr;
    assert!(!said.contains("panicked") && !said.contains("locked"), "{end}");
    // As docker's, `rm -f` is content with a container that is not there.
    if end.code == Some(0) && !said.contains("no such container") {
        return match (verb, end.text().as_str()) {
            ("inspect", "created") => Answer::Saw(State::Created),
            ("inspect", "running") => Answer::Saw(State::Running),
            ("inspect", "paused") => Answer::Saw(State::Paused),
            ("inspect", "exited") => Answer::Saw(State::Stopped),
            ("inspect", other) => panic!("a state called {other}"),
            _ => Answer::Done,
        };
    }
    assert!(end.code == Some(137) || said.contains("hint:") || said.contains("no such"), "{end}");
    match () {
        () if said.contains("no such container") => Answer::NoSuch,
        () if said.contains("is in use by container") => Answer::InUse,
        () if said.contains("is not running") => Answer::NotRunning,
        () => Answer::Unknown,
    }
}

/// The states that can come of it; none if the answer was not true.
fn steps(operation: &Operation, before: Pair) -> Vec<Pair> {
    let as_named = steps_at(operation, operation.place, before);
    if !operation.moved || matches!(operation.verb, "create" | "rename") {
        return as_named;
    }
    [as_named, steps_at(operation, 1 - operation.place, before)].concat()
}

fn steps_at(operation: &Operation, place: usize, before: Pair) -> Vec<Pair> {
    use State::{Absent, Created, Dying, Paused, Running, Stopped};
    let (is, other) = (before[place], before[1 - place]);
    let becomes = |next: &[State]| -> Vec<Pair> {
        let pair = |state: &State| {
            let mut pair = before;
            pair[place] = *state;
            pair
        };
        next.iter().map(pair).collect()
    };
    let same_if = |holds: bool| if holds { vec![before] } else { Vec::new() };
    let done = || match (operation.verb, is) {
        ("create", Absent) => becomes(&[Created]),
        ("create", _) | (_, Absent) => Vec::new(),
        ("start", Created | Stopped | Running) => becomes(&[Running]),
        ("start", Dying) => becomes(&[Dying, Running]),
        ("stop", Running | Paused | Dying) => becomes(&[Stopped]),
        ("stop" | "commit", _) => becomes(&[is]),
        ("rm", Created | Stopped) | ("rm -f", _) => becomes(&[Absent]),
        ("kill", Running | Paused | Dying) => becomes(&[Dying]),
        ("pause", Running) => becomes(&[Paused]),
        ("unpause", Paused) => becomes(&[Running]),
        ("pause" | "unpause", Dying) => becomes(&[Dying]),
        ("exec", Running | Dying) => becomes(&[is]),
        ("rename", _) if other == Absent => {
            vec![[other, is]].into_iter().map(|pair| if place == 0 { pair } else { [is, other] }).collect()
        }
        _ => Vec::new(),
    };
    match operation.answer {
        Answer::Done => done(),
        Answer::Saw(Stopped) => same_if(is == Stopped),
        Answer::Saw(Running) => same_if(matches!(is, Running | Dying)),
        Answer::Saw(Paused) => same_if(matches!(is, Paused | Dying)),
        Answer::Saw(state) => same_if(is == state),
        Answer::NoSuch => same_if(is == Absent),
        Answer::InUse => same_if(if operation.verb == "rename" { other != Absent } else { is != Absent }),
        Answer::NotRunning => same_if(matches!(is, Created | Stopped)),
        Answer::Unknown => [done(), vec![before]].concat(),
    }
}

/// One that was killed may have ended by now; so may one that somebody is removing by force, who ends it first.
fn later(pair: Pair, doomed: bool) -> Vec<Pair> {
    let may_end = |state| state == State::Dying || doomed && matches!(state, State::Running | State::Paused);
    let either = |state: State| if may_end(state) { vec![state, State::Stopped] } else { vec![state] };
    either(pair[0]).into_iter().flat_map(|one| either(pair[1]).into_iter().map(move |two| [one, two])).collect()
}

/// Whether there is an order in which all answers are true.
fn has_order(history: &[Operation]) -> bool {
    let mut seen: HashSet<(Vec<bool>, Pair)> = HashSet::new();
    let mut open = vec![(vec![false; history.len()], [State::Absent; 2])];
    while let Some((done, pair)) = open.pop() {
        if done.iter().all(|done| *done) {
            return true;
        }
        let left = || history.iter().enumerate().filter(|(index, _)| !done[*index]);
        // Nothing can come before what had ended when it began.
        let first_end = left().map(|(_, operation)| operation.ended).min().unwrap_or_default();
        for (index, operation) in left().filter(|(_, operation)| operation.begun <= first_end) {
            for next in later(pair, operation.doomed).into_iter().flat_map(|pair| steps(operation, pair)) {
                let mut done = done.clone();
                done[index] = true;
                if seen.insert((done.clone(), next)) {
                    open.push((done, next));
                }
            }
        }
    }
    false
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("small") % most
    }
}

fn one(live: &Live, image: &str, dice: &mut Dice, begin: Instant) -> (usize, Operation) {
    let (verb, names, place) = (VERBS[dice.below(VERBS.len())], dice.below(NAMES.len()), dice.below(10) / 8);
    let (name, other) = (NAMES[names][place], NAMES[names][1 - place]);
    let script = "trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let words: Vec<&str> = match verb {
        "create" => vec!["create", "--name", name, image, "sh", "-c", script],
        "stop" => vec!["stop", "-t", "2", name],
        "rm -f" => vec!["rm", "-f", name],
        "rename" => vec!["rename", name, other],
        "exec" => vec!["exec", name, "true"],
        "commit" => vec!["commit", "-q", name],
        "inspect" => vec!["inspect", "--type", "container", "--format", "{{.State.Status}}", name],
        verb => vec![verb, name],
    };
    let begun = begin.elapsed();
    let end = live.pybox(words).within(30).run();
    let ended = begin.elapsed();
    let line = format!("{verb} {name} -> {:?} {} {}", end.code, end.text(), end.stderr.replace('\n', " "));
    (names, Operation { verb, place, answer: answer(verb, &end), begun, ended, moved: false, doomed: false, line })
}

fn note_moves(history: &mut [Operation]) {
    let times_of = |verb| -> Vec<(Duration, Duration)> {
        history.iter().filter(|of| of.verb == verb).map(|of| (of.begun, of.ended)).collect()
    };
    let (moves, removals) = (times_of("rename"), times_of("rm -f"));
    for operation in history {
        let meets = |times: &[(Duration, Duration)]| {
            times.iter().any(|(begun, ended)| *begun < operation.ended && operation.begun < *ended)
        };
        (operation.moved, operation.doomed) = (meets(&moves), meets(&removals));
    }
}

#[test]
fn whatever_many_clients_do_there_is_an_order_in_which_it_is_true() {
    let Some(live) = Live::new() else { return };
    let image = with_busybox(&live);
    let until = Instant::now() + Duration::from_secs(if long() { 600 } else { 25 });
    let mut round = 0;
    while round == 0 || Instant::now() < until {
        let begin = Instant::now();
        let histories: Mutex<[Vec<Operation>; 4]> = Mutex::default();
        let busy = AtomicUsize::new(CLIENTS);
        std::thread::scope(|scope| {
            let (live, busy) = (&live, &busy);
            // Who has been paused amid an exec goes on when somebody lets it: at the end nobody else is left to do so.
            scope.spawn(move || {
                while busy.load(Ordering::Relaxed) > 0 {
                    std::thread::sleep(Duration::from_millis(100));
                    if begin.elapsed() > PATIENCE {
                        NAMES.iter().flatten().for_each(|name| drop(live.pybox(["unpause", name]).run()));
                    }
                }
            });
            for client in 0..CLIENTS {
                let (image, histories) = (&image, &histories);
                scope.spawn(move || {
                    let mut dice = Dice(round * 1000 + client as u64);
                    for _ in 0..8 {
                        let _ = dice.below(2);
                    }
                    for _ in 0..13 {
                        let (names, operation) = one(live, image, &mut dice, begin);
                        histories.lock().expect("no client has failed")[names].push(operation);
                    }
                    busy.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        for (history, names) in histories.into_inner().expect("no client has failed").iter_mut().zip(NAMES) {
            history.sort_by_key(|operation| operation.begun);
            note_moves(history);
            let told =
                || history.iter().map(|of| format!("{:?}-{:?} {}\n", of.begun, of.ended, of.line)).collect::<String>();
            assert!(has_order(history), "round {round}: there is no order for {names:?}:\n{}", told());
        }
        let left = ordinary(&live, ["ps", "-aq"]).text();
        if !left.is_empty() {
            live.pybox(["rm", "-f"].into_iter().chain(left.lines())).within(20).ok();
        }
        live.pybox(["image", "prune", "-f"]).run().exits(0);
        round += 1;
    }
    whole(&live, "many clients");
    gone(&live, "many clients");
}

#[test]
fn the_judge_is_just() {
    let operation = |verb, answer, begun, ended| Operation {
        verb,
        place: 0,
        answer,
        begun: Duration::from_millis(begun),
        ended: Duration::from_millis(ended),
        moved: false,
        doomed: false,
        line: String::new(),
    };
    let good = [
        operation("create", Answer::Done, 0, 10),
        operation("kill", Answer::Done, 25, 30),
        // Overlapping, so before or after.
        operation("start", Answer::Done, 5, 28),
        operation("inspect", Answer::Saw(State::Running), 40, 50),
        operation("inspect", Answer::Saw(State::Stopped), 60, 70),
        operation("rm", Answer::Done, 80, 90),
        operation("stop", Answer::NoSuch, 95, 99),
    ];
    assert!(has_order(&good));
    // Removed, and there again.
    let bad = [&good[..], &[operation("inspect", Answer::Saw(State::Stopped), 100, 101)]].concat();
    assert!(!has_order(&bad));
    // Two create the same.
    assert!(!has_order(&[operation("create", Answer::Done, 0, 10), operation("create", Answer::Done, 5, 10)]));
    // Stopped, and still running.
    let bad =
        [&good[..4], &[operation("stop", Answer::Done, 51, 52), operation("exec", Answer::Done, 53, 54)]].concat();
    assert!(!has_order(&bad));
}
