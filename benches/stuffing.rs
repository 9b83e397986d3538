//! How fast messages go out: RETR, from slices as the store gives them to octets for the socket.
//!
//! `cargo bench --bench stuffing` prints MB/s (10^6 octets of message a second), the best of some
//! rounds, for mail as it is and for the worst there can be.

use bytes::BytesMut;
use pillarbox::pop3::codec::{Outgoing, Part};
use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

const MESSAGE_OCTETS: usize = 16 * 1024 * 1024;
const SLICE_OCTETS: usize = 64 * 1024;
const PIECE_OCTETS: usize = 8 * 1024;
const OUTPUT_OCTETS: usize = 32 * 1024;
const ROUNDS: usize = 7;

/// A message of lines like `line` to which `CRLF` is added.
fn message(line: &[u8]) -> Vec<u8> {
    let mut message = b"Subject: bench\r\n\r\n".to_vec();
    while message.len() < MESSAGE_OCTETS {
        message.extend_from_slice(line);
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// Seconds that it takes to put the message on the wire, as the driver does it.
fn seconds(message: &[u8], part: Part) -> f64 {
    let start = Instant::now();
    let mut outgoing = Outgoing::new(part);
    let mut out = BytesMut::with_capacity(OUTPUT_OCTETS + 2 * PIECE_OCTETS);
    for slice in message.chunks(SLICE_OCTETS) {
        for piece in slice.chunks(PIECE_OCTETS) {
            black_box(outgoing.feed(piece, &mut out));
            if out.len() >= OUTPUT_OCTETS {
                black_box(&out[..]);
                out.clear();
            }
        }
    }
    outgoing.finish(&mut out);
    black_box(&out[..]);
    start.elapsed().as_secs_f64()
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (name, line) in [
        ("base64, 76 octets a line", &[b'A'; 76][..]),
        ("text, a dot at each line", b".signature of somebody who writes short lines"),
        ("the worst: dots alone", b"."),
    ] {
        let message = message(line);
        for (verb, part) in [("RETR", Part::Whole), ("TOP all", Part::Top(u64::MAX))] {
            let best = (0..ROUNDS).map(|_| seconds(&message, part)).fold(f64::INFINITY, f64::min);
            let rate = message.len() as f64 / best / 1e6;
            writeln!(out, "{verb:8} {name:26} {rate:8.0} MB/s")?;
        }
    }
    Ok(())
}
