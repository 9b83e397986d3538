//! The order of things in POP3: a state machine that is given one event and returns what to say
//! and the one thing to do next. It holds no socket, no clock and no database.
//!
//! To drive it: say the greeting of [`Session::new`] and wait for a command. Then, for each
//! [`Step`], do [`Step::next`] and give its result to [`Session::step`]; what the step says goes
//! out first, except with [`Next::Send`], where it waits until there is something to send.

use super::codec::Part;
use super::command::Command;
use super::marks::{Marks, Missing};
use super::offer::Offer;
use super::pages::{Column, Pages, Progress};
use super::reply::Reply;
use crate::mail::ids::MessageId;
use crate::mail::listing::{Entry, Listing};
use crate::mail::secret::{Credentials, Secret};
use crate::store::outcome::{Error, Expunged};
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
    /// Wait for a command.
    Read,
    /// Send this below the answer. Once the answer is said, a payload that cannot be sent whole
    /// must end the connection: a client could not tell it from a short one.
    Send(Payload),
    /// Find this out. Until the answer is there, nothing else is given to the session.
    Ask(Ask),
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
    /// Are these right? Then open their mailbox.
    Open(Credentials),
    /// Delete these and close the mailbox.
    Update(Vec<MessageId>),
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Open`].
    Open(Result<Listing, Refusal>),
    /// To [`Ask::Update`].
    Update(Result<Expunged, Error>),
}

/// Why a mailbox was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong user name or password.
    Denied,
    /// Another session has it.
    InUse,
    /// The store could not.
    Store(Error),
}

#[derive(Debug)]
enum Phase {
    Authorization { user: Option<Box<str>> },
    Opening,
    Transaction(Marks),
    Updating,
    Closed,
}

/// One session, from the greeting to the end.
#[derive(Debug)]
pub struct Session {
    offer: Offer,
    phase: Phase,
    errors: u32,
    failed_logins: u32,
}

impl Session {
    /// A session and its greeting.
    #[must_use]
    pub fn new(offer: Offer) -> (Session, Reply) {
        let phase = Phase::Authorization { user: None };
        (Session { offer, phase, errors: 0, failed_logins: 0 }, Reply::GREETING)
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

    /// Takes one event in.
    pub fn step(&mut self, event: Event<'_>) -> Step {
        use Phase::{Closed, Opening, Transaction, Updating};
        // Until a phase is put back, the session is closed: none survives by being forgotten.
        let phase = mem::replace(&mut self.phase, Closed);
        match (phase, event) {
            (_, Event::Stop) => close(Some(Reply::STOPPING)),
            (_, Event::Evicted) => close(Some(Reply::EVICTED)),
            // RFC 1939 §3: when the timer runs out, nothing is said and nothing is deleted.
            (_, Event::Idle) => close(None),
            (Opening, Event::Answer(Answer::Open(answer))) => self.opened(answer),
            (Updating, Event::Answer(Answer::Update(answer))) => close(Some(match answer {
                Ok(proof) => Reply::updated(&proof),
                // RFC 1939 §6: what could not be deleted is told with -ERR, and the session ends.
                Err(error) => Reply::trouble(&error),
            })),
            // An event out of turn is a fault of the driver; closing is safe in every state.
            (Opening | Updating | Closed, _) => close(None),
            (phase, Event::Line(line)) => match Command::parse(line) {
                Ok(command) => self.command(phase, command),
                Err(fault) => self.refuse(phase, Reply::syntax(fault)),
            },
            (phase, Event::LineTooLong) => self.refuse(phase, Reply::LINE_TOO_LONG),
            (phase, Event::BareNewline) => self.refuse(phase, Reply::BARE_NEWLINE),
            (Transaction(marks), Event::Sent) => {
                self.phase = Transaction(marks);
                Step { say: None, next: Next::Read }
            }
            (Transaction(marks), Event::Unsent(error)) => {
                self.stay(Transaction(marks), Reply::trouble(&error))
            }
            (_, Event::Sent | Event::Unsent(_) | Event::Answer(_)) => close(None),
        }
    }

    /// Every command in every state that takes commands.
    fn command(&mut self, phase: Phase, command: Command) -> Step {
        use Command::{Capa, Dele, List, Noop, Pass, Quit, Retr, Rset, Stat, Top, Uidl, User, Utf8};
        use Phase::{Authorization, Transaction};
        match (phase, command) {
            // RFC 2449 §5: in both states, and here with one answer.
            (phase, Capa) => {
                let offer = Reply::capabilities(&self.offer);
                self.stay(phase, offer)
            }

            (Authorization { .. }, User(name)) => self.stay(Authorization { user: Some(name) }, Reply::USER),
            (Authorization { user: Some(user) }, Pass(password)) => self.open(user, password),
            (phase @ Authorization { user: None }, Pass(_)) => self.refuse(phase, Reply::USER_FIRST),
            // RFC 6856 §2.1: without an argument, before login only. It may be said again.
            (phase @ Authorization { .. }, Utf8) => self.stay(phase, Reply::UTF8),
            (Authorization { .. }, Quit) => close(Some(Reply::BYE)),
            (phase @ Authorization { .. }, _) => self.refuse(phase, Reply::LOGIN_FIRST),

            (phase @ Transaction(_), User(_) | Pass(_) | Utf8) => self.refuse(phase, Reply::LOGGED_IN),
            (Transaction(m), Stat) => self.with(m, |m| Ok(line(Reply::stat(m)))),
            (Transaction(m), Noop) => self.with(m, |_| Ok(line(Reply::NOOP))),
            (Transaction(m), Rset) => self.with(m, |m| {
                m.unmark_all();
                Ok(line(Reply::unmarked(m)))
            }),
            (Transaction(m), Dele(n)) => self.with(m, |m| m.mark(n).map(|()| line(Reply::marked(n)))),
            (Transaction(m), List(None)) => self.with(m, |m| Ok(list(Column::Octets, m))),
            (Transaction(m), List(Some(n))) => self.with(m, |m| m.get(n).map(|e| line(Reply::size(n, e)))),
            (Transaction(m), Uidl(None)) => self.with(m, |m| Ok(list(Column::Uid, m))),
            (Transaction(m), Uidl(Some(n))) => {
                self.with(m, |m| m.get(n).map(|e| line(Reply::unique_id(n, m.uid(e)))))
            }
            (Transaction(m), Retr(n)) => {
                self.with(m, |m| m.get(n).map(|e| message(Reply::message_follows(e), e, Part::Whole)))
            }
            (Transaction(m), Top { number, lines }) => {
                self.with(m, |m| m.get(number).map(|e| message(Reply::top_follows(), e, Part::Top(lines))))
            }
            // RFC 1939 §6: QUIT is the one way to the UPDATE state. It is asked even when nothing is
            // marked: the store answers that without work, and its proof is needed for the +OK.
            (Transaction(m), Quit) => {
                self.phase = Phase::Updating;
                Step { say: None, next: Next::Ask(Ask::Update(m.into_marked())) }
            }

            (Phase::Opening | Phase::Updating | Phase::Closed, _) => close(None),
        }
    }

    fn open(&mut self, user: Box<str>, password: Secret) -> Step {
        self.phase = Phase::Opening;
        Step { say: None, next: Next::Ask(Ask::Open(Credentials { user, password })) }
    }

    fn opened(&mut self, answer: Result<Listing, Refusal>) -> Step {
        // RFC 1939 §7: after a PASS that failed, a client begins again with USER.
        let again = Phase::Authorization { user: None };
        match answer {
            Ok(listing) => {
                let marks = Marks::new(listing);
                let reply = Reply::opened(&marks);
                self.stay(Phase::Transaction(marks), reply)
            }
            Err(Refusal::Denied) => {
                self.failed_logins += 1;
                if self.failed_logins >= FAILED_LOGINS_MAX {
                    return close(Some(Reply::DENIED));
                }
                self.stay(again, Reply::DENIED)
            }
            // Counted, or a client that asks in a loop would do so for ever.
            Err(Refusal::InUse) => self.refuse(again, Reply::IN_USE),
            Err(Refusal::Store(error)) => self.stay(again, Reply::trouble(&error)),
        }
    }

    fn stay(&mut self, phase: Phase, reply: Reply) -> Step {
        self.phase = phase;
        Step { say: Some(reply), next: Next::Read }
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

fn close(say: Option<Reply>) -> Step {
    Step { say, next: Next::Close }
}

fn line(reply: Reply) -> (Reply, Next) {
    (reply, Next::Read)
}

fn list(column: Column, marks: &Marks) -> (Reply, Next) {
    (Reply::list_follows(marks), Next::Send(Payload::List(Pages::new(column))))
}

fn message(reply: Reply, entry: &Entry, part: Part) -> (Reply, Next) {
    (reply, Next::Send(Payload::Message { entry: *entry, part }))
}
