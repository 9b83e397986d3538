//! Small messages, which is most mail: a whole batch in one statement.
//!
//! A statement outside of a transaction is a transaction of its own. So the batch costs one trip to
//! SQLite's thread and one answer, which comes after the commit. A trigger checks each message and writes
//! its rows; one that it refuses takes the statement back, and then the batch goes the long way, where
//! each op has a verdict of its own.

use super::delivery::INLINE_OCTETS_MAX;
use super::fault;
use super::read::{ACCOUNT, CAUGHT};
use super::sql::{Sql, to_db};
use crate::mail::address::MailboxName;
use crate::mail::body::Body;
use crate::mail::envelope::MailboxCopy;
use crate::store::engine::{Done, Op, Takes};
use crate::store::outcome::Error;
use bytes::Bytes;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many copies of messages a statement takes: few sizes, so that few are prepared. What is left over
/// stays empty.
const ROWS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// SQLITE_CONSTRAINT_TRIGGER: the trigger has refused.
const REFUSED: i32 = 19 | (7 << 8);

/// The view that takes copies of messages, of this connection alone. The first copy of a message brings its
/// body and says how many copies it has, the others say 0.
const VIEW: &str = "\
    CREATE TEMP VIEW incoming AS
        SELECT '' AS name, 0 AS takes_any, 0 AS quota, 0 AS now, x'' AS head, 0 AS copies, 0 AS octets,
            x'' AS data";

/// Makes what [`deliver`] needs on a connection that writes.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Sql<()> {
    let trigger = format!(
        "CREATE TEMP TRIGGER take INSTEAD OF INSERT ON incoming WHEN NEW.name IS NOT NULL BEGIN
            INSERT INTO mailbox (name, origin, created) SELECT NEW.name, {CAUGHT}, NEW.now
                WHERE NEW.takes_any AND NOT EXISTS (SELECT 1 FROM mailbox WHERE name = NEW.name);
            SELECT RAISE(ROLLBACK, 'refused') WHERE NOT EXISTS (SELECT 1 FROM mailbox
                WHERE name = NEW.name AND (NEW.takes_any OR origin = {ACCOUNT})
                AND (coalesce(mailbox.quota, NEW.quota) IS NULL
                    OR octets + NEW.octets + length(NEW.head) <= coalesce(mailbox.quota, NEW.quota)));
            INSERT INTO body (copies, octets, chunks, data)
                SELECT NEW.copies, NEW.octets, 0, NEW.data WHERE NEW.copies > 0;
            INSERT INTO message (mailbox, body, octets, received, head)
                SELECT id, (SELECT max(id) FROM body), NEW.octets + length(NEW.head), NEW.now, NEW.head
                FROM mailbox WHERE name = NEW.name;
            UPDATE mailbox SET octets = octets + NEW.octets + length(NEW.head), messages = messages + 1
                WHERE name = NEW.name;
        END"
    );
    sqlx::raw_sql(VIEW).execute(&mut *connection).await?;
    sqlx::raw_sql(AssertSqlSafe(trigger)).execute(&mut *connection).await?;
    Ok(())
}

static INSERTS: LazyLock<[String; 9]> = LazyLock::new(|| {
    ROWS.map(|rows| {
        // ?1 and ?2 are the same for all; what is not bound is NULL, and no message.
        let row = |n| {
            let [name, any, head, copies, octets, data] = [1, 2, 3, 4, 5, 6].map(|column| n * 6 + 2 + column);
            format!("(?{name}, ?{any}, ?1, ?2, ?{head}, ?{copies}, ?{octets}, ?{data})")
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        format!("INSERT INTO incoming VALUES {}", rows.join(", "))
    })
});

/// A copy of a message of a batch.
struct Row<'b> {
    copy: &'b MailboxCopy,
    takes: Takes,
    /// How many copies the message has, when this is the first.
    copies: u64,
    octets: u64,
    body: Option<&'b [Bytes]>,
}

/// The rows of a batch; `None` when a part of it is anything but small messages.
fn rows(batch: &[Op]) -> Option<Vec<Row<'_>>> {
    let mut rows = Vec::with_capacity(batch.len());
    for op in batch {
        let Op::Deliver { delivery, takes } = op else { return None };
        let Body::Memory(slices) = &delivery.body else { return None };
        let octets = delivery.body.octets();
        if octets > INLINE_OCTETS_MAX || delivery.copies.is_empty() {
            return None;
        }
        let (mut copies, mut body) = (delivery.copies.len() as u64, Some(slices.as_slice()));
        for (copy, takes) in delivery.copies.iter().zip(takes) {
            let (copies, body) = (std::mem::take(&mut copies), body.take());
            rows.push(Row { copy, takes: *takes, copies, octets, body });
        }
    }
    Some(rows)
}

/// Delivers a batch and commits it. `None`, and nothing was done, when it needs the long way.
pub(super) async fn deliver(
    connection: &mut SqliteConnection,
    batch: &[Op],
    default_quota: Option<u64>,
) -> Sql<Option<Vec<Result<Done, Error>>>> {
    let Some(rows) = rows(batch) else { return Ok(None) };
    let Some((_, insert)) = ROWS.iter().zip(INSERTS.iter()).find(|(most, _)| **most >= rows.len()) else {
        return Ok(None);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| to_db(d.as_secs()));
    let mut query = sqlx::query(insert.as_str()).bind(default_quota.map(to_db)).bind(now);
    for Row { copy, takes, copies, octets, body } in rows {
        let name = MailboxName::to_string(&copy.mailbox);
        query = query.bind(name).bind(takes == Takes::Any).bind(copy.head.to_vec());
        query = query.bind(to_db(copies)).bind(to_db(octets)).bind(body.map(<[Bytes]>::concat));
    }
    match query.execute(connection).await {
        Ok(_) => Ok(Some(batch.iter().map(|_| Ok(Done::Delivered)).collect())),
        Err(error) if fault::code(&error) == Some(REFUSED) => Ok(None),
        Err(error) => Err(error),
    }
}
