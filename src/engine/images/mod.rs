//! The verbs of images.

mod pull;
