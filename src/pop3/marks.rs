//! The messages of one session, and which of them are marked deleted.
//!
//! This is the only way from a number to a message, so a marked one is out of reach of every
//! command but RSET without any of them having to think of it.

use crate::mail::ids::{MessageId, MsgNo, Uid};
use crate::mail::listing::{Entry, Listing};

/// Why there is no message of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The mailbox had none of this number at login.
    NoSuch,
    /// It is marked deleted.
    Marked,
}

/// A listing with its marks. The counts are those of the messages that are not marked.
#[derive(Debug)]
pub struct Marks {
    listing: Listing,
    marked: Vec<bool>,
    messages: usize,
    octets: u64,
}

impl Marks {
    /// Nothing is marked at first.
    #[must_use]
    pub fn new(listing: Listing) -> Marks {
        let mut marks = Marks { marked: Vec::new(), messages: 0, octets: 0, listing };
        marks.unmark_all();
        marks
    }

    /// The message of a number, unless it is marked.
    ///
    /// # Errors
    /// [`Missing`] says why there is none.
    pub fn get(&self, number: MsgNo) -> Result<&Entry, Missing> {
        let entry = self.listing.get(number).ok_or(Missing::NoSuch)?;
        // RFC 1939 §5: a marked message is an error to whoever refers to it.
        if self.is_marked(number.index()) { Err(Missing::Marked) } else { Ok(entry) }
    }

    /// Marks a message deleted.
    ///
    /// # Errors
    /// [`Missing`] when there is no such message, or it is marked already.
    pub fn mark(&mut self, number: MsgNo) -> Result<(), Missing> {
        let octets = self.get(number)?.octets;
        if let Some(mark) = self.marked.get_mut(number.index()) {
            *mark = true;
            self.messages -= 1;
            self.octets = self.octets.saturating_sub(octets);
        }
        Ok(())
    }

    /// Takes all marks away.
    pub fn unmark_all(&mut self) {
        let entries = self.listing.entries();
        self.marked.clear();
        self.marked.resize(entries.len(), false);
        self.messages = entries.len();
        self.octets = entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.octets));
    }

    /// How many messages are not marked.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// How many octets these have together.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The first message that is not marked at `index` (from 0) or after it, with its number.
    #[must_use]
    pub fn at_or_after(&self, index: usize) -> Option<(MsgNo, &Entry)> {
        let entries = self.listing.entries().get(index..)?;
        let (offset, entry) =
            entries.iter().enumerate().find(|(offset, _)| !self.is_marked(index + offset))?;
        Some((MsgNo::from_index(index + offset)?, entry))
    }

    /// The messages behind this one that are not marked.
    pub fn behind(&self, entry: &Entry) -> impl Iterator<Item = Entry> + Clone {
        let entries = self.listing.entries();
        let index = entries.partition_point(|other| other.id <= entry.id);
        let behind = entries.iter().enumerate().skip(index);
        behind.filter(|(index, _)| !self.is_marked(*index)).map(|(_, entry)| *entry)
    }

    /// The unique-id of a message of this session.
    #[must_use]
    pub fn uid(&self, entry: &Entry) -> Uid {
        self.listing.uid(entry)
    }

    /// The messages that are marked, for the store to delete.
    #[must_use]
    pub fn into_marked(self) -> Vec<MessageId> {
        let entries = self.listing.entries().iter().zip(self.marked);
        entries.filter(|(_, marked)| *marked).map(|(entry, _)| entry.id).collect()
    }

    fn is_marked(&self, index: usize) -> bool {
        self.marked.get(index).is_some_and(|&marked| marked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::Era;

    fn number(n: usize) -> MsgNo {
        MsgNo::from_index(n - 1).unwrap()
    }

    fn marks(sizes: &[u64]) -> Marks {
        let entries =
            (10..).zip(sizes).map(|(id, &octets)| Entry { id: MessageId(id), octets }).collect::<Vec<_>>();
        Marks::new(Listing::new(Era(1), entries))
    }

    // proves: RFC 1939 §5
    #[test]
    fn a_marked_message_is_out_of_reach_until_rset() {
        let mut marks = marks(&[100, 20, 3]);
        assert_eq!((marks.messages(), marks.octets()), (3, 123));
        assert_eq!(marks.mark(number(2)), Ok(()));
        assert_eq!((marks.messages(), marks.octets()), (2, 103));
        assert_eq!(marks.get(number(2)), Err(Missing::Marked));
        assert_eq!(marks.mark(number(2)), Err(Missing::Marked));
        assert_eq!(marks.at_or_after(1).map(|(n, _)| n), Some(number(3)));
        marks.unmark_all();
        assert_eq!((marks.messages(), marks.octets()), (3, 123));
        assert!(marks.get(number(2)).is_ok());
        assert!(marks.into_marked().is_empty());
    }

    #[test]
    fn numbers_past_the_end_are_no_messages() {
        let mut marks = marks(&[1]);
        assert_eq!(marks.get(number(2)), Err(Missing::NoSuch));
        assert_eq!(marks.mark(number(4_294_967_295)), Err(Missing::NoSuch));
        assert_eq!(marks.at_or_after(1), None);
        assert_eq!(marks.at_or_after(usize::MAX), None);
    }

    #[test]
    fn only_marked_messages_are_handed_over_for_deletion() {
        let mut marks = marks(&[1, 1, 1, 1]);
        for n in [4, 1] {
            marks.mark(number(n)).unwrap();
        }
        assert_eq!(marks.into_marked(), [MessageId(10), MessageId(13)]);
    }
}
