//! A message becomes deliveries: with SMTP one for all recipients, with LMTP as if each had its own.

use super::Driver;
use crate::mail::address::MailboxName;
use crate::mail::body::{Beginning, Message};
use crate::mail::envelope::{Delivery, Envelope, MailboxCopy, Overdraft, Recipient};
use crate::mail::ids::QueueId;
use crate::mail::trace::{self, Authenticated, Hop};
use crate::smtp::role::Verdict;
use crate::smtp::session::Session;
use crate::store::outcome::{Error, Receipt};
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{Timestamp, tz::TimeZone};
use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::time::Instant;
use tracing::{info, warn};

/// What became of a message for one recipient.
type Kept = Result<Arc<Receipt>, Error>;

impl Driver<'_> {
    /// Keeps a message for all recipients or for none.
    pub(super) async fn deliver(
        &self,
        envelope: &Envelope,
        message: Message,
        session: &Session,
    ) -> Result<Receipt, Error> {
        let began = Instant::now();
        let bits = getrandom::u64()
            .map_err(|error| Error::Unavailable(format!("the system gives no random numbers: {error}")))?;
        let client =
            session.client().ok_or_else(|| Error::Unavailable("a message without a client".into()))?;
        let queue_id = QueueId::from_random(bits);
        let overdraft = match self.context.terms.role.rules().verdict {
            Verdict::One => Overdraft::ForOthers,
            Verdict::EachRecipient => Overdraft::Refused,
        };
        let Message { body, beginning } = message;
        let octets = body.octets();
        let security = &session.offer().security;
        let authenticated = session.login().map_or(Authenticated::No, |_| Authenticated::Yes);
        let hop = Hop {
            helo: &client.name,
            peer: self.peer,
            hostname: &self.context.terms.hostname,
            protocol: client.protocol,
            security,
            authenticated,
            charset: envelope.charset,
            queue_id,
            date: &date(),
        };
        let delivery = Delivery { queue_id, body, copies: copies(envelope, &hop, beginning), overdraft };
        let receipt = self.context.store.deliver(delivery).await.inspect_err(|error| {
            warn!(%queue_id, from = envelope.from.to_string(), octets, %error, "message not kept");
        })?;
        info!(
            %queue_id,
            from = envelope.from.to_string(),
            to = envelope.recipients.len(),
            octets,
            protocol = client.protocol.name(envelope.charset, security, authenticated),
            peer = %self.peer,
            ms = began.elapsed().as_millis() as u64,
            "message accepted"
        );
        Ok(receipt)
    }

    /// Keeps a message for each recipient by itself. A delivery that is refused for one mailbox has
    /// changed nothing, so it is tried again for the recipients that do not lead there: those who
    /// are left share one body and one commit, and a staged body is still there to be named.
    pub(super) async fn deliver_each(
        &self,
        mut envelope: Envelope,
        message: Message,
        session: &Session,
    ) -> Vec<Kept> {
        let mut round = Round::new(mem::take(&mut envelope.recipients));
        while !round.is_over() {
            envelope.recipients = round.waiting();
            let kept = self.deliver(&envelope, message.clone(), session).await;
            round.decide(kept);
        }
        round.verdicts()
    }
}

/// The recipients of a message, and what is known of each.
struct Round {
    recipients: Vec<(Recipient, Option<Kept>)>,
}

impl Round {
    fn new(recipients: Vec<Recipient>) -> Round {
        Round { recipients: recipients.into_iter().map(|recipient| (recipient, None)).collect() }
    }

    fn is_over(&self) -> bool {
        self.recipients.iter().all(|(_, verdict)| verdict.is_some())
    }

    fn waiting(&self) -> Vec<Recipient> {
        let waiting = self.recipients.iter().filter(|(_, verdict)| verdict.is_none());
        waiting.map(|(recipient, _)| recipient.clone()).collect()
    }

    /// A delivery for all that wait has ended so. At least one of them has a verdict then.
    fn decide(&mut self, kept: Result<Receipt, Error>) {
        let verdict = kept.map(Arc::new);
        let mut waiting: Vec<_> =
            self.recipients.iter_mut().filter(|(_, verdict)| verdict.is_none()).collect();
        if let Err(Error::MailboxFull(mailbox) | Error::NoMailbox(mailbox)) = &verdict
            && waiting.iter().any(|(recipient, _)| recipient.mailboxes.contains(mailbox))
        {
            waiting.retain(|(recipient, _)| recipient.mailboxes.contains(mailbox));
        }
        for (_, decided) in waiting {
            *decided = Some(verdict.clone());
        }
    }

    fn verdicts(self) -> Vec<Kept> {
        self.recipients.into_iter().filter_map(|(_, verdict)| verdict).collect()
    }
}

/// One copy for each mailbox, with the trace lines of the first recipient that leads there: who is
/// named twice, directly or through an alias, gets the message once.
fn copies(envelope: &Envelope, hop: &Hop<'_>, beginning: Beginning) -> Vec<MailboxCopy> {
    let mut seen: HashSet<&MailboxName> = HashSet::new();
    let mut copies = Vec::new();
    for recipient in &envelope.recipients {
        for mailbox in recipient.mailboxes.iter().filter(|mailbox| seen.insert(mailbox)) {
            let head = trace::head(&envelope.from, &recipient.address, hop, beginning);
            copies.push(MailboxCopy { mailbox: mailbox.clone(), head });
        }
    }
    copies
}

/// Now, as RFC 5322 §3.3 writes it, in UTC. Empty if the year has five digits.
fn date() -> String {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    DateTimePrinter::new().zoned_to_string(&now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::{Address, Sender};
    use crate::mail::envelope::Charset;
    use crate::mail::peer::{Peer, Security};
    use crate::mail::trace::Protocol;

    fn recipient(address: &str, mailboxes: &[&str]) -> Recipient {
        let parse = |text: &str| Address::parse(text).unwrap();
        Recipient {
            address: parse(address),
            mailboxes: mailboxes.iter().map(|name| parse(name).name()).collect(),
        }
    }

    #[test]
    fn nobody_gets_a_message_twice() {
        let envelope = Envelope {
            from: Sender::Null,
            recipients: vec![
                recipient("team@x.org", &["alice@x.org", "bob@x.org"]),
                recipient("Alice@x.org", &["alice@x.org"]),
                recipient("carol@x.org", &["carol@x.org"]),
            ],
            declared_octets: None,
            charset: Charset::Ascii,
        };
        let hop = Hop {
            helo: "client.example",
            peer: Peer::Unix,
            hostname: "mx.example.org",
            protocol: Protocol::Esmtp,
            security: &Security::Plain,
            authenticated: Authenticated::No,
            charset: Charset::Ascii,
            queue_id: QueueId::from_random(0),
            date: "Tue, 24 Nov 2026 13:00:00 +0000",
        };
        let copies = copies(&envelope, &hop, Beginning::Header);
        let to: Vec<(String, bool)> = copies
            .iter()
            .map(|copy| {
                let head = String::from_utf8(copy.head.to_vec()).unwrap();
                (copy.mailbox.to_string(), head.contains("Delivered-To: team@x.org\r\n"))
            })
            .collect();
        let want = [("alice@x.org", true), ("bob@x.org", true), ("carol@x.org", false)];
        assert_eq!(to, want.map(|(name, team)| (name.to_owned(), team)));
    }

    #[test]
    fn dates_are_those_of_mail() {
        let now = date();
        assert!(now.ends_with(" +0000"), "{now}");
        assert_eq!(now.split(' ').count(), 6, "{now}");
    }

    /// Plays a round against mailboxes of which some are full and some are gone: what each recipient
    /// is told, and how many deliveries it took.
    fn round(recipients: &[Recipient], trouble: &[Error]) -> (Vec<Result<(), Error>>, usize) {
        let mut round = Round::new(recipients.to_vec());
        let mut deliveries = 0;
        while !round.is_over() {
            let named: Vec<MailboxName> =
                round.waiting().into_iter().flat_map(|recipient| recipient.mailboxes).collect();
            let refused = trouble.iter().find(|error| match error {
                Error::MailboxFull(mailbox) | Error::NoMailbox(mailbox) => named.contains(mailbox),
                _ => true,
            });
            let receipt = Receipt::pretended(QueueId::from_random(0));
            round.decide(refused.map_or(Ok(receipt), |error| Err(error.clone())));
            deliveries += 1;
        }
        (round.verdicts().into_iter().map(|verdict| verdict.map(|_| ())).collect(), deliveries)
    }

    #[test]
    fn each_recipient_has_a_verdict_of_its_own() {
        let name = |local: &str| Address::parse(&format!("{local}@x.org")).unwrap().name();
        let (full, gone) = (Error::MailboxFull(name("carol")), Error::NoMailbox(name("dave")));
        let recipients = [
            recipient("alice@x.org", &["alice@x.org"]),
            recipient("team@x.org", &["alice@x.org", "carol@x.org"]),
            recipient("dave@x.org", &["dave@x.org"]),
            recipient("Alice@x.org", &["alice@x.org"]),
            recipient("carol+x@x.org", &["carol@x.org"]),
        ];
        assert_eq!(round(&recipients, &[]), (vec![Ok(()); 5], 1));
        let (told, deliveries) = round(&recipients, &[full.clone(), gone.clone()]);
        assert_eq!(told, [Ok(()), Err(full.clone()), Err(gone), Ok(()), Err(full.clone())]);
        assert_eq!(deliveries, 3);
        // What is not the fault of one mailbox is told to all, once.
        assert_eq!(round(&recipients, &[Error::DiskFull]), (vec![Err(Error::DiskFull); 5], 1));
        // A mailbox that nobody named: as little as can be made of it.
        let mut stray = Round::new(recipients.to_vec());
        stray.decide(Err(Error::MailboxFull(name("erin"))));
        assert!(stray.is_over());
    }
}
