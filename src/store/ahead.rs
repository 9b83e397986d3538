//! Reading ahead: a client that takes one message after the other gets most of them from memory.
//!
//! The first message is read alone. When the next one asked for is the one behind it, two are read with one
//! question, then four, and so on up to the bounds. What a session holds so is taken from a budget of
//! all sessions; where that is used up, messages are read one by one.

use super::engine::Beginning;
use crate::mail::ids::MessageId;
use crate::mail::listing::Entry;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most messages of one question.
const MESSAGES_MAX: usize = 64;
/// Most octets of one question, unless its first message alone has more.
const OCTETS_MAX: u64 = 256 * 1024;
/// Octets that all sessions together may hold of messages that nobody has asked for yet.
pub(super) const BUDGET_OCTETS: u64 = 16 * 1024 * 1024;

/// What is left of the budget.
#[derive(Debug)]
pub(super) struct Budget {
    octets_left: AtomicU64,
}

impl Budget {
    pub(super) fn new(octets: u64) -> Arc<Budget> {
        Arc::new(Budget { octets_left: AtomicU64::new(octets) })
    }

    fn take(self: &Arc<Budget>, octets: u64) -> Option<Share> {
        let less = |left: u64| left.checked_sub(octets);
        self.octets_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(Share { budget: Arc::clone(self), octets })
    }
}

/// A part of the budget, until it is dropped.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    octets: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.octets_left.fetch_add(self.octets, Ordering::Relaxed);
    }
}

/// What one session has read ahead, and how far it should.
#[derive(Debug)]
pub(super) struct Ahead {
    budget: Arc<Budget>,
    read: VecDeque<(MessageId, Beginning)>,
    share: Option<Share>,
    /// The message behind the last one that was asked for.
    expected: Option<MessageId>,
    /// Messages of the last question.
    stride: usize,
}

impl Ahead {
    pub(super) fn new(budget: Arc<Budget>) -> Ahead {
        Ahead { budget, read: VecDeque::new(), share: None, expected: None, stride: 1 }
    }

    /// The message, if it was read already.
    pub(super) fn take(&mut self, id: MessageId) -> Option<Beginning> {
        while self.read.front().is_some_and(|(read, _)| *read < id) {
            self.read.pop_front();
        }
        let is_there = self.read.front().is_some_and(|(read, _)| *read == id);
        let found = if is_there { self.read.pop_front() } else { None };
        if self.read.is_empty() {
            self.share = None;
        }
        found.map(|(_, beginning)| beginning)
    }

    /// The messages to read now: this one, and of those behind it as many as are worth it.
    pub(super) fn plan(&mut self, entry: &Entry, behind: impl Iterator<Item = Entry>) -> Vec<MessageId> {
        self.read.clear();
        self.share = None;
        self.stride = if self.expected == Some(entry.id) { (self.stride * 2).min(MESSAGES_MAX) } else { 1 };
        let mut ids = vec![entry.id];
        let mut octets = 0;
        for next in behind.take(self.stride - 1) {
            if entry.octets + octets + next.octets > OCTETS_MAX {
                break;
            }
            octets += next.octets;
            ids.push(next.id);
        }
        if octets > 0 {
            self.share = self.budget.take(octets);
            if self.share.is_none() {
                ids.truncate(1);
            }
        }
        ids
    }

    /// Keeps what was read besides the message that was asked for, which it returns.
    pub(super) fn keep(&mut self, read: Vec<(MessageId, Beginning)>, id: MessageId) -> Option<Beginning> {
        self.read = read.into();
        self.take(id)
    }

    /// Notes which message a client that reads in order asks for next.
    pub(super) fn expect(&mut self, next: Option<MessageId>) {
        self.expected = next;
    }
}
