//! Questions of retention. Ids are given out in the order of arrival, so the oldest messages are those with
//! the lowest ids, and no index on the time is needed.

use super::read::mailbox_name;
use super::sql::{Sql, from_db, to_db};
use crate::mail::ids::{MailboxId, MessageId};
use crate::store::engine::{Crowded, Old};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

pub(super) async fn stored_octets(pool: &SqlitePool) -> Sql<u64> {
    let sum = sqlx::query("SELECT coalesce(sum(octets), 0) FROM mailbox").fetch_one(pool).await?;
    Ok(from_db(sum.try_get(0)?))
}

pub(super) async fn oldest(pool: &SqlitePool, after: MessageId, most: usize) -> Sql<Vec<Old>> {
    const SQL: &str = "\
        SELECT message.id, mailbox.name, message.octets, received FROM message
            JOIN mailbox ON mailbox.id = mailbox WHERE message.id > ? ORDER BY message.id LIMIT ?";
    let rows = sqlx::query(SQL).bind(after.0).bind(to_db(most as u64)).fetch_all(pool).await?;
    rows.iter().map(old).collect()
}

pub(super) async fn surplus_of(
    pool: &SqlitePool,
    mailbox: MailboxId,
    messages_max: u64,
    most: usize,
) -> Sql<Vec<Old>> {
    const SQL: &str = "\
        SELECT message.id, mailbox.name, message.octets, received FROM message
            JOIN mailbox ON mailbox.id = mailbox WHERE mailbox = ?1 ORDER BY message.id
            LIMIT coalesce((SELECT max(min(messages - ?2, ?3), 0) FROM mailbox WHERE id = ?1), 0)";
    let query = sqlx::query(SQL).bind(mailbox.0).bind(to_db(messages_max)).bind(to_db(most as u64));
    let rows = query.fetch_all(pool).await?;
    rows.iter().map(old).collect()
}

pub(super) async fn crowded(pool: &SqlitePool, messages_max: u64) -> Sql<Vec<Crowded>> {
    let query = sqlx::query("SELECT id, name FROM mailbox WHERE messages > ? ORDER BY id");
    let rows = query.bind(to_db(messages_max)).fetch_all(pool).await?;
    let crowded = |row: &SqliteRow| {
        Ok(Crowded { mailbox: MailboxId(row.try_get(0)?), name: mailbox_name(row.try_get(1)?)? })
    };
    rows.iter().map(crowded).collect()
}

fn old(row: &SqliteRow) -> Sql<Old> {
    Ok(Old {
        id: MessageId(row.try_get(0)?),
        mailbox: mailbox_name(row.try_get(1)?)?,
        octets: from_db(row.try_get(2)?),
        received: row.try_get(3)?,
    })
}
