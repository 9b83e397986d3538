//! An opened mailbox and its lease: one session at a time.
//!
//! The leases are a table in memory, since one server at a time has the data directory. A session
//! that was silent for [`SILENCE_MAX`] gives way to a new login, but not while its deletions are on
//! their way to the disk: a lease travels with them through the writer and goes back after the
//! commit, whoever still waits for it. A session of an account that was removed gives way at once to one of
//! the account that has its name now: ids of mailboxes only grow.
//!
//! What retention throws away never goes from under a session: the sweep takes the lease too, for the one
//! commit that it needs. A login that meets it waits for that commit, which is no other session's doing.

use super::ahead::Ahead;
use super::engine::{Done, Op};
use super::outcome::{Error, Expunged};
use super::reader::{MessageReader, gone};
use super::{Inner, unexpected};
use crate::mail::address::MailboxName;
use crate::mail::ids::{MailboxId, MessageId};
use crate::mail::listing::Entry;
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A session that was silent for this long gives way to a new login.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Who has which mailbox.
#[derive(Default)]
pub(super) struct Leases {
    table: Mutex<Table>,
    /// Told whenever a sweep gives leases back.
    swept: Notify,
    /// Told when a session gives a lease back that a sweep could not have.
    freed: Notify,
}

#[derive(Default)]
struct Table {
    held: HashMap<MailboxName, Lease>,
    /// Leases given out so far: tells a lease from the one that took its place.
    given: u64,
}

struct Lease {
    number: u64,
    /// Whose it is; the mailboxes of open mode are nobody's.
    account: Option<MailboxId>,
    /// When the session was last heard of.
    heard: Instant,
    stage: Stage,
    evicted: CancellationToken,
    /// A sweep waits for it.
    is_awaited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Its deletions are with the writer: from here it cannot be taken over.
    Updating,
    /// No session has it, but a sweep that is with the writer.
    Sweeping,
}

/// What became of a wish for a lease.
pub(super) enum Taken {
    Yes(LeaseHold),
    /// A live session has it.
    InUse,
    /// A sweep has it, for one commit.
    Swept,
}

impl Leases {
    /// Gives the lease of a mailbox to a session; `None` when a live session has it. Waits for a sweep.
    pub(super) async fn take(
        self: &Arc<Leases>,
        mailbox: &MailboxName,
        account: Option<MailboxId>,
        now: Instant,
    ) -> Option<LeaseHold> {
        loop {
            let swept = self.swept.notified();
            let mut swept = pin!(swept);
            // From here on the end of a sweep is heard of.
            swept.as_mut().enable();
            match self.try_take(mailbox, account, now) {
                Taken::Yes(hold) => return Some(hold),
                Taken::InUse => return None,
                Taken::Swept => swept.await,
            }
        }
    }

    fn try_take(
        self: &Arc<Leases>,
        mailbox: &MailboxName,
        account: Option<MailboxId>,
        now: Instant,
    ) -> Taken {
        let mut table = self.lock();
        if let Some(lease) = table.held.get(mailbox) {
            let silent = now.saturating_duration_since(lease.heard);
            match lease.stage {
                Stage::Sweeping => return Taken::Swept,
                Stage::Updating => return Taken::InUse,
                Stage::Open if silent < SILENCE_MAX && lease.account >= account => return Taken::InUse,
                Stage::Open => lease.evicted.cancel(),
            }
        }
        Taken::Yes(self.give(&mut table, mailbox, account, now, Stage::Open))
    }

    /// Gives the lease to a sweep, for one commit; `None` when anybody has it.
    pub(super) fn take_for_sweep(
        self: &Arc<Leases>,
        mailbox: &MailboxName,
        now: Instant,
    ) -> Option<LeaseHold> {
        let mut table = self.lock();
        match table.held.get_mut(mailbox) {
            Some(lease) => {
                lease.is_awaited = true;
                None
            }
            None => Some(self.give(&mut table, mailbox, None, now, Stage::Sweeping)),
        }
    }

    /// Waits until a mailbox is free that a sweep could not have; one that was since the last time counts.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn give(
        self: &Arc<Leases>,
        table: &mut Table,
        mailbox: &MailboxName,
        account: Option<MailboxId>,
        now: Instant,
        stage: Stage,
    ) -> LeaseHold {
        table.given += 1;
        let number = table.given;
        let evicted = CancellationToken::new();
        // A sweep that waits for the session before waits for this one.
        let is_awaited = table.held.get(mailbox).is_some_and(|lease| lease.is_awaited);
        let lease = Lease { number, account, heard: now, stage, evicted: evicted.clone(), is_awaited };
        table.held.insert(mailbox.clone(), lease);
        LeaseHold { leases: Arc::clone(self), mailbox: mailbox.clone(), number, evicted }
    }

    /// No panic happens while the table is locked, so it is whole even after one elsewhere.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lease of one session. Dropping it gives it back, unless another has taken it over.
pub(super) struct LeaseHold {
    leases: Arc<Leases>,
    mailbox: MailboxName,
    number: u64,
    evicted: CancellationToken,
}

impl LeaseHold {
    fn touch(&self, now: Instant) {
        let mut table = self.leases.lock();
        if let Some(lease) = table.held.get_mut(&self.mailbox).filter(|l| l.number == self.number) {
            lease.heard = now;
        }
    }

    /// From here on nobody can take the lease over.
    fn begin_update(&self) -> Result<(), Error> {
        let mut table = self.leases.lock();
        let own = table.held.get_mut(&self.mailbox).filter(|l| l.number == self.number);
        own.ok_or(Error::LeaseLost)?.stage = Stage::Updating;
        Ok(())
    }
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        let mut table = self.leases.lock();
        if table.held.get(&self.mailbox).is_some_and(|l| l.number == self.number) {
            let Some(returned) = table.held.remove(&self.mailbox) else { return };
            if returned.stage == Stage::Sweeping {
                self.leases.swept.notify_waiters();
            }
            if returned.is_awaited {
                self.leases.freed.notify_one();
            }
        }
    }
}

/// An opened mailbox. It holds the lease and gives it back when dropped.
pub struct Maildrop {
    store: Arc<Inner>,
    hold: LeaseHold,
    /// `None` while no mail has made the mailbox.
    mailbox: Option<MailboxId>,
    ahead: Ahead,
}

impl Maildrop {
    pub(super) fn new(store: Arc<Inner>, hold: LeaseHold, mailbox: Option<MailboxId>) -> Maildrop {
        let ahead = Ahead::new(Arc::clone(&store.ahead));
        Maildrop { store, hold, mailbox, ahead }
    }

    /// The session was heard of: the peer sent a command or took part of a message.
    pub fn touch(&self, now: Instant) {
        self.hold.touch(now);
    }

    /// Waits until a newer session has taken the mailbox over.
    pub async fn evicted(&self) {
        self.hold.evicted.cancelled().await;
    }

    /// The octets of a message, as a stream.
    #[must_use]
    pub fn read(&self, entry: &Entry) -> MessageReader {
        MessageReader::new(Arc::clone(&self.store), entry.id)
    }

    /// The same for a session that may want the messages `behind` it next. Ready when the beginning of
    /// the message is there.
    ///
    /// # Errors
    /// [`Error`] when it could not be read.
    pub async fn read_ahead(
        &mut self,
        entry: &Entry,
        behind: impl Iterator<Item = Entry> + Clone,
    ) -> Result<MessageReader, Error> {
        self.ahead.forget_before(self.store.engine.generation());
        let beginning = match self.ahead.take(entry.id).await {
            Some(beginning) => beginning,
            None => {
                let ids = self.ahead.plan(entry, behind.clone());
                let read = self.store.health.noted(self.store.engine.beginnings(ids).await)?;
                self.ahead.keep(read, entry.id).ok_or_else(gone)?
            }
        };
        self.ahead.go_on(&self.store.engine, behind);
        Ok(MessageReader::begun(Arc::clone(&self.store), beginning))
    }

    /// Deletes messages, all or none, and gives the lease back. Ready when it is on disk. A message
    /// that is gone already, since its account was removed meanwhile, is no fault.
    ///
    /// # Errors
    /// [`Error`]; nothing was deleted then, and after [`Error::Broken`] all or none.
    /// [`Error::LeaseLost`] when the session was evicted.
    pub async fn expunge(self, ids: Vec<MessageId>) -> Result<Expunged, Error> {
        let Maildrop { store, hold, mailbox, .. } = self;
        hold.begin_update()?;
        let Some(mailbox) = mailbox.filter(|_| !ids.is_empty()) else { return Ok(Expunged::new(0)) };
        match store.writer.submit(Op::Expunge { mailbox, ids }, vec![hold]).await? {
            Done::Expunged(messages) => Ok(Expunged::new(messages)),
            other => Err(unexpected(&other)),
        }
    }
}

impl fmt::Debug for Maildrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Maildrop({})", self.hold.mailbox)
    }
}
