//! The mailbox store: what the rest of the program may ask of it.

pub mod accounts;
pub mod browse;
pub mod maildrop;
pub mod outcome;
pub mod reader;
pub mod staging;

use crate::auth::outcome::Login;
use crate::mail::address::{Address, Domain, MailboxName};
use crate::mail::envelope::Delivery;
use crate::mail::listing::Listing;
use accounts::Mode;
use maildrop::Maildrop;
use outcome::{Error, Receipt, Route};
use staging::Staging;
use std::path::PathBuf;
use std::time::Instant;

/// What a store needs to know to open.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; made with mode 0700 when it does not exist.
    pub data_dir: PathBuf,
    /// Which recipients exist.
    pub mode: Mode,
    /// The domains that are ours; in open mode an empty list means all.
    pub domains: Vec<Domain>,
    /// What separates a tag from a local part; empty for no tags.
    pub tag_separator: String,
    /// Octets for accounts without a quota of their own; `None` for no limit.
    pub default_quota: Option<u64>,
    /// Who opens it.
    pub tenure: Tenure,
}

/// Who opens a store, and so what it may do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// `serve`: the only one at a time. Takes the lock of the data directory, clears away what a
    /// crash has left, keeps the WAL short.
    Server,
    /// A command such as `account`, beside a server or without one.
    Command,
}

/// Why a store cannot be opened: one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {}

/// The mailbox store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {}

impl Store {
    /// Opens the store, making or migrating the database.
    ///
    /// # Errors
    /// [`OpenError`], for the operator.
    pub async fn open(options: Options) -> Result<Store, OpenError> {
        todo!("{options:?}")
    }

    /// Where mail for `to` goes. `declared_octets` is the SIZE that the sender announced.
    ///
    /// # Errors
    /// [`Error`] when the question could not be answered.
    pub async fn route(&self, to: &Address, declared_octets: Option<u64>) -> Result<Route, Error> {
        todo!("{to} {declared_octets:?}")
    }

    /// Begins a large body whose slices are written as they come. Nobody sees it until a delivery
    /// names it; dropping the [`Staging`] throws away what no delivery has named.
    ///
    /// # Errors
    /// [`Error`] when the store takes nothing at the moment.
    pub async fn stage(&self) -> Result<Staging, Error> {
        todo!()
    }

    /// Keeps a message for all its mailboxes or for none. Ready when it is on disk. Dropping the
    /// future changes nothing: the delivery is done whole or not at all.
    ///
    /// # Errors
    /// [`Error`]; nothing was kept then.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Receipt, Error> {
        todo!("{delivery:?}")
    }

    /// Takes the lease of a mailbox and reads its listing. `None` when another session has it and
    /// was heard of in the last [`maildrop::SILENCE_MAX`]; a session silent for longer is evicted.
    /// A mailbox that does not exist is an empty one.
    ///
    /// # Errors
    /// [`Error`] when the listing could not be read.
    pub async fn open_maildrop(
        &self,
        who: &Login,
        now: Instant,
    ) -> Result<Option<(Maildrop, Listing)>, Error> {
        todo!("{who:?} {now:?}")
    }

    /// The password hash (PHC string) of an account; `None` when there is no such account or it has
    /// no password.
    ///
    /// # Errors
    /// [`Error`] when it could not be looked up.
    pub async fn password_hash(&self, of: &MailboxName) -> Result<Option<String>, Error> {
        todo!("{of}")
    }

    /// Waits until the disk has failed ([`Error::Broken`]); the reason, for the last line of the log.
    pub async fn broken(&self) -> String {
        todo!()
    }

    /// Commits what is waiting and closes the database. Later calls get [`Error::Unavailable`].
    pub async fn close(self) {
        todo!()
    }
}
