//! The engine that keeps everything in one SQLite file. All SQL of the program is in this folder.
//!
//! Four kinds of connection: the writer's, one for slices of large messages, which promise nothing yet, the
//! readers' pool, and one that only checkpoints. In WAL
//! mode readers and the checkpoint never make a commit wait, and no reader is held across a wait for
//! the network.

mod accounts;
mod changes;
mod checkpoints;
mod connect;
pub(super) mod copy;
mod database;
mod delivery;
mod fault;
mod open;
mod quick;
mod read;
mod refusal;
mod remove;
mod retention;
mod setup;
mod slices;
mod space;
mod sql;
mod tidy;
pub(super) mod verify;
mod write;
mod writing;

use super::accounts::{Account, Alias};
use super::engine::{Beginning, Crowded, Done, Engine, Found, Generation, Kept, Names, Old, Op};
use super::outcome::Error;
use crate::mail::address::MailboxName;
use crate::mail::ids::{BodyId, Era, MailboxId, MessageId};
use crate::mail::secret::Secret;
use bytes::Bytes;
pub(super) use database::{DATABASE_FILE, Sqlite};
use futures_util::future::BoxFuture;
use std::future::ready;

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

    fn could_hold(&self, octets: u64) -> BoxFuture<'_, Result<bool, Error>> {
        if self.space.could_hold(octets, 0) {
            return Box::pin(ready(Ok(true)));
        }
        self.reading(async move {
            let unused = setup::unused_octets(&mut *self.readers.acquire().await?).await?;
            Ok(self.space.could_hold(octets, unused))
        })
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
