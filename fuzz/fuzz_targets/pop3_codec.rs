//! Any octets over POP3, cut anywhere: the lines are those of the uncut stream and of the standards,
//! and a message that is sent, or its top, is the same at every cut and comes back as it was.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use pillarbox::pop3::codec::{Awaiting, Lines, Outgoing, Part, SASL_OCTETS_MAX, Wants};
use pillarbox::wire::line::{LINE_OCTETS_MAX, Line};
use pillarbox_fuzz::letter::{self, Told};
use tokio_util::codec::Decoder;

/// A line that begins with a plus is followed by the response to a challenge.
fn next(line: &Line) -> Awaiting {
    match line {
        Line::Whole(line) if line.starts_with(b"+") => Awaiting::Response,
        _ => Awaiting::Command,
    }
}

fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Line> {
    let (mut lines, mut input, mut found) = (Lines::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(line) = lines.decode(&mut input).expect("no octets are an error") {
            lines.expect(next(&line));
            found.push(line);
        }
        assert!(input.len() <= SASL_OCTETS_MAX);
    }
    found
}

fn by_the_letter(stream: &[u8]) -> Vec<Line> {
    let (mut rest, mut awaiting, mut found) = (stream, Awaiting::Command, Vec::new());
    loop {
        let is_auth = rest.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
        let long = is_auth || awaiting == Awaiting::Response;
        let octets_max = if long { SASL_OCTETS_MAX } else { LINE_OCTETS_MAX };
        let Some((told, used)) = letter::line(rest, octets_max) else { return found };
        let line = match told {
            Told::Whole(line) => Line::Whole(line.to_vec().into()),
            Told::TooLong => Line::TooLong,
            Told::BareNewline => Line::BareNewline,
        };
        awaiting = next(&line);
        found.push(line);
        rest = &rest[used..];
    }
}

fn sent<'a>(part: Part, slices: impl IntoIterator<Item = &'a [u8]>) -> BytesMut {
    let (mut outgoing, mut out) = (Outgoing::new(part), BytesMut::new());
    for slice in slices {
        if outgoing.feed(slice, &mut out) == Wants::Nothing {
            break;
        }
    }
    outgoing.finish(&mut out);
    out
}

/// Header, empty line and so many lines of the body.
fn top(message: &[u8], lines: u64) -> &[u8] {
    let mut to = 0;
    let mut left = None;
    while left != Some(0) && to < message.len() {
        let line = letter::find(&message[to..], b"\r\n").map_or(message.len(), |at| to + at + 2);
        left = match left {
            None => (&message[to..line] == b"\r\n").then_some(lines),
            Some(left) => Some(left - 1),
        };
        to = line;
    }
    &message[..to]
}

fn outgoing(message: &[u8], sizes: &[u8], body_lines: u64) {
    for (part, wanted) in [(Part::Whole, message), (Part::Top(body_lines), top(message, body_lines))] {
        let wire = sent(part, [message]);
        assert_eq!(letter::dotted(&wire), Some(wire.len()), "it ends at its end and nowhere before");
        assert_eq!(letter::undotted(&wire[..wire.len() - 3]), letter::ended(wanted.to_vec()));
        for sizes in [sizes, &[]] {
            assert_eq!(sent(part, pillarbox_fuzz::pieces(message, sizes)), wire, "{part:?}");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((body_lines, data)) = data.split_first() else { return };
    let (sizes, stream) = pillarbox_fuzz::sizes(data);
    let whole = lines([stream]);
    assert_eq!(whole, by_the_letter(stream));
    for sizes in [sizes, &[]] {
        assert_eq!(lines(pillarbox_fuzz::pieces(stream, sizes)), whole);
    }
    outgoing(stream, sizes, u64::from(*body_lines));
});
