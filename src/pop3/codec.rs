//! Bytes of POP3: command lines in, dot-stuffed messages out.

use super::top::Top;
use crate::wire::dot::Stuffer;
use crate::wire::line::{LINE_OCTETS_MAX, Line, LineScanner};
use bytes::BytesMut;
use std::io;
use tokio_util::codec::Decoder;

/// Longest line of a SASL exchange in octets, its CRLF included; AUTH with an initial response is one.
pub const SASL_OCTETS_MAX: usize = 12_288;

/// What the next line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Awaiting {
    /// A command.
    #[default]
    Command,
    /// The response to a challenge of SASL.
    Response,
}

/// Takes lines off the stream.
#[derive(Debug, Default)]
pub struct Lines {
    scanner: LineScanner,
    awaiting: Awaiting,
}

impl Lines {
    /// Says what the next line is, on which its longest length depends.
    pub fn expect(&mut self, awaiting: Awaiting) {
        self.awaiting = awaiting;
    }
}

/// The longest that a line may be which begins like `input`.
fn octets_max(awaiting: Awaiting, input: &[u8]) -> usize {
    let is_auth = || input.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
    // RFC 5034 §4: responses in base64 may be far longer than commands, and are taken whole.
    if awaiting == Awaiting::Response || is_auth() { SASL_OCTETS_MAX } else { LINE_OCTETS_MAX }
}

impl Decoder for Lines {
    type Item = Line;
    type Error = io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Line>, io::Error> {
        let awaiting = self.awaiting;
        Ok(self.scanner.next_within(input, |start| octets_max(awaiting, start)))
    }

    /// Half a line at the end of the stream is an end like any other: the default would make it an
    /// I/O error, and a peer that left is not a fault.
    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<Line>, io::Error> {
        let line = self.decode(input)?;
        if line.is_none() {
            input.clear();
        }
        Ok(line)
    }
}

/// How much of a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it (RETR).
    Whole,
    /// Its header and so many lines of its body (TOP).
    Top(u64),
}

/// Whether more of the message is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The next slice, if there is one.
    More,
    /// Nothing: the rest need not even be read.
    Nothing,
}

/// Puts a message on the wire. RETR and TOP both go this way, so they stuff alike.
#[derive(Debug)]
pub struct Outgoing {
    top: Option<Top>,
    stuffer: Stuffer,
}

impl Outgoing {
    /// At the start of a message of which `part` is sent.
    #[must_use]
    pub fn new(part: Part) -> Outgoing {
        let top = match part {
            Part::Whole => None,
            Part::Top(lines) => Some(Top::new(lines)),
        };
        Outgoing { top, stuffer: Stuffer::default() }
    }

    /// Writes what belongs on the wire of the next slice.
    pub fn feed(&mut self, slice: &[u8], out: &mut BytesMut) -> Wants {
        let Some(top) = &mut self.top else {
            self.stuffer.feed(slice, out);
            return Wants::More;
        };
        let cut = top.feed(slice);
        self.stuffer.feed(&slice[..cut.octets], out);
        if cut.ended { Wants::Nothing } else { Wants::More }
    }

    /// Writes the final dot. A message that could not be read to its end must not get one.
    pub fn finish(self, out: &mut BytesMut) {
        self.stuffer.finish(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dot::{BareNewline, Transparency, Unstuffer};
    use proptest::prelude::*;

    fn sent(message: &[u8], part: Part, size: usize) -> BytesMut {
        let mut outgoing = Outgoing::new(part);
        let mut out = BytesMut::new();
        for slice in message.chunks(size) {
            if outgoing.feed(slice, &mut out) == Wants::Nothing {
                break;
            }
        }
        outgoing.finish(&mut out);
        out
    }

    #[test]
    fn retr_and_top_stuff_alike() {
        let message = b".A: 1\r\n\r\n.one\r\n.\r\nthree\r\n";
        for size in 1..=message.len() {
            assert_eq!(&sent(message, Part::Whole, size)[..], b"..A: 1\r\n\r\n..one\r\n..\r\nthree\r\n.\r\n");
            assert_eq!(&sent(message, Part::Top(2), size)[..], b"..A: 1\r\n\r\n..one\r\n..\r\n.\r\n");
            assert_eq!(&sent(message, Part::Top(0), size)[..], b"..A: 1\r\n\r\n.\r\n");
        }
    }

    #[test]
    fn half_a_line_at_the_end_is_no_fault() {
        let mut input = BytesMut::from(&b"NOOP\r\nQUI"[..]);
        let mut lines = Lines::default();
        assert!(matches!(lines.decode_eof(&mut input), Ok(Some(Line::Whole(l))) if &l[..] == b"NOOP"));
        assert!(matches!(lines.decode_eof(&mut input), Ok(None)));
        assert!(input.is_empty());
    }

    // proves: RFC 5034 §4
    #[test]
    fn the_lines_of_sasl_may_be_long_and_no_others() {
        let decoded = |awaiting, start: &str, octets: usize| {
            let line = format!("{start}{}\r\n", "A".repeat(octets - start.len() - 2));
            let mut input = BytesMut::from(line.as_bytes());
            let mut lines = Lines::default();
            lines.expect(awaiting);
            matches!(lines.decode(&mut input), Ok(Some(Line::Whole(_))))
        };
        for (awaiting, start, octets_max) in [
            (Awaiting::Command, "PASS ", LINE_OCTETS_MAX),
            (Awaiting::Command, "AUTHOR ", LINE_OCTETS_MAX),
            (Awaiting::Command, "auth PLAIN ", SASL_OCTETS_MAX),
            (Awaiting::Response, "", SASL_OCTETS_MAX),
            (Awaiting::Response, "PASS ", SASL_OCTETS_MAX),
        ] {
            assert!(decoded(awaiting, start, octets_max), "{start:?}");
            assert!(!decoded(awaiting, start, octets_max + 1), "{start:?}");
        }
    }

    proptest! {
        // proves: RFC 1939 §3
        #[test]
        fn a_client_gets_back_the_message_that_was_stuffed(
            lines in proptest::collection::vec("[.a\r]{0,4}", 0..12),
            size in 1..9usize,
        ) {
            let line = |line: &String| format!("{}\r\n", line.replace('\r', " "));
            let message: String = lines.iter().map(line).collect();
            let wire = sent(message.as_bytes(), Part::Whole, size);
            let mut unstuffer = Unstuffer::new(Transparency::Dots, BareNewline::Refuse);
            let mut back = BytesMut::new();
            let progress = unstuffer.feed(&wire, &mut back);
            prop_assert!(progress.ended && progress.used == wire.len() && !unstuffer.spoilt());
            prop_assert_eq!(&back[..], message.as_bytes());
        }

        #[test]
        fn a_stuffed_answer_ends_once_whatever_the_message(
            message in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'x')], 0..60),
            lines in proptest::option::of(0..4u64),
            size in 1..9usize,
        ) {
            let part = lines.map_or(Part::Whole, Part::Top);
            let wire = sent(&message, part, size);
            prop_assert_eq!(&wire, &sent(&message, part, message.len().max(1)));
            let mut with_end = b"\r\n".to_vec();
            with_end.extend_from_slice(&wire);
            let ends = memchr::memmem::find_iter(&with_end, "\r\n.\r\n").collect::<Vec<_>>();
            prop_assert_eq!(ends, [with_end.len() - 5]);
        }
    }
}
