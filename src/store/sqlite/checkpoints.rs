//! One checkpoint: the connection for it, what it does, what it finds.

use super::fault::{Doing, Faults};
use super::sql::{PAGE_OCTETS, Sql, from_db};
use crate::store::outcome::Error;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Mutex;

/// What the WAL file shrinks to when it begins anew: about as much as is there at a hold of the writer.
pub(super) const WAL_KEPT_OCTETS: u64 = 40 * 1024 * 1024;

/// The connection that checkpoints, and when it has to.
pub(super) struct Checkpoints {
    pub(super) connection: Mutex<Option<SqliteConnection>>,
    /// About how many octets of the WAL are not in the database yet.
    pub(super) waiting: AtomicU64,
    /// Whether new mail was refused for want of room: then a shorter WAL helps.
    pub(super) pressed: AtomicBool,
    /// Octets in the WAL when somebody who reads for long, as a backup does, last kept it from beginning
    /// anew.
    pub(super) stuck: AtomicU64,
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

/// What a checkpoint does besides putting the WAL into the database.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Nothing, and it waits for nobody.
    Passive,
    /// It waits for the readers, so that the next commit begins the WAL anew.
    Restart,
    /// It waits for them, and cuts the file off.
    Truncate,
}

impl Kind {
    const fn sql(self) -> &'static str {
        match self {
            Kind::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Kind::Restart => "PRAGMA wal_checkpoint(RESTART)",
            Kind::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        }
    }
}

/// What a checkpoint has found and left.
#[derive(Clone, Copy, Default)]
pub(super) struct Pass {
    /// Octets in the WAL.
    pub(super) in_wal: u64,
    /// Octets of them that are not in the database yet.
    pub(super) left: u64,
    /// Whether somebody who reads was in its way.
    pub(super) is_stuck: bool,
}

/// Does one.
pub(super) async fn run(connection: &mut SqliteConnection, kind: Kind) -> Sql<Pass> {
    let row = sqlx::raw_sql(kind.sql()).fetch_one(connection).await?;
    let (busy, in_wal, done): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(Pass {
        in_wal: from_db(in_wal) * PAGE_OCTETS,
        left: from_db(in_wal - done) * PAGE_OCTETS,
        is_stuck: busy != 0,
    })
}

/// At a start: what a crash has left in the WAL goes into the database. Where a sync had failed, some of it
/// may be in the memory of the system alone, and mail that is written behind it would be lost with it; here
/// it is written once more, and synced. One that found no room, or a reader in its way, is left to later.
///
/// # Errors
/// [`Error::Broken`]: then no connection may be closed, as at the end.
pub(super) async fn settle(connection: &mut SqliteConnection, faults: &Faults) -> Result<(), Error> {
    match run(connection, Kind::Truncate).await.map_err(|error| faults.judge(Doing::Writing, &error)) {
        Err(broken @ Error::Broken(_)) => Err(broken),
        _ => Ok(()),
    }
}
