//! Pillarbox: a mail server in one binary. Mail comes in over SMTP, is kept in one SQLite
//! database, and goes out over POP3.
//!
//! # Layout, in reading order
//!
//! - [`mail`]: the nouns — addresses, envelopes, bodies, trace lines, ids.
//! - [`wire`]: bytes that both protocols share — lines, dot transparency, SASL.
//! - [`smtp`]: the words, the state machine and the driver of the way in.
//! - [`pop3`]: the same, file by file, of the way out.
//! - [`store`]: the mailboxes: one writer that commits groups, readers that never wait for it.
//! - [`auth`]: who may open which mailbox, and how fast one may guess.
//! - [`net`]: sockets, TLS, limits, timeouts, an orderly end.
//! - [`config`]: what the operator wrote, sound or refused with every fault.
//! - [`cli`]: the commands of the program.
//! - [`log`]: lines on standard error, for a person or a machine.
//! - [`serve`]: the assembly, the only place that knows every module.

pub mod auth;
pub mod cli;
pub mod config;
pub mod log;
pub mod mail;
pub mod net;
pub mod pop3;
pub mod serve;
pub mod smtp;
pub mod store;
pub mod wire;
