//! Slices of large messages on their way in, on a connection that does not sync.
//!
//! A slice promises nothing: nobody sees it until a delivery names its body. That delivery is committed by
//! the connection that syncs, and a sync of the WAL takes with it every frame that was written before,
//! whoever wrote it. So a large message costs one sync and not one for each slice.

use super::sql::{Sql, chunk_key};
use crate::mail::ids::BodyId;
use crate::store::engine::{Done, Op};
use crate::store::outcome::Error;
use bytes::Bytes;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::sync::LazyLock;

/// Most slices of one statement. There is a statement for each number.
const ROWS_MAX: usize = 16;

static INSERTS: LazyLock<[String; ROWS_MAX]> = LazyLock::new(|| {
    std::array::from_fn(|n| {
        let rows = vec!["(?, ?)"; n + 1].join(", ");
        // A body may be gone: thrown away by a server that has started anew beside a command.
        format!(
            "INSERT INTO chunk (key, data) SELECT column1, column2 FROM (VALUES {rows})
                WHERE EXISTS (SELECT 1 FROM body WHERE id = column1 >> 16 AND copies = 0)"
        )
    })
});

/// A slice, and whose it is.
pub(super) struct Slice<'b> {
    body: Option<BodyId>,
    place: u32,
    octets: &'b Bytes,
}

/// The slices of a batch; `None` when there is anything else in it.
pub(super) fn of(batch: &[Op]) -> Option<Vec<Slice<'_>>> {
    let slice = |op| match op {
        &Op::Stage { body, place, ref slice } => Some(Slice { body, place, octets: slice }),
        _ => None,
    };
    batch.iter().map(slice).collect()
}

/// Writes slices. After an error the caller leaves the transaction, and then none was written.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    slices: Vec<Slice<'_>>,
) -> Sql<Vec<Result<Done, Error>>> {
    let is_one_statement = slices.len() <= ROWS_MAX && slices.iter().all(|slice| slice.body.is_some());
    if is_one_statement {
        // A transaction of its own.
        return append(connection, slices).await;
    }
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let written = append(connection, slices).await?;
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
    Ok(written)
}

async fn append(connection: &mut SqliteConnection, slices: Vec<Slice<'_>>) -> Sql<Vec<Result<Done, Error>>> {
    const BEGIN: &str = "INSERT INTO body (copies, octets, chunks) VALUES (0, 0, 0) RETURNING id";
    let mut bodies = Vec::with_capacity(slices.len());
    for slice in &slices {
        bodies.push(match slice.body {
            Some(body) => body,
            None => {
                let begun = sqlx::query(BEGIN).fetch_all(&mut *connection).await?;
                BodyId(begun.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
            }
        });
    }
    let mut results = Vec::with_capacity(slices.len());
    for (slices, bodies) in slices.chunks(ROWS_MAX).zip(bodies.chunks(ROWS_MAX)) {
        let mut query = sqlx::query(INSERTS[slices.len() - 1].as_str());
        for (slice, body) in slices.iter().zip(bodies) {
            query = query.bind(chunk_key(*body, slice.place)).bind(slice.octets.to_vec());
        }
        let written = query.execute(&mut *connection).await?.rows_affected();
        for body in bodies {
            let is_kept = written == slices.len() as u64 || is_staged(connection, *body).await?;
            results.push(if is_kept { Ok(Done::Staged(*body)) } else { Err(gone()) });
        }
    }
    Ok(results)
}

/// Whether a body is there and nobody's yet.
pub(super) async fn is_staged(connection: &mut SqliteConnection, body: BodyId) -> Sql<bool> {
    let found = sqlx::query("SELECT 1 FROM body WHERE id = ? AND copies = 0").bind(body.0);
    Ok(found.fetch_optional(connection).await?.is_some())
}

pub(super) fn gone() -> Error {
    Error::Unavailable("what there was of the message was thrown away by a server that started".into())
}
