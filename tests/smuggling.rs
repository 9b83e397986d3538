//! A second message smuggled inside the first: every form of a false end of data that has worked
//! against some server, sent to the real one, and what it has stored counted.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

use support::Home;
use support::wire::{Pop3, Smtp};

/// Octets that some server takes for `CRLF . CRLF`.
const FALSE_ENDS: [(&str, &[u8]); 13] = [
    ("LF . LF", b"\n.\n"),
    ("LF . CRLF", b"\n.\r\n"),
    ("CRLF . LF", b"\r\n.\n"),
    ("CR . CR", b"\r.\r"),
    ("CR . CRLF", b"\r.\r\n"),
    ("CRLF . CR", b"\r\n.\r"),
    ("CR . LF", b"\r.\n"),
    ("LF . CR", b"\n.\r"),
    ("CRLF NUL . CRLF", b"\r\n\0.\r\n"),
    ("CRLF . NUL CRLF", b"\r\n.\0\r\n"),
    ("CRLF . CR CRLF", b"\r\n.\r\r\n"),
    ("CR CRLF . CR CRLF", b"\r\r\n.\r\r\n"),
    ("LF LF . CRLF", b"\n\n.\r\n"),
];

const SMUGGLED: &[u8] = b"MAIL FROM:<eve@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n\
                          Subject: smuggled\r\n\r\nsmuggled";

#[test]
fn no_false_end_of_data_ends_a_message() {
    for policy in ["refuse", "normalise"] {
        for (name, end) in FALSE_ENDS {
            let server = Home::new(&[("limits.bare_newline", policy)]).serve();
            let mut smtp = Smtp::open(server.smtp);
            smtp.envelope("alice@client.example", &["bob@example.org"]);
            smtp.expect("DATA", 354);
            smtp.line.send(&[b"Subject: first\r\n\r\nfirst", end, SMUGGLED, b"\r\n.\r\nQUIT\r\n"].concat());
            // Either one reply for one message and then goodbye, or the connection is cut.
            let replies = String::from_utf8(smtp.line.rest()).expect("ASCII");
            let codes: Vec<&str> = replies.lines().map(|line| &line[..3]).collect();
            let known: [&[&str]; 3] = [&["250", "221"], &["550", "221"], &["550"]];
            assert!(known.contains(&codes.as_slice()), "{name}, {policy}: {replies}");
            let mut pop3 = Pop3::open(server.pop3, "bob@example.org", "any");
            let stored = pop3.stat().0;
            assert_eq!(stored, u64::from(codes[0] == "250"), "{name}, {policy}: {replies}");
            let has_bare = end.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n')
                || end.ends_with(b"\r")
                || end.iter().enumerate().any(|(at, &o)| o == b'\n' && (at == 0 || end[at - 1] != b'\r'));
            if policy == "refuse" && has_bare {
                assert_eq!(codes[0], "550", "{name} holds a bare newline");
            }
            for number in 1..=stored {
                let message = pop3.body(&format!("RETR {number}")).1;
                let text = String::from_utf8_lossy(&message);
                assert!(text.starts_with("Return-Path: <alice@client.example>"), "{name}, {policy}: {text}");
                assert!(text.contains("smuggled"), "all of it is one message: {text}");
            }
        }
    }
}

#[test]
fn a_bare_newline_in_a_command_never_makes_two_of_it() {
    let server = Home::new(&[]).serve();
    for joint in [&b"\n"[..], b"\r", b"\0", b"\n\n", b"\r\r"] {
        let mut smtp = Smtp::open(server.smtp);
        let line =
            [b"NOOP", joint, b"MAIL FROM:<eve@client.example>\r\nRCPT TO:<bob@example.org>\r\n"].concat();
        smtp.line.send(&line);
        let first = smtp.reply();
        assert_eq!(first.code / 100, 5, "{joint:?}: {first:?}");
        let second = smtp.reply();
        assert_eq!(second.code, 503, "{joint:?}: no MAIL was heard: {second:?}");
    }
    assert_eq!(Pop3::open(server.pop3, "bob@example.org", "any").stat().0, 0);
}

#[test]
fn an_envelope_cannot_put_a_line_into_the_header() {
    let server = Home::new(&[]).serve();
    let commands: [&[u8]; 6] = [
        b"EHLO a.example\rX-Injected: yes",
        b"EHLO a.example\nX-Injected: yes",
        b"MAIL FROM:<a\rX-Injected: yes@client.example>",
        b"MAIL FROM:<\"a\rX-Injected: yes\"@client.example>",
        b"MAIL FROM:<\"a\\\rX-Injected: yes\"@client.example>",
        b"MAIL FROM:<a@client.example>\rX-Injected: yes",
    ];
    for command in commands {
        let mut smtp = Smtp::open(server.smtp);
        smtp.line.send(&[command, b"\r\n"].concat());
        let reply = smtp.reply();
        assert_eq!(reply.code / 100, 5, "{:?}: {reply:?}", String::from_utf8_lossy(command));
    }
}
