//! A command line: ended by CRLF and nothing else, with a limit.
//!
//! A line that is too long, or that holds a bare LF, is reported once, at the octet that spoils it,
//! and swallowed up to its CRLF: whatever stands in it is never read as a command of its own
//! (RFC 5321 §2.3.8, §4.5.3.1.4). Reporting early tells someone who types into `nc` what is wrong.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

/// Longest command line in octets, its CRLF included. RFC 5321 §4.5.3.1.4 asks for 512 and more for
/// each extension, RFC 2449 §4 for 255.
pub const LINE_OCTETS_MAX: usize = 2_048;

/// What a stretch of the stream turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole line without its CRLF. It may hold a bare CR or NUL, which no command allows.
    Whole(Bytes),
    /// More than the limit without CRLF. The line, which still stands at the front of the input, will
    /// be swallowed.
    TooLong,
    /// A LF without CR. The line, which still stands at the front of the input, will be swallowed.
    BareNewline,
}

/// Finds lines in a growing buffer, and remembers how far it looked: a line that drips in octet by
/// octet costs linear time.
#[derive(Clone, Debug, Default)]
pub struct LineScanner {
    looked: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Reading,
    /// The line was reported as spoilt; its CRLF is still to come.
    Swallowing,
}

impl LineScanner {
    /// Takes the next line off the front of `input`; `None` when more octets are needed.
    pub fn next(&mut self, input: &mut BytesMut, octets_max: usize) -> Option<Line> {
        self.next_within(input, |_| octets_max)
    }

    /// The same where the limit depends on how the line begins. `limit` is asked for each line anew:
    /// what is swallowed before it says nothing of it.
    pub fn next_within(&mut self, input: &mut BytesMut, limit: impl Fn(&[u8]) -> usize) -> Option<Line> {
        loop {
            let found = self.find_end(input);
            let octets_max = limit(input);
            match (self.state, found) {
                (State::Swallowing, Some(End::CrLf(at))) => {
                    self.take(input, at + 2, State::Reading);
                }
                (State::Swallowing, Some(End::BareLf(at))) => self.take(input, at + 1, State::Swallowing),
                (State::Swallowing, None) => {
                    // A CR at the very end may be the first half of the CRLF.
                    let kept = usize::from(input.last() == Some(&b'\r'));
                    self.take(input, input.len() - kept, State::Swallowing);
                    return None;
                }
                (State::Reading, Some(End::CrLf(at))) if at + 2 <= octets_max => {
                    self.looked = 0;
                    let line = input.split_to(at).freeze();
                    input.advance(2);
                    return Some(Line::Whole(line));
                }
                (State::Reading, Some(End::BareLf(at))) if at < octets_max => {
                    self.take(input, 0, State::Swallowing);
                    return Some(Line::BareNewline);
                }
                (State::Reading, found) if found.is_some() || input.len() >= octets_max => {
                    self.take(input, 0, State::Swallowing);
                    return Some(Line::TooLong);
                }
                (State::Reading, _) => return None,
            }
        }
    }

    /// Whether `input` holds something that [`LineScanner::next`] may return without more octets.
    #[must_use]
    pub fn has_line(input: &[u8]) -> bool {
        memchr(b'\n', input).is_some()
    }

    fn take(&mut self, input: &mut BytesMut, octets: usize, next: State) {
        input.advance(octets);
        self.looked = 0;
        self.state = next;
    }

    fn find_end(&mut self, input: &[u8]) -> Option<End> {
        let Some(at) = memchr(b'\n', input.get(self.looked..)?).map(|at| at + self.looked) else {
            self.looked = input.len();
            return None;
        };
        Some(match at.checked_sub(1) {
            Some(before) if input[before] == b'\r' => End::CrLf(before),
            _ => End::BareLf(at),
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    CrLf(usize),
    BareLf(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line of `text` when it comes in pieces that end at `cuts`.
    fn lines(text: &[u8], cuts: &[usize], max: usize) -> Vec<Line> {
        let mut scanner = LineScanner::default();
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        let mut from = 0;
        for &to in cuts.iter().chain([&text.len()]) {
            buffer.extend_from_slice(&text[from..to]);
            from = to;
            found.extend(std::iter::from_fn(|| scanner.next(&mut buffer, max)));
            assert!(buffer.len() <= max, "no more than one line is held");
        }
        found
    }

    fn whole(text: &str) -> Line {
        Line::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn lines_are_the_same_at_every_cut() {
        let table: [(&[u8], Vec<Line>); 7] = [
            (b"NOOP\r\nQUIT\r\n", vec![whole("NOOP"), whole("QUIT")]),
            (b"\r\n", vec![whole("")]),
            (b"A\nB\r\nQUIT\r\n", vec![Line::BareNewline, whole("QUIT")]),
            (b"A\nB\nC\r\nQUIT\r\n", vec![Line::BareNewline, whole("QUIT")]),
            (b"A\rB\r\n", vec![whole("A\rB")]),
            (b"0123456789\r\nQUIT\r\n", vec![Line::TooLong, whole("QUIT")]),
            (b"01234567\r\n0123456\r\n", vec![whole("01234567"), whole("0123456")]),
        ];
        for (text, want) in table {
            assert_eq!(lines(text, &[], 10), want, "{text:?}");
            for cut in 0..=text.len() {
                assert_eq!(lines(text, &[cut], 10), want, "{text:?} cut at {cut}");
            }
            let each: Vec<usize> = (0..=text.len()).collect();
            assert_eq!(lines(text, &each, 10), want, "{text:?} octet by octet");
        }
    }
}
