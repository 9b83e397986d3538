//! The assembly: configuration, store, listeners, signals, and an orderly end.

use crate::config::Config;

/// Whether the data directory outlives the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ephemeral {
    /// The directory of the configuration, which stays.
    No,
    /// One that is made for this run and removed at its end.
    Yes,
}

/// Why the server could not run: one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It is not there.
    #[error("serve is not in this build")]
    Missing,
}

/// Runs the server until a signal ends it.
///
/// # Errors
/// [`ServeError`], for the operator.
#[allow(clippy::needless_pass_by_value)]
pub fn run(_config: Config, _ephemeral: Ephemeral) -> Result<(), ServeError> {
    Err(ServeError::Missing)
}
