//! What the conversations of POP3 cannot show: ends that no client asked for, a world that answers
//! with trouble, and noise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

#[path = "dialogues/bare_pop3.rs"]
mod bare_pop3;

use bare_pop3::{BarePop3, PASSWORD, USER};
use pillarbox::mail::ids::MessageId;
use pillarbox::pop3::offer::Offer;
use pillarbox::pop3::reply::Reply;
use pillarbox::pop3::session::{
    Answer, Ask, ERRORS_MAX, Event, FAILED_LOGINS_MAX, Next, Payload, Session, Step,
};
use pillarbox::store::outcome::{Error, Expunged};
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
        for (user, start) in [("busy", "-ERR [IN-USE] "), ("full", "-ERR [SYS/TEMP] ")] {
            say(&mut pop3, &format!("USER {user}@example.org"));
            assert!(say(&mut pop3, "PASS x").starts_with(start));
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
        assert!(say(&mut pop3, "PASS x").starts_with("-ERR [IN-USE] "));
    }
    say(&mut pop3, "USER busy@example.org");
    assert_eq!(say(&mut pop3, "PASS x"), "-ERR too many errors, nothing was deleted, bye\r\n");
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
        let (mut session, _) = Session::new(Offer::default());
        session.step(Event::Line(b"USER ann@example.org"));
        assert!(matches!(session.step(Event::Line(b"PASS x")).next, Next::Ask(Ask::Open(_))));
        assert!(matches!(session.step(Event::Line(line)), Step { say: None, next: Next::Close }));
    }
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    const VERBS: &[&str] = &["STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL", "CAPA", "UTF8"];
    let command =
        (proptest::sample::select(VERBS), proptest::option::of(0..6u32), 0..3u32).prop_map(|(verb, n, m)| {
            n.map_or(verb.into(), |n| format!("{verb} {n} {}", "1 ".repeat(m as usize)))
        });
    let login = proptest::sample::select(&["USER ann@example.org", "PASS a secret", "PASS wrong"][..]);
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
            prop_assert!(said.starts_with("+OK ") || said.starts_with("-ERR "));
            prop_assert!(pop3.deleted.is_none());
        }
    }
}
