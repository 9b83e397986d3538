//! Reading ahead: a client that takes one message after the other gets most of them from memory.
//!
//! The first message is read alone. When the next one asked for is the one behind it, two are read with one
//! question, then four, and so on up to the bounds. Once half of such a lot is taken, the next one is read
//! while the client is busy with the rest. What a session holds so is taken from a budget of
//! all sessions; where that is used up, messages are read one by one.

use super::engine::{Beginning, Engine, Generation};
use crate::mail::ids::MessageId;
use crate::mail::listing::Entry;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinHandle;

/// Most messages of one lot, which is read with one question.
const MESSAGES_MAX: usize = 64;
/// Most octets of one lot, unless the message that was asked for alone has more.
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

/// Messages that were read together, oldest first, and the octets of the budget that they take.
#[derive(Debug, Default)]
struct Lot {
    read: VecDeque<(MessageId, Beginning)>,
    share: Option<Share>,
}

/// A lot that is being read. `None` comes of it when it could not be: whoever asks for its messages is told
/// then.
#[derive(Debug)]
struct Coming {
    ids: Vec<MessageId>,
    lot: JoinHandle<Option<Lot>>,
}

/// What one session has read ahead, and how far it should.
#[derive(Debug)]
pub(super) struct Ahead {
    budget: Arc<Budget>,
    lot: Lot,
    /// Messages of this lot when it was read.
    lot_messages: usize,
    coming: Option<Coming>,
    /// The message behind the last one that was asked for.
    expected: Option<MessageId>,
    /// Most messages of the last lot; 1 for a client that does not read in order.
    stride: usize,
    /// From when all of it is.
    generation: Option<Generation>,
}

impl Ahead {
    pub(super) fn new(budget: Arc<Budget>) -> Ahead {
        let lot = Lot::default();
        Ahead { budget, lot, lot_messages: 0, coming: None, expected: None, stride: 1, generation: None }
    }

    /// Forgets what was read before a change of accounts: a mailbox that is gone is not read from memory.
    /// `None` when nobody knows whether there was one.
    pub(super) fn forget_before(&mut self, now: Option<Generation>) {
        if now.is_none() || now != self.generation {
            self.lot = Lot::default();
            self.coming = None;
            self.generation = now;
        }
    }

    /// The message, if it was read already or is being read.
    pub(super) async fn take(&mut self, id: MessageId) -> Option<Beginning> {
        if let Some(found) = self.take_read(id) {
            return Some(found);
        }
        let coming = self.coming.take().filter(|coming| coming.ids.contains(&id))?;
        self.lot_messages = coming.ids.len();
        self.lot = coming.lot.await.ok()??;
        self.take_read(id)
    }

    fn take_read(&mut self, id: MessageId) -> Option<Beginning> {
        let Lot { read, share } = &mut self.lot;
        while read.front().is_some_and(|(read, _)| *read < id) {
            read.pop_front();
        }
        let found = read.pop_front_if(|(read, _)| *read == id);
        if read.is_empty() {
            *share = None;
        }
        found.map(|(_, beginning)| beginning)
    }

    /// The messages to read now: this one, and of those behind it as many as are worth it.
    pub(super) fn plan(&mut self, entry: &Entry, behind: impl Iterator<Item = Entry>) -> Vec<MessageId> {
        self.lot = Lot::default();
        self.coming = None;
        self.stride = if self.expected == Some(entry.id) { (self.stride * 2).min(MESSAGES_MAX) } else { 1 };
        let (further, octets) =
            fitting(behind.take(self.stride - 1), OCTETS_MAX.saturating_sub(entry.octets));
        let mut ids = vec![entry.id];
        if octets > 0 {
            self.lot.share = self.budget.take(octets);
            if self.lot.share.is_some() {
                ids.extend(further);
            }
        }
        self.lot_messages = ids.len();
        ids
    }

    /// Keeps what was read besides the message that was asked for, which it returns.
    pub(super) fn keep(&mut self, read: Vec<(MessageId, Beginning)>, id: MessageId) -> Option<Beginning> {
        self.lot.read = read.into();
        self.take_read(id)
    }

    /// Notes which message a client that reads in order asks for next, and begins to read the next lot if it
    /// is time. `behind` are the messages behind the one that was taken last.
    pub(super) fn go_on(&mut self, engine: &Arc<dyn Engine>, behind: impl Iterator<Item = Entry> + Clone) {
        self.expected = behind.clone().map(|next| next.id).next();
        let left = self.lot.read.len();
        if self.stride == 1 || self.coming.is_some() || left * 2 > self.lot_messages {
            return;
        }
        let last = self.lot.read.back().map(|(last, _)| *last);
        let behind = behind.skip_while(|next| last.is_some_and(|last| next.id <= last));
        let stride = (self.stride * 2).min(MESSAGES_MAX);
        let (ids, octets) = fitting(behind.take(stride), OCTETS_MAX);
        let Some(share) = self.budget.take(octets).filter(|_| !ids.is_empty()) else { return };
        self.stride = stride;
        let (engine, wanted) = (Arc::clone(engine), ids.clone());
        // A session that ends meanwhile leaves it to itself: it is one short read.
        let lot = tokio::spawn(async move {
            let read = engine.beginnings(wanted).await.ok()?;
            Some(Lot { read: read.into(), share: Some(share) })
        });
        self.coming = Some(Coming { ids, lot });
    }
}

/// As many of the first messages as have so many octets together, and how many they have.
fn fitting(entries: impl Iterator<Item = Entry>, octets_max: u64) -> (Vec<MessageId>, u64) {
    let (mut ids, mut octets) = (Vec::new(), 0_u64);
    for next in entries {
        let with_it = octets.saturating_add(next.octets);
        if with_it > octets_max {
            break;
        }
        octets = with_it;
        ids.push(next.id);
    }
    (ids, octets)
}
