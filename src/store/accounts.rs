//! Accounts, aliases, quotas: what they are, and when an alias leads back to itself.

use super::outcome::Error;
use crate::mail::address::{Domain, MailboxName};
use std::collections::{HashMap, HashSet};
use std::fmt;

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

/// What the store keeps of a password; `auth` makes it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPassword {
    /// The hash, as a PHC string.
    pub phc: String,
    /// What SCRAM needs. Accounts from before schema version 2 have none until their password is set
    /// again, nor have passwords that SCRAM cannot carry.
    pub scram: Option<ScramKeys>,
}

/// The keys of SCRAM-SHA-256 (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Random octets.
    pub salt: Box<[u8]>,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// `StoredKey`
    pub stored_key: [u8; 32],
    /// `ServerKey`
    pub server_key: [u8; 32],
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredPassword(***)")
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(***)")
    }
}

/// What an alias stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AliasName {
    /// One address.
    Address(MailboxName),
    /// `@domain`: every address of the domain that is nothing else.
    CatchAll(Domain),
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AliasName::Address(name) => name.fmt(f),
            AliasName::CatchAll(domain) => write!(f, "@{domain}"),
        }
    }
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

/// What names with a tag lead to.
#[derive(Debug)]
pub(super) struct Tags<'a> {
    pub(super) separator: &'a str,
    /// Those that are mailboxes by their whole name.
    pub(super) mailboxes: HashSet<String>,
}

impl Tags<'_> {
    fn taken_off(&self, name: &AliasName) -> Option<AliasName> {
        let AliasName::Address(name) = name else { return None };
        let bare = name.without_tag(self.separator)?;
        (!self.mailboxes.contains(&name.to_string())).then_some(AliasName::Address(bare))
    }
}

/// Whether an alias `name` with these `targets` would lead back to itself through the aliases that
/// exist. A catch-all is led back to by any address of its domain that is nothing else, so only its
/// own name is looked for.
pub(super) fn leads_back(
    name: &AliasName,
    targets: &[MailboxName],
    aliases: &[Alias],
    tags: &Tags<'_>,
) -> bool {
    let by_name: HashMap<&AliasName, &[MailboxName]> =
        aliases.iter().map(|alias| (&alias.name, alias.targets.as_slice())).collect();
    let mut seen = HashSet::new();
    let mut ahead: Vec<AliasName> = targets.iter().cloned().map(AliasName::Address).collect();
    while let Some(target) = ahead.pop() {
        if target == *name {
            return true;
        }
        match by_name.get(&target) {
            Some(further) if seen.insert(target.clone()) => {
                ahead.extend(further.iter().cloned().map(AliasName::Address));
            }
            Some(_) => {}
            None => ahead.extend(tags.taken_off(&target)),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::Address;

    fn name(local: &str) -> MailboxName {
        Address::new(local.into(), Domain::parse("example.org").unwrap()).unwrap().name()
    }

    fn alias(from: &str, to: &[&str]) -> Alias {
        Alias { name: AliasName::Address(name(from)), targets: to.iter().map(|t| name(t)).collect() }
    }

    #[test]
    fn an_alias_that_leads_to_itself_over_others_is_found() {
        let aliases = [alias("b", &["c", "d"]), alias("d", &["e", "a"])];
        let mailboxes = HashSet::from([name("f+whole").to_string()]);
        let tags = Tags { separator: "+", mailboxes };
        let back = |from: &str, to: &[&str]| {
            let new = alias(from, to);
            leads_back(&new.name, &new.targets, &aliases, &tags)
        };
        assert!(back("a", &["a"]), "at once");
        assert!(back("a", &["x", "b"]), "over b and d");
        assert!(!back("x", &["b"]), "a is no alias yet");
        let ring = [alias("p", &["q"]), alias("q", &["p"])];
        let x = AliasName::Address(name("x"));
        assert!(!leads_back(&x, &[name("p")], &ring, &tags), "a circle elsewhere ends");
        assert!(back("a", &["a+tag"]), "its own tag");
        assert!(back("a", &["b+tag"]), "the tag of another");
        assert!(!back("f", &["f+whole"]), "that is a mailbox");
        assert!(!back("a+tag", &["a"]), "a is none");
    }
}
