//! The program: chooses a persona, nothing else.

use std::process::ExitCode;

use pybox::snapshot::worker;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == worker::PERSONA) {
        return worker::main(words.next().as_deref());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((persona, rest)) if persona == "__monitor" => ExitCode::from(pybox::monitor::main(rest)),
        _ => ExitCode::from(125),
    }
}
