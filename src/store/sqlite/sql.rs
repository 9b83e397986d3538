//! What many statements share: keys of chunks, sizes as SQLite has them, lists as one value.

use super::fault;
use crate::mail::ids::BodyId;
use sqlx::sqlite::SqliteConnection;

/// What a statement gives.
pub(super) type Sql<T> = Result<T, sqlx::Error>;

/// Octets of a page. Messages of 1 KiB fill pages of 8 KiB with less waste than pages of 4 KiB.
pub(super) const PAGE_OCTETS: u64 = 8192;

/// The key of a chunk row: the chunks of a body lie side by side, in order.
pub(super) fn chunk_key(body: BodyId, place: u32) -> i64 {
    (body.0 << 16) + i64::from(place)
}

/// The keys of all chunks of a body: from the first to before the second.
pub(super) fn chunk_keys(body: BodyId) -> (i64, i64) {
    (body.0 << 16, (body.0 + 1) << 16)
}

/// SQLite's integers are signed; no size of ours comes near their end.
pub(super) fn to_db(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

pub(super) fn from_db(octets: i64) -> u64 {
    u64::try_from(octets).unwrap_or(0)
}

/// A list as one bound value: `json_each` turns it back into rows.
pub(super) fn json<T: serde::Serialize>(list: &[T]) -> Sql<String> {
    serde_json::to_string(list).map_err(|e| sqlx::Error::Encode(Box::new(e)))
}

/// Leaves any transaction. One that is over already is no fault.
pub(super) async fn roll_back(connection: &mut SqliteConnection) -> Sql<()> {
    const SQLITE_ERROR: i32 = 1;
    match sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await {
        Ok(_) => Ok(()),
        Err(error) if fault::code(&error) == Some(SQLITE_ERROR) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) async fn insert_chunk(
    connection: &mut SqliteConnection,
    body: BodyId,
    place: u32,
    data: Vec<u8>,
) -> Sql<()> {
    let insert = sqlx::query("INSERT INTO chunk (key, data) VALUES (?, ?)");
    insert.bind(chunk_key(body, place)).bind(data).execute(connection).await?;
    Ok(())
}
