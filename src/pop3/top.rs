//! The cutter of TOP: the header of a message, the blank line, and so many lines of the body.
//!
//! It is given the message in pieces cut anywhere and says how much of each to send, so that
//! nothing is read that TOP does not need.

use memchr::memchr;

/// What to do with a piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How many octets of it to send.
    pub octets: usize,
    /// Whether TOP has what it asked for.
    pub ended: bool,
}

/// Finds the end of what TOP asked for.
#[derive(Clone, Debug)]
pub struct Top {
    part: Part,
    body_lines: u64,
    line: LineSoFar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Body,
    Past,
}

/// What has been seen of the line that a cut may have divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineSoFar {
    Nothing,
    OnlyCr,
    Text,
    TextCr,
}

impl LineSoFar {
    /// With `more` of the same line, which holds no LF.
    fn and(self, more: &[u8]) -> LineSoFar {
        match (self, more) {
            (_, []) => self,
            (LineSoFar::Nothing, [b'\r']) => LineSoFar::OnlyCr,
            (_, [.., b'\r']) => LineSoFar::TextCr,
            _ => LineSoFar::Text,
        }
    }
}

impl Top {
    /// For the header and the first `body_lines` of the body.
    #[must_use]
    pub fn new(body_lines: u64) -> Top {
        Top { part: Part::Header, body_lines, line: LineSoFar::Nothing }
    }

    /// Looks at the next piece.
    pub fn feed(&mut self, piece: &[u8]) -> Cut {
        let mut octets = 0;
        while self.part != Part::Past {
            let rest = &piece[octets..];
            let Some(lf) = memchr(b'\n', rest) else {
                self.line = self.line.and(rest);
                return Cut { octets: piece.len(), ended: false };
            };
            octets += lf + 1;
            match self.line.and(&rest[..lf]) {
                LineSoFar::OnlyCr => self.line_ended(true),
                LineSoFar::TextCr => self.line_ended(false),
                // A bare LF ends no line, here as everywhere.
                LineSoFar::Nothing | LineSoFar::Text => self.line = LineSoFar::Text,
            }
        }
        Cut { octets, ended: true }
    }

    fn line_ended(&mut self, blank: bool) {
        self.line = LineSoFar::Nothing;
        match self.part {
            // RFC 1939 §7: the blank line belongs to what is sent, and to neither header nor count.
            Part::Header if blank => self.part = Part::Body,
            Part::Header | Part::Past => return,
            Part::Body => self.body_lines -= 1,
        }
        if self.body_lines == 0 {
            self.part = Part::Past;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What TOP sends of `message` when it comes in pieces of `size` octets.
    fn top(message: &[u8], lines: u64, size: usize) -> Vec<u8> {
        let mut top = Top::new(lines);
        let mut sent = Vec::new();
        for piece in message.chunks(size) {
            let cut = top.feed(piece);
            sent.extend_from_slice(&piece[..cut.octets]);
            if cut.ended {
                break;
            }
        }
        sent
    }

    /// The same by splitting the whole into lines.
    fn top_by_lines(message: &[u8], lines: u64) -> Vec<u8> {
        let mut ends: Vec<usize> = memchr::memmem::find_iter(message, "\r\n").map(|at| at + 2).collect();
        if ends.last() != Some(&message.len()) {
            ends.push(message.len());
        }
        let mut from = 0;
        let mut left = None;
        for to in ends {
            left = match left {
                None => (&message[from..to] == b"\r\n").then_some(lines),
                Some(left) => Some(left - 1),
            };
            from = to;
            if left == Some(0) {
                break;
            }
        }
        message[..from].to_vec()
    }

    #[test]
    fn top_sends_header_blank_line_and_so_many_lines() {
        let message = b"A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree\r\n";
        for (lines, sent) in [
            (0, &message[..14]),
            (1, &message[..19]),
            (2, &message[..21]),
            (3, &message[..]),
            (4, &message[..]),
            (u64::MAX, &message[..]),
        ] {
            for size in 1..=message.len() {
                assert_eq!(top(message, lines, size), sent, "{lines} lines, pieces of {size}");
            }
        }
    }

    #[test]
    fn odd_messages_have_a_top_too() {
        for (message, lines, sent) in [
            (&b""[..], 1, &b""[..]),
            (b"\r\n", 0, b"\r\n"),
            (b"\r\nno header\r\nx\r\n", 1, b"\r\nno header\r\n"),
            (b"A: only a header\r\n", 0, b"A: only a header\r\n"),
            (b"A: 1\n\nno line end\r\n\r\nbody\r\n", 0, b"A: 1\n\nno line end\r\n\r\n"),
            (b"A: 1\r\r\n\r\nbody\r\n", 0, b"A: 1\r\r\n\r\n"),
            (b"A: 1\r\n\r\r\n\r\nbody\r\n", 0, b"A: 1\r\n\r\r\n\r\n"),
        ] {
            for size in 1..=message.len().max(1) {
                assert_eq!(top(message, lines, size), sent, "{message:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn nothing_is_wanted_after_the_end() {
        let mut top = Top::new(0);
        assert_eq!(top.feed(b"\r\nbody"), Cut { octets: 2, ended: true });
        assert_eq!(top.feed(b"more"), Cut { octets: 0, ended: true });
    }

    proptest! {
        #[test]
        fn top_at_any_cut_is_top_of_the_whole(
            message in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')], 0..60),
            crlf in proptest::collection::vec(0..60usize, 0..12),
            lines in 0..5u64,
            size in 1..9usize,
        ) {
            let mut message = message;
            for at in crlf {
                let at = at.min(message.len());
                message.splice(at..at, *b"\r\n");
            }
            prop_assert_eq!(top(&message, lines, size), top_by_lines(&message, lines));
        }
    }
}
