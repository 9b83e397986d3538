//! Durability taken away, to try the test that must notice it. No build for users holds this file.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether databases are opened with `synchronous=NORMAL`.
static WEAK: AtomicBool = AtomicBool::new(false);

/// From now on the databases that this process opens may lose the last commits at a power cut: the
/// test of power cuts is itself tried with it. Nothing but a test can reach this.
pub fn weaken() {
    WEAK.store(true, Ordering::Relaxed);
}

/// The setting of `PRAGMA synchronous` when it is not the one of the program.
pub(super) fn synchronous() -> Option<&'static str> {
    WEAK.load(Ordering::Relaxed).then_some("1")
}
