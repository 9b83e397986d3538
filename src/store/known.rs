//! Names that were looked up a moment ago: most mail is for somebody who had some already.
//!
//! What is remembered counts until another process changes something ([`Generation`]), and never longer than
//! [`AGE_MAX`]: a command that was killed between its commit and its note has told nobody of success either.
//! Nor is remembered what a delivery of this server may change: how full a mailbox with a quota is, and in
//! open mode that there is no mailbox of a name.

use super::accounts::Mode;
use super::engine::{Generation, MailboxFacts, Names};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer may be remembered.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Octets of names and targets that are remembered; one more name, and all are forgotten.
const OCTETS_MAX: usize = 1024 * 1024;
/// What an entry costs besides its octets.
const ENTRY_OCTETS: usize = 128;

/// What is remembered.
pub(super) struct Known {
    mode: Mode,
    default_quota: Option<u64>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// `None` before the first answer.
    of: Option<(Generation, Instant)>,
    names: HashMap<String, Facts>,
    octets: usize,
}

/// What a name is: maybe nothing.
#[derive(Clone, Debug, Default)]
struct Facts {
    mailbox: Option<MailboxFacts>,
    targets: Option<Vec<String>>,
}

impl Known {
    pub(super) fn new(mode: Mode, default_quota: Option<u64>) -> Known {
        Known { mode, default_quota, table: Mutex::default() }
    }

    /// The answer for these names, if all are remembered.
    pub(super) fn find(&self, names: &[String], now: Generation, at: Instant) -> Option<Names> {
        let table = self.lock();
        let (generation, since) = table.of?;
        if generation != now || at.saturating_duration_since(since) > AGE_MAX {
            return None;
        }
        let mut found = Names::default();
        for name in names {
            let facts = table.names.get(name)?;
            if let Some(mailbox) = facts.mailbox {
                found.mailboxes.insert(name.clone(), mailbox);
            }
            if let Some(targets) = &facts.targets {
                found.aliases.insert(name.clone(), targets.clone());
            }
        }
        Some(found)
    }

    /// Remembers an answer; `then` and `at` are from before the question.
    pub(super) fn learn(&self, names: &[String], found: &Names, then: Generation, at: Instant) {
        if self.default_quota.is_some() {
            return;
        }
        let mut table = self.lock();
        let is_fresh = |(generation, since): (Generation, Instant)| {
            generation == then && at.saturating_duration_since(since) <= AGE_MAX
        };
        if !table.of.is_some_and(is_fresh) || table.octets > OCTETS_MAX {
            *table = Table { of: Some((then, at)), ..Table::default() };
        }
        for name in names {
            let facts = Facts {
                mailbox: found.mailboxes.get(name).copied(),
                targets: found.aliases.get(name).cloned(),
            };
            if !self.is_lasting(name, &facts) {
                continue;
            }
            table.octets += octets(name, &facts);
            table.names.insert(name.clone(), facts);
        }
    }

    /// Whether no delivery can make another answer right.
    fn is_lasting(&self, name: &str, facts: &Facts) -> bool {
        match facts.mailbox {
            Some(mailbox) => mailbox.quota.is_none(),
            // In open mode mail makes mailboxes; that of a catch-all's name it cannot make.
            None => self.mode == Mode::Closed || facts.targets.is_some() || name.starts_with('@'),
        }
    }

    /// No panic happens while the table is locked.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn octets(name: &str, facts: &Facts) -> usize {
    let targets = facts.targets.iter().flatten().map(|target| target.len() + ENTRY_OCTETS);
    name.len() + ENTRY_OCTETS + targets.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::accounts::Origin;

    const FIRST: Generation = Generation(1);

    fn account(name: &str, quota: Option<u64>) -> Names {
        let facts = MailboxFacts { origin: Origin::Account, quota, octets: 7 };
        Names { mailboxes: HashMap::from([(name.to_owned(), facts)]), aliases: HashMap::new() }
    }

    fn asked(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_was_learned_is_found_with_what_is_not_there() {
        let (known, at) = (Known::new(Mode::Closed, None), Instant::now());
        known.learn(&asked(&["a@x", "@x"]), &account("a@x", None), FIRST, at);
        let found = known.find(&asked(&["@x", "a@x"]), FIRST, at).unwrap();
        assert_eq!(found.mailboxes["a@x"].origin, Origin::Account);
        assert!(found.mailboxes.len() == 1 && found.aliases.is_empty());
        assert!(known.find(&asked(&["a@x", "b@x"]), FIRST, at).is_none(), "b was never asked for");
    }

    #[test]
    fn a_change_forgets_and_so_does_time() {
        let (known, at) = (Known::new(Mode::Closed, None), Instant::now());
        known.learn(&asked(&["a@x"]), &account("a@x", None), FIRST, at);
        assert!(known.find(&asked(&["a@x"]), Generation(2), at).is_none());
        assert!(known.find(&asked(&["a@x"]), FIRST, at + AGE_MAX).is_some());
        let late = at + AGE_MAX + Duration::from_millis(1);
        assert!(known.find(&asked(&["a@x"]), FIRST, late).is_none());
        // What is learned anew is not mixed with what was known before.
        known.learn(&asked(&["b@x"]), &Names::default(), Generation(2), late);
        assert!(known.find(&asked(&["a@x"]), Generation(2), late).is_none());
        assert!(known.find(&asked(&["b@x"]), Generation(2), late).is_some());
    }

    #[test]
    fn a_mailbox_with_a_quota_is_looked_up_each_time() {
        let at = Instant::now();
        let known = Known::new(Mode::Closed, None);
        known.learn(&asked(&["a@x"]), &account("a@x", Some(9)), FIRST, at);
        assert!(known.find(&asked(&["a@x"]), FIRST, at).is_none());
        let known = Known::new(Mode::Closed, Some(9));
        known.learn(&asked(&["a@x"]), &account("a@x", None), FIRST, at);
        assert!(known.find(&asked(&["a@x"]), FIRST, at).is_none());
    }

    #[test]
    fn that_a_mailbox_is_missing_is_not_remembered_where_mail_may_make_it() {
        let at = Instant::now();
        let known = Known::new(Mode::Open, None);
        let team = HashMap::from([("team@x".to_owned(), vec!["a@x".to_owned()])]);
        let found = Names { mailboxes: HashMap::new(), aliases: team };
        known.learn(&asked(&["a@x", "team@x", "@x"]), &found, FIRST, at);
        assert!(known.find(&asked(&["a@x"]), FIRST, at).is_none());
        assert!(known.find(&asked(&["team@x", "@x"]), FIRST, at).is_some());
    }

    #[test]
    fn no_flood_of_names_fills_the_memory() {
        let (known, at) = (Known::new(Mode::Closed, None), Instant::now());
        for n in 0..20_000 {
            known.learn(&[format!("{n}@example.org")], &Names::default(), FIRST, at);
        }
        let table = known.lock();
        assert!(table.octets <= OCTETS_MAX + 1000 && table.names.len() < 10_000, "{}", table.octets);
    }
}
