//! An SMTP session in memory: the session and the codec as the driver joins them, without a socket,
//! a clock or a store. What the store would answer is told by the name of the recipient.
//!
//! The world of the SMTP conversations: the server is `mx.example.org` and looks after
//! `example.org`; there are the mailboxes `alice`, `bob`, `postmaster` and `carol`, the last one full;
//! `team` is an alias of `alice` and `bob`. A message has at most 1,024 octets, a transaction at most
//! three recipients. The password of `alice` is `a secret`. On the bare session alone, `later` cannot
//! be looked up, neither to deliver nor to log in, a message for `nodisk` cannot be kept, `mallory` is
//! shut out, and any proof of SCRAM will do for `alice`.
#![allow(dead_code, reason = "each test program uses its own part of this module")]

use bytes::{BufMut, BytesMut};
use pillarbox::auth::outcome::{Denied, Login, Verified};
use pillarbox::mail::address::{Address, MailboxName, Sender};
use pillarbox::mail::body::{Body, Message};
use pillarbox::mail::envelope::Envelope;
use pillarbox::mail::ids::QueueId;
use pillarbox::mail::peer::{Security, TlsInfo};
use pillarbox::smtp::budget::Budget;
use pillarbox::smtp::codec::{Codec, Frame, Framing, LineEnds};
use pillarbox::smtp::intake::BodyFault;
use pillarbox::smtp::intake::{Intake, Kept};
use pillarbox::smtp::offer::Offer;
use pillarbox::smtp::role::Role;
use pillarbox::smtp::role::Terms;
use pillarbox::smtp::session::{Answer, Ask, Event, Next, Session, Step};
use pillarbox::store::outcome::{Error, Receipt, Route};
use pillarbox::wire::access::{Plaintext, StartTls};
use pillarbox::wire::dot::BareNewline;
use pillarbox::wire::sasl::{Evidence, Mechanism, ScramParameters, ServerSignature, Strictness};
use std::sync::Arc;
use tokio_util::codec::Decoder;

/// Largest message, in octets.
pub(crate) const MESSAGE_OCTETS_MAX: u64 = 1_024;
/// Most recipients of a transaction.
pub(crate) const RECIPIENTS_MAX: usize = 3;

/// Who logs in.
pub(crate) const USER: &str = "alice@example.org";
/// Its password.
pub(crate) const PASSWORD: &str = "a secret";

/// A message that was kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeptMessage {
    /// Its recipients, as RCPT named them.
    pub(crate) to: Vec<String>,
    /// Its octets.
    pub(crate) octets: Vec<u8>,
}

/// Around a session: what a script may ask for by its word, beside a peer on this host and no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// `starttls`: the listener has a certificate.
    StartTls,
    /// `tls`: TLS from the first octet.
    Tls,
    /// `remote`: whoever is on the way could read a password.
    Remote,
    /// `open`: the server takes every password.
    Open,
}

impl With {
    /// Reads a word of a script.
    pub(crate) fn read(word: &str) -> With {
        match word {
            "starttls" => With::StartTls,
            "tls" => With::Tls,
            "remote" => With::Remote,
            "open" => With::Open,
            other => panic!("what is {other:?}?"),
        }
    }
}

fn offer(role: Role, with: &[With], security: Security) -> Offer {
    let has = |what| with.contains(&what);
    Offer {
        start_tls: if has(With::StartTls) { StartTls::Possible } else { StartTls::Impossible },
        plaintext: if has(With::Remote) { Plaintext::Refused } else { Plaintext::Allowed },
        mechanisms: match role {
            _ if has(With::Open) => Mechanism::WITH_PASSWORD.into(),
            Role::Submission => Mechanism::offered(&security).into(),
            Role::Mx | Role::Lmtp => Offer::default().mechanisms,
        },
        strictness: if has(With::Open) { Strictness::Lax } else { Strictness::Full },
        security,
    }
}

fn tls() -> Security {
    Security::Tls(TlsInfo { version: "TLSv1.3".into(), cipher: "x".into(), exporter: Some([3; 32]) })
}

/// A session and all that stands around it.
pub(crate) struct BareSmtp {
    role: Role,
    with: Vec<With>,
    session: Session,
    codec: Codec,
    budget: Arc<Budget>,
    input: BytesMut,
    output: BytesMut,
    doing: Doing,
    incoming: Option<Intake>,
    spilt: Vec<u8>,
    logins: u32,
    /// What was accepted.
    pub(crate) kept: Vec<KeptMessage>,
}

enum Doing {
    Lines,
    Body { framing: Framing },
    Securing,
    Closed,
}

impl BareSmtp {
    /// A session of mail from anyone that has said its greeting.
    pub(crate) fn new() -> BareSmtp {
        BareSmtp::of(Role::Mx, &[])
    }

    /// The same for another role or in other surroundings.
    pub(crate) fn of(role: Role, with: &[With]) -> BareSmtp {
        let terms = Terms {
            hostname: "mx.example.org".into(),
            postmaster: Address::parse("postmaster@example.org").unwrap(),
            message_octets_max: MESSAGE_OCTETS_MAX,
            recipients_max: RECIPIENTS_MAX,
            role,
        };
        let security = if with.contains(&With::Tls) { tls() } else { Security::Plain };
        let (session, greeting) = Session::new(Arc::new(terms), offer(role, with, security));
        let mut output = BytesMut::new();
        greeting.encode(&mut output);
        BareSmtp {
            role,
            with: with.to_vec(),
            session,
            codec: Codec::new(BareNewline::Refuse),
            budget: Budget::new(1 << 20),
            input: BytesMut::new(),
            output,
            doing: Doing::Lines,
            incoming: None,
            spilt: Vec::new(),
            logins: 0,
            kept: Vec::new(),
        }
    }

    /// Sends octets to the session.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while let Some(step) = self.turn() {
            self.follow(step);
        }
    }

    /// The client says nothing for too long.
    pub(crate) fn fall_silent(&mut self) {
        let step = self.session.step(Event::Idle);
        self.follow(step);
    }

    /// The server is told to stop.
    pub(crate) fn stop(&mut self) {
        let step = self.session.step(Event::Stop);
        self.follow(step);
    }

    /// The handshake is done: as the driver, it forgets what has come before.
    pub(crate) fn secure(&mut self) {
        assert!(matches!(self.doing, Doing::Securing), "nobody has asked for TLS");
        self.input.clear();
        self.codec = Codec::new(BareNewline::Refuse);
        let step = self.session.step(Event::Secured(offer(self.role, &self.with, tls())));
        self.follow(step);
    }

    /// Whether somebody has logged in.
    pub(crate) fn has_logged_in(&self) -> bool {
        self.logins > 0
    }

    /// How many logins have failed.
    pub(crate) fn failures(&self) -> u32 {
        self.session.failed_logins()
    }

    /// Whether the session waits for a handshake.
    pub(crate) fn is_securing(&self) -> bool {
        matches!(self.doing, Doing::Securing)
    }

    /// All that was said since the last call.
    pub(crate) fn said(&mut self) -> String {
        String::from_utf8(self.output.split().to_vec()).unwrap()
    }

    /// Whether the session has closed.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.doing, Doing::Closed)
    }

    /// One frame of the input.
    fn turn(&mut self) -> Option<Step> {
        if self.is_over() || self.is_securing() {
            return None;
        }
        let frame = self.codec.decode(&mut self.input).unwrap()?;
        Some(match (&self.doing, frame) {
            (Doing::Lines, Frame::Line(line)) => self.session.step(Event::Line(&line)),
            (Doing::Lines, Frame::TooLong) => self.session.step(Event::LineTooLong),
            (Doing::Lines, Frame::BareNewline) => self.session.step(Event::BareNewline),
            (Doing::Body { framing: Framing::Skip { .. } }, Frame::End(_)) => {
                self.session.step(Event::Skipped)
            }
            (Doing::Body { framing: Framing::Skip { .. } }, _) => return self.turn(),
            (Doing::Body { .. }, Frame::Data(octets)) => {
                let intake = self.incoming.as_mut().unwrap();
                intake.take(&octets);
                while let Some(slice) = intake.spill() {
                    self.spilt.put_slice(&slice);
                }
                return self.turn();
            }
            (Doing::Body { framing }, Frame::End(ends)) => {
                let last = matches!(framing, Framing::Dot | Framing::Chunk { last: true, .. });
                self.end(ends, last)
            }
            (_, frame) => panic!("{frame:?} out of place"),
        })
    }

    fn end(&mut self, ends: LineEnds, last: bool) -> Step {
        let mut intake = self.incoming.take().unwrap();
        if ends == LineEnds::Bare {
            intake.refuse(BodyFault::BareNewline);
        }
        if !last {
            let fault = intake.fault().cloned();
            self.incoming = Some(intake);
            return self.session.step(Event::Chunk(fault.map_or(Ok(()), Err)));
        }
        let spilt = std::mem::take(&mut self.spilt);
        let beginning = intake.beginning();
        let message = intake.finish().map(|kept| {
            let octets = match kept {
                Kept::Memory(slices, _) => slices.concat(),
                Kept::Store(slices) => [spilt, slices.concat()].concat(),
            };
            Message { body: Body::Memory(vec![octets.into()]), beginning }
        });
        self.session.step(Event::Body(message))
    }

    fn follow(&mut self, step: Step) {
        for reply in &step.say {
            reply.encode(&mut self.output);
        }
        self.doing = match step.next {
            Next::Read(awaiting) => {
                self.codec.expect(awaiting);
                Doing::Lines
            }
            Next::StartTls => Doing::Securing,
            Next::Close => Doing::Closed,
            Next::Body(framing) => {
                self.codec.begin(framing);
                if matches!(framing, Framing::Dot | Framing::Chunk { first: true, .. }) {
                    self.incoming = Some(Intake::new(MESSAGE_OCTETS_MAX, self.budget.clone()));
                    self.spilt.clear();
                }
                Doing::Body { framing }
            }
            Next::Ask(question) => {
                let answer = self.answer(question);
                let step = self.session.step(Event::Answer(answer));
                return self.follow(step);
            }
        };
    }

    fn answer(&mut self, question: Ask) -> Answer {
        match question {
            Ask::Route(to, _) => Answer::Route(route(&to)),
            Ask::MaySend(login, from) => Answer::MaySend(may_send(&login, &from)),
            Ask::Deliver(envelope, message) => Answer::Deliver(self.deliver(&envelope, &message.body)),
            Ask::DeliverEach(envelope, message) => {
                let each = envelope.recipients.iter().map(|to| {
                    let recipients = vec![to.clone()];
                    self.deliver(&Envelope { recipients, ..envelope.clone() }, &message.body).map(Arc::new)
                });
                Answer::DeliverEach(each.collect())
            }
            Ask::Nonce => Answer::Nonce(Ok([7; 18])),
            Ask::Parameters(_) => {
                Answer::Parameters(Ok(ScramParameters { salt: (*b"salt").into(), iterations: 4096 }))
            }
            Ask::Check(evidence) => {
                let verified = check(&evidence);
                self.logins += u32::from(verified.is_ok());
                Answer::Check(verified)
            }
        }
    }

    fn deliver(&mut self, envelope: &Envelope, body: &Body) -> Result<Receipt, Error> {
        assert!(!envelope.recipients.is_empty() && envelope.recipients.len() <= RECIPIENTS_MAX);
        if envelope.recipients.iter().any(|to| to.address.local() == "nodisk") {
            return Err(Error::DiskFull);
        }
        let Body::Memory(slices) = body else { panic!("nothing is staged here") };
        assert!(body.octets() <= MESSAGE_OCTETS_MAX);
        let to = envelope.recipients.iter().map(|to| to.address.to_string()).collect();
        self.kept.push(KeptMessage { to, octets: slices.concat() });
        Ok(Receipt::pretended(QueueId::from_random(0)))
    }
}

fn check(evidence: &Evidence) -> Result<Verified, Denied> {
    let user = evidence.user();
    let login = || Login::pretended(Address::parse(user).unwrap().name());
    match (user, evidence) {
        ("mallory@example.org", _) => Err(Denied::Blocked),
        ("later@example.org", _) => Err(Denied::Store(Error::Unavailable("the test says so".into()))),
        (USER, Evidence::Scram(_)) => {
            Ok(Verified { login: login(), signature: Some(ServerSignature([0; 32])) })
        }
        (USER, Evidence::Password(given)) if given.password.expose() == PASSWORD.as_bytes() => {
            Ok(Verified { login: login(), signature: None })
        }
        _ => Err(Denied::Credentials),
    }
}

fn may_send(login: &Login, from: &Sender) -> Result<bool, Error> {
    assert_eq!(login.mailbox().to_string(), USER);
    let Sender::Address(from) = from else { return Ok(true) };
    match from.name().to_string().as_str() {
        "later@example.org" => Err(Error::Unavailable("the test says so".into())),
        name => Ok([USER, "alice+tag@example.org", "team@example.org"].contains(&name)),
    }
}

fn route(to: &Address) -> Result<Route, Error> {
    let name =
        |local: &str| -> MailboxName { Address::parse(&format!("{local}@example.org")).unwrap().name() };
    if to.domain().as_str() != "example.org" {
        return Ok(Route::Foreign);
    }
    let local = to.local().to_lowercase();
    Ok(match local.split('+').next().unwrap() {
        "alice" | "bob" | "postmaster" | "nodisk" => {
            Route::Mailboxes(vec![name(local.split('+').next().unwrap())])
        }
        "team" => Route::Mailboxes(vec![name("alice"), name("bob")]),
        "carol" => Route::Full(name("carol")),
        "later" => return Err(Error::Unavailable("the test says so".into())),
        _ => Route::Unknown,
    })
}
