//! What must hold of a session of SMTP, step by step, by what has happened so far.

use super::happens::{Happens, receipt};
use pillarbox::auth::outcome::Denied;
use pillarbox::mail::address::{Address, Sender};
use pillarbox::mail::body::Body;
use pillarbox::mail::envelope::Envelope;
use pillarbox::smtp::codec::{Awaiting, Framing};
use pillarbox::smtp::command::{Auth, Chunk, Command};
use pillarbox::smtp::offer::Offer;
use pillarbox::smtp::reply::Reply;
use pillarbox::smtp::role::Role;
use pillarbox::smtp::role::Terms;
use pillarbox::smtp::session::{Ask, ERRORS_MAX, FAILED_LOGINS_MAX, Next, Session, Step};
use pillarbox::smtp::syntax::Syntax;
use pillarbox::wire::access::StartTls;
use pillarbox::wire::sasl::{Evidence, Fault};
use pillarbox_fuzz::{letter, replies};

/// What is known of a session without looking into it.
#[derive(Debug)]
pub struct Held<'a> {
    pub terms: &'a Terms,
    pub offer: Offer,
    pub errors: u32,
    failures: u32,
    /// MAIL was accepted, and what it began is not over.
    in_transaction: bool,
    /// MAIL was refused, or a chunk of what it began; for so many recipients were accepted.
    failed: Option<usize>,
    /// A recipient was refused since.
    has_refused: bool,
    /// The recipients that were accepted since the last MAIL.
    recipients: Vec<Address>,
    /// What the account may send from; asked for with each MAIL.
    sender: Option<Sender>,
    /// The octets of the message that came last.
    body: Vec<u8>,
    /// Octets of the chunks since the last MAIL; `None` before the first of them.
    chunks: Option<u64>,
    /// The exchange under way was told that the client is right.
    is_right: bool,
    /// What the client said last in the exchange under way.
    said: Vec<u8>,
    logged_in: bool,
}

impl<'a> Held<'a> {
    pub fn new(terms: &'a Terms, offer: Offer) -> Held<'a> {
        Held {
            terms,
            offer,
            errors: 0,
            failures: 0,
            in_transaction: false,
            failed: None,
            has_refused: false,
            recipients: Vec::new(),
            sender: None,
            body: Vec::new(),
            chunks: None,
            is_right: false,
            said: Vec::new(),
            logged_in: false,
        }
    }

    /// Whether the limits on a session end it, whatever it says.
    pub fn is_at_a_limit(&self) -> bool {
        self.errors >= ERRORS_MAX || self.failures >= FAILED_LOGINS_MAX
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
        self.limits(step);
        self.start_tls(was, happens, step);
        self.exchange(was, happens, step);
        match &step.next {
            Next::Ask(question) => {
                assert!(step.say.is_empty(), "nothing is said before the answer is there");
                self.question(question, session);
            }
            Next::Body(framing) => self.framing(*framing, happens, step, session),
            Next::StartTls => {
                assert_eq!(step.say.iter().map(Reply::code).collect::<Vec<_>>(), [220]);
            }
            Next::Read(_) => self.answered(was, happens, step),
            Next::Close => {}
        }
        self.fail(happens, step, session);
        self.forget(happens, step);
    }

    fn remember(&mut self, was: &Next, happens: &Happens, step: &Step) {
        match (was, happens) {
            (_, Happens::Secured(offer)) => {
                assert!(step.say.is_empty());
                let (errors, failures) = (self.errors, self.failures);
                *self = Held { errors, failures, ..Held::new(self.terms, offer.clone()) };
            }
            (Next::Ask(Ask::Route(to, _)), Happens::Route(route)) => {
                let is_ours = matches!(route, Ok(pillarbox::store::outcome::Route::Mailboxes(_)));
                assert_eq!(said(step, "250 2.1.5"), usize::from(is_ours));
                self.has_refused |= !is_ours;
                if is_ours {
                    self.recipients.push(to.clone());
                }
            }
            (Next::Ask(Ask::MaySend(_, from)), Happens::MaySend(allowed)) => {
                assert_eq!(said(step, "250 2.1.0"), usize::from(*allowed == Ok(true)));
                self.sender = Some(from.clone());
            }
            (_, Happens::Body(Ok(octets))) => self.body.clone_from(octets),
            (_, Happens::Line(line)) => {
                let is_recipient = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"RCPT"));
                self.has_refused |= is_recipient && step.say.iter().any(Reply::is_refusal);
            }
            _ => {}
        }
        if said(step, "250 2.1.0") > 0 {
            let was_asked = matches!(happens, Happens::MaySend(Ok(true)));
            assert_eq!(was_asked, self.terms.role == Role::Submission);
            (self.in_transaction, self.has_refused, self.failed) = (true, false, None);
            self.recipients.clear();
            self.chunks = None;
        }
    }

    /// What begins and ends a refused transaction, whose other commands may have been sent ahead.
    fn fail(&mut self, happens: &Happens, step: &Step, session: &Session) {
        let recipients = if self.in_transaction { self.recipients.len() } else { self.failed.unwrap_or(0) };
        match happens {
            Happens::MaySend(allowed) if *allowed != Ok(true) => self.failed = Some(0),
            Happens::Chunk(Err(_)) => self.failed = Some(recipients),
            Happens::Body(_) => self.failed = None,
            Happens::Line(line) => match Command::parse(line) {
                Ok(Command::Hello(_) | Command::Rset) if said(step, "250") > 0 => self.failed = None,
                Ok(Command::Mail(_)) | Err(Syntax::BadSender(_)) => {
                    let is_out = !self.in_transaction && session.client().is_some();
                    if is_out && step.say.iter().any(Reply::is_refusal) {
                        self.failed = Some(0);
                    }
                }
                Ok(Command::Bdat(Chunk { last, .. }))
                    if matches!(step.next, Next::Body(Framing::Skip { .. })) =>
                {
                    let is_under_way = self.in_transaction || self.failed.is_some();
                    self.failed = (is_under_way && !last).then_some(recipients);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// What ends a transaction: its message, a chunk that is refused, and to begin anew.
    fn forget(&mut self, happens: &Happens, step: &Step) {
        let is_over = match happens {
            Happens::Body(_) | Happens::Chunk(Err(_)) => true,
            Happens::Line(line) => match Command::parse(line) {
                Ok(Command::Hello(_) | Command::Rset) => said(step, "250") > 0,
                _ => matches!(step.next, Next::Body(Framing::Skip { .. })),
            },
            _ => false,
        };
        self.in_transaction &= !is_over;
    }

    /// A message is acknowledged by its receipt and by nothing else.
    fn verdicts(&self, was: &Next, happens: &Happens, step: &Step) {
        let one = |kept: &Result<u64, _>| match kept {
            Ok(number) => Reply::accepted(&receipt(*number)),
            Err(error) => Reply::trouble(error),
        };
        let wanted: Vec<Reply> = match (was, happens) {
            (Next::Ask(Ask::Deliver(..)), Happens::Deliver(kept)) => vec![one(kept)],
            // Fewer or more than there are recipients are no answer.
            (Next::Ask(Ask::DeliverEach(..)), Happens::DeliverEach(each)) if happens.is_awaited(was) => {
                each.iter().map(one).collect()
            }
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
            (Next::Ask(Ask::Check(evidence)), Happens::Check(it)) => {
                self.is_right = it.is_ok() && !matches!(evidence, Evidence::Void(_));
            }
            _ => {}
        }
        if let Happens::Check(Err(Denied::Credentials)) | Happens::Parameters(Err(Denied::Credentials)) =
            happens
            && happens.is_awaited(was)
        {
            self.failures += 1;
            // RFC 4954 §4 and §6: 501 for what is not well formed, 535 for what is wrong.
            let is_malformed = matches!(was, Next::Ask(Ask::Check(Evidence::Void(Fault::Malformed))));
            assert_eq!(step.say[0].code(), if is_malformed { 501 } else { 535 });
        }
        assert_eq!(session.failed_logins(), self.failures);
        if said(step, "235 ") > 0 {
            assert!(self.is_right && !self.logged_in, "nobody said that it is right");
            self.logged_in = true;
        }
        assert_eq!(session.login().is_some(), self.logged_in);
        if self.offer.mechanisms().is_empty() {
            assert_eq!((said(step, "334 "), said(step, "235 ")), (0, 0), "there is no login here");
        }
    }

    /// To be refused for good is an error of the client. A server that hands over the mail of others is
    /// not to blame for that mail, but for each breach of the protocol.
    fn limits(&mut self, step: &Step) {
        let is_behind = |reply: &Reply| reply.text().ends_with("begin another one with MAIL");
        let none_is_left = |reply: &Reply| reply.text().ends_with("no recipient was accepted");
        let is_error = |reply: &Reply| match self.terms.role {
            _ if is_behind(reply) => false,
            Role::Lmtp => {
                let is_address = reply.text().starts_with("5.1.");
                (500..=504).contains(&reply.code()) && !none_is_left(reply) && !is_address
            }
            Role::Mx | Role::Submission => reply.code() >= 500,
        };
        assert!(self.failed.is_some() || !step.say.iter().any(is_behind), "nothing was refused");
        self.errors += u32::from(step.say.iter().any(is_error));
        assert!(!self.is_at_a_limit() || matches!(step.next, Next::Close));
        let has_named = self.in_transaction && self.has_refused && self.recipients.is_empty();
        assert!(has_named || !step.say.iter().any(none_is_left), "nobody was refused");
    }

    /// RFC 3207 §4: whenever it is offered it may be used, before EHLO and in a transaction too.
    fn start_tls(&self, was: &Next, happens: &Happens, step: &Step) {
        let is_asked = match (was, happens) {
            (Next::Read(Awaiting::Command), Happens::Line(line)) => {
                Command::parse(line) == Ok(Command::StartTls)
            }
            _ => false,
        };
        let is_possible = self.offer.start_tls == StartTls::Possible && !self.offer.is_secured();
        assert_eq!(matches!(step.next, Next::StartTls), is_asked && is_possible);
    }

    /// RFC 4954 §4: `*` cancels and what is not base64 is an error, at once. Everything else that is no
    /// message of the mechanism costs what a wrong password costs.
    fn exchange(&mut self, was: &Next, happens: &Happens, step: &Step) {
        match (was, happens) {
            (Next::Read(Awaiting::Response), Happens::Line(line)) => self.said.clone_from(line),
            (_, Happens::Line(line)) => {
                if let Ok(Command::Auth(Auth { initial, .. })) = Command::parse(line) {
                    self.said = letter::initial(initial);
                }
                return;
            }
            (Next::Ask(Ask::Nonce), Happens::Nonce(Ok(_))) => {}
            _ => return,
        }
        if letter::ends_login(&self.said) {
            assert_eq!(step.say.first().map(Reply::code), Some(501));
        } else if step.say.iter().any(Reply::is_refusal) {
            assert!(self.is_right, "it must cost what a wrong password costs");
        }
    }

    fn question(&self, question: &Ask, session: &Session) {
        let is_submission = self.terms.role == Role::Submission;
        match question {
            Ask::Route(..) => {
                assert!(self.recipients.len() < self.terms.recipients_max);
                assert!(!is_submission || self.logged_in);
            }
            Ask::MaySend(login, _) => assert!(is_submission && session.login() == Some(login)),
            Ask::Deliver(envelope, message) => {
                assert_ne!(self.terms.role, Role::Lmtp);
                self.delivery(envelope, &message.body);
            }
            Ask::DeliverEach(envelope, message) => {
                assert_eq!(self.terms.role, Role::Lmtp);
                self.delivery(envelope, &message.body);
            }
            Ask::Nonce | Ask::Parameters(_) | Ask::Check(_) => {
                if let Ask::Check(Evidence::Void(fault)) = question {
                    assert!(fault.is_a_guess() && !letter::ends_login(&self.said) && !self.is_right);
                }
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
            assert_eq!(Some(&envelope.from), self.sender.as_ref());
        }
    }

    fn framing(&mut self, framing: Framing, happens: &Happens, step: &Step, session: &Session) {
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
            Framing::Skip { size } => {
                let Happens::Line(line) = happens else { panic!("{happens:?}") };
                let Ok(Command::Bdat(Chunk { size: told, last })) = Command::parse(line) else {
                    panic!("{happens:?}")
                };
                assert_eq!(size, told);
                // RFC 2033 §4.3: the last chunk has a reply for each recipient that was accepted.
                let recipients = match (self.in_transaction, self.failed) {
                    _ if self.terms.role != Role::Lmtp || !last => 1,
                    (true, _) => self.recipients.len(),
                    (false, failed) => failed.unwrap_or(1),
                };
                assert_eq!(step.say.len(), recipients);
                assert!(step.say.iter().all(Reply::is_refusal));
            }
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
