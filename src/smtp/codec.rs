//! The bytes of a session: lines, a message ended by a dot, counted chunks, chunks to throw away.
//!
//! The driver says what comes next with [`Codec::begin`]; at its end the codec reads lines again, so
//! that whatever follows a message or chunk in the buffer is commands.

use crate::wire::dot::{BareNewline, Transparency, Unstuffer};
use crate::wire::line::{LINE_OCTETS_MAX, Line, LineScanner};
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio_util::codec::Decoder;

/// Longest line of a SASL exchange in octets, its CRLF included; AUTH with an initial response is one.
pub const SASL_OCTETS_MAX: usize = 12_288;
/// Most octets that one [`Frame::Data`] is made from.
const PIECE_OCTETS_MAX: usize = 64 * 1024;

/// What the next line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Awaiting {
    /// A command.
    #[default]
    Command,
    /// The response to a challenge of SASL.
    Response,
}

/// What comes next, when it is not a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A message up to the line with a single dot (DATA).
    Dot,
    /// Counted octets of a message (BDAT).
    Chunk {
        /// How many.
        size: u64,
        /// Whether a message begins with them.
        first: bool,
        /// Whether the message ends with them.
        last: bool,
    },
    /// Counted octets of a chunk that was refused.
    Skip {
        /// How many.
        size: u64,
    },
}

/// What a stretch of the stream turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line without its CRLF.
    Line(Bytes),
    /// A line that is too long; its rest is swallowed.
    TooLong,
    /// A line with a bare LF; its rest is swallowed.
    BareNewline,
    /// The next octets of a message, without the stuffing. Never empty.
    Data(Bytes),
    /// So many octets of a refused chunk were thrown away.
    Skipped(usize),
    /// The message, the chunk, or the refused chunk is over.
    End(LineEnds),
}

/// How the lines of a message ended so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnds {
    /// As they have to, or as the policy allows.
    Sound,
    /// A CR or LF stood alone.
    Bare,
}

/// Takes the stream apart.
#[derive(Debug)]
pub struct Codec {
    policy: BareNewline,
    lines: LineScanner,
    mode: Mode,
    /// For the message under way; kept from one chunk to the next, since a chunk may end between
    /// the CR and the LF of a line.
    unstuffer: Unstuffer,
    out: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Line(Awaiting),
    Dot,
    Chunk { left: u64, last: bool },
    Skip { left: u64 },
    Ended,
}

impl Codec {
    /// At the start of a session, reading lines.
    #[must_use]
    pub fn new(policy: BareNewline) -> Codec {
        Codec {
            policy,
            lines: LineScanner::default(),
            mode: Mode::Line(Awaiting::Command),
            unstuffer: Unstuffer::new(Transparency::Dots, policy),
            out: BytesMut::new(),
        }
    }

    /// What follows is a line, and of what kind. Until this is called, lines are commands.
    pub fn expect(&mut self, awaiting: Awaiting) {
        self.mode = Mode::Line(awaiting);
    }

    fn line(&mut self, input: &mut BytesMut, awaiting: Awaiting) -> Option<Frame> {
        let limit = |start: &[u8]| match awaiting {
            Awaiting::Command => command_octets_max(start),
            Awaiting::Response => SASL_OCTETS_MAX,
        };
        Some(match self.lines.next_within(input, limit)? {
            Line::Whole(line) => Frame::Line(line),
            // Octets of a message follow, and how many cannot be told. A BDAT without a size says
            // the same, and ends the session before they are read as commands.
            Line::TooLong | Line::BareNewline if awaiting == Awaiting::Command && begins_with_bdat(input) => {
                Frame::Line(Bytes::from_static(BDAT))
            }
            Line::TooLong => Frame::TooLong,
            Line::BareNewline => Frame::BareNewline,
        })
    }

    /// What follows is no line.
    pub fn begin(&mut self, framing: Framing) {
        self.mode = match framing {
            Framing::Dot => {
                self.unstuffer = Unstuffer::new(Transparency::Dots, self.policy);
                Mode::Dot
            }
            Framing::Chunk { size, first, last } => {
                if first {
                    self.unstuffer = Unstuffer::new(Transparency::Counted, self.policy);
                }
                Mode::Chunk { left: size, last }
            }
            Framing::Skip { size } => Mode::Skip { left: size },
        };
    }

    fn dot(&mut self, input: &mut BytesMut) -> Option<Frame> {
        let piece = input.len().min(PIECE_OCTETS_MAX);
        self.out.reserve(piece);
        let progress = self.unstuffer.feed(&input[..piece], &mut self.out);
        input.advance(progress.used);
        if progress.ended {
            self.mode = Mode::Ended;
        }
        self.data()
    }

    fn chunk(&mut self, input: &mut BytesMut, left: u64, last: bool) -> Option<Frame> {
        let piece = within(left, input.len().min(PIECE_OCTETS_MAX));
        self.out.reserve(piece);
        self.unstuffer.feed(&input[..piece], &mut self.out);
        input.advance(piece);
        let left = left - piece as u64;
        self.mode = if left > 0 { Mode::Chunk { left, last } } else { Mode::Ended };
        if left == 0 && last {
            self.unstuffer.finish(&mut self.out);
        }
        self.data()
    }

    fn skip(&mut self, input: &mut BytesMut, left: u64) -> Option<Frame> {
        let piece = within(left, input.len());
        input.advance(piece);
        let left = left - piece as u64;
        self.mode = if left > 0 { Mode::Skip { left } } else { Mode::Ended };
        if piece > 0 { Some(Frame::Skipped(piece)) } else { self.ended() }
    }

    /// What was decoded; when that is nothing, the end if it was reached.
    fn data(&mut self) -> Option<Frame> {
        if self.out.is_empty() { self.ended() } else { Some(Frame::Data(self.out.split().freeze())) }
    }

    fn ended(&mut self) -> Option<Frame> {
        if self.mode != Mode::Ended {
            return None;
        }
        self.mode = Mode::Line(Awaiting::Command);
        // A session that waits for a command keeps no buffer that a message has made large.
        self.out = BytesMut::new();
        Some(Frame::End(if self.unstuffer.spoilt() { LineEnds::Bare } else { LineEnds::Sound }))
    }
}

const BDAT: &[u8] = b"BDAT";

/// RFC 4954 §4: AUTH may bring a response that is far longer than a command.
fn command_octets_max(start: &[u8]) -> usize {
    let is_auth = start.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH "));
    if is_auth { SASL_OCTETS_MAX } else { LINE_OCTETS_MAX }
}

/// Whether the line at the front of `input` is a BDAT.
fn begins_with_bdat(input: &[u8]) -> bool {
    let word = input.split(|octet| !octet.is_ascii_alphanumeric()).next().unwrap_or_default();
    word.eq_ignore_ascii_case(BDAT)
}

/// The smaller of the two. A chunk may be longer than memory is large.
fn within(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> io::Result<Option<Frame>> {
        Ok(match self.mode {
            Mode::Line(awaiting) => self.line(input, awaiting),
            Mode::Dot => self.dot(input),
            Mode::Chunk { left, last } => self.chunk(input, left, last),
            Mode::Skip { left } => self.skip(input, left),
            Mode::Ended => self.ended(),
        })
    }

    /// Half a line at the end is a peer that left, not a fault.
    fn decode_eof(&mut self, input: &mut BytesMut) -> io::Result<Option<Frame>> {
        self.decode(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when `framing` is followed by lines, the stream being cut at `cut`: the
    /// message, how its lines ended, what was thrown away, and the lines.
    fn decode(framing: Framing, wire: &[u8], cut: usize) -> (Vec<u8>, Option<LineEnds>, usize, Vec<Bytes>) {
        let mut codec = Codec::new(BareNewline::Refuse);
        codec.begin(framing);
        let mut input = BytesMut::new();
        let (mut text, mut ends, mut skipped, mut lines) = (Vec::new(), None, 0, Vec::new());
        for part in [&wire[..cut], &wire[cut..]] {
            input.extend_from_slice(part);
            while let Some(frame) = codec.decode(&mut input).unwrap() {
                match frame {
                    Frame::Data(octets) => {
                        assert!(ends.is_none() && !octets.is_empty());
                        text.extend_from_slice(&octets);
                    }
                    Frame::End(how) => ends = Some(how),
                    Frame::Skipped(octets) => skipped += octets,
                    Frame::Line(line) => lines.push(line),
                    other => panic!("{other:?}"),
                }
            }
        }
        (text, ends, skipped, lines)
    }

    #[test]
    fn what_follows_a_message_or_a_chunk_is_lines_again_at_every_cut() {
        let sound = Some(LineEnds::Sound);
        let chunk = |size, last| Framing::Chunk { size, first: true, last };
        let quit = || vec![Bytes::from_static(b"QUIT")];
        for (framing, wire, want) in [
            (Framing::Dot, &b".\r\nQUIT\r\n"[..], (b"".to_vec(), sound, 0, quit())),
            (Framing::Dot, b"..a\r\n.\r\nQUIT\r\n", (b".a\r\n".to_vec(), sound, 0, quit())),
            (Framing::Dot, b"a\nb\r\n.\r\nQUIT\r\n", (b"a\nb\r\n".to_vec(), Some(LineEnds::Bare), 0, quit())),
            (Framing::Dot, b"a\r\n.\r\r\nQUIT\r\n", (b"a\r\n\r\r\nQUIT\r\n".to_vec(), None, 0, vec![])),
            (chunk(0, true), b"QUIT\r\n", (b"".to_vec(), sound, 0, quit())),
            (chunk(3, true), b".\r\nQUIT\r\n", (b".\r\n".to_vec(), sound, 0, quit())),
            (chunk(2, true), b"abQUIT\r\n", (b"ab\r\n".to_vec(), sound, 0, quit())),
            (chunk(2, false), b"a\rQUIT\r\n", (b"a".to_vec(), sound, 0, quit())),
            (chunk(2, true), b"a\rQUIT\r\n", (b"a\r\r\n".to_vec(), Some(LineEnds::Bare), 0, quit())),
            (chunk(u64::MAX, true), b"QUIT\r\n", (b"QUIT\r\n".to_vec(), None, 0, vec![])),
            (Framing::Skip { size: 0 }, b"QUIT\r\n", (b"".to_vec(), sound, 0, quit())),
            (Framing::Skip { size: 6 }, b"QUIT\r\nQUIT\r\n", (b"".to_vec(), sound, 6, quit())),
            (Framing::Skip { size: u64::MAX }, b"QUIT\r\n", (b"".to_vec(), None, 6, vec![])),
        ] {
            for cut in 0..=wire.len() {
                assert_eq!(decode(framing, wire, cut), want, "{framing:?} {wire:?} cut at {cut}");
            }
        }
    }

    // proves: RFC 3030 §2
    #[test]
    fn a_line_may_be_cut_between_two_chunks() {
        let mut codec = Codec::new(BareNewline::Refuse);
        let mut text = Vec::new();
        for (octets, first, last) in
            [(&b"a\r"[..], true, false), (b"\n.", false, false), (b"\r\n", false, true)]
        {
            codec.begin(Framing::Chunk { size: octets.len() as u64, first, last });
            let mut input = BytesMut::from(octets);
            loop {
                match codec.decode(&mut input).unwrap() {
                    Some(Frame::Data(octets)) => text.extend_from_slice(&octets),
                    end => break assert_eq!(end, Some(Frame::End(LineEnds::Sound))),
                }
            }
        }
        assert_eq!(text, b"a\r\n.\r\n");
    }

    #[test]
    fn a_tolerated_newline_becomes_crlf_and_still_ends_nothing() {
        let mut codec = Codec::new(BareNewline::Normalise);
        codec.begin(Framing::Dot);
        let mut input = BytesMut::from(&b"a\n.\r\nb\n.\nc\r\n.\r\nQUIT\r\n"[..]);
        let text = Bytes::from_static(b"a\r\n.\r\nb\r\n.\r\nc\r\n");
        assert_eq!(codec.decode(&mut input).unwrap(), Some(Frame::Data(text)));
        assert_eq!(codec.decode(&mut input).unwrap(), Some(Frame::End(LineEnds::Sound)));
        assert_eq!(codec.decode(&mut input).unwrap(), Some(Frame::Line(Bytes::from_static(b"QUIT"))));
    }

    #[test]
    fn a_spoilt_bdat_is_one_without_a_size_at_every_cut() {
        let long = [b"bdat 9".to_vec(), vec![b' '; LINE_OCTETS_MAX], b"\r\nNOOP\r\n".to_vec()].concat();
        let other = [b"BDATA".to_vec(), vec![b'x'; LINE_OCTETS_MAX], b"\r\n".to_vec()].concat();
        let bdat = Frame::Line(Bytes::from_static(b"BDAT"));
        for (wire, want) in [
            (&long[..], &bdat),
            (b"BDAT 9\nNOOP\r\n", &bdat),
            (b"BDAT\n", &bdat),
            (&other[..], &Frame::TooLong),
            (b"NOOP BDAT\n", &Frame::BareNewline),
        ] {
            for cut in 0..=wire.len() {
                let mut codec = Codec::new(BareNewline::Refuse);
                let mut input = BytesMut::from(&wire[..cut]);
                let first = codec.decode(&mut input).unwrap();
                input.extend_from_slice(&wire[cut..]);
                let got = first.or_else(|| codec.decode(&mut input).unwrap());
                assert_eq!(got.as_ref(), Some(want), "cut at {cut}");
            }
        }
    }

    // proves: RFC 4954 §4
    #[test]
    fn the_lines_of_sasl_may_be_long_and_no_others_at_every_cut() {
        let line =
            |start: &str, octets: usize| start.to_owned() + &"A".repeat(octets - start.len() - 2) + "\r\n";
        let decode = |awaiting, wire: &[u8], cut: usize| {
            let mut codec = Codec::new(BareNewline::Refuse);
            codec.expect(awaiting);
            let (mut input, mut whole) = (BytesMut::new(), Vec::new());
            for part in [&wire[..cut], &wire[cut..]] {
                input.extend_from_slice(part);
                while let Some(frame) = codec.decode(&mut input).unwrap() {
                    codec.expect(Awaiting::Command);
                    whole.push(matches!(frame, Frame::Line(_)));
                }
            }
            whole
        };
        for (awaiting, start, octets_max) in [
            (Awaiting::Command, "NOOP ", LINE_OCTETS_MAX),
            (Awaiting::Command, "AUTHOR ", LINE_OCTETS_MAX),
            (Awaiting::Command, "auth PLAIN ", SASL_OCTETS_MAX),
            (Awaiting::Response, "", SASL_OCTETS_MAX),
            (Awaiting::Response, "BDAT=", SASL_OCTETS_MAX),
        ] {
            let (fits, too_long) = (line(start, octets_max), line(start, octets_max + 1));
            for after in [line("NOOP ", LINE_OCTETS_MAX), line("AUTH ", SASL_OCTETS_MAX)] {
                for cut in [0, 4, 5, 2_047, 2_048, octets_max - 1, octets_max, octets_max + 1] {
                    let good = [fits.as_bytes(), after.as_bytes()].concat();
                    assert_eq!(decode(awaiting, &good, cut), [true, true], "{start:?} cut at {cut}");
                    let bad = [too_long.as_bytes(), after.as_bytes()].concat();
                    assert_eq!(decode(awaiting, &bad, cut), [false, true], "{start:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn the_memory_of_a_message_is_given_back_at_its_end() {
        let mut codec = Codec::new(BareNewline::Refuse);
        codec.begin(Framing::Dot);
        let mut input = BytesMut::from(&[&b"x\r\n".repeat(9_999)[..], b".\r\n"].concat()[..]);
        assert!(matches!(codec.decode(&mut input), Ok(Some(Frame::Data(_)))));
        assert_eq!(codec.decode(&mut input).unwrap(), Some(Frame::End(LineEnds::Sound)));
        assert_eq!((codec.out.capacity(), codec.out.try_reclaim(1)), (0, false));
    }

    #[test]
    fn half_a_line_at_the_end_is_no_error() {
        let mut codec = Codec::new(BareNewline::Refuse);
        assert_eq!(codec.decode_eof(&mut BytesMut::from(&b"QUI"[..])).unwrap(), None);
        codec.begin(Framing::Dot);
        let mut input = BytesMut::from(&b"text"[..]);
        assert!(matches!(codec.decode_eof(&mut input), Ok(Some(Frame::Data(_)))));
        assert_eq!(codec.decode_eof(&mut input).unwrap(), None);
    }
}
