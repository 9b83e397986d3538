//! What a POP3 session sees of its mailbox: fixed when it logs in.

use super::ids::{Era, MessageId, MsgNo, Uid};

/// One message of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id in the store.
    pub id: MessageId,
    /// Its size in octets, exactly what RETR sends without the stuffing dots and the last line.
    pub octets: u64,
}

/// The messages of a mailbox, oldest first, as they were at login.
#[derive(Clone, Debug)]
pub struct Listing {
    era: Era,
    entries: Vec<Entry>,
}

impl Listing {
    /// A listing of `entries`, oldest first, of a database of `era`.
    #[must_use]
    pub fn new(era: Era, entries: Vec<Entry>) -> Listing {
        Listing { era, entries }
    }

    /// The messages in the order of their numbers.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The message of a number, if there is one.
    #[must_use]
    pub fn get(&self, number: MsgNo) -> Option<&Entry> {
        self.entries.get(number.index())
    }

    /// The unique-id of a message of this listing.
    #[must_use]
    pub fn uid(&self, entry: &Entry) -> Uid {
        Uid::new(self.era, entry.id)
    }
}
