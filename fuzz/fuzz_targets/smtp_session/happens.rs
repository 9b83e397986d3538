//! What may happen to a session of SMTP: chosen by a turn of the script, made as often as it is needed.

use bytes::Bytes;
use pillarbox::auth::outcome::{Denied, Login, Verified};
use pillarbox::mail::address::Address;
use pillarbox::mail::body::{Beginning, Body, Message};
use pillarbox::mail::ids::QueueId;
use pillarbox::smtp::codec::Framing;
use pillarbox::smtp::intake::BodyFault;
use pillarbox::smtp::offer::Offer;
use pillarbox::smtp::session::{Answer, Ask, Event, Next};
use pillarbox::store::outcome::{Error, Receipt, Route};
use pillarbox::wire::sasl::{Evidence, ScramParameters, ServerSignature};
use std::sync::Arc;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Happens {
    Line(Vec<u8>),
    LineTooLong,
    BareNewline,
    Body(Result<Vec<u8>, BodyFault>),
    Chunk(Result<(), BodyFault>),
    Skipped,
    Secured(Offer),
    Idle,
    Stop,
    Route(Result<Route, Error>),
    MaySend(Result<bool, Error>),
    /// Receipts by their number.
    Deliver(Result<u64, Error>),
    DeliverEach(Vec<Result<u64, Error>>),
    Nonce(Result<[u8; 18], Error>),
    Parameters(Result<ScramParameters, Denied>),
    Check(Result<Verified, Denied>),
}

/// The proof that a message with this number was kept.
pub fn receipt(number: u64) -> Receipt {
    Receipt::pretended(QueueId::from_random(number << 4))
}

impl Happens {
    /// The same for a session.
    pub fn event(&self) -> Event<'_> {
        let message = |octets: &Vec<u8>| Message {
            body: Body::Memory(vec![Bytes::copy_from_slice(octets)]),
            beginning: Beginning::Header,
        };
        Event::Answer(match self {
            Happens::Line(line) => return Event::Line(line),
            Happens::LineTooLong => return Event::LineTooLong,
            Happens::BareNewline => return Event::BareNewline,
            Happens::Body(it) => return Event::Body(it.as_ref().map(message).map_err(Clone::clone)),
            Happens::Chunk(it) => return Event::Chunk(it.clone()),
            Happens::Skipped => return Event::Skipped,
            Happens::Secured(offer) => return Event::Secured(offer.clone()),
            Happens::Idle => return Event::Idle,
            Happens::Stop => return Event::Stop,
            Happens::Route(it) => Answer::Route(it.clone()),
            Happens::MaySend(it) => Answer::MaySend(it.clone()),
            Happens::Deliver(it) => Answer::Deliver(it.clone().map(receipt)),
            Happens::DeliverEach(each) => Answer::DeliverEach(
                each.iter().map(|it| it.clone().map(|number| Arc::new(receipt(number)))).collect(),
            ),
            Happens::Nonce(it) => Answer::Nonce(it.clone()),
            Happens::Parameters(it) => Answer::Parameters(it.clone()),
            Happens::Check(it) => Answer::Check(it.clone()),
        })
    }

    /// Whether it is what the session waits for; silence and a stop may come at any time.
    pub fn is_awaited(&self, next: &Next) -> bool {
        match (next, self) {
            (_, Happens::Idle | Happens::Stop) => true,
            (Next::Read(_), Happens::Line(_) | Happens::LineTooLong | Happens::BareNewline) => true,
            (Next::Body(framing), _) => match framing {
                Framing::Skip { .. } => matches!(self, Happens::Skipped),
                Framing::Chunk { last: false, .. } => matches!(self, Happens::Chunk(_)),
                Framing::Dot | Framing::Chunk { .. } => matches!(self, Happens::Body(_)),
            },
            (Next::StartTls, Happens::Secured(_)) => true,
            (Next::Ask(Ask::DeliverEach(envelope, _)), Happens::DeliverEach(each)) => {
                each.len() == envelope.recipients.len()
            }
            (Next::Ask(Ask::Route(..)), Happens::Route(_))
            | (Next::Ask(Ask::MaySend(..)), Happens::MaySend(_))
            | (Next::Ask(Ask::Deliver(..)), Happens::Deliver(_))
            | (Next::Ask(Ask::Nonce), Happens::Nonce(_))
            | (Next::Ask(Ask::Parameters(_)), Happens::Parameters(_))
            | (Next::Ask(Ask::Check(Evidence::Password(_) | Evidence::Scram(_))), Happens::Check(_))
            | (Next::Ask(Ask::Check(Evidence::Void(_))), Happens::Check(Err(_))) => true,
            _ => false,
        }
    }

    /// What goes well, by what the session waits for; `None` where that is a line.
    pub fn well(next: &Next, secured: &Offer) -> Option<Happens> {
        Some(match next {
            Next::Read(_) | Next::Close => return None,
            Next::StartTls => Happens::Secured(secured.clone()),
            Next::Body(Framing::Skip { .. }) => Happens::Skipped,
            Next::Body(Framing::Chunk { last: false, .. }) => Happens::Chunk(Ok(())),
            Next::Body(_) => Happens::Body(Ok(b"x\r\n".to_vec())),
            Next::Ask(Ask::Route(to, _)) => Happens::Route(Ok(Route::Mailboxes(vec![to.name()]))),
            Next::Ask(Ask::MaySend(..)) => Happens::MaySend(Ok(true)),
            Next::Ask(Ask::Deliver(..)) => Happens::Deliver(Ok(1)),
            Next::Ask(Ask::DeliverEach(envelope, _)) => {
                Happens::DeliverEach((1..).take(envelope.recipients.len()).map(Ok).collect())
            }
            Next::Ask(Ask::Nonce) => Happens::Nonce(Ok([7; 18])),
            Next::Ask(Ask::Parameters(_)) => Happens::Parameters(Ok(parameters())),
            Next::Ask(Ask::Check(evidence)) => Happens::Check(verified(evidence)),
        })
    }

    /// What goes badly, in one of several ways; `None` where nothing can.
    pub fn badly(next: &Next, way: u8) -> Option<Happens> {
        let error = || error(way);
        let denied = || match way % 4 {
            0 | 1 => Denied::Credentials,
            2 => Denied::Blocked,
            _ => Denied::Store(error()),
        };
        Some(match next {
            Next::Read(_) if way.is_multiple_of(2) => Happens::LineTooLong,
            Next::Read(_) => Happens::BareNewline,
            Next::Close | Next::StartTls | Next::Body(Framing::Skip { .. }) => return None,
            Next::Body(Framing::Chunk { last: false, .. }) => Happens::Chunk(Err(fault(way))),
            Next::Body(_) => Happens::Body(Err(fault(way))),
            Next::Ask(Ask::Route(to, _)) => Happens::Route(match way % 4 {
                0 => Ok(Route::Unknown),
                1 => Ok(Route::Foreign),
                2 => Ok(Route::Full(to.name())),
                _ => Err(error()),
            }),
            Next::Ask(Ask::MaySend(..)) => {
                Happens::MaySend(if way.is_multiple_of(2) { Ok(false) } else { Err(error()) })
            }
            Next::Ask(Ask::Deliver(..)) => Happens::Deliver(Err(error())),
            Next::Ask(Ask::DeliverEach(envelope, _)) => {
                let one = |at| if way >> (at % 8) & 1 == 0 { Err(error()) } else { Ok(at) };
                Happens::DeliverEach((1..).take(envelope.recipients.len()).map(one).collect())
            }
            Next::Ask(Ask::Nonce) => Happens::Nonce(Err(error())),
            Next::Ask(Ask::Parameters(_)) => Happens::Parameters(Err(denied())),
            Next::Ask(Ask::Check(_)) => Happens::Check(Err(denied())),
        })
    }

    /// What a letter of a script says that happens, whatever is waited for.
    pub fn out_of_the_blue(letter: u8, text: &[u8], secured: &Offer) -> Option<Happens> {
        Some(match letter {
            b'B' => Happens::Body(Ok(text.to_vec())),
            b'K' => Happens::Chunk(Ok(())),
            b'Z' => Happens::Secured(secured.clone()),
            b'I' => Happens::Idle,
            b'X' => Happens::Stop,
            b'R' => Happens::Route(Ok(Route::Mailboxes(vec![somebody().name()]))),
            b'M' => Happens::MaySend(Ok(true)),
            b'D' => Happens::Deliver(Ok(2)),
            b'E' => Happens::DeliverEach(vec![Ok(2)]),
            b'N' => Happens::Nonce(Ok([8; 18])),
            b'P' => Happens::Parameters(Ok(parameters())),
            b'C' => {
                Happens::Check(Ok(Verified { login: Login::pretended(somebody().name()), signature: None }))
            }
            _ => return None,
        })
    }
}

fn somebody() -> Address {
    Address::parse("alice@example.org").expect("an address")
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
    Ok(Verified { login: Login::pretended(somebody().name()), signature })
}

fn error(way: u8) -> Error {
    match way / 4 % 6 {
        0 => Error::Unavailable("secret detail".into()),
        1 => Error::DiskFull,
        2 => Error::Broken("secret detail".into()),
        3 => Error::LeaseLost,
        4 => Error::MailboxFull(somebody().name()),
        _ => Error::NoMailbox(somebody().name()),
    }
}

fn fault(way: u8) -> BodyFault {
    match way % 5 {
        0 => BodyFault::TooBig,
        1 => BodyFault::BareNewline,
        2 => BodyFault::HeaderTooBig,
        3 => BodyFault::Loop,
        _ => BodyFault::Store(error(way)),
    }
}
