//! A copy of the whole database, and what it needs before it may take the place of the original.
//!
//! `VACUUM INTO` reads one moment of the database, beside whoever writes to it, and writes a file without
//! free pages. The other way that SQLite has, its backup interface, begins anew whenever another process
//! writes, so that it does not end beside a busy server.

use super::connect::{heed, look_at};
use super::refusal::refusal;
use super::setup;
use super::sql::to_db;
use crate::store::options::OpenError;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// How many ids are left unused at least: more than a database has given since any copy of it.
const IDS_SKIPPED_MIN: i64 = 1 << 32;
/// Ids that a second is worth. A database that is restored from the same copy again begins above what it gave
/// the last time, as long as it gave fewer a second on average.
const IDS_A_SECOND_BITS: u32 = 24;

pub(in crate::store) async fn octets(file: &Path) -> Result<u64, OpenError> {
    let mut connection = look_at(file).await?;
    let mut sum = [0_u64; 3];
    for (value, name) in sum.iter_mut().zip(["page_count", "freelist_count", "page_size"]) {
        let text = setup::pragma(&mut connection, name).await.map_err(|e| refusal(file, &e))?;
        *value = text.parse().unwrap_or(0);
    }
    close(connection).await;
    let [pages, free, page] = sum;
    Ok(pages.saturating_sub(free) * page)
}

pub(in crate::store) async fn copy(
    file: &Path,
    to: &Path,
    stop: &CancellationToken,
) -> Result<(), OpenError> {
    let Some(name) = to.to_str() else {
        let reason = "SQLite takes names in UTF-8 only".to_owned();
        return Err(OpenError::Database { file: to.to_owned(), reason });
    };
    let mut connection = look_at(file).await?;
    heed(&mut connection, file, stop).await?;
    let copied = sqlx::query("VACUUM INTO ?").bind(name).execute(&mut connection).await;
    close(connection).await;
    copied.map(drop).map_err(|error| refusal(to, &error))
}

pub(in crate::store) async fn renumber(file: &Path, now: SystemTime) -> Result<(), OpenError> {
    const RAISE: &str = "UPDATE sqlite_sequence SET seq = max(seq + ?, ?) WHERE name = 'message'";
    // A database that never had a message has no row.
    const BEGIN: &str = "\
        INSERT INTO sqlite_sequence (name, seq) SELECT 'message', 0
            WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'message')";
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false);
    let mut connection =
        SqliteConnection::connect_with(&options).await.map_err(|error| refusal(file, &error))?;
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| to_db(d.as_secs()));
    let raised = async {
        sqlx::query(BEGIN).execute(&mut connection).await?;
        let raise = sqlx::query(RAISE).bind(IDS_SKIPPED_MIN).bind(seconds << IDS_A_SECOND_BITS);
        raise.execute(&mut connection).await
    };
    let raised = raised.await.map(drop).map_err(|error| refusal(file, &error));
    close(connection).await;
    raised
}

/// What is read is read, and what is written is committed: a fault of closing changes neither.
pub(super) async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection could not be closed");
    }
}
