//! How fast the store is: `cargo bench --bench store`, on the disk that holds `TMPDIR`.
//!
//! Each rate stands beside the cost of one fdatasync in the same second: on a busy machine the disk
//! explains most of what changes between two runs. Five rounds each, the median is printed, with the
//! least and the most in brackets.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark may end when something is wrong")]

use bytes::Bytes;
use pillarbox::mail::address::{Address, MailboxName};
use pillarbox::mail::body::Body;
use pillarbox::mail::envelope::{Delivery, MailboxCopy, Overdraft};
use pillarbox::mail::ids::QueueId;
use pillarbox::store::accounts::Mode;
use pillarbox::store::retention::Rules;
use pillarbox::store::{Options, Store, Tenure, testing};
use sqlx::{ConnectOptions, Row};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let dir = tempfile::tempdir().unwrap();
        println!("cores {cores}, fdatasync of 4 KiB {:?} (median of 50)", fdatasync(dir.path()));
        commits().await;
        space().await;
        routes_and_reads().await;
        mailbox_of_many().await;
        large().await;
        chunk_sizes().await;
    });
}

/// The median cost of appending 4 KiB and syncing them.
fn fdatasync(dir: &Path) -> Duration {
    let mut file = File::create(dir.join("probe")).unwrap();
    let mut once = || {
        let begin = Instant::now();
        file.write_all(&[1; 4 * KIB]).unwrap();
        file.sync_data().unwrap();
        begin.elapsed()
    };
    let mut all: Vec<_> = (0..50).map(|_| once()).collect();
    all.sort();
    all[25]
}

async fn open(dir: &Path) -> Store {
    let options = Options {
        data_dir: dir.join("data"),
        mode: Mode::Open,
        domains: vec![],
        tag_separator: "+".into(),
        default_quota: None,
        retention: Rules::default(),
        tenure: Tenure::Server,
    };
    Store::open(options).await.unwrap()
}

fn name(n: usize) -> MailboxName {
    Address::parse(&format!("user{n}@example.org")).unwrap().name()
}

fn delivery(to: usize, body: Body) -> Delivery {
    // As long as the lines that the server really puts on top.
    let head = Bytes::from(vec![b'h'; 320]);
    let copies = vec![MailboxCopy { mailbox: name(to), head }];
    Delivery { queue_id: QueueId::from_random(0), body, copies, overdraft: Overdraft::Refused }
}

fn body(octets: usize) -> Body {
    Body::Memory(vec![Bytes::from(vec![b'b'; octets])])
}

/// Median, least and most of some figures.
fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let (first, last) = (figures[0], figures[figures.len() - 1]);
    format!("{:>9.0} ({first:.0}..{last:.0})", figures[figures.len() / 2])
}

async fn send_all(store: &Store, senders: usize, messages: usize, octets: usize) -> f64 {
    let begin = Instant::now();
    let senders: Vec<_> = (0..senders)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..messages {
                    store.deliver(delivery(n % 50, body(octets))).await.unwrap();
                }
            })
        })
        .collect();
    let total = senders.len() * messages;
    for sender in senders {
        sender.await.unwrap();
    }
    total as f64 / begin.elapsed().as_secs_f64()
}

async fn commits() {
    println!("\ndeliver, messages/s            1 KiB                     100 KiB          fdatasync");
    for senders in [1, 10, 100] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            small.push(send_all(&store, senders, 3000_usize.div_ceil(senders), KIB).await);
            large.push(send_all(&store, senders, 300_usize.div_ceil(senders), 100 * KIB).await);
        }
        let sync = fdatasync(dir.path());
        println!("{senders:>4} senders   {:>26} {:>26} {sync:>12.0?}", spread(small), spread(large));
        store.close().await;
    }
}

/// Octets on disk of a message.
async fn space() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    send_all(&store, 100, 200, KIB).await;
    store.close().await;
    let octets = std::fs::metadata(dir.path().join("data/pillarbox.db")).unwrap().len();
    println!("\nspace: {} octets of disk for a message of 1 KiB with 320 octets of head", octets / 20_000);
}

async fn routes_and_reads() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    send_all(&store, 100, 10, KIB).await;
    let to = Address::parse("user7@example.org").unwrap();
    let listing = store.peek(&name(7)).await.unwrap().unwrap();
    let (mut routes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..2000 {
            store.route(&to, None).await.unwrap();
        }
        routes.push(2000.0 / begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        for n in 0..2000 {
            let mut reader = store.peek_message(&listing.entries()[n % listing.entries().len()]);
            while reader.next().await.unwrap().is_some() {}
        }
        reads.push(2000.0 / begin.elapsed().as_secs_f64());
    }
    println!("route, one after the other, per s   {}", spread(routes));
    println!("read 1 KiB, one after the other, per s {}", spread(reads));
    store.close().await;
}

async fn mailbox_of_many() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    send_all(&store, 1000, 100, 100).await;
    let mut listings = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        store.peek(&name(0)).await.unwrap().unwrap();
        listings.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    println!("listing of 2,000 messages, µs        {}", spread(listings));
    store.close().await;

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for _ in 0..20 {
        let sends = (0..5000).map(|_| store.deliver(delivery(0, body(100))));
        futures_util::future::join_all(sends).await;
    }
    let mut listings = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        store.peek(&name(0)).await.unwrap().unwrap();
        listings.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    println!("listing of 100,000 messages, µs      {}", spread(listings));
    let (maildrop, listing) =
        testing::open_maildrop(&store, &name(0), Instant::now()).await.unwrap().unwrap();
    let ids = listing.entries().iter().map(|entry| entry.id).collect();
    let begin = Instant::now();
    maildrop.expunge(ids).await.unwrap();
    println!("deleting 100,000 messages, ms        {:>9}", begin.elapsed().as_millis());
    store.close().await;
}

async fn large() {
    println!("\na body of 25 MiB, MiB/s     staged and delivered          read");
    for slice in [16 * KIB, 64 * KIB, 256 * KIB] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let (mut written, mut read) = (Vec::new(), Vec::new());
        let piece = Bytes::from(vec![b'x'; slice]);
        for round in 0..ROUNDS {
            let begin = Instant::now();
            let mut staging = store.stage().await.unwrap();
            for _ in 0..25 * MIB / slice {
                staging.push(piece.clone()).await.unwrap();
            }
            store.deliver(delivery(round, staging.body())).await.unwrap();
            written.push(25.0 / begin.elapsed().as_secs_f64());
            let listing = store.peek(&name(round)).await.unwrap().unwrap();
            let begin = Instant::now();
            let mut reader = store.peek_message(&listing.entries()[0]);
            while reader.next().await.unwrap().is_some() {}
            read.push(25.0 / begin.elapsed().as_secs_f64());
        }
        println!("slices of {:>3} KiB {:>28} {:>28}", slice / KIB, spread(written), spread(read));
        store.close().await;
    }
}

/// What the size of a chunk row costs by itself: one transaction a message, without the store.
async fn chunk_sizes() {
    println!("\nchunk rows alone, ms to write (one commit) and to read back");
    println!("{:>12} {:>34} {:>34} {:>34}", "message", "32 KiB", "64 KiB", "256 KiB");
    for octets in [KIB, 10 * KIB, 100 * KIB, MIB, 10 * MIB] {
        let mut line = format!("{:>8} KiB", octets / KIB);
        for chunk in [32 * KIB, 64 * KIB, 256 * KIB] {
            let (mut written, mut read) = (Vec::new(), Vec::new());
            let dir = tempfile::tempdir().unwrap();
            let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(dir.path().join("chunks.db"))
                .create_if_missing(true)
                .page_size(8192)
                .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
                .connect()
                .await
                .unwrap();
            let table = "CREATE TABLE chunk (key INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT";
            sqlx::raw_sql(table).execute(&mut connection).await.unwrap();
            for round in 0..9_i64 {
                let rows = octets.div_ceil(chunk);
                let begin = Instant::now();
                sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
                for row in 0..rows {
                    let data = vec![b'x'; chunk.min(octets - row * chunk)];
                    let insert = sqlx::query("INSERT INTO chunk VALUES (?, ?)");
                    let key = (round << 16) + row as i64;
                    insert.bind(key).bind(data).execute(&mut connection).await.unwrap();
                }
                sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
                written.push(begin.elapsed().as_secs_f64() * 1e3);
                let begin = Instant::now();
                for row in 0..rows {
                    let select = sqlx::query("SELECT data FROM chunk WHERE key = ?");
                    let key = (round << 16) + row as i64;
                    let row = select.bind(key).fetch_one(&mut connection).await.unwrap();
                    std::hint::black_box(row.get::<Vec<u8>, _>(0));
                }
                read.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            written.sort_by(f64::total_cmp);
            read.sort_by(f64::total_cmp);
            line += &format!("   write {:>8.3}   read {:>8.3}  ", written[4], read[4]);
        }
        println!("{line}");
    }
}
