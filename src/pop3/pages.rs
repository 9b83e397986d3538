//! The answers to LIST and UIDL without a number, written a page at a time, so that a mailbox of a
//! hundred thousand messages never stands in a buffer.

use super::marks::Marks;
use bytes::{BufMut, BytesMut};

/// A page ends with the line that takes it past this many octets.
const PAGE_OCTETS: usize = 4 * 1024;
/// Room for the line that does so.
const LINE_OCTETS: usize = 64;

/// What is listed for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Its size (LIST).
    Octets,
    /// Its unique-id (UIDL).
    Uid,
}

/// Whether there is more to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another page at least.
    More,
    /// It is all written.
    Ended,
}

/// How far a list is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    column: Column,
    next: usize,
}

impl Pages {
    /// At the first message.
    #[must_use]
    pub fn new(column: Column) -> Pages {
        Pages { column, next: 0 }
    }

    /// Writes the next page of messages that are not marked; the last one ends with the final dot.
    pub fn write(&mut self, marks: &Marks, out: &mut BytesMut) -> Progress {
        let full = out.len() + PAGE_OCTETS;
        out.reserve(PAGE_OCTETS + LINE_OCTETS);
        let mut digits = itoa::Buffer::new();
        while let Some((number, entry)) = marks.at_or_after(self.next) {
            self.next = number.index() + 1;
            out.put_slice(digits.format(number.index() + 1).as_bytes());
            out.put_u8(b' ');
            match self.column {
                Column::Octets => out.put_slice(digits.format(entry.octets).as_bytes()),
                Column::Uid => marks.uid(entry).put(out),
            }
            out.put_slice(b"\r\n");
            if out.len() >= full {
                return Progress::More;
            }
        }
        // RFC 1939 §3: a line with a single dot ends a multi-line response. None of ours begins
        // with one, so there is nothing to stuff.
        out.put_slice(b".\r\n");
        Progress::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::{Era, MessageId, MsgNo};
    use crate::mail::listing::{Entry, Listing};

    fn marks(messages: u32) -> Marks {
        let entry = |n| Entry { id: MessageId(i64::from(n) + 9), octets: u64::from(n) * 10 };
        Marks::new(Listing::new(Era(0xab), (1..=messages).map(entry).collect()))
    }

    fn whole(column: Column, marks: &Marks) -> String {
        let mut out = BytesMut::new();
        let mut pages = Pages::new(column);
        while pages.write(marks, &mut out) == Progress::More {}
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn lists_leave_marked_messages_out() {
        let mut marks = marks(3);
        marks.mark(MsgNo::from_index(1).unwrap()).unwrap();
        assert_eq!(whole(Column::Octets, &marks), "1 10\r\n3 30\r\n.\r\n");
        assert_eq!(whole(Column::Uid, &marks), "1 000000ab.a\r\n3 000000ab.c\r\n.\r\n");
        assert_eq!(whole(Column::Octets, &self::marks(0)), ".\r\n");
    }

    #[test]
    fn a_long_list_comes_in_small_pages() {
        let mut marks = marks(100_000);
        for index in (0..100_000).step_by(3) {
            marks.mark(MsgNo::from_index(index).unwrap()).unwrap();
        }
        for column in [Column::Octets, Column::Uid] {
            let mut pages = Pages::new(column);
            let mut lines = 0;
            loop {
                let mut out = BytesMut::new();
                let progress = pages.write(&marks, &mut out);
                assert!(out.len() < PAGE_OCTETS + 100);
                lines += out.iter().filter(|&&octet| octet == b'\n').count();
                if progress == Progress::Ended {
                    break;
                }
            }
            assert_eq!(lines, marks.messages() + 1);
        }
    }
}
