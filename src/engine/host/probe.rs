//! What `info` shows of this host.
