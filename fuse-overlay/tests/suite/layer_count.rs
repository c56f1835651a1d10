//! As many layers as an image may have: the kernel allows 500, images have up to 127.

use std::process::Command;
use std::time::Duration;

use crate::systems::{System, server};
use crate::trial::{Trial, awaited, cannot};

const LAYERS: usize = 127;

#[test]
fn all_layers_are_seen() {
    if cannot(System::Fuse) {
        return;
    }
    let trial = Trial::new(System::Fuse, "== layers\n1: mkdir d\n");
    let dir = &trial.told.place.dir;
    let script = "cd \"$1\" && for i in $(seq $2); do mkdir -p many/$i/d && echo $i > many/$i/d/f$i && echo $i > many/$i/top; done";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(dir).arg(LAYERS.to_string());
    let (status, said) = awaited(&mut trial.command(&["env".into()], &shell), Duration::from_secs(60));
    assert!(status.success(), "make layers: {said}");
    let mut prefix = vec![server().into(), "--map-auto".into()];
    for number in (1..=LAYERS).rev() {
        prefix.extend(["--lower".into(), dir.join(format!("many/{number}")).into()]);
    }
    let place = &trial.told.place;
    prefix.extend(["--upper".into(), place.upper().into(), "--work".into(), dir.join("work").into()]);
    prefix.extend([place.mounted().into(), "--".into()]);
    let script =
        "cd \"$1\" && cat top && ls d | wc -l && cat d/f1 d/f127 && echo x >> d/f1 && cat d/f1 && rm -r d && ls";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(place.mounted());
    let (status, said) = awaited(&mut trial.command(&prefix, &shell), Duration::from_secs(60));
    assert!(status.success(), "{status}: {said}");
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["127", "127", "1", "127", "1", "x", "top"]);
}
