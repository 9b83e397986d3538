//! Peers that go wrong, by accident or by intent, each by its name; and what the server does to
//! them, to the others, and to itself.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

use std::net::Shutdown;
use support::corpus;
use support::wire::{Line, Pop3, Smtp, mailbox, same, stuffed, without_trace};
use support::{Home, Server};

const ALICE: &str = "alice@client.example";
const BOB: &str = "bob@example.org";
const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nHello\r\n";

/// A client that behaves is served in the meantime, in both protocols.
fn others_are_served(server: &Server) {
    assert_eq!(Smtp::open(server.smtp).deliver(ALICE, "other@example.org", MESSAGE).code, 250);
    let mut pop3 = Pop3::open(server.pop3, "other@example.org", "any");
    assert!(pop3.stat().0 >= 1);
    pop3.ok("QUIT");
}

/// How much memory the server holds, in KiB.
fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line for memory");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn a_peer_that_drips_octet_by_octet_is_understood_and_delays_nobody() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::connect(server.smtp);
    smtp.reply();
    let talk = [
        &b"EHLO client.example\r\nMAIL FROM:<alice@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
            [..],
        b"Subject: drip\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
    ]
    .concat();
    for octet in &talk {
        smtp.line.send(&[*octet]);
    }
    others_are_served(&server);
    let codes: Vec<u16> = (0..6).map(|_| smtp.reply().code).collect();
    assert_eq!(codes, [250, 250, 250, 354, 250, 221]);
    let kept = mailbox(server.pop3, BOB);
    assert_eq!(without_trace(&kept[0]), b"Subject: drip\r\n\r\n.dot\r\n");
}

#[test]
fn a_silent_peer_is_told_421_when_its_time_is_over() {
    let server = Home::new(&[("limits.smtp_timeout", "1s"), ("limits.pop3_timeout", "1s")]).serve();
    let mut greeted = Smtp::connect(server.smtp);
    greeted.reply();
    let mut half_a_line = Smtp::open(server.smtp);
    half_a_line.line.send(b"MAIL FRO");
    let mut half_a_message = Smtp::open(server.smtp);
    half_a_message.envelope(ALICE, &[BOB]);
    half_a_message.expect("DATA", 354);
    half_a_message.line.send(b"Subject: half\r\n\r\nthe rest never comes\r\n");
    for smtp in [&mut greeted, &mut half_a_line, &mut half_a_message] {
        assert_eq!(smtp.reply().code, 421);
        assert_eq!(smtp.line.rest(), b"");
    }
    let mut silent = Pop3::open(server.pop3, BOB, "any");
    assert_eq!(silent.stat().0, 0, "half a message is no message");
    let goodbye = silent.line.rest();
    assert!(goodbye.is_empty() || goodbye.starts_with(b"-ERR"), "{goodbye:?}");
}

#[test]
fn a_drip_does_not_stretch_the_time_for_a_command() {
    let server = Home::new(&[("limits.smtp_timeout", "2s")]).serve();
    let mut smtp = Smtp::open(server.smtp);
    let since = std::time::Instant::now();
    while smtp.line.try_send(b"A") && since.elapsed().as_secs() < 30 {
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    assert!(since.elapsed().as_secs() < 20, "a command that never ends was waited for without end");
}

#[test]
fn an_endless_line_is_refused_once_and_swallowed() {
    let server = Home::new(&[]).serve();
    let before = memory_kib(&server);
    let mut smtp = Smtp::open(server.smtp);
    let piece = vec![b'A'; 1 << 20];
    for _ in 0..16 {
        smtp.line.send(&piece);
    }
    others_are_served(&server);
    smtp.line.send(b"\r\nNOOP\r\n");
    assert_eq!(smtp.reply().code, 500);
    assert_eq!(smtp.reply().code, 250, "one refusal for one line, and the next command is in step");
    let mut pop3 = Pop3::connect(server.pop3);
    for _ in 0..16 {
        pop3.line.send(&piece);
    }
    pop3.line.send(b"\r\nCAPA\r\n");
    assert!(pop3.line.line().starts_with("-ERR"));
    assert!(pop3.line.line().starts_with("+OK"));
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for two lines");
}

#[test]
fn an_endless_header_is_refused_at_its_bound() {
    let server = Home::new(&[]).serve();
    let before = memory_kib(&server);
    let mut smtp = Smtp::open(server.smtp);
    smtp.envelope(ALICE, &[BOB]);
    smtp.expect("DATA", 354);
    let lines = "X-Filler: 0123456789\r\n".repeat(50_000);
    for _ in 0..4 {
        smtp.line.send(lines.as_bytes());
    }
    smtp.line.send(b"\r\nbody\r\n.\r\nNOOP\r\n");
    let refused = smtp.reply();
    assert_eq!(refused.code / 100, 5, "{refused:?}");
    assert_eq!(smtp.reply().code, 250);
    assert_eq!(mailbox(server.pop3, BOB).len(), 0);
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB for one header");
}

#[test]
fn a_message_that_goes_in_a_circle_is_refused() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    let hop = "Received: from a.example by b.example; Tue, 24 Nov 2026 13:00:00 +0000\r\n";
    let message = |hops: usize| [hop.repeat(hops).as_bytes(), MESSAGE].concat();
    assert_eq!(smtp.deliver(ALICE, BOB, &message(98)).code, 250);
    let refused = smtp.deliver(ALICE, BOB, &message(101));
    assert_eq!(refused.code / 100, 5, "{refused:?}");
    assert!(refused.text().starts_with("5.4.6 "), "{refused:?}");
    assert_eq!(mailbox(server.pop3, BOB).len(), 1);
}

#[test]
fn what_is_pipelined_after_quit_is_not_acted_on() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.line.send(b"QUIT\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nx\r\n.\r\n");
    assert_eq!(smtp.reply().code, 221);
    assert_eq!(smtp.line.rest(), b"");
    assert_eq!(Smtp::open(server.smtp).deliver(ALICE, BOB, MESSAGE).code, 250);
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    pop3.line.send(b"QUIT\r\nDELE 1\r\nQUIT\r\n");
    assert!(pop3.line.line().starts_with("+OK"));
    assert_eq!(pop3.line.rest(), b"");
    assert_eq!(mailbox(server.pop3, BOB).len(), 1);
}

#[test]
fn a_half_closed_socket_gets_its_replies_and_its_message_is_kept() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.line.send(b"MAIL FROM:<alice@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
    smtp.line.send(&[&stuffed(MESSAGE)[..], b"QUIT\r\n"].concat());
    smtp.line.half_close();
    let codes: Vec<u16> = (0..5).map(|_| smtp.reply().code).collect();
    assert_eq!(codes, [250, 250, 354, 250, 221]);
    let mut pop3 = Pop3::connect(server.pop3);
    pop3.line.send(b"USER bob@example.org\r\nPASS any\r\nRETR 1\r\nQUIT\r\n");
    pop3.line.half_close();
    let all = String::from_utf8(pop3.line.rest()).expect("ASCII");
    assert!(all.contains("\r\nHello\r\n.\r\n+OK"), "{all}");
}

#[test]
fn a_message_cut_off_at_any_place_is_no_message() {
    let server = Home::new(&[]).serve();
    let whole = stuffed(MESSAGE);
    for cut in 0..whole.len() {
        let mut smtp = Smtp::open(server.smtp);
        smtp.envelope(ALICE, &[BOB]);
        smtp.expect("DATA", 354);
        smtp.line.send(&whole[..cut]);
        smtp.line.half_close();
        let rest = String::from_utf8(smtp.line.rest()).expect("ASCII");
        assert!(!rest.contains("250"), "cut at {cut}: {rest}");
    }
    let mut smtp = Smtp::open(server.smtp);
    smtp.envelope(ALICE, &[BOB]);
    smtp.line.send(b"BDAT 100 LAST\r\nSubject: half\r\n");
    smtp.line.half_close();
    assert_eq!(smtp.line.rest(), b"");
    assert_eq!(mailbox(server.pop3, BOB).len(), 0);
}

#[test]
fn a_size_of_bdat_that_no_machine_can_hold_is_refused() {
    let server = Home::new(&[]).serve();
    let before = memory_kib(&server);
    for size in
        ["18446744073709551615", "18446744073709551616", "9223372036854775808", "99999999999999999999999"]
    {
        for last in ["", " LAST"] {
            let mut smtp = Smtp::open(server.smtp);
            smtp.envelope(ALICE, &[BOB]);
            smtp.line.send(format!("BDAT {size}{last}\r\n").as_bytes());
            smtp.line.send(b"Subject: x\r\nNOOP\r\nQUIT\r\n");
            smtp.line.half_close();
            let rest = String::from_utf8(smtp.line.rest()).expect("ASCII");
            assert!(rest.is_empty() || rest.starts_with('5'), "BDAT {size}{last}: {rest}");
        }
    }
    for syntax in ["BDAT", "BDAT -1", "BDAT x", "BDAT 1 FIRST", "BDAT 0x10", "BDAT 1.5", "BDAT +3"] {
        let mut smtp = Smtp::open(server.smtp);
        smtp.envelope(ALICE, &[BOB]);
        let refused = smtp.ask(syntax);
        assert_eq!(refused.code, 501, "{syntax}: {refused:?}");
    }
    assert_eq!(mailbox(server.pop3, BOB).len(), 0);
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[test]
fn a_refused_chunk_is_swallowed_and_never_read_as_commands() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.line.send(b"BDAT 48 LAST\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nNOOP\r\n");
    let refused = smtp.reply();
    assert_eq!(refused.code, 503, "{refused:?}");
    assert_eq!(smtp.reply().code, 250, "the NOOP after the chunk");
    smtp.expect("DATA", 503);
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_commands_stay_in_step() {
    let server = Home::new(&[("limits.message_size", "64 KiB")]).serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.expect("MAIL FROM:<alice@client.example> SIZE=65537", 552);
    smtp.expect("MAIL FROM:<alice@client.example> SIZE=99999999999999999999", 552);
    let large = corpus::of_octets(1 << 20);
    let over = smtp.deliver(ALICE, BOB, &large.message);
    assert_eq!(over.code, 552, "{over:?}");
    smtp.expect("NOOP", 250);
    // The end of the message looks like commands to whoever loses count.
    let commands = b"\r\nRSET\r\nMAIL FROM:<eve@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
    let tricky = [&large.message[..], commands].concat();
    assert_eq!(smtp.deliver(ALICE, BOB, &tricky).code, 552);
    smtp.expect("NOOP", 250);
    smtp.envelope(ALICE, &[BOB]);
    smtp.line.send(b"BDAT 40000\r\n");
    smtp.line.send(&large.message[..40_000]);
    assert_eq!(smtp.reply().code, 250);
    smtp.line.send(b"BDAT 40000 LAST\r\n");
    smtp.line.send(&large.message[..40_000]);
    let over = smtp.reply();
    assert_eq!(over.code, 552, "{over:?}");
    let exact = corpus::of_octets(64 * 1024);
    assert_eq!(smtp.deliver(ALICE, BOB, &exact.message).code, 250, "the limit itself is allowed");
    let kept = mailbox(server.pop3, BOB);
    assert_eq!(kept.len(), 1);
    same(without_trace(&kept[0]), &exact.message, "the message of the limit");
}

#[test]
fn twenty_errors_end_a_session() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    let mut errors = 0;
    let last = loop {
        let reply = smtp.ask("XYZZY");
        if reply.code == 421 {
            break errors;
        }
        assert_eq!(reply.code, 500, "{reply:?}");
        errors += 1;
        assert!(errors < 50, "errors without end");
    };
    assert!((19..=20).contains(&last), "421 after {last} errors");
    assert_eq!(smtp.line.rest(), b"");
    others_are_served(&server);
}

#[test]
fn a_flood_of_commands_is_answered_in_order_or_cut_and_delays_nobody() {
    let server = Home::new(&[]).serve();
    let before = memory_kib(&server);
    let mut smtp = Smtp::open(server.smtp);
    let flood = "NOOP\r\n".repeat(20_000);
    let stream = smtp.line.stream().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        // The peer sends without reading: at some point the server stops taking more.
        let _ = std::io::Write::write_all(&mut &stream, flood.as_bytes());
    });
    others_are_served(&server);
    for number in 0..20_000 {
        assert_eq!(smtp.reply().code, 250, "reply {number}");
    }
    sender.join().expect("the sender ends");
    smtp.expect("QUIT", 221);
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[test]
fn too_many_recipients_are_refused_and_the_rest_get_the_message() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.expect("MAIL FROM:<alice@client.example>", 250);
    for number in 0..100 {
        smtp.expect(&format!("RCPT TO:<user{number}@example.org>"), 250);
    }
    let refused = smtp.expect("RCPT TO:<user100@example.org>", 452);
    assert!(refused.text().starts_with("4.5.3 "), "{refused:?}");
    assert_eq!(smtp.data(MESSAGE).code, 250);
    assert_eq!(mailbox(server.pop3, "user99@example.org").len(), 1);
    assert_eq!(mailbox(server.pop3, "user100@example.org").len(), 0);
}

#[test]
fn the_257th_connection_of_an_address_is_turned_away_until_one_leaves() {
    let server = Home::new(&[]).serve();
    let mut open: Vec<Smtp> = (0..256).map(|_| Smtp::connect(server.smtp)).collect();
    for smtp in &mut open {
        assert_eq!(smtp.reply().code, 220);
    }
    for _ in 256..300 {
        let mut refused = Smtp::connect(server.smtp);
        assert_eq!(refused.reply().code, 421);
        assert_eq!(refused.line.rest(), b"");
    }
    let mut pop3 = Line::connect(server.pop3);
    let refused = pop3.line();
    assert!(refused.starts_with("-ERR [SYS/TEMP]"), "{refused}");
    let mut leaving = open.pop().expect("one of them");
    leaving.expect("QUIT", 221);
    assert_eq!(leaving.line.rest(), b"");
    // The place is free when the session has ended, which may be a moment after its socket has.
    let until = std::time::Instant::now() + support::DEADLINE;
    while Smtp::connect(server.smtp).reply().code != 220 {
        assert!(std::time::Instant::now() < until, "the place does not become free");
    }
    for smtp in &mut open {
        smtp.expect("NOOP", 250);
    }
}

#[test]
fn connections_leave_the_store_the_files_that_it_needs() {
    let mut home = Home::new(&[]);
    home.wrap(&["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]);
    let server = home.serve();
    let mut open: Vec<Smtp> = (0..32).map(|_| Smtp::connect(server.smtp)).collect();
    for smtp in &mut open {
        assert_eq!(smtp.reply().code, 220);
    }
    assert_eq!(Smtp::connect(server.smtp).reply().code, 421);
    // All at once, so that the store opens all that it ever has open.
    for smtp in &mut open {
        smtp.line.send(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    }
    for smtp in &mut open {
        let codes = [(); 4].map(|()| smtp.reply().code);
        assert_eq!(codes, [250, 250, 250, 354]);
        smtp.line.send(&[&b"x\r\n".repeat(200_000)[..], b".\r\n"].concat());
        assert_eq!(smtp.reply().code, 250);
    }
}

#[test]
fn three_failed_logins_end_a_connection() {
    let home = Home::closed(&[("bob@example.org", "right")]);
    let server = home.serve();
    let mut pop3 = Pop3::connect(server.pop3);
    for user in ["bob@example.org", "nobody@example.org", "bob@example.org"] {
        pop3.ok(&format!("USER {user}"));
        let refused = pop3.err("PASS wrong");
        assert!(refused.starts_with("-ERR [AUTH]"), "the same words for all: {refused}");
    }
    assert_eq!(pop3.line.rest(), b"");
}

#[test]
fn a_client_that_stops_reading_holds_up_nobody() {
    let server = Home::new(&[]).serve();
    let large = corpus::of_octets(20 << 20);
    let mut smtp = Smtp::open(server.smtp);
    assert_eq!(smtp.deliver(ALICE, BOB, &large.message).code, 250);
    let before = memory_kib(&server);
    let mut stuck: Vec<Pop3> = Vec::new();
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    pop3.line.say("RETR 1");
    stuck.push(pop3);
    assert_eq!(smtp.deliver(ALICE, BOB, MESSAGE).code, 250, "a delivery into the very mailbox");
    others_are_served(&server);
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < 12 * 1024, "{grown} KiB for a message that nobody reads");
}

#[test]
fn peers_that_vanish_leave_nothing_behind() {
    let mut server = Home::new(&[("limits.connections_per_ip", "40")]).serve();
    for round in 0..200 {
        let mut smtp = Smtp::connect(server.smtp);
        if round % 2 == 0 && smtp.reply().code == 220 {
            smtp.line
                .try_send(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nhalf");
        }
        let _ = smtp.line.stream().shutdown(Shutdown::Both);
    }
    let until = std::time::Instant::now() + support::DEADLINE;
    while Smtp::connect(server.smtp).reply().code != 220 {
        assert!(std::time::Instant::now() < until, "places of peers that vanished are not given back");
    }
    assert_eq!(mailbox(server.pop3, BOB).len(), 0);
    assert!(!server.has_ended());
}
