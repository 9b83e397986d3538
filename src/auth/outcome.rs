//! What the check of credentials can answer. The protocol cores know this file of `auth` alone.

use crate::mail::address::MailboxName;
use crate::mail::ids::MailboxId;
use crate::store::outcome::Error;
use crate::wire::sasl::ServerSignature;

/// Proof that somebody may open a mailbox: only `auth` can make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    mailbox: MailboxName,
    account: Option<MailboxId>,
}

impl Login {
    /// Into the mailbox of this name, whoever has it: open mode.
    pub(in crate::auth) fn by_name(mailbox: MailboxName) -> Login {
        Login { mailbox, account: None }
    }

    pub(in crate::auth) fn of_account(mailbox: MailboxName, account: MailboxId) -> Login {
        Login { mailbox, account: Some(account) }
    }

    /// A login that nobody has checked, for tests of what it opens.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn pretended(mailbox: MailboxName) -> Login {
        Login::by_name(mailbox)
    }

    /// The same of an account.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn pretended_of(mailbox: MailboxName, account: MailboxId) -> Login {
        Login::of_account(mailbox, account)
    }

    /// The mailbox that may be opened.
    #[must_use]
    pub fn mailbox(&self) -> &MailboxName {
        &self.mailbox
    }

    /// The account whose password it was, which the name may outlive; `None` in open mode, where a mailbox
    /// is nobody's.
    #[must_use]
    pub fn account(&self) -> Option<MailboxId> {
        self.account
    }
}

/// A login, and what a SCRAM client is sent as the server's proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who it is.
    pub login: Login,
    /// With SCRAM only.
    pub signature: Option<ServerSignature>,
}

/// Why a login was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No such account or not its password; which of the two is told to nobody.
    Credentials,
    /// The address of the peer has failed too often and is shut out for a while.
    Blocked,
    /// The account could not be looked up.
    Store(Error),
}
