//! Messages on their way out: those that a session deletes, those of an account that goes, those that are too
//! old. One list at a time, each in a few statements, inside of the transaction of its batch.

use super::sql::{Sql, chunk_keys, json};
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

/// Notes what goes, in tables of their own, so that the list is read once and not by each statement. A body
/// may be that of several messages of the list. The answer are the large bodies that nobody has afterwards.
///
/// Here and below each join is written so that SQLite has no choice but to begin with the short list: it
/// knows nothing of the sizes of tables, and the other way round each deletion would read the whole store.
const CHOOSE: &str = "\
    CREATE TEMP TABLE IF NOT EXISTS chosen
        (message INTEGER PRIMARY KEY, mailbox INTEGER, body INTEGER, octets INTEGER);
    CREATE TEMP TABLE IF NOT EXISTS unnamed (body INTEGER PRIMARY KEY, times INTEGER);
    INSERT INTO chosen SELECT id, mailbox, body, octets FROM message
        WHERE id IN (SELECT value FROM json_each(?1)) AND mailbox = coalesce(?2, mailbox);
    INSERT INTO unnamed SELECT body, 1 FROM chosen WHERE true
        ON CONFLICT (body) DO UPDATE SET times = times + 1;
    SELECT id FROM unnamed CROSS JOIN body ON id = unnamed.body WHERE copies <= times AND chunks > 0";

/// Deletes what was noted; the answer is how many messages that were.
const DELETE: &str = "\
    DELETE FROM body WHERE id IN (SELECT body FROM unnamed)
        AND copies <= (SELECT times FROM unnamed WHERE unnamed.body = body.id);
    UPDATE body SET copies = copies - (SELECT times FROM unnamed WHERE unnamed.body = body.id)
        WHERE id IN (SELECT body FROM unnamed);
    UPDATE mailbox SET octets = mailbox.octets - gone.octets, messages = mailbox.messages - gone.messages
        FROM (SELECT mailbox, sum(octets) AS octets, count(*) AS messages FROM chosen GROUP BY mailbox)
            AS gone WHERE id = gone.mailbox;
    DELETE FROM message WHERE id IN (SELECT message FROM chosen);
    SELECT count(*) FROM chosen;
    DELETE FROM chosen;
    DELETE FROM unnamed";

async fn remove(
    connection: &mut SqliteConnection,
    ids: &[MessageId],
    mailbox: Option<MailboxId>,
) -> Sql<u64> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let choose = sqlx::query(CHOOSE).bind(json(&ids)?).bind(mailbox.map(|id| id.0));
    for row in choose.fetch_all(&mut *connection).await? {
        chunks(connection, BodyId(row.try_get(0)?)).await?;
    }
    let rows = sqlx::query(DELETE).fetch_all(&mut *connection).await?;
    let deleted: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u64::try_from(deleted).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::setup::MIGRATIONS;
    use super::*;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{AssertSqlSafe, ConnectOptions};

    #[tokio::test]
    async fn a_deletion_reads_no_table_of_the_store_from_end_to_end() {
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        for (_, migration) in MIGRATIONS {
            sqlx::raw_sql(*migration).execute(&mut connection).await.unwrap();
        }
        let mut explained = 0;
        for statement in CHOOSE.split(';').chain(DELETE.split(';')).map(str::trim) {
            if statement.starts_with("CREATE") {
                sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
                continue;
            }
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            for step in sqlx::query(explain).fetch_all(&mut connection).await.unwrap() {
                let step: String = step.get("detail");
                let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
                let is_of_the_store = matches!(scanned, Some("body" | "message" | "mailbox" | "chunk"));
                assert!(!is_of_the_store, "{step}, in {statement}");
                explained += 1;
            }
        }
        assert!(explained > 10, "{explained} steps");
    }
}
