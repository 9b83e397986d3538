//! What must hold of a session of POP3, step by step: a second, plainer account of a mailbox.

use super::happens::{ERA, Happens, entries};
use bytes::BytesMut;
use pillarbox::auth::outcome::{Denied, Login};
use pillarbox::mail::ids::{MessageId, Uid};
use pillarbox::mail::listing::Entry;
use pillarbox::mail::secret::Secret;
use pillarbox::pop3::codec::{Awaiting, Part};
use pillarbox::pop3::command::Command;
use pillarbox::pop3::offer::Offer;
use pillarbox::pop3::pages::Progress;
use pillarbox::pop3::reply::Reply;
use pillarbox::pop3::session::{Ask, ERRORS_MAX, FAILED_LOGINS_MAX, Next, Payload, Refusal, Session, Step};
use pillarbox::store::outcome::Expunged;
use pillarbox::wire::sasl::Evidence;
use pillarbox_fuzz::{letter, replies};

/// An open mailbox: its messages, and whether each is marked.
type Mailbox = Vec<(Entry, bool)>;

/// What is known of a session without looking into it.
#[derive(Debug)]
pub struct Held {
    pub offer: Offer,
    pub errors: u32,
    failures: u32,
    /// Whom the exchange under way belongs to, once somebody said that the client is right.
    right: Option<Login>,
    /// What the client said last in the exchange under way.
    said: Vec<u8>,
    mailbox: Option<Mailbox>,
}

impl Held {
    pub fn new(offer: Offer) -> Held {
        Held { offer, errors: 0, failures: 0, right: None, said: Vec::new(), mailbox: None }
    }

    /// Whether the limits on a session end it, whatever it says.
    pub fn is_at_a_limit(&self) -> bool {
        self.errors >= ERRORS_MAX || self.failures >= FAILED_LOGINS_MAX
    }

    /// Fails unless the step fits what happened while `was` was next.
    pub fn check(&mut self, was: &Next, happens: &Happens, step: &Step, session: &Session) {
        step.say.iter().for_each(replies::pop3);
        let text = step.say.as_ref().map(replies::pop3_text).unwrap_or_default();
        assert!(!text.contains("secret detail"));
        if happens.is_end() || !happens.is_awaited(was) {
            assert!(matches!(step.next, Next::Close), "it must not guess");
            assert!(!text.starts_with('+'), "{text}");
            return;
        }
        self.count(happens, &text);
        assert_eq!(session.failed_logins(), self.failures);
        assert!(!self.is_at_a_limit() || matches!(step.next, Next::Close));
        self.remember(was, happens, step, &text);
        self.exchange(was, happens, step, &text);
        match (&step.next, happens) {
            (Next::Ask(question), _) => {
                assert_eq!(step.say, None, "nothing is said before the answer is there");
                self.question(question, happens);
            }
            (Next::StartTls, _) => assert!(self.offer.access.can_begin_tls() && text.starts_with("+OK ")),
            (_, Happens::Line(line)) if self.mailbox.is_some() && !self.is_at_a_limit() => {
                self.command(line, step, &text, session);
            }
            (Next::Read(_) | Next::Send(_), Happens::Sent | Happens::Secured(_)) => assert_eq!(text, ""),
            _ => assert_ne!(text, "", "{happens:?} is answered"),
        }
        if matches!(step.next, Next::Close) && text.starts_with("+OK") {
            let is_quit = matches!(happens, Happens::Line(line) if is_quit(line)) && self.mailbox.is_none();
            assert!(is_quit || matches!(happens, Happens::Update(Ok(_))), "{text}");
        }
    }

    /// Errors of the client are counted, those that may pass are not.
    fn count(&mut self, happens: &Happens, text: &str) {
        let is_ours = match happens {
            Happens::Check(Err(denied)) | Happens::Parameters(Err(denied)) => {
                self.failures += u32::from(*denied == Denied::Credentials);
                true
            }
            Happens::Open(Err(refusal)) => *refusal != Refusal::InUse,
            Happens::Nonce(Err(_)) | Happens::Update(Err(_)) | Happens::Unsent(_) => true,
            _ => false,
        };
        self.errors += u32::from(text.starts_with("-ERR ") && !is_ours);
    }

    fn remember(&mut self, was: &Next, happens: &Happens, step: &Step, text: &str) {
        match (was, happens) {
            (_, Happens::Secured(offer)) => {
                let (errors, failures) = (self.errors, self.failures);
                *self = Held { errors, failures, ..Held::new(offer.clone()) };
            }
            (Next::Ask(Ask::Nonce), _) => self.right = None,
            (Next::Ask(Ask::Check(_)), Happens::Check(it)) => {
                self.right = it.as_ref().ok().map(|verified| verified.login.clone());
            }
            (_, Happens::Open(Ok(octets))) => {
                let mailbox = entries(octets).into_iter().map(|entry| (entry, false)).collect();
                assert!(text.starts_with("+OK logged in, ") && matches!(step.next, Next::Read(_)));
                self.mailbox = Some(mailbox);
            }
            (Next::Ask(Ask::Update(_)), Happens::Update(it)) => {
                match it {
                    Ok(messages) => {
                        assert_eq!(step.say, Some(Reply::updated(&Expunged::pretended(*messages))));
                    }
                    Err(_) => assert!(text.starts_with("-ERR "), "{text}"),
                }
                assert!(matches!(step.next, Next::Close));
            }
            _ => {}
        }
    }

    /// RFC 5034 §4: `*` cancels and what is not base64 is an error, at once. Everything else that is no
    /// message of the mechanism costs what a wrong password costs.
    fn exchange(&mut self, was: &Next, happens: &Happens, step: &Step, text: &str) {
        match (was, happens) {
            (Next::Read(Awaiting::Response), Happens::Line(line)) => self.said.clone_from(line),
            (_, Happens::Line(line)) => {
                if let Ok(Command::Auth { initial, .. }) = Command::parse(line) {
                    self.said = letter::initial(initial.as_ref().map(Secret::expose));
                }
                return;
            }
            (Next::Ask(Ask::Nonce), Happens::Nonce(Ok(_))) => {}
            _ => return,
        }
        let is_over = letter::ends_login(&self.said);
        assert!(!is_over || text.starts_with("-ERR "), "{text}");
        let fails = text.starts_with("-ERR ") && !self.is_at_a_limit();
        assert!(!fails || is_over || self.right.is_some(), "it must cost what a wrong password costs");
        assert!(!fails || matches!(step.next, Next::Read(Awaiting::Command)));
    }

    fn question(&self, question: &Ask, happens: &Happens) {
        let is_line = matches!(happens, Happens::Line(_));
        match (question, &self.mailbox) {
            (Ask::Update(ids), Some(mailbox)) => {
                assert!(matches!(happens, Happens::Line(line) if is_quit(line)));
                let marked = mailbox.iter().filter(|(_, marked)| *marked).map(|(entry, _)| entry.id);
                assert_eq!(ids, &marked.collect::<Vec<MessageId>>());
            }
            (Ask::Open(login), None) => assert_eq!(self.right.as_ref(), Some(login)),
            (Ask::Nonce, None) => assert!(is_line && !self.offer.access.mechanisms().is_empty()),
            (Ask::Check(Evidence::Void(fault)), None) => {
                assert!(self.right.is_none() && fault.is_a_guess());
                assert!(!self.offer.access.mechanisms().is_empty() && !letter::ends_login(&self.said));
            }
            (Ask::Parameters(_) | Ask::Check(_), None) => assert!(self.offer.access.takes_logins()),
            (question, mailbox) => panic!("{question:?} with {mailbox:?}"),
        }
    }

    /// A command while the mailbox is open, by the letter of RFC 1939.
    fn command(&mut self, line: &[u8], step: &Step, text: &str, session: &Session) {
        let Some(mailbox) = &mut self.mailbox else { return };
        let here = |number: pillarbox::mail::ids::MsgNo, mailbox: &Mailbox| {
            let found = mailbox.get(number.index()).filter(|(_, marked)| !marked);
            found.map(|(entry, _)| *entry)
        };
        let left: Vec<(usize, Entry)> = (1..)
            .zip(mailbox.iter())
            .filter_map(|(number, (entry, marked))| (!marked).then_some((number, *entry)))
            .collect();
        let octets = left.iter().fold(0_u64, |sum, (_, entry)| sum.saturating_add(entry.octets));
        let uid = |entry: &Entry| Uid::new(ERA, entry.id);
        let wanted = match Command::parse(line) {
            Ok(Command::Stat) => Some(format!("+OK {} {octets}\r\n", left.len())),
            Ok(Command::List(Some(number))) => {
                here(number, mailbox).map(|entry| format!("+OK {number} {}\r\n", entry.octets))
            }
            Ok(Command::Uidl(Some(number))) => {
                here(number, mailbox).map(|entry| format!("+OK {number} {}\r\n", uid(&entry)))
            }
            Ok(Command::List(None)) => {
                let lines = left.iter().map(|(number, entry)| format!("{number} {}\r\n", entry.octets));
                return listed(step, text, session, lines.collect());
            }
            Ok(Command::Uidl(None)) => {
                let lines = left.iter().map(|(number, entry)| format!("{number} {}\r\n", uid(entry)));
                return listed(step, text, session, lines.collect());
            }
            Ok(Command::Retr(number)) => return sent(here(number, mailbox), Part::Whole, step, text),
            Ok(Command::Top { number, lines }) => {
                return sent(here(number, mailbox), Part::Top(lines), step, text);
            }
            Ok(Command::Dele(number)) => here(number, mailbox).map(|_| {
                mailbox[number.index()].1 = true;
                format!("+OK message {number} will be deleted at QUIT\r\n")
            }),
            Ok(Command::Rset) => {
                mailbox.iter_mut().for_each(|(_, marked)| *marked = false);
                assert!(text.starts_with("+OK "), "{text}");
                return;
            }
            Ok(Command::Noop | Command::Capa) => return assert!(text.starts_with("+OK "), "{text}"),
            _ => None,
        };
        match wanted {
            Some(wanted) => assert_eq!(text, wanted),
            None => assert!(text.starts_with("-ERR "), "{text}"),
        }
        assert!(matches!(step.next, Next::Read(_)));
    }
}

fn is_quit(line: &[u8]) -> bool {
    matches!(Command::parse(line), Ok(Command::Quit))
}

fn listed(step: &Step, text: &str, session: &Session, lines: String) {
    let Next::Send(Payload::List(pages)) = &step.next else { panic!("{step:?}") };
    assert!(text.starts_with("+OK "), "{text}");
    let (mut pages, mut out) = (pages.clone(), BytesMut::new());
    while session.page(&mut pages, &mut out) == Progress::More {}
    assert_eq!(String::from_utf8_lossy(&out), lines + ".\r\n");
}

fn sent(wanted: Option<Entry>, wanted_part: Part, step: &Step, text: &str) {
    match (&step.next, wanted) {
        (Next::Send(Payload::Message { entry, part }), Some(wanted)) => {
            assert_eq!((entry, part), (&wanted, &wanted_part));
            assert!(text.starts_with("+OK "), "{text}");
        }
        (Next::Read(_), None) => assert!(text.starts_with("-ERR "), "{text}"),
        (next, wanted) => panic!("{next:?} for {wanted:?}"),
    }
}
