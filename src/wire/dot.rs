//! Dot transparency in both directions (RFC 5321 §4.5.2, RFC 1939 §3), for input cut anywhere.
//!
//! Only CRLF ends a line and only `CRLF . CRLF` ends a message (RFC 5321 §2.3.8, §4.1.1.4). A bare
//! CR or LF spoils the message and is never taken for half of a line end: that is the whole defence
//! against smuggled messages, so it stands here once for every way in and out.

use bytes::{BufMut, BytesMut};
use memchr::{memchr2, memmem};

/// What becomes of a bare CR or LF inside a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// The message is spoilt.
    #[default]
    Refuse,
    /// It is kept as CRLF. Even so it neither ends the message nor starts a line whose dot counts.
    Normalise,
}

/// How the end of a message is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transparency {
    /// By a line with a single dot; lines that begin with a dot carry one more (DATA).
    Dots,
    /// By a count that the caller keeps; dots mean nothing (BDAT, RFC 3030 §2).
    Counted,
}

/// How far [`Unstuffer::feed`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Octets of the input that were used up: all of it, or all up to the end of the message.
    pub used: usize,
    /// Whether the message ended with the last of them.
    pub ended: bool,
}

/// Takes a message off the wire: undoes the stuffing, checks the line ends, finds the end.
#[derive(Clone, Debug)]
pub struct Unstuffer {
    transparency: Transparency,
    policy: BareNewline,
    at: At,
    spoilt: bool,
}

/// What was read just before the next octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A CRLF, or nothing at all.
    LineStart,
    /// A dot at the start of a line.
    Dot,
    /// A dot at the start of a line, and a CR.
    DotCr,
    /// Anything else but a CR.
    Middle,
    /// A bare newline that was made a CRLF. For dots it is the middle of a line.
    Normalised,
    /// A CR that waits for its LF.
    Cr,
}

impl Unstuffer {
    /// At the start of a message.
    #[must_use]
    pub fn new(transparency: Transparency, policy: BareNewline) -> Unstuffer {
        Unstuffer { transparency, policy, at: At::LineStart, spoilt: false }
    }

    /// Whether a bare CR or LF was met that the policy does not allow. The message is read to its
    /// end all the same, so that none of it is taken for commands.
    #[must_use]
    pub fn spoilt(&self) -> bool {
        self.spoilt
    }

    /// Copies the message in `input` to `out`, without the stuffing.
    pub fn feed(&mut self, input: &[u8], out: &mut BytesMut) -> Progress {
        let mut used = 0;
        while let Some(&octet) = input.get(used) {
            if matches!(self.at, At::Middle | At::Normalised) {
                let rest = &input[used..];
                let run = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                if run > 0 {
                    out.put_slice(&rest[..run]);
                    self.at = At::Middle;
                    used += run;
                    continue;
                }
            }
            used += 1;
            if self.octet(octet, out) {
                return Progress { used, ended: true };
            }
        }
        Progress { used, ended: false }
    }

    /// Ends a counted message: a CR that still waits for its LF is a bare one, and a last line that
    /// has no CRLF gets it, since POP3 can only send whole lines.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if self.at == At::Cr {
            self.bare(b'\r', out);
        }
        if !matches!(self.at, At::LineStart | At::Normalised) {
            out.put_slice(b"\r\n");
        }
        self.at = At::LineStart;
    }

    /// One octet of the state machine; true at the end of the message.
    fn octet(&mut self, octet: u8, out: &mut BytesMut) -> bool {
        match (self.at, octet) {
            (At::DotCr, b'\n') => {
                self.at = At::LineStart;
                return true;
            }
            (At::LineStart, b'.') if self.transparency == Transparency::Dots => self.at = At::Dot,
            // RFC 5321 §4.5.2: a first dot that is not alone on its line is deleted.
            (At::Dot, b'\r') => self.at = At::DotCr,
            (At::Cr, b'\n') => {
                out.put_slice(b"\r\n");
                self.at = At::LineStart;
            }
            (At::Cr | At::DotCr, _) => {
                self.bare(b'\r', out);
                return self.octet(octet, out);
            }
            (_, b'\n') => self.bare(b'\n', out),
            (_, b'\r') => self.at = At::Cr,
            (_, other) => {
                out.put_u8(other);
                self.at = At::Middle;
            }
        }
        false
    }

    fn bare(&mut self, octet: u8, out: &mut BytesMut) {
        match self.policy {
            BareNewline::Refuse => {
                self.spoilt = true;
                out.put_u8(octet);
                self.at = At::Middle;
            }
            BareNewline::Normalise => {
                out.put_slice(b"\r\n");
                self.at = At::Normalised;
            }
        }
    }
}

/// Puts a message on the wire: a dot more before each line that begins with one, and the line with
/// the single dot at the end.
#[derive(Clone, Debug, Default)]
pub struct Stuffer {
    /// How many octets of `CRLF` the output ends with, counting from the start of a line.
    before: Before,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    #[default]
    LineEnd,
    Cr,
    Other,
}

impl Stuffer {
    /// Copies `input` to `out` with its dots stuffed.
    pub fn feed(&mut self, input: &[u8], out: &mut BytesMut) {
        let mut rest = input;
        // The first octets may complete a CRLF that the cut divided.
        while let (Some(&first), true) = (rest.first(), self.before != Before::Other) {
            if self.before == Before::LineEnd && first == b'.' {
                out.put_u8(b'.');
            }
            out.put_u8(first);
            self.before = match (self.before, first) {
                (Before::Cr, b'\n') => Before::LineEnd,
                (_, b'\r') => Before::Cr,
                _ => Before::Other,
            };
            rest = &rest[1..];
        }
        while let Some(at) = memmem::find(rest, b"\r\n.") {
            out.put_slice(&rest[..at + 2]);
            out.put_slice(b"..");
            rest = &rest[at + 3..];
        }
        if !rest.is_empty() {
            out.put_slice(rest);
            self.before = match rest {
                [.., b'\r', b'\n'] => Before::LineEnd,
                [.., b'\r'] => Before::Cr,
                _ => Before::Other,
            };
        }
    }

    /// Ends the message (RFC 1939 §3), and its last line before that if it has no end.
    pub fn finish(self, out: &mut BytesMut) {
        if self.before != Before::LineEnd {
            out.put_slice(b"\r\n");
        }
        out.put_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `wire` decodes to, in pieces cut at `cut`: text, octets used, ended, spoilt.
    fn unstuff(wire: &[u8], cut: usize, policy: BareNewline) -> (Vec<u8>, usize, bool, bool) {
        let mut unstuffer = Unstuffer::new(Transparency::Dots, policy);
        let mut out = BytesMut::new();
        let first = unstuffer.feed(&wire[..cut], &mut out);
        if first.ended {
            return (out.to_vec(), first.used, true, unstuffer.spoilt());
        }
        let second = unstuffer.feed(&wire[cut..], &mut out);
        (out.to_vec(), first.used + second.used, second.ended, unstuffer.spoilt())
    }

    #[test]
    fn a_message_ends_with_crlf_dot_crlf_and_nothing_else() {
        // wire, text, ended, spoilt
        let table: [(&[u8], &[u8], bool, bool); 20] = [
            (b".\r\n", b"", true, false),
            (b"a\r\n.\r\n", b"a\r\n", true, false),
            (b"..\r\n.\r\n", b".\r\n", true, false),
            (b".a\r\n.\r\n", b"a\r\n", true, false),
            (b"a.\r\nb\r\n.\r\n", b"a.\r\nb\r\n", true, false),
            (b"\r\n.\r\n", b"\r\n", true, false),
            (b"a\n.\r\n", b"a\n.\r\n", false, true),
            (b"a\n.\n", b"a\n.\n", false, true),
            (b"a\r.\r\n", b"a\r.\r\n", false, true),
            (b"a\r.\r", b"a\r.", false, true),
            (b"a\r\n.\n", b"a\r\n\n", false, true),
            (b"a\r\n.\r", b"a\r\n", false, false),
            (b"a\r\n.\rb", b"a\r\n\rb", false, true),
            (b"a\r\n.\r\r\n", b"a\r\n\r\r\n", false, true),
            (b"a\r\r\n.\r\n", b"a\r\r\n", true, true),
            (b"a\r\n\x00.\r\n", b"a\r\n\x00.\r\n", false, false),
            (b"a\n\n.\r\n", b"a\n\n.\r\n", false, true),
            (b"a\r\n.\n.\r\n", b"a\r\n\n.\r\n", false, true),
            (b"\n.\r\n", b"\n.\r\n", false, true),
            (b"\r.\r\n", b"\r.\r\n", false, true),
        ];
        for (wire, text, ended, spoilt) in table {
            for cut in 0..=wire.len() {
                let got = unstuff(wire, cut, BareNewline::Refuse);
                assert_eq!(got, (text.to_vec(), wire.len(), ended, spoilt), "{wire:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn normalised_newlines_neither_end_a_message_nor_start_a_stuffed_line() {
        for (wire, text, ended) in [
            (&b"a\nb\r\n.\r\n"[..], &b"a\r\nb\r\n"[..], true),
            (b"a\rb\r\n.\r\n", b"a\r\nb\r\n", true),
            (b"a\n.\r\nQUIT\r\n", b"a\r\n.\r\nQUIT\r\n", false),
            (b"a\n..b\r\n.\r\n", b"a\r\n..b\r\n", true),
            (b"a\n.\n", b"a\r\n.\r\n", false),
        ] {
            for cut in 0..=wire.len() {
                let got = unstuff(wire, cut, BareNewline::Normalise);
                assert_eq!(got, (text.to_vec(), wire.len(), ended, false), "{wire:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_left_alone() {
        let (text, used, ended, _) = unstuff(b"a\r\n.\r\nQUIT\r\n", 2, BareNewline::Refuse);
        assert_eq!((text.as_slice(), used, ended), (&b"a\r\n"[..], 6, true));
    }

    #[test]
    fn a_counted_message_keeps_its_dots_and_gets_a_last_line_end() {
        for (wire, text, spoilt) in [
            (&b".\r\n..\r\n"[..], &b".\r\n..\r\n"[..], false),
            (b"a", b"a\r\n", false),
            (b"", b"", false),
            (b"a\r", b"a\r\r\n", true),
            (b"a\n", b"a\n\r\n", true),
        ] {
            let mut unstuffer = Unstuffer::new(Transparency::Counted, BareNewline::Refuse);
            let mut out = BytesMut::new();
            assert!(!unstuffer.feed(wire, &mut out).ended);
            unstuffer.finish(&mut out);
            assert_eq!((&out[..], unstuffer.spoilt()), (text, spoilt), "{wire:?}");
        }
    }

    #[test]
    fn stuffing_is_the_same_at_every_cut() {
        for (text, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b".a\r\n..b\r\nc.\r\n.", b"..a\r\n...b\r\nc.\r\n..\r\n.\r\n"),
            (b"a\n.b\r\n", b"a\n.b\r\n.\r\n"),
            (b"no end", b"no end\r\n.\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n..\r\n.\r\n"),
            (b"\r\r\n.\r\n", b"\r\r\n..\r\n.\r\n"),
        ] {
            for cut in 0..=text.len() {
                let mut stuffer = Stuffer::default();
                let mut out = BytesMut::new();
                stuffer.feed(&text[..cut], &mut out);
                stuffer.feed(&text[cut..], &mut out);
                stuffer.finish(&mut out);
                assert_eq!(&out[..], wire, "{text:?} cut at {cut}");
            }
        }
    }
}
