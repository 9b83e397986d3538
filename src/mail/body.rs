//! A message as it was received, without the trace lines that the server puts on top.

use super::ids::BodyId;
use bytes::Bytes;

/// A received message: its octets when it is small, the name of its staged octets when it is large.
///
/// Every line ends with CRLF, the last one too.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it, in slices as they came from the socket.
    Memory(Vec<Bytes>),
    /// It lies in the store already, in slices that nobody sees until a delivery names them.
    Staged {
        /// What the store calls it.
        id: BodyId,
        /// How long it is in octets.
        octets: u64,
    },
}

impl Body {
    /// Length in octets.
    #[must_use]
    pub fn octets(&self) -> u64 {
        match self {
            Body::Memory(slices) => slices.iter().map(|s| s.len() as u64).sum(),
            Body::Staged { octets, .. } => *octets,
        }
    }
}

/// How a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With a field of a header, or with the empty line that ends a header without any.
    Header,
    /// With neither: it is text alone, as `sendmail("Hello Bob")` of many a program makes it.
    Text,
    /// With white space: below a header it would be read as the end of the line above it.
    Fold,
}

/// A message that was received.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its octets.
    pub body: Body,
    /// How they begin.
    pub beginning: Beginning,
}
