//! How fast messages go through the codecs, in MB/s of one core, without a socket or a store.
//!
//! `cargo bench --bench codec`

use bytes::BytesMut;
use pillarbox::smtp::budget::Budget;
use pillarbox::smtp::codec::{Codec, Frame, Framing};
use pillarbox::smtp::intake::Intake;
use pillarbox::wire::dot::{BareNewline, Stuffer};
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};
use tokio_util::codec::Decoder as _;

/// What a driver reads at once, in octets.
const READ_OCTETS: usize = 32 * 1024;
/// How long each figure is measured.
const SPENT: Duration = Duration::from_secs(1);

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{:<28}{:>10}{:>14}", "", "octets", "MB/s")?;
    for octets in [1_000, 100_000, 10_000_000] {
        for (kind, message) in [("text", text(octets)), ("dots and short lines", dots(octets))] {
            let stuffed = stuffed(&message);
            let speed = measure(message.len(), || receive(Framing::Dot, &stuffed));
            writeln!(out, "{:<28}{octets:>10}{speed:>14.0}", format!("DATA in, {kind}"))?;
            let framing = Framing::Chunk { size: message.len() as u64, first: true, last: true };
            let speed = measure(message.len(), || receive(framing, &message));
            writeln!(out, "{:<28}{octets:>10}{speed:>14.0}", format!("BDAT in, {kind}"))?;
        }
    }
    Ok(())
}

/// Lines as base64 attachments have them.
fn text(octets: usize) -> Vec<u8> {
    let line: Vec<u8> = (0..76_u8).map(|n| b'A' + n % 26).chain(*b"\r\n").collect();
    line.iter().copied().cycle().take(octets / line.len() * line.len()).collect()
}

/// The worst case: nearly every octet is a matter of line ends and dots.
fn dots(octets: usize) -> Vec<u8> {
    b".\r\n".iter().copied().cycle().take(octets / 3 * 3).collect()
}

fn stuffed(message: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    let mut stuffer = Stuffer::default();
    stuffer.feed(message, &mut out);
    stuffer.finish(&mut out);
    out
}

/// One message through codec and intake, as the driver does it.
fn receive(framing: Framing, wire: &[u8]) {
    let mut codec = Codec::new(BareNewline::Refuse);
    let mut intake = Intake::new(u64::MAX, Budget::new(usize::MAX));
    let mut input = BytesMut::with_capacity(READ_OCTETS);
    codec.begin(framing);
    for piece in wire.chunks(READ_OCTETS) {
        input.extend_from_slice(piece);
        while let Ok(Some(frame)) = codec.decode(&mut input) {
            match frame {
                Frame::Data(octets) => intake.take(&octets),
                frame => drop(black_box(frame)),
            }
            while let Some(slice) = intake.spill() {
                drop(black_box(slice));
            }
        }
    }
    let _ = black_box(intake.finish());
}

/// Millions of octets a second.
fn measure(octets: usize, mut work: impl FnMut()) -> f64 {
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < SPENT {
        work();
        rounds += 1;
    }
    (rounds * octets) as f64 / began.elapsed().as_secs_f64() / 1e6
}
