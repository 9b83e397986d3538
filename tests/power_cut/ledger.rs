//! What was said to the server and what it answered, each with the length of the log at that moment;
//! and the examination of a data directory against it.

use crate::disk_kit::tally::Tally;
use crate::store_kit::{disorder, name, octets, options, send, staged};
use crate::support::wire::without_trace;
use pillarbox::mail::ids::MessageId;
use pillarbox::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) name: String,
    pub(crate) octets: usize,
    pub(crate) to: Vec<String>,
    /// When its first word was about to be sent.
    pub(crate) offered: u64,
    /// When its 250 had been read.
    pub(crate) accepted: u64,
}

/// The deletion of all messages of a mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    /// When QUIT was about to be said.
    pub(crate) begun: u64,
    /// When its `+OK` had been read.
    pub(crate) done: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) mails: Vec<Mail>,
    pub(crate) deletions: BTreeMap<String, Deletion>,
    /// The id of each message in each mailbox, as first seen: it never changes.
    ids: Mutex<BTreeMap<(String, String), MessageId>>,
}

/// A message whose octets follow from its name.
pub(crate) fn message(name: &str, octets: usize) -> Vec<u8> {
    let mut text = format!("Subject: {name}\r\n\r\n");
    for line in 0.. {
        if text.len() >= octets {
            break;
        }
        text.push_str(&format!("{name} line {line:07} {:016x}\r\n", (line as u64).wrapping_mul(0x9e37_79b9)));
    }
    text.into_bytes()
}

impl Ledger {
    pub(crate) fn note(&mut self, name: &str, octets: usize, to: &[&str], offered: u64, accepted: u64) {
        let to = to.iter().map(|&to| to.to_owned()).collect();
        self.mails.push(Mail { name: name.to_owned(), octets, to, offered, accepted });
    }

    pub(crate) fn note_deletion(&mut self, user: &str, begun: u64, done: u64) {
        self.deletions.insert(user.to_owned(), Deletion { begun, done });
    }

    /// The moments at which something had just been acknowledged.
    pub(crate) fn acknowledgements(&self) -> Vec<u64> {
        let mails = self.mails.iter().map(|mail| mail.accepted);
        mails.chain(self.deletions.values().map(|deletion| deletion.done)).collect()
    }

    /// Messages for a mailbox that were acknowledged by then.
    pub(crate) fn accepted_by(&self, moment: u64, user: &str) -> usize {
        let mails = self.mails.iter().filter(|mail| mail.to.iter().any(|to| to == user));
        mails.filter(|mail| mail.accepted <= moment).count()
    }

    /// Opens a data directory as a server does, and compares.
    pub(crate) async fn examine(&self, data_dir: &Path, moment: u64, what: &str, tally: &mut Tally) {
        let store = match Store::open(options(data_dir)).await {
            Ok(store) => store,
            Err(error) => return tally.damaged(&format!("{what}: it does not open: {error}")),
        };
        let mailboxes: BTreeSet<&String> = self.mails.iter().flat_map(|mail| &mail.to).collect();
        let mut found = BTreeMap::new();
        for mailbox in mailboxes {
            let there = self.read(&store, mailbox, moment, what, tally).await;
            found.insert(mailbox.as_str(), there);
        }
        self.compare(&found, moment, what, tally);
        if let Err(error) = send(&store, &["after"], "the next message").await {
            tally.damaged(&format!("{what}: no mail is taken: {error}"));
        }
        store.close().await;
        for finding in disorder(data_dir).await {
            tally.damaged(&format!("{what}: {finding}"));
        }
        if staged(data_dir).await != 0 {
            tally.damaged(&format!("{what}: bodies of unfinished messages are left"));
        }
    }

    /// How often each message is in a mailbox.
    async fn read(
        &self,
        store: &Store,
        mailbox: &str,
        moment: u64,
        what: &str,
        tally: &mut Tally,
    ) -> BTreeMap<String, usize> {
        let mut there: BTreeMap<String, usize> = BTreeMap::new();
        let Some(listing) = store.peek(&name(mailbox)).await.expect("it can be read") else { return there };
        for entry in listing.entries() {
            let all = match octets(store.peek_message(entry)).await {
                Ok(all) => all,
                Err(error) => {
                    tally.damaged(&format!("{what}: {mailbox}: {error}"));
                    continue;
                }
            };
            let text = without_trace(&all);
            let end = text.windows(2).position(|pair| pair == b"\r\n").unwrap_or(0);
            let subject = String::from_utf8_lossy(&text[..end]).replace("Subject: ", "");
            let mail = self.mails.iter().find(|mail| mail.name == subject);
            if mail.is_none_or(|mail| message(&mail.name, mail.octets) != text || mail.offered > moment) {
                tally.damaged(&format!("{what}: {mailbox}: not what was sent: {subject:?}"));
            }
            let mut ids = self.ids.lock().expect("no panic");
            if *ids.entry((mailbox.to_owned(), subject.clone())).or_insert(entry.id) != entry.id {
                tally.damaged(&format!("{what}: {mailbox}: {subject} has another id"));
            }
            *there.entry(subject).or_default() += 1;
        }
        there
    }

    fn compare(
        &self,
        found: &BTreeMap<&str, BTreeMap<String, usize>>,
        at: u64,
        what: &str,
        tally: &mut Tally,
    ) {
        for mail in &self.mails {
            let mut copies = Vec::new();
            for mailbox in &mail.to {
                let times = found[mailbox.as_str()].get(&mail.name).copied().unwrap_or(0);
                let deletion = self.deletions.get(mailbox);
                let may_be_gone = mail.accepted > at || deletion.is_some_and(|gone| gone.begun <= at);
                let story = format!("{what}: {} in {mailbox}", mail.name);
                match times {
                    0 if !may_be_gone => tally.lost(&story),
                    0 => {}
                    1 if deletion.is_some_and(|gone| gone.done <= at) => {
                        tally.damaged(&format!("{story} was deleted and is there again"));
                    }
                    1 => {}
                    _ => tally.doubled(&story),
                }
                copies.push(times);
            }
            if copies.iter().any(|times| *times != copies[0]) {
                tally.damaged(&format!("{what}: {}: some recipients have it, some not", mail.name));
            }
        }
        for (mailbox, gone) in &self.deletions {
            let left: usize = found[mailbox.as_str()].values().sum();
            if gone.begun <= at && left != 0 && left != self.accepted_by(gone.begun, mailbox) {
                tally.damaged(&format!(
                    "{what}: {left} messages are left in {mailbox}: deletions all or none"
                ));
            }
        }
    }
}
