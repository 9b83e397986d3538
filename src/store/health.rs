//! Whether the disk can still be trusted. Once it has failed, nothing is acknowledged any more.
//!
//! Nor is the database closed then. Linux tells of a failed sync once, and may have dropped what it could not
//! write; the next sync succeeds. A checkpoint, as the closing of the last connection makes one, would copy
//! what is left of that over the good pages of the database and remove the WAL. The next start finds the WAL,
//! takes of it what its checksums prove, and writes that once more.

use super::engine::Engine;
use super::outcome::Error;
use std::mem;
use std::sync::Arc;
use tokio::sync::watch;

/// The first failure of the disk, if there was one.
pub(super) struct Health {
    failure: watch::Sender<Option<String>>,
    engine: Arc<dyn Engine>,
}

impl Health {
    /// The health of the disk that the engine works on.
    pub(super) fn new(engine: Arc<dyn Engine>) -> Health {
        Health { failure: watch::Sender::new(None), engine }
    }

    /// # Errors
    /// [`Error::Broken`] once the disk has failed.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &*self.failure.borrow() {
            Some(reason) => Err(Error::Broken(reason.clone())),
            None => Ok(()),
        }
    }

    /// Remembers the first failure.
    pub(super) fn note(&self, error: &Error) {
        if let Error::Broken(reason) = error {
            self.failure.send_if_modified(|failure| {
                let first = failure.is_none();
                if first {
                    tracing::error!(%reason, "the disk fails: nothing more is acknowledged");
                    *failure = Some(reason.clone());
                    // Whoever drops the last handle would close the database.
                    mem::forget(Arc::clone(&self.engine));
                }
                first
            });
        }
    }

    /// Notes an error on its way out.
    pub(super) fn noted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.note(error);
        }
        result
    }

    /// Waits for the failure.
    pub(super) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let seen = match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            // The sender is this very struct and outlives the wait.
            Err(_) => None,
        };
        seen.unwrap_or_default()
    }
}
