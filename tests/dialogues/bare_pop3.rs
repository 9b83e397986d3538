//! A POP3 session in memory: the session and the codec as the driver joins them, without a socket,
//! a clock or a store.
//!
//! The world of the POP3 conversations: the account `ann@example.org`, its password `a secret` (one
//! space), and the messages of [`MESSAGES`], below whatever a server puts on top of them. On the bare
//! session alone, `busy@example.org` is in use, `full@example.org` cannot be opened, `lost@example.org`
//! cannot be looked up, `blocked@example.org` is shut out; they share the password, and SCRAM fails.
#![allow(dead_code, reason = "each test program uses its own part of this module")]

use bytes::BytesMut;
use pillarbox::auth::outcome::{Denied, Login, Verified};
use pillarbox::mail::address::Address;
use pillarbox::mail::ids::{Era, MessageId};
use pillarbox::mail::listing::{Entry, Listing};
use pillarbox::pop3::codec::{Lines, Outgoing, Wants};
use pillarbox::pop3::offer::Offer;
use pillarbox::pop3::pages::Progress;
use pillarbox::pop3::session::{Answer, Ask, Event, Next, Payload, Refusal, Session};
use pillarbox::store::outcome::{Error, Expunged};
use pillarbox::wire::line::Line;
use pillarbox::wire::sasl::{Evidence, Mechanism, ScramParameters};
use tokio_util::codec::Decoder;

/// What the server calls itself.
pub(crate) const HOSTNAME: &str = "mx.example.org";
/// The user of the conversations.
pub(crate) const USER: &str = "ann@example.org";
/// Its password.
pub(crate) const PASSWORD: &str = "a secret";
/// What AUTH takes.
pub(crate) const MECHANISMS: &[Mechanism] = &[Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];
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
    /// The session has asked for TLS and waits for it.
    pub(crate) securing: bool,
}

impl BarePop3 {
    /// A session that has said its greeting, on a connection that is not encrypted and need not be.
    pub(crate) fn new() -> BarePop3 {
        let mut offer = Offer::default();
        offer.access.mechanisms = MECHANISMS.into();
        BarePop3::with(offer)
    }

    /// The same with another offer.
    pub(crate) fn with(offer: Offer) -> BarePop3 {
        let (session, greeting) = Session::new(offer, HOSTNAME);
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
            securing: false,
        }
    }

    /// Sends octets to the session; what follows the end of it is not read.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while !self.closed && !self.securing {
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
                Next::Read(awaiting) => {
                    self.lines.expect(awaiting);
                    return;
                }
                Next::StartTls => {
                    self.securing = true;
                    return;
                }
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

    /// The handshake is done: as the driver, it forgets what has come and goes on with `offer`.
    pub(crate) fn secured(&mut self, offer: Offer) {
        assert!(self.securing, "nobody has asked for TLS");
        self.securing = false;
        self.input.clear();
        self.lines = Lines::default();
        self.event(Event::Secured(offer));
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Nonce => Answer::Nonce(Ok([7; 18])),
            Ask::Parameters(_) => {
                Answer::Parameters(Ok(ScramParameters { salt: (*b"salt").into(), iterations: 4096 }))
            }
            Ask::Check(evidence) => Answer::Check(check(&evidence)),
            Ask::Open(login) => Answer::Open(open(&login)),
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

fn check(evidence: &Evidence) -> Result<Verified, Denied> {
    let Evidence::Password(credentials) = evidence else { return Err(Denied::Credentials) };
    let known = ["blocked@example.org", "lost@example.org", "busy@example.org", "full@example.org", USER];
    match &*credentials.user {
        "blocked@example.org" => Err(Denied::Blocked),
        "lost@example.org" => Err(Denied::Store(Error::Unavailable("locked".into()))),
        user if known.contains(&user) && credentials.password.expose() == PASSWORD.as_bytes() => {
            let login = Login::pretended(Address::parse(user).unwrap().name());
            Ok(Verified { login, signature: None })
        }
        _ => Err(Denied::Credentials),
    }
}

fn open(login: &Login) -> Result<Listing, Refusal> {
    match login.mailbox().to_string().as_str() {
        "busy@example.org" => Err(Refusal::InUse),
        "full@example.org" => Err(Refusal::Store(Error::DiskFull)),
        _ => {
            let entries =
                (1..).zip(MESSAGES).map(|(id, m)| Entry { id: MessageId(id), octets: m.len() as u64 });
            Ok(Listing::new(Era(0x5eed), entries.collect()))
        }
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
