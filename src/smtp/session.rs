//! The state machine: one event in, one step out. The diagram is in [`super`].
//!
//! It holds no socket, no clock and no store. Whoever drives it calls [`Session::step`] with what
//! happened, says what the step says, and does the one thing that the step asks for next.

use super::codec::Framing;
use super::command::{Chunk, Client, Command, Syntax};
use super::offer;
use super::path::{Forward, Mail, Rcpt};
use super::reply::Reply;
use crate::mail::address::{Address, Sender};
use crate::mail::body::Body;
use crate::mail::envelope::{Charset, Envelope, Recipient};
use crate::mail::trace::Protocol;
use crate::store::outcome::{Error, Receipt, Route};
use smallvec::{SmallVec, smallvec};
use std::mem;
use std::sync::Arc;

/// A session that was refused this often, for good each time, is closed.
pub const ERRORS_MAX: u32 = 20;

/// What a server is called and what it allows; the same for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The name in the greeting and in `Received:` lines.
    pub hostname: Box<str>,
    /// Where mail for `<postmaster>` without a domain goes.
    pub postmaster: Address,
    /// Largest message in octets.
    pub message_octets_max: u64,
    /// Most recipients of one transaction.
    pub recipients_max: usize,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line came, here without its CRLF.
    Line(&'a [u8]),
    /// A line was longer than a line may be.
    LineTooLong,
    /// A line held a LF without CR.
    BareNewline,
    /// The message of DATA, or of all chunks up to the last, was read to its end.
    Body(Result<Body, BodyFault>),
    /// A chunk that is not the last was read to its end.
    Chunk(Result<(), BodyFault>),
    /// The octets of a refused chunk were read and thrown away.
    Skipped,
    /// The answer to what the last step asked.
    Answer(Answer),
    /// Nothing came for too long.
    Idle,
    /// The server is stopping.
    Stop,
}

/// Why a message that was read to its end is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It is larger than [`Terms::message_octets_max`].
    TooBig,
    /// A CR or LF stood alone.
    BareNewline,
    /// Its header is larger than [`crate::mail::trace::HEADER_OCTETS_MAX`].
    HeaderTooBig,
    /// It has gone through [`crate::mail::trace::HOPS_MAX`] servers.
    Loop,
    /// It could not be staged.
    Store(Error),
}

/// What to say, and the one thing to do then.
#[derive(Debug)]
pub struct Step {
    /// Replies, in order.
    pub say: SmallVec<[Reply; 1]>,
    /// What to do next.
    pub next: Next,
}

/// The one thing to do next.
#[derive(Debug)]
pub enum Next {
    /// Read a line.
    Read,
    /// Read what is not lines.
    Body(Framing),
    /// Find an answer.
    Ask(Ask),
    /// Close the connection. The session is over.
    Close,
}

/// A question that only others can answer.
#[derive(Debug)]
pub enum Ask {
    /// Where does mail for this address go, when it is of the given size in octets?
    Route(Address, Option<u64>),
    /// Keep this message.
    Deliver(Envelope, Body),
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Route`].
    Route(Result<Route, Error>),
    /// To [`Ask::Deliver`].
    Deliver(Result<Receipt, Error>),
}

/// One SMTP session.
#[derive(Debug)]
pub struct Session {
    terms: Arc<Terms>,
    errors: u32,
    phase: Phase,
}

/// Where a session is. What belongs to a transaction lives in its variant and ends with it.
#[derive(Debug)]
enum Phase {
    /// Greeted, and neither EHLO nor HELO has come.
    Connected,
    /// No transaction is under way.
    Ready(Client),
    /// MAIL was accepted; recipients are being named.
    Transaction(Transaction),
    /// RCPT has come; where its mail goes was asked.
    Routing(Transaction, Address),
    /// A message comes in, or the last chunk of one.
    Receiving(Transaction),
    /// A chunk comes in that is not the last.
    ReceivingChunk(Transaction, Received),
    /// Chunks have come in, the last has not.
    Chunks(Transaction, Received),
    /// A message was handed to the store.
    Delivering(Client),
    /// Over.
    Closed,
}

/// A mail transaction (RFC 5321 §3.3).
#[derive(Debug)]
struct Transaction {
    client: Client,
    envelope: Envelope,
    /// Recipients that were refused.
    refused: u32,
}

/// How much of a message has come in chunks.
#[derive(Clone, Copy, Debug)]
struct Received {
    /// With all chunks so far.
    octets: u64,
    /// With the chunk that came last.
    latest: u64,
}

impl Session {
    /// A session, and its first words.
    #[must_use]
    pub fn new(terms: Arc<Terms>) -> (Session, Reply) {
        let greeting = Reply::greeting(&terms.hostname);
        (Session { terms, errors: 0, phase: Phase::Connected }, greeting)
    }

    /// Who the client says it is, when it has.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        match &self.phase {
            Phase::Ready(client) | Phase::Delivering(client) => Some(client),
            Phase::Transaction(mail) | Phase::Routing(mail, _) | Phase::Receiving(mail) => Some(&mail.client),
            Phase::ReceivingChunk(mail, _) | Phase::Chunks(mail, _) => Some(&mail.client),
            Phase::Connected | Phase::Closed => None,
        }
    }

    /// Whether a message comes in, or has come in part. When not, whatever was kept of one can be
    /// thrown away.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Receiving(_) | Phase::ReceivingChunk(..) | Phase::Chunks(..))
    }

    /// Takes what happened, says what to do.
    pub fn step(&mut self, event: Event<'_>) -> Step {
        let phase = mem::replace(&mut self.phase, Phase::Closed);
        let (phase, step) = match (phase, event) {
            (Phase::Closed, _) => (Phase::Closed, Step { say: smallvec![], next: Next::Close }),
            (_, Event::Stop) => end(Reply::STOPPING),
            (_, Event::Idle) => end(Reply::TIMEOUT),
            (phase, Event::Line(line)) => self.line(phase, line),
            (phase, Event::LineTooLong) => say(phase, Reply::LINE_TOO_LONG),
            (phase, Event::BareNewline) => say(phase, Reply::BARE_NEWLINE),
            (phase, Event::Skipped) => (phase, Step { say: smallvec![], next: Next::Read }),
            (Phase::Routing(mail, to), Event::Answer(Answer::Route(route))) => routed(mail, to, route),
            (Phase::Receiving(mail), Event::Body(Ok(body))) => {
                let Transaction { client, envelope, .. } = mail;
                (Phase::Delivering(client), ask(Ask::Deliver(envelope, body)))
            }
            (Phase::ReceivingChunk(mail, received), Event::Chunk(Ok(()))) => {
                say(Phase::Chunks(mail, received), Reply::chunk_taken(received.latest))
            }
            // RFC 5321 §4.1.1.4: a message that fails takes its whole transaction with it.
            (Phase::Receiving(mail), Event::Body(Err(fault)))
            | (Phase::ReceivingChunk(mail, _), Event::Chunk(Err(fault))) => {
                say(Phase::Ready(mail.client), Reply::fault(&fault, self.terms.message_octets_max))
            }
            (Phase::Delivering(client), Event::Answer(Answer::Deliver(kept))) => say(
                Phase::Ready(client),
                match kept {
                    Ok(receipt) => Reply::accepted(&receipt),
                    Err(error) => Reply::trouble(&error),
                },
            ),
            // The driver gave an answer that nobody asked for; no guess is better than the end.
            (_, Event::Body(_) | Event::Chunk(_) | Event::Answer(_)) => end(Reply::CONFUSED),
        };
        self.phase = phase;
        self.count_errors(step)
    }

    fn line(&self, phase: Phase, line: &[u8]) -> (Phase, Step) {
        match Command::parse(line) {
            Ok(command) => self.command(phase, command),
            // A web browser was made to talk to this port, or the next octets of a chunk cannot be
            // told from commands: in both cases nothing that follows may be read.
            Err(fault @ (Syntax::Web | Syntax::BadChunk)) => end(Reply::syntax(&fault)),
            Err(fault @ Syntax::BadRecipient(_)) => say(phase.with_refusal(), Reply::syntax(&fault)),
            Err(fault) => say(phase, Reply::syntax(&fault)),
        }
    }

    fn command(&self, phase: Phase, command: Command) -> (Phase, Step) {
        match (phase, command) {
            (phase, Command::Noop) => say(phase, Reply::OK),
            (phase, Command::Help) => say(phase, Reply::HELP),
            // RFC 5321 §3.5.3: who exists is told to nobody, and 252 says so without an error.
            (phase, Command::Vrfy) => say(phase, Reply::NOT_VERIFIED),
            (phase, Command::Expn) => say(phase, Reply::NO_LISTS),
            (_, Command::Quit) => end(Reply::BYE),
            // RFC 5321 §4.1.4: EHLO in the middle of a session does what RSET does.
            (_, Command::Hello(client)) => self.hello(client),
            (phase, Command::Rset) => say(phase.reset(), Reply::OK),

            (Phase::Connected, Command::Bdat(chunk)) => skip(Phase::Connected, chunk, Reply::HELLO_FIRST),
            (Phase::Connected, _) => say(Phase::Connected, Reply::HELLO_FIRST),

            (Phase::Ready(client), Command::Mail(mail)) => self.mail(client, mail),
            // RFC 5321 §4.1.4: one transaction at a time.
            (Phase::Chunks(mail, received), Command::Mail(_) | Command::Rcpt(_) | Command::Data) => {
                say(Phase::Chunks(mail, received), Reply::IN_CHUNKS)
            }
            (phase, Command::Mail(_)) => say(phase, Reply::NESTED_MAIL),

            (Phase::Transaction(mail), Command::Rcpt(rcpt)) => self.rcpt(mail, rcpt),
            (Phase::Transaction(mail), Command::Data) => match mail.unfit() {
                Some(reply) => say(Phase::Transaction(mail), reply),
                None => receive(Phase::Receiving(mail), Some(Reply::SEND_DATA), Framing::Dot),
            },
            // Nothing may make up for a chunk that was refused: a message that went on with the next
            // one would lack its beginning, so the transaction ends with it.
            (Phase::Transaction(mail), Command::Bdat(chunk)) => match mail.unfit() {
                Some(reply) => skip(Phase::Ready(mail.client), chunk, reply),
                None => self.chunk(mail, None, chunk),
            },
            (Phase::Chunks(mail, received), Command::Bdat(chunk)) => self.chunk(mail, Some(received), chunk),

            // RFC 3030 §2: after a chunk was refused those that follow are refused, and swallowed.
            (phase, Command::Bdat(chunk)) => skip(phase, chunk, Reply::MAIL_FIRST),
            (phase, Command::Rcpt(_) | Command::Data) => say(phase, Reply::MAIL_FIRST),
        }
    }

    fn hello(&self, client: Client) -> (Phase, Step) {
        let extensions = match client.protocol {
            Protocol::Esmtp => offer::extensions(&self.terms),
            Protocol::Smtp => Vec::new(),
        };
        say(Phase::Ready(client), Reply::hello(&self.terms.hostname, &extensions))
    }

    fn mail(&self, client: Client, mail: Mail) -> (Phase, Step) {
        let Mail { from, written, params } = mail;
        // RFC 1870 §6.1: a message that is announced as too big need not be sent to be refused.
        let refusal = if client.protocol == Protocol::Smtp && !params.is_empty() {
            Reply::EHLO_FOR_PARAMETERS
        } else if (written, params.charset) == (Charset::Utf8, Charset::Ascii) {
            Reply::NEEDS_SMTPUTF8
        } else if params.size.is_some_and(|octets| octets > self.terms.message_octets_max) {
            Reply::too_big(self.terms.message_octets_max)
        } else {
            return say(Phase::Transaction(Transaction::new(client, from, &params)), Reply::SENDER_OK);
        };
        say(Phase::Ready(client), refusal)
    }

    fn rcpt(&self, mut mail: Transaction, rcpt: Rcpt) -> (Phase, Step) {
        // RFC 6531 §3.5: an address beyond ASCII is for transactions that were announced so.
        let refusal = if (rcpt.written, mail.envelope.charset) == (Charset::Utf8, Charset::Ascii) {
            Reply::NEEDS_SMTPUTF8
        // RFC 5321 §4.5.3.1.10: the ones too many wait for the next transaction, none is lost.
        } else if mail.envelope.recipients.len() >= self.terms.recipients_max {
            Reply::TOO_MANY_RECIPIENTS
        } else {
            let address = match rcpt.to {
                Forward::Address(address) => address,
                Forward::Postmaster => self.terms.postmaster.clone(),
            };
            let question = Ask::Route(address.clone(), mail.envelope.declared_octets);
            return (Phase::Routing(mail, address), ask(question));
        };
        mail.refused += 1;
        say(Phase::Transaction(mail), refusal)
    }

    /// `before` is what came in earlier chunks of the message, if there were any.
    fn chunk(&self, mail: Transaction, before: Option<Received>, chunk: Chunk) -> (Phase, Step) {
        let octets_max = self.terms.message_octets_max;
        let so_far = before.map_or(0, |received| received.octets);
        let Some(octets) = so_far.checked_add(chunk.size).filter(|octets| *octets <= octets_max) else {
            return skip(Phase::Ready(mail.client), chunk, Reply::too_big(octets_max));
        };
        let framing = Framing::Chunk { size: chunk.size, first: before.is_none(), last: chunk.last };
        let phase = if chunk.last {
            Phase::Receiving(mail)
        } else {
            Phase::ReceivingChunk(mail, Received { octets, latest: chunk.size })
        };
        receive(phase, None, framing)
    }

    /// Ends the session when it has been refused too often. A refusal that may pass does not count:
    /// it is not the fault of the client.
    fn count_errors(&mut self, mut step: Step) -> Step {
        self.errors += u32::from(step.say.iter().any(Reply::is_error));
        if self.errors >= ERRORS_MAX && !matches!(step.next, Next::Close) {
            self.phase = Phase::Closed;
            // RFC 5321 §3.8: a server that has had enough says 421 before it closes.
            step.say.push(Reply::TOO_MANY_ERRORS);
            step.next = Next::Close;
        }
        step
    }
}

impl Phase {
    /// What RSET leaves.
    fn reset(self) -> Phase {
        match self {
            Phase::Transaction(mail) | Phase::Routing(mail, _) | Phase::Receiving(mail) => {
                Phase::Ready(mail.client)
            }
            Phase::ReceivingChunk(mail, _) | Phase::Chunks(mail, _) => Phase::Ready(mail.client),
            Phase::Delivering(client) => Phase::Ready(client),
            Phase::Connected | Phase::Ready(_) | Phase::Closed => self,
        }
    }

    /// One recipient more was refused.
    fn with_refusal(mut self) -> Phase {
        if let Phase::Transaction(mail) = &mut self {
            mail.refused += 1;
        }
        self
    }
}

impl Transaction {
    fn new(client: Client, from: Sender, params: &super::path::MailParams) -> Transaction {
        let envelope =
            Envelope { from, recipients: Vec::new(), declared_octets: params.size, charset: params.charset };
        Transaction { client, envelope, refused: 0 }
    }

    /// Why no message can follow, if so.
    fn unfit(&self) -> Option<Reply> {
        // RFC 5321 §4.1.1.4: no RCPT at all is a wrong order, none that was accepted is a failure.
        match (self.envelope.recipients.is_empty(), self.refused) {
            (true, 0) => Some(Reply::RCPT_FIRST),
            (true, _) => Some(Reply::NO_VALID_RECIPIENTS),
            (false, _) => None,
        }
    }
}

fn routed(mut mail: Transaction, address: Address, route: Result<Route, Error>) -> (Phase, Step) {
    let reply = match route {
        Ok(Route::Mailboxes(mailboxes)) => {
            mail.envelope.recipients.push(Recipient { address, mailboxes });
            return say(Phase::Transaction(mail), Reply::RECIPIENT_OK);
        }
        Ok(Route::Foreign) => Reply::NOT_OURS,
        Ok(Route::Unknown) => Reply::NO_MAILBOX,
        Ok(Route::Full(_)) => Reply::MAILBOX_FULL,
        Err(error) => Reply::trouble(&error),
    };
    mail.refused += 1;
    say(Phase::Transaction(mail), reply)
}

fn say(phase: Phase, reply: Reply) -> (Phase, Step) {
    (phase, Step { say: smallvec![reply], next: Next::Read })
}

fn ask(question: Ask) -> Step {
    Step { say: smallvec![], next: Next::Ask(question) }
}

fn receive(phase: Phase, reply: Option<Reply>, framing: Framing) -> (Phase, Step) {
    (phase, Step { say: reply.into_iter().collect(), next: Next::Body(framing) })
}

/// Refuses a chunk. Its octets come all the same, and must not be read as commands.
fn skip(phase: Phase, chunk: Chunk, reply: Reply) -> (Phase, Step) {
    receive(phase, Some(reply), Framing::Skip { size: chunk.size })
}

fn end(reply: Reply) -> (Phase, Step) {
    (Phase::Closed, Step { say: smallvec![reply], next: Next::Close })
}
