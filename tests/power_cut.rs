//! The power is cut: the real server runs on a disk that is watched, and for many moments of its life
//! the states that a power cut could have left are rebuilt, opened and asked whether all that was
//! acknowledged by then is there, once and whole.
//!
//! `PILLARBOX_POWER_CUTS` is the number of states, `PILLARBOX_SEED` chooses them: of a life that is lived
//! anew each time. A life with a bad state is kept, and can be cut again as it was (`kept.rs`).
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod disk_kit;
#[path = "power_cut/kept.rs"]
mod kept;
#[path = "power_cut/ledger.rs"]
mod ledger;
mod store_kit;
#[path = "power_cut/story.rs"]
mod story;
mod support;
#[path = "power_cut/weak.rs"]
mod weak;

use disk_kit::chance::{Chance, seed, tries};
use disk_kit::log::{Event, Log};
use disk_kit::platter::{Honesty, Platter, Rest};
use disk_kit::tally::Tally;
use disk_kit::{Disk, in_memory, wrapper};
use kept::{Case, Failure};
use ledger::Ledger;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use story::Story;
use support::wire::mailbox;
use support::{Home, Server};

const CUTS: usize = 60;
/// States that one recorded life is good for.
const CUTS_OF_A_LIFE: usize = 400;
/// Of so many states one is opened by the real server too.
const SERVED_EVERY: usize = 20;
/// Where the data is, below the watched directory: neither of the two exists when the server starts.
const DATA: &str = "new/data";
const BOB: &str = "bob@example.org";
const CAROL: &str = "carol@example.org";

/// What was written, what was acknowledged when, and where.
struct Life {
    log: Log,
    ledger: Ledger,
}

/// Two lives of the server on one disk: it starts on nothing, is stopped in order, starts again, and
/// is killed.
fn live() -> Life {
    let mut home = Home::new(&[]);
    home.keep_data_in(&home.path().join(DATA));
    let disk = Arc::new(Disk::below(home.path()));
    let words = wrapper(&disk.recording());
    home.wrap(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut story = Story::new(disk.clone());
    let server = home.serve();
    work(&mut story, &server, "first");
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
    let server = home.serve();
    work(&mut story, &server, "second");
    let mut more = story.fork();
    // Large ones, if it has to be: past a bound the WAL begins anew whoever is in its way.
    for number in 0..250 {
        if wal_begun_anew(home.data_dir()) {
            break;
        }
        let octets = if number < 50 { 700 } else { 250_000 };
        more.deliver(server.smtp, &format!("more-{number}"), octets, &[BOB]);
    }
    story.join(more);
    server.kill();
    let log = Log::parse(std::fs::read(disk.log_file()).expect("the log"));
    assert_nothing_was_missed(&log, home.data_dir());
    assert_the_wal_has_ended_and_begun_anew(&log);
    Life { log, ledger: story.ledger }
}

/// Whether the WAL has begun at its start again: its header counts that.
fn wal_begun_anew(data_dir: &Path) -> bool {
    let wal = std::fs::read(data_dir.join("pillarbox.db-wal")).unwrap_or_default();
    wal.get(12..16).is_some_and(|count| count != [0; 4])
}

/// A life in which the WAL only grows would prove little: frames must have been written over old ones,
/// and all of it must have gone into the database once.
fn assert_the_wal_has_ended_and_begun_anew(log: &Log) {
    let (mut wals, mut headers, mut removed) = (Vec::new(), 0, 0);
    for (_, event) in &log.events {
        match event {
            Event::Create { inode, path } if path.ends_with("-wal") => wals.push(*inode),
            Event::Write { inode, at: 0, .. } if wals.contains(inode) => headers += 1,
            Event::Remove { path } if path.ends_with("-wal") => removed += 1,
            _ => {}
        }
    }
    assert!(headers > wals.len() && removed > 0, "{} WALs, {headers} headers, {removed} removed", wals.len());
}

/// Clients at the same time: small mail to one and to two, large mail, and deletions.
fn work(story: &mut Story, server: &Server, life: &str) {
    let (smtp, pop3) = (server.smtp, server.pop3);
    let (mut small, mut large, mut bins) = (story.fork(), story.fork(), story.fork());
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for number in 0..24 {
                let to: &[&str] = if number % 5 == 4 { &[BOB, CAROL] } else { &[BOB] };
                small.deliver(smtp, &format!("{life}-small-{number}"), 700, to);
            }
        });
        threads.spawn(|| {
            for number in 0..5 {
                let octets = if number == 1 { 8_500_000 } else { 300_000 };
                large.deliver(smtp, &format!("{life}-large-{number}"), octets, &[CAROL]);
            }
        });
        threads.spawn(|| {
            for number in 0..4 {
                let bin = format!("bin-{life}-{number}@example.org");
                for piece in 0..2 {
                    let octets = if piece == 0 { 900 } else { 60_000 };
                    bins.deliver(smtp, &format!("{life}-bin-{number}-{piece}"), octets, &[&bin]);
                }
                bins.delete_all(pop3, &bin);
            }
        });
    });
    for part in [small, large, bins] {
        story.join(part);
    }
}

/// The files as the log tells them must be the files that are there: then nothing was written past it.
fn assert_nothing_was_missed(log: &Log, data_dir: &Path) {
    let mut platter = Platter::new(log, Honesty::Honest);
    platter.advance(u64::MAX);
    let told = platter.present();
    let mut compared = 0;
    for entry in std::fs::read_dir(data_dir).expect("the data directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with("-shm") {
            continue;
        }
        let octets = std::fs::read(&path).expect("a file");
        assert!(
            told.files.get(&format!("{DATA}/{name}")) == Some(&octets),
            "{name} was written past the log"
        );
        compared += 1;
    }
    assert!(compared >= 3 && compared == told.files.len(), "{compared} of {}", told.files.len());
}

/// Moments to cut the power at: right after something was acknowledged, and any other.
fn moments(life: &Life, cuts: usize, chance: &mut Chance) -> Vec<u64> {
    let acknowledged = life.ledger.acknowledgements();
    let mut moments: Vec<u64> = (0..cuts)
        .map(|_| match chance.percent(40) {
            true => acknowledged[chance.below(acknowledged.len())],
            false => life.log.events[chance.below(life.log.events.len())].0,
        })
        .collect();
    moments.sort_unstable();
    moments
}

/// Cuts the power so many times and examines what is left; the first state that is not as it should be.
fn cut_and_examine(case: &Case, honesty: Honesty, tally: &mut Tally) -> Option<Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (life, mut chance, mut failure) = (&case.life, Chance::new(case.seed), None);
    let mut platter = Platter::new(&life.log, honesty);
    for (number, moment) in moments(life, case.cuts, &mut chance).into_iter().enumerate() {
        platter.advance(moment);
        let rest = if honesty == Honesty::Lying { Rest::Nothing } else { Rest::any(&mut chance) };
        let dir = in_memory();
        let mut again = chance.clone();
        platter.cut(rest, &mut chance).write_below(dir.path());
        let data_dir = dir.path().join(DATA);
        let what = format!("cut at {moment}, of the rest {rest:?}");
        let before = tally.bad();
        if number % SERVED_EVERY == SERVED_EVERY - 1 {
            serve(life, &data_dir, moment, &what, tally);
        }
        runtime.block_on(life.ledger.examine(&data_dir, moment, &what, tally));
        tally.tries += 1;
        // As it was before anybody opened it.
        if failure.is_none() && tally.bad() > before {
            failure = Some(Failure { what, state: platter.cut(rest, &mut again) });
        }
    }
    failure
}

/// The same of a disk that keeps its word; what is found is kept to be looked at.
fn cut_and_keep(case: &Case, tally: &mut Tally) {
    match catch_unwind(AssertUnwindSafe(|| cut_and_examine(case, Honesty::Honest, tally))) {
        Ok(None) => {}
        Ok(Some(failure)) => kept::leave(kept::keep(case, Some(&failure))),
        Err(panic) => {
            kept::leave(kept::keep(case, None));
            resume_unwind(panic);
        }
    }
}

/// The real server starts on what is left, and its POP3 tells as many messages as it must.
fn serve(life: &Life, data_dir: &Path, moment: u64, what: &str, tally: &mut Tally) {
    let mut home = Home::new(&[]);
    home.keep_data_in(data_dir);
    let server = home.serve();
    for user in [BOB, CAROL] {
        let there = mailbox(server.pop3, user).len();
        if there < life.ledger.accepted_by(moment, user) {
            tally.lost(&format!("{what}: POP3 tells {there} messages of {user}"));
        }
    }
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_cut_when_the_power_goes() {
    let mut tally = Tally::default();
    if let Some(dir) = std::env::var_os(kept::KEPT) {
        let case = kept::read(Path::new(&dir));
        cut_and_examine(&case, Honesty::Honest, &mut tally);
        return tally.conclude("power cut, again");
    }
    let (seed, cuts) = (seed(), tries("PILLARBOX_POWER_CUTS", CUTS));
    while tally.tries < cuts {
        let case = Case {
            life: live(),
            seed: seed.wrapping_add(tally.tries as u64),
            cuts: CUTS_OF_A_LIFE.min(cuts - tally.tries),
        };
        cut_and_keep(&case, &mut tally);
    }
    tally.conclude("power cut");
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_noticed_by_this_test_and_noticed_again_in_what_is_kept() {
    let case = Case { life: live(), seed: seed(), cuts: 10 };
    let (mut tally, mut again) = (Tally::default(), Tally::default());
    let failure = cut_and_examine(&case, Honesty::Lying, &mut tally);
    assert!(tally.lost > 0, "no sync was kept and nothing is missing: {tally:?}");
    let kept = kept::keep(&case, failure.as_ref());
    cut_and_examine(&kept::read(kept.path()), Honesty::Lying, &mut again);
    assert_eq!(tally.findings, again.findings);
    assert_eq!((tally.lost, tally.doubled, tally.damaged), (again.lost, again.doubled, again.damaged));
}
