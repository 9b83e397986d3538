//! AUTH (RFC 4954): the part of a session from the command to the verdict.

use super::{Answer, Ask, COMMAND, Event, FAILED_LOGINS_MAX, Next, Phase, Session, Step, ask, end, say};
use crate::auth::outcome::{Denied, Login};
use crate::mail::secret::Secret;
use crate::mail::trace::Protocol;
use crate::smtp::codec::Awaiting;
use crate::smtp::command::{Auth, Client};
use crate::smtp::reply::Reply;
use crate::wire::access::Access;
use crate::wire::sasl::{Evidence, Exchange, Fault, Mechanism, Turn};
use smallvec::smallvec;

/// How far a login has come.
#[derive(Debug)]
pub(super) enum Exchanging {
    /// AUTH has come; fresh random octets were asked for.
    Beginning { mechanism: Mechanism, initial: Option<Secret> },
    /// A challenge was sent. The login is there when the client has only to acknowledge the server's
    /// proof.
    Challenged(Box<Exchange>, Option<Login>),
    /// What SCRAM needs was asked for.
    Looking(Box<Exchange>),
    /// Whether the client is right was asked.
    Checking(Box<Exchange>),
    /// The exchange has failed in a way that counts, and is being counted.
    Failing(Fault),
}

impl Session {
    pub(super) fn auth(&self, phase: Phase, auth: &Auth<'_>) -> (Phase, Step) {
        if !self.offer.has_logins() {
            return say(phase, Reply::NOT_OFFERED);
        }
        // RFC 4954 §4: once in a session, after EHLO, and not within a transaction.
        if self.login.is_some() {
            return say(phase, Reply::LOGGED_IN_BEFORE);
        }
        let client = match phase {
            Phase::Ready(client) | Phase::Failed(client, _) if client.protocol != Protocol::Smtp => client,
            phase @ (Phase::Connected | Phase::Ready(_) | Phase::Failed(..)) => {
                return say(phase, Reply::EHLO_FIRST);
            }
            phase => return say(phase, Reply::NO_AUTH_NOW),
        };
        let offered = self.offer.mechanisms();
        if offered.is_empty() {
            return say(Phase::Ready(client), Reply::ENCRYPT_FIRST);
        }
        match auth.mechanism.filter(|mechanism| offered.contains(mechanism)) {
            Some(mechanism) => {
                let initial = auth.initial.map(|octets| Secret::new(octets.to_vec()));
                (Phase::Exchanging(client, Exchanging::Beginning { mechanism, initial }), ask(Ask::Nonce))
            }
            None => say(Phase::Ready(client), Reply::NO_MECHANISM),
        }
    }

    /// Every event of a login under way.
    pub(super) fn exchange(
        &mut self,
        client: Client,
        under_way: Exchanging,
        event: Event<'_>,
    ) -> (Phase, Step) {
        match (under_way, event) {
            (Exchanging::Beginning { mechanism, initial }, Event::Answer(Answer::Nonce(Ok(nonce)))) => {
                let initial = initial.as_ref().map(Secret::expose);
                let Access { security, strictness, .. } = &self.offer;
                let (exchange, turn) = Exchange::begin(mechanism, initial, security, nonce, *strictness);
                self.turn(client, Box::new(exchange), None, turn)
            }
            (Exchanging::Beginning { .. }, Event::Answer(Answer::Nonce(Err(_)))) => {
                say(Phase::Ready(client), Reply::login_trouble())
            }
            (Exchanging::Challenged(mut exchange, login), Event::Line(line)) => {
                let turn = exchange.line(line);
                self.turn(client, exchange, login, turn)
            }
            // RFC 4954 §4: a response that is too long ends the exchange.
            (Exchanging::Challenged(..), Event::LineTooLong) => {
                say(Phase::Ready(client), Reply::RESPONSE_TOO_LONG)
            }
            (Exchanging::Challenged(..), Event::BareNewline) => {
                say(Phase::Ready(client), Reply::BARE_NEWLINE)
            }
            (Exchanging::Looking(mut exchange), Event::Answer(Answer::Parameters(Ok(parameters)))) => {
                let turn = exchange.parameters(&parameters);
                self.turn(client, exchange, None, turn)
            }
            (Exchanging::Checking(mut exchange), Event::Answer(Answer::Check(Ok(verified)))) => {
                let turn = exchange.verified(verified.signature);
                self.turn(client, exchange, Some(verified.login), turn)
            }
            (Exchanging::Looking(_), Event::Answer(Answer::Parameters(Err(denied))))
            | (Exchanging::Checking(_), Event::Answer(Answer::Check(Err(denied)))) => {
                self.denied(client, &denied)
            }
            (Exchanging::Failing(fault), Event::Answer(Answer::Check(Err(Denied::Credentials)))) => {
                self.failed(client, Reply::exchange(fault))
            }
            (Exchanging::Failing(_), Event::Answer(Answer::Check(Err(denied)))) => {
                self.denied(client, &denied)
            }
            // The driver told of something that nobody asked for; no guess is better than the end.
            _ => end(Reply::CONFUSED),
        }
    }

    /// Does what an exchange wants next.
    fn turn(
        &mut self,
        client: Client,
        exchange: Box<Exchange>,
        login: Option<Login>,
        turn: Turn,
    ) -> (Phase, Step) {
        match (turn, login) {
            (Turn::Challenge(base64), login) => {
                let step =
                    Step { say: smallvec![Reply::challenge(base64)], next: Next::Read(Awaiting::Response) };
                (Phase::Exchanging(client, Exchanging::Challenged(exchange, login)), step)
            }
            (Turn::Parameters(user), None) => {
                (Phase::Exchanging(client, Exchanging::Looking(exchange)), ask(Ask::Parameters(user)))
            }
            (Turn::Check(evidence), None) => {
                (Phase::Exchanging(client, Exchanging::Checking(exchange)), ask(Ask::Check(evidence)))
            }
            (Turn::Done, Some(login)) => {
                self.login = Some(login);
                say(Phase::Ready(client), Reply::LOGGED_IN)
            }
            // With another binding somebody on the way has another connection than the client believes:
            // as bad as a wrong password, and counted like one.
            (Turn::Failed(fault), None) if fault.is_a_guess() => {
                let phase = Phase::Exchanging(client, Exchanging::Failing(fault));
                (phase, ask(Ask::Check(Evidence::Void(fault))))
            }
            // RFC 4954 §4: `*` cancels, and what is not base64 is an error; neither is a wrong password.
            (Turn::Failed(fault), _) => say(Phase::Ready(client), Reply::exchange(fault)),
            (Turn::Parameters(_) | Turn::Check(_), Some(_)) | (Turn::Done, None) => end(Reply::CONFUSED),
        }
    }

    fn denied(&mut self, client: Client, denied: &Denied) -> (Phase, Step) {
        match denied {
            Denied::Credentials => self.failed(client, Reply::DENIED),
            Denied::Blocked => end(Reply::TOO_MANY_LOGINS),
            Denied::Store(_) => say(Phase::Ready(client), Reply::login_trouble()),
        }
    }

    fn failed(&mut self, client: Client, reply: Reply) -> (Phase, Step) {
        self.failed_logins += 1;
        if self.failed_logins < FAILED_LOGINS_MAX {
            return (Phase::Ready(client), Step { say: smallvec![reply], next: COMMAND });
        }
        (Phase::Closed, Step { say: smallvec![reply, Reply::TOO_MANY_LOGINS], next: Next::Close })
    }
}
