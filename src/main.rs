//! The program: chooses a persona, nothing else.

use std::process::ExitCode;

use pybox::snapshot::worker;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == worker::PERSONA) {
        return worker::main(words.next().as_deref());
    }
    ExitCode::SUCCESS
}
