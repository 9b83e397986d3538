//! A second engine, for tests: SQLite with faults on demand. It keeps the trait honest, and shows what
//! the store does when a commit fails, is torn, or takes long.

use super::Store;
use super::engine::{Beginning, Crowded, Done, Engine, Found, Generation, Kept, Names, Old, Op};
use super::open;
use super::options::{OpenError, Options};
use super::outcome::Error;
use super::retention::{SPARED_MAX, Sweeper};
pub use super::weakened::weaken;
use crate::mail::address::MailboxName;
use crate::mail::ids::{BodyId, Era, MailboxId, MessageId};
use crate::mail::listing::Listing;
use crate::mail::secret::Secret;
use crate::store::accounts::{Account, Alias};
use crate::store::maildrop::Maildrop;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// What goes wrong with a commit or a question.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing is done, and this is the answer.
    Fail(Error),
    /// The first half of the batch is done, and this is the answer: an engine that breaks its word.
    Tear(Error),
    /// The batch is done, and this is the answer: the sync failed, nobody knows.
    Lose(Error),
    /// The thread of the writer ends: a fault of the program.
    Panic,
}

/// The faults to come and what has happened. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    shared: Arc<Mutex<Shared>>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Shared {
    commits: u64,
    ops: u64,
    questions: u64,
    on_commit: Option<(u64, Fault)>,
    on_question: Option<(u64, Error)>,
}

#[derive(Debug)]
struct Gate {
    passes: Semaphore,
    waiting: Semaphore,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { passes: Semaphore::new(Semaphore::MAX_PERMITS), waiting: Semaphore::new(0) }
    }
}

impl Faults {
    /// The `nth` commit from now (1 is the next) goes wrong.
    pub fn on_commit(&self, nth: u64, fault: Fault) {
        let mut shared = self.shared();
        shared.on_commit = Some((shared.commits + nth, fault));
    }

    /// The `nth` question from now (1 is the next) is answered by this error.
    pub fn on_question(&self, nth: u64, error: Error) {
        let mut shared = self.shared();
        shared.on_question = Some((shared.questions + nth, error));
    }

    /// From now on a commit waits before it begins, until [`Faults::let_one_pass`].
    pub fn hold_commits(&self) {
        self.gate.passes.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets one held commit begin.
    pub fn let_one_pass(&self) {
        self.gate.passes.add_permits(1);
    }

    /// Holds commits no more.
    pub fn let_all_pass(&self) {
        self.gate.passes.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until a commit waits at the gate.
    pub async fn held(&self) {
        if let Ok(permit) = self.gate.waiting.acquire().await {
            permit.forget();
        }
    }

    /// Commits that were begun so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared().commits
    }

    /// Changes in them.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.shared().ops
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_commit(&self, ops: usize) -> Option<Fault> {
        let mut shared = self.shared();
        shared.commits += 1;
        shared.ops += ops as u64;
        let now = shared.commits;
        shared.on_commit.take_if(|(at, _)| *at == now).map(|(_, fault)| fault)
    }

    fn begin_question(&self) -> Result<(), Error> {
        let mut shared = self.shared();
        shared.questions += 1;
        let now = shared.questions;
        shared.on_question.take_if(|(at, _)| *at == now).map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// An engine that passes everything on to another, but for the faults.
struct Faulty {
    engine: Arc<dyn Engine>,
    faults: Faults,
}

impl Engine for Faulty {
    fn era(&self) -> Era {
        self.engine.era()
    }

    fn login_secret(&self) -> &Secret {
        self.engine.login_secret()
    }

    fn generation(&self) -> Option<Generation> {
        self.engine.generation()
    }

    fn apply<'a>(&'a self, batch: &'a [Op]) -> BoxFuture<'a, Result<Vec<Result<Done, Error>>, Error>> {
        Box::pin(async move {
            let fault = self.faults.begin_commit(batch.len());
            if self.faults.gate.passes.available_permits() == 0 {
                self.faults.gate.waiting.add_permits(1);
            }
            if let Ok(pass) = self.faults.gate.passes.acquire().await {
                pass.forget();
            }
            match fault {
                None => self.engine.apply(batch).await,
                Some(Fault::Fail(error)) => Err(error),
                Some(Fault::Tear(error)) => {
                    self.engine.apply(&batch[..batch.len().div_ceil(2)]).await.and(Err(error))
                }
                Some(Fault::Lose(error)) => self.engine.apply(batch).await.and(Err(error)),
                Some(Fault::Panic) => std::panic::resume_unwind(Box::new("a fault of the program")),
            }
        })
    }

    fn names(&self, names: Vec<String>) -> BoxFuture<'_, Result<Names, Error>> {
        Box::pin(async move {
            self.faults.begin_question()?;
            self.engine.names(names).await
        })
    }

    fn listing<'a>(&'a self, mailbox: &'a MailboxName) -> BoxFuture<'a, Result<Option<Found>, Error>> {
        Box::pin(async move {
            self.faults.begin_question()?;
            self.engine.listing(mailbox).await
        })
    }

    fn beginnings(&self, of: Vec<MessageId>) -> BoxFuture<'_, Result<Vec<(MessageId, Beginning)>, Error>> {
        Box::pin(async move {
            self.faults.begin_question()?;
            self.engine.beginnings(of).await
        })
    }

    fn chunk(&self, body: BodyId, place: u32) -> BoxFuture<'_, Result<Option<Bytes>, Error>> {
        Box::pin(async move {
            self.faults.begin_question()?;
            self.engine.chunk(body, place).await
        })
    }

    fn password<'a>(&'a self, of: &'a MailboxName) -> BoxFuture<'a, Result<Option<Kept>, Error>> {
        Box::pin(async move {
            self.faults.begin_question()?;
            self.engine.password(of).await
        })
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<Account>, Error>> {
        self.engine.accounts()
    }

    fn aliases(&self) -> BoxFuture<'_, Result<Vec<Alias>, Error>> {
        self.engine.aliases()
    }

    fn stored_octets(&self) -> BoxFuture<'_, Result<u64, Error>> {
        self.engine.stored_octets()
    }

    fn could_hold(&self, octets: u64) -> BoxFuture<'_, Result<bool, Error>> {
        self.engine.could_hold(octets)
    }

    fn oldest(&self, after: MessageId, most: usize) -> BoxFuture<'_, Result<Vec<Old>, Error>> {
        self.engine.oldest(after, most)
    }

    fn surplus_of(
        &self,
        mailbox: MailboxId,
        messages_max: u64,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Old>, Error>> {
        self.engine.surplus_of(mailbox, messages_max, most)
    }

    fn crowded(&self, messages_max: u64) -> BoxFuture<'_, Result<Vec<Crowded>, Error>> {
        self.engine.crowded(messages_max)
    }

    fn tidy(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.engine.tidy()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.engine.close()
    }
}

/// A store on SQLite whose commits and questions go wrong when the [`Faults`] say so.
///
/// # Errors
/// [`OpenError`], as from [`Store::open`].
pub async fn open_faulty(options: Options) -> Result<(Store, Faults), OpenError> {
    let (engine, tenancy) = open::open(&options).await?;
    let faults = Faults::default();
    let engine = Arc::new(Faulty { engine: Arc::new(engine), faults: faults.clone() });
    Ok((Store::with_engine(engine, tenancy, options).await?, faults))
}

/// Throws away what the rules of retention say, as if it were `now`; how many messages that were.
///
/// # Errors
/// [`Error`] when the database could not be asked or changed.
pub async fn sweep(store: &Store, now: SystemTime) -> Result<u64, Error> {
    Sweeper::new(SPARED_MAX).sweep(&store.inner, now).await
}

/// The same, as if every mailbox that is open had been spared for long enough.
///
/// # Errors
/// As [`sweep`].
pub async fn sweep_impatiently(store: &Store, now: SystemTime) -> Result<u64, Error> {
    Sweeper::new(Duration::ZERO).sweep(&store.inner, now).await
}

/// Opens a maildrop without the proof of a login, which only `auth` can make.
///
/// # Errors
/// As [`Store::open_maildrop`].
pub async fn open_maildrop(
    store: &Store,
    mailbox: &MailboxName,
    now: Instant,
) -> Result<Option<(Maildrop, Listing)>, Error> {
    store.open_mailbox(mailbox, None, now).await
}
