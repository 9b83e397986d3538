//! Messages that have broken mail programs, made by code: the same octets at every run.

/// A message and what it is called in the table of clients.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    /// Every line ends with CRLF.
    pub(crate) message: Vec<u8>,
}

/// The size of the largest sample: `limits.message_size` of 25 MiB, less room for what clients add.
pub(crate) const LARGE_OCTETS: usize = 25 * 1024 * 1024 - 4096;

const HEADER: &str = "From: Alice <alice@client.example>\r\nTo: Bob <bob@example.org>\r\n\
                      Date: Tue, 24 Nov 2026 13:00:00 +0000\r\nMessage-ID: <sample@client.example>\r\n";

fn with_header(name: &'static str, subject: &[u8], body: &[u8]) -> Sample {
    let message = [HEADER.as_bytes(), b"Subject: ", subject, b"\r\n\r\n", body].concat();
    Sample { name, message }
}

/// The samples that are small enough for every client.
pub(crate) fn small() -> Vec<Sample> {
    vec![plain(), eight_bit(), utf8_headers(), dots(), empty_body(), no_header(), long_lines(), huge_line()]
}

/// Three lines of ASCII.
pub(crate) fn plain() -> Sample {
    with_header("plain", b"a plain message", b"Hello Bob,\r\n\r\nThis is it.\r\n")
}

/// Every octet of ISO 8859-1 above ASCII, and UTF-8 beside it.
pub(crate) fn eight_bit() -> Sample {
    let latin: Vec<u8> = (0xa0..=0xff).collect();
    with_header("8-bit", b"octets above 127", &[&latin, "\r\nÄ pound: £\r\n".as_bytes()].concat())
}

/// Headers in UTF-8, as RFC 6532 allows them.
pub(crate) fn utf8_headers() -> Sample {
    with_header("UTF-8 headers", "Grüße aus Köln, 你好".as_bytes(), "Schöne Grüße\r\n".as_bytes())
}

/// Lines that begin with dots, one of them with nothing else.
pub(crate) fn dots() -> Sample {
    with_header("dots", b"dots", b".\r\n..\r\n...\r\n.a\r\n..b\r\na.\r\n\r\n.\r\n.\r\nQUIT\r\n.\r\n")
}

/// A header and no body.
pub(crate) fn empty_body() -> Sample {
    with_header("empty body", b"nothing below", b"")
}

/// A body and no header: an empty line first.
pub(crate) fn no_header() -> Sample {
    Sample { name: "no header", message: b"\r\nA body alone.\r\n".to_vec() }
}

/// Lines over the 998 octets of RFC 5322.
pub(crate) fn long_lines() -> Sample {
    let body = format!("{}\r\n{}\r\nshort\r\n", "a".repeat(1_500), "0123456789".repeat(800));
    with_header("long lines", b"long lines", body.as_bytes())
}

/// A line of 100 KB.
pub(crate) fn huge_line() -> Sample {
    with_header("100 KB line", b"a huge line", format!("{}\r\n", "0123456789".repeat(10_000)).as_bytes())
}

/// Every octet but CR, LF and NUL, and lines of every length up to a few hundred.
pub(crate) fn all_octets() -> Sample {
    let all: Vec<u8> = (1..=255).filter(|octet| ![b'\r', b'\n'].contains(octet)).collect();
    let mut body = Vec::new();
    for length in 0..all.len() {
        body.extend_from_slice(&all[..length]);
        body.extend_from_slice(b"\r\n");
    }
    with_header("all octets", b"every octet", &body)
}

/// Nearly 25 MiB, of lines that can be told apart.
pub(crate) fn large() -> Sample {
    of_octets(LARGE_OCTETS)
}

/// A message of exactly so many octets, a few hundred at least.
pub(crate) fn of_octets(octets: usize) -> Sample {
    let mut sample = with_header("25 MiB", b"a large message", b"");
    let mut number: u64 = 0;
    while sample.message.len() + 79 + 2 <= octets {
        let line = format!("{number:012} {:064x}\r\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        sample.message.extend_from_slice(line.as_bytes());
        number += 1;
    }
    let left = octets.saturating_sub(sample.message.len() + 2);
    sample.message.extend_from_slice("x".repeat(left).as_bytes());
    sample.message.extend_from_slice(b"\r\n");
    sample
}
