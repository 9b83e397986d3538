//! What the check of credentials can answer. The protocol cores know this file of `auth` alone.

use crate::mail::address::MailboxName;
use crate::store::outcome::Error;
use crate::wire::sasl::ServerSignature;

/// Proof that somebody may open a mailbox: only `auth` can make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    mailbox: MailboxName,
}

impl Login {
    pub(in crate::auth) fn new(mailbox: MailboxName) -> Login {
        Login { mailbox }
    }

    /// A login that nobody has checked, for tests of what it opens.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn pretended(mailbox: MailboxName) -> Login {
        Login::new(mailbox)
    }

    /// The mailbox that may be opened.
    #[must_use]
    pub fn mailbox(&self) -> &MailboxName {
        &self.mailbox
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
