//! What holds for any input: nothing panics, and no cut of the stream changes what it means.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

#[path = "dialogues/bare_smtp.rs"]
mod bare_smtp;

use bare_smtp::{BareSmtp, KeptMessage, With};
use bytes::BytesMut;
use pillarbox::cli::mailfile::{Form, Found, MboxWriter, Messages};
use pillarbox::mail::address::Address;
use pillarbox::smtp::command::{Command, loggable};
use pillarbox::smtp::role::Role;
use pillarbox::wire::dot::{BareNewline, Stuffer, Transparency, Unstuffer};
use pillarbox::wire::line::{Line, LineScanner};
use proptest::collection::vec;
use proptest::prelude::*;

/// Octets of the kind that mail servers stumble over.
fn awkward() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => Just(b'\r'),
        4 => Just(b'\n'),
        3 => Just(b'.'),
        2 => Just(b'a'),
        1 => any::<u8>(),
    ];
    vec(octet, 0..40)
}

/// A text whose lines end with CRLF.
fn message() -> impl Strategy<Value = Vec<u8>> {
    vec("[.a-z\t\u{e4}]{0,6}", 0..12)
        .prop_map(|lines| lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect())
}

/// Something that a client may send, well or badly formed.
fn exchange() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        Just("EHLO client.example\r\n".to_owned()),
        Just("HELO client\r\n".to_owned()),
        Just("MAIL FROM:<a@example.com>\r\n".to_owned()),
        Just("MAIL FROM:<> SIZE=100 BODY=8BITMIME\r\n".to_owned()),
        Just("RCPT TO:<alice@example.org>\r\n".to_owned()),
        Just("RCPT TO:<nobody@example.org>\r\n".to_owned()),
        Just("RCPT TO:<later@example.org>\r\n".to_owned()),
        Just("DATA\r\ntext\r\n..\r\n.\r\n".to_owned()),
        Just("DATA\r\ntext\nmore\r\n.\r\n".to_owned()),
        (0..40_usize, 0..40_usize, any::<bool>())
            .prop_map(|(size, sent, last)| chunk_command(size, last) + &"b".repeat(sent)),
        Just("RSET\r\n".to_owned()),
        Just("NOOP\r\n".to_owned()),
        Just("VRFY alice\r\n".to_owned()),
        Just("FROB\nNOOP\r\n".to_owned()),
        Just("LHLO mta.example\r\n".to_owned()),
        Just("MAIL FROM:<alice@example.org> AUTH=<>\r\n".to_owned()),
        Just("STARTTLS\r\n".to_owned()),
        Just(TLS.to_owned()),
        Just("AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAGEgc2VjcmV0\r\n".to_owned()),
        Just("AUTH PLAIN\r\n".to_owned()),
        Just("AUTH LOGIN YWxpY2VAZXhhbXBsZS5vcmc=\r\n".to_owned()),
        Just("YSBzZWNyZXQ=\r\n".to_owned()),
        Just("AUTH SCRAM-SHA-256 biwsbj1hbGljZUBleGFtcGxlLm9yZyxyPWFiYw==\r\n".to_owned()),
        Just("*\r\n".to_owned()),
    ];
    prop_oneof![12 => text.prop_map(String::into_bytes), 1 => awkward()]
}

/// Stands for a handshake in a stream. Where nobody has asked for TLS, it is a line like any other.
const TLS: &str = "handshake\r\n";

fn role() -> impl Strategy<Value = (Role, Vec<With>)> {
    let role = prop_oneof![Just(Role::Mx), Just(Role::Submission), Just(Role::Lmtp)];
    let with = prop_oneof![
        Just(vec![]),
        Just(vec![With::StartTls]),
        Just(vec![With::StartTls, With::Remote]),
        Just(vec![With::Tls]),
        Just(vec![With::Open]),
    ];
    (role, with)
}

fn has_a_code(line: &str) -> bool {
    line.len() > 3 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit)
}

fn chunk_command(size: usize, last: bool) -> String {
    format!("BDAT {size}{}\r\n", if last { " LAST" } else { "" })
}

/// What a session says and keeps when the stream comes in the given pieces.
fn talk<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Vec<KeptMessage>) {
    let mut session = BareSmtp::new();
    for piece in pieces {
        session.send(piece);
    }
    (session.said(), session.kept)
}

const TO_DATA: &[u8] =
    b"EHLO client.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n";

/// The message that `text` is by the letter of RFC 5321, and what follows it: the first CRLF.CRLF
/// ends it, a dot at the start of a line falls away, and no CR or LF stands alone.
fn by_the_letter(text: &[u8]) -> (Option<Vec<u8>>, &[u8]) {
    let stream = [b"\r\n", text].concat();
    let end = stream.windows(5).position(|octets| octets == b"\r\n.\r\n").unwrap();
    let message = String::from_utf8_lossy(&stream[2..end + 2]).into_owned();
    let sound = !message.replace("\r\n", "").contains(['\r', '\n']);
    let lines = message.split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line));
    (sound.then(|| lines.collect::<String>().into_bytes()), &text[end + 3..])
}

proptest! {
    #[test]
    fn any_octets_are_a_command_or_a_fault(line in vec(any::<u8>(), 0..80)) {
        let _ = Command::parse(&line);
        prop_assert!(loggable(&line).len() <= line.len().max(1));
    }

    #[test]
    fn no_conversation_panics_and_every_line_of_every_reply_has_a_code(
        turns in vec(exchange(), 0..30),
    ) {
        let (said, _) = talk(turns.iter().map(Vec::as_slice));
        for line in said.split_terminator("\r\n") {
            prop_assert!(has_a_code(line), "{line:?}");
        }
    }

    #[test]
    fn no_role_panics_and_none_sends_for_a_stranger_or_in_clear(
        (role, with) in role(),
        turns in vec(exchange(), 0..40),
    ) {
        let mut session = BareSmtp::of(role, &with);
        let mut secured = with.contains(&With::Tls);
        for turn in &turns {
            if session.is_securing() && turn == TLS.as_bytes() {
                session.secure();
                secured = true;
            } else {
                session.send(turn);
            }
            let said = session.said();
            for line in said.split_terminator("\r\n") {
                prop_assert!(has_a_code(line), "{line:?}");
            }
            if with.contains(&With::Remote) && !secured {
                prop_assert!(!said.contains("235 ") && !said.contains("334 "), "{said}");
            }
        }
        prop_assert!(role != Role::Submission || session.kept.is_empty() || session.has_logged_in());
    }

    // proves: RFC 3207 §4.2
    #[test]
    fn nothing_that_came_before_tls_counts_after_it(
        before in vec(exchange(), 0..10),
        behind in awkward(),
        after in vec(exchange(), 0..10),
    ) {
        let mut session = BareSmtp::of(Role::Submission, &[With::StartTls]);
        before.iter().for_each(|turn| session.send(turn));
        session.send(b"\r\nRSET\r\nEHLO client.example\r\nSTARTTLS\r\n");
        session.send(&behind);
        if session.is_securing() && session.failures() == 0 {
            let kept = session.kept.len();
            session.said();
            session.secure();
            let mut fresh = BareSmtp::of(Role::Submission, &[With::StartTls, With::Tls]);
            fresh.said();
            after.iter().for_each(|turn| {
                session.send(turn);
                fresh.send(turn);
            });
            // Errors are counted on, so the session that is older may end sooner.
            let (said, wanted) = (session.said(), fresh.said());
            prop_assert!(said == wanted || (session.is_over() && !fresh.is_over()) || said.contains("421 "));
            prop_assert!(session.kept[kept..] == fresh.kept[..] || session.is_over());
        }
    }

    #[test]
    fn a_conversation_is_the_same_at_every_cut(
        turns in vec(exchange(), 0..20),
        sizes in vec(1..50_usize, 1..20),
    ) {
        let stream = turns.concat();
        let mut rest = stream.as_slice();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(talk(pieces), talk([stream.as_slice()]));
        prop_assert_eq!(talk(stream.chunks(1)), talk([stream.as_slice()]));
    }

    // proves: RFC 5321 §4.5.2
    #[test]
    fn a_message_ends_where_the_standard_says_and_nowhere_else(text in awkward()) {
        let text: Vec<u8> = text.iter().map(|octet| octet & 0x7f).collect();
        let stream = [TO_DATA, &text, b"\r\n.\r\n"].concat();
        let (want, after) = by_the_letter(&stream[TO_DATA.len()..]);
        let (said, kept) = talk([stream.as_slice()]);
        let lines = said.split_terminator("\r\n");
        let replies: Vec<&str> = lines.skip_while(|line| !line.starts_with("354")).collect();
        let verdict = if want.is_some() { "250" } else { "550 5.6.11" };
        prop_assert!(replies[1].starts_with(verdict), "{:?}", replies);
        prop_assert_eq!(kept.into_iter().map(|message| message.octets).next(), want);
        let (said_later, _) = talk([after]);
        let errors_later = said_later.split_terminator("\r\n").count() - 1;
        prop_assert_eq!(replies.len() - 2, errors_later, "what follows is commands, and all of it");
    }

    #[test]
    fn a_message_is_the_same_in_chunks_and_behind_data(message in message(), cuts in vec(0..80_usize, 0..6)) {
        let mut stuffed = BytesMut::new();
        let mut stuffer = Stuffer::default();
        stuffer.feed(&message, &mut stuffed);
        stuffer.finish(&mut stuffed);
        let (_, by_data) = talk([TO_DATA, &stuffed]);

        let mut chunked = TO_DATA[..TO_DATA.len() - 6].to_vec();
        let mut rest = message.as_slice();
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            chunked.extend([chunk_command(chunk.len(), false).as_bytes(), chunk].concat());
            rest = after;
        }
        chunked.extend([chunk_command(rest.len(), true).as_bytes(), rest].concat());
        let (_, by_chunks) = talk([chunked.as_slice()]);
        prop_assert_eq!(&by_data[0].octets, &message);
        prop_assert_eq!(by_data, by_chunks);
    }

    #[test]
    fn a_session_that_is_over_says_nothing_more(turns in vec(exchange(), 0..10), silent in any::<bool>()) {
        let mut session = BareSmtp::new();
        turns.iter().for_each(|turn| session.send(turn));
        if silent { session.fall_silent() } else { session.stop() }
        prop_assert!(session.is_over());
        session.said();
        let kept = session.kept.len();
        turns.iter().for_each(|turn| session.send(turn));
        prop_assert_eq!(session.said(), "");
        prop_assert_eq!(session.kept.len(), kept);
    }

    #[test]
    fn chunks_of_any_size_are_counted_without_overflow(
        sizes in vec(any::<u64>(), 1..6),
        text in "[a-z]{0,20}",
    ) {
        let mut session = BareSmtp::new();
        session.send(&TO_DATA[..TO_DATA.len() - 6]);
        for size in sizes {
            session.send(format!("BDAT {size}\r\n{text}").as_bytes());
        }
        prop_assert!(session.kept.is_empty());
    }

    #[test]
    fn stuffing_and_unstuffing_give_the_message_back(
        message in message(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut wire = BytesMut::new();
        let mut stuffer = Stuffer::default();
        stuffer.feed(&message, &mut wire);
        stuffer.finish(&mut wire);
        let cut = cut.index(wire.len());
        let mut unstuffer = Unstuffer::new(Transparency::Dots, BareNewline::Refuse);
        let mut back = BytesMut::new();
        prop_assert!(!unstuffer.feed(&wire[..cut], &mut back).ended);
        let progress = unstuffer.feed(&wire[cut..], &mut back);
        prop_assert!(progress.ended && !unstuffer.spoilt());
        prop_assert_eq!(progress.used, wire.len() - cut);
        prop_assert_eq!(&back[..], message.as_slice());
    }

    #[test]
    fn a_counted_message_is_kept_octet_by_octet(message in message()) {
        let mut unstuffer = Unstuffer::new(Transparency::Counted, BareNewline::Refuse);
        let mut back = BytesMut::new();
        unstuffer.feed(&message, &mut back);
        unstuffer.finish(&mut back);
        prop_assert_eq!(&back[..], message.as_slice());
    }

    #[test]
    fn lines_are_the_same_at_every_cut(stream in vec(awkward(), 0..4), cut in any::<prop::sample::Index>()) {
        let stream = stream.concat();
        let lines = |pieces: &[&[u8]]| -> Vec<Line> {
            let mut scanner = LineScanner::default();
            let mut input = BytesMut::new();
            let mut found = Vec::new();
            for piece in pieces {
                input.extend_from_slice(piece);
                found.extend(std::iter::from_fn(|| scanner.next(&mut input, 12)));
            }
            found
        };
        let (before, after) = stream.split_at(cut.index(stream.len() + 1));
        prop_assert_eq!(lines(&[before, after]), lines(&[&stream]));
    }

    // proves: RFC 6531 §3.3
    #[test]
    fn an_address_that_is_read_is_written_so_that_it_reads_the_same(
        local in "(\"([a-z @.\u{e4}]|\\\\[ -~])*\"|[a-z.+\u{e4}]{1,8})",
        domain in "([a-z\u{fc}]{1,5}\\.[a-z]{2}|\\[127\\.0\\.0\\.1\\])",
    ) {
        if let Ok(address) = Address::parse(&format!("{local}@{domain}")) {
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }
}

/// Messages as the store keeps them: lines that make trouble in an mbox, each ended by CRLF.
fn messages() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        2 => Just(String::new()),
        2 => ">{0,3}From ?[a-z]{0,2} ?(10:20)?",
        1 => "[ -~]{0,12}",
    ];
    let message = vec(line, 0..8).prop_map(|lines| lines.iter().map(|line| format!("{line}\r\n")).collect());
    vec(message, 0..6)
}

proptest! {
    #[test]
    fn an_mbox_gives_back_the_messages_that_were_written_however_they_were_cut(
        messages in messages(),
        cut in 1_usize..20,
    ) {
        let mut writer = MboxWriter::new(Vec::new());
        for message in &messages {
            writer.begin("a@b", "Tue Nov 24 10:20:30 2026").unwrap();
            for part in message.as_bytes().chunks(cut) {
                writer.write(part).unwrap();
            }
            writer.end().unwrap();
        }
        let mbox = writer.into_inner();
        let file = std::io::BufReader::with_capacity(cut, &mbox[..]);
        let mut reader = Messages::new(file, Form::Mbox, 10_000);
        let read: Vec<Found> = std::iter::from_fn(|| reader.next_message().unwrap()).collect();
        let want: Vec<Found> = messages.into_iter().map(|m| Found::Message(m.into_bytes())).collect();
        prop_assert_eq!(read, want);
    }

    #[test]
    fn any_file_is_read_to_its_end_within_the_limit(
        octets in vec(any::<u8>(), 0..400),
        limit in 0_usize..50,
    ) {
        for form in [Form::Mbox, Form::Single] {
            let mut reader = Messages::new(&octets[..], form, limit);
            while let Some(found) = reader.next_message().unwrap() {
                if let Found::Message(message) = found {
                    prop_assert!(message.len() <= limit);
                }
            }
        }
    }
}
