//! A POP3 session in memory: the session and the codec as the driver joins them, without a socket,
//! a clock or a store.
//!
//! The world of the POP3 conversations: the account `ann@example.org`, its password `a secret` (one
//! space), and the messages of [`MESSAGES`], below whatever a server puts on top of them. On the bare
//! session alone, `busy@example.org` is in use and `full@example.org` cannot be opened.
#![allow(dead_code, reason = "each test program uses its own part of this module")]

use bytes::BytesMut;
use pillarbox::mail::ids::{Era, MessageId};
use pillarbox::mail::listing::{Entry, Listing};
use pillarbox::mail::secret::Credentials;
use pillarbox::pop3::codec::{Lines, Outgoing, Wants};
use pillarbox::pop3::offer::Offer;
use pillarbox::pop3::pages::Progress;
use pillarbox::pop3::session::{Answer, Ask, Event, Next, Payload, Refusal, Session};
use pillarbox::store::outcome::{Error, Expunged};
use pillarbox::wire::line::Line;
use tokio_util::codec::Decoder;

/// The user of the conversations.
pub(crate) const USER: &str = "ann@example.org";
/// Its password.
pub(crate) const PASSWORD: &str = "a secret";
/// The messages that wait for it, as they were sent.
pub(crate) const MESSAGES: [&str; 3] = [
    "Subject: one\r\n\r\nfirst\r\n",
    "Subject: dots\r\n\r\n.\r\n..two\r\n.three\r\nfour\r\n",
    "Subject: empty\r\n\r\n",
];

/// A session with a world that answers its questions.
pub(crate) struct BarePop3 {
    /// For events that no octets can make.
    pub(crate) session: Session,
    /// What QUIT deleted.
    pub(crate) deleted: Option<Vec<MessageId>>,
    /// How QUIT goes.
    pub(crate) update: Result<(), Error>,
    lines: Lines,
    input: BytesMut,
    output: BytesMut,
    closed: bool,
}

impl BarePop3 {
    /// A session that has said its greeting.
    pub(crate) fn new() -> BarePop3 {
        let (session, greeting) = Session::new(Offer::default());
        let mut output = BytesMut::new();
        greeting.encode(&mut output);
        BarePop3 {
            session,
            deleted: None,
            update: Ok(()),
            lines: Lines::default(),
            input: BytesMut::new(),
            output,
            closed: false,
        }
    }

    /// Sends octets to the session; what follows the end of it is not read.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while !self.closed {
            let Some(line) = self.lines.decode(&mut self.input).unwrap() else { return };
            self.event(match &line {
                Line::Whole(line) => Event::Line(line),
                Line::TooLong => Event::LineTooLong,
                Line::BareNewline => Event::BareNewline,
            });
        }
    }

    /// One event, with the answers to all that the session asks about it.
    pub(crate) fn event(&mut self, event: Event<'_>) {
        assert!(!self.closed, "the server has closed the connection");
        let mut step = self.session.step(event);
        loop {
            if let Some(reply) = &step.say {
                reply.encode(&mut self.output);
            }
            let event = match step.next {
                Next::Read => return,
                Next::Close => {
                    self.closed = true;
                    return;
                }
                Next::Send(payload) => {
                    write(&self.session, payload, &mut self.output);
                    Event::Sent
                }
                Next::Ask(ask) => Event::Answer(self.answer(ask)),
            };
            step = self.session.step(event);
        }
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

    /// All that was said since the last call.
    pub(crate) fn said(&mut self) -> String {
        String::from_utf8(self.output.split().to_vec()).unwrap()
    }

    /// Whether the session has closed.
    pub(crate) fn is_over(&self) -> bool {
        self.closed
    }
}

fn open(credentials: &Credentials) -> Result<Listing, Refusal> {
    match (&*credentials.user, credentials.password.expose()) {
        (USER, password) if password == PASSWORD.as_bytes() => {
            let entries =
                (1..).zip(MESSAGES).map(|(id, m)| Entry { id: MessageId(id), octets: m.len() as u64 });
            Ok(Listing::new(Era(0x5eed), entries.collect()))
        }
        ("busy@example.org", _) => Err(Refusal::InUse),
        ("full@example.org", _) => Err(Refusal::Store(Error::DiskFull)),
        _ => Err(Refusal::Denied),
    }
}

fn write(session: &Session, payload: Payload, out: &mut BytesMut) {
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
