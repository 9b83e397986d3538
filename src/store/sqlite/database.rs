//! The database while it is open: what belongs to it, and how questions reach it.

use super::changes::Changes;
use super::checkpoints::Checkpoints;
use super::fault::{Doing, Faults};
use super::space::Space;
use super::sql::Sql;
use super::writing::Writing;
use crate::mail::ids::Era;
use crate::mail::secret::Secret;
use crate::store::outcome::Error;
use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use tokio::sync::Mutex;

/// The database file in the data directory.
pub(in crate::store) const DATABASE_FILE: &str = "pillarbox.db";

/// An open database.
pub(in crate::store) struct Sqlite {
    pub(super) era: Era,
    pub(super) login_secret: Secret,
    /// Held while a batch is applied: a checkpoint that must shut writers out takes it too.
    pub(super) writing: Mutex<Writing>,
    pub(super) readers: SqlitePool,
    /// `None` beside a server, which alone does the checkpoints.
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) faults: Faults,
    pub(super) space: Space,
    pub(super) changes: Changes,
}

impl Sqlite {
    /// Boxes a question and turns SQLite's errors into ours.
    pub(super) fn reading<'a, T>(
        &'a self,
        question: impl Future<Output = Sql<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Error>> {
        Box::pin(async move { question.await.map_err(|error| self.faults.judge(Doing::Reading, &error)) })
    }
}
