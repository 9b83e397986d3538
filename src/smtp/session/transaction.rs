//! A mail transaction (RFC 5321 §3.3): the part of a session from MAIL to the verdict.

use super::{Ask, Phase, Session, Step, ask, receive, say, skip_saying};
use crate::mail::address::{Address, Sender};
use crate::mail::body::Message;
use crate::mail::envelope::{Charset, Envelope, Recipient};
use crate::mail::trace::Protocol;
use crate::smtp::codec::Framing;
use crate::smtp::command::{Chunk, Client};
use crate::smtp::path::{Forward, Mail, MailParams, Rcpt};
use crate::smtp::reply::Reply;
use crate::smtp::role::{Senders, Verdict};
use crate::smtp::syntax::Syntax;
use crate::store::outcome::{Error, Route};

/// A mail transaction (RFC 5321 §3.3).
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) client: Client,
    pub(super) envelope: Envelope,
    /// Recipients that were refused.
    pub(super) refused: u32,
}

/// How much of a message has come in chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// With all chunks so far.
    octets: u64,
    /// With the chunk that came last.
    pub(super) latest: u64,
}

impl Session {
    pub(super) fn mail(&self, client: Client, mail: Mail) -> (Phase, Step) {
        let Mail { from, written, params } = mail;
        // RFC 1870 §6.1: a message that is announced as too big need not be sent to be refused.
        let refusal = if let Some(reply) = self.stranger() {
            reply
        } else if client.protocol == Protocol::Smtp && !params.is_empty() {
            Reply::EHLO_FOR_PARAMETERS
        // RFC 4954 §5: the parameter belongs to the extension, and is known where that is.
        } else if params.submitter.is_some() && self.offer.mechanisms().is_empty() {
            Reply::syntax(&Syntax::UnknownParameter)
        } else if (written, params.charset) == (Charset::Utf8, Charset::Ascii) {
            Reply::NEEDS_SMTPUTF8
        } else if params.size.is_some_and(|octets| octets > self.terms.message_octets_max) {
            Reply::too_big(self.terms.message_octets_max)
        } else {
            return self.begin(Transaction::new(client, from, &params));
        };
        say(Phase::Failed(client, 0), refusal)
    }

    /// What a client is told that would have to log in before MAIL and has not.
    fn stranger(&self) -> Option<Reply> {
        if self.terms.role.rules().senders == Senders::Anyone || self.login.is_some() {
            return None;
        }
        // RFC 3207 §4 and RFC 6409 §4.3: 530 for both, which says what is missing first.
        Some(if self.offer.mechanisms().is_empty() { Reply::TLS_FIRST } else { Reply::AUTH_FIRST })
    }

    fn begin(&self, mail: Transaction) -> (Phase, Step) {
        match (self.terms.role.rules().senders, &self.login) {
            // RFC 6409 §6.1: whether an account may use an address is for the server to say. With the
            // null reverse-path mail programs confirm the reading of a message, so it is asked too,
            // because the account may be gone since the login.
            (Senders::Accounts, Some(login)) => {
                let question = Ask::MaySend(login.clone(), mail.envelope.from.clone());
                (Phase::Permitting(mail), ask(question))
            }
            _ => say(Phase::Transaction(mail), Reply::SENDER_OK),
        }
    }

    pub(super) fn rcpt(&self, mut mail: Transaction, rcpt: Rcpt) -> (Phase, Step) {
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
    pub(super) fn chunk(&self, mail: Transaction, before: Option<Received>, chunk: Chunk) -> (Phase, Step) {
        let octets_max = self.terms.message_octets_max;
        let so_far = before.map_or(0, |received| received.octets);
        let Some(octets) = so_far.checked_add(chunk.size).filter(|octets| *octets <= octets_max) else {
            let recipients = mail.envelope.recipients.len();
            return self.refuse_chunk(mail.client, recipients, chunk, Reply::too_big(octets_max));
        };
        let framing = Framing::Chunk { size: chunk.size, first: before.is_none(), last: chunk.last };
        let phase = if chunk.last {
            Phase::Receiving(mail)
        } else {
            Phase::ReceivingChunk(mail, Received { octets, latest: chunk.size })
        };
        receive(phase, None, framing)
    }

    /// Refuses a chunk of a transaction for which so many recipients were accepted, and with it the
    /// transaction.
    pub(super) fn refuse_chunk(
        &self,
        client: Client,
        recipients: usize,
        chunk: Chunk,
        reply: Reply,
    ) -> (Phase, Step) {
        if !chunk.last {
            return skip_saying(Phase::Failed(client, recipients), chunk, vec![reply]);
        }
        // RFC 2033 §4.3: the last chunk has a reply for each recipient that was accepted, so none when
        // none was.
        let replies = match self.terms.role.rules().verdict {
            Verdict::One => 1,
            Verdict::EachRecipient => recipients,
        };
        skip_saying(Phase::Ready(client), chunk, vec![reply; replies])
    }

    pub(super) fn deliver(&self, mail: Transaction, message: Message) -> (Phase, Step) {
        let Transaction { client, envelope, .. } = mail;
        let phase = Phase::Delivering(client, envelope.recipients.len());
        let question = match self.terms.role.rules().verdict {
            Verdict::One => Ask::Deliver(envelope, message),
            Verdict::EachRecipient => Ask::DeliverEach(envelope, message),
        };
        (phase, ask(question))
    }

    /// How many replies the end of the message gets.
    pub(super) fn verdicts(&self, mail: &Transaction) -> usize {
        match self.terms.role.rules().verdict {
            Verdict::One => 1,
            Verdict::EachRecipient => mail.envelope.recipients.len(),
        }
    }

    /// Why no message can follow, if so.
    pub(super) fn unfit(&self, mail: &Transaction) -> Option<Reply> {
        if !mail.envelope.recipients.is_empty() {
            return None;
        }
        Some(match (self.terms.role.rules().verdict, mail.refused) {
            (_, 0) => Reply::RCPT_FIRST,
            // RFC 5321 §4.1.1.4: no RCPT at all is a wrong order, none that was accepted is a failure.
            (Verdict::One, _) => Reply::NO_VALID_RECIPIENTS,
            // RFC 2033 §4.2: here it is 503 in both cases.
            (Verdict::EachRecipient, _) => Reply::NO_LMTP_RECIPIENTS,
        })
    }
}

impl Transaction {
    fn new(client: Client, from: Sender, params: &MailParams) -> Transaction {
        let envelope =
            Envelope { from, recipients: Vec::new(), declared_octets: params.size, charset: params.charset };
        Transaction { client, envelope, refused: 0 }
    }

    /// What is left when it is refused.
    pub(super) fn failed(self) -> Phase {
        Phase::Failed(self.client, self.envelope.recipients.len())
    }
}

pub(super) fn routed(mut mail: Transaction, address: Address, route: Result<Route, Error>) -> (Phase, Step) {
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
