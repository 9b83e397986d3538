//! Messages on their way out: those that a session deletes, those of an account that goes, those that are too
//! old. One list at a time, each in a few statements, inside of the transaction of its batch.

use super::write::Sql;
use super::{chunk_keys, json};
use crate::mail::ids::{BodyId, MailboxId, MessageId};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// Deletes messages of a mailbox, and the bodies that nobody has any more.
pub(super) async fn expunge(
    connection: &mut SqliteConnection,
    mailbox: MailboxId,
    ids: &[MessageId],
) -> Sql<u64> {
    remove(connection, ids, Some(mailbox)).await
}

/// The same for messages of any mailboxes.
pub(super) async fn expire(connection: &mut SqliteConnection, ids: &[MessageId]) -> Sql<u64> {
    remove(connection, ids, None).await
}

/// Deletes the chunks of a body.
pub(super) async fn chunks(connection: &mut SqliteConnection, body: BodyId) -> Sql<()> {
    let (first, end) = chunk_keys(body);
    let delete = sqlx::query("DELETE FROM chunk WHERE key >= ? AND key < ?");
    delete.bind(first).bind(end).execute(connection).await?;
    Ok(())
}

async fn remove(
    connection: &mut SqliteConnection,
    ids: &[MessageId],
    mailbox: Option<MailboxId>,
) -> Sql<u64> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    // In tables of their own, so that the list is read once and not by each statement. A body may be that of
    // several messages of the list.
    const CHOSEN: &str = "\
        CREATE TEMP TABLE IF NOT EXISTS chosen
            (message INTEGER PRIMARY KEY, mailbox INTEGER, body INTEGER, octets INTEGER);
        CREATE TEMP TABLE IF NOT EXISTS unnamed (body INTEGER PRIMARY KEY, times INTEGER);
        INSERT INTO chosen SELECT id, mailbox, body, octets FROM message
            WHERE id IN (SELECT value FROM json_each(?1)) AND mailbox = coalesce(?2, mailbox);
        INSERT INTO unnamed SELECT body, count(*) FROM chosen GROUP BY body";
    sqlx::query(CHOSEN).bind(json(&ids)?).bind(mailbox.map(|id| id.0)).execute(&mut *connection).await?;

    const LARGE: &str = "\
        SELECT id FROM unnamed JOIN body ON id = unnamed.body WHERE copies <= times AND chunks > 0";
    for row in sqlx::query(LARGE).fetch_all(&mut *connection).await? {
        chunks(connection, BodyId(row.try_get(0)?)).await?;
    }

    const DELETE: &str = "\
        DELETE FROM body WHERE id IN
            (SELECT id FROM unnamed JOIN body ON id = unnamed.body WHERE copies <= times);
        UPDATE body SET copies = copies - times FROM unnamed WHERE id = unnamed.body;
        UPDATE mailbox SET octets = mailbox.octets - gone.octets, messages = mailbox.messages - gone.messages
            FROM (SELECT mailbox, sum(octets) AS octets, count(*) AS messages FROM chosen GROUP BY mailbox)
                AS gone WHERE id = gone.mailbox;
        DELETE FROM message WHERE id IN (SELECT message FROM chosen);
        SELECT count(*) FROM chosen;
        DELETE FROM chosen;
        DELETE FROM unnamed;";
    let rows = sqlx::query(DELETE).fetch_all(&mut *connection).await?;
    let deleted: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u64::try_from(deleted).unwrap_or(0))
}
