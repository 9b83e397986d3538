//! The state machine: one event in, one step out. The diagram is in [`super`].
//!
//! It holds no socket, no clock and no store. Whoever drives it calls [`Session::step`] with what
//! happened, says what the step says, and does the one thing that the step asks for next.

mod event;
mod login;
mod transaction;

pub use event::{Answer, Ask, Event, Next, Step};

use super::codec::{Awaiting, Framing};
use super::command::{Chunk, Client, Command};
use super::offer::{self, LoggedIn, Offer};
use super::reply::Reply;
use super::role::{Errors, Terms, Verdict};
use super::syntax::Syntax;
use crate::auth::outcome::Login;
use crate::mail::address::Address;
use crate::mail::trace::Protocol;
use crate::store::outcome::{Error, Receipt};
use login::Exchanging;
use smallvec::smallvec;
use std::mem;
use std::sync::Arc;
use transaction::{Received, Transaction, routed};

/// A session that was refused this often, for good each time, is closed.
pub const ERRORS_MAX: u32 = 20;

/// The failed login that ends its session.
pub const FAILED_LOGINS_MAX: u32 = 3;

const COMMAND: Next = Next::Read(Awaiting::Command);

/// One session of SMTP or LMTP.
#[derive(Debug)]
pub struct Session {
    terms: Arc<Terms>,
    offer: Offer,
    login: Option<Login>,
    errors: u32,
    failed_logins: u32,
    phase: Phase,
}

/// Where a session is. What belongs to a transaction lives in its variant and ends with it.
#[derive(Debug)]
enum Phase {
    /// Greeted, and the client has not said who it is.
    Connected,
    /// STARTTLS was accepted; the handshake is under way.
    Securing,
    /// No transaction is under way.
    Ready(Client),
    /// The transaction is refused, by MAIL or by a chunk, for which so many recipients had been accepted.
    /// What was sent ahead for it still comes.
    Failed(Client, usize),
    /// The client is logging in.
    Exchanging(Client, Exchanging),
    /// MAIL has come; whether the account may send from there was asked.
    Permitting(Transaction),
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
    /// A message for so many recipients was handed to the store.
    Delivering(Client, usize),
    /// Over.
    Closed,
}

impl Session {
    /// A session, and its first words.
    #[must_use]
    pub fn new(terms: Arc<Terms>, offer: Offer) -> (Session, Reply) {
        let greeting = Reply::greeting(&terms.hostname, terms.role);
        let phase = Phase::Connected;
        (Session { terms, offer, login: None, errors: 0, failed_logins: 0, phase }, greeting)
    }

    /// Who the client says it is, when it has.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        match &self.phase {
            Phase::Ready(client)
            | Phase::Failed(client, _)
            | Phase::Delivering(client, _)
            | Phase::Exchanging(client, _) => Some(client),
            Phase::Transaction(mail)
            | Phase::Permitting(mail)
            | Phase::Routing(mail, _)
            | Phase::Receiving(mail)
            | Phase::ReceivingChunk(mail, _)
            | Phase::Chunks(mail, _) => Some(&mail.client),
            Phase::Connected | Phase::Securing | Phase::Closed => None,
        }
    }

    /// Who has logged in.
    #[must_use]
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// How many logins have failed.
    #[must_use]
    pub fn failed_logins(&self) -> u32 {
        self.failed_logins
    }

    /// What this session can do, and what protects it.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Whether a message comes in, or has come in part. When not, whatever was kept of one can be
    /// thrown away.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Receiving(_) | Phase::ReceivingChunk(..) | Phase::Chunks(..))
    }

    /// Whether there are recipients, or may be: else what is held for them can be thrown away.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        let is_out = matches!(
            self.phase,
            Phase::Connected
                | Phase::Securing
                | Phase::Ready(_)
                | Phase::Failed(..)
                | Phase::Exchanging(..)
                | Phase::Closed
        );
        !is_out
    }

    /// Takes what happened, says what to do.
    pub fn step(&mut self, event: Event<'_>) -> Step {
        let phase = mem::replace(&mut self.phase, Phase::Closed);
        let (phase, step) = match (phase, event) {
            (Phase::Closed, _) => (Phase::Closed, Step { say: smallvec![], next: Next::Close }),
            (_, Event::Stop) => end(Reply::STOPPING),
            (_, Event::Idle) => end(Reply::TIMEOUT),
            (Phase::Exchanging(client, under_way), event) => self.exchange(client, under_way, event),
            // RFC 3207 §4.2: all that was said before TLS is forgotten. Not how often it went wrong,
            // or STARTTLS would be a way around the limits.
            (Phase::Securing, Event::Secured(offer)) => {
                self.offer = offer;
                self.login = None;
                (Phase::Connected, Step { say: smallvec![], next: COMMAND })
            }
            (phase, Event::Answer(answer)) => self.answer(phase, answer),
            (Phase::Securing, _) => end(Reply::CONFUSED),
            (phase, Event::Line(line)) => self.line(phase, line),
            (phase, Event::LineTooLong) => say(phase, Reply::LINE_TOO_LONG),
            (phase, Event::BareNewline) => say(phase, Reply::BARE_NEWLINE),
            (phase, Event::Skipped) => (phase, Step { say: smallvec![], next: COMMAND }),
            (Phase::Receiving(mail), Event::Body(Ok(message))) => self.deliver(mail, message),
            (Phase::ReceivingChunk(mail, received), Event::Chunk(Ok(()))) => {
                say(Phase::Chunks(mail, received), Reply::chunk_taken(received.latest))
            }
            // RFC 5321 §4.1.1.4: a message that fails takes its whole transaction with it.
            (Phase::Receiving(mail), Event::Body(Err(fault))) => {
                let reply = Reply::fault(&fault, self.terms.message_octets_max);
                let replies = vec![reply; self.verdicts(&mail)];
                (Phase::Ready(mail.client), Step { say: replies.into(), next: COMMAND })
            }
            (Phase::ReceivingChunk(mail, _), Event::Chunk(Err(fault))) => {
                say(mail.failed(), Reply::fault(&fault, self.terms.message_octets_max))
            }
            // The driver told of something that nobody asked for; no guess is better than the end.
            (_, Event::Body(_) | Event::Chunk(_) | Event::Secured(_)) => end(Reply::CONFUSED),
        };
        self.phase = phase;
        self.count_errors(step)
    }

    /// Every answer in every state that has asked, but for those of a login.
    fn answer(&self, phase: Phase, answer: Answer) -> (Phase, Step) {
        let verdict = self.terms.role.rules().verdict;
        match (phase, answer) {
            (Phase::Permitting(mail), Answer::MaySend(allowed)) => match allowed {
                Ok(true) => say(Phase::Transaction(mail), Reply::SENDER_OK),
                Ok(false) => say(mail.failed(), Reply::NOT_YOURS),
                Err(error) => say(mail.failed(), Reply::trouble(&error)),
            },
            (Phase::Routing(mail, to), Answer::Route(route)) => routed(mail, to, route),
            (Phase::Routing(mail, _), Answer::Crowded) => say(
                Phase::Transaction(Transaction { refused: mail.refused + 1, ..mail }),
                Reply::TOO_MANY_RECIPIENTS,
            ),
            (Phase::Delivering(client, _), Answer::Deliver(kept)) if verdict == Verdict::One => say(
                Phase::Ready(client),
                match kept {
                    Ok(receipt) => Reply::accepted(&receipt),
                    Err(error) => Reply::trouble(&error),
                },
            ),
            // RFC 2033 §4.2: one reply for each recipient, in the order of the RCPT commands.
            (Phase::Delivering(client, recipients), Answer::DeliverEach(kept))
                if verdict == Verdict::EachRecipient && kept.len() == recipients =>
            {
                let reply = |kept: Result<Arc<Receipt>, Error>| match kept {
                    Ok(receipt) => Reply::accepted(&receipt),
                    Err(error) => Reply::trouble(&error),
                };
                let say = kept.into_iter().map(reply).collect();
                (Phase::Ready(client), Step { say, next: COMMAND })
            }
            // The driver gave an answer that nobody asked for; no guess is better than the end.
            _ => end(Reply::CONFUSED),
        }
    }

    fn line(&self, phase: Phase, line: &[u8]) -> (Phase, Step) {
        match Command::parse(line) {
            Ok(command) => self.command(phase, command),
            // A web browser was made to talk to this port, or the next octets of a chunk cannot be
            // told from commands: in both cases nothing that follows may be read.
            Err(Syntax::Web) => end(Reply::syntax(&Syntax::Web)),
            Err(Syntax::BadChunk) => {
                let say = smallvec![Reply::syntax(&Syntax::BadChunk), Reply::OUT_OF_STEP];
                (Phase::Closed, Step { say, next: Next::Close })
            }
            Err(fault @ Syntax::BadSender(_)) => say(phase.with_failure(), Reply::syntax(&fault)),
            Err(fault @ Syntax::BadRecipient(_)) => say(phase.with_refusal(), Reply::syntax(&fault)),
            Err(fault) => say(phase, Reply::syntax(&fault)),
        }
    }

    fn command(&self, phase: Phase, command: Command<'_>) -> (Phase, Step) {
        let hello = self.terms.role.rules().hello;
        match (phase, command) {
            (phase, Command::Noop) => say(phase, Reply::OK),
            (phase, Command::Help) => say(phase, Reply::help(hello)),
            // RFC 5321 §3.5.3: who exists is told to nobody, and 252 says so without an error.
            (phase, Command::Vrfy) => say(phase, Reply::NOT_VERIFIED),
            (phase, Command::Expn) => say(phase, Reply::NO_LISTS),
            (_, Command::Quit) => end(Reply::BYE),
            (phase, Command::Hello(client)) if !hello.takes(&client) => say(phase, Reply::other_hello(hello)),
            // RFC 5321 §4.1.4: EHLO in the middle of a session does what RSET does.
            (_, Command::Hello(client)) => self.hello(client),
            (phase, Command::StartTls) => self.start_tls(phase),
            (phase, Command::Auth(auth)) => self.auth(phase, &auth),
            (phase, Command::Rset) => say(phase.reset(), Reply::OK),

            (Phase::Connected, Command::Bdat(chunk)) => {
                skip(Phase::Connected, chunk, Reply::hello_first(hello))
            }
            (Phase::Connected, _) => say(Phase::Connected, Reply::hello_first(hello)),

            (Phase::Ready(client) | Phase::Failed(client, _), Command::Mail(mail)) => self.mail(client, mail),
            // RFC 5321 §4.1.4: one transaction at a time.
            (Phase::Chunks(mail, received), Command::Mail(_) | Command::Rcpt(_) | Command::Data) => {
                say(Phase::Chunks(mail, received), Reply::IN_CHUNKS)
            }
            (phase, Command::Mail(_)) => say(phase, Reply::NESTED_MAIL),

            (Phase::Transaction(mail), Command::Rcpt(rcpt)) => self.rcpt(mail, rcpt),
            (Phase::Transaction(mail), Command::Data) => match self.unfit(&mail) {
                Some(reply) => say(Phase::Transaction(mail), reply),
                None => receive(Phase::Receiving(mail), Some(Reply::SEND_DATA), Framing::Dot),
            },
            // Nothing may make up for a chunk that was refused: a message that went on with the next
            // one would lack its beginning, so the transaction ends with it.
            (Phase::Transaction(mail), Command::Bdat(chunk)) => match self.unfit(&mail) {
                Some(reply) => self.refuse_chunk(mail.client, 0, chunk, reply),
                None => self.chunk(mail, None, chunk),
            },
            (Phase::Chunks(mail, received), Command::Bdat(chunk)) => self.chunk(mail, Some(received), chunk),

            // RFC 3030 §2: after a chunk was refused those that follow are refused, and swallowed.
            (Phase::Failed(client, recipients), Command::Bdat(chunk)) => {
                self.refuse_chunk(client, recipients, chunk, Reply::FAILED)
            }
            // RFC 2920 §3.2: what was sent ahead is answered all the same.
            (Phase::Failed(client, recipients), Command::Rcpt(_) | Command::Data) => {
                say(Phase::Failed(client, recipients), Reply::FAILED)
            }
            (phase, Command::Bdat(chunk)) => skip(phase, chunk, Reply::MAIL_FIRST),
            (phase, Command::Rcpt(_) | Command::Data) => say(phase, Reply::MAIL_FIRST),
        }
    }

    fn hello(&self, client: Client) -> (Phase, Step) {
        let logged_in = if self.login.is_some() { LoggedIn::Yes } else { LoggedIn::No };
        let extensions = match client.protocol {
            Protocol::Esmtp | Protocol::Lmtp => offer::extensions(&self.offer, &self.terms, logged_in),
            Protocol::Smtp => Vec::new(),
        };
        say(Phase::Ready(client), Reply::hello(&self.terms.hostname, &extensions))
    }

    fn start_tls(&self, phase: Phase) -> (Phase, Step) {
        if self.offer.is_secured() {
            // RFC 3207 §4.2: under TLS there is no second STARTTLS.
            return say(phase, Reply::ENCRYPTED);
        }
        match phase {
            phase if !self.offer.can_begin_tls() => say(phase, Reply::NOT_OFFERED),
            // Before EHLO too, as GNU SASL's client does it: what follows begins with EHLO anyway.
            // A transaction under way ends here: it is of the part of the session that is forgotten.
            _ => (Phase::Securing, Step { say: smallvec![Reply::TLS_NEXT], next: Next::StartTls }),
        }
    }

    /// Ends the session when it has been refused too often. A refusal that may pass does not count:
    /// it is not the fault of the client.
    fn count_errors(&mut self, mut step: Step) -> Step {
        let is_error = match self.terms.role.rules().errors {
            Errors::Refusals => Reply::is_error,
            Errors::Protocol => Reply::is_protocol_error,
        };
        self.errors += u32::from(step.say.iter().any(is_error));
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
            Phase::Transaction(mail)
            | Phase::Permitting(mail)
            | Phase::Routing(mail, _)
            | Phase::Receiving(mail)
            | Phase::ReceivingChunk(mail, _)
            | Phase::Chunks(mail, _) => Phase::Ready(mail.client),
            Phase::Failed(client, _) | Phase::Delivering(client, _) | Phase::Exchanging(client, _) => {
                Phase::Ready(client)
            }
            Phase::Connected | Phase::Securing | Phase::Ready(_) | Phase::Closed => self,
        }
    }

    /// MAIL was refused, where it was in place.
    fn with_failure(self) -> Phase {
        match self {
            Phase::Ready(client) | Phase::Failed(client, _) => Phase::Failed(client, 0),
            phase => phase,
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

fn say(phase: Phase, reply: Reply) -> (Phase, Step) {
    (phase, Step { say: smallvec![reply], next: COMMAND })
}

fn ask(question: Ask) -> Step {
    Step { say: smallvec![], next: Next::Ask(question) }
}

fn receive(phase: Phase, reply: Option<Reply>, framing: Framing) -> (Phase, Step) {
    (phase, Step { say: reply.into_iter().collect(), next: Next::Body(framing) })
}

/// Refuses a chunk. Its octets come all the same, and must not be read as commands.
fn skip(phase: Phase, chunk: Chunk, reply: Reply) -> (Phase, Step) {
    skip_saying(phase, chunk, vec![reply])
}

fn skip_saying(phase: Phase, chunk: Chunk, replies: Vec<Reply>) -> (Phase, Step) {
    (phase, Step { say: replies.into(), next: Next::Body(Framing::Skip { size: chunk.size }) })
}

fn end(reply: Reply) -> (Phase, Step) {
    (Phase::Closed, Step { say: smallvec![reply], next: Next::Close })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::body::{Beginning, Body, Message};
    use crate::mail::ids::QueueId;
    use crate::smtp::role::Role;
    use crate::store::outcome::Route;

    /// A session that has handed over a message for two recipients.
    fn delivering(role: Role) -> Session {
        let to = Address::parse("alice@example.org").unwrap();
        let terms = Terms {
            hostname: "mx.example.org".into(),
            postmaster: to.clone(),
            message_octets_max: 1_000,
            recipients_max: 3,
            role,
        };
        let (mut session, _) = Session::new(terms.into(), Offer::default());
        let hello = if role == Role::Lmtp { "LHLO a.example" } else { "EHLO a.example" };
        let rcpt = "RCPT TO:<alice@example.org>";
        for line in [hello, "MAIL FROM:<>", rcpt, rcpt, "DATA"] {
            session.step(Event::Line(line.as_bytes()));
            if line == rcpt {
                session.step(Event::Answer(Answer::Route(Ok(Route::Mailboxes(vec![to.name()])))));
            }
        }
        let message = Message { body: Body::Memory(Vec::new()), beginning: Beginning::Header };
        let step = session.step(Event::Body(Ok(message)));
        assert!(matches!(step.next, Next::Ask(Ask::Deliver(..) | Ask::DeliverEach(..))));
        session
    }

    // proves: RFC 2033 §4.2
    #[test]
    fn a_verdict_that_is_not_for_each_recipient_acknowledges_nothing() {
        let receipt = || Receipt::pretended(QueueId::from_random(1));
        let each = |n| Answer::DeliverEach((0..n).map(|_| Ok(Arc::new(receipt()))).collect());
        for (role, answer, codes) in [
            (Role::Mx, Answer::Deliver(Ok(receipt())), &[250][..]),
            (Role::Mx, each(2), &[421]),
            (Role::Lmtp, each(2), &[250, 250]),
            (Role::Lmtp, each(1), &[421]),
            (Role::Lmtp, each(3), &[421]),
            (Role::Lmtp, Answer::Deliver(Ok(receipt())), &[421]),
        ] {
            let step = delivering(role).step(Event::Answer(answer));
            assert_eq!(step.say.iter().map(Reply::code).collect::<Vec<_>>(), codes);
            assert_eq!(matches!(step.next, Next::Close), codes == [421]);
        }
    }
}
