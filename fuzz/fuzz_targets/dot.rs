//! Dot stuffing there and back, and any stream taken apart, at every cut.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use pillarbox::wire::dot::{BareNewline, Stuffer, Transparency, Unstuffer};
use pillarbox_fuzz::letter;

fn stuffed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> BytesMut {
    let (mut stuffer, mut wire) = (Stuffer::default(), BytesMut::new());
    pieces.into_iter().for_each(|piece| stuffer.feed(piece, &mut wire));
    stuffer.finish(&mut wire);
    wire
}

/// Text, octets used, whether it ended, whether it is spoilt.
type Taken = (BytesMut, usize, bool, bool);

fn taken<'a>(
    transparency: Transparency,
    policy: BareNewline,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Taken {
    let (mut unstuffer, mut out) = (Unstuffer::new(transparency, policy), BytesMut::new());
    let (mut used, mut ended) = (0, false);
    for piece in pieces {
        let progress = unstuffer.feed(piece, &mut out);
        assert!(progress.ended || progress.used == piece.len());
        used += progress.used;
        ended = progress.ended;
        if ended {
            break;
        }
    }
    if transparency == Transparency::Counted {
        assert!(!ended, "dots mean nothing in a counted message");
        unstuffer.finish(&mut out);
    }
    (out, used, ended, unstuffer.spoilt())
}

fn there_and_back(message: &[u8]) {
    let wire = stuffed([message]);
    let whole = letter::ended(message.to_vec());
    assert_eq!(letter::dotted(&wire), Some(wire.len()), "it ends at its end and nowhere before");
    let (back, used, ended, spoilt) = taken(Transparency::Dots, BareNewline::Refuse, [&wire[..]]);
    assert_eq!((&back[..], used, ended), (&whole[..], wire.len(), true));
    assert_eq!(spoilt, letter::has_bare(&whole));
    for cut in 0..=message.len() {
        assert_eq!(stuffed([&message[..cut], &message[cut..]]), wire, "cut at {cut}");
    }
    assert_eq!(stuffed(message.chunks(1)), wire);
}

fn apart(stream: &[u8]) {
    for transparency in [Transparency::Dots, Transparency::Counted] {
        for policy in [BareNewline::Refuse, BareNewline::Normalise] {
            let all = taken(transparency, policy, [stream]);
            for cut in 0..=stream.len() {
                let again = taken(transparency, policy, [&stream[..cut], &stream[cut..]]);
                assert_eq!(again, all, "{transparency:?} {policy:?} cut at {cut}");
            }
            assert_eq!(taken(transparency, policy, stream.chunks(1)), all);
            by_the_letter(stream, transparency, policy, &all);
        }
    }
}

fn by_the_letter(stream: &[u8], transparency: Transparency, policy: BareNewline, all: &Taken) {
    let (out, used, ended, spoilt) = all;
    let end = letter::dotted(stream).filter(|_| transparency == Transparency::Dots);
    assert_eq!((*used, *ended), (end.unwrap_or(stream.len()), end.is_some()));
    assert!(policy == BareNewline::Refuse || !spoilt);
    let text = match (transparency, end) {
        (Transparency::Counted, _) => stream.to_vec(),
        (Transparency::Dots, Some(end)) => letter::undotted(&stream[..end - 3]),
        // The last octets may wait for those that follow.
        (Transparency::Dots, None) => return,
    };
    let text = match policy {
        BareNewline::Refuse => text,
        BareNewline::Normalise => letter::normalised(&text),
    };
    let text = if transparency == Transparency::Counted { letter::ended(text) } else { text };
    assert_eq!(out, &text);
    assert_eq!(*spoilt, letter::has_bare(&text));
}

fuzz_target!(|data: &[u8]| {
    there_and_back(data);
    apart(data);
});
