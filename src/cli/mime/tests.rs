//! Messages as they come: plain, in MIME, and made to break readers.

use super::*;
use std::time::{Duration, Instant};

fn whole(text: &str) -> Digest {
    digest(text.replace('\n', "\r\n").into_bytes(), Extent::Whole)
}

const TRACE: &str = "Return-Path: <a@x.org>\nDelivered-To: b@y.org\n\
    Received: from c ([127.0.0.1])\n\tby y.org (Pillarbox) with ESMTP id 0123456789AB\n\
    \tfor <b@y.org>; Tue, 24 Nov 2026 13:00:00 +0100\n";

#[test]
fn a_plain_message_shows_who_when_what_and_its_text() {
    let digest = whole(
        "From: =?utf-8?q?Gr=C3=BCn?= <gruen@x.org>\nTo: b@y.org, Carl <c@z.org>\nCc: d@z.org\n\
         Date: Mon, 23 Nov 2026 10:00:00 -0500\nSubject: =?utf-8?b?w4RyZ2Vy?= again\n\nHello\n.dots\n",
    );
    assert_eq!(digest.from.as_deref(), Some("Grün <gruen@x.org>"));
    assert_eq!(digest.to.as_deref(), Some("b@y.org, Carl <c@z.org>"));
    assert_eq!(digest.cc.as_deref(), Some("d@z.org"));
    assert_eq!(digest.date.as_deref(), Some("2026-11-23T10:00:00-05:00"));
    assert_eq!(digest.subject.as_deref(), Some("Ärger again"));
    assert_eq!(digest.text.as_deref(), Some("Hello\r\n.dots\r\n"));
    assert_eq!(digest.attachments, Some(vec![]));
}

#[test]
fn without_a_date_the_time_of_arrival_counts() {
    for date in ["", "Date: yesterday\n", "Date: Mon, 99 Nov 2026 99:99:99 +0000\n"] {
        let digest = whole(&format!("{TRACE}{date}Subject: x\n\n"));
        assert_eq!(digest.date.as_deref(), Some("2026-11-24T13:00:00+01:00"), "{date}");
    }
    assert_eq!(whole("Subject: x\n\n").date, None);
}

#[test]
fn a_message_without_a_header_or_without_anything_is_shown_empty() {
    let empty = Digest { text: Some(String::new()), attachments: Some(Vec::new()), ..Digest::default() };
    assert_eq!(whole(""), empty);
    let digest = whole(&format!("{TRACE}\nonly text\n"));
    assert_eq!((digest.from, digest.subject), (None, None));
    assert_eq!(digest.text.as_deref(), Some("only text\r\n"));
}

const MIXED: &str = "From: a@x.org\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
    --b\nContent-Type: multipart/alternative; boundary=c\n\n\
    --c\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n\
    gr=FCn\n\
    --c\nContent-Type: text/html\n\n<p>not <b>this</b></p>\n--c--\n\
    --b\nContent-Type: image/png; name=\"../../etc/dot.png\"\nContent-Transfer-Encoding: base64\n\
    Content-Disposition: attachment\n\niVBORw0KGgo=\n\
    --b\nContent-Type: message/rfc822\n\nSubject: inner\n\ninner text\n\
    --b\nContent-Type: application/octet-stream\nContent-Disposition: attachment;\n\
    \x20filename*=utf-8''b%C3%BCro%2Fplan.pdf\n\nxyz\n--b--\n";

#[test]
fn text_is_decoded_and_attachments_are_named_by_their_last_component() {
    let digest = whole(MIXED);
    assert_eq!(digest.text.as_deref().map(str::trim_end), Some("grün"));
    let shown: Vec<_> = digest
        .attachments
        .expect("taken apart")
        .iter()
        .map(|a| format!("{} {} {}", a.name.as_deref().unwrap_or("-"), a.kind, a.octets))
        .collect();
    assert_eq!(shown, ["dot.png image/png 8", "- message/rfc822 28", "plan.pdf application/octet-stream 3"]);
}

#[test]
fn parts_that_are_entangled_do_not_hide_the_header() {
    let text = "Subject: seen\nContent-Type: multipart/mixed; boundary=b\n\n\
        --bContent-Type: message/rfc822\nC\n\nb\nContent-Type: message/rfc822\n\n\n\
        --bContent-Type: message/rfc822\n\n\n--b--";
    for end in ["\n", "\r\n"] {
        let digest = digest(text.replace('\n', end).into_bytes(), Extent::Whole);
        assert_eq!(digest.subject.as_deref(), Some("seen"));
    }
}

#[test]
fn html_alone_is_shown_as_text() {
    let digest = whole(
        "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n\
         PHA+SGVsbG8gPGI+d29ybGQ8L2I+PC9wPjxzY3JpcHQ+YWxlcnQoMSk8L3NjcmlwdD4=\n",
    );
    assert_eq!(digest.text.as_deref().map(str::trim), Some("Hello world"));
    assert_eq!(digest.attachments, Some(vec![]));
}

#[test]
fn of_a_beginning_only_the_header_is_told_and_what_it_tells() {
    let beginning = |text: &str| digest(text.replace('\n', "\r\n").into_bytes(), Extent::Beginning);
    let plain = beginning("From: a@x.org\nSubject: s\n\nHel");
    assert_eq!((plain.subject.as_deref(), plain.text, plain.attachments), (Some("s"), None, Some(vec![])));
    let mixed = beginning(&MIXED[..200]);
    assert_eq!((mixed.from.as_deref(), mixed.attachments), (Some("a@x.org"), None));
    let file = beginning("Content-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\nx");
    assert_eq!(file.attachments, None);
}

/// Whatever the message, it is read in a time that a test may wait for, on a stack of usual size.
fn survives(raw: Vec<u8>) -> Digest {
    let started = Instant::now();
    let run = move || digest(raw, Extent::Whole);
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread");
    let digest = thread.join().expect("no panic");
    assert!(started.elapsed() < Duration::from_secs(60), "took {:?}", started.elapsed());
    digest
}

#[test]
fn a_nested_message_whose_decoded_text_is_an_empty_received_line_is_an_attachment() {
    // "Received:\n\t" and "Received:\r\n\t", encoded, whole and within a message.
    for (encoding, body) in [
        ("base64", "UmVjZWl2ZWQ6Cgk="),
        ("base64", "UmVjZWl2ZWQ6DQoJ"),
        ("quoted-printable", "Received:=0A=09"),
        ("quoted-printable", "Received:\r\n\t"),
    ] {
        let part = format!(
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n"
        );
        let digest = survives(format!("Subject: x\r\n{part}").into_bytes());
        let kinds: Vec<_> = digest.attachments.expect("taken apart").into_iter().map(|a| a.kind).collect();
        assert_eq!(kinds, ["message/rfc822"], "{part}");
        let mixed = format!(
            "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{part}\
             --b\r\nContent-Type: text/csv; name=after.csv\r\n\r\n1,2\r\n--b--\r\n"
        );
        let digest = survives(mixed.into_bytes());
        let names: Vec<_> = digest.attachments.expect("taken apart").into_iter().map(|a| a.name).collect();
        assert_eq!(names, [None, Some("after.csv".to_owned())], "{part}");
    }
    survives(b"Received:\r\n\t".to_vec());
    survives(b"Received:\n\t\n\n".to_vec());
}

#[test]
fn five_thousand_levels_of_multiparts_are_read() {
    let mut text = String::from("Subject: deep\n");
    for level in 0..5000 {
        text.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"));
    }
    text.push_str("Content-Type: text/plain\n\nbottom\n");
    let digest = survives(text.into_bytes());
    assert_eq!(digest.subject.as_deref(), Some("deep"));
}

#[test]
fn messages_within_messages_to_any_depth_do_not_use_up_the_stack() {
    let level = "Content-Type: message/rfc822\n\n";
    for levels in [5_000, 150_000, 600_000] {
        let digest =
            survives(format!("Subject: deep\n{}Subject: inner\n\nx\n", level.repeat(levels)).into_bytes());
        assert_eq!(digest.subject.as_deref(), Some("deep"), "{levels}");
    }
    // Encoded, as the parser would decode and copy it level by level.
    let inner = base64(level.repeat(150_000).as_bytes());
    let raw =
        format!("Subject: e\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{inner}\n");
    let attachments = survives(raw.into_bytes()).attachments.expect("taken apart");
    assert_eq!(attachments.len(), 1);
    assert_eq!(attachments[0].octets, level.len() * 150_000);
}

#[test]
fn a_hundred_thousand_parts_are_read_and_a_thousand_are_shown() {
    let mut text = String::from("Subject: wide\nContent-Type: multipart/mixed; boundary=b\n\n");
    for part in 0..100_000 {
        text.push_str(&format!("--b\nContent-Type: application/x; name=f{part}\n\nx\n"));
    }
    let digest = survives(text.into_bytes());
    assert_eq!(digest.attachments.map(|a| a.len()), Some(PARTS_MAX));
    // More than that is not taken apart at all.
    let text =
        format!("Subject: w\nContent-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(300_000));
    let digest = survives(text.into_bytes());
    assert_eq!((digest.subject.as_deref(), digest.attachments), (Some("w"), None));
}

#[test]
fn long_lists_of_addresses_are_cut() {
    let digest = survives(format!("To: {}x@y.org\n\n", "a@x.org, ".repeat(200_000)).into_bytes());
    assert!(digest.to.is_some_and(|to| to.ends_with("and 199951 more")));
    let digest = survives(format!("{}\nx\n", "To: a@x.org\n".repeat(100_000)).into_bytes());
    assert!(digest.to.is_some());
}

#[test]
fn any_cut_of_a_message_is_read() {
    let raw = MIXED.replace('\n', "\r\n").into_bytes();
    for end in 0..raw.len() {
        let _ = digest(raw[..end].to_vec(), Extent::Whole);
        let _ = digest(raw[..end].to_vec(), Extent::Beginning);
    }
}

fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert_eq!(octets.len() % 3, 0, "padding is left out");
    let mut out = String::new();
    for (i, three) in octets.chunks(3).enumerate() {
        let bits = three.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b));
        out.extend((0..4).rev().map(|i| char::from(ALPHABET[(bits >> (6 * i)) as usize & 63])));
        if i % 19 == 18 {
            out.push('\n');
        }
    }
    out
}

#[test]
fn what_has_no_header_has_no_attachments_and_some_text_if_only_an_empty_one() {
    for raw in [&b""[..], b"\r\n", b"just text", &[0xff; 1000]] {
        assert_eq!(digest(raw.to_vec(), Extent::Beginning).attachments, Some(Vec::new()), "{raw:?}");
        let whole = digest(raw.to_vec(), Extent::Whole);
        assert!(whole.text.is_some() && whole.attachments == Some(Vec::new()), "{raw:?}");
    }
}
