//! What a server throws away by itself: messages too old, too many for one mailbox, too much in all.
//!
//! A sweep finds the oldest messages with short reads and gives them to the writer in small lots, one at a
//! time: a delivery waits for one lot at most. It takes the lease of a mailbox for as long as its lot is with
//! the writer, so that no session loses a message from under it. A mailbox that a session has open is spared,
//! but not for longer than [`SPARED_MAX`] after the sweep first met it so: else one client that stays could
//! make the store grow without a bound. Then its messages go, and RETR says so.

use super::engine::{Done, Old, Op};
use super::outcome::Error;
use super::{Inner, unexpected};
use crate::mail::address::MailboxName;
use crate::mail::ids::MessageId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// How long a mailbox is spared because sessions have it open, one after the other or one for long.
pub const SPARED_MAX: Duration = Duration::from_secs(600);
/// Most messages of one lot: some milliseconds of the writer's time.
const LOT_MESSAGES_MAX: usize = 256;
/// Most octets of one lot; one message alone may have more.
const LOT_OCTETS_MAX: u64 = 8 * 1024 * 1024;
/// Messages that are looked at with one question.
const PAGE_MESSAGES: usize = 256;
/// The rest between two sweeps: so long the store may be over its bounds.
const PAUSE: Duration = Duration::from_secs(1);
/// How often messages are looked at for their age, at least and at most: a quarter of the age itself.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is thrown away, oldest first; `None` is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How old a message gets.
    pub age_max: Option<Duration>,
    /// Most messages of one mailbox.
    pub messages_max: Option<u64>,
    /// Octets of all messages of all mailboxes together.
    pub octets_max: Option<u64>,
}

impl Rules {
    /// Whether nothing is ever thrown away.
    #[must_use]
    pub fn are_off(&self) -> bool {
        *self == Rules::default()
    }

    fn look_every(&self) -> Duration {
        let (least, most) = LOOK_EVERY;
        self.age_max.map_or(most, |age| (age / 4).clamp(least, most))
    }
}

/// Starts the task that sweeps: at once, after commits, when a session ends that a sweep has met, and from
/// time to time. It ends with the store.
pub(super) fn start(store: &Arc<Inner>, commits: watch::Receiver<u64>) {
    tokio::spawn(run(Arc::downgrade(store), store.rules, store.stop.clone(), commits));
}

async fn run(
    store: Weak<Inner>,
    rules: Rules,
    stop: tokio_util::sync::CancellationToken,
    mut commits: watch::Receiver<u64>,
) {
    let mut sweeper = Sweeper::new(SPARED_MAX);
    let follows_commits = rules.messages_max.is_some() || rules.octets_max.is_some();
    loop {
        let Some(inner) = store.upgrade() else { return };
        sweeper.committed = *commits.borrow_and_update();
        if let Err(error) = sweeper.sweep(&inner, SystemTime::now()).await
            && !stop.is_cancelled()
        {
            tracing::warn!(%error, "retention could not throw away what is due; it tries again");
        }
        let leases = Arc::clone(&inner.leases);
        drop(inner);
        let wait = async {
            tokio::time::sleep(PAUSE).await;
            // Each of them is a reason to look.
            tokio::select! {
                () = tokio::time::sleep(rules.look_every().saturating_sub(PAUSE)) => {}
                Ok(()) = commits.changed(), if follows_commits => {}
                () = leases.freed() => {}
            }
        };
        if stop.run_until_cancelled(wait).await.is_none() {
            return;
        }
    }
}

/// What a sweep remembers for the next one.
#[derive(Debug)]
pub(super) struct Sweeper {
    spared_max: Duration,
    /// Since when mailboxes are spared.
    spared: HashMap<MailboxName, Instant>,
    /// Octets that this server has written, as the writer counts them.
    committed: u64,
    /// What was in the store when that count was so much: the sum need not be asked for after each commit.
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    octets: u64,
    committed: u64,
    at: Instant,
}

/// Messages that go with one commit.
#[derive(Default)]
struct Lot {
    /// With the octets of each.
    ids: Vec<(MessageId, u64)>,
    octets: u64,
    holds: Vec<super::maildrop::LeaseHold>,
    mailboxes: HashSet<MailboxName>,
}

/// What was left out of a lot.
#[derive(PartialEq, Eq)]
enum Cut {
    Nothing,
    Shorter,
}

impl Lot {
    fn is_full(&self) -> bool {
        self.ids.len() >= LOT_MESSAGES_MAX || self.octets >= LOT_OCTETS_MAX
    }

    /// Leaves out the last ones, those that are not needed for so many octets to go.
    fn cut(&mut self, needed: u64) -> Cut {
        let (mut octets, had) = (0, self.ids.len());
        self.ids.retain(|(_, of_one)| {
            let is_needed = octets < needed;
            octets += if is_needed { *of_one } else { 0 };
            is_needed
        });
        self.octets = octets;
        if self.ids.len() < had { Cut::Shorter } else { Cut::Nothing }
    }
}

/// Messages and octets that one rule has thrown away.
#[derive(Clone, Copy, Default)]
struct Swept {
    messages: u64,
    octets: u64,
}

impl Sweeper {
    /// A sweep that spares open mailboxes for so long.
    pub(super) fn new(spared_max: Duration) -> Sweeper {
        Sweeper { spared_max, spared: HashMap::new(), committed: 0, known: None }
    }

    /// Throws away what the rules say at the time `now`; how many messages that were.
    pub(super) async fn sweep(&mut self, store: &Inner, now: SystemTime) -> Result<u64, Error> {
        let rules = store.rules;
        self.spared.retain(|_, since| since.elapsed() < self.spared_max + LOOK_EVERY.1);
        let mut messages = 0;
        if let Some(age) = rules.age_max {
            messages += told("max_age", self.by_age(store, age, now).await)?;
        }
        if let Some(most) = rules.messages_max {
            messages += told("max_messages", self.by_number(store, most).await)?;
        }
        if let Some(most) = rules.octets_max {
            messages += told("total_size", self.by_size(store, most).await)?;
        }
        Ok(messages)
    }

    async fn by_age(&mut self, store: &Inner, age: Duration, now: SystemTime) -> Result<Swept, Error> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let oldest_kept = now.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let mut swept = Swept::default();
        let mut after = MessageId(0);
        loop {
            let page = store.health.noted(store.engine.oldest(after, PAGE_MESSAGES).await)?;
            let mut lot = Lot::default();
            let mut is_end = page.is_empty();
            for old in page {
                // One that a clock gone wrong has dated later than now keeps no other from going.
                if old.received > oldest_kept && old.received <= now {
                    is_end = true;
                    break;
                }
                after = old.id;
                if old.received <= oldest_kept {
                    self.add(store, &mut lot, &old);
                    if lot.is_full() {
                        break;
                    }
                }
            }
            remove(store, lot, &mut swept).await?;
            if is_end || store.stop.is_cancelled() {
                return Ok(swept);
            }
        }
    }

    async fn by_number(&mut self, store: &Inner, most: u64) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for crowded in store.health.noted(store.engine.crowded(most).await)? {
            while !store.stop.is_cancelled() {
                let mut lot = Lot::default();
                if !self.enter(store, &mut lot, &crowded.name) {
                    break;
                }
                // Counted with the lease in hand: a session before may have deleted some itself.
                let page = store.engine.surplus_of(crowded.mailbox, most, PAGE_MESSAGES).await;
                let page = store.health.noted(page)?;
                for old in page {
                    self.add(store, &mut lot, &old);
                    if lot.is_full() {
                        break;
                    }
                }
                if remove(store, lot, &mut swept).await? == 0 {
                    break;
                }
            }
        }
        Ok(swept)
    }

    async fn by_size(&mut self, store: &Inner, most: u64) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let is_under = |known: Known| {
            let grown = self.committed.saturating_sub(known.committed);
            known.octets.saturating_add(grown) <= most && known.at.elapsed() < LOOK_EVERY.1
        };
        if self.known.is_some_and(is_under) {
            return Ok(swept);
        }
        let mut after = MessageId(0);
        loop {
            let octets = store.health.noted(store.engine.stored_octets().await)?;
            self.known = Some(Known { octets, committed: self.committed, at: Instant::now() });
            let surplus = octets.saturating_sub(most);
            if surplus == 0 || store.stop.is_cancelled() {
                return Ok(swept);
            }
            let page = store.health.noted(store.engine.oldest(after, PAGE_MESSAGES).await)?;
            if page.is_empty() {
                // What is left are the mailboxes that sessions have open.
                return Ok(swept);
            }
            let (before, mut lot) = (after, Lot::default());
            for old in page {
                after = old.id;
                self.add(store, &mut lot, &old);
                if lot.is_full() || lot.octets >= surplus {
                    break;
                }
            }
            // Asked again with the leases in hand: sessions may have deleted some themselves meanwhile.
            let octets = store.health.noted(store.engine.stored_octets().await)?;
            if lot.cut(octets.saturating_sub(most)) == Cut::Shorter {
                after = before;
            }
            remove(store, lot, &mut swept).await?;
        }
    }

    /// Adds a message to a lot, unless a session has its mailbox open and may have it a while longer.
    fn add(&mut self, store: &Inner, lot: &mut Lot, old: &Old) {
        if self.enter(store, lot, &old.mailbox) {
            lot.ids.push((old.id, old.octets));
            lot.octets += old.octets;
        }
    }

    /// Whether messages of a mailbox may go with a lot, which has the lease from here on, if it can be had.
    fn enter(&mut self, store: &Inner, lot: &mut Lot, mailbox: &MailboxName) -> bool {
        if lot.mailboxes.contains(mailbox) {
            return true;
        }
        let now = Instant::now();
        match store.leases.take_for_sweep(mailbox, now) {
            Some(hold) => {
                self.spared.remove(mailbox);
                lot.holds.push(hold);
            }
            None => {
                let since = *self.spared.entry(mailbox.clone()).or_insert_with(|| {
                    tracing::debug!("retention spares a mailbox that a session has open");
                    now
                });
                if now.duration_since(since) < self.spared_max {
                    return false;
                }
            }
        }
        lot.mailboxes.insert(mailbox.clone())
    }
}

/// Has the writer remove a lot; how many of its messages were still there.
async fn remove(store: &Inner, lot: Lot, swept: &mut Swept) -> Result<u64, Error> {
    let Lot { ids, octets, holds, .. } = lot;
    if ids.is_empty() {
        return Ok(0);
    }
    let ids = ids.into_iter().map(|(id, _)| id).collect();
    match store.writer.submit(Op::Expire(ids), holds).await? {
        Done::Expunged(messages) => {
            swept.messages += messages as u64;
            swept.octets += octets;
            Ok(messages as u64)
        }
        other => Err(unexpected(&other)),
    }
}

fn told(rule: &'static str, swept: Result<Swept, Error>) -> Result<u64, Error> {
    let Swept { messages, octets } = swept?;
    if messages > 0 {
        tracing::info!(rule, messages, octets, "retention has thrown away the oldest messages");
    }
    Ok(messages)
}
