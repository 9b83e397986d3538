//! The envelope of a mail transaction (RFC 5321 §2.3.1), and the delivery that it becomes.

use super::address::{Address, MailboxName, Sender};
use super::body::Body;
use super::ids::QueueId;
use bytes::Bytes;

/// What MAIL and RCPT have said so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path.
    pub from: Sender,
    /// The recipients that were accepted, in order.
    pub recipients: Vec<Recipient>,
    /// The SIZE that MAIL declared (RFC 1870), in octets.
    pub declared_octets: Option<u64>,
    /// Whether MAIL asked for SMTPUTF8 (RFC 6531).
    pub charset: Charset,
}

/// The alphabet of a transaction's addresses and headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Charset {
    /// Addresses and headers are ASCII.
    #[default]
    Ascii,
    /// MAIL carried SMTPUTF8: addresses and headers may hold UTF-8 (RFC 6531).
    Utf8,
}

/// One accepted forward-path and the mailboxes behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address as RCPT gave it.
    pub address: Address,
    /// Where it leads: one mailbox, or each target of an alias. Never empty.
    pub mailboxes: Vec<MailboxName>,
}

/// A message on its way into the store: one body, a copy for each mailbox. It is kept for all of
/// them or for none.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The id that the `250`, the `Received:` line and the log share.
    pub queue_id: QueueId,
    /// The message.
    pub body: Body,
    /// One for each mailbox; no mailbox twice; never empty.
    pub copies: Vec<MailboxCopy>,
    /// What one mailbox over its quota means for the others.
    pub overdraft: Overdraft,
}

/// Whether a message may take a mailbox over its quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdraft {
    /// Never: the delivery is refused.
    Refused,
    /// Where the message fits into another of its mailboxes, one that has room left takes it too. With a
    /// single reply for all recipients it would be refused to all, and again at each new try, for the sake
    /// of one. Of a message that is larger than the whole quota this does not hold.
    ForOthers,
}

/// What one mailbox gets of a delivery.
#[derive(Clone, Debug)]
pub struct MailboxCopy {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The trace lines that stand above the body in this mailbox, each ended by CRLF.
    pub head: Bytes,
}
