//! Any octets over SMTP, cut anywhere: the frames are those of the uncut stream, and those that the
//! standards want. A line that is a command of data says what follows it, as in a session.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use pillarbox::smtp::codec::{Awaiting, Codec, Frame, Framing, LineEnds, SASL_OCTETS_MAX};
use pillarbox::smtp::command::Command;
use pillarbox::wire::dot::BareNewline;
use pillarbox::wire::line::LINE_OCTETS_MAX;
use pillarbox_fuzz::letter::{self, Told};
use tokio_util::codec::Decoder;

/// What was found, and how many octets of the stream were used up then.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Line(Vec<u8>, usize),
    TooLong(usize),
    BareNewline(usize),
    /// The end of a message: its octets.
    Message(Vec<u8>, LineEnds, usize),
    /// The end of a chunk that is not the last.
    Chunk(LineEnds, usize),
    Skipped(u64, usize),
}

/// What a line says of what follows it.
enum Follows {
    Line(Awaiting),
    Body(Framing),
}

fn follows(line: &[u8], first: bool) -> Follows {
    let skip = line.strip_prefix(b"SKIP ").and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
    match (Command::parse(line), skip) {
        (_, Some(size)) => Follows::Body(Framing::Skip { size }),
        (Ok(Command::Data), _) => Follows::Body(Framing::Dot),
        (Ok(Command::Bdat(chunk)), _) => {
            Follows::Body(Framing::Chunk { size: chunk.size, first, last: chunk.last })
        }
        (Ok(Command::Auth(_)), _) => Follows::Line(Awaiting::Response),
        _ => Follows::Line(Awaiting::Command),
    }
}

struct Reader {
    codec: Codec,
    input: BytesMut,
    fed: usize,
    framing: Option<Framing>,
    /// Whether the next chunk begins a message.
    first: bool,
    text: Vec<u8>,
    skipped: u64,
    found: Vec<Found>,
}

impl Reader {
    fn read<'a>(policy: BareNewline, pieces: impl IntoIterator<Item = &'a [u8]>) -> Reader {
        let mut reader = Reader {
            codec: Codec::new(policy),
            input: BytesMut::new(),
            fed: 0,
            framing: None,
            first: true,
            text: Vec::new(),
            skipped: 0,
            found: Vec::new(),
        };
        for piece in pieces {
            reader.input.extend_from_slice(piece);
            reader.fed += piece.len();
            while let Some(frame) = reader.codec.decode(&mut reader.input).expect("no octets are an error") {
                reader.take(&frame);
            }
            let waits_for_line = reader.framing.is_none();
            assert!(reader.input.len() <= if waits_for_line { SASL_OCTETS_MAX } else { 0 });
        }
        reader
    }

    fn take(&mut self, frame: &Frame) {
        let used = self.fed - self.input.len();
        match (frame, self.framing) {
            (Frame::Line(line), None) => {
                self.found.push(Found::Line(line.to_vec(), used));
                match follows(line, self.first) {
                    Follows::Line(awaiting) => self.codec.expect(awaiting),
                    Follows::Body(framing) => self.begin(framing),
                }
            }
            (Frame::TooLong, None) => {
                self.found.push(Found::TooLong(used));
                self.codec.expect(Awaiting::Command);
            }
            (Frame::BareNewline, None) => {
                self.found.push(Found::BareNewline(used));
                self.codec.expect(Awaiting::Command);
            }
            (Frame::Data(octets), Some(Framing::Dot | Framing::Chunk { .. })) => {
                assert!(!octets.is_empty());
                self.text.extend(octets);
            }
            (Frame::Skipped(octets), Some(Framing::Skip { .. })) => self.skipped += *octets as u64,
            (Frame::End(ends), Some(framing)) => self.end(framing, *ends, used),
            (frame, framing) => panic!("{frame:?} within {framing:?}"),
        }
    }

    fn begin(&mut self, framing: Framing) {
        if matches!(framing, Framing::Dot | Framing::Chunk { first: true, .. }) {
            self.text.clear();
        }
        self.skipped = 0;
        self.framing = Some(framing);
        self.codec.begin(framing);
    }

    fn end(&mut self, framing: Framing, ends: LineEnds, used: usize) {
        self.framing = None;
        self.found.push(match framing {
            Framing::Skip { size } => {
                assert_eq!(size, self.skipped);
                Found::Skipped(size, used)
            }
            Framing::Chunk { last: false, .. } => {
                self.first = false;
                Found::Chunk(ends, used)
            }
            Framing::Dot | Framing::Chunk { .. } => {
                self.first = true;
                Found::Message(std::mem::take(&mut self.text), ends, used)
            }
        });
    }
}

/// The same by the letter.
struct Letter<'a> {
    stream: &'a [u8],
    policy: BareNewline,
    at: usize,
    awaiting: Awaiting,
    first: bool,
    /// The chunks so far.
    raw: Vec<u8>,
    found: Vec<Found>,
}

impl<'a> Letter<'a> {
    fn line(&mut self) -> Option<Follows> {
        let rest = &self.stream[self.at..];
        let is_auth = rest.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
        let is_response = self.awaiting == Awaiting::Response;
        let octets_max = if is_auth || is_response { SASL_OCTETS_MAX } else { LINE_OCTETS_MAX };
        let (told, used) = letter::line(rest, octets_max)?;
        let start = self.at;
        self.at += used;
        let word = rest.split(|octet| !octet.is_ascii_alphanumeric()).next().unwrap_or_default();
        let is_bdat = !is_response && word.eq_ignore_ascii_case(b"BDAT");
        let line: &[u8] = match told {
            Told::Whole(line) => line,
            // What follows it cannot be counted, so it counts as one without a size.
            _ if is_bdat => {
                self.found.push(Found::Line(b"BDAT".to_vec(), start));
                return Some(Follows::Line(Awaiting::Command));
            }
            Told::TooLong => {
                self.found.push(Found::TooLong(start));
                return Some(Follows::Line(Awaiting::Command));
            }
            Told::BareNewline => {
                self.found.push(Found::BareNewline(start));
                return Some(Follows::Line(Awaiting::Command));
            }
        };
        self.found.push(Found::Line(line.to_vec(), self.at));
        Some(follows(line, self.first))
    }

    fn ends(&self, text: &[u8]) -> LineEnds {
        let bare = self.policy == BareNewline::Refuse && letter::has_bare(text);
        if bare { LineEnds::Bare } else { LineEnds::Sound }
    }

    fn kept(&self, text: Vec<u8>) -> Vec<u8> {
        if self.policy == BareNewline::Normalise { letter::normalised(&text) } else { text }
    }

    /// `None` where it has not come to its end.
    fn body(&mut self, framing: Framing) -> Option<()> {
        let rest = &self.stream[self.at..];
        let counted = |size: u64| rest.get(..usize::try_from(size).ok()?);
        match framing {
            Framing::Dot => {
                let end = letter::dotted(rest)?;
                self.at += end;
                let text = letter::undotted(&rest[..end - 3]);
                let ends = self.ends(&text);
                self.first = true;
                self.found.push(Found::Message(self.kept(text), ends, self.at));
            }
            Framing::Skip { size } => {
                self.at += counted(size)?.len();
                self.found.push(Found::Skipped(size, self.at));
            }
            Framing::Chunk { size, first, last } => {
                let octets = counted(size)?;
                self.at += octets.len();
                if first {
                    self.raw.clear();
                }
                self.raw.extend(octets);
                self.first = last;
                let found = if last {
                    let ends = self.ends(&self.raw);
                    Found::Message(letter::ended(self.kept(self.raw.clone())), ends, self.at)
                } else {
                    // A CR at the end may be half of a CRLF.
                    let sure = self.raw.strip_suffix(b"\r").unwrap_or(&self.raw);
                    Found::Chunk(self.ends(sure), self.at)
                };
                self.found.push(found);
            }
        }
        Some(())
    }

    fn read(policy: BareNewline, stream: &'a [u8]) -> Vec<Found> {
        let (raw, found) = (Vec::new(), Vec::new());
        let mut letter =
            Letter { stream, policy, at: 0, awaiting: Awaiting::Command, first: true, raw, found };
        while let Some(follows) = letter.line() {
            letter.awaiting = Awaiting::Command;
            match follows {
                Follows::Line(awaiting) => letter.awaiting = awaiting,
                Follows::Body(framing) => {
                    if letter.body(framing).is_none() {
                        break;
                    }
                }
            }
        }
        letter.found
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((policy, data)) = data.split_first() else { return };
    let policy = if policy % 2 == 0 { BareNewline::Refuse } else { BareNewline::Normalise };
    let (sizes, stream) = pillarbox_fuzz::sizes(data);
    let whole = Reader::read(policy, [stream]);
    assert_eq!(whole.found, Letter::read(policy, stream));
    let sizes_each = [sizes, &[]];
    for sizes in sizes_each {
        let cut = Reader::read(policy, pillarbox_fuzz::pieces(stream, sizes));
        assert_eq!(cut.found, whole.found);
        assert_eq!((cut.text, cut.skipped), (whole.text.clone(), whole.skipped));
    }
});
