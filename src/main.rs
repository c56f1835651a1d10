//! The program: chooses a persona, nothing else.

fn main() {}
