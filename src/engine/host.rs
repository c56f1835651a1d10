//! Facts about the machine and the user, found by trying. Each is looked up when asked for: `run` pays for what it uses.
