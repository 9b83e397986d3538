//! The mailbox store: what the rest of the program may ask of it.
//!
//! ```text
//!   deliver, stage, expunge, accounts ──► writer (one task, group commit) ──► Engine::apply
//!   route        ──► what is known, or lookups (one question for many askers) ──► Engine, short reads
//!   listing, message, browse          ──────────────────────────────────────► Engine, short reads
//! ```
//!
//! What holds everywhere:
//! - A change travels to the writer by channel. Dropping the future that waits for it changes nothing:
//!   it is done whole or not at all.
//! - [`outcome::Receipt`] and [`outcome::Expunged`] exist only after the commit is on disk.
//! - After [`outcome::Error::Broken`] nothing is acknowledged any more.
//! - What is remembered of accounts and aliases counts until any process changes one (`known`).

pub mod accounts;
mod ahead;
pub mod browse;
pub mod copies;
mod engine;
mod health;
mod known;
mod lookups;
pub mod maildrop;
mod manage;
mod open;
mod options;
pub mod outcome;
pub mod owner;
pub mod paths;
pub mod reader;
pub mod retention;
mod route;
mod sqlite;
pub mod staging;
pub mod tenancy;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(any(test, feature = "testing"))]
mod weakened;
mod writer;

use crate::auth::outcome::Login;
use crate::mail::address::{Address, MailboxName};
use crate::mail::envelope::Delivery;
use crate::mail::ids::MailboxId;
use crate::mail::listing::Listing;
use crate::mail::secret::Secret;
use accounts::StoredPassword;
use engine::{Done, Engine, Op};
use health::Health;
use known::Known;
use lookups::Lookups;
use maildrop::{Leases, Maildrop};
pub use options::{OpenError, Options, Tenure};
use outcome::{Error, Receipt, Route};
use route::Policy;
use staging::Staging;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy::Tenancy;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use writer::Writer;

/// The mailbox store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What all clones share.
struct Inner {
    engine: Arc<dyn Engine>,
    policy: Policy,
    writer: Writer,
    lookups: Lookups,
    leases: Arc<Leases>,
    ahead: Arc<ahead::Budget>,
    health: Arc<Health>,
    tenancy: Tenancy,
    rules: retention::Rules,
    /// Told when the house work is to end.
    stop: CancellationToken,
    /// Ends the house work with the last clone.
    _house_work: DropGuard,
}

impl Store {
    /// Opens the store, making or migrating the database.
    ///
    /// # Errors
    /// [`OpenError`], for the operator.
    pub async fn open(options: Options) -> Result<Store, OpenError> {
        let (engine, tenancy) = open::open(&options).await?;
        Store::with_engine(Arc::new(engine), tenancy, options).await
    }

    /// A store on an engine that is open already.
    async fn with_engine(
        engine: Arc<dyn Engine>,
        tenancy: Tenancy,
        options: Options,
    ) -> Result<Store, OpenError> {
        let health = Arc::new(Health::new(Arc::clone(&engine)));
        let (committed, commits) = watch::channel(0);
        let writer = Writer::start(Arc::clone(&engine), Arc::clone(&health), committed);
        let stop = CancellationToken::new();
        if options.tenure == Tenure::Server {
            tokio::spawn(house_work(Arc::clone(&engine), Arc::clone(&health), commits.clone(), stop.clone()));
            // What was staged when the last server ended is nobody's. With a full disk it waits.
            if let Err(error) = writer.submit(Op::DiscardAll, Vec::new()).await {
                if error != Error::DiskFull {
                    return Err(OpenError::Store(error));
                }
                tracing::warn!("the disk is full: what a crash has left behind stays until the next start");
            }
        }
        let policy = Policy {
            mode: options.mode,
            domains: options.domains,
            tag_separator: options.tag_separator,
            default_quota: options.default_quota,
        };
        let known = Known::new(policy.mode, policy.default_quota);
        let lookups = Lookups::start(Arc::clone(&engine), Arc::clone(&health), known);
        let leases = Arc::default();
        let ahead = ahead::Budget::new(ahead::BUDGET_OCTETS);
        let rules = options.retention;
        let _house_work = stop.clone().drop_guard();
        let inner = Arc::new(Inner {
            engine,
            policy,
            writer,
            lookups,
            leases,
            ahead,
            health,
            tenancy,
            rules,
            stop,
            _house_work,
        });
        if options.tenure == Tenure::Server && !rules.are_off() {
            retention::start(&inner, commits);
        }
        Ok(Store { inner })
    }

    /// Where mail for `to` goes. `declared_octets` is the SIZE that the sender announced.
    ///
    /// # Errors
    /// [`Error`] when the question could not be answered; [`Error::DiskFull`] when there is a mailbox and the
    /// disk has no room for so much.
    pub async fn route(&self, to: &Address, declared_octets: Option<u64>) -> Result<Route, Error> {
        let route =
            self.ask(route::route(&self.inner.lookups, &self.inner.policy, to, declared_octets)).await?;
        // RFC 1870 §6.4: what there is no room for need not be sent to be refused.
        if let (Route::Mailboxes(_), Some(octets)) = (&route, declared_octets)
            && !self.ask(self.inner.engine.could_hold(octets)).await?
        {
            return Err(Error::DiskFull);
        }
        Ok(route)
    }

    /// Begins a large body whose slices are written as they come. Nobody sees it until a delivery
    /// names it; dropping the [`Staging`] throws away what no delivery has named.
    ///
    /// # Errors
    /// [`Error`] when the store takes nothing at the moment.
    pub async fn stage(&self) -> Result<Staging, Error> {
        self.inner.health.check()?;
        Ok(Staging::new(Arc::clone(&self.inner)))
    }

    /// Keeps a message for all its mailboxes or for none. Ready when it is on disk. Dropping the
    /// future changes nothing: the delivery is done whole or not at all.
    ///
    /// # Errors
    /// [`Error`]; nothing was kept then. After [`Error::Broken`] it may be found, whole, at the next start.
    pub async fn deliver(&self, mut delivery: Delivery) -> Result<Receipt, Error> {
        let queue_id = delivery.queue_id;
        // The counting of copies rests on this promise of the caller's, so it is kept here as well.
        let mut seen = HashSet::new();
        delivery.copies.retain(|copy| seen.insert(copy.mailbox.clone()));
        let takes = delivery.copies.iter().map(|copy| self.inner.policy.takes(&copy.mailbox)).collect();
        match self.inner.writer.submit(Op::Deliver { delivery, takes }, Vec::new()).await? {
            Done::Delivered => Ok(Receipt::new(queue_id)),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes the lease of a mailbox and reads its listing. `None` when another session has it and
    /// was heard of in the last [`maildrop::SILENCE_MAX`]; a session silent for longer is evicted.
    /// A session of an account that was removed gives way at once to one of the account that has its name
    /// now. A mailbox that does not exist is an empty one.
    ///
    /// # Errors
    /// [`Error`] when the listing could not be read.
    pub async fn open_maildrop(
        &self,
        who: &Login,
        now: Instant,
    ) -> Result<Option<(Maildrop, Listing)>, Error> {
        self.open_mailbox(who.mailbox(), who.account(), now).await
    }

    async fn open_mailbox(
        &self,
        mailbox: &MailboxName,
        account: Option<MailboxId>,
        now: Instant,
    ) -> Result<Option<(Maildrop, Listing)>, Error> {
        self.inner.health.check()?;
        let Some(hold) = self.inner.leases.take(mailbox, account, now).await else { return Ok(None) };
        let found = self.ask(self.inner.engine.listing(mailbox)).await?;
        // Whoever has the name now may be somebody else than who has logged in.
        let found = found.filter(|(id, _)| account.is_none_or(|account| account == *id));
        let (id, entries) = found.map_or((None, Vec::new()), |(id, entries)| (Some(id), entries));
        let listing = Listing::new(self.inner.engine.era(), entries);
        Ok(Some((Maildrop::new(Arc::clone(&self.inner), hold, id), listing)))
    }

    /// What is kept of the password of an account; `None` when there is no such account or it has
    /// no password.
    ///
    /// # Errors
    /// [`Error`] when it could not be looked up.
    pub async fn stored_password(&self, of: &MailboxName) -> Result<Option<StoredPassword>, Error> {
        Ok(self.account(of).await?.map(|(_, password)| password))
    }

    /// Which account has this name now, and what is kept of its password. The id is never given twice.
    ///
    /// # Errors
    /// [`Error`] when it could not be looked up.
    pub async fn account(&self, of: &MailboxName) -> Result<Option<(MailboxId, StoredPassword)>, Error> {
        self.ask(self.inner.engine.password(of)).await
    }

    /// Random octets that belong to this database for ever: what is made up for users that do not
    /// exist comes from it.
    #[must_use]
    pub fn login_secret(&self) -> &Secret {
        self.inner.engine.login_secret()
    }

    /// Waits until the disk has failed ([`Error::Broken`]); the reason, for the last line of the log.
    pub async fn broken(&self) -> String {
        self.inner.health.failed().await
    }

    /// Writes a note into the lock file of the data directory, where [`tenancy::lock_note`] finds
    /// it: the addresses of the listeners. Only a server has a lock to write into.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write_lock_note(&self, note: &str) -> std::io::Result<()> {
        self.inner.tenancy.write_note(note)
    }

    /// Commits what is waiting and closes the database. Later calls get [`Error::Unavailable`]. Once the
    /// disk has failed, also while this goes on ([`Store::broken`]), nothing is closed: the end of the
    /// process frees the data directory, and the next start recovers.
    pub async fn close(self) {
        self.inner.stop.cancel();
        self.inner.writer.close().await;
        if self.inner.health.check().is_err()
            || self.inner.health.noted(self.inner.engine.close().await).is_err()
        {
            return;
        }
        self.inner.tenancy.release();
    }

    /// A question: refused once the disk has failed, and watched for the failure.
    async fn ask<T>(&self, question: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.inner.health.check()?;
        self.inner.health.noted(question.await)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// How often the database is looked at while this server commits nothing: a command beside it may.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Keeps the database in order after commits, off their path.
async fn house_work(
    engine: Arc<dyn Engine>,
    health: Arc<Health>,
    mut commits: watch::Receiver<u64>,
    stop: CancellationToken,
) {
    while let Some(Ok(Ok(())) | Err(_)) =
        stop.run_until_cancelled(timeout(LOOK_EVERY, commits.changed())).await
    {
        if health.check().is_err() {
            return;
        }
        if let Err(error) = health.noted(engine.tidy().await) {
            tracing::warn!(%error, "house work on the database failed");
        }
    }
}

/// The engine answered something else than it was asked: a fault of ours, and no proof of anything.
fn unexpected(done: &Done) -> Error {
    tracing::error!(?done, "the engine answered another question");
    Error::Unavailable("internal fault of the store".into())
}
