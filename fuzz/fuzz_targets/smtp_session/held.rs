//! What must hold of a session of SMTP, step by step, by what has happened so far.

use crate::happens::{Happens, receipt};
use pillarbox::mail::address::{Address, Sender};
use pillarbox::mail::body::Body;
use pillarbox::mail::envelope::Envelope;
use pillarbox::smtp::codec::Framing;
use pillarbox::smtp::offer::{Offer, StartTls};
use pillarbox::smtp::reply::Reply;
use pillarbox::smtp::role::Role;
use pillarbox::smtp::session::{Ask, ERRORS_MAX, FAILED_LOGINS_MAX, Next, Session, Step, Terms};
use pillarbox_fuzz::replies;

/// What is known of a session without looking into it.
#[derive(Debug)]
pub struct Held<'a> {
    pub terms: &'a Terms,
    pub offer: Offer,
    pub errors: u32,
    /// The recipients that were accepted since the last MAIL.
    recipients: Vec<Address>,
    /// The address that the account may send from.
    sender: Option<Address>,
    /// The octets of the message that came last.
    body: Vec<u8>,
    /// Octets of the chunks since the last MAIL; `None` before the first of them.
    chunks: Option<u64>,
    /// The exchange under way was told that the client is right.
    is_right: bool,
    logged_in: bool,
}

impl<'a> Held<'a> {
    pub fn new(terms: &'a Terms, offer: Offer) -> Held<'a> {
        let (recipients, body) = (Vec::new(), Vec::new());
        Held {
            terms,
            offer,
            errors: 0,
            recipients,
            sender: None,
            body,
            chunks: None,
            is_right: false,
            logged_in: false,
        }
    }

    /// Whether the limits on a session end it, whatever it says.
    pub fn is_at_a_limit(&self, session: &Session) -> bool {
        self.errors >= ERRORS_MAX || session.failed_logins() >= FAILED_LOGINS_MAX
    }

    /// Fails unless the step fits what happened while `was` was next.
    pub fn check(&mut self, was: &Next, happens: &Happens, step: &Step, session: &Session) {
        step.say.iter().for_each(replies::smtp);
        if matches!(was, Next::Close) {
            assert!(step.say.is_empty() && matches!(step.next, Next::Close));
            return;
        }
        if !happens.is_awaited(was) || matches!(happens, Happens::Idle | Happens::Stop) {
            assert!(matches!(step.next, Next::Close), "it must not guess");
            assert_eq!(step.say.iter().map(Reply::code).collect::<Vec<_>>(), [421]);
        } else {
            self.remember(was, happens, step);
        }
        self.verdicts(was, happens, step);
        self.logins(was, happens, step, session);
        self.limits(step, session);
        match &step.next {
            Next::Ask(question) => {
                assert!(step.say.is_empty(), "nothing is said before the answer is there");
                self.question(question, session);
            }
            Next::Body(framing) => self.framing(*framing, step, session),
            Next::StartTls => {
                assert!(self.offer.start_tls == StartTls::Possible && !self.offer.is_secured());
                assert_eq!(step.say.iter().map(Reply::code).collect::<Vec<_>>(), [220]);
            }
            Next::Read(_) => self.answered(was, happens, step),
            Next::Close => {}
        }
    }

    fn remember(&mut self, was: &Next, happens: &Happens, step: &Step) {
        match (was, happens) {
            (_, Happens::Secured(offer)) => {
                assert!(step.say.is_empty());
                *self = Held { errors: self.errors, ..Held::new(self.terms, offer.clone()) };
            }
            (Next::Ask(Ask::Route(to, _)), Happens::Route(route)) => {
                let is_ours = matches!(route, Ok(pillarbox::store::outcome::Route::Mailboxes(_)));
                assert_eq!(said(step, "250 2.1.5"), usize::from(is_ours));
                if is_ours {
                    self.recipients.push(to.clone());
                }
            }
            (Next::Ask(Ask::MaySend(_, from)), Happens::MaySend(allowed)) => {
                assert_eq!(said(step, "250 2.1.0"), usize::from(*allowed == Ok(true)));
                self.sender = Some(from.clone());
            }
            (_, Happens::Body(Ok(octets))) => self.body.clone_from(octets),
            _ => {}
        }
        if said(step, "250 2.1.0") > 0 {
            if matches!(happens, Happens::Line(_)) {
                self.sender = None;
            }
            self.recipients.clear();
            self.chunks = None;
        }
    }

    /// A message is acknowledged by its receipt and by nothing else.
    fn verdicts(&self, was: &Next, happens: &Happens, step: &Step) {
        let one = |kept: &Result<u64, _>| match kept {
            Ok(number) => Reply::accepted(&receipt(*number)),
            Err(error) => Reply::trouble(error),
        };
        let wanted: Vec<Reply> = match (was, happens) {
            (Next::Ask(Ask::Deliver(..)), Happens::Deliver(kept)) => vec![one(kept)],
            (Next::Ask(Ask::DeliverEach(..)), Happens::DeliverEach(each)) => each.iter().map(one).collect(),
            _ => {
                assert_eq!(said(step, "250 2.0.0 queued"), 0, "nobody has kept it");
                return;
            }
        };
        assert_eq!(&step.say[..wanted.len()], wanted);
        assert!(step.say.len() == wanted.len() || matches!(step.next, Next::Close));
    }

    fn logins(&mut self, was: &Next, happens: &Happens, step: &Step, session: &Session) {
        match (was, happens) {
            (Next::Ask(Ask::Nonce), _) => self.is_right = false,
            (Next::Ask(Ask::Check(_)), Happens::Check(it)) => self.is_right = it.is_ok(),
            _ => {}
        }
        if said(step, "235 ") > 0 {
            assert!(self.is_right && !self.logged_in, "nobody said that it is right");
            self.logged_in = true;
        }
        assert_eq!(session.login().is_some(), self.logged_in);
        if self.offer.mechanisms().is_empty() {
            assert_eq!((said(step, "334 "), said(step, "235 ")), (0, 0), "there is no login here");
        }
    }

    fn limits(&mut self, step: &Step, session: &Session) {
        self.errors += u32::from(step.say.iter().any(Reply::is_error));
        assert!(!self.is_at_a_limit(session) || matches!(step.next, Next::Close));
    }

    fn question(&self, question: &Ask, session: &Session) {
        let is_submission = self.terms.role == Role::Submission;
        match question {
            Ask::Route(..) => {
                assert!(self.recipients.len() < self.terms.recipients_max);
                assert!(!is_submission || self.logged_in);
            }
            Ask::MaySend(login, _) => assert!(is_submission && session.login() == Some(login)),
            Ask::Deliver(envelope, body) => {
                assert_ne!(self.terms.role, Role::Lmtp);
                self.delivery(envelope, body);
            }
            Ask::DeliverEach(envelope, body) => {
                assert_eq!(self.terms.role, Role::Lmtp);
                self.delivery(envelope, body);
            }
            Ask::Nonce | Ask::Parameters(_) | Ask::Check(_) => {
                assert!(!self.logged_in && !self.offer.mechanisms().is_empty());
            }
        }
    }

    fn delivery(&self, envelope: &Envelope, body: &Body) {
        assert!(!envelope.recipients.is_empty());
        let to: Vec<&Address> = envelope.recipients.iter().map(|to| &to.address).collect();
        assert_eq!(to, self.recipients.iter().collect::<Vec<_>>(), "those that were accepted, in order");
        assert!(envelope.recipients.iter().all(|to| !to.mailboxes.is_empty()));
        let Body::Memory(slices) = body else { panic!("nothing is staged here") };
        assert_eq!(slices.concat(), self.body);
        if self.terms.role == Role::Submission {
            assert!(self.logged_in);
            match &envelope.from {
                Sender::Null => assert_eq!(self.sender, None),
                Sender::Address(from) => assert_eq!(Some(from), self.sender.as_ref()),
            }
        }
    }

    fn framing(&mut self, framing: Framing, step: &Step, session: &Session) {
        assert_eq!(session.is_receiving(), !matches!(framing, Framing::Skip { .. }));
        match framing {
            Framing::Dot => {
                assert_eq!(step.say.iter().map(Reply::code).collect::<Vec<_>>(), [354]);
                assert!(!self.recipients.is_empty());
            }
            Framing::Chunk { size, first, .. } => {
                assert!(step.say.is_empty() && !self.recipients.is_empty());
                assert_eq!(first, self.chunks.is_none());
                let octets = self.chunks.unwrap_or_default() + size;
                assert!(octets <= self.terms.message_octets_max);
                self.chunks = Some(octets);
            }
            Framing::Skip { .. } => assert!(!step.say.is_empty() && step.say.iter().all(Reply::is_refusal)),
        }
    }

    /// One reply for each thing that wants one.
    fn answered(&self, was: &Next, happens: &Happens, step: &Step) {
        let wanted = match (was, happens) {
            (Next::Body(Framing::Skip { .. }), _) | (_, Happens::Secured(_)) => 0,
            (_, Happens::DeliverEach(each)) => each.len(),
            (_, Happens::Body(Err(_))) if self.terms.role == Role::Lmtp => self.recipients.len(),
            _ => 1,
        };
        assert_eq!(step.say.len(), wanted, "{happens:?}");
    }
}

/// How many replies begin so.
fn said(step: &Step, start: &str) -> usize {
    let text = |reply: &Reply| format!("{} {}", reply.code(), reply.text());
    step.say.iter().filter(|reply| text(reply).starts_with(start)).count()
}
