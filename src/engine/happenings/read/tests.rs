//! Reading happenings: portions, the change of files, filters.

use super::*;
use crate::engine::api::Settings;

struct World {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let engine = Engine::new(Settings { root: dir.path().into(), ..Settings::default() });
        Self { dir, engine }
    }

    fn tell(&self, action: &str) {
        self.engine.tell(Kind::Container, action, "c0ffee", [("name", "web".to_owned()), ("tier", "front".to_owned())]);
    }

    fn read(&self, from: ReadFrom, filters: &[HappeningFilter]) -> (String, ReadFrom) {
        let read = ReadHappenings { from, filters: filters.to_vec(), ..ReadHappenings::default() };
        let answer = self.engine.read_happenings(&read).expect("readable");
        let actions: Vec<_> = answer.list.into_iter().map(|happening| happening.action).collect();
        (actions.join(" "), ReadFrom::Behind(answer.position))
    }

    fn change_files(&self) {
        let path = Layout::new(self.dir.path()).events();
        std::fs::rename(&path, events::older(&path)).expect("rename");
    }
}

#[test]
fn portions_go_on_where_the_last_one_ended() {
    let world = World::new();
    let (nothing, start) = world.read(ReadFrom::Now, &[]);
    assert_eq!(nothing, "");
    world.tell("create");
    world.tell("start");
    let (first, start) = world.read(start, &[]);
    assert_eq!(first, "create start");
    assert_eq!(world.read(start, &[]).0, "");
    world.tell("die");
    assert_eq!(world.read(start, &[]).0, "die");
    assert_eq!(world.read(ReadFrom::Now, &[]).0, "", "what was before is not new");
    assert_eq!(world.read(ReadFrom::Oldest, &[]).0, "create start die");
}

#[test]
fn nothing_is_lost_or_told_twice_when_the_files_change() {
    let world = World::new();
    world.tell("create");
    let (_, start) = world.read(ReadFrom::Oldest, &[]);
    world.tell("start");
    world.change_files();
    let (told, between) = world.read(start, &[]);
    assert_eq!(told, "start", "there is no current file just now");
    world.tell("die");
    assert_eq!(world.read(start, &[]).0, "start die");
    let (told, start) = world.read(between, &[]);
    assert_eq!(told, "die");
    world.tell("destroy");
    assert_eq!(world.read(start, &[]).0, "destroy");
    assert_eq!(world.read(ReadFrom::Oldest, &[]).0, "create start die destroy");
}

#[test]
fn half_a_line_waits_for_its_end() {
    let world = World::new();
    world.tell("create");
    let path = Layout::new(world.dir.path()).events();
    let whole = std::fs::read(&path).expect("read");
    let (half, rest) = whole.split_at(whole.len() / 2);
    std::fs::write(&path, half).expect("write");
    let (told, start) = world.read(ReadFrom::Oldest, &[]);
    assert_eq!(told, "");
    use std::io::Write as _;
    File::options().append(true).open(&path).expect("open").write_all(rest).expect("write");
    assert_eq!(world.read(start, &[]).0, "create");
}

#[test]
fn filters_of_one_kind_are_alternatives_and_kinds_add_up() {
    use HappeningFilter::{Action, Container, Image, Label, Volume};
    let world = World::new();
    world.tell("create");
    world.tell("health_status: healthy");
    world.engine.tell(Kind::Image, "pull", "debian:12", [("name", "debian".to_owned())]);
    world.engine.tell(Kind::Volume, "create", "data", [("driver", "local".to_owned())]);
    let label = |key: &str, value: Option<&str>| Label { key: key.into(), value: value.map(Into::into) };
    for (filters, told) in [
        (vec![HappeningFilter::Kind(Kind::Image)], "pull"),
        (vec![Action("create".into())], "create create"),
        (vec![Action("health_status".into())], "health_status: healthy"),
        (vec![Action("create".into()), Action("pull".into())], "create pull create"),
        (vec![Action("create".into()), HappeningFilter::Kind(Kind::Container)], "create"),
        (vec![Container("web".into())], "create health_status: healthy"),
        (vec![Container("c0ff".into()), Action("create".into())], "create"),
        (vec![Container("we".into())], ""),
        (vec![Image("docker.io/library/debian:12".into())], "pull"),
        (vec![Image("debian:11".into())], ""),
        (vec![Volume("data".into())], "create"),
        (vec![label("tier", None)], "create health_status: healthy"),
        (vec![label("tier", Some("back"))], ""),
    ] {
        assert_eq!(world.read(ReadFrom::Oldest, &filters).0, told, "{filters:?}");
    }
}

#[test]
fn waiting_ends_when_something_happens() {
    let world = World::new();
    world.tell("create");
    let (_, start) = world.read(ReadFrom::Oldest, &[]);
    let read = ReadHappenings { from: start, wait: 60_000, ..ReadHappenings::default() };
    let answer = std::thread::scope(|scope| {
        let reader = scope.spawn(|| world.engine.read_happenings(&read).expect("readable"));
        std::thread::sleep(Duration::from_millis(50));
        world.tell("start");
        reader.join().expect("no panic")
    });
    assert_eq!(answer.list.len(), 1);
    let past = ReadHappenings { from: start, wait: 60_000, until: Some(0), ..ReadHappenings::default() };
    let began = Instant::now();
    assert_eq!(world.engine.read_happenings(&past).expect("readable").list, []);
    assert!(began.elapsed() < Duration::from_secs(50), "nothing is waited for behind the end");
}
