//! The nouns of mail: what every other module talks about.
//!
//! Pure values. Nothing here reads a socket, a clock or a file, and nothing here
//! imports another module of this program.

pub mod address;
pub mod body;
pub mod envelope;
pub mod header;
pub mod ids;
pub mod listing;
pub mod peer;
pub mod secret;
pub mod trace;
