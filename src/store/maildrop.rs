//! An opened mailbox and its lease: one session at a time.

use super::outcome::{Error, Expunged};
use super::reader::MessageReader;
use crate::mail::ids::MessageId;
use crate::mail::listing::Entry;
use std::time::{Duration, Instant};

/// A session that was silent for this long gives way to a new login.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An opened mailbox. It holds the lease and gives it back when dropped.
#[derive(Debug)]
pub struct Maildrop {}

impl Maildrop {
    /// The session was heard of: the peer sent a command or took part of a message.
    pub fn touch(&self, now: Instant) {
        todo!("{now:?}")
    }

    /// Waits until a newer session has taken the mailbox over.
    pub async fn evicted(&self) {
        todo!()
    }

    /// The octets of a message, as a stream.
    #[must_use]
    pub fn read(&self, entry: &Entry) -> MessageReader {
        todo!("{entry:?}")
    }

    /// Deletes messages, all or none, and gives the lease back. Ready when it is on disk.
    ///
    /// # Errors
    /// [`Error`]; nothing was deleted then. [`Error::LeaseLost`] when the session was evicted.
    pub async fn expunge(self, ids: Vec<MessageId>) -> Result<Expunged, Error> {
        todo!("{ids:?}")
    }
}
