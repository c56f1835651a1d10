//! Words in, words out: the command line, and the only room that prints.

pub mod template;
