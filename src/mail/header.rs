//! What is read of the header of a message on its way in.

use super::body::Beginning;

/// A message with this many `Received:` lines goes round in a circle and is refused.
/// RFC 5321 §6.3 asks for a large limit, at least 100.
pub const HOPS_MAX: u32 = 100;
/// Largest header in octets.
pub const HEADER_OCTETS_MAX: u64 = 1 << 20;

/// Reads a message as it comes, up to the end of its header: how it begins, how long its header is and how
/// many `Received:` lines that has. Holds no more than the start of one line.
///
/// The header ends with the empty line, or before the first line that can be no part of a header, as
/// readers of mail see it.
#[derive(Clone, Debug, Default)]
pub struct HeaderScan {
    octets: u64,
    hops: u32,
    /// Unknown before the first line has told.
    beginning: Option<Beginning>,
    place: Place,
    /// Where the line under way begins.
    line: u64,
}

/// Where in the header the next octet falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// At the start of a line.
    #[default]
    Start,
    /// Behind the CR of an empty line.
    Empty,
    /// In what may be the name of a field.
    Name(Name),
    /// In the white space that old programs put between the name and its colon (RFC 5322 §4.5.8).
    Space(Name),
    /// In a line whose rest is of no interest.
    Line,
    /// Behind the empty line.
    Body,
    /// In a line that is none of the header, or behind it.
    Text,
}

/// The name of a field, as far as it was seen: its length, and how it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Name {
    octets: usize,
    start: [u8; 8],
}

/// A line has at most so many octets (RFC 5322 §2.1.1), and so has a name.
const NAME_OCTETS_MAX: usize = 998;

impl Name {
    fn push(&mut self, octets: &[u8]) {
        for (place, octet) in self.start.iter_mut().skip(self.octets).zip(octets) {
            *place = *octet;
        }
        self.octets += octets.len();
    }

    fn is_received(self) -> bool {
        self.octets == 8 && self.start.eq_ignore_ascii_case(b"received")
    }

    /// Whether the line is the `From ` of an mbox, quoted or not, which some programs leave on top.
    fn is_mbox_from(self) -> bool {
        matches!((self.octets, &self.start), (4, b"From\0\0\0\0") | (5, b">From\0\0\0"))
    }
}

impl HeaderScan {
    /// Octets of the header so far, with what shows that it is over.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// `Received:` lines so far.
    #[must_use]
    pub fn hops(&self) -> u32 {
        self.hops
    }

    /// How the message begins, when all of it was seen.
    #[must_use]
    pub fn beginning(&self) -> Beginning {
        match (self.beginning, self.octets) {
            (Some(beginning), _) => beginning,
            // An empty message has nothing that could be taken for what it is not.
            (None, 0) => Beginning::Header,
            (None, _) => Beginning::Text,
        }
    }

    /// Where the text begins when no empty line stands above it: where a line can be no part of the header.
    #[must_use]
    pub fn text_at(&self) -> Option<u64> {
        (self.place == Place::Text).then_some(self.line)
    }

    /// Takes the next octets of a message whose lines end with CRLF, cut anywhere.
    pub fn feed(&mut self, mut octets: &[u8]) {
        while let (Some(&first), false) = (octets.first(), matches!(self.place, Place::Body | Place::Text)) {
            if self.place == Place::Start {
                self.line = self.octets;
            }
            let taken = match self.place {
                Place::Line => memchr::memchr(b'\n', octets).map_or(octets.len(), |at| {
                    self.place = Place::Start;
                    at + 1
                }),
                Place::Name(mut name) if is_of_name(first) => {
                    let more = octets.iter().take_while(|octet| is_of_name(**octet)).count();
                    name.push(octets.get(..more).unwrap_or_default());
                    self.place = Place::Name(name);
                    if name.octets > NAME_OCTETS_MAX {
                        self.no_field();
                    }
                    more
                }
                _ => {
                    self.octet(first);
                    1
                }
            };
            self.octets += taken as u64;
            octets = octets.get(taken..).unwrap_or_default();
        }
    }

    fn octet(&mut self, octet: u8) {
        match (self.place, octet) {
            (Place::Start, b'\r') => self.place = Place::Empty,
            (Place::Empty, b'\n') => {
                self.beginning.get_or_insert(Beginning::Header);
                self.place = Place::Body;
            }
            // RFC 5322 §2.2.3: a folded line goes on with the field above it, if there is one.
            (Place::Start, b' ' | b'\t') if self.beginning.is_some() => self.place = Place::Line,
            (Place::Start, b' ' | b'\t') => {
                self.beginning = Some(Beginning::Fold);
                self.place = Place::Text;
            }
            (Place::Start, _) if is_of_name(octet) => {
                let mut name = Name::default();
                name.push(&[octet]);
                self.place = Place::Name(name);
            }
            (Place::Name(name) | Place::Space(name), b':') => {
                self.hops += u32::from(name.is_received());
                self.field();
            }
            (Place::Name(name), b' ') if self.beginning.is_none() && name.is_mbox_from() => self.field(),
            (Place::Name(name) | Place::Space(name), b' ' | b'\t') => self.place = Place::Space(name),
            _ => self.no_field(),
        }
    }

    fn field(&mut self) {
        self.beginning.get_or_insert(Beginning::Header);
        self.place = Place::Line;
    }

    fn no_field(&mut self) {
        self.beginning.get_or_insert(Beginning::Text);
        self.place = Place::Text;
    }
}

/// RFC 5322 §3.6.8, `ftext`.
fn is_of_name(octet: u8) -> bool {
    octet.is_ascii_graphic() && octet != b':'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> (u64, u32, Beginning) {
        let mut scan = HeaderScan::default();
        for piece in pieces {
            scan.feed(piece);
        }
        (scan.octets(), scan.hops(), scan.beginning())
    }

    #[test]
    fn received_lines_are_counted_in_the_header_only_and_at_any_cut() {
        let text = b"Received: a\r\nRECEIVED:b\r\n folded\r\nReceived-SPF: no\r\nX: Received: no\r\n\
            Received : c\r\n\tReceived: no\r\n\r\nReceived: no\r\n";
        let want = (text.len() as u64 - 14, 3, Beginning::Header);
        assert_eq!(scan(&[text]), want);
        for cut in 0..text.len() {
            assert_eq!(scan(&[&text[..cut], &text[cut..]]), want, "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(scan(&single), want);
    }

    #[test]
    fn a_message_without_an_empty_line_is_all_header() {
        assert_eq!(scan(&[b""]), (0, 0, Beginning::Header));
        assert_eq!(scan(&[b"Received: x"]), (11, 1, Beginning::Header));
        assert_eq!(scan(&[b"\r\nReceived: x\r\n"]), (2, 0, Beginning::Header));
    }

    #[test]
    fn a_line_that_can_be_no_part_of_a_header_ends_it() {
        for (text, want) in [
            ("Subject: x\r\n", None),
            ("Subject: x\r\n\r\nno field\r\n", None),
            ("Subject: x\r\n folded\r\nYour code is 4711\r\n", Some(21)),
            ("Subject: x\r\nHello\r\n", Some(12)),
            ("Hello\r\n", Some(0)),
        ] {
            for cut in 0..text.len() {
                let mut scan = HeaderScan::default();
                scan.feed(&text.as_bytes()[..cut]);
                scan.feed(&text.as_bytes()[cut..]);
                assert_eq!(scan.text_at(), want, "{text:?} cut at {cut}");
            }
        }
        assert_eq!(scan(&[b"Received: x\r\nno field\r\nReceived: y\r\n"]), (17, 1, Beginning::Header));
        let long = [b"Received: x\r\n".as_slice(), &[b'x'; 999], b": y\r\nReceived: z\r\n"].concat();
        assert_eq!(scan(&[&long]).1, 1, "no name is that long");
    }

    // proves: RFC 5322 §2.2.3
    #[test]
    fn what_begins_with_no_field_is_text_at_any_cut() {
        for (text, want) in [
            ("Subject: x\r\n", Beginning::Header),
            ("X-1:\r\n", Beginning::Header),
            ("Received : by old programs\r\n", Beginning::Header),
            ("\r\nHello: a letter\r\n", Beginning::Header),
            ("From bob Tue Dec  1 10:00:00 2026\r\nSubject: x\r\n", Beginning::Header),
            (">From bob Tue Dec  1 10:00:00 2026\r\nSubject: x\r\n", Beginning::Header),
            ("Hello Bob,\r\nyour code: 4711\r\n\r\nBye\r\n", Beginning::Text),
            ("FROM bob\r\n", Beginning::Text),
            (" folded: into our line\r\n", Beginning::Fold),
            ("\tfor <a@b>; yesterday\r\n", Beginning::Fold),
            (": x\r\n", Beginning::Text),
            ("Hello\r\n", Beginning::Text),
            ("Hello", Beginning::Text),
            ("\u{fc}ber: x\r\n", Beginning::Text),
            ("\rx: y\r\n", Beginning::Text),
        ] {
            for cut in 0..text.len() {
                let (before, after) = text.as_bytes().split_at(cut);
                assert_eq!(scan(&[before, after]).2, want, "{text:?} cut at {cut}");
            }
        }
    }
}
