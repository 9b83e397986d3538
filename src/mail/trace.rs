//! The trace lines on top of a message (RFC 5321 §4.4), and what is read of the header on its way in.

use super::address::{Address, Sender};
use super::envelope::Charset;
use super::ids::QueueId;
use super::peer::{Peer, Security};
use bytes::Bytes;
use std::fmt::Write as _;
use std::net::IpAddr;

/// A message with this many `Received:` lines goes round in a circle and is refused.
/// RFC 5321 §6.3 asks for a large limit, at least 100.
pub const HOPS_MAX: u32 = 100;
/// Largest header in octets.
pub const HEADER_OCTETS_MAX: u64 = 1 << 20;

/// How the client greeted, and so which protocol `Received:` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HELO
    Smtp,
    /// EHLO
    Esmtp,
    /// LHLO
    Lmtp,
}

/// Whether the client had logged in when it handed the message over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authenticated {
    /// It had.
    Yes,
    /// It had not.
    No,
}

impl Protocol {
    /// The registered name ("Mail Transmission Types" of the IANA; RFC 5321 §4.4, RFC 3848, RFC 6531
    /// §3.7.3).
    #[must_use]
    pub fn name(self, charset: Charset, security: &Security, authenticated: Authenticated) -> &'static str {
        // RFC 3848 §1: S for TLS, A for AUTH. There are no such names for a session of HELO.
        let names = match (self, charset) {
            (Protocol::Smtp, _) => ["SMTP"; 4],
            (Protocol::Esmtp, Charset::Ascii) => ["ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"],
            (Protocol::Lmtp, Charset::Ascii) => ["LMTP", "LMTPS", "LMTPA", "LMTPSA"],
            (Protocol::Esmtp, Charset::Utf8) => ["UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"],
            (Protocol::Lmtp, Charset::Utf8) => ["UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"],
        };
        let [bare, tls, login, both] = names;
        match (security, authenticated) {
            (Security::Plain, Authenticated::No) => bare,
            (Security::Tls(_), Authenticated::No) => tls,
            (Security::Plain, Authenticated::Yes) => login,
            (Security::Tls(_), Authenticated::Yes) => both,
        }
    }
}

/// What `Received:` tells of the hop that brought a message.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// What the client called itself: checked syntax, untrusted content.
    pub helo: &'a str,
    /// Where it is.
    pub peer: Peer,
    /// What this server calls itself.
    pub hostname: &'a str,
    /// The protocol of the session.
    pub protocol: Protocol,
    /// What protected it.
    pub security: &'a Security,
    /// Whether the client had logged in.
    pub authenticated: Authenticated,
    /// The alphabet of the transaction.
    pub charset: Charset,
    /// The id of the message.
    pub queue_id: QueueId,
    /// When the message had come in whole, as RFC 5322 §3.3 writes dates.
    pub date: &'a str,
}

/// The lines that stand above a message in the mailbox of one recipient: `Return-Path:` (RFC 5321
/// §4.4), `Delivered-To:` (RFC 9228) and `Received:`.
///
/// Each recipient gets its own, so that nobody learns of a blind copy from them.
#[must_use]
pub fn head(from: &Sender, to: &Address, hop: &Hop<'_>) -> Bytes {
    let mut text = String::with_capacity(320);
    // Writing to a String does not fail.
    let _ = write!(text, "Return-Path: {from}\r\nDelivered-To: {to}\r\nReceived: from {}", hop.helo);
    let _ = match hop.peer.ip() {
        Some(IpAddr::V4(ip)) => write!(text, " ([{ip}])"),
        Some(IpAddr::V6(ip)) => write!(text, " ([IPv6:{ip}])"),
        None => write!(text, " (unix socket)"),
    };
    let _ = write!(
        text,
        "\r\n\tby {} (Pillarbox) with {} id {}\r\n\tfor <{to}>; {}\r\n",
        hop.hostname,
        hop.protocol.name(hop.charset, hop.security, hop.authenticated),
        hop.queue_id,
        hop.date,
    );
    text.into()
}

/// Reads a message as it comes, up to its first empty line: how long the header is and how many
/// `Received:` lines it has. Holds no more than the start of one line.
#[derive(Clone, Debug, Default)]
pub struct HeaderScan {
    octets: u64,
    hops: u32,
    place: Place,
}

/// Where in the header the next octet falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// At the start of a line.
    #[default]
    Start,
    /// So many octets of a line were seen, and so far they spell the field name `Received:`.
    Name(usize),
    /// In a line that is of no interest.
    Line,
    /// The empty line was seen.
    Body,
}

const RECEIVED: &[u8] = b"received:";

impl HeaderScan {
    /// Octets of the header so far, the empty line not counted after it was seen.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// `Received:` lines so far.
    #[must_use]
    pub fn hops(&self) -> u32 {
        self.hops
    }

    /// Takes the next octets of a message whose lines end with CRLF, cut anywhere.
    pub fn feed(&mut self, mut octets: &[u8]) {
        while let (Some(&first), false) = (octets.first(), self.place == Place::Body) {
            let taken = match self.place {
                Place::Line => memchr::memchr(b'\n', octets).map_or(octets.len(), |at| {
                    self.place = Place::Start;
                    at + 1
                }),
                Place::Start | Place::Name(_) => {
                    self.name_octet(first);
                    1
                }
                Place::Body => 0,
            };
            self.octets += taken as u64;
            octets = &octets[taken..];
        }
    }

    fn name_octet(&mut self, octet: u8) {
        let seen = if let Place::Name(seen) = self.place { seen } else { 0 };
        self.place = match octet {
            // The CR of an empty line; its LF comes next and is the first octet that spells nothing.
            b'\r' if seen == 0 => Place::Start,
            b'\n' if self.place == Place::Start => Place::Body,
            b'\n' => Place::Start,
            _ if RECEIVED.get(seen) != Some(&octet.to_ascii_lowercase()) => Place::Line,
            _ if seen + 1 == RECEIVED.len() => {
                self.hops += 1;
                Place::Line
            }
            _ => Place::Name(seen + 1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::peer::TlsInfo;

    fn scan(pieces: &[&[u8]]) -> (u64, u32) {
        let mut scan = HeaderScan::default();
        for piece in pieces {
            scan.feed(piece);
        }
        (scan.octets(), scan.hops())
    }

    #[test]
    fn received_lines_are_counted_in_the_header_only_and_at_any_cut() {
        let text = b"Received: a\r\nRECEIVED:b\r\n folded\r\nReceived-SPF: no\r\nX: Received: no\r\n\
            \r\nReceived: no\r\n";
        let header = text.len() as u64 - 14;
        assert_eq!(scan(&[text]), (header, 2));
        for cut in 0..text.len() {
            assert_eq!(scan(&[&text[..cut], &text[cut..]]), (header, 2), "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(scan(&single), (header, 2));
    }

    #[test]
    fn a_message_without_an_empty_line_is_all_header() {
        assert_eq!(scan(&[b""]), (0, 0));
        assert_eq!(scan(&[b"Received: x"]), (11, 1));
        assert_eq!(scan(&[b"\r\nReceived: x\r\n"]), (2, 0));
        assert_eq!(scan(&[b"r\r\n\r\n"]), (5, 0));
    }

    // proves: RFC 3848 §1
    #[test]
    fn received_lines_name_the_protocol_as_it_is_registered() {
        let tls = Security::Tls(TlsInfo { version: "".into(), cipher: "".into(), exporter: None });
        let ways = [
            (&Security::Plain, Authenticated::No),
            (&tls, Authenticated::No),
            (&Security::Plain, Authenticated::Yes),
            (&tls, Authenticated::Yes),
        ];
        for (protocol, charset, names) in [
            (Protocol::Smtp, Charset::Ascii, "SMTP SMTP SMTP SMTP"),
            (Protocol::Esmtp, Charset::Ascii, "ESMTP ESMTPS ESMTPA ESMTPSA"),
            (Protocol::Lmtp, Charset::Ascii, "LMTP LMTPS LMTPA LMTPSA"),
            (Protocol::Esmtp, Charset::Utf8, "UTF8SMTP UTF8SMTPS UTF8SMTPA UTF8SMTPSA"),
            (Protocol::Lmtp, Charset::Utf8, "UTF8LMTP UTF8LMTPS UTF8LMTPA UTF8LMTPSA"),
        ] {
            let got = ways.map(|(security, login)| protocol.name(charset, security, login));
            assert_eq!(got.join(" "), names);
        }
    }

    #[test]
    fn the_head_names_the_recipient_and_nobody_else() -> Result<(), Box<dyn std::error::Error>> {
        let to = Address::parse("bob+x@example.org")?;
        let hop = Hop {
            helo: "client.example",
            peer: Peer::tcp("[::ffff:192.0.2.1]:4000".parse()?),
            hostname: "mx.example.org",
            protocol: Protocol::Esmtp,
            security: &Security::Plain,
            authenticated: Authenticated::No,
            charset: Charset::Ascii,
            queue_id: QueueId::from_random(0),
            date: "Tue, 24 Nov 2026 13:00:00 +0000",
        };
        assert_eq!(
            head(&Sender::Null, &to, &hop),
            "Return-Path: <>\r\nDelivered-To: bob+x@example.org\r\n\
             Received: from client.example ([192.0.2.1])\r\n\
             \tby mx.example.org (Pillarbox) with ESMTP id 000000000000\r\n\
             \tfor <bob+x@example.org>; Tue, 24 Nov 2026 13:00:00 +0000\r\n"
        );
        Ok(())
    }
}
