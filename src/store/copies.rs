//! Databases that nobody serves at the moment, or that are only looked at: checked, copied, made ready to be
//! served again. No [`super::Store`] is opened, and nothing is changed but by [`renumber`].

use super::open;
use super::options::OpenError;
use super::sqlite;
pub use super::sqlite::verify::{Listener, Summary};
use super::tenancy::Tenancy;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

/// The database of a data directory.
#[must_use]
pub fn database(data_dir: &Path) -> PathBuf {
    data_dir.join(sqlite::DATABASE_FILE)
}

/// Checks a database, beside a server or without one, and changes nothing: that its pages are sound, that
/// each body is whole, that each count is right, that nothing is an orphan. It looks at one moment of the
/// database; while it does, a server beside it cannot begin its WAL anew.
///
/// # Errors
/// [`OpenError`] when the file cannot be looked at, is no database of ours, or it was told to stop.
pub async fn verify(
    file: &Path,
    listener: &mut dyn Listener,
    stop: &CancellationToken,
) -> Result<Summary, OpenError> {
    sqlite::verify::verify(file, listener, stop).await.map_err(OpenError::of_a_file)
}

/// About how many octets [`copy`] will write.
///
/// # Errors
/// [`OpenError`] when the file cannot be looked at or is no database of ours.
pub async fn octets(file: &Path) -> Result<u64, OpenError> {
    sqlite::copy::octets(file).await.map_err(OpenError::of_a_file)
}

/// Copies a database as it is at one moment into `to`, a file that is empty. The copy is not synced.
///
/// # Errors
/// [`OpenError`] when the one cannot be read or the other not be written, or it was told to stop.
pub async fn copy(file: &Path, to: &Path, stop: &CancellationToken) -> Result<(), OpenError> {
    sqlite::copy::copy(file, to, stop).await.map_err(OpenError::of_a_file)
}

/// Makes a copy ready to take the place of the database that it is a copy of: unique-ids that were given
/// after it was made are not given again. Those of the messages in it stay.
///
/// # Errors
/// [`OpenError`]; nothing was changed then.
pub async fn renumber(file: &Path, now: SystemTime) -> Result<(), OpenError> {
    sqlite::copy::renumber(file, now).await
}

/// A data directory that no server can take while this lives.
pub struct Hold(#[expect(dead_code, reason = "held for its drop")] Tenancy);

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

/// Makes a data directory, if there is none, and keeps servers away from it.
///
/// # Errors
/// [`OpenError::InUse`] when a server has it, or what the operating system says.
pub async fn hold(data_dir: &Path) -> Result<Hold, OpenError> {
    open::hold(data_dir).await.map(Hold)
}
