//! The connections that write, and how a transaction that failed is left.

use super::connect::reconnect;
use super::sql::roll_back;
use crate::store::options::OpenError;
use sqlx::sqlite::SqliteConnection;
use std::path::PathBuf;

/// The connection that writes.
pub(super) struct Writing {
    /// `None` once the store is closed.
    pub(super) connection: Option<SqliteConnection>,
    /// For slices alone; without it, as in a command, they go the way of everything.
    pub(super) slices: Option<SqliteConnection>,
    file: PathBuf,
    pub(super) default_quota: Option<u64>,
}

impl Writing {
    pub(super) fn new(
        connection: SqliteConnection,
        slices: Option<SqliteConnection>,
        file: PathBuf,
        default_quota: Option<u64>,
    ) -> Writing {
        Writing { connection: Some(connection), slices, file, default_quota }
    }

    /// Leaves the transaction that failed, on a new connection if the old one cannot.
    pub(super) async fn leave(&mut self) -> Result<(), OpenError> {
        if let Some(slices) = &mut self.slices
            && let Err(error) = roll_back(slices).await
        {
            tracing::warn!(%error, "slices of large messages go the way of everything from now on");
            self.slices = None;
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if let Err(error) = roll_back(connection).await {
            tracing::warn!(%error, "a transaction could not be rolled back; the database is opened anew");
            *connection = reconnect(&self.file).await?;
        }
        Ok(())
    }

    /// Takes the connections away: no change is made any more.
    pub(super) fn end(&mut self) -> impl Iterator<Item = SqliteConnection> + use<> {
        self.slices.take().into_iter().chain(self.connection.take())
    }
}
