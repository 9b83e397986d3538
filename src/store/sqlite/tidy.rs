//! Checkpoints: what is in the WAL goes into the database, off the path of the commits.
//!
//! A passive checkpoint disturbs nobody, and the WAL then begins anew by itself in the next quiet
//! moment. Under a load without such a moment it would grow for ever: past a bound the writer is held for
//! the short rest of the work, and the next commit writes over what is there. That costs less than a file
//! that is cut off and grows again; it is cut off where the disk is nearly full, and after a commit that was
//! out of the ordinary.

use super::checkpoints::{Checkpoints, Kind, Pass, WAL_KEPT_OCTETS, run};
use super::database::Sqlite;
use super::fault::Doing;
use crate::store::outcome::Error;
use sqlx::Connection;
use std::sync::atomic::Ordering;

/// Octets that may wait in the WAL before a passive checkpoint.
const WAITING_OCTETS_MAX: u64 = 4 * 1024 * 1024;
/// Octets in the WAL before the writer is held. The system writes as many into the database then, so that
/// more would hold it for longer.
const WAL_OCTETS_MAX: u64 = 24 * 1024 * 1024;
/// A WAL file beyond this is cut off at once. The next commit, which somebody waits for, would have to.
const WAL_ODD_OCTETS: u64 = 56 * 1024 * 1024;
/// When the disk is nearly full, this much is enough for a checkpoint.
const WAITING_OCTETS_LOW: u64 = 128 * 1024;

/// After a commit: a checkpoint when it is time for one, and the reserve when there is room again.
pub(super) async fn tidy(sqlite: &Sqlite) -> Result<(), Error> {
    let Some(checkpoints) = &sqlite.checkpoints else { return Ok(()) };
    let pressed = checkpoints.pressed.swap(false, Ordering::Relaxed);
    let waiting = checkpoints.waiting.load(Ordering::Relaxed);
    let is_low = pressed || sqlite.space.is_low();
    let bound = if is_low { WAITING_OCTETS_LOW } else { WAITING_OCTETS_MAX };
    let stuck = checkpoints.stuck.load(Ordering::Relaxed);
    // A command beside the server writes into the WAL too, and the server does not see its commits.
    if waiting < bound && !pressed && sqlite.space.wal_octets() <= stuck + WAL_KEPT_OCTETS + bound {
        return Ok(());
    }
    checkpoints.waiting.store(0, Ordering::Relaxed);
    let pass = checkpoint(sqlite, checkpoints, Kind::Passive).await?.unwrap_or_default();
    checkpoints.waiting.fetch_add(pass.left, Ordering::Relaxed);
    // It may have begun anew by itself since.
    let stuck = stuck.min(pass.in_wal);
    checkpoints.stuck.store(stuck, Ordering::Relaxed);
    // Each try to begin anew holds the writer: while somebody reads for long, one in so many octets.
    let is_long = pass.in_wal > stuck + WAL_OCTETS_MAX;
    if is_long || (is_low && sqlite.space.wal_octets() > WAITING_OCTETS_LOW) {
        let held = sqlite.writing.lock().await;
        let is_odd = sqlite.space.wal_octets() > WAL_ODD_OCTETS;
        let kind = if is_low || is_odd { Kind::Truncate } else { Kind::Restart };
        let pass = checkpoint(sqlite, checkpoints, kind).await?;
        drop(held);
        let stuck = pass.filter(|pass| pass.is_stuck).map_or(0, |pass| pass.in_wal);
        checkpoints.stuck.store(stuck, Ordering::Relaxed);
    }
    sqlite.space.restore();
    Ok(())
}

/// Puts all of the WAL into the database and cuts the file off. The caller holds the writer.
pub(super) async fn cut(sqlite: &Sqlite) -> Result<(), Error> {
    if let Some(checkpoints) = &sqlite.checkpoints {
        checkpoint(sqlite, checkpoints, Kind::Truncate).await?;
    }
    Ok(())
}

/// One checkpoint. One that found no room is no fault: the WAL keeps everything until the next.
async fn checkpoint(sqlite: &Sqlite, checkpoints: &Checkpoints, kind: Kind) -> Result<Option<Pass>, Error> {
    // Whoever holds the writer may wait for this lock; nobody waits for the writer while holding it.
    let mut guard = checkpoints.connection.lock().await;
    sqlite.faults.check()?;
    let Some(connection) = guard.as_mut() else { return Ok(None) };
    match run(connection, kind).await {
        Ok(pass) => Ok(Some(pass)),
        Err(error) => match sqlite.faults.judge(Doing::Writing, &error) {
            Error::DiskFull | Error::Unavailable(_) => Ok(None),
            verdict => Err(verdict),
        },
    }
}

/// The end: the WAL goes into the database and the connections are closed. Whoever closes the last
/// one, here or in another process, removes the WAL.
///
/// # Errors
/// [`Error::Broken`] when the disk fails. Then the writer stays open: to close the last connection is to try
/// the same once more, and to believe it.
pub(super) async fn close(sqlite: &Sqlite) -> Result<(), Error> {
    sqlite.readers.close().await;
    let mut writing = sqlite.writing.lock().await;
    cut(sqlite).await?;
    sqlite.faults.check()?;
    let last = match &sqlite.checkpoints {
        Some(checkpoints) => checkpoints.connection.lock().await.take(),
        None => None,
    };
    for connection in last.into_iter().chain(writing.end()) {
        if let Err(error) = connection.close().await {
            tracing::warn!(%error, "a connection could not be closed");
        }
    }
    Ok(())
}
