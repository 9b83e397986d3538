//! Tests of the session: the conversations of `tests/dialogues/pop3`, what those cannot show, and
//! noise.
//!
//! Every conversation has a maildrop of its own: the account `ann@example.org`, its password
//! `a secret` (one space), and [`MESSAGES`]. A line of a conversation is one of
//!
//! - `C: text`: the client sends this line;
//! - `S: text`: the server says exactly this line;
//! - `S~ text`: the server says a line that begins so;
//! - `S* text`: the server says any lines, the last of which is exactly this;
//! - `S$`: the server has closed the connection and said nothing more;
//! - `#` and an empty line: nothing.

use super::*;
use crate::mail::ids::Era;
use crate::pop3::codec::{Outgoing, Wants};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::path::Path;

const MESSAGES: [&str; 3] = [
    "Subject: one\r\n\r\nfirst\r\n",
    "Subject: dots\r\n\r\n.\r\n..two\r\n.three\r\nfour\r\n",
    "Subject: empty\r\n\r\n",
];

/// A session with a world that answers its questions.
struct Talk {
    session: Session,
    said: VecDeque<String>,
    closed: bool,
    deleted: Option<Vec<MessageId>>,
    update: Result<(), Error>,
}

impl Talk {
    fn new() -> Talk {
        let (session, greeting) = Session::new(Offer::default());
        let mut talk = Talk { session, said: VecDeque::new(), closed: false, deleted: None, update: Ok(()) };
        let mut out = BytesMut::new();
        greeting.encode(&mut out);
        talk.hear(&out);
        talk
    }

    /// A session that is logged in, with all that was said up to then forgotten.
    fn logged_in() -> Talk {
        let mut talk = Talk::new();
        talk.client("USER ann@example.org");
        talk.client("PASS a secret");
        assert_eq!(talk.said.pop_back().as_deref(), Some("+OK logged in, 3 messages (82 octets)"));
        talk.said.clear();
        talk
    }

    fn client(&mut self, line: &str) -> &mut Talk {
        self.event(Event::Line(line.as_bytes()))
    }

    fn event(&mut self, event: Event<'_>) -> &mut Talk {
        assert!(!self.closed, "the server has closed the connection");
        let mut step = self.session.step(event);
        loop {
            let mut out = BytesMut::new();
            if let Some(reply) = &step.say {
                reply.encode(&mut out);
            }
            let event = match step.next {
                Next::Read => None,
                Next::Close => {
                    self.closed = true;
                    None
                }
                Next::Send(payload) => {
                    send(&self.session, payload, &mut out);
                    Some(Event::Sent)
                }
                Next::Ask(ask) => Some(Event::Answer(self.answer(ask))),
            };
            self.hear(&out);
            match event {
                Some(event) => step = self.session.step(event),
                None => return self,
            }
        }
    }

    fn hear(&mut self, out: &[u8]) {
        let text = std::str::from_utf8(out).unwrap();
        self.said.extend(text.split_terminator("\r\n").map(str::to_owned));
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Open(credentials) => Answer::Open(open(&credentials)),
            Ask::Update(ids) => Answer::Update(self.update.clone().map(|()| {
                let proof = Expunged::pretended(ids.len());
                self.deleted = Some(ids);
                proof
            })),
        }
    }

    /// What was said since the last time.
    fn heard(&mut self) -> Vec<String> {
        self.said.drain(..).collect()
    }
}

fn open(credentials: &Credentials) -> Result<Listing, Refusal> {
    match (&*credentials.user, credentials.password.expose()) {
        ("ann@example.org", b"a secret") => {
            let entries =
                (1..).zip(MESSAGES).map(|(id, m)| Entry { id: MessageId(id), octets: m.len() as u64 });
            Ok(Listing::new(Era(0x5eed), entries.collect()))
        }
        ("busy@example.org", _) => Err(Refusal::InUse),
        ("full@example.org", _) => Err(Refusal::Store(Error::DiskFull)),
        _ => Err(Refusal::Denied),
    }
}

fn send(session: &Session, payload: Payload, out: &mut BytesMut) {
    match payload {
        Payload::List(mut pages) => while session.page(&mut pages, out) == Progress::More {},
        Payload::Message { entry, part } => {
            let message = MESSAGES[usize::try_from(entry.id.0).unwrap() - 1].as_bytes();
            assert_eq!(message.len() as u64, entry.octets);
            let mut outgoing = Outgoing::new(part);
            for slice in message.chunks(7) {
                if outgoing.feed(slice, out) == Wants::Nothing {
                    break;
                }
            }
            outgoing.finish(out);
        }
    }
}

fn play(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut talk = Talk::new();
    for (at, line) in (1..).zip(text.lines()) {
        let place = format!("{}:{at}: {line}", path.display());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "S$" {
            assert!(talk.closed && talk.said.is_empty(), "{place}\nnot closed: {:?}", talk.said);
            continue;
        }
        let (kind, rest) = line.split_at_checked(3).unwrap_or((line, ""));
        match kind {
            "C: " => {
                assert!(talk.said.is_empty(), "{place}\nthe server has said more: {:?}", talk.said);
                talk.client(rest);
            }
            "S: " => assert_eq!(talk.said.pop_front().as_deref(), Some(rest), "{place}"),
            "S~ " => {
                let said = talk.said.pop_front();
                assert!(said.as_ref().is_some_and(|s| s.starts_with(rest)), "{place}\n{said:?}");
            }
            "S* " => while talk.said.pop_front().unwrap_or_else(|| panic!("{place}: not said")) != rest {},
            other => panic!("{place}: what is {other:?}?"),
        }
    }
    assert!(talk.said.is_empty(), "{}: the server has said more: {:?}", path.display(), talk.said);
}

// proves: RFC 1939 §3
// proves: RFC 1939 §5
// proves: RFC 1939 §6
// proves: RFC 1939 §7
// proves: RFC 2449 §5
// proves: RFC 2449 §6.6
// proves: RFC 6856 §2.1
#[test]
fn every_conversation_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/pop3");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    assert!(files.len() > 5, "the conversations are missing");
    files.iter().for_each(|path| play(path));
}

#[test]
fn marked_messages_reach_the_store_at_quit_and_not_before() {
    let mut talk = Talk::logged_in();
    talk.client("DELE 3").client("DELE 1");
    assert_eq!(talk.deleted, None);
    talk.client("QUIT");
    assert_eq!(talk.deleted, Some(vec![MessageId(1), MessageId(3)]));
    assert_eq!(talk.heard().last().map(String::as_str), Some("+OK 2 messages deleted, bye"));
    assert!(talk.closed);
}

#[test]
fn no_end_but_quit_deletes_anything() {
    for (event, words) in [
        (Event::Idle, None),
        (Event::Stop, Some(Reply::STOPPING)),
        (Event::Evicted, Some(Reply::EVICTED)),
        (Event::Answer(Answer::Update(Ok(Expunged::pretended(1)))), None),
    ] {
        let mut talk = Talk::logged_in();
        talk.client("DELE 1").heard();
        let step = talk.session.step(event);
        assert!(matches!(step.next, Next::Close));
        assert_eq!(step.say, words);
        assert!(matches!(talk.session.step(Event::Line(b"QUIT")), Step { say: None, next: Next::Close }));
    }
}

#[test]
fn a_store_that_cannot_delete_is_told_with_err() {
    let mut talk = Talk::logged_in();
    talk.update = Err(Error::DiskFull);
    talk.client("DELE 1").client("QUIT");
    assert!(talk.heard().last().is_some_and(|said| said.starts_with("-ERR [SYS/TEMP] ")));
    assert!(talk.closed && talk.deleted.is_none());
}

#[test]
fn a_message_that_cannot_be_read_is_told_with_err_and_the_session_goes_on() {
    let mut talk = Talk::logged_in();
    let step = talk.session.step(Event::Line(b"RETR 1"));
    assert!(matches!(step.next, Next::Send(Payload::Message { .. })));
    talk.event(Event::Unsent(Error::Unavailable("locked".into())));
    assert!(talk.heard()[0].starts_with("-ERR [SYS/TEMP] "));
    talk.client("STAT");
    assert_eq!(talk.heard(), ["+OK 3 82"]);
}

#[test]
fn a_mailbox_in_use_or_a_store_in_trouble_is_no_failed_login() {
    let mut talk = Talk::new();
    for _ in 0..=FAILED_LOGINS_MAX {
        for (user, start) in [("busy", "-ERR [IN-USE] "), ("full", "-ERR [SYS/TEMP] ")] {
            talk.client(&format!("USER {user}@example.org")).heard();
            assert!(talk.client("PASS x").heard()[0].starts_with(start));
        }
    }
    assert_eq!(talk.session.failed_logins(), 0);
    assert!(!talk.closed);
}

#[test]
fn who_asks_for_a_mailbox_in_use_again_and_again_is_sent_away() {
    let mut talk = Talk::new();
    for _ in 1..ERRORS_MAX {
        talk.client("USER busy@example.org").client("PASS x");
        assert_eq!(
            talk.said.pop_back().as_deref(),
            Some("-ERR [IN-USE] another session has this mailbox open")
        );
    }
    talk.client("USER busy@example.org").client("PASS x");
    assert_eq!(talk.said.pop_back().as_deref(), Some("-ERR too many errors, nothing was deleted, bye"));
    assert!(talk.closed);
}

#[test]
fn lines_too_long_or_with_a_bare_newline_are_errors_and_counted() {
    let mut talk = Talk::logged_in();
    for n in 1..ERRORS_MAX {
        let event = if n % 2 == 0 { Event::LineTooLong } else { Event::BareNewline };
        talk.event(event);
        assert!(!talk.closed);
    }
    talk.client("RETR 9");
    assert_eq!(talk.said.pop_back().as_deref(), Some("-ERR too many errors, nothing was deleted, bye"));
    assert!(talk.closed);
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
        logged_in: bool,
        lines in proptest::collection::vec(line(), 0..60),
    ) {
        let mut talk = if logged_in { Talk::logged_in() } else { Talk::new() };
        talk.heard();
        for line in lines.iter().filter(|line| !line.to_ascii_uppercase().starts_with(b"QUIT")) {
            if talk.closed {
                break;
            }
            let said = talk.event(Event::Line(line)).heard();
            prop_assert!(said[0].starts_with("+OK ") || said[0].starts_with("-ERR "));
            prop_assert!(talk.deleted.is_none());
        }
    }
}
