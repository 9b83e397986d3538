//! Changes: one batch, one transaction, one sync.
//!
//! Most batches are small messages alone, and go the short way ([`quick`]). The long way is:
//!
//! ```text
//!   BEGIN IMMEDIATE, what is known of the mailboxes      one trip to SQLite's thread
//!   each op: checked first, then its rows are collected  no statement for most deliveries
//!   the rows, a few fat INSERTs                          one message alone: one trip …
//!   the counters, COMMIT                                 … together with these
//! ```
//!
//! An op is checked before anything of it is written, so one that is refused leaves nothing behind and
//! no savepoint is needed. An error of SQLite itself ends the whole batch.

use super::database::Sqlite;
use super::delivery::Pending;
use super::fault::Doing;
use super::sql::{PAGE_OCTETS, Sql, insert_chunk};
use super::writing::Writing;
use super::{accounts, quick, remove, setup, slices, tidy};
use crate::mail::ids::BodyId;
use crate::store::engine::{AccountChange, Done, Op};
use crate::store::outcome::Error;
use bytes::Bytes;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// Whether a batch may bring new mail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NewMail {
    Welcome,
    /// The disk is full: only what needs no room or makes some is done.
    Refused,
}

/// Does a batch.
pub(super) async fn apply(sqlite: &Sqlite, batch: &[Op]) -> Result<Vec<Result<Done, Error>>, Error> {
    let mut writing = sqlite.writing.lock().await;
    sqlite.faults.check()?;
    let octets = needed(batch);
    let mail = if octets == 0 || has_room(sqlite, &mut writing, octets).await? {
        NewMail::Welcome
    } else {
        NewMail::Refused
    };
    let mut outcome = attempt(sqlite, &mut writing, batch, mail).await;
    if outcome.as_ref().is_err_and(|e| *e == Error::DiskFull) && batch.iter().any(makes_room) {
        // Others have filled the disk. Deleting must go on all the same.
        let reserve = sqlite.space.release();
        if reserve || (octets > 0 && mail == NewMail::Welcome) {
            outcome = attempt(sqlite, &mut writing, batch, NewMail::Refused).await;
        }
    }
    let is_server = sqlite.checkpoints.is_some();
    if outcome.is_ok() && (!is_server || batch.iter().any(|op| matches!(op, Op::Account(_)))) {
        sqlite.changes.note();
    }
    if let Some(checkpoints) = &sqlite.checkpoints {
        let full = mail == NewMail::Refused || outcome.as_ref().is_err_and(|e| *e == Error::DiskFull);
        let written: u64 = batch.iter().map(|op| op.octets() + PAGE_OCTETS).sum();
        checkpoints.note_commit(written + 4 * PAGE_OCTETS, full);
    }
    outcome
}

async fn attempt(
    sqlite: &Sqlite,
    writing: &mut Writing,
    batch: &[Op],
    mail: NewMail,
) -> Result<Vec<Result<Done, Error>>, Error> {
    let Some(connection) = &mut writing.connection else {
        return Err(Error::Unavailable("the server is stopping".into()));
    };
    let slices = if mail == NewMail::Welcome { slices::of(batch) } else { None };
    let done = match (&mut writing.slices, slices) {
        (Some(connection), Some(slices)) => slices::write(connection, slices).await,
        _ => transact(connection, batch, mail, writing.default_quota).await,
    };
    match done {
        Ok(results) => Ok(results),
        Err(error) => {
            let verdict = sqlite.faults.judge(Doing::Writing, &error);
            if verdict != Error::DiskFull {
                tracing::error!(%error, changes = batch.len(), "a commit failed");
            }
            match writing.leave().await {
                Ok(()) => Err(verdict),
                Err(stuck) => Err(Error::Broken(format!("after {error}: {stuck}"))),
            }
        }
    }
}

/// Octets that the new mail of a batch may add to the database and to the WAL; 0 without new mail.
fn needed(batch: &[Op]) -> u64 {
    let mail = batch.iter().filter(|op| is_new_mail(op));
    let (ops, octets) = mail.fold((0, 0), |(ops, octets), op| (ops + 1, octets + op.octets()));
    if ops == 0 { 0 } else { octets * 5 / 4 + (2 * ops + 8) * PAGE_OCTETS }
}

fn is_new_mail(op: &Op) -> bool {
    matches!(op, Op::Deliver { .. } | Op::Stage { .. })
}

fn makes_room(op: &Op) -> bool {
    match op {
        Op::Expunge { .. } | Op::Expire(_) | Op::Discard(_) | Op::DiscardAll => true,
        Op::Account(change) => matches!(change, AccountChange::Remove(_)),
        Op::Deliver { .. } | Op::Stage { .. } => false,
    }
}

/// Whether there is room for new mail. Only a disk that is nearly full makes this more than two calls
/// of the operating system.
async fn has_room(sqlite: &Sqlite, writing: &mut Writing, octets: u64) -> Result<bool, Error> {
    if sqlite.space.has_room(octets, 0) {
        return Ok(true);
    }
    // Nearly full: what earlier deletions have left free inside the database counts, once the WAL is in it.
    tidy::cut(sqlite).await?;
    let Some(connection) = &mut writing.connection else { return Ok(true) };
    let unused = setup::unused_octets(connection).await.unwrap_or(0);
    Ok(sqlite.space.has_room(octets, unused))
}

async fn transact(
    connection: &mut SqliteConnection,
    batch: &[Op],
    mail: NewMail,
    default_quota: Option<u64>,
) -> Sql<Vec<Result<Done, Error>>> {
    if mail == NewMail::Welcome
        && let Some(results) = quick::deliver(connection, batch, default_quota).await?
    {
        return Ok(results);
    }
    let mut pending = Pending::begin(connection, batch, default_quota).await?;
    let mut results = Vec::with_capacity(batch.len());
    for op in batch {
        if mail == NewMail::Refused && is_new_mail(op) {
            results.push(Err(Error::DiskFull));
            continue;
        }
        results.push(match op {
            Op::Deliver { delivery, takes } => pending.deliver(delivery, takes).await?,
            Op::Stage { body, place, slice } => stage(&mut pending, *body, *place, slice).await?,
            Op::Discard(body) => {
                discard(pending.flush().await?, *body).await?;
                Ok(Done::Discarded)
            }
            Op::DiscardAll => {
                discard_all(pending.flush().await?).await?;
                Ok(Done::Discarded)
            }
            Op::Expunge { mailbox, ids } => {
                let deleted = remove::expunge(pending.flush().await?, *mailbox, ids).await?;
                Ok(Done::Expunged(usize::try_from(deleted).unwrap_or(0)))
            }
            Op::Expire(ids) => {
                let deleted = remove::expire(pending.flush().await?, ids).await?;
                Ok(Done::Expunged(usize::try_from(deleted).unwrap_or(0)))
            }
            Op::Account(change) => Ok(Done::Account(accounts::change(pending.flush().await?, change).await?)),
        });
    }
    pending.commit().await?;
    Ok(results)
}

/// Appends a slice to a staged body, or begins one.
async fn stage(
    pending: &mut Pending<'_>,
    body: Option<BodyId>,
    place: u32,
    slice: &Bytes,
) -> Sql<Result<Done, Error>> {
    const BEGIN: &str = "INSERT INTO body (id, copies, octets, chunks) VALUES (?, 0, 0, 0)";
    let begun = body.unwrap_or_else(|| pending.next_body());
    let connection = pending.connection();
    if body.is_some() && !slices::is_staged(connection, begun).await? {
        return Ok(Err(slices::gone()));
    }
    if body.is_none() {
        sqlx::query(BEGIN).bind(begun.0).execute(&mut *connection).await?;
    }
    insert_chunk(connection, begun, place, slice.to_vec()).await?;
    Ok(Ok(Done::Staged(begun)))
}

async fn discard(connection: &mut SqliteConnection, body: BodyId) -> Sql<()> {
    let deleted = sqlx::query("DELETE FROM body WHERE id = ? AND copies = 0");
    if deleted.bind(body.0).execute(&mut *connection).await?.rows_affected() > 0 {
        remove::chunks(connection, body).await?;
    }
    Ok(())
}

async fn discard_all(connection: &mut SqliteConnection) -> Sql<()> {
    let staged = sqlx::query("SELECT id FROM body WHERE copies = 0").fetch_all(&mut *connection).await?;
    for row in &staged {
        discard(connection, BodyId(row.try_get(0)?)).await?;
    }
    if !staged.is_empty() {
        tracing::info!(bodies = staged.len(), "messages that were never finished were thrown away");
    }
    Ok(())
}
