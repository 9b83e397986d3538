//! Adding, changing and removing accounts and aliases.

use super::accounts::{Account, AccountError, Alias, AliasName, Mode, StoredPassword};
use super::engine::{AccountChange, Done, Op, Targets};
use super::outcome::Error;
use super::{Store, unexpected};
use crate::mail::address::MailboxName;

impl Store {
    /// Adds an account; a mailbox that was caught under this name becomes its.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn add_account(
        &self,
        name: &MailboxName,
        password: &StoredPassword,
        quota: Option<u64>,
    ) -> Result<(), AccountError> {
        let (name, password) = (name.clone(), password.clone());
        self.change(AccountChange::Add { name, password, quota }).await.map(drop)
    }

    /// All accounts and caught mailboxes, by name.
    ///
    /// # Errors
    /// [`Error`] when they could not be read.
    pub async fn accounts(&self) -> Result<Vec<Account>, Error> {
        self.ask(self.inner.engine.accounts()).await
    }

    /// Gives an account another password.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn set_password(
        &self,
        name: &MailboxName,
        password: &StoredPassword,
    ) -> Result<(), AccountError> {
        let (name, password) = (name.clone(), password.clone());
        self.change(AccountChange::SetPassword { name, password }).await.map(drop)
    }

    /// Removes an account or caught mailbox with all its mail; returns how many messages that were.
    /// Aliases that lead to it stay, and lead past it: mail for one that leads nowhere else is refused.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn remove_account(&self, name: &MailboxName) -> Result<u64, AccountError> {
        self.change(AccountChange::Remove(name.clone())).await
    }

    /// Adds an alias. Its targets must exist, as accounts or aliases, with a tag or without; in open mode
    /// any address of a domain that is taken does.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn add_alias(&self, alias: &Alias) -> Result<(), AccountError> {
        let policy = &self.inner.policy;
        let targets = match policy.mode {
            Mode::Open => Targets::Any,
            Mode::Closed => Targets::Existing,
        };
        let foreign = alias.targets.iter().find(|target| !policy.is_ours(target.domain()));
        if let (Mode::Open, Some(foreign)) = (policy.mode, foreign) {
            return Err(AccountError::NoTarget(foreign.clone()));
        }
        let (alias, tag_separator) = (alias.clone(), policy.tag_separator.clone());
        self.change(AccountChange::AddAlias { alias, targets, tag_separator }).await.map(drop)
    }

    /// All aliases, by name.
    ///
    /// # Errors
    /// [`Error`] when they could not be read.
    pub async fn aliases(&self) -> Result<Vec<Alias>, Error> {
        self.ask(self.inner.engine.aliases()).await
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// [`AccountError`]; nothing was changed then.
    pub async fn remove_alias(&self, name: &AliasName) -> Result<(), AccountError> {
        self.change(AccountChange::RemoveAlias(name.clone())).await.map(drop)
    }

    async fn change(&self, change: AccountChange) -> Result<u64, AccountError> {
        match self.inner.writer.submit(Op::Account(change), Vec::new()).await? {
            Done::Account(result) => result,
            other => Err(unexpected(&other).into()),
        }
    }
}
