//! What the check of credentials can answer. The protocol cores know this file of `auth` alone.

use crate::mail::address::MailboxName;
use crate::store::outcome::Error;

/// Proof that somebody may open a mailbox: only `auth` can make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    mailbox: MailboxName,
}

impl Login {
    pub(in crate::auth) fn new(mailbox: MailboxName) -> Login {
        Login { mailbox }
    }

    /// The mailbox that may be opened.
    #[must_use]
    pub fn mailbox(&self) -> &MailboxName {
        &self.mailbox
    }
}

/// Why a login was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No such account or not its password; which of the two is told to nobody.
    Credentials,
    /// The account could not be looked up.
    Store(Error),
}
