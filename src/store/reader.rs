//! A message as a stream of slices.

use super::Inner;
use super::engine::Beginning;
use super::outcome::Error;
use crate::mail::ids::{BodyId, MessageId};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Reads one message: its trace lines first, then the slices of its body. Each call is a short read
/// of its own, so that a slow client never holds the database. The rows of a message never change
/// and their ids are never used again, so no snapshot is needed across the reads.
pub struct MessageReader {
    store: Arc<Inner>,
    place: Place,
}

/// What comes next.
enum Place {
    Head(MessageId),
    /// Read already.
    Begun(Beginning),
    /// All of a small body, which came with the head.
    Inline(Bytes),
    Chunk {
        body: BodyId,
        next: u32,
        chunks: u32,
    },
    End,
}

impl MessageReader {
    pub(super) fn new(store: Arc<Inner>, message: MessageId) -> MessageReader {
        MessageReader { store, place: Place::Head(message) }
    }

    /// A message whose beginning was read before.
    pub(super) fn begun(store: Arc<Inner>, beginning: Beginning) -> MessageReader {
        MessageReader { store, place: Place::Begun(beginning) }
    }

    /// The next octets, never none of them; `None` after the last.
    ///
    /// # Errors
    /// [`Error`] when they could not be read; the message is cut off then and must not be ended as
    /// if it were whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            // An error, like a call that was dropped, leaves `place` where it was: the next call asks again.
            let (slice, place) = match &mut self.place {
                Place::Head(message) => {
                    let found = self.store.engine.beginnings(vec![*message]).await;
                    let (_, found) = self.store.health.noted(found)?.pop().ok_or_else(gone)?;
                    (found.head.clone(), after_head(&found))
                }
                Place::Begun(beginning) => (beginning.head.clone(), after_head(beginning)),
                Place::Inline(body) => (std::mem::take(body), Place::End),
                Place::Chunk { next, chunks, .. } if next == chunks => (Bytes::new(), Place::End),
                Place::Chunk { body, next, chunks } => {
                    let chunk = self.store.engine.chunk(*body, *next).await;
                    let chunk = self.store.health.noted(chunk)?.ok_or_else(gone)?;
                    (chunk, Place::Chunk { body: *body, next: *next + 1, chunks: *chunks })
                }
                Place::End => return Ok(None),
            };
            self.place = place;
            if !slice.is_empty() {
                return Ok(Some(slice));
            }
        }
    }
}

fn after_head(found: &Beginning) -> Place {
    if found.chunks == 0 {
        Place::Inline(found.inline.clone())
    } else {
        Place::Chunk { body: found.body, next: 0, chunks: found.chunks }
    }
}

pub(super) fn gone() -> Error {
    Error::Gone
}

impl fmt::Debug for MessageReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageReader")
    }
}
