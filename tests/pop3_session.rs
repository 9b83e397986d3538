//! What the conversations of POP3 cannot show: ends that no client asked for, a world that answers
//! with trouble, and noise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

#[path = "dialogues/bare_pop3.rs"]
mod bare_pop3;

use bare_pop3::{BarePop3, MECHANISMS, PASSWORD, USER};
use pillarbox::mail::ids::MessageId;
use pillarbox::mail::peer::{Security, TlsInfo};
use pillarbox::pop3::offer::Offer;
use pillarbox::pop3::reply::Reply;
use pillarbox::pop3::session::{
    Answer, Ask, ERRORS_MAX, Event, FAILED_LOGINS_MAX, Next, Payload, Session, Step,
};
use pillarbox::store::outcome::{Error, Expunged};
use pillarbox::wire::access::{Access, Plaintext, StartTls};
use proptest::prelude::*;

/// A session that is logged in, with all that was said up to then forgotten.
fn logged_in() -> BarePop3 {
    let mut pop3 = BarePop3::new();
    say(&mut pop3, &format!("USER {USER}"));
    assert_eq!(say(&mut pop3, &format!("PASS {PASSWORD}")), "+OK logged in, 3 messages (82 octets)\r\n");
    pop3
}

/// What the session says to a command.
fn say(pop3: &mut BarePop3, line: &str) -> String {
    pop3.said();
    pop3.event(Event::Line(line.as_bytes()));
    pop3.said()
}

#[test]
fn marked_messages_reach_the_store_at_quit_and_not_before() {
    let mut pop3 = logged_in();
    say(&mut pop3, "DELE 3");
    say(&mut pop3, "DELE 1");
    assert_eq!(pop3.deleted, None);
    assert_eq!(say(&mut pop3, "QUIT"), "+OK 2 messages deleted, bye\r\n");
    assert_eq!(pop3.deleted, Some(vec![MessageId(1), MessageId(3)]));
    assert!(pop3.is_over());
}

#[test]
fn no_end_but_quit_deletes_anything() {
    for (event, words) in [
        (Event::Idle, None),
        (Event::Stop, Some(Reply::STOPPING)),
        (Event::Evicted, Some(Reply::EVICTED)),
        (Event::Answer(Answer::Update(Ok(Expunged::pretended(1)))), None),
    ] {
        let mut pop3 = logged_in();
        say(&mut pop3, "DELE 1");
        let step = pop3.session.step(event);
        assert!(matches!(step.next, Next::Close));
        assert_eq!(step.say, words);
        assert!(matches!(pop3.session.step(Event::Line(b"QUIT")), Step { say: None, next: Next::Close }));
    }
}

#[test]
fn a_store_that_cannot_delete_is_told_with_err() {
    let mut pop3 = logged_in();
    pop3.update = Err(Error::DiskFull);
    say(&mut pop3, "DELE 1");
    assert!(say(&mut pop3, "QUIT").starts_with("-ERR [SYS/TEMP] "));
    assert!(pop3.is_over() && pop3.deleted.is_none());
}

#[test]
fn a_message_that_cannot_be_read_is_told_with_err_and_the_session_goes_on() {
    let mut pop3 = logged_in();
    let step = pop3.session.step(Event::Line(b"RETR 1"));
    assert!(matches!(step.next, Next::Send(Payload::Message { .. })));
    pop3.event(Event::Unsent(Error::Unavailable("locked".into())));
    assert!(pop3.said().starts_with("-ERR [SYS/TEMP] "));
    assert_eq!(say(&mut pop3, "STAT"), "+OK 3 82\r\n");
}

#[test]
fn a_mailbox_in_use_or_a_store_in_trouble_is_no_failed_login() {
    let mut pop3 = BarePop3::new();
    for _ in 0..=FAILED_LOGINS_MAX {
        for (user, start) in
            [("busy", "-ERR [IN-USE] "), ("full", "-ERR [SYS/TEMP] "), ("lost", "-ERR [SYS/TEMP] ")]
        {
            say(&mut pop3, &format!("USER {user}@example.org"));
            assert!(say(&mut pop3, &format!("PASS {PASSWORD}")).starts_with(start));
        }
    }
    assert_eq!(pop3.session.failed_logins(), 0);
    assert!(!pop3.is_over());
}

#[test]
fn who_asks_for_a_mailbox_in_use_again_and_again_is_sent_away() {
    let mut pop3 = BarePop3::new();
    for _ in 1..ERRORS_MAX {
        say(&mut pop3, "USER busy@example.org");
        assert!(say(&mut pop3, &format!("PASS {PASSWORD}")).starts_with("-ERR [IN-USE] "));
    }
    say(&mut pop3, "USER busy@example.org");
    assert_eq!(
        say(&mut pop3, &format!("PASS {PASSWORD}")),
        "-ERR too many errors, nothing was deleted, bye\r\n"
    );
    assert!(pop3.is_over());
}

#[test]
fn lines_too_long_or_with_a_bare_newline_are_errors_and_counted() {
    let mut pop3 = logged_in();
    for n in 1..ERRORS_MAX {
        if n % 2 == 0 {
            pop3.send(&[&[b'A'; 3000][..], b"\r\n"].concat());
        } else {
            pop3.send(b"NOOP\nNOOP\r\n");
        }
        assert!(pop3.said().starts_with("-ERR ") && !pop3.is_over(), "error {n}");
    }
    assert_eq!(say(&mut pop3, "RETR 9"), "-ERR too many errors, nothing was deleted, bye\r\n");
    assert!(pop3.is_over());
}

#[test]
fn an_event_out_of_turn_closes() {
    for line in [&b"STAT"[..], b"QUIT", b"nonsense"] {
        let (mut session, _) = Session::new(Offer::default(), "localhost");
        session.step(Event::Line(b"USER ann@example.org"));
        assert!(matches!(session.step(Event::Line(b"PASS x")).next, Next::Ask(Ask::Check(_))));
        assert!(matches!(session.step(Event::Line(line)), Step { say: None, next: Next::Close }));
    }
}

/// What a server with a certificate offers a peer from the network, in closed mode.
fn strict() -> Offer {
    let mechanisms = MECHANISMS.into();
    let access = Access { start_tls: StartTls::Possible, mechanisms, ..Access::default() };
    Offer { access, ..Offer::default() }
}

/// The same to a peer on this host.
fn lenient() -> Offer {
    let access = Access { plaintext: Plaintext::Allowed, ..strict().access };
    Offer { access, ..Offer::default() }
}

/// The same under TLS.
fn encrypted() -> Offer {
    let tls = TlsInfo { version: "TLSv1.3".into(), cipher: "x".into(), exporter: None };
    let access = Access { security: Security::Tls(tls), ..strict().access };
    Offer { access, ..Offer::default() }
}

// proves: RFC 2595 §2.3, §4
#[test]
fn without_tls_a_peer_from_the_network_is_told_to_begin_it_and_nothing_is_checked() {
    let mut pop3 = BarePop3::with(strict());
    for line in ["USER ann@example.org", "PASS a secret", "AUTH", "AUTH PLAIN", "AUTH LOGIN YW5u"] {
        let said = say(&mut pop3, line);
        assert!(said.starts_with("-ERR [AUTH] no login without TLS"), "{line}: {said}");
    }
    assert_eq!(pop3.session.failed_logins(), 0);
    let offer = say(&mut pop3, "CAPA");
    assert!(offer.contains("\r\nSTLS\r\n") && !offer.contains("SASL") && !offer.contains("\r\nUSER"));
}

// proves: RFC 2595 §4
#[test]
fn after_tls_has_begun_the_session_starts_anew() {
    let mut pop3 = BarePop3::with(lenient());
    say(&mut pop3, "USER ann@example.org");
    // What is sent along with STLS may come from somebody on the way.
    pop3.send(b"STLS\r\nUSER ann@example.org\r\nPASS a secret\r\nDELE");
    assert_eq!(pop3.said(), "+OK begin TLS now\r\n");
    pop3.secured(encrypted());
    assert_eq!(pop3.said(), "", "no second greeting");
    pop3.send(b"PASS a secret\r\n");
    assert_eq!(pop3.said(), "-ERR say USER first\r\n");
    let offer = say(&mut pop3, "CAPA");
    assert!(!offer.contains("STLS") && offer.contains("\r\nUSER\r\nSASL SCRAM-SHA-256 PLAIN LOGIN\r\n"));
    assert_eq!(say(&mut pop3, "STLS"), "-ERR this connection is encrypted already\r\n");
    say(&mut pop3, "USER ann@example.org");
    assert!(say(&mut pop3, "PASS a secret").starts_with("+OK logged in"));
    assert_eq!(say(&mut pop3, "CAPA"), offer, "the same after the login");
    assert!(say(&mut pop3, "STLS").starts_with("-ERR this belongs before the login"));
}

#[test]
fn tls_is_no_way_around_the_limit_of_failed_logins() {
    let mut pop3 = BarePop3::with(lenient());
    for _ in 1..FAILED_LOGINS_MAX {
        say(&mut pop3, "USER ann@example.org");
        assert!(say(&mut pop3, "PASS x").starts_with("-ERR [AUTH]"));
    }
    say(&mut pop3, "STLS");
    pop3.secured(encrypted());
    say(&mut pop3, "USER ann@example.org");
    assert!(say(&mut pop3, "PASS x").starts_with("-ERR [AUTH]"));
    assert!(pop3.is_over());
}

#[test]
fn a_command_during_the_handshake_is_a_fault_of_the_driver() {
    let mut pop3 = BarePop3::with(strict());
    say(&mut pop3, "STLS");
    let step = pop3.session.step(Event::Line(b"USER ann@example.org"));
    assert!(matches!(step, Step { say: None, next: Next::Close }));
}

/// NUL, the user, NUL, the password.
const PLAIN: &str = "AGFubkBleGFtcGxlLm9yZwBhIHNlY3JldA==";

#[test]
fn a_blocked_address_is_sent_away_whatever_the_way_to_log_in() {
    for lines in [
        &["USER blocked@example.org", "PASS a secret"][..],
        &["AUTH PLAIN AGJsb2NrZWRAZXhhbXBsZS5vcmcAYSBzZWNyZXQ="],
    ] {
        let mut pop3 = BarePop3::new();
        let said: Vec<String> = lines.iter().map(|line| say(&mut pop3, line)).collect();
        let last = said.last().unwrap();
        assert!(last.starts_with("-ERR [SYS/TEMP] too many failed logins"), "{last}");
        assert!(pop3.is_over());
    }
}

#[test]
fn a_login_that_cannot_be_looked_up_is_no_failed_login() {
    let mut pop3 = BarePop3::new();
    let said = say(&mut pop3, "AUTH PLAIN AGxvc3RAZXhhbXBsZS5vcmcAYSBzZWNyZXQ=");
    assert!(said.starts_with("-ERR [SYS/TEMP] "), "{said}");
    assert_eq!(pop3.session.failed_logins(), 0);
    assert!(say(&mut pop3, &format!("AUTH PLAIN {PLAIN}")).starts_with("+OK logged in"));
}

// proves: RFC 5034 §4
#[test]
fn a_response_that_is_too_long_ends_the_exchange_and_is_read_as_no_command() {
    let mut pop3 = BarePop3::new();
    pop3.said();
    pop3.send(b"AUTH PLAIN\r\n");
    assert_eq!(pop3.said(), "+ \r\n");
    pop3.send(&[&[b'A'; 20_000][..], b"\r\n"].concat());
    assert_eq!(pop3.said(), "-ERR line too long\r\n");
    pop3.send(b"USER ann@example.org\r\n");
    assert_eq!(pop3.said(), "+OK now the password\r\n");
    pop3.send(&[b"AUTH PLAIN ", &[b'A'; 20_000][..], b"\r\n"].concat());
    assert_eq!(pop3.said(), "-ERR line too long\r\n");
    pop3.send(format!("AUTH PLAIN\r\n{PLAIN}\r\n").as_bytes());
    assert!(pop3.said().starts_with("+ \r\n+OK logged in"));
}

#[test]
fn an_exchange_of_scram_can_be_cancelled() {
    let mut pop3 = BarePop3::new();
    // n,,n=ann@example.org,r=abc
    let challenge = say(&mut pop3, "AUTH SCRAM-SHA-256 biwsbj1hbm5AZXhhbXBsZS5vcmcscj1hYmM=");
    assert!(challenge.starts_with("+ ") && challenge.len() > 10, "{challenge}");
    assert_eq!(say(&mut pop3, "*"), "-ERR login cancelled\r\n");
    assert_eq!(pop3.session.failed_logins(), 0);
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    const VERBS: &[&str] = &["STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL", "CAPA", "UTF8"];
    let command =
        (proptest::sample::select(VERBS), proptest::option::of(0..6u32), 0..3u32).prop_map(|(verb, n, m)| {
            n.map_or(verb.into(), |n| format!("{verb} {n} {}", "1 ".repeat(m as usize)))
        });
    let login = proptest::sample::select(
        &[
            "USER ann@example.org",
            "PASS a secret",
            "PASS wrong",
            "AUTH",
            "AUTH PLAIN",
            "AUTH LOGIN",
            "*",
            PLAIN,
            "STLS",
        ][..],
    );
    prop_oneof![
        6 => command.prop_map(String::into_bytes),
        2 => login.prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn whatever_a_client_says_is_answered_and_only_quit_deletes(
        opened: bool,
        lines in proptest::collection::vec(line(), 0..60),
    ) {
        let mut pop3 = if opened { logged_in() } else { BarePop3::new() };
        pop3.said();
        for line in lines.iter().filter(|line| !line.to_ascii_uppercase().starts_with(b"QUIT")) {
            if pop3.is_over() {
                break;
            }
            pop3.event(Event::Line(line));
            let said = pop3.said();
            prop_assert!(said.starts_with("+") || said.starts_with("-ERR "));
            prop_assert!(pop3.deleted.is_none());
        }
    }
}
