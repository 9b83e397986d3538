//! What holds for every reply of every session.

use bytes::BytesMut;
use pillarbox::{pop3, smtp};

/// Longest line of a reply in octets, its CRLF included (RFC 5321 §4.5.3.1.5, RFC 2449 §4).
const LINE_OCTETS_MAX: usize = 512;
/// The same for a challenge of SASL (RFC 4954 §4, RFC 5034 §4).
const CHALLENGE_OCTETS_MAX: usize = 12_288;

fn text(out: &BytesMut) -> &str {
    let text = std::str::from_utf8(out).expect("replies are ASCII");
    assert!(text.ends_with("\r\n"), "{text:?}");
    let lines = text.split("\r\n");
    assert!(lines.flat_map(str::bytes).all(|octet| (b' '..=b'~').contains(&octet)), "{text:?}");
    text
}

/// Fails unless the reply is well formed.
pub fn smtp(reply: &smtp::reply::Reply) {
    let mut out = BytesMut::new();
    reply.encode(&mut out);
    let code = reply.code().to_string();
    assert!((200..600).contains(&reply.code()), "{code}");
    let octets_max = if reply.code() == 334 { CHALLENGE_OCTETS_MAX } else { LINE_OCTETS_MAX };
    let mut lines = text(&out).split_terminator("\r\n").peekable();
    while let Some(line) = lines.next() {
        assert!(line.len() + 2 <= octets_max, "{line}");
        let rest = line.strip_prefix(&code).expect("each line has the code");
        let separator = if lines.peek().is_some() { "-" } else { " " };
        assert!(rest.starts_with(separator), "{line}");
        // RFC 2034 §4: the class of an enhanced code is that of the code.
        let word = rest[1..].split(' ').next().unwrap_or_default();
        let is_enhanced =
            word.split('.').count() == 3 && word.bytes().all(|b| b == b'.' || b.is_ascii_digit());
        assert!(!is_enhanced || word.starts_with(&code[..1]), "{line}");
        assert!(reply.code() < 400 || is_enhanced, "{line}");
    }
}

/// Fails unless the reply is well formed.
pub fn pop3(reply: &pop3::reply::Reply) {
    let mut out = BytesMut::new();
    reply.encode(&mut out);
    let text = text(&out);
    let octets_max = if text.starts_with("+ ") { CHALLENGE_OCTETS_MAX } else { LINE_OCTETS_MAX };
    assert!(["+OK ", "-ERR ", "+ "].iter().any(|start| text.starts_with(start)), "{text}");
    assert!(text.split_inclusive("\r\n").all(|line| line.len() <= octets_max), "{text}");
    let list = text.split_once("\r\n").map_or("", |(_, list)| list);
    assert!(list.is_empty() || letter_ends(list), "{text}");
}

/// Whether a list ends with its dot and nowhere before.
fn letter_ends(list: &str) -> bool {
    crate::letter::dotted(list.as_bytes()) == Some(list.len())
}

/// What is said in POP3, as text.
#[must_use]
pub fn pop3_text(reply: &pop3::reply::Reply) -> String {
    let mut out = BytesMut::new();
    reply.encode(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}
