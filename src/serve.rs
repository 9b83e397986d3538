//! The assembly: configuration, store, listeners, signals, and an orderly end.

use crate::config::Config;

/// Whether the mail outlives the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The data directory of the configuration.
    Kept,
    /// A directory that is made for this run and removed at its end.
    Ephemeral,
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
pub fn run(_config: Config, _lifetime: Lifetime) -> Result<(), ServeError> {
    Err(ServeError::Missing)
}
