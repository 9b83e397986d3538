//! The test is tried: a store whose only fault is `synchronous=NORMAL` must be caught by it, and the
//! same store with FULL must not.
//!
//! The program has no such setting. So this test program starts itself again, with the watched disk
//! loaded into it, as a worker that delivers through the store.

use crate::disk_kit::chance::{Chance, seed};
use crate::disk_kit::log::Log;
use crate::disk_kit::platter::{Honesty, Platter, Rest};
use crate::disk_kit::tally::Tally;
use crate::disk_kit::{Disk, in_memory};
use crate::ledger::{Ledger, message};
use crate::store_kit::{HEAD, delivery, memory, options};
use pillarbox::store::{Store, testing};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const WORKER: &str = "PILLARBOX_WORKER";
const TEST: &str = "weak::with_synchronous_normal_acknowledged_mail_is_lost_and_with_full_it_is_not";
const MAILBOX: &str = "bob@example.org";
const MAILS: usize = 20;
const OCTETS: usize = 3_000;

#[test]
fn with_synchronous_normal_acknowledged_mail_is_lost_and_with_full_it_is_not() {
    if let Some(synchronous) = std::env::var_os(WORKER) {
        if synchronous == "NORMAL" {
            testing::weaken();
        }
        return deliver_and_tell(Path::new(&std::env::var_os("DISK_BASE").expect("a disk")));
    }
    let full = lost_with("FULL");
    assert!(full.is_clean(), "{full:?}");
    let normal = lost_with("NORMAL");
    assert!(normal.lost > 0, "the commits were not synced, and nothing is missing: {normal:?}");
    assert_eq!((normal.doubled, normal.damaged), (0, 0), "it stays consistent: {normal:?}");
}

/// The worker: delivers, tells, and waits until that was written down.
fn deliver_and_tell(base: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(options(&base.join("data"))).await.expect("it opens");
        let mut noted = std::io::stdin().lines();
        for number in 0..MAILS {
            let octets = message(&format!("mail-{number}"), OCTETS);
            let mut mail = delivery(&[MAILBOX], memory(octets));
            // The lines that the server puts on top, which the examination takes off.
            let head = format!(
                "Return-Path: <>\r\nDelivered-To: {MAILBOX}\r\n{}",
                &HEAD[HEAD.find("Received").expect("it")..]
            );
            mail.copies[0].head = head.into();
            store.deliver(mail).await.expect("it is delivered");
            writeln!(std::io::stdout(), "\naccepted {number}").expect("the parent reads");
            noted.next();
        }
        // No close: the power goes now.
        std::process::exit(0);
    });
}

fn lost_with(synchronous: &str) -> Tally {
    let base = in_memory();
    let disk = Disk::below(base.path());
    let mut worker = Command::new(std::env::current_exe().expect("this program"));
    worker.args([TEST, "--exact", "--nocapture"]).env(WORKER, synchronous).envs(disk.recording());
    let mut child = worker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut ledger = Ledger::default();
    let mut offered = 0;
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        let Some(number) = line.strip_prefix("accepted ") else { continue };
        let now = disk.now();
        ledger.note(&format!("mail-{number}"), OCTETS, &[MAILBOX], offered, now);
        offered = now;
        stdin.write_all(b"\n").expect("it waits");
    }
    assert!(child.wait().expect("our own child").success());
    assert_eq!(ledger.acknowledgements().len(), MAILS);
    let log = Log::parse(std::fs::read(disk.log_file()).expect("the log"));
    let (mut platter, mut chance) = (Platter::new(&log, Honesty::Honest), Chance::new(seed()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut tally = Tally::default();
    for moment in ledger.acknowledgements() {
        platter.advance(moment);
        let dir = in_memory();
        platter.cut(Rest::any(&mut chance), &mut chance).write_below(dir.path());
        let what = format!("{synchronous}, cut at {moment}");
        runtime.block_on(ledger.examine(&dir.path().join("data"), moment, &what, &mut tally));
        tally.tries += 1;
    }
    tally
}
