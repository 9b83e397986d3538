//! Lines and messages by the letter of the standards: slow, for a stream that is there as a whole, and
//! written apart from the code that it is compared with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where `needle` stands first.
#[must_use]
pub fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, needle)
}

/// What a line turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// Without its CRLF.
    Whole(&'a [u8]),
    /// Longer than allowed.
    TooLong,
    /// With a LF that has no CR before it.
    BareNewline,
}

/// The line at the front of `rest`, and how many octets of it and of what is swallowed with it. `None`
/// where it has not come yet.
#[must_use]
pub fn line(rest: &[u8], octets_max: usize) -> Option<(Told<'_>, usize)> {
    let swallowed = find(rest, b"\r\n").map_or(rest.len(), |at| at + 2);
    match find(rest, b"\n") {
        Some(lf) if lf > 0 && rest[lf - 1] == b'\r' => {
            let told = if lf < octets_max { Told::Whole(&rest[..lf - 1]) } else { Told::TooLong };
            Some((told, lf + 1))
        }
        Some(lf) if lf < octets_max => Some((Told::BareNewline, swallowed)),
        None if rest.len() < octets_max => None,
        _ => Some((Told::TooLong, swallowed)),
    }
}

/// How many octets of `rest` a message has, with the line that ends it. `None` where it has no end.
#[must_use]
pub fn dotted(rest: &[u8]) -> Option<usize> {
    // RFC 5321: the CRLF of the line before the message counts as the first one.
    find(&[b"\r\n", rest].concat(), b"\r\n.\r\n").map(|at| at + 3)
}

/// Whether a CR or LF stands alone.
#[must_use]
pub fn has_bare(text: &[u8]) -> bool {
    let bare = |at: usize, octet: u8| match octet {
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || text[at - 1] != b'\r',
        _ => false,
    };
    text.iter().enumerate().any(|(at, octet)| bare(at, *octet))
}

/// With CRLF for each CR or LF that stands alone.
#[must_use]
pub fn normalised(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, later)) = rest.split_first() {
        rest = later;
        match first {
            b'\r' => {
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                out.extend(b"\r\n");
            }
            b'\n' => out.extend(b"\r\n"),
            other => out.push(*other),
        }
    }
    out
}

/// Without the first dot of each line; only CRLF ends a line.
#[must_use]
pub fn undotted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, later) = rest.split_at(find(rest, b"\r\n").map_or(rest.len(), |at| at + 2));
        out.extend(line.strip_prefix(b".").unwrap_or(line));
        rest = later;
    }
    out
}

/// With a CRLF at its end, unless it is empty.
#[must_use]
pub fn ended(mut text: Vec<u8>) -> Vec<u8> {
    if !text.is_empty() && !text.ends_with(b"\r\n") {
        text.extend(b"\r\n");
    }
    text
}

/// Whether a response of SASL ends the exchange without having tried anything: `*`, or not base64
/// (RFC 4954 §4, RFC 5034 §4).
#[must_use]
pub fn ends_login(response: &[u8]) -> bool {
    STANDARD.decode(response).is_err()
}

/// An initial response as if it had come in a line of its own: none is a response without octets here,
/// and so is a lone `=`.
#[must_use]
pub fn initial(response: Option<&[u8]>) -> Vec<u8> {
    response.filter(|response| *response != b"=").unwrap_or_default().to_vec()
}
