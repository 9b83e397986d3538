//! Sockets: who is let in, how bytes are waited for, and how all of it ends in order.
//!
//! Knows no protocol. A driver gets a [`conn::Conn`] and asks it for frames.

pub mod bind;
pub mod certificate;
pub mod conn;
pub mod drain;
pub mod inherited;
pub mod listener;
pub mod stream;
pub mod tls;
