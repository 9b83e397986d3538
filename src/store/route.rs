//! Where mail for an address goes: accounts, aliases, tags, catch-alls.
//!
//! The order in which a name is looked up: the account of exactly this name, the alias of exactly
//! this name, in open mode the caught mailbox of exactly this name; the same without the tag; the
//! catch-all of the domain; then what exists without being written down anywhere: in open mode
//! every address, in closed mode `postmaster`.

use super::Inner;
use super::accounts::{Mode, Origin};
use super::engine::{MailboxFacts, Names, Takes};
use super::lookups::Lookups;
use super::outcome::{Error, Route};
use crate::auth::outcome::Login;
use crate::mail::address::{Address, Domain, MailboxName, Sender};
use std::collections::{HashMap, HashSet};

/// Aliases of aliases are followed this far.
const DEPTH_MAX: usize = 32;
/// The least that trace lines take: so much every message needs besides what is declared (RFC 1870 §6.1).
const HEAD_OCTETS_MIN: u64 = 128;
/// Most mailboxes of one address; an alias that leads to more is cut off.
const TARGETS_MAX: usize = 1000;

/// Which recipients exist without being written down, and how much room they have.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) mode: Mode,
    pub(super) domains: Vec<Domain>,
    pub(super) tag_separator: String,
    pub(super) default_quota: Option<u64>,
}

/// What one look-up of a name has shown.
enum Hop {
    Mailbox(MailboxName),
    Alias(Vec<String>),
    Nothing,
}

impl Policy {
    /// Which mailboxes a copy for `name` may go into.
    pub(super) fn takes(&self, name: &MailboxName) -> Takes {
        if self.mode == Mode::Open || self.is_postmaster(name) { Takes::Any } else { Takes::Accounts }
    }

    pub(super) fn is_ours(&self, domain: &Domain) -> bool {
        (self.mode == Mode::Open && self.domains.is_empty()) || self.domains.contains(domain)
    }

    // RFC 5321 §4.5.1: mail for the postmaster of a domain of ours is always taken.
    fn is_postmaster(&self, name: &MailboxName) -> bool {
        name.address().local() == "postmaster" && self.domains.contains(name.domain())
    }

    /// Mailboxes that exist because the mode says so, tag or not.
    fn exists_by_rule(&self, name: &MailboxName) -> bool {
        self.is_ours(name.domain()) && self.takes(name) == Takes::Any
    }

    fn bare(&self, name: &MailboxName) -> MailboxName {
        name.without_tag(&self.tag_separator).unwrap_or_else(|| name.clone())
    }

    /// The names to ask the engine for before [`Policy::hop`].
    fn questions(&self, name: &MailboxName) -> Vec<String> {
        vec![name.to_string(), self.bare(name).to_string(), catch_all(name.domain())]
    }

    /// One look-up. An alias' target never falls to the catch-all: it was named outright.
    fn hop(&self, name: &MailboxName, known: &Names, with_catch_all: WithCatchAll) -> Hop {
        let bare = self.bare(name);
        for candidate in [name, &bare] {
            let text = candidate.to_string();
            let origin = known.mailboxes.get(&text).map(|facts| facts.origin);
            if origin == Some(Origin::Account) {
                return Hop::Mailbox(candidate.clone());
            }
            // An alias that somebody added counts more than a mailbox that mail has made.
            if let Some(targets) = known.aliases.get(&text) {
                return Hop::Alias(targets.clone());
            }
            if origin.is_some() && self.mode == Mode::Open {
                return Hop::Mailbox(candidate.clone());
            }
        }
        if with_catch_all == WithCatchAll::Yes
            && let Some(targets) = known.aliases.get(&catch_all(name.domain()))
        {
            return Hop::Alias(targets.clone());
        }
        if self.exists_by_rule(&bare) { Hop::Mailbox(bare) } else { Hop::Nothing }
    }

    /// Whether `more` octets would take the mailbox over its quota.
    fn has_room(&self, facts: Option<&MailboxFacts>, more: u64) -> bool {
        let quota = facts.and_then(|f| f.quota).or(self.default_quota);
        let octets = facts.map_or(0, |f| f.octets);
        quota.is_none_or(|quota| octets.saturating_add(more) <= quota)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WithCatchAll {
    Yes,
    No,
}

/// The alias name of a domain's catch-all.
pub(super) fn catch_all(domain: &Domain) -> String {
    format!("@{domain}")
}

/// Where mail for `to` goes, with room for a message of `declared_octets`.
pub(super) async fn route(
    lookups: &Lookups,
    policy: &Policy,
    to: &Address,
    declared_octets: Option<u64>,
) -> Result<Route, Error> {
    let name = to.name();
    if !policy.is_ours(name.domain()) {
        return Ok(Route::Foreign);
    }
    let walk = Walk::from(lookups, policy, &name).await?;
    if walk.found.is_empty() {
        return Ok(Route::Unknown);
    }
    let octets = declared_octets.unwrap_or(0).saturating_add(HEAD_OCTETS_MIN);
    let full = walk.found.iter().find(|name| !policy.has_room(walk.facts.get(&name.to_string()), octets));
    Ok(match full {
        Some(name) => Route::Full(name.clone()),
        None => Route::Mailboxes(walk.found),
    })
}

/// A walk through the aliases, one layer of targets at a time.
#[derive(Default)]
struct Walk {
    found: Vec<MailboxName>,
    /// The same, to find none twice.
    reached: HashSet<MailboxName>,
    facts: HashMap<String, MailboxFacts>,
    /// Every name that was looked up: a circle ends here.
    seen: HashSet<MailboxName>,
}

impl Walk {
    /// The whole walk from `name`.
    async fn from(lookups: &Lookups, policy: &Policy, name: &MailboxName) -> Result<Walk, Error> {
        let mut walk = Walk::default();
        walk.seen.insert(name.clone());
        let mut layer = vec![name.clone()];
        for depth in 0..DEPTH_MAX {
            if layer.is_empty() {
                break;
            }
            let with_catch_all = if depth == 0 { WithCatchAll::Yes } else { WithCatchAll::No };
            layer = walk.layer(lookups, policy, &layer, with_catch_all).await?;
        }
        if !layer.is_empty() {
            tracing::warn!(
                address = %name,
                "aliases lead further than {DEPTH_MAX} hops, the rest is left out"
            );
        }
        Ok(walk)
    }

    /// Looks up the names of one layer; the targets of the aliases among them are the next.
    async fn layer(
        &mut self,
        lookups: &Lookups,
        policy: &Policy,
        names: &[MailboxName],
        with_catch_all: WithCatchAll,
    ) -> Result<Vec<MailboxName>, Error> {
        let questions: Vec<String> = names.iter().flat_map(|name| policy.questions(name)).collect();
        let known = lookups.names(questions.clone()).await?;
        let mut next = Vec::new();
        for name in names {
            match policy.hop(name, &known, with_catch_all) {
                Hop::Mailbox(mailbox) => {
                    if self.found.len() < TARGETS_MAX && self.reached.insert(mailbox.clone()) {
                        self.found.push(mailbox);
                    }
                }
                Hop::Alias(targets) => next.extend(self.unseen(targets)),
                Hop::Nothing if with_catch_all == WithCatchAll::No => {
                    tracing::warn!(target = %name, "an alias leads to an address that does not exist");
                }
                Hop::Nothing => {}
            }
        }
        let facts = questions.into_iter().filter_map(|name| {
            let facts = *known.mailboxes.get(&name)?;
            Some((name, facts))
        });
        self.facts.extend(facts);
        next.truncate(TARGETS_MAX);
        Ok(next)
    }

    fn unseen(&mut self, targets: Vec<String>) -> Vec<MailboxName> {
        let names = targets.into_iter().filter_map(|text| match Address::parse(&text) {
            Ok(address) => Some(address.name()),
            Err(error) => {
                tracing::warn!(%text, %error, "an alias leads to something that is no address");
                None
            }
        });
        names.filter(|name| self.seen.insert(name.clone())).collect()
    }
}

impl super::Store {
    /// The mailbox that somebody wants to open in open mode, where a name may be one that only leads to it:
    /// that of this name if there is one, else the one that mail for it goes to. A name that leads to
    /// several, or nowhere, is left as it is.
    ///
    /// # Errors
    /// [`Error`] when the question could not be answered.
    pub async fn mailbox_behind(&self, name: MailboxName) -> Result<MailboxName, Error> {
        let Inner { lookups, policy, .. } = &*self.inner;
        let text = name.to_string();
        let known = self.ask(lookups.names(vec![text.clone()])).await?;
        // Also where an alias was added later: what the mailbox holds from before must stay in reach.
        if known.mailboxes.contains_key(&text) {
            return Ok(name);
        }
        let walk = self.ask(Walk::from(lookups, policy, &name)).await?;
        match <[MailboxName; 1]>::try_from(walk.found) {
            Ok([one]) => Ok(one),
            Err(_) => Ok(name),
        }
    }

    /// Whether mail from `from` may be sent by `who`: from the address of the account, one of its `+tag`s, or
    /// an alias, catch-alls included, that ends in it. What has mail for `from` may send as `from`. The null
    /// reverse-path is nobody's, so every account that exists may. An account that was removed sends as
    /// nobody, whoever has its name now. In open mode anybody may send as anybody.
    ///
    /// # Errors
    /// [`Error`] when the question could not be answered.
    pub async fn may_send(&self, who: &Login, from: &Sender) -> Result<bool, Error> {
        let policy = &self.inner.policy;
        if policy.mode == Mode::Open {
            return Ok(true);
        }
        // A session may outlive its account.
        let now = self.account(who.mailbox()).await?.map(|(id, _)| id);
        if now.is_none() || now != who.account() {
            return Ok(false);
        }
        let Sender::Address(from) = from else { return Ok(true) };
        let name = from.name();
        if name == *who.mailbox() {
            return Ok(true);
        }
        if !policy.is_ours(name.domain()) {
            return Ok(false);
        }
        let walk = self.ask(Walk::from(&self.inner.lookups, policy, &name)).await?;
        Ok(walk.reached.contains(who.mailbox()))
    }
}
