//! `pillarbox account`: mailboxes and who may open them. Works beside a running server.

use super::open::{database_exists, with_store};
use super::output::{Failure, Output, complain};
use super::password::{self, Source};
use super::text::{Side, Table};
use crate::auth::password::stored;
use crate::config::Config;
use crate::config::units::{OCTETS_MAX, Size};
use crate::mail::address::{Address, MailboxName};
use crate::mail::secret::Secret;
use crate::store::Store;
use crate::store::accounts::{Account, AccountError, AliasName, Origin, StoredPassword};
use serde::Serialize;

/// A quota that is switched off for an account, whatever the default says, is one that no mailbox
/// can reach: the store has no other word for it.
pub const NO_QUOTA: u64 = OCTETS_MAX;

/// What becomes of a command to add an account that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// It fails.
    Refused,
    /// It is done: the account stays as it is.
    Left,
}

/// Adds an account.
///
/// # Errors
/// [`Failure`]; nothing was changed then.
pub fn add(
    config: &Config,
    address: &Address,
    source: &Source,
    quota: Option<Size>,
    present: Present,
    out: &mut Output,
) -> Result<(), Failure> {
    let domains = &config.accounts.domains;
    if !domains.is_empty() && !domains.contains(address.domain()) {
        complain(format_args!(
            "warning: {} is not in accounts.domains, so that mail for {address} is refused",
            address.domain()
        ));
    }
    let quota = quota.map(|size| match size {
        Size::Off => NO_QUOTA,
        Size::Octets(octets) => octets,
    });
    let kept = kept_of(&password::ask(source)?)?;
    let name = address.name();
    let added = with_store(config, async |store| match store.add_account(&name, &kept, quota).await {
        Ok(()) => Ok(true),
        Err(AccountError::AccountExists(_)) if present == Present::Left => Ok(false),
        Err(error) => Err(Failure::because(error)),
    })?;
    if added {
        out.line(format_args!("added {name}"))
    } else {
        out.line(format_args!("{name} is an account already and stays as it is"))
    }
}

/// Gives an account another password.
///
/// # Errors
/// [`Failure`]; nothing was changed then.
pub fn set_password(
    config: &Config,
    address: &Address,
    source: &Source,
    out: &mut Output,
) -> Result<(), Failure> {
    let name = address.name();
    if !database_exists(config)? {
        return Err(Failure::because(AccountError::NoAccount(name)));
    }
    let kept = kept_of(&password::ask(source)?)?;
    with_store(config, async |store| store.set_password(&name, &kept).await.map_err(Failure::because))?;
    out.line(format_args!("changed the password of {name}"))
}

/// Removes an account and its mail.
///
/// # Errors
/// [`Failure`]; nothing was changed then.
pub fn remove(config: &Config, address: &Address, out: &mut Output) -> Result<(), Failure> {
    let name = address.name();
    if !database_exists(config)? {
        return Err(Failure::because(AccountError::NoAccount(name)));
    }
    let (messages, aliases) = with_store(config, async |store| {
        let messages = store.remove_account(&name).await.map_err(Failure::because)?;
        Ok((messages, left_behind(store, &name, &config.accounts.tag_separator).await?))
    })?;
    let plural = if messages == 1 { "" } else { "s" };
    out.line(format_args!("removed {name} and its {messages} message{plural}"))?;
    for alias in aliases {
        out.line(format_args!(
            "the alias {alias} still names it; remove that too if nobody is to have its mail"
        ))?;
    }
    Ok(())
}

/// The aliases that led to a mailbox which is gone, by its name or one with a tag.
async fn left_behind(
    store: &Store,
    gone: &MailboxName,
    tag_separator: &str,
) -> Result<Vec<AliasName>, Failure> {
    let aliases = store.aliases().await.map_err(Failure::because)?;
    let accounts = store.accounts().await.map_err(Failure::because)?;
    let leads_elsewhere = |target: &MailboxName| {
        let name = AliasName::Address(target.clone());
        accounts.iter().any(|account| account.name == *target) || aliases.iter().any(|it| it.name == name)
    };
    let named = |target: &MailboxName| {
        target == gone
            || (target.without_tag(tag_separator).as_ref() == Some(gone) && !leads_elsewhere(target))
    };
    let left = aliases.iter().filter(|alias| alias.targets.iter().any(named));
    Ok(left.map(|alias| alias.name.clone()).collect())
}

fn kept_of(password: &Secret) -> Result<StoredPassword, Failure> {
    stored(password).map_err(Failure::because)
}

/// How a list looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table for people.
    Table,
    /// A JSON list of objects.
    Json,
}

/// One account in JSON. These names are never changed.
#[derive(Serialize)]
struct Row {
    address: String,
    kind: &'static str,
    messages: u64,
    octets: u64,
    /// "default", "off" or a size in words.
    quota: String,
    /// Octets, where the account has a quota of its own.
    quota_octets: Option<u64>,
}

impl From<&Account> for Row {
    fn from(account: &Account) -> Row {
        let (quota, quota_octets) = match account.quota {
            None => ("default".to_owned(), None),
            Some(octets) if octets >= NO_QUOTA => (Size::Off.to_string(), None),
            Some(octets) => (Size::Octets(octets).to_string(), Some(octets)),
        };
        Row {
            address: account.name.to_string(),
            kind: match account.origin {
                Origin::Account => "account",
                Origin::Caught => "caught",
            },
            messages: account.messages,
            octets: account.octets,
            quota,
            quota_octets,
        }
    }
}

/// Lists accounts, and the mailboxes that a catcher made.
///
/// # Errors
/// [`Failure`] when they cannot be read.
pub fn list(config: &Config, form: Form, out: &mut Output) -> Result<(), Failure> {
    let rows: Vec<Row> = if database_exists(config)? {
        let accounts = with_store(config, async |store| store.accounts().await.map_err(Failure::because))?;
        accounts.iter().map(Row::from).collect()
    } else {
        Vec::new()
    };
    if form == Form::Json {
        return out.json_list(&rows);
    }
    let mut table = Table::new([
        ("ADDRESS", Side::Left),
        ("KIND", Side::Left),
        ("MESSAGES", Side::Right),
        ("OCTETS", Side::Right),
        ("QUOTA", Side::Left),
    ]);
    for row in rows {
        table.row([
            super::text::one_line(&row.address),
            row.kind.to_owned(),
            row.messages.to_string(),
            row.octets.to_string(),
            row.quota,
        ]);
    }
    table.lines().try_for_each(|line| out.line(line))
}
