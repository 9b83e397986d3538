//! What goes into a session and what comes out of it.

use crate::auth::outcome::{Denied, Login, Verified};
use crate::mail::address::{Address, Sender};
use crate::mail::body::Message;
use crate::mail::envelope::Envelope;
use crate::smtp::codec::{Awaiting, Framing};
use crate::smtp::intake::BodyFault;
use crate::smtp::offer::Offer;
use crate::smtp::reply::Reply;
use crate::store::outcome::{Error, Receipt, Route};
use crate::wire::sasl::{Evidence, ScramParameters};
use smallvec::SmallVec;
use std::sync::Arc;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line came, here without its CRLF.
    Line(&'a [u8]),
    /// A line was longer than a line may be.
    LineTooLong,
    /// A line held a LF without CR.
    BareNewline,
    /// The message of DATA, or of all chunks up to the last, was read to its end.
    Body(Result<Message, BodyFault>),
    /// A chunk that is not the last was read to its end.
    Chunk(Result<(), BodyFault>),
    /// The octets of a refused chunk were read and thrown away.
    Skipped,
    /// The answer to what the last step asked.
    Answer(Answer),
    /// TLS has begun, and this is what can be done under it. A handshake that failed ends the
    /// connection, and the session hears nothing of it.
    Secured(Offer),
    /// Nothing came for too long.
    Idle,
    /// The server is stopping.
    Stop,
}

/// What to say, and the one thing to do then.
#[derive(Debug)]
pub struct Step {
    /// Replies, in order.
    pub say: SmallVec<[Reply; 1]>,
    /// What to do next.
    pub next: Next,
}

/// The one thing to do next.
#[derive(Debug)]
pub enum Next {
    /// Read a line of this kind.
    Read(Awaiting),
    /// Read what is not lines.
    Body(Framing),
    /// Find an answer.
    Ask(Ask),
    /// Send what was said and begin TLS. Nothing that came before counts after it.
    StartTls,
    /// Close the connection. The session is over.
    Close,
}

/// A question that only others can answer.
#[derive(Debug)]
pub enum Ask {
    /// Where does mail for this address go, when it is of the given size in octets?
    Route(Address, Option<u64>),
    /// May this account send mail with that reverse-path?
    MaySend(Login, Sender),
    /// Keep this message for all recipients or for none.
    Deliver(Envelope, Message),
    /// Keep this message for each recipient by itself.
    DeliverEach(Envelope, Message),
    /// Fresh random octets for an exchange of SASL.
    Nonce,
    /// What does a client of SCRAM with this user name need?
    Parameters(Box<str>),
    /// Is this right?
    Check(Evidence),
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Route`].
    Route(Result<Route, Error>),
    /// To [`Ask::Route`]: there is no memory for another recipient at the moment.
    Crowded,
    /// To [`Ask::MaySend`].
    MaySend(Result<bool, Error>),
    /// To [`Ask::Deliver`].
    Deliver(Result<Receipt, Error>),
    /// To [`Ask::DeliverEach`]: one for each recipient of the envelope, in order.
    DeliverEach(Vec<Result<Arc<Receipt>, Error>>),
    /// To [`Ask::Nonce`].
    Nonce(Result<[u8; 18], Error>),
    /// To [`Ask::Parameters`].
    Parameters(Result<ScramParameters, Denied>),
    /// To [`Ask::Check`].
    Check(Result<Verified, Denied>),
}
