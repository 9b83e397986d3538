//! Clients that write down what they do, and when.

use crate::disk_kit::Disk;
use crate::ledger::{Ledger, message};
use crate::support::wire::{Pop3, Smtp};
use std::net::SocketAddr;
use std::sync::Arc;

/// Clients that write down what they do.
pub(crate) struct Story {
    disk: Arc<Disk>,
    pub(crate) ledger: Ledger,
}

impl Story {
    pub(crate) fn new(disk: Arc<Disk>) -> Story {
        Story { disk, ledger: Ledger::default() }
    }

    pub(crate) fn fork(&self) -> Story {
        Story::new(self.disk.clone())
    }

    pub(crate) fn join(&mut self, part: Story) {
        self.ledger.mails.extend(part.ledger.mails);
        self.ledger.deletions.extend(part.ledger.deletions);
    }

    pub(crate) fn deliver(&mut self, smtp: SocketAddr, name: &str, octets: usize, to: &[&str]) {
        let mut client = Smtp::open(smtp);
        client.envelope("alice@client.example", to);
        let offered = self.disk.now();
        let reply = client.data(&message(name, octets));
        assert_eq!(reply.code, 250, "{reply:?}");
        self.ledger.note(name, octets, to, offered, self.disk.now());
    }

    pub(crate) fn delete_all(&mut self, pop3: SocketAddr, user: &str) {
        let mut client = Pop3::open(pop3, user, "any");
        for number in 1..=client.stat().0 {
            client.ok(&format!("DELE {number}"));
        }
        let begun = self.disk.now();
        client.ok("QUIT");
        self.ledger.note_deletion(user, begun, self.disk.now());
    }
}
