//! Accounts, aliases, quotas.

use super::Store;
use super::outcome::Error;
use crate::mail::address::{Domain, MailboxName};

/// Which recipients exist, and who may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A mail catcher: every recipient exists, its mailbox is made at the first delivery.
    Open,
    /// Accounts and aliases, and nothing else.
    Closed,
}

/// One account, or a mailbox that a catcher made, as `account list` shows it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its address.
    pub name: MailboxName,
    /// Whether somebody added it, or mail did.
    pub origin: Origin,
    /// Its own quota in octets; `None` when the default counts.
    pub quota: Option<u64>,
    /// Messages in it.
    pub messages: u64,
    /// Octets of them.
    pub octets: u64,
}

/// How a mailbox came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By `account add`; it has a password.
    Account,
    /// By the first delivery in open mode. It is no account: in closed mode it takes no mail.
    Caught,
}

/// What an alias stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AliasName {
    /// One address.
    Address(MailboxName),
    /// `@domain`: every address of the domain that is nothing else.
    CatchAll(Domain),
}

/// One alias.
#[derive(Clone, Debug)]
pub struct Alias {
    /// The address it stands for.
    pub name: AliasName,
    /// Where its mail goes: accounts or other aliases. Never empty.
    pub targets: Vec<MailboxName>,
}

/// Why an account or alias could not be changed. One sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name is an account already.
    #[error("{0} is an account already")]
    AccountExists(MailboxName),
    /// The name is an alias already.
    #[error("{0} is an alias already")]
    AliasExists(String),
    /// There is no such account.
    #[error("there is no account {0}")]
    NoAccount(MailboxName),
    /// There is no such alias.
    #[error("there is no alias {0}")]
    NoAlias(String),
    /// A target is neither an account nor an alias.
    #[error("{0} is neither an account nor an alias of this server, and the server sends no mail on")]
    NoTarget(MailboxName),
    /// The alias would lead back to itself.
    #[error("the alias {0} would lead back to itself")]
    Circle(String),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Store {
    /// Adds an account; a mailbox that was caught under this name becomes its.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn add_account(
        &self,
        name: &MailboxName,
        password_hash: &str,
        quota: Option<u64>,
    ) -> Result<(), AccountError> {
        todo!("{name} {password_hash} {quota:?}")
    }

    /// All accounts and caught mailboxes, by name.
    ///
    /// # Errors
    /// [`Error`] when they could not be read.
    pub async fn accounts(&self) -> Result<Vec<Account>, Error> {
        todo!()
    }

    /// Gives an account another password.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn set_password(&self, name: &MailboxName, password_hash: &str) -> Result<(), AccountError> {
        todo!("{name} {password_hash}")
    }

    /// Removes an account or caught mailbox with all its mail; returns how many messages that were.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn remove_account(&self, name: &MailboxName) -> Result<u64, AccountError> {
        todo!("{name}")
    }

    /// Adds an alias.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn add_alias(&self, alias: &Alias) -> Result<(), AccountError> {
        todo!("{alias:?}")
    }

    /// All aliases, by name.
    ///
    /// # Errors
    /// [`Error`] when they could not be read.
    pub async fn aliases(&self) -> Result<Vec<Alias>, Error> {
        todo!()
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn remove_alias(&self, name: &AliasName) -> Result<(), AccountError> {
        todo!("{name:?}")
    }
}
