//! Checkpoints: what is in the WAL goes into the database, off the path of the commits.
//!
//! A passive checkpoint disturbs nobody, and the WAL then begins anew by itself in the next quiet
//! moment. Under a load without such a moment the file would grow for ever: past a bound the writer is
//! held for the short rest of the work and the file is cut off.

use super::fault::Doing;
use super::{PAGE_OCTETS, Sqlite, from_db};
use crate::store::outcome::Error;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Mutex;

/// Octets that may wait in the WAL before a passive checkpoint.
const WAITING_OCTETS_MAX: u64 = 8 * 1024 * 1024;
/// Octets of the WAL file before the writer is held.
const WAL_OCTETS_MAX: u64 = 64 * 1024 * 1024;
/// When the disk is nearly full, this much is enough for a checkpoint.
const WAITING_OCTETS_LOW: u64 = 128 * 1024;

/// The connection that checkpoints, and when it has to.
pub(super) struct Checkpoints {
    connection: Mutex<Option<SqliteConnection>>,
    /// About how many octets of the WAL are not in the database yet.
    waiting: AtomicU64,
    /// Whether new mail was refused for want of room: then a shorter WAL helps.
    pressed: AtomicBool,
    /// Octets of the WAL file when somebody who reads for long, as a backup does, last kept it from being
    /// cut.
    stuck: AtomicU64,
}

impl Checkpoints {
    pub(super) fn new(connection: SqliteConnection) -> Checkpoints {
        Checkpoints {
            connection: Mutex::new(Some(connection)),
            waiting: AtomicU64::new(0),
            pressed: AtomicBool::new(false),
            stuck: AtomicU64::new(0),
        }
    }

    /// A commit has put about so many octets into the WAL, or met a full disk.
    pub(super) fn note_commit(&self, octets: u64, disk_full: bool) {
        self.waiting.fetch_add(octets, Ordering::Relaxed);
        if disk_full {
            self.pressed.store(true, Ordering::Relaxed);
        }
    }
}

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Octets that a checkpoint has left in the WAL.
async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<u64, sqlx::Error> {
    let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
    let (in_wal, done): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
    Ok(from_db(in_wal - done) * PAGE_OCTETS)
}

/// After a commit: a checkpoint when it is time for one, and the reserve when there is room again.
pub(super) async fn tidy(sqlite: &Sqlite) -> Result<(), Error> {
    let Some(checkpoints) = &sqlite.checkpoints else { return Ok(()) };
    let pressed = checkpoints.pressed.swap(false, Ordering::Relaxed);
    let waiting = checkpoints.waiting.load(Ordering::Relaxed);
    let is_low = pressed || sqlite.space.is_low();
    let bound = if is_low { WAITING_OCTETS_LOW } else { WAITING_OCTETS_MAX };
    // Each try to cut the WAL holds the writer: while somebody reads for long, one in so many octets.
    let wal_bound = checkpoints.stuck.load(Ordering::Relaxed) + WAL_OCTETS_MAX;
    // A command beside the server writes into the WAL too, and the server does not see its commits.
    if waiting < bound && !pressed && sqlite.space.wal_octets() <= wal_bound {
        return Ok(());
    }
    checkpoints.waiting.store(0, Ordering::Relaxed);
    let left = checkpoint(sqlite, checkpoints, PASSIVE).await?;
    checkpoints.waiting.fetch_add(left, Ordering::Relaxed);
    let wal = sqlite.space.wal_octets();
    if wal > wal_bound || (is_low && wal > WAITING_OCTETS_LOW) {
        let held = sqlite.writing.lock().await;
        cut(sqlite).await?;
        drop(held);
        let wal = sqlite.space.wal_octets();
        let stuck = if wal > WAL_OCTETS_MAX { wal } else { 0 };
        checkpoints.stuck.store(stuck, Ordering::Relaxed);
    }
    sqlite.space.restore();
    Ok(())
}

/// Puts all of the WAL into the database and cuts the file off. The caller holds the writer.
pub(super) async fn cut(sqlite: &Sqlite) -> Result<(), Error> {
    if let Some(checkpoints) = &sqlite.checkpoints {
        checkpoint(sqlite, checkpoints, TRUNCATE).await?;
    }
    Ok(())
}

/// One checkpoint; how many octets it has left in the WAL. One that found no room, or somebody in its
/// way, is no fault: the WAL keeps everything until the next.
async fn checkpoint(sqlite: &Sqlite, checkpoints: &Checkpoints, sql: &'static str) -> Result<u64, Error> {
    // Whoever holds the writer may wait for this lock; nobody waits for the writer while holding it.
    let mut guard = checkpoints.connection.lock().await;
    let Some(connection) = guard.as_mut() else { return Ok(0) };
    match run(connection, sql).await {
        Ok(left) => Ok(left),
        Err(error) => match sqlite.faults.judge(Doing::Writing, &error) {
            Error::DiskFull | Error::Unavailable(_) => Ok(0),
            verdict => Err(verdict),
        },
    }
}

/// The end: the WAL goes into the database and the connections are closed. Whoever closes the last
/// one, here or in another process, removes the WAL.
pub(super) async fn close(sqlite: &Sqlite) {
    sqlite.readers.close().await;
    let mut writing = sqlite.writing.lock().await;
    let writers = writing.end();
    let checkpoints = match &sqlite.checkpoints {
        Some(checkpoints) => checkpoints.connection.lock().await.take(),
        None => None,
    };
    let mut connections: Vec<SqliteConnection> = checkpoints.into_iter().collect();
    for connection in &mut connections {
        if let Err(error) = run(connection, TRUNCATE).await {
            tracing::warn!(%error, "the last checkpoint failed; the next start does it");
        }
    }
    for connection in connections.into_iter().chain(writers) {
        if let Err(error) = connection.close().await {
            tracing::warn!(%error, "a connection could not be closed");
        }
    }
}
