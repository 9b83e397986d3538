//! Everything that needs TLS, a login or another mail server: real clients against the real server,
//! the matrix of who may log in where, attacks on the beginning of TLS, Postfix that hands over by
//! LMTP, and scanners. A program that is not installed is a failure: `tests/run` installs them all.
//!
//! The matrix and what the scanners found are written to `target/tmp/secure-*.txt`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

#[path = "secure/fetchers.rs"]
mod fetchers;
#[path = "secure/guesses.rs"]
mod guesses;
#[path = "secure/injection.rs"]
mod injection;
#[path = "secure/matrix.rs"]
mod matrix;
#[path = "secure/postfix.rs"]
mod postfix;
#[path = "secure/removed.rs"]
mod removed;
#[path = "secure/scans.rs"]
mod scans;
#[path = "secure/scram.rs"]
mod scram;
#[path = "secure/senders.rs"]
mod senders;
#[path = "secure/tunnel.rs"]
mod tunnel;
#[path = "secure/world.rs"]
mod world;
