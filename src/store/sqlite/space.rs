//! Room on the disk: new mail leaves enough of it that mail can always be deleted.
//!
//! Deleting writes too, into the WAL, and the WAL can only begin anew when all of it fits into the
//! database. So new mail is refused while there is still room for the whole WAL; and a small file
//! of zeros, the reserve, is given up when a deletion meets a disk that others have filled.

use super::fault;
use crate::store::owner::open_or_make;
use crate::store::paths::with_suffix;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The file that is given up.
const RESERVE_FILE: &str = "pillarbox.reserve";
/// Its octets: the WAL of some dozen deletions.
const RESERVE_OCTETS: u64 = 2 * 1024 * 1024;
/// What new mail always leaves free besides: pages of indexes, the shared memory of the WAL.
const MARGIN_OCTETS: u64 = 256 * 1024;
/// What the database leaves free when it grows. It never shrinks: what it once took is no room for the
/// WAL of a message any more, not even after all mail was deleted.
const GROWTH_MARGIN_OCTETS: u64 = 4 * 1024 * 1024;
/// Below this the checkpoints run after every commit, so that the WAL never holds much.
const LOW_OCTETS: u64 = 64 * 1024 * 1024;

/// The room of one data directory.
pub(super) struct Space {
    dir: PathBuf,
    wal: PathBuf,
    /// Whether there is a reserve; a command beside a server has none to give.
    has_reserve: AtomicBool,
    keeper: bool,
    turn: Mutex<()>,
}

impl Space {
    pub(super) fn new(dir: &Path, database: &Path, keeper: Keeper) -> Space {
        let space = Space {
            dir: dir.to_owned(),
            wal: with_suffix(database, "-wal"),
            has_reserve: AtomicBool::new(dir.join(RESERVE_FILE).exists()),
            keeper: keeper == Keeper::Yes,
            turn: Mutex::new(()),
        };
        space.restore();
        space
    }

    /// Octets of the WAL file.
    pub(super) fn wal_octets(&self) -> u64 {
        std::fs::metadata(&self.wal).map_or(0, |m| m.len())
    }

    /// Octets that new files may take. Unknown is plenty: then the disk itself will say no.
    fn free_octets(&self) -> u64 {
        let Ok(stat) = rustix::fs::statvfs(&self.dir) else { return u64::MAX };
        stat.f_bavail.saturating_mul(stat.f_frsize)
    }

    /// Whether there is so little room that the WAL must be kept short.
    pub(super) fn is_low(&self) -> bool {
        self.free_octets() < LOW_OCTETS
    }

    /// Whether new mail of `octets` leaves room to delete mail afterwards, when the database has
    /// `unused` octets of its own to fill first.
    pub(super) fn has_room(&self, octets: u64, unused: u64) -> bool {
        let growth = (self.wal_octets() + octets).saturating_sub(unused);
        let margin = if growth > 0 { GROWTH_MARGIN_OCTETS } else { MARGIN_OCTETS };
        let missing =
            if self.keeper && !self.has_reserve.load(Ordering::Relaxed) { RESERVE_OCTETS } else { 0 };
        self.free_octets() >= margin + missing + octets + growth
    }

    /// Whether the database could grow by a message of `octets`, when it has `unused` octets of its own to
    /// fill first. Its delivery needs more than that for a while, and finds out whether that is there.
    pub(super) fn could_hold(&self, octets: u64, unused: u64) -> bool {
        let growth = octets.saturating_sub(unused);
        growth == 0 || self.free_octets() >= GROWTH_MARGIN_OCTETS.saturating_add(growth)
    }

    /// Gives the reserve up; whether there was one.
    pub(super) fn release(&self) -> bool {
        let Ok(_turn) = self.turn.lock() else { return false };
        let had = std::fs::remove_file(self.dir.join(RESERVE_FILE)).is_ok();
        self.has_reserve.store(false, Ordering::Relaxed);
        if had {
            tracing::warn!("the disk is full: the reserve is given up so that mail can be deleted");
        }
        had
    }

    /// Makes the reserve again when there is room for it and for the WAL.
    pub(super) fn restore(&self) {
        let Ok(_turn) = self.turn.lock() else { return };
        let wanted = self.keeper && !self.has_reserve.load(Ordering::Relaxed);
        if !wanted || self.free_octets() < RESERVE_OCTETS + 2 * MARGIN_OCTETS + self.wal_octets() {
            return;
        }
        match self.make() {
            Ok(()) => self.has_reserve.store(true, Ordering::Relaxed),
            Err(error) => {
                if !fault::is_full(&error) {
                    tracing::warn!(%error, "the reserve for a full disk could not be made");
                }
                // What was made of it would only take room; it may not even be there.
                drop(std::fs::remove_file(self.dir.join(RESERVE_FILE)));
            }
        }
    }

    fn make(&self) -> io::Result<()> {
        let path = self.dir.join(RESERVE_FILE);
        let mut file = open_or_make(&path, std::fs::OpenOptions::new().write(true).truncate(true))?;
        let zeros = [0; 64 * 1024];
        for _ in 0..RESERVE_OCTETS / zeros.len() as u64 {
            file.write_all(&zeros)?;
        }
        Ok(())
    }
}

/// Who keeps the reserve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// The server.
    Yes,
    /// Nobody: a command beside it.
    No,
}
