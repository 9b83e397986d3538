//! What may happen to a session of POP3: chosen by a turn of the script, made as often as it is needed.

use pillarbox::auth::outcome::{Denied, Login, Verified};
use pillarbox::mail::address::Address;
use pillarbox::mail::ids::{Era, MessageId};
use pillarbox::mail::listing::{Entry, Listing};
use pillarbox::pop3::offer::Offer;
use pillarbox::pop3::session::{Answer, Ask, Event, Next, Refusal};
use pillarbox::store::outcome::{Error, Expunged};
use pillarbox::wire::sasl::{Evidence, ScramParameters, ServerSignature};

/// The era of every listing.
pub const ERA: Era = Era(0x5eed);

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Happens {
    Line(Vec<u8>),
    LineTooLong,
    BareNewline,
    Sent,
    Unsent(Error),
    Secured(Offer),
    Idle,
    Evicted,
    Stop,
    Nonce(Result<[u8; 18], Error>),
    Parameters(Result<ScramParameters, Denied>),
    Check(Result<Verified, Denied>),
    /// The messages, by their octets.
    Open(Result<Vec<u64>, Refusal>),
    /// How many were deleted.
    Update(Result<usize, Error>),
}

/// The messages of a listing, by their octets.
pub fn entries(octets: &[u64]) -> Vec<Entry> {
    (10..).zip(octets).map(|(id, &octets)| Entry { id: MessageId(id), octets }).collect()
}

impl Happens {
    /// The same for a session.
    pub fn event(&self) -> Event<'_> {
        Event::Answer(match self {
            Happens::Line(line) => return Event::Line(line),
            Happens::LineTooLong => return Event::LineTooLong,
            Happens::BareNewline => return Event::BareNewline,
            Happens::Sent => return Event::Sent,
            Happens::Unsent(error) => return Event::Unsent(error.clone()),
            Happens::Secured(offer) => return Event::Secured(offer.clone()),
            Happens::Idle => return Event::Idle,
            Happens::Evicted => return Event::Evicted,
            Happens::Stop => return Event::Stop,
            Happens::Nonce(it) => Answer::Nonce(it.clone()),
            Happens::Parameters(it) => Answer::Parameters(it.clone()),
            Happens::Check(it) => Answer::Check(it.clone()),
            Happens::Open(it) => Answer::Open(it.clone().map(|it| Listing::new(ERA, entries(&it)))),
            Happens::Update(it) => Answer::Update(it.clone().map(Expunged::pretended)),
        })
    }

    /// Whether it ends the session at any time.
    pub fn is_end(&self) -> bool {
        matches!(self, Happens::Idle | Happens::Evicted | Happens::Stop)
    }

    /// Whether it is what the session waits for.
    pub fn is_awaited(&self, next: &Next) -> bool {
        match next {
            Next::Read(_) => {
                matches!(self, Happens::Line(_) | Happens::LineTooLong | Happens::BareNewline)
            }
            Next::Send(_) => matches!(self, Happens::Sent | Happens::Unsent(_)),
            Next::StartTls => matches!(self, Happens::Secured(_)),
            Next::Ask(Ask::Nonce) => matches!(self, Happens::Nonce(_)),
            Next::Ask(Ask::Parameters(_)) => matches!(self, Happens::Parameters(_)),
            Next::Ask(Ask::Check(Evidence::Void(_))) => matches!(self, Happens::Check(Err(_))),
            Next::Ask(Ask::Check(_)) => matches!(self, Happens::Check(_)),
            Next::Ask(Ask::Open(_)) => matches!(self, Happens::Open(_)),
            Next::Ask(Ask::Update(_)) => matches!(self, Happens::Update(_)),
            Next::Close => false,
        }
    }

    /// What goes well, by what the session waits for; `None` where that is a line.
    pub fn well(next: &Next, mailbox: &[u64], secured: &Offer) -> Option<Happens> {
        Some(match next {
            Next::Read(_) | Next::Close => return None,
            Next::Send(_) => Happens::Sent,
            Next::StartTls => Happens::Secured(secured.clone()),
            Next::Ask(Ask::Nonce) => Happens::Nonce(Ok([7; 18])),
            Next::Ask(Ask::Parameters(_)) => Happens::Parameters(Ok(parameters())),
            Next::Ask(Ask::Check(evidence)) => Happens::Check(verified(evidence)),
            Next::Ask(Ask::Open(_)) => Happens::Open(Ok(mailbox.to_vec())),
            Next::Ask(Ask::Update(marked)) => Happens::Update(Ok(marked.len())),
        })
    }

    /// What goes badly, in one of several ways; `None` where nothing can.
    pub fn badly(next: &Next, way: u8) -> Option<Happens> {
        let error = || match way / 4 % 4 {
            0 => Error::Unavailable("secret detail".into()),
            1 => Error::DiskFull,
            2 => Error::Broken("secret detail".into()),
            _ => Error::LeaseLost,
        };
        let denied = || match way % 4 {
            0 | 1 => Denied::Credentials,
            2 => Denied::Blocked,
            _ => Denied::Store(error()),
        };
        Some(match next {
            Next::Read(_) if way.is_multiple_of(2) => Happens::LineTooLong,
            Next::Read(_) => Happens::BareNewline,
            Next::Close | Next::StartTls => return None,
            Next::Send(_) => Happens::Unsent(error()),
            Next::Ask(Ask::Nonce) => Happens::Nonce(Err(error())),
            Next::Ask(Ask::Parameters(_)) => Happens::Parameters(Err(denied())),
            Next::Ask(Ask::Check(_)) => Happens::Check(Err(denied())),
            Next::Ask(Ask::Open(_)) if way.is_multiple_of(2) => Happens::Open(Err(Refusal::InUse)),
            Next::Ask(Ask::Open(_)) => Happens::Open(Err(Refusal::Store(error()))),
            Next::Ask(Ask::Update(_)) => Happens::Update(Err(error())),
        })
    }

    /// What a letter of a script says that happens, whatever is waited for.
    pub fn out_of_the_blue(letter: u8, text: &[u8], secured: &Offer) -> Option<Happens> {
        Some(match letter {
            b'L' => Happens::Line(text.to_vec()),
            b'Z' => Happens::Secured(secured.clone()),
            b'I' => Happens::Idle,
            b'V' => Happens::Evicted,
            b'X' => Happens::Stop,
            b'N' => Happens::Nonce(Ok([8; 18])),
            b'P' => Happens::Parameters(Ok(parameters())),
            b'C' => Happens::Check(Ok(Verified { login: login(), signature: None })),
            b'O' => Happens::Open(Ok(vec![1])),
            b'U' => Happens::Update(Ok(1)),
            _ => return None,
        })
    }
}

fn login() -> Login {
    Login::pretended(Address::parse("ann@example.org").expect("an address").name())
}

fn parameters() -> ScramParameters {
    ScramParameters { salt: (*b"salt").into(), iterations: 4096 }
}

/// Void evidence is never right.
fn verified(evidence: &Evidence) -> Result<Verified, Denied> {
    let signature = match evidence {
        Evidence::Password(_) => None,
        Evidence::Scram(_) => Some(ServerSignature([3; 32])),
        Evidence::Void(_) => return Err(Denied::Credentials),
    };
    Ok(Verified { login: login(), signature })
}
