//! Placeholder until the crate arrives from its branch.
