//! A disk that is full, and a disk that fails: real ones. The full disk is a small tmpfs, so these tests
//! run as root; where that cannot be, they fail and say so, since a test that skips proves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod store_kit;

use pillarbox::store::outcome::{Error, Route};
use pillarbox::store::{Store, testing};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use store_kit::*;

/// A file system of its own, gone with the value.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn of(mebibytes: u32) -> SmallDisk {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let size = format!("size={mebibytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        let mount = mount.expect("this test needs the program mount");
        assert!(
            mount.status.success(),
            "this test needs a small file system and so must be root, with the right to mount a tmpfs: {}",
            String::from_utf8_lossy(&mount.stderr)
        );
        SmallDisk { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes every octet that is left, as another program would.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("somebody-elses")).expect("a file");
        for octets in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![1; octets]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path().join("somebody-elses")).expect("it was there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small disk is unmounted");
    }
}

/// Sends until the store says that the disk is full; how many were kept.
async fn send_until_full(store: &Store, octets: usize) -> usize {
    for kept in 0.. {
        match send(store, &["ann"], pattern(octets)).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, Error::DiskFull, "after {kept} messages");
                return kept;
            }
        }
    }
    0
}

/// Deletes all mail of ann's, in twenty sessions or so.
async fn delete_all(store: &Store) -> usize {
    let all = ids(&login(store, "ann").await.1);
    for ids in all.chunks(all.len().div_ceil(20)) {
        let (maildrop, _) = login(store, "ann").await;
        let deleted = maildrop.expunge(ids.to_vec()).await.expect("deleting works").messages();
        assert_eq!(deleted, ids.len());
    }
    all.len()
}

#[tokio::test]
async fn mail_that_fills_the_disk_is_refused_while_reading_and_deleting_go_on() {
    for octets in [5_000, 60_000, 400_000] {
        let disk = SmallDisk::of(20);
        let store = Store::open(options(disk.path())).await.unwrap();
        let mut kept_at_first = 0;
        for round in 0..3 {
            let kept = send_until_full(&store, octets).await;
            kept_at_first = if round == 0 { kept } else { kept_at_first };
            assert!(kept * octets > 1_000_000, "round {round}: {kept} messages of {octets} found room");
            assert!(kept * 10 > kept_at_first * 7, "round {round}: {kept} of {kept_at_first}");
            assert_eq!(bodies(&store, "ann").await.len(), kept);
            let to_ann = store.route(&address("ann@example.org"), None).await.unwrap();
            assert_eq!(to_ann, Route::Mailboxes(vec![name("ann")]));
            assert_eq!(delete_all(&store).await, kept);
        }
        store.close().await;
        let store = Store::open(options(disk.path())).await.unwrap();
        assert!(bodies(&store, "ann").await.is_empty());
        store.close().await;
    }
}

#[tokio::test]
async fn a_disk_that_others_have_filled_lets_mail_be_read_and_deleted_and_comes_back_by_itself() {
    let disk = SmallDisk::of(24);
    let store = Store::open(options(disk.path())).await.unwrap();
    for _ in 0..40 {
        send(&store, &["ann"], pattern(20_000)).await.unwrap();
    }
    disk.fill();
    assert_eq!(send(&store, &["ann"], pattern(300_000)).await.unwrap_err(), Error::DiskFull);
    let mut staging = store.stage().await.unwrap();
    assert_eq!(staging.push(pattern(300_000).into()).await.unwrap_err(), Error::DiskFull);
    drop(staging);
    assert_eq!(bodies(&store, "ann").await.len(), 40);
    let (maildrop, _) = login(&store, "ann").await;
    assert_eq!(maildrop.expunge(vec![]).await.unwrap().messages(), 0);
    assert_eq!(delete_all(&store).await, 40);
    disk.make_room();
    send(&store, &["ann"], "there is room again").await.unwrap();
    assert_eq!(bodies(&store, "ann").await, [b"there is room again"]);
    let reserve = disk.path().join("pillarbox.reserve");
    while !reserve.exists() {
        send(&store, &["bob"], pattern(100_000)).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_server_starts_on_a_full_disk_so_that_mail_can_be_deleted() {
    let disk = SmallDisk::of(24);
    let store = Store::open(options(disk.path())).await.unwrap();
    for _ in 0..20 {
        send(&store, &["ann"], pattern(20_000)).await.unwrap();
    }
    let mut staging = store.stage().await.unwrap();
    staging.push(pattern(50_000).into()).await.unwrap();
    store.close().await;
    drop(staging);
    disk.fill();
    let store = Store::open(options(disk.path())).await.unwrap();
    assert_eq!(bodies(&store, "ann").await.len(), 20);
    assert_eq!(delete_all(&store).await, 20);
    store.close().await;
}

/// Runs one test of this program again as a process of its own, in which no file may grow past
/// 3 MiB: a write beyond fails with an error that is not "disk full".
fn with_small_files(test: &str) -> std::process::Output {
    let me = std::env::current_exe().expect("this program");
    let script = "trap '' XFSZ; ulimit -f 3072; exec \"$0\" --exact \"$1\" --nocapture --ignored";
    let output = Command::new("bash").args(["-c", script]).arg(me).arg(test).output();
    output.expect("this test needs bash")
}

#[test]
fn a_write_that_fails_is_never_acknowledged_and_ends_all_trust() {
    let output = with_small_files("in_a_process_whose_files_stay_small");
    let shown =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
}

#[tokio::test]
#[ignore = "run by a_write_that_fails_is_never_acknowledged_and_ends_all_trust"]
async fn in_a_process_whose_files_stay_small() {
    let mut kit = Kit::new(On::Sqlite);
    let store = kit.open().await;
    let mut kept = 0;
    let error = loop {
        match send(&store, &["ann"], pattern(200_000)).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 1000, "the limit on files does not work");
    };
    let Error::Broken(reason) = &error else { panic!("{error:?}") };
    assert_eq!(store.broken().await, *reason);
    assert_eq!(send(&store, &["ann"], "small").await.unwrap_err(), error);
    let refused = testing::open_maildrop(&store, &name("ann"), Instant::now()).await;
    assert_eq!(refused.unwrap_err(), error);
    store.close().await;
    let mut connection = raw(kit.dir.path()).await;
    let sql = "SELECT count(*) FROM message";
    let there: i64 = sqlx::Row::get(&sqlx::raw_sql(sql).fetch_one(&mut connection).await.unwrap(), 0);
    assert_eq!(there, kept, "what was acknowledged, and nothing else");
}
