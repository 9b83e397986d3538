//! What the store can answer. The protocol cores know this file of the store and no other.
//!
//! [`Receipt`] and [`Expunged`] are proofs: only the store can make them, and only after its
//! commit was synced. The `250` after a message takes a `Receipt`, the `+OK` after QUIT an
//! `Expunged`, so that neither can be said too early.

use crate::mail::address::MailboxName;
use crate::mail::ids::QueueId;
use thiserror::Error;

/// A message is on disk, for every recipient.
#[derive(Debug)]
pub struct Receipt {
    queue_id: QueueId,
}

impl Receipt {
    pub(in crate::store) fn new(queue_id: QueueId) -> Receipt {
        Receipt { queue_id }
    }

    /// A proof that proves nothing, for tests of the sentence that rests on it.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn pretended(queue_id: QueueId) -> Receipt {
        Receipt::new(queue_id)
    }

    /// The id of the message.
    #[must_use]
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }
}

/// The deletions of one session are on disk, all of them.
#[derive(Debug)]
pub struct Expunged {
    messages: usize,
}

impl Expunged {
    pub(in crate::store) fn new(messages: usize) -> Expunged {
        Expunged { messages }
    }

    /// A proof that proves nothing, for tests of the sentence that rests on it.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn pretended(messages: usize) -> Expunged {
        Expunged::new(messages)
    }

    /// How many messages were deleted.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages
    }
}

/// Where mail for an address goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Into these mailboxes: one, or each target of an alias. Never empty, none twice.
    Mailboxes(Vec<MailboxName>),
    /// The domain is not ours, and this server sends nothing on.
    Foreign,
    /// The domain is ours, the mailbox does not exist.
    Unknown,
    /// A mailbox behind the address has no room for a message of the declared size.
    Full(MailboxName),
}

/// Why the store could not do what it was asked. Nothing was changed; only of [`Error::Broken`] that is not
/// known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The message would take a mailbox over its quota.
    #[error("mailbox {0} is over its quota")]
    MailboxFull(MailboxName),
    /// The mailbox does not exist, or does not exist any more.
    #[error("mailbox {0} does not exist")]
    NoMailbox(MailboxName),
    /// The message does not exist any more: its account was removed, or it was too old to be kept.
    #[error("the message does not exist any more")]
    Gone,
    /// The disk has no room. It passes when there is room again.
    #[error("the disk that holds the mail is full")]
    DiskFull,
    /// The lease of this session was taken over by a newer one.
    #[error("another session has taken the mailbox over")]
    LeaseLost,
    /// Something that may pass: the database is locked for too long, or the server is stopping.
    #[error("the mail store is not available: {0}")]
    Unavailable(String),
    /// Writing to the disk failed, so what it holds is in doubt: a change may be found there, whole, at the
    /// next start. Nothing more is acknowledged; the process ends and the next start recovers.
    #[error("the disk that holds the mail fails: {0}")]
    Broken(String),
}
