//! The memory that all that comes in may hold together: messages, and the recipients of transactions.

use crate::mail::address::{Address, MailboxName};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What each message, and the recipients of each transaction, may hold without asking the budget; the size
/// of a slice when the budget is used up; and the step in which more is asked for.
pub const STEP_OCTETS: usize = 16 * 1024;
/// What a mailbox of a recipient takes besides its name: trace lines, and the list that it is in.
const MAILBOX_OCTETS: usize = 512;

/// How much memory all that comes in may hold together, beyond [`STEP_OCTETS`] for each.
#[derive(Debug)]
pub struct Budget {
    octets_left: AtomicUsize,
}

impl Budget {
    /// So many octets.
    #[must_use]
    pub fn new(octets: usize) -> Arc<Budget> {
        Arc::new(Budget { octets_left: AtomicUsize::new(octets) })
    }

    fn take(&self, octets: usize) -> bool {
        let less = |left: usize| left.checked_sub(octets);
        self.octets_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give_back(&self, octets: usize) {
        self.octets_left.fetch_add(octets, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn octets_left(&self) -> usize {
        self.octets_left.load(Ordering::Relaxed)
    }
}

/// What one of them may hold of the budget; dropping it gives that back.
#[derive(Debug)]
pub(super) struct Allowance {
    budget: Arc<Budget>,
    /// With the step that is free.
    octets: usize,
}

impl Allowance {
    pub(super) fn new(budget: Arc<Budget>) -> Allowance {
        Allowance { budget, octets: STEP_OCTETS }
    }

    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Grows until `octets` are allowed; false when the budget has no more.
    pub(super) fn reach(&mut self, octets: usize) -> bool {
        while self.octets < octets {
            if !self.budget.take(STEP_OCTETS) {
                return false;
            }
            self.octets += STEP_OCTETS;
        }
        true
    }

    pub(super) fn shrink(&mut self, octets: usize) {
        let octets = octets.max(STEP_OCTETS);
        self.budget.give_back(self.octets.saturating_sub(octets));
        self.octets = self.octets.min(octets);
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.shrink(STEP_OCTETS);
    }
}

/// A share of the budget that a message holds until it is dropped.
#[derive(Debug)]
pub struct Share(#[expect(dead_code, reason = "held for its drop")] Allowance);

impl From<Allowance> for Share {
    fn from(allowance: Allowance) -> Share {
        Share(allowance)
    }
}

/// What the recipients of a transaction hold of the budget.
#[derive(Debug)]
pub struct Addressees {
    allowance: Allowance,
    /// About what they take until the message is delivered.
    octets: usize,
}

impl Addressees {
    /// No recipients.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Addressees {
        Addressees { allowance: Allowance::new(budget), octets: 0 }
    }

    /// One more, whose mail goes to these mailboxes; false when there is no room for it.
    #[must_use]
    pub fn add(&mut self, to: &Address, mailboxes: &[MailboxName]) -> bool {
        let of_name = |name: &Address| name.local().len() + name.domain().as_str().len();
        let names: usize = mailboxes.iter().map(|name| of_name(name.address()) + MAILBOX_OCTETS).sum();
        let octets = self.octets + of_name(to) + names;
        let has_room = self.allowance.reach(octets);
        if has_room {
            self.octets = octets;
        } else {
            // What was taken on the way is for others.
            self.allowance.shrink(self.octets.next_multiple_of(STEP_OCTETS));
        }
        has_room
    }

    /// The transaction is over.
    pub fn clear(&mut self) {
        if self.octets > 0 {
            self.octets = 0;
            self.allowance.shrink(STEP_OCTETS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_hold_their_share_until_the_transaction_is_over() {
        let budget = Budget::new(STEP_OCTETS);
        let mut addressees = Addressees::new(budget.clone());
        let to = Address::parse("ann@example.org").unwrap();
        let one = to.name();
        // Twenty-eight in the step that is free, as many in the other.
        let fit = (0..100).take_while(|_| addressees.add(&to, std::slice::from_ref(&one))).count();
        assert_eq!(fit, 2 * STEP_OCTETS / (2 * "annexample.org".len() + MAILBOX_OCTETS));
        assert_eq!(budget.octets_left(), 0);
        addressees.clear();
        assert_eq!(budget.octets_left(), STEP_OCTETS);
        assert!(addressees.add(&to, &vec![one.clone(); 20]));
        assert!(!addressees.add(&to, &vec![one.clone(); 100]), "an alias of many counts with each of them");
        assert_eq!(budget.octets_left(), STEP_OCTETS, "and one that is refused holds nothing");
        assert!(addressees.add(&to, &vec![one.clone(); 20]));
        assert_eq!(budget.octets_left(), 0);
        drop(addressees);
        assert_eq!(budget.octets_left(), STEP_OCTETS);
        assert!(!Addressees::new(budget.clone()).add(&to, &vec![one; 100]));
        assert_eq!(budget.octets_left(), STEP_OCTETS);
    }
}
