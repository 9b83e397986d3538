//! Slices of large messages on their way in, on a connection that does not sync.
//!
//! A slice promises nothing: nobody sees it until a delivery names its body. That delivery is committed by
//! the connection that syncs, and a sync of the WAL takes with it every frame that was written before,
//! whoever wrote it. So a large message costs one sync and not one for each slice.

use super::write::Sql;
use super::{chunk_key, roll_back};
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
        format!("INSERT INTO chunk (key, data) VALUES {}", vec!["(?, ?)"; n + 1].join(", "))
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

/// Writes slices, all or none.
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
    let written = match append(connection, slices).await {
        Ok(written) => sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map(|_| written),
        Err(error) => Err(error),
    };
    if written.is_err() {
        roll_back(connection).await?;
    }
    written
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
    for (slices, bodies) in slices.chunks(ROWS_MAX).zip(bodies.chunks(ROWS_MAX)) {
        let mut query = sqlx::query(INSERTS[slices.len() - 1].as_str());
        for (slice, body) in slices.iter().zip(bodies) {
            query = query.bind(chunk_key(*body, slice.place)).bind(slice.octets.to_vec());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(bodies.into_iter().map(|body| Ok(Done::Staged(body))).collect())
}
