//! A message as people want to see it: who, when, about what, the text, the attachments.
//!
//! What comes in is whatever strangers sent. The parser promises not to panic and parsers break that
//! promise, so callers run this under [`super::guard`]. What a guard cannot catch is kept away here:
//!
//! - A parse never recurses. The parser decodes an encoded `message/rfc822` (which RFC 2046 §5.2.1
//!   forbids) by calling itself, and copies its result level by level; here such a part is made opaque
//!   before it is parsed.
//! - Parts that lie within each other are let go one by one: the way back out of a million levels
//!   would not fit on any stack.
//! - Every walk over parts is bounded by their number, never by level.

use crate::mail::header::HeaderScan;
use jiff::fmt::{rfc2822, temporal};
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{
    Address, ContentType, HeaderName, Message, MessageParser, MessagePart, MimeHeaders, PartType,
};

/// The most parts that are looked at for text or for attachments.
const PARTS_MAX: usize = 1000;
/// The most addresses that are shown of a line.
const ADDRESSES_MAX: usize = 50;
/// The most empty lines of a message that is taken apart. Each part and each level needs one, so
/// that this bounds what the parser holds; text has far fewer.
const EMPTY_LINES_MAX: usize = 200_000;
/// How often encoded messages within messages are looked for.
const MASKING_ROUNDS_MAX: usize = 8;
/// What stands for the `m` of `message/…` in a part that is made opaque.
const MASK: u8 = b'~';

/// How much of a message is there to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Its beginning: enough for its header.
    Beginning,
}

/// What a message holds besides its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The last component of its file name, as it came: not yet fit for a terminal.
    pub name: Option<String>,
    /// Its media type.
    pub kind: String,
    /// Its size when decoded, in octets.
    pub octets: usize,
}

/// What is shown of a message. Texts are as they came: not yet fit for a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// When it was sent, or else when it came in, as RFC 3339 writes it.
    pub date: Option<String>,
    /// From whom.
    pub from: Option<String>,
    /// To whom.
    pub to: Option<String>,
    /// To whom else.
    pub cc: Option<String>,
    /// About what.
    pub subject: Option<String>,
    /// Its text; from HTML where there is nothing else. `None` where it was not taken apart.
    pub text: Option<String>,
    /// Its attachments; `None` where it was not taken apart.
    pub attachments: Option<Vec<Attachment>>,
}

/// Reads a message. Takes no more time and memory than a small multiple of its size.
#[must_use]
pub fn digest(mut raw: Vec<u8>, extent: Extent) -> Digest {
    separate_text(&mut raw);
    let parser = parser();
    // Not from the whole: where parts are entangled the parser may end with one of them for the message.
    let head = parser.parse_headers(&raw).map(|message| header_digest(&message, &raw));
    // What has no header at all, such as an empty message, is text.
    let head = head.unwrap_or_else(|| Digest { attachments: Some(Vec::new()), ..Digest::default() });
    if extent == Extent::Beginning || empty_lines(&raw) > EMPTY_LINES_MAX {
        return head;
    }
    let mut rounds = 0..MASKING_ROUNDS_MAX;
    let message = loop {
        let Some(message) = parser.parse(&raw) else {
            return Digest { text: Some(String::from_utf8_lossy(&raw).into_owned()), ..head };
        };
        let found = encoded_messages(&message, &raw);
        if found.is_empty() || rounds.next().is_none() {
            break message;
        }
        // Each is made opaque by changing one letter of its type. There may be others behind it.
        let_go(message);
        for offset in found {
            if let Some(letter) = raw.get_mut(offset) {
                *letter = MASK;
            }
        }
    };
    let digest =
        Digest { text: Some(text(&message, &raw)), attachments: Some(attachments(&message, &raw)), ..head };
    let_go(message);
    digest
}

/// Text that no empty line separates from what stands above it, be it the trace lines alone or a header whose
/// writer has forgotten the line: the parser would take it for more of the header.
fn separate_text(raw: &mut Vec<u8>) {
    let mut scan = HeaderScan::default();
    scan.feed(raw);
    let at = scan.text_at().and_then(|at| usize::try_from(at).ok());
    if let Some(at) = at.filter(|at| (1..=raw.len()).contains(at)) {
        raw.splice(at..at, *b"\r\n");
    }
}

/// A parser of what is shown and of nothing else. Not knowing of transfer encodings keeps it from
/// decoding messages within messages; [`decoded`] does it for the parts that are wanted.
fn parser() -> MessageParser {
    MessageParser::new()
        .header_content_type(HeaderName::ContentType)
        .header_content_type(HeaderName::ContentDisposition)
        .header_address(HeaderName::From)
        .header_address(HeaderName::To)
        .header_address(HeaderName::Cc)
        .header_date(HeaderName::Date)
        .header_text(HeaderName::Subject)
        .default_header_ignore()
}

fn empty_lines(raw: &[u8]) -> usize {
    raw.split(|b| *b == b'\n').filter(|line| line.iter().all(u8::is_ascii_whitespace)).count()
}

/// Where the types of all encoded messages within the message stand.
fn encoded_messages(message: &Message<'_>, raw: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut rest = vec![message];
    while let Some(message) = rest.pop() {
        for part in &message.parts {
            if is_message(part.content_type()) && encoding(part, raw) != Encoding::None {
                found.extend(type_offset(part, raw));
            }
            if let PartType::Message(inner) = &part.body {
                rest.push(inner);
            }
        }
    }
    found
}

fn is_message(content_type: Option<&ContentType<'_>>) -> bool {
    content_type.is_some_and(|t| t.ctype().eq_ignore_ascii_case("message"))
}

/// Where the type stands in the `Content-Type:` of a part.
fn type_offset(part: &MessagePart<'_>, raw: &[u8]) -> Option<usize> {
    let header = part.headers.iter().rfind(|header| header.name == HeaderName::ContentType)?;
    let (start, end) = (header.offset_start as usize, header.offset_end as usize);
    let value = raw.get(start..end)?;
    let word = b"message";
    value.windows(word.len()).position(|w| w.eq_ignore_ascii_case(word)).map(|at| start + at)
}

fn let_go(message: Message<'_>) {
    let mut rest = vec![message];
    while let Some(message) = rest.pop() {
        for part in message.parts {
            if let PartType::Message(inner) = part.body {
                rest.push(inner);
            }
        }
    }
}

fn header_digest(message: &Message<'_>, raw: &[u8]) -> Digest {
    let sent = message.date().filter(|date| date.is_valid()).map(mail_parser::DateTime::to_rfc3339);
    let plain = message.parts.first().is_some_and(is_plain);
    Digest {
        date: sent.or_else(|| received(message, raw)),
        from: message.from().and_then(addresses),
        to: message.to().and_then(addresses),
        cc: message.cc().and_then(addresses),
        subject: message.subject().map(str::to_owned),
        text: None,
        attachments: plain.then(Vec::new),
    }
}

/// Whether a whole message is one text, so that its header tells that it has no attachments.
fn is_plain(root: &MessagePart<'_>) -> bool {
    root.content_type().is_none_or(|t| t.ctype().eq_ignore_ascii_case("text"))
        && !root.content_disposition().is_some_and(ContentType::is_attachment)
}

/// When the topmost `Received:` line was written: it is this server's own.
fn received(message: &Message<'_>, raw: &[u8]) -> Option<String> {
    let header = message.parts.first()?.headers.iter().find(|header| header.name == HeaderName::Received)?;
    let value = raw.get(header.offset_start as usize..header.offset_end as usize)?;
    let (_, date) = std::str::from_utf8(value).ok()?.rsplit_once(';')?;
    let zoned = rfc2822::DateTimeParser::new().parse_zoned(date.trim()).ok()?;
    Some(temporal::DateTimePrinter::new().timestamp_with_offset_to_string(&zoned.timestamp(), zoned.offset()))
}

fn addresses(address: &Address<'_>) -> Option<String> {
    let mut shown = Vec::new();
    let mut more = 0;
    for addr in address.iter() {
        let one = match (&addr.name, &addr.address) {
            (Some(name), Some(address)) => format!("{name} <{address}>"),
            (None, Some(text)) | (Some(text), None) => text.to_string(),
            (None, None) => continue,
        };
        if shown.len() < ADDRESSES_MAX {
            shown.push(one);
        } else {
            more += 1;
        }
    }
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    (!shown.is_empty()).then(|| shown.join(", "))
}

fn text(message: &Message<'_>, raw: &[u8]) -> String {
    let mut text = String::new();
    for id in message.text_body.iter().take(PARTS_MAX) {
        let Some(part) = message.parts.get(*id as usize) else { continue };
        let part_text = match part.body {
            PartType::Text(_) => characters(part, raw),
            PartType::Html(_) => html_to_text(&characters(part, raw)),
            _ => continue,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&part_text);
    }
    text
}

fn characters(part: &MessagePart<'_>, raw: &[u8]) -> String {
    let octets = decoded(part, raw);
    let charset = part.content_type().and_then(|t| t.attribute("charset"));
    match charset.and_then(|name| charset_decoder(name.as_bytes())) {
        Some(decode) => decode(&octets),
        None => String::from_utf8_lossy(&octets).into_owned(),
    }
}

/// How the octets of a part are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    None,
    Base64,
    QuotedPrintable,
}

fn encoding(part: &MessagePart<'_>, raw: &[u8]) -> Encoding {
    let header = part.headers.iter().rfind(|header| header.name == HeaderName::ContentTransferEncoding);
    let value = header.and_then(|h| raw.get(h.offset_start as usize..h.offset_end as usize));
    let value = value.unwrap_or_default().trim_ascii();
    // A comment may follow the word.
    let is = |word: &[u8]| value.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if is(b"base64") {
        Encoding::Base64
    } else if is(b"quoted-printable") {
        Encoding::QuotedPrintable
    } else {
        Encoding::None
    }
}

fn written<'a>(part: &MessagePart<'_>, raw: &'a [u8]) -> &'a [u8] {
    raw.get(part.offset_body as usize..part.offset_end as usize).unwrap_or_default()
}

/// The octets of a part; as they are written where the encoding is broken.
fn decoded(part: &MessagePart<'_>, raw: &[u8]) -> Vec<u8> {
    let octets = written(part, raw);
    let decoded = match encoding(part, raw) {
        Encoding::None => None,
        Encoding::Base64 => base64_decode(octets),
        Encoding::QuotedPrintable => quoted_printable_decode(octets),
    };
    decoded.unwrap_or_else(|| octets.to_vec())
}

fn attachments(message: &Message<'_>, raw: &[u8]) -> Vec<Attachment> {
    let parts = message.attachments.iter().take(PARTS_MAX).filter_map(|id| message.parts.get(*id as usize));
    parts.map(|part| attachment(part, raw)).collect()
}

fn attachment(part: &MessagePart<'_>, raw: &[u8]) -> Attachment {
    let kind = part.content_type().map_or("text/plain".to_owned(), |t| {
        let main = t.ctype().to_ascii_lowercase().replacen(char::from(MASK), "m", 1);
        format!("{main}/{}", t.subtype().unwrap_or("unknown").to_ascii_lowercase())
    });
    let octets = match encoding(part, raw) {
        Encoding::None => written(part, raw).len(),
        _ => decoded(part, raw).len(),
    };
    Attachment { name: part.attachment_name().and_then(last_component), kind, octets }
}

/// A name of a file without the folders that its sender would like it to be in.
fn last_component(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    (!last.is_empty() && last != "." && last != "..").then(|| last.to_owned())
}

#[cfg(test)]
mod tests;
