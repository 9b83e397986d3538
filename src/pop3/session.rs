//! The order of things in POP3: a state machine that is given one event and returns what to say
//! and the one thing to do next. It holds no socket, no clock and no database.
//!
//! To drive it: say the greeting of [`Session::new`] and wait for a command. Then, for each
//! [`Step`], do [`Step::next`] and give its result to [`Session::step`]; what the step says goes
//! out first, except with [`Next::Send`], where it waits until there is something to send.

use super::codec::{Awaiting, Part};
use super::command::Command;
use super::marks::{Marks, Missing};
use super::offer::Offer;
use super::pages::{Column, Pages, Progress};
use super::reply::Reply;
use crate::auth::outcome::{Denied, Login, Verified};
use crate::mail::ids::MessageId;
use crate::mail::listing::{Entry, Listing};
use crate::mail::secret::{Credentials, Secret};
use crate::store::outcome::{Error, Expunged};
use crate::wire::access::Access;
use crate::wire::sasl::{Evidence, Exchange, Fault, Mechanism, ScramParameters, Turn};
use bytes::BytesMut;
use std::mem;

/// The error of a client that ends its session.
pub const ERRORS_MAX: u32 = 20;
/// The failed login that ends its session.
pub const FAILED_LOGINS_MAX: u32 = 3;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line came, here without its CRLF.
    Line(&'a [u8]),
    /// A line came that is too long.
    LineTooLong,
    /// A line came with a bare LF in it.
    BareNewline,
    /// The payload of [`Next::Send`] went out whole, below what the step said.
    Sent,
    /// Nothing of the payload could be read, and nothing was said.
    Unsent(Error),
    /// The answer to [`Next::Ask`].
    Answer(Answer),
    /// TLS has begun, and this is what can be done under it. A handshake that failed ends the
    /// connection, and the session hears nothing of it.
    Secured(Offer),
    /// No command came for too long.
    Idle,
    /// Another session has taken the mailbox over.
    Evicted,
    /// The server is stopping.
    Stop,
}

/// What to say, and the one thing to do next.
#[derive(Debug)]
pub struct Step {
    /// The answer, if there is one by now.
    pub say: Option<Reply>,
    /// What to do next.
    pub next: Next,
}

/// What a driver does next.
#[derive(Debug)]
pub enum Next {
    /// Wait for a line.
    Read(Awaiting),
    /// Send this below the answer. Once the answer is said, a payload that cannot be sent whole
    /// must end the connection: a client could not tell it from a short one.
    Send(Payload),
    /// Find this out. Until the answer is there, nothing else is given to the session.
    Ask(Ask),
    /// Send the answer, and begin TLS.
    StartTls,
    /// Say goodbye to the socket.
    Close,
}

/// What follows the first line of an answer, up to and including its final dot.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload {
    /// A list, to be written with [`Session::page`].
    List(Pages),
    /// A message or its top.
    Message {
        /// Which one.
        entry: Entry,
        /// How much of it.
        part: Part,
    },
}

/// A question that only the world outside can answer.
#[derive(Debug)]
pub enum Ask {
    /// Fresh random octets for an exchange of SASL.
    Nonce,
    /// What does a client of SCRAM with this user name need?
    Parameters(Box<str>),
    /// Is this right?
    Check(Evidence),
    /// Open the mailbox.
    Open(Login),
    /// Delete these and close the mailbox.
    Update(Vec<MessageId>),
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Nonce`].
    Nonce(Result<[u8; 18], Error>),
    /// To [`Ask::Parameters`].
    Parameters(Result<ScramParameters, Denied>),
    /// To [`Ask::Check`].
    Check(Result<Verified, Denied>),
    /// To [`Ask::Open`].
    Open(Result<Listing, Refusal>),
    /// To [`Ask::Update`].
    Update(Result<Expunged, Error>),
}

/// Why a mailbox was not opened to somebody who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another session has it.
    InUse,
    /// The store could not.
    Store(Error),
}

#[derive(Debug)]
enum Phase {
    Authorization {
        user: Option<Box<str>>,
    },
    Securing,
    Beginning {
        mechanism: Mechanism,
        initial: Option<Secret>,
    },
    Looking(Box<Exchange>),
    /// The login is there when the client has only to acknowledge the server's proof.
    Challenged(Box<Exchange>, Option<Login>),
    /// Without an exchange it is USER and PASS.
    Checking(Option<Box<Exchange>>),
    /// The exchange has failed in a way that counts, and is being counted.
    Failing(Fault),
    Opening,
    Transaction(Marks),
    Updating,
    Closed,
}

/// At the start, after TLS has begun, and after a login that failed.
const ANEW: Phase = Phase::Authorization { user: None };

const COMMAND: Next = Next::Read(Awaiting::Command);

/// One session, from the greeting to the end.
#[derive(Debug)]
pub struct Session {
    offer: Offer,
    phase: Phase,
    errors: u32,
    failed_logins: u32,
}

impl Session {
    /// A session and its greeting, in the name of the host.
    #[must_use]
    pub fn new(offer: Offer, hostname: &str) -> (Session, Reply) {
        (Session { offer, phase: ANEW, errors: 0, failed_logins: 0 }, Reply::greeting(hostname))
    }

    /// What this session can do, and what protects it.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// How many logins of this session have failed for their credentials.
    #[must_use]
    pub fn failed_logins(&self) -> u32 {
        self.failed_logins
    }

    /// Writes the next page of a list that [`Next::Send`] asked for.
    pub fn page(&self, pages: &mut Pages, out: &mut BytesMut) -> Progress {
        match &self.phase {
            Phase::Transaction(marks) => pages.write(marks, out),
            _ => Progress::Ended,
        }
    }

    /// The messages behind one of this session that a client may want after it.
    pub fn behind(&self, entry: &Entry) -> impl Iterator<Item = Entry> + Clone {
        let marks = match &self.phase {
            Phase::Transaction(marks) => Some(marks),
            _ => None,
        };
        marks.into_iter().flat_map(|marks| marks.behind(entry))
    }

    /// Takes one event in.
    pub fn step(&mut self, event: Event<'_>) -> Step {
        use Phase::{Authorization, Challenged, Closed, Securing, Transaction};
        // Until a phase is put back, the session is closed: none survives by being forgotten.
        let phase = mem::replace(&mut self.phase, Closed);
        match (phase, event) {
            (_, Event::Stop) => close(Some(Reply::STOPPING)),
            (_, Event::Evicted) => close(Some(Reply::EVICTED)),
            // RFC 1939 §3: when the timer runs out, nothing is said and nothing is deleted.
            (_, Event::Idle) => close(None),
            (phase, Event::Answer(answer)) => self.answer(phase, answer),
            // RFC 2595 §4: all that was said before TLS is forgotten. Not how often it went wrong,
            // or STLS would be a way around the limits.
            (Securing, Event::Secured(offer)) => {
                self.offer = offer;
                self.phase = ANEW;
                Step { say: None, next: COMMAND }
            }
            (Challenged(exchange, login), Event::Line(line)) => self.respond(exchange, login, line),
            (Challenged(..), Event::LineTooLong) => self.refuse(ANEW, Reply::LINE_TOO_LONG),
            (Challenged(..), Event::BareNewline) => self.refuse(ANEW, Reply::BARE_NEWLINE),
            (phase @ (Authorization { .. } | Transaction(_)), Event::Line(line)) => {
                match Command::parse(line) {
                    Ok(command) => self.command(phase, command),
                    Err(fault) => self.refuse(phase, Reply::syntax(fault)),
                }
            }
            (phase @ (Authorization { .. } | Transaction(_)), Event::LineTooLong) => {
                self.refuse(phase, Reply::LINE_TOO_LONG)
            }
            (phase @ (Authorization { .. } | Transaction(_)), Event::BareNewline) => {
                self.refuse(phase, Reply::BARE_NEWLINE)
            }
            (Transaction(marks), Event::Sent) => {
                self.phase = Transaction(marks);
                Step { say: None, next: COMMAND }
            }
            (Transaction(marks), Event::Unsent(error)) => {
                self.stay(Transaction(marks), Reply::trouble(&error))
            }
            // An event out of turn is a fault of the driver; closing is safe in every state.
            _ => close(None),
        }
    }

    /// Every answer in every state that has asked.
    fn answer(&mut self, phase: Phase, answer: Answer) -> Step {
        use Phase::{Beginning, Checking, Failing, Looking, Opening, Updating};
        match (phase, answer) {
            (Beginning { mechanism, initial }, Answer::Nonce(Ok(nonce))) => {
                let initial = initial.as_ref().map(Secret::expose);
                let Access { security, strictness, .. } = &self.offer.access;
                let (exchange, turn) = Exchange::begin(mechanism, initial, security, nonce, *strictness);
                self.turn(Box::new(exchange), None, turn)
            }
            (Beginning { .. }, Answer::Nonce(Err(error))) => self.stay(ANEW, Reply::trouble(&error)),
            (Looking(mut exchange), Answer::Parameters(Ok(parameters))) => {
                let turn = exchange.parameters(&parameters);
                self.turn(exchange, None, turn)
            }
            (Checking(None), Answer::Check(Ok(verified))) => self.open(verified.login),
            (Checking(Some(mut exchange)), Answer::Check(Ok(verified))) => {
                let turn = exchange.verified(verified.signature);
                self.turn(exchange, Some(verified.login), turn)
            }
            (Looking(_), Answer::Parameters(Err(denied))) => self.denied(&denied, Reply::DENIED),
            (Checking(_), Answer::Check(Err(denied))) => self.denied(&denied, Reply::DENIED),
            (Failing(fault), Answer::Check(Err(denied))) => self.denied(&denied, Reply::exchange(fault)),
            (Opening, Answer::Open(opened)) => self.opened(opened),
            (Updating, Answer::Update(answer)) => close(Some(match answer {
                Ok(proof) => Reply::updated(&proof),
                // RFC 1939 §6: what could not be deleted is told with -ERR, and the session ends.
                Err(error) => Reply::trouble(&error),
            })),
            _ => close(None),
        }
    }

    /// Every command in every state that takes commands.
    fn command(&mut self, phase: Phase, command: Command) -> Step {
        use Command::{Auth, Capa, Mechanisms, Pass, Quit, Stls, User, Utf8};
        use Phase::{Authorization, Transaction};
        match (phase, command) {
            // RFC 2449 §5: in both states, and here with one answer.
            (phase, Capa) => {
                let offer = Reply::capabilities(&self.offer);
                self.stay(phase, offer)
            }

            (phase @ Authorization { .. }, Stls) => self.begin_tls(phase),
            (phase @ Authorization { .. }, User(_) | Pass(_) | Auth { .. } | Mechanisms)
                if !self.offer.access.takes_logins() =>
            {
                self.refuse(phase, Reply::ENCRYPT_FIRST)
            }
            (Authorization { .. }, User(name)) => self.stay(Authorization { user: Some(name) }, Reply::USER),
            (Authorization { user: Some(user) }, Pass(password)) => {
                self.check(None, Evidence::Password(Credentials { user, password }))
            }
            (phase @ Authorization { user: None }, Pass(_)) => self.refuse(phase, Reply::USER_FIRST),
            (phase @ Authorization { .. }, Mechanisms) => {
                let mechanisms = Reply::mechanisms(&self.offer);
                self.stay(phase, mechanisms)
            }
            (phase @ Authorization { .. }, Auth { mechanism, initial }) => {
                if !self.offer.access.mechanisms().contains(&mechanism) {
                    return self.refuse(phase, Reply::NO_MECHANISM);
                }
                self.phase = Phase::Beginning { mechanism, initial };
                ask(Ask::Nonce)
            }
            // RFC 6856 §2.1: without an argument, before login only. It may be said again.
            (phase @ Authorization { .. }, Utf8) => self.stay(phase, Reply::UTF8),
            (Authorization { .. }, Quit) => close(Some(Reply::BYE)),
            (phase @ Authorization { .. }, _) => self.refuse(phase, Reply::LOGIN_FIRST),

            // RFC 2595 §4 and RFC 5034 §4: STLS and AUTH belong before the login.
            (phase @ Transaction(_), User(_) | Pass(_) | Utf8 | Stls | Auth { .. } | Mechanisms) => {
                self.refuse(phase, Reply::LOGGED_IN)
            }
            (Transaction(marks), command) => self.work(marks, &command),
            _ => close(None),
        }
    }

    /// The commands that need an open mailbox.
    fn work(&mut self, m: Marks, command: &Command) -> Step {
        use Command::{Dele, List, Noop, Quit, Retr, Rset, Stat, Top, Uidl};
        match *command {
            Stat => self.with(m, |m| Ok(line(Reply::stat(m)))),
            Noop => self.with(m, |_| Ok(line(Reply::NOOP))),
            Rset => self.with(m, |m| {
                m.unmark_all();
                Ok(line(Reply::unmarked(m)))
            }),
            Dele(n) => self.with(m, |m| m.mark(n).map(|()| line(Reply::marked(n)))),
            List(None) => self.with(m, |m| Ok(list(Column::Octets, m))),
            List(Some(n)) => self.with(m, |m| m.get(n).map(|e| line(Reply::size(n, e)))),
            Uidl(None) => self.with(m, |m| Ok(list(Column::Uid, m))),
            Uidl(Some(n)) => self.with(m, |m| m.get(n).map(|e| line(Reply::unique_id(n, m.uid(e))))),
            Retr(n) => self.with(m, |m| m.get(n).map(|e| message(Reply::message_follows(e), e, Part::Whole))),
            Top { number, lines } => {
                self.with(m, |m| m.get(number).map(|e| message(Reply::top_follows(), e, Part::Top(lines))))
            }
            // RFC 1939 §6: QUIT is the one way to the UPDATE state. It is asked even when nothing is
            // marked: the store answers that without work, and its proof is needed for the +OK.
            Quit => {
                self.phase = Phase::Updating;
                ask(Ask::Update(m.into_marked()))
            }
            _ => close(None),
        }
    }

    fn begin_tls(&mut self, phase: Phase) -> Step {
        if self.offer.access.can_begin_tls() {
            self.phase = Phase::Securing;
            return Step { say: Some(Reply::STLS), next: Next::StartTls };
        }
        // RFC 2595 §4: under TLS there is no second STLS.
        let reply = if self.offer.access.is_secured() { Reply::ENCRYPTED } else { Reply::NO_TLS };
        self.refuse(phase, reply)
    }

    fn respond(&mut self, mut exchange: Box<Exchange>, login: Option<Login>, line: &[u8]) -> Step {
        let turn = exchange.line(line);
        self.turn(exchange, login, turn)
    }

    /// Does what an exchange wants next.
    fn turn(&mut self, exchange: Box<Exchange>, login: Option<Login>, turn: Turn) -> Step {
        match (turn, login) {
            (Turn::Challenge(base64), login) => {
                self.phase = Phase::Challenged(exchange, login);
                Step { say: Some(Reply::challenge(base64)), next: Next::Read(Awaiting::Response) }
            }
            (Turn::Parameters(user), None) => {
                self.phase = Phase::Looking(exchange);
                ask(Ask::Parameters(user))
            }
            (Turn::Check(evidence), None) => self.check(Some(exchange), evidence),
            (Turn::Done, Some(login)) => self.open(login),
            // With another binding somebody on the way has another connection than the client believes:
            // as bad as a wrong password, and counted like one.
            (Turn::Failed(fault), None) if fault.is_a_guess() => {
                self.phase = Phase::Failing(fault);
                ask(Ask::Check(Evidence::Void(fault)))
            }
            // RFC 5034 §4: `*` cancels, and what is not base64 is an error; neither is a wrong password.
            (Turn::Failed(fault), _) => self.refuse(ANEW, Reply::exchange(fault)),
            (Turn::Parameters(_) | Turn::Check(_), Some(_)) | (Turn::Done, None) => close(None),
        }
    }

    fn check(&mut self, exchange: Option<Box<Exchange>>, evidence: Evidence) -> Step {
        self.phase = Phase::Checking(exchange);
        ask(Ask::Check(evidence))
    }

    fn open(&mut self, login: Login) -> Step {
        self.phase = Phase::Opening;
        ask(Ask::Open(login))
    }

    /// `reply` is for credentials that are wrong.
    fn denied(&mut self, denied: &Denied, reply: Reply) -> Step {
        match denied {
            Denied::Credentials => {
                self.failed_logins += 1;
                if self.failed_logins >= FAILED_LOGINS_MAX {
                    return close(Some(reply));
                }
                // RFC 1939 §7: after a PASS that failed, a client begins again with USER.
                self.stay(ANEW, reply)
            }
            Denied::Blocked => close(Some(Reply::BLOCKED)),
            Denied::Store(error) => self.stay(ANEW, Reply::trouble(error)),
        }
    }

    fn opened(&mut self, answer: Result<Listing, Refusal>) -> Step {
        match answer {
            Ok(listing) => {
                let marks = Marks::new(listing);
                let reply = Reply::opened(&marks);
                self.stay(Phase::Transaction(marks), reply)
            }
            // Counted, or a client that asks in a loop would do so for ever.
            Err(Refusal::InUse) => self.refuse(ANEW, Reply::IN_USE),
            Err(Refusal::Store(error)) => self.stay(ANEW, Reply::trouble(&error)),
        }
    }

    fn stay(&mut self, phase: Phase, reply: Reply) -> Step {
        self.phase = phase;
        Step { say: Some(reply), next: COMMAND }
    }

    /// An error of the client: nothing changes, but they are counted.
    fn refuse(&mut self, phase: Phase, reply: Reply) -> Step {
        self.errors += 1;
        if self.errors >= ERRORS_MAX { close(Some(Reply::TOO_MANY_ERRORS)) } else { self.stay(phase, reply) }
    }

    /// A command that works on the messages.
    fn with(
        &mut self,
        mut marks: Marks,
        work: impl FnOnce(&mut Marks) -> Result<(Reply, Next), Missing>,
    ) -> Step {
        match work(&mut marks) {
            Ok((reply, next)) => {
                self.phase = Phase::Transaction(marks);
                Step { say: Some(reply), next }
            }
            Err(missing) => self.refuse(Phase::Transaction(marks), Reply::missing(missing)),
        }
    }
}

fn ask(ask: Ask) -> Step {
    Step { say: None, next: Next::Ask(ask) }
}

fn close(say: Option<Reply>) -> Step {
    Step { say, next: Next::Close }
}

fn line(reply: Reply) -> (Reply, Next) {
    (reply, COMMAND)
}

fn list(column: Column, marks: &Marks) -> (Reply, Next) {
    (Reply::list_follows(marks), Next::Send(Payload::List(Pages::new(column))))
}

fn message(reply: Reply, entry: &Entry, part: Part) -> (Reply, Next) {
    (reply, Next::Send(Payload::Message { entry: *entry, part }))
}
