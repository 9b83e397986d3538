//! A large body on its way in.

use super::outcome::Error;
use crate::mail::body::Body;
use bytes::Bytes;

/// A body that is written slice by slice. Dropping it throws away what no delivery has named.
#[derive(Debug)]
pub struct Staging {}

impl Staging {
    /// Appends a slice. Ready when the store has taken it; a slow disk makes the sender wait here.
    ///
    /// # Errors
    /// [`Error`]; the body cannot be delivered then.
    pub async fn push(&mut self, slice: Bytes) -> Result<(), Error> {
        todo!("{slice:?}")
    }

    /// The body as a delivery names it. Keep the staging until the delivery was answered.
    #[must_use]
    pub fn body(&self) -> Body {
        todo!()
    }
}
