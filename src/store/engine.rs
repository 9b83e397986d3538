//! What a database must be able to do. The rest of the store knows no SQL, this trait alone.
//!
//! Changes come as [`Op`]s in batches: a batch is one transaction, on disk when [`Engine::apply`] is
//! ready. Questions are short reads that never wait for a change.

use super::accounts::{Account, AccountError, Alias, AliasName, Origin, StoredPassword};
use super::outcome::Error;
use crate::mail::address::MailboxName;
use crate::mail::envelope::Delivery;
use crate::mail::ids::{BodyId, Era, MailboxId, MessageId};
use crate::mail::listing::Entry;
use crate::mail::secret::Secret;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::HashMap;

/// One change. It is done whole or not at all, and never depends on its neighbours in the batch.
#[derive(Clone, Debug)]
pub(in crate::store) enum Op {
    /// Keeps a message; `takes` says for each copy what its mailbox must be.
    Deliver { delivery: Delivery, takes: Vec<Takes> },
    /// Appends a slice to a staged body; without a body it begins one.
    Stage { body: Option<BodyId>, place: u32, slice: Bytes },
    /// Throws a staged body away; does nothing when a delivery has named it.
    Discard(BodyId),
    /// Throws away every staged body: what a crash has left.
    DiscardAll,
    /// Deletes messages of a mailbox.
    Expunge { mailbox: MailboxId, ids: Vec<MessageId> },
    /// Deletes messages of any mailboxes: the rules of retention. Those that are gone are no fault.
    Expire(Vec<MessageId>),
    /// Changes accounts or aliases.
    Account(AccountChange),
}

impl Op {
    /// About how many octets it writes; a batch is bounded by their sum.
    pub(in crate::store) fn octets(&self) -> u64 {
        /// What a row costs besides its own octets, in the table and in its indexes.
        const ROW: u64 = 128;
        match self {
            Op::Deliver { delivery, .. } => {
                let heads: u64 = delivery.copies.iter().map(|c| c.head.len() as u64 + ROW).sum();
                let body = match &delivery.body {
                    crate::mail::body::Body::Memory(_) => delivery.body.octets(),
                    crate::mail::body::Body::Staged { .. } => 0,
                };
                heads + body + ROW
            }
            Op::Stage { slice, .. } => slice.len() as u64 + ROW,
            Op::Expunge { ids, .. } | Op::Expire(ids) => ids.len() as u64 * ROW,
            Op::Discard(_) | Op::DiscardAll | Op::Account(_) => ROW,
        }
    }
}

/// Which mailboxes a copy may go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Takes {
    /// Any; it is made when it does not exist.
    Any,
    /// Only one that somebody added as an account.
    Accounts,
}

/// A change of accounts or aliases.
#[derive(Clone, Debug)]
pub(in crate::store) enum AccountChange {
    Add { name: MailboxName, password: StoredPassword, quota: Option<u64> },
    SetPassword { name: MailboxName, password: StoredPassword },
    Remove(MailboxName),
    AddAlias { alias: Alias, targets: Targets, tag_separator: String },
    RemoveAlias(AliasName),
}

/// What the targets of a new alias may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Targets {
    /// Any address: its mailbox is made by mail.
    Any,
    /// Accounts and aliases that exist, with a tag or without.
    Existing,
}

/// What an [`Op`] has done.
#[derive(Debug)]
pub(in crate::store) enum Done {
    /// The message is kept.
    Delivered,
    /// The slice is appended to this body.
    Staged(BodyId),
    /// A staged body is gone, or there was none.
    Discarded,
    /// So many messages were deleted.
    Expunged(usize),
    /// The change was made, or refused; how many messages went with it.
    Account(Result<u64, AccountError>),
}

/// What is known of some names: the ground of routing.
#[derive(Debug, Default)]
pub(in crate::store) struct Names {
    /// The mailboxes among them.
    pub(in crate::store) mailboxes: HashMap<String, MailboxFacts>,
    /// The aliases among them, each with its targets in order.
    pub(in crate::store) aliases: HashMap<String, Vec<String>>,
}

/// What routing must know of a mailbox.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct MailboxFacts {
    /// How it came to be.
    pub(in crate::store) origin: Origin,
    /// Its own quota in octets.
    pub(in crate::store) quota: Option<u64>,
    /// What is in it, in octets.
    pub(in crate::store) octets: u64,
}

/// The beginning of a message: all of it when it is small.
#[derive(Debug)]
pub(in crate::store) struct Beginning {
    /// Its trace lines.
    pub(in crate::store) head: Bytes,
    /// Its body.
    pub(in crate::store) body: BodyId,
    /// The octets of the body when it has no chunks.
    pub(in crate::store) inline: Bytes,
    /// In how many chunks the body lies.
    pub(in crate::store) chunks: u32,
}

/// A message as the rules of retention see it.
#[derive(Clone, Debug)]
pub(in crate::store) struct Old {
    pub(in crate::store) id: MessageId,
    pub(in crate::store) mailbox: MailboxName,
    pub(in crate::store) octets: u64,
    /// Unix seconds.
    pub(in crate::store) received: i64,
}

/// A mailbox with more messages than it may have.
#[derive(Clone, Debug)]
pub(in crate::store) struct Crowded {
    pub(in crate::store) mailbox: MailboxId,
    pub(in crate::store) name: MailboxName,
}

/// An account of the moment, and its password: one of the same name that is made later has another id.
pub(in crate::store) type Kept = (MailboxId, StoredPassword);

/// How often other processes have changed anything, and this one accounts or aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Generation(pub(in crate::store) u64);

/// A mailbox and its messages, oldest first.
pub(in crate::store) type Found = (MailboxId, Vec<Entry>);

/// A database. Dynamic: a commit or a chunk costs far more than one boxed future.
pub(in crate::store) trait Engine: Send + Sync + 'static {
    /// The era of the unique-ids.
    fn era(&self) -> Era;
    /// Random octets that belong to this database for ever.
    fn login_secret(&self) -> &Secret;
    /// Does a batch in one transaction. `Ok` means that it is on disk, or, when it is [`Op::Stage`]
    /// alone, that it will be with the next batch that is not. Each op has a result of its own, and
    /// one that was refused has changed nothing. `Err` means that nothing was changed.
    fn apply<'a>(&'a self, batch: &'a [Op]) -> BoxFuture<'a, Result<Vec<Result<Done, Error>>, Error>>;
    /// As long as this is the same, what [`Engine::names`] has told still holds, but for what deliveries of
    /// this process change: octets, and mailboxes that they make. `None` when there is no telling. Cheap, and
    /// never waits.
    fn generation(&self) -> Option<Generation>;
    /// What is known of these names.
    fn names(&self, names: Vec<String>) -> BoxFuture<'_, Result<Names, Error>>;
    /// A mailbox and its messages; `None` when it does not exist.
    fn listing<'a>(&'a self, mailbox: &'a MailboxName) -> BoxFuture<'a, Result<Option<Found>, Error>>;
    /// The beginnings of these messages, in their order, without those that are gone.
    fn beginnings(&self, of: Vec<MessageId>) -> BoxFuture<'_, Result<Vec<(MessageId, Beginning)>, Error>>;
    /// One chunk of a body, counted from 0; `None` when it is gone.
    fn chunk(&self, body: BodyId, place: u32) -> BoxFuture<'_, Result<Option<Bytes>, Error>>;
    /// Which mailbox an account is, and what is kept of its password.
    fn password<'a>(&'a self, of: &'a MailboxName) -> BoxFuture<'a, Result<Option<Kept>, Error>>;
    /// All mailboxes, by name.
    fn accounts(&self) -> BoxFuture<'_, Result<Vec<Account>, Error>>;
    /// All aliases, by name.
    fn aliases(&self) -> BoxFuture<'_, Result<Vec<Alias>, Error>>;
    /// Octets of all messages of all mailboxes.
    fn stored_octets(&self) -> BoxFuture<'_, Result<u64, Error>>;
    /// Whether there could be room on the disk for a message of `octets`: only its delivery finds out.
    fn could_hold(&self, octets: u64) -> BoxFuture<'_, Result<bool, Error>>;
    /// The oldest messages behind `after`, so many at most, in the order in which they came.
    fn oldest(&self, after: MessageId, most: usize) -> BoxFuture<'_, Result<Vec<Old>, Error>>;
    /// The oldest messages of one mailbox, in the order in which they came: those that are more than
    /// `messages_max`, `most` of them at most.
    fn surplus_of(
        &self,
        mailbox: MailboxId,
        messages_max: u64,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Old>, Error>>;
    /// The mailboxes with more than so many messages.
    fn crowded(&self, messages_max: u64) -> BoxFuture<'_, Result<Vec<Crowded>, Error>>;
    /// House work between commits, off their path. Called after each.
    fn tidy(&self) -> BoxFuture<'_, Result<(), Error>>;
    /// The last house work; nothing is asked of the engine afterwards. When the disk fails in it, nothing is
    /// closed.
    fn close(&self) -> BoxFuture<'_, Result<(), Error>>;
}
