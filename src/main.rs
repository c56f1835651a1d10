//! The program: chooses a persona, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((persona, rest)) if persona == "__monitor" => ExitCode::from(pybox::monitor::main(rest)),
        _ => ExitCode::from(125),
    }
}
