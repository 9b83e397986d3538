//! `pillarbox alias`: addresses whose mail goes to other mailboxes. Works beside a running server.

use super::account::Form;
use super::open::{database_exists, with_store};
use super::output::{Failure, Output, complain};
use super::text::{Side, Table, one_line};
use crate::config::Config;
use crate::mail::address::{Address, AddressError, Domain};
use crate::store::accounts::{AccountError, Alias, AliasName};
use serde::Serialize;

/// Reads the name of an alias: an address, or `@domain` for the catch-all of a domain.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_name(text: &str) -> Result<AliasName, AddressError> {
    match text.strip_prefix('@') {
        Some(domain) => Domain::parse(domain).map(AliasName::CatchAll),
        None => Address::parse(text).map(|address| AliasName::Address(address.name())),
    }
}

/// Adds an alias.
///
/// # Errors
/// [`Failure`]; nothing was changed then.
pub fn add(config: &Config, name: AliasName, targets: &[Address], out: &mut Output) -> Result<(), Failure> {
    let domain = match &name {
        AliasName::Address(name) => name.domain(),
        AliasName::CatchAll(domain) => domain,
    };
    let domains = &config.accounts.domains;
    if !domains.is_empty() && !domains.contains(domain) {
        complain(format_args!(
            "warning: {domain} is not in accounts.domains, so that mail for {name} is refused"
        ));
    }
    let mut names = Vec::with_capacity(targets.len());
    for target in targets.iter().map(Address::name) {
        if !names.contains(&target) {
            names.push(target);
        }
    }
    let alias = Alias { name, targets: names };
    with_store(config, async |store| store.add_alias(&alias).await.map_err(Failure::because))?;
    out.line(format_args!("added {}", alias.name))
}

/// Removes an alias. Mail that it has brought stays where it is.
///
/// # Errors
/// [`Failure`]; nothing was changed then.
pub fn remove(config: &Config, name: &AliasName, out: &mut Output) -> Result<(), Failure> {
    if !database_exists(config)? {
        return Err(Failure::because(AccountError::NoAlias(name.to_string())));
    }
    with_store(config, async |store| store.remove_alias(name).await.map_err(Failure::because))?;
    out.line(format_args!("removed {name}"))
}

/// One alias in JSON. These names are never changed.
#[derive(Serialize)]
struct Row {
    address: String,
    targets: Vec<String>,
}

/// Lists aliases.
///
/// # Errors
/// [`Failure`] when they cannot be read.
pub fn list(config: &Config, form: Form, out: &mut Output) -> Result<(), Failure> {
    let aliases = if database_exists(config)? {
        with_store(config, async |store| store.aliases().await.map_err(Failure::because))?
    } else {
        Vec::new()
    };
    let row = |alias: &Alias| Row {
        address: alias.name.to_string(),
        targets: alias.targets.iter().map(ToString::to_string).collect(),
    };
    let rows: Vec<_> = aliases.iter().map(row).collect();
    if form == Form::Json {
        return out.json_list(&rows);
    }
    let mut table = Table::new([("ADDRESS", Side::Left), ("TARGETS", Side::Left)]);
    for row in rows {
        table.row([one_line(&row.address), one_line(&row.targets.join(", "))]);
    }
    table.lines().try_for_each(|line| out.line(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_an_address_or_a_whole_domain() {
        let read = |text: &str| parse_name(text).map(|name| name.to_string());
        assert_eq!(read("Sales@Example.org").as_deref(), Ok("sales@example.org"));
        assert_eq!(read("@Example.org").as_deref(), Ok("@example.org"));
        assert_eq!(read("@"), Err(AddressError::BadDomain));
        assert_eq!(read("sales"), Err(AddressError::NoDomain));
    }
}
