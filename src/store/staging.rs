//! A large body on its way in.

use super::engine::{Done, Op};
use super::outcome::Error;
use super::{Inner, unexpected};
use crate::mail::body::Body;
use crate::mail::ids::BodyId;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Most slices of one body: the place of a slice is the low 16 bits of its key.
const SLICES_MAX: u32 = 1 << 16;

/// A body that is written slice by slice. Dropping it throws away what no delivery has named.
pub struct Staging {
    store: Arc<Inner>,
    /// `None` until the first slice is written.
    body: Option<StagedBody>,
    slices: u32,
    octets: u64,
}

impl Staging {
    pub(super) fn new(store: Arc<Inner>) -> Staging {
        Staging { store, body: None, slices: 0, octets: 0 }
    }

    /// Appends a slice; an empty one is nothing. Ready when the store has taken it; a slow disk makes
    /// the sender wait here.
    ///
    /// # Errors
    /// [`Error`]; the body cannot be delivered then.
    pub async fn push(&mut self, slice: Bytes) -> Result<(), Error> {
        if slice.is_empty() {
            return Ok(());
        }
        if self.slices == SLICES_MAX {
            return Err(Error::Unavailable(format!("a message came in more than {SLICES_MAX} slices")));
        }
        let octets = slice.len() as u64;
        match &self.body {
            Some(body) => {
                let op = Op::Stage { body: Some(body.id), place: self.slices, slice };
                expect_staged(&self.store.writer.submit(op, Vec::new()).await?)?;
            }
            None => self.body = Some(begin(Arc::clone(&self.store), slice).await?),
        }
        self.slices += 1;
        self.octets += octets;
        Ok(())
    }

    /// The body as a delivery names it. Keep the staging until the delivery was answered.
    #[must_use]
    pub fn body(&self) -> Body {
        match &self.body {
            Some(body) => Body::Staged { id: body.id, octets: self.octets },
            None => Body::Memory(Vec::new()),
        }
    }
}

/// Writes the first slice. The task of its own ends even if the session does not wait for it, and then
/// drops the body that nobody knows of.
async fn begin(store: Arc<Inner>, slice: Bytes) -> Result<StagedBody, Error> {
    let begun = tokio::spawn(async move {
        let done = store.writer.submit(Op::Stage { body: None, place: 0, slice }, Vec::new()).await?;
        Ok(StagedBody { id: expect_staged(&done)?, store })
    });
    begun.await.map_err(|e| Error::Unavailable(format!("a large message could not be begun: {e}")))?
}

fn expect_staged(done: &Done) -> Result<BodyId, Error> {
    match done {
        Done::Staged(id) => Ok(*id),
        other => Err(unexpected(other)),
    }
}

/// The duty to throw a staged body away. The writer does nothing if a delivery has named it.
struct StagedBody {
    id: BodyId,
    store: Arc<Inner>,
}

impl Drop for StagedBody {
    fn drop(&mut self) {
        self.store.writer.request(Op::Discard(self.id));
    }
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Staging({} octets)", self.octets)
    }
}
