//! The trace lines on top of a message (RFC 5321 §4.4).

use super::address::{Address, Sender};
use super::body::Beginning;
use super::envelope::Charset;
use super::ids::QueueId;
use super::peer::{Peer, Security};
use bytes::Bytes;
use std::fmt::Write as _;
use std::net::IpAddr;

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
///
/// Above what begins with white space an empty line ends them: nobody else writes into `Received:`.
#[must_use]
pub fn head(from: &Sender, to: &Address, hop: &Hop<'_>, beginning: Beginning) -> Bytes {
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
    if beginning == Beginning::Fold {
        text.push_str("\r\n");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::peer::TlsInfo;

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
        let lines = "Return-Path: <>\r\nDelivered-To: bob+x@example.org\r\n\
             Received: from client.example ([192.0.2.1])\r\n\
             \tby mx.example.org (Pillarbox) with ESMTP id 000000000000\r\n\
             \tfor <bob+x@example.org>; Tue, 24 Nov 2026 13:00:00 +0000\r\n";
        assert_eq!(head(&Sender::Null, &to, &hop, Beginning::Header), lines);
        assert_eq!(head(&Sender::Null, &to, &hop, Beginning::Text), lines, "promised to be all");
        assert_eq!(head(&Sender::Null, &to, &hop, Beginning::Fold), format!("{lines}\r\n"));
        Ok(())
    }
}
