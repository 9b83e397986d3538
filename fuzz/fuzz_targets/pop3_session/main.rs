//! A session of POP3 through which the fuzzer goes as it likes: what the client says, what the accounts
//! and the store answer, what fails, and answers that nobody asked for.
//!
//! ```text
//! words   a letter that says how many messages there are; tls (from the start), certificate (STLS),
//!         remote (no password in clear), nosasl
//! text    a line of the client
//! !+      what is waited for goes well
//! !- way  it goes badly; the way is a letter
//! !L text a line; !N !P !C !O !U answers; !Z TLS has begun; !I silence; !V another session has taken
//!         the mailbox over; !X the server stops: whether it was waited for or not
//! ```
#![no_main]

mod happens;
mod held;

use happens::Happens;
use held::Held;
use libfuzzer_sys::fuzz_target;
use pillarbox::mail::peer::{Security, TlsInfo};
use pillarbox::pop3::offer::{Expiry, Offer};
use pillarbox::pop3::reply::Reply;
use pillarbox::pop3::session::{Next, Session, Step};
use pillarbox::wire::access::{Access, Plaintext, StartTls};
use pillarbox::wire::sasl::Mechanism;
use pillarbox_fuzz::script::{self, Turn};

const HOSTNAME: &str = "mx.example.org";

fn tls() -> Security {
    Security::Tls(TlsInfo { version: "TLSv1.3".into(), cipher: "x".into(), exporter: Some([3; 32]) })
}

fn offer(words: &[u8], security: Security) -> Offer {
    let has = |word| words.iter().skip(1).any(|letter| *letter == word);
    let access = Access {
        start_tls: if has(b'c') { StartTls::Possible } else { StartTls::Impossible },
        plaintext: if has(b'r') { Plaintext::Refused } else { Plaintext::Allowed },
        mechanisms: if has(b'n') { [].as_slice().into() } else { Mechanism::offered(&security).into() },
        security,
        ..Access::default()
    };
    Offer { expiry: Expiry::Never, access }
}

/// So many messages that lists have several pages, some of a size that nobody has seen.
fn mailbox(words: &[u8]) -> Vec<u64> {
    let messages = match words.first() {
        Some(b'z') => 1_000,
        Some(letter) => u64::from(letter % 8),
        None => 0,
    };
    let octets = |n| if n % 5 == 4 { u64::MAX / 2_000 - n } else { n * 100 };
    (0..messages).map(octets).collect()
}

/// A session, what is known of it, and another one that began when TLS did.
struct Play {
    session: Session,
    next: Next,
    held: Held,
    mailbox: Vec<u64>,
    /// What can be done under TLS.
    secured: Offer,
    fresh: Option<Session>,
}

impl Play {
    fn turn(&mut self, turn: Turn<'_>) {
        match turn {
            Turn::Line(line) => {
                while let Some(happens) = Happens::well(&self.next, &self.mailbox, &self.secured) {
                    self.happens(&happens);
                }
                self.happens(&Happens::Line(line.to_vec()));
            }
            // While something is sent, whoever drives a session gives it no line.
            Turn::Other(b'L', _) if matches!(self.next, Next::Send(_)) => {}
            Turn::Other(letter, text) => {
                let happens = match letter {
                    b'+' => Happens::well(&self.next, &self.mailbox, &self.secured),
                    b'-' => Happens::badly(&self.next, text.first().copied().unwrap_or_default()),
                    letter => Happens::out_of_the_blue(letter, text, &self.secured),
                };
                if let Some(happens) = happens {
                    self.happens(&happens);
                }
            }
        }
    }

    fn happens(&mut self, happens: &Happens) {
        let step = self.session.step(happens.event());
        self.held.check(&self.next, happens, &step, &self.session);
        self.compare(happens, &step);
        if matches!((&self.next, happens), (Next::StartTls, Happens::Secured(_))) {
            self.fresh = Some(Session::new(self.secured.clone(), HOSTNAME).0);
        }
        self.next = step.next;
    }

    /// RFC 2595 §4: a session after TLS has begun is as one that began with it. How often it went
    /// wrong is the one thing that is not forgotten, so that the older one may end sooner.
    fn compare(&mut self, happens: &Happens, step: &Step) {
        let Some(fresh) = &mut self.fresh else { return };
        let wanted = fresh.step(happens.event());
        if self.held.is_at_a_limit() {
            self.fresh = None;
            return;
        }
        assert_eq!(step.say, wanted.say, "{happens:?}");
        assert_eq!(format!("{:?}", step.next), format!("{:?}", wanted.next), "{happens:?}");
    }
}

fuzz_target!(|data: &[u8]| {
    let (words, turns) = script::read(data);
    let has_tls = words.iter().skip(1).any(|letter| *letter == b't');
    let first = offer(&words, if has_tls { tls() } else { Security::Plain });
    let (session, greeting) = Session::new(first.clone(), HOSTNAME);
    assert_eq!(greeting, Reply::greeting(HOSTNAME));
    let mut play = Play {
        session,
        next: Next::Read(Default::default()),
        held: Held::new(first),
        mailbox: mailbox(&words),
        secured: offer(&words, tls()),
        fresh: None,
    };
    turns.for_each(|turn| play.turn(turn));
});
