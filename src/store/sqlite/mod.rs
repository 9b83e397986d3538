//! The engine that keeps everything in one SQLite file. All SQL of the program is in this folder.
//!
//! Four kinds of connection: the writer's, one for slices of large messages, which promise nothing yet, the
//! readers' pool, and one that only checkpoints. In WAL
//! mode readers and the checkpoint never make a commit wait, and no reader is held across a wait for
//! the network.

mod accounts;
mod changes;
pub(super) mod copy;
mod delivery;
mod fault;
mod open;
mod quick;
mod read;
mod remove;
mod retention;
mod setup;
mod slices;
mod space;
mod tidy;
pub(super) mod verify;
mod write;

use super::accounts::{Account, Alias};
use super::engine::{Beginning, Crowded, Done, Engine, Found, Generation, Kept, Names, Old, Op};
use super::outcome::Error;
use crate::mail::address::MailboxName;
use crate::mail::ids::{BodyId, Era, MailboxId, MessageId};
use crate::mail::secret::Secret;
use bytes::Bytes;
use changes::Changes;
use fault::{Doing, Faults};
use futures_util::future::BoxFuture;
use space::Space;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnection;
use tidy::Checkpoints;
use tokio::sync::Mutex;
use write::Writing;

/// The database file in the data directory.
pub(super) const DATABASE_FILE: &str = "pillarbox.db";
/// The newest schema that this program knows, and each step that leads there.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../../../migrations/sqlite/0001_init.sql")),
    (2, include_str!("../../../migrations/sqlite/0002_scram.sql")),
];
/// Marks the file as ours (`PRAGMA application_id`): "PBox".
const APPLICATION_ID: i64 = 0x5042_6f78;
/// Octets of a page. Messages of 1 KiB fill pages of 8 KiB with less waste than pages of 4 KiB.
const PAGE_OCTETS: u64 = 8192;
/// Connections that read. Each is a thread; a read takes microseconds.
const READERS: u32 = 4;

/// An open database.
pub(super) struct Sqlite {
    era: Era,
    login_secret: Secret,
    /// Held while a batch is applied: a checkpoint that must shut writers out takes it too.
    writing: Mutex<Writing>,
    readers: SqlitePool,
    /// `None` beside a server, which alone does the checkpoints.
    checkpoints: Option<Checkpoints>,
    faults: Faults,
    space: Space,
    changes: Changes,
}

impl Engine for Sqlite {
    fn era(&self) -> Era {
        self.era
    }

    fn login_secret(&self) -> &Secret {
        &self.login_secret
    }

    fn apply<'a>(&'a self, batch: &'a [Op]) -> BoxFuture<'a, Result<Vec<Result<Done, Error>>, Error>> {
        Box::pin(write::apply(self, batch))
    }

    fn generation(&self) -> Option<Generation> {
        self.changes.generation()
    }

    fn names(&self, names: Vec<String>) -> BoxFuture<'_, Result<Names, Error>> {
        self.reading(read::names(&self.readers, names))
    }

    fn listing<'a>(&'a self, mailbox: &'a MailboxName) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        self.reading(read::listing(&self.readers, mailbox))
    }

    fn beginnings(&self, of: Vec<MessageId>) -> BoxFuture<'_, Result<Vec<(MessageId, Beginning)>, Error>> {
        self.reading(read::beginnings(&self.readers, of))
    }

    fn chunk(&self, body: BodyId, place: u32) -> BoxFuture<'_, Result<Option<Bytes>, Error>> {
        self.reading(read::chunk(&self.readers, body, place))
    }

    fn password<'a>(&'a self, of: &'a MailboxName) -> BoxFuture<'a, Result<Option<Kept>, Error>> {
        self.reading(read::password(&self.readers, of))
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<Account>, Error>> {
        self.reading(read::accounts(&self.readers))
    }

    fn aliases(&self) -> BoxFuture<'_, Result<Vec<Alias>, Error>> {
        self.reading(async { read::aliases(&mut *self.readers.acquire().await?).await })
    }

    fn stored_octets(&self) -> BoxFuture<'_, Result<u64, Error>> {
        self.reading(retention::stored_octets(&self.readers))
    }

    fn oldest(&self, after: MessageId, most: usize) -> BoxFuture<'_, Result<Vec<Old>, Error>> {
        self.reading(retention::oldest(&self.readers, after, most))
    }

    fn surplus_of(
        &self,
        mailbox: MailboxId,
        messages_max: u64,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Old>, Error>> {
        self.reading(retention::surplus_of(&self.readers, mailbox, messages_max, most))
    }

    fn crowded(&self, messages_max: u64) -> BoxFuture<'_, Result<Vec<Crowded>, Error>> {
        self.reading(retention::crowded(&self.readers, messages_max))
    }

    fn tidy(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(tidy::tidy(self))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(tidy::close(self))
    }
}

impl Sqlite {
    /// Boxes a question and turns SQLite's errors into ours.
    fn reading<'a, T>(
        &'a self,
        question: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Error>> {
        Box::pin(async move { question.await.map_err(|error| self.faults.judge(Doing::Reading, &error)) })
    }
}

/// The key of a chunk row: the chunks of a body lie side by side, in order.
fn chunk_key(body: BodyId, place: u32) -> i64 {
    (body.0 << 16) + i64::from(place)
}

/// The keys of all chunks of a body: from the first to before the second.
fn chunk_keys(body: BodyId) -> (i64, i64) {
    (body.0 << 16, (body.0 + 1) << 16)
}

/// SQLite's integers are signed; no size of ours comes near their end.
fn to_db(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

fn from_db(octets: i64) -> u64 {
    u64::try_from(octets).unwrap_or(0)
}

/// A list as one bound value: `json_each` turns it back into rows.
fn json<T: serde::Serialize>(list: &[T]) -> Result<String, sqlx::Error> {
    serde_json::to_string(list).map_err(|e| sqlx::Error::Encode(Box::new(e)))
}

/// Leaves any transaction. One that is over already is no fault.
async fn roll_back(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    const SQLITE_ERROR: i32 = 1;
    match sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await {
        Ok(_) => Ok(()),
        Err(error) if fault::code(&error) == Some(SQLITE_ERROR) => Ok(()),
        Err(error) => Err(error),
    }
}
