//! Proofs without a store, for tests of the protocol cores. Not part of the program: it is compiled
//! for tests alone, or with the feature `testing`.

use super::outcome::{Expunged, Receipt};
use crate::mail::ids::QueueId;

/// What the store gives after the commit of a message.
#[must_use]
pub fn receipt(queue_id: QueueId) -> Receipt {
    Receipt::new(queue_id)
}

/// What the store gives after the commit of `messages` deletions.
#[must_use]
pub fn expunged(messages: usize) -> Expunged {
    Expunged::new(messages)
}
