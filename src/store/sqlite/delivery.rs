//! The deliveries of a batch: checked against what is known of the mailboxes, collected as rows, written
//! by a few fat statements.

use super::read::{CAUGHT, origin};
use super::sql::{Sql, chunk_keys, from_db, insert_chunk, json, to_db};
use crate::mail::address::MailboxName;
use crate::mail::body::Body;
use crate::mail::envelope::{Delivery, MailboxCopy, Overdraft};
use crate::mail::ids::{BodyId, MailboxId};
use crate::store::accounts::Origin;
use crate::store::engine::{Done, Op, Takes};
use crate::store::outcome::Error;
use bytes::Bytes;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// A body up to this size is in its own row: no chunk row to write, none to read.
pub(super) const INLINE_OCTETS_MAX: u64 = 128 * 1024;
/// Octets of a chunk, when the store cuts. Staged bodies are cut by whoever stages them. Larger ones write
/// and read somewhat faster, and every session that fetches holds one.
const CHUNK_OCTETS: usize = 128 * 1024;
/// Rows that one INSERT takes: few sizes, so that few statements are prepared.
const INSERT_ROWS: [usize; 4] = [64, 16, 4, 1];
/// Octets of rows that are collected before they are written.
const COLLECTED_OCTETS_MAX: u64 = 1024 * 1024;

/// A transaction under way: what is known, and what is not written yet.
pub(super) struct Pending<'c> {
    connection: &'c mut SqliteConnection,
    default_quota: Option<u64>,
    /// Unix seconds.
    now: i64,
    /// The names of the batch, to look them up again when an op has changed them.
    names: String,
    known: HashMap<String, Facts>,
    is_known: bool,
    message: i64,
    body: i64,
    bodies: Vec<BodyRow>,
    messages: Vec<MessageRow>,
    collected: u64,
    growth: HashMap<MailboxId, (u64, u64)>,
}

#[derive(Clone, Copy)]
struct Facts {
    id: MailboxId,
    origin: Origin,
    quota: Option<u64>,
    octets: u64,
}

/// The room of a mailbox, seen from a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// It fits in.
    Enough,
    /// It does not, but did when the mailbox was empty, and there is some left.
    Some,
    /// Nothing is left, or it would never fit.
    None,
}

struct BodyRow {
    id: BodyId,
    copies: i64,
    octets: u64,
    data: Vec<u8>,
}

struct MessageRow {
    id: i64,
    mailbox: MailboxId,
    body: BodyId,
    octets: u64,
    head: Vec<u8>,
}

const MAILBOXES: &str = "\
    SELECT name, id, origin, quota, octets FROM mailbox WHERE name IN (SELECT value FROM json_each(?))";

impl<'c> Pending<'c> {
    pub(super) async fn begin(
        connection: &'c mut SqliteConnection,
        batch: &[Op],
        default_quota: Option<u64>,
    ) -> Sql<Pending<'c>> {
        const BEGIN: &str = "\
            BEGIN IMMEDIATE;
            SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'message'), 0),
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'body'), 0);
            SELECT name, id, origin, quota, octets FROM mailbox
                WHERE name IN (SELECT value FROM json_each(?))";
        let names = json(&names(batch))?;
        let rows = sqlx::query(BEGIN).bind(&names).fetch_all(&mut *connection).await?;
        let (sequences, mailboxes) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| to_db(d.as_secs()));
        Ok(Pending {
            connection,
            default_quota,
            now,
            names,
            known: facts(mailboxes)?,
            is_known: true,
            message: sequences.try_get(0)?,
            body: sequences.try_get(1)?,
            bodies: Vec::new(),
            messages: Vec::new(),
            collected: 0,
            growth: HashMap::new(),
        })
    }

    /// The connection, for rows that do not touch what is collected.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        self.connection
    }

    /// An id that no body ever had. The transaction keeps others from taking it.
    pub(super) fn next_body(&mut self) -> BodyId {
        self.body += 1;
        BodyId(self.body)
    }

    /// Checks a delivery and collects its rows.
    pub(super) async fn deliver(&mut self, mail: &Delivery, takes: &[Takes]) -> Sql<Result<Done, Error>> {
        if !self.is_known {
            self.look_up().await?;
        }
        let octets = mail.body.octets();
        if let Err(refused) = self.check(mail, takes) {
            return Ok(Err(refused));
        }
        let copies = to_db(mail.copies.len() as u64);
        let body = match &mail.body {
            Body::Staged { id, .. } => match self.name_staged(*id, octets, copies).await? {
                Ok(()) => *id,
                Err(refused) => return Ok(Err(refused)),
            },
            Body::Memory(slices) => self.add_body(slices, octets, copies).await?,
        };
        for copy in &mail.copies {
            self.add_copy(copy, body, octets).await?;
        }
        if self.collected > COLLECTED_OCTETS_MAX {
            self.write_rows().await?;
        }
        Ok(Ok(Done::Delivered))
    }

    fn check(&self, mail: &Delivery, takes: &[Takes]) -> Result<(), Error> {
        let mut overdrawn = None;
        let mut fits_any = false;
        for (copy, takes) in mail.copies.iter().zip(takes) {
            let refused = || Error::MailboxFull(copy.mailbox.clone());
            match self.room(copy, *takes, mail.body.octets())? {
                Room::Enough => fits_any = true,
                Room::Some if mail.overdraft == Overdraft::ForOthers => {
                    overdrawn.get_or_insert_with(refused);
                }
                Room::Some | Room::None => return Err(refused()),
            }
        }
        overdrawn.filter(|_| !fits_any).map_or(Ok(()), Err)
    }

    /// How much room the mailbox of a copy has for it.
    fn room(&self, copy: &MailboxCopy, takes: Takes, body_octets: u64) -> Result<Room, Error> {
        let facts = self.known.get(&copy.mailbox.to_string());
        let exists = facts.is_some_and(|f| f.origin == Origin::Account) || takes == Takes::Any;
        if !exists {
            return Err(Error::NoMailbox(copy.mailbox.clone()));
        }
        let Some(quota) = facts.and_then(|f| f.quota).or(self.default_quota) else { return Ok(Room::Enough) };
        let held = facts.map_or(0, |f| f.octets);
        let octets = body_octets + copy.head.len() as u64;
        Ok(match () {
            () if held.saturating_add(octets) <= quota => Room::Enough,
            () if held < quota && octets <= quota => Room::Some,
            () => Room::None,
        })
    }

    /// Makes a staged body a whole one, if all of it is there.
    async fn name_staged(&mut self, id: BodyId, octets: u64, copies: i64) -> Sql<Result<(), Error>> {
        const PARTS: &str = "\
            SELECT count(*), coalesce(sum(length(data)), 0) FROM chunk WHERE key >= ? AND key < ?";
        const NAME: &str = "\
            UPDATE body SET copies = ?, octets = ?, chunks = ? WHERE id = ? AND copies = 0";
        let (first, end) = chunk_keys(id);
        let parts = sqlx::query(PARTS).bind(first).bind(end).fetch_one(&mut *self.connection).await?;
        let (chunks, found): (i64, i64) = (parts.try_get(0)?, parts.try_get(1)?);
        if from_db(found) == octets {
            let named = sqlx::query(NAME).bind(copies).bind(found).bind(chunks).bind(id.0);
            if named.execute(&mut *self.connection).await?.rows_affected() == 1 {
                return Ok(Ok(()));
            }
        }
        Ok(Err(Error::Unavailable("a part of the message is missing".into())))
    }

    async fn add_body(&mut self, slices: &[Bytes], octets: u64, copies: i64) -> Sql<BodyId> {
        const LARGE: &str = "INSERT INTO body (id, copies, octets, chunks) VALUES (?, ?, ?, ?)";
        let id = self.next_body();
        if octets <= INLINE_OCTETS_MAX {
            self.collected += octets;
            self.bodies.push(BodyRow { id, copies, octets, data: slices.concat() });
            return Ok(id);
        }
        let mut chunks = 0;
        for chunk in cut(slices) {
            insert_chunk(self.connection, id, chunks, chunk).await?;
            chunks += 1;
        }
        let insert = sqlx::query(LARGE).bind(id.0).bind(copies).bind(to_db(octets)).bind(chunks);
        insert.execute(&mut *self.connection).await?;
        Ok(id)
    }

    async fn add_copy(&mut self, copy: &MailboxCopy, body: BodyId, body_octets: u64) -> Sql<()> {
        let octets = body_octets + copy.head.len() as u64;
        let name = copy.mailbox.to_string();
        if !self.known.contains_key(&name) {
            let id = self.make_mailbox(&name).await?;
            self.known.insert(name.clone(), Facts { id, origin: Origin::Caught, quota: None, octets: 0 });
        }
        let Some(facts) = self.known.get_mut(&name) else { return Ok(()) };
        facts.octets += octets;
        let (grown, messages) = self.growth.entry(facts.id).or_default();
        *grown += octets;
        *messages += 1;
        self.message += 1;
        self.collected += copy.head.len() as u64;
        let head = copy.head.to_vec();
        self.messages.push(MessageRow { id: self.message, mailbox: facts.id, body, octets, head });
        Ok(())
    }

    async fn make_mailbox(&mut self, name: &str) -> Sql<MailboxId> {
        let insert = sqlx::query("INSERT INTO mailbox (name, origin, created) VALUES (?, ?, ?)");
        let made = insert.bind(name.to_owned()).bind(CAUGHT).bind(self.now);
        Ok(MailboxId(made.execute(&mut *self.connection).await?.last_insert_rowid()))
    }

    async fn look_up(&mut self) -> Sql<()> {
        let rows = sqlx::query(MAILBOXES).bind(&self.names).fetch_all(&mut *self.connection).await?;
        self.known = facts(&rows)?;
        self.is_known = true;
        Ok(())
    }

    /// Writes what is collected and gives the connection out, for an op that may change anything.
    pub(super) async fn flush(&mut self) -> Sql<&mut SqliteConnection> {
        self.write_rows().await?;
        if !self.growth.is_empty() {
            let growth = self.growth_json()?;
            sqlx::query(GROW).bind(growth).execute(&mut *self.connection).await?;
        }
        self.is_known = false;
        Ok(self.connection)
    }

    /// Writes what is collected and commits. When this is `Ok` the batch is on disk.
    pub(super) async fn commit(mut self) -> Sql<()> {
        if let ([_], [_]) = (self.bodies.as_slice(), self.messages.as_slice()) {
            return self.commit_one().await;
        }
        self.write_rows().await?;
        if self.growth.is_empty() {
            sqlx::query("COMMIT").execute(self.connection).await?;
        } else {
            let growth = self.growth_json()?;
            sqlx::query(GROW_AND_COMMIT.as_str()).bind(growth).execute(self.connection).await?;
        }
        Ok(())
    }

    /// One message alone, in one trip: nobody else is there to share the cost of another.
    async fn commit_one(mut self) -> Sql<()> {
        let growth = self.growth_json()?;
        let (Some(body), Some(message)) = (self.bodies.pop(), self.messages.pop()) else { return Ok(()) };
        let one = sqlx::query(ONE_AND_COMMIT.as_str());
        bind_message(bind_body(one, body), message, self.now).bind(growth).execute(self.connection).await?;
        Ok(())
    }

    async fn write_rows(&mut self) -> Sql<()> {
        let (mut bodies, mut messages) = (self.bodies.drain(..), self.messages.drain(..));
        for (rows, sql) in INSERT_ROWS.iter().zip(BODY_INSERTS.iter()) {
            while bodies.len() >= *rows {
                let query = bodies.by_ref().take(*rows).fold(sqlx::query(sql.as_str()), bind_body);
                query.execute(&mut *self.connection).await?;
            }
        }
        for (rows, sql) in INSERT_ROWS.iter().zip(MESSAGE_INSERTS.iter()) {
            while messages.len() >= *rows {
                let bind = |query, row| bind_message(query, row, self.now);
                let query = messages.by_ref().take(*rows).fold(sqlx::query(sql.as_str()), bind);
                query.execute(&mut *self.connection).await?;
            }
        }
        self.collected = 0;
        Ok(())
    }

    /// The growth of each mailbox, as the statements below read it.
    fn growth_json(&mut self) -> Sql<String> {
        let growth = self.growth.drain().map(|(id, (octets, messages))| (id.0, octets, messages));
        json(&growth.collect::<Vec<_>>())
    }
}

const BODY_INSERT: &str = "INSERT INTO body (id, copies, octets, chunks, data) VALUES ";
const BODY_VALUES: &str = "(?, ?, ?, 0, ?)";
const MESSAGE_INSERT: &str = "INSERT INTO message (id, mailbox, body, octets, received, head) VALUES ";
const MESSAGE_VALUES: &str = "(?, ?, ?, ?, ?, ?)";
const GROW: &str = "\
    UPDATE mailbox SET octets = octets + (value ->> 1), messages = messages + (value ->> 2)
        FROM json_each(?) WHERE mailbox.id = (value ->> 0)";

static GROW_AND_COMMIT: LazyLock<String> = LazyLock::new(|| format!("{GROW}; COMMIT"));
static ONE_AND_COMMIT: LazyLock<String> =
    LazyLock::new(|| format!("{BODY_INSERT}{BODY_VALUES}; {MESSAGE_INSERT}{MESSAGE_VALUES}; {GROW}; COMMIT"));
static BODY_INSERTS: LazyLock<[String; 4]> = LazyLock::new(|| inserts(BODY_INSERT, BODY_VALUES));
static MESSAGE_INSERTS: LazyLock<[String; 4]> = LazyLock::new(|| inserts(MESSAGE_INSERT, MESSAGE_VALUES));

fn inserts(insert: &str, values: &str) -> [String; 4] {
    INSERT_ROWS.map(|rows| format!("{insert}{}", vec![values; rows].join(", ")))
}

type Query = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_body(query: Query, row: BodyRow) -> Query {
    query.bind(row.id.0).bind(row.copies).bind(to_db(row.octets)).bind(row.data)
}

fn bind_message(query: Query, row: MessageRow, now: i64) -> Query {
    let ids = query.bind(row.id).bind(row.mailbox.0).bind(row.body.0);
    ids.bind(to_db(row.octets)).bind(now).bind(row.head)
}

/// Cuts a body into chunks of one size, copying each octet once.
fn cut(slices: &[Bytes]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for slice in slices {
        let mut rest = &slice[..];
        while !rest.is_empty() {
            if chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_OCTETS) {
                chunks.push(Vec::new());
            }
            let Some(chunk) = chunks.last_mut() else { break };
            let (part, after) = rest.split_at(rest.len().min(CHUNK_OCTETS - chunk.len()));
            chunk.extend_from_slice(part);
            rest = after;
        }
    }
    chunks
}

/// The mailboxes that the deliveries of a batch name.
fn names(batch: &[Op]) -> Vec<String> {
    let deliveries = batch.iter().filter_map(|op| match op {
        Op::Deliver { delivery, .. } => Some(&delivery.copies),
        _ => None,
    });
    deliveries.flatten().map(|copy| MailboxName::to_string(&copy.mailbox)).collect()
}

fn facts(rows: &[sqlx::sqlite::SqliteRow]) -> Sql<HashMap<String, Facts>> {
    let fact = |row: &sqlx::sqlite::SqliteRow| {
        let facts = Facts {
            id: MailboxId(row.try_get(1)?),
            origin: origin(row.try_get(2)?),
            quota: row.try_get::<Option<i64>, _>(3)?.map(from_db),
            octets: from_db(row.try_get(4)?),
        };
        Ok((row.try_get(0)?, facts))
    };
    rows.iter().map(fact).collect()
}
