//! A disk that a test can watch and spoil: the program runs with `disk.c` loaded into it, which
//! records what is written, makes operations fail and syncs slow. [`log`] reads the records,
//! [`platter`] makes of them what a power cut would have left.
#![allow(dead_code, reason = "each test program uses its own part of this module")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

pub(crate) mod chance;
pub(crate) mod log;
pub(crate) mod platter;
pub(crate) mod tally;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// What goes wrong with an operation. The numbers are those of `disk.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The n-th fails with EIO.
    Once = 1,
    /// The n-th and all after it fail with EIO.
    Ever = 2,
    /// The n-th finds no room.
    NoRoom = 3,
    /// The n-th, if it is a write, writes half.
    Short = 4,
    /// The same, and the next operation finds no room.
    ShortThenNoRoom = 5,
}

/// Places in the file of control, in octets.
const SYNC_DELAY: u64 = 0;
const FAULT: u64 = 8;
const NTH: u64 = 16;
const OPERATIONS: u64 = 24;
const STRUCK: u64 = 32;
const SYNCS_WAITING: u64 = 40;

/// The disk below one directory.
#[derive(Debug)]
pub(crate) struct Disk {
    base: PathBuf,
    files: tempfile::TempDir,
    control: File,
}

impl Disk {
    pub(crate) fn below(base: &Path) -> Disk {
        let files = tempfile::tempdir().expect("a temporary directory");
        let path = files.path().join("control");
        std::fs::write(&path, [0; 4096]).expect("a file");
        let control = File::options().read(true).write(true).open(path).expect("it is there");
        Disk { base: base.to_owned(), files, control }
    }

    /// The environment of a program that works on this disk.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("LD_PRELOAD", library().to_owned()),
            ("DISK_BASE", self.base.clone()),
            ("DISK_CONTROL", self.files.path().join("control")),
        ]
    }

    /// The same with a log of all that is written.
    pub(crate) fn recording(&self) -> Vec<(&'static str, PathBuf)> {
        let mut environment = self.environment();
        environment.push(("DISK_LOG", self.log_file()));
        environment
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.files.path().join("log")
    }

    /// How long the log is: what is written later is not in it yet.
    pub(crate) fn now(&self) -> u64 {
        std::fs::metadata(self.log_file()).map_or(0, |file| file.len())
    }

    /// From now on each sync takes so long, those that wait already too.
    pub(crate) fn slow_syncs(&self, delay: Duration) {
        self.write(SYNC_DELAY, u64::try_from(delay.as_millis()).expect("a short time"));
    }

    /// Syncs that are under way on a slow disk.
    pub(crate) fn syncs_waiting(&self) -> u64 {
        self.read(SYNCS_WAITING)
    }

    /// The `nth` operation of the next program (1 is its first) goes wrong.
    pub(crate) fn fail(&self, fault: Fault, nth: u64) {
        for (place, value) in [(OPERATIONS, 0), (STRUCK, 0), (NTH, nth), (FAULT, fault as u64)] {
            self.write(place, value);
        }
    }

    pub(crate) fn work_again(&self) {
        self.write(FAULT, 0);
    }

    pub(crate) fn operations(&self) -> u64 {
        self.read(OPERATIONS)
    }

    /// How many operations went wrong since [`Disk::fail`].
    pub(crate) fn struck(&self) -> u64 {
        self.read(STRUCK)
    }

    fn read(&self, place: u64) -> u64 {
        let mut octets = [0; 8];
        self.control.read_exact_at(&mut octets, place).expect("the file of control");
        u64::from_ne_bytes(octets)
    }

    fn write(&self, place: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), place).expect("the file of control");
    }
}

/// A directory in memory, where the real syncs cost nothing: what is synced is told by the records.
pub(crate) fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// The words that start a program in this environment.
pub(crate) fn wrapper(environment: &[(&str, PathBuf)]) -> Vec<String> {
    let pairs = environment.iter().map(|(name, value)| format!("{name}={}", value.display()));
    std::iter::once("env".to_owned()).chain(pairs).collect()
}

/// `disk.c`, built once for each test program.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk_kit/disk.c");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = target.join(format!("disk-{}.so", std::process::id()));
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
        let output = compiler.arg(&path).arg(source).args(["-ldl", "-lpthread"]).output();
        let output = output.expect("cc is installed: tests/run does it");
        assert!(output.status.success(), "disk.c: {}", String::from_utf8_lossy(&output.stderr));
        // One name for all test programs; those that run already keep what they have loaded.
        let shared = target.join("disk.so");
        std::fs::rename(path, &shared).expect("a directory of our own");
        shared
    })
}
