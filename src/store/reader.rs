//! A message as a stream of slices.

use super::outcome::Error;
use bytes::Bytes;

/// Reads one message: its trace lines first, then the slices of its body. Each call is a short read
/// of its own, so that a slow client never holds the database.
#[derive(Debug)]
pub struct MessageReader {}

impl MessageReader {
    /// The next octets; `None` after the last.
    ///
    /// # Errors
    /// [`Error`] when they could not be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        todo!()
    }
}
