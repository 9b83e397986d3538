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
