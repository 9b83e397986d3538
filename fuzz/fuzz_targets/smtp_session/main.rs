//! A session of SMTP, submission or LMTP through which the fuzzer goes as it likes: what the client
//! says, what the store and the accounts answer, what fails, and answers that nobody asked for.
//!
//! ```text
//! words   mx, submission or lmtp; tls (from the start), certificate (STARTTLS), remote (no password
//!         in clear), open (every password will do), nologin
//! text    a line of the client
//! !+      what is waited for goes well
//! !- way  it goes badly; the way is a letter
//! !B text the message has come; !K a chunk; !D !E kept; !R !M !N !P !C other answers; !Z TLS has begun;
//!         !I silence; !X the server stops: whether it was waited for or not
//! ```
#![no_main]

mod happens;
mod held;

use happens::Happens;
use held::Held;
use libfuzzer_sys::fuzz_target;
use pillarbox::mail::address::Address;
use pillarbox::mail::peer::{Security, TlsInfo};
use pillarbox::smtp::offer::Offer;
use pillarbox::smtp::role::Role;
use pillarbox::smtp::role::Terms;
use pillarbox::smtp::session::{Next, Session, Step};
use pillarbox::wire::access::{Plaintext, StartTls};
use pillarbox::wire::sasl::{Mechanism, Strictness};
use pillarbox_fuzz::script::{self, Turn};
use std::sync::Arc;

fn tls() -> Security {
    Security::Tls(TlsInfo { version: "TLSv1.3".into(), cipher: "x".into(), exporter: Some([3; 32]) })
}

fn terms(words: &[u8]) -> Arc<Terms> {
    let role = match words.first() {
        Some(b's') => Role::Submission,
        Some(b'l') => Role::Lmtp,
        _ => Role::Mx,
    };
    Arc::new(Terms {
        hostname: "mx.example.org".into(),
        postmaster: Address::parse("postmaster@example.org").expect("an address"),
        message_octets_max: 1_000,
        recipients_max: 3,
        role,
    })
}

fn offer(role: Role, words: &[u8], security: Security) -> Offer {
    let has = |word| words.iter().skip(1).any(|letter| *letter == word);
    Offer {
        start_tls: if has(b'c') { StartTls::Possible } else { StartTls::Impossible },
        plaintext: if has(b'r') { Plaintext::Refused } else { Plaintext::Allowed },
        mechanisms: match role {
            _ if has(b'n') => Offer::default().mechanisms,
            _ if has(b'o') => Mechanism::WITH_PASSWORD.into(),
            Role::Submission => Mechanism::offered(&security).into(),
            Role::Mx | Role::Lmtp => Offer::default().mechanisms,
        },
        strictness: if has(b'o') { Strictness::Lax } else { Strictness::Full },
        security,
    }
}

/// A session, what is known of it, and another one that began when TLS did.
struct Play<'a> {
    session: Session,
    next: Next,
    held: Held<'a>,
    terms: Arc<Terms>,
    /// What can be done under TLS.
    secured: Offer,
    fresh: Option<Session>,
}

impl Play<'_> {
    fn turn(&mut self, turn: Turn<'_>) {
        match turn {
            Turn::Line(line) => {
                while let Some(happens) = Happens::well(&self.next, &self.secured) {
                    self.happens(&happens);
                }
                self.happens(&Happens::Line(line.to_vec()));
            }
            Turn::Other(letter, text) => {
                let happens = match letter {
                    b'+' => Happens::well(&self.next, &self.secured),
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
            self.fresh = Some(Session::new(self.terms.clone(), self.secured.clone()).0);
        }
        self.next = step.next;
    }

    /// RFC 3207 §4.2: a session after TLS has begun is as one that began with it. How often it went
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
        assert_eq!((self.session.client(), self.session.login()), (fresh.client(), fresh.login()));
        assert_eq!(self.session.is_receiving(), fresh.is_receiving());
    }
}

fuzz_target!(|data: &[u8]| {
    let (words, turns) = script::read(data);
    let terms = terms(&words);
    let security = if words.iter().skip(1).any(|letter| *letter == b't') { tls() } else { Security::Plain };
    let first = offer(terms.role, &words, security);
    let (session, greeting) = Session::new(terms.clone(), first.clone());
    assert_eq!(greeting.code(), 220);
    let mut play = Play {
        session,
        next: Next::Read(Default::default()),
        held: Held::new(&terms, first),
        terms: terms.clone(),
        secured: offer(terms.role, &words, tls()),
        fresh: None,
    };
    turns.for_each(|turn| play.turn(turn));
});
